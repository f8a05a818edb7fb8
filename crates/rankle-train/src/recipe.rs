//! Hyperparameters of a training run.

use crate::{Loss, PairRule, Sampling};
use rankle_core::{AdamStep, Distance};

/// Hyperparameters of a training run (METHOD.md 4.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images per optimizer step, without those drawn for comparison. The last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// Adam's learning rate, constant.
    pub learning_rate: f64,
    /// Coupled weight decay: added to the gradient.
    pub weight_decay: f64,
    /// The loss to minimize.
    pub loss: Loss,
    /// Margin of a ranking loss, in units of the distance.
    pub margin: f64,
    /// Source of the images that an image is compared with.
    pub sampling: Sampling,
}

impl Recipe {
    /// The paper's recipe at 28×28: 30 epochs of Adam at 1e-3 on the triplet loss; batches of 1000 and a margin of 0.2 for
    /// cosine, 500 and 1.0 for Euclidean distance. The paper has the same numbers for the contrastive loss.
    pub fn paper(distance: Distance) -> Self {
        let (batch_size, margin) = match distance {
            Distance::Cosine => (1000, 0.2),
            Distance::Euclidean => (500, 1.0),
        };
        Self {
            epochs: 30,
            batch_size,
            learning_rate: 1e-3,
            weight_decay: 1e-7,
            loss: Loss::Triplet,
            margin,
            sampling: Sampling::Batch,
        }
    }

    /// The paper's recipe for photographs: 128 pairs or triplets a step, drawn from all images; 42 epochs of the triplet loss or
    /// 6 of the contrastive one; Adam at 1e-4 and a margin of 0.5 for cosine, 1e-5 and 1.0 for Euclidean distance.
    pub fn photographs(distance: Distance, loss: Loss, draw: PairRule) -> Self {
        let (learning_rate, margin) = match distance {
            Distance::Cosine => (1e-4, 0.5),
            Distance::Euclidean => (1e-5, 1.0),
        };
        let epochs = if loss == Loss::Contrastive { 6 } else { 42 };
        Self { epochs, batch_size: 128, learning_rate, weight_decay: 1e-7, loss, margin, sampling: Sampling::Set(draw) }
    }

    /// The paper's recipe for classifiers at 28×28: Adam at 1e-3 on the cross-entropy of batches of 1000, for 10 epochs (softmax
    /// regression) or 30 (C2F2).
    pub fn classifier(epochs: usize) -> Self {
        Self { epochs, loss: Loss::CrossEntropy, margin: 0.0, ..Self::paper(Distance::Cosine) }
    }

    /// Adam for the optimizer step `step`, counted from 0.
    pub fn adam(&self, step: usize) -> AdamStep {
        let (learning_rate, weight_decay) = (self.learning_rate, self.weight_decay);
        AdamStep { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay, step: step as u32 + 1 }
    }
}
