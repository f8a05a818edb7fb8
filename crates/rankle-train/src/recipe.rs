//! The numbers of a training run.

use crate::Loss;
use rankle_core::{AdamStep, Distance};

/// Everything about a training run that is a number (`method.md` 4.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images per optimiser step; what does not fill a last batch makes a smaller one.
    pub batch_size: usize,
    /// Adam's learning rate, constant.
    pub learning_rate: f64,
    /// Coupled: added to the gradient.
    pub weight_decay: f64,
    /// What is lowered.
    pub loss: Loss,
    /// Of a ranking loss, in units of the distance.
    pub margin: f64,
}

impl Recipe {
    /// The paper's recipe at 28×28: 30 epochs of Adam at 1e-3 on the triplet loss; batches of 1000 and a margin of 0.2 for
    /// cosine, 500 and 1.0 for Euclidean distance. For the contrastive loss the paper has the same numbers.
    pub fn paper(distance: Distance) -> Self {
        let (batch_size, margin) = match distance {
            Distance::Cosine => (1000, 0.2),
            Distance::Euclidean => (500, 1.0),
        };
        Self { epochs: 30, batch_size, learning_rate: 1e-3, weight_decay: 1e-7, loss: Loss::Triplet, margin }
    }

    /// The paper's recipe for classifiers at 28×28: Adam at 1e-3 on the cross-entropy of batches of 1000, for 10 epochs (softmax
    /// regression) or 30 (C2F2).
    pub fn classifier(epochs: usize) -> Self {
        Self { epochs, loss: Loss::CrossEntropy, margin: 0.0, ..Self::paper(Distance::Cosine) }
    }

    /// Adam for the optimiser step `step`, counted from 0.
    pub fn adam(&self, step: usize) -> AdamStep {
        let (learning_rate, weight_decay) = (self.learning_rate, self.weight_decay);
        AdamStep { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay, step: step as u32 + 1 }
    }
}
