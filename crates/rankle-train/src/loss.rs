//! The losses by name.

use crate::{ContrastiveLoss, TripletLoss, cross_entropy_loss, draw_triplets};
use rankle_core::{Error, Points, Result, Seed};
use std::{fmt, str::FromStr};

/// What training lowers (`method.md` 3.6, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The anchor shall be nearer to its class than to another, by a margin: [`TripletLoss`].
    Triplet,
    /// Pairs of a class shall be near, all others at least a margin apart: [`ContrastiveLoss`].
    Contrastive,
    /// The class of every image shall have the largest logit, for classifiers: [`cross_entropy_loss`]. It has no margin.
    CrossEntropy,
}

/// The loss of one batch: placed embeddings to its value and its slope with respect to them.
pub type BatchLoss<'a> = dyn Fn(&Points) -> Result<(f64, Vec<f32>)> + 'a;

/// What training lowers: the labels of a batch and its optimiser step (counted from 0) to its loss; none when the batch has nothing
/// to teach.
pub type LossOf<'a> = dyn for<'b> Fn(&'b [u32], u64) -> Option<Box<BatchLoss<'b>>> + 'a;

impl Loss {
    /// Every loss, for messages and menus.
    pub const ALL: [Self; 3] = [Self::Triplet, Self::Contrastive, Self::CrossEntropy];

    /// The loss of the batch of optimiser step `step` (counted from 0), with whatever has to be drawn for it; none when the
    /// batch has nothing to teach.
    pub fn of_batch(self, margin: f64, labels: &[u32], seed: Seed, step: u64) -> Option<Box<BatchLoss<'_>>> {
        match self {
            Self::Triplet => {
                let triplets = draw_triplets(labels, seed, step);
                let loss = TripletLoss { margin };
                // A batch of one class, such as a last one of a single image, has no triplets.
                (!triplets.is_empty()).then(|| -> Box<BatchLoss<'_>> { Box::new(move |points| loss.evaluate(points, &triplets)) })
            }
            Self::Contrastive => Some(Box::new(move |points| ContrastiveLoss { margin }.evaluate(points, labels))),
            Self::CrossEntropy => Some(Box::new(move |points| cross_entropy_loss(points, labels))),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Triplet => "triplet",
            Self::Contrastive => "contrastive",
            Self::CrossEntropy => "cross-entropy",
        })
    }
}

impl FromStr for Loss {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|loss| loss.to_string() == name).ok_or_else(|| Error::Unknown {
            what: "loss",
            name: name.into(),
            known: Self::ALL.map(|loss| loss.to_string()).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for loss in Loss::ALL {
            assert_eq!(loss.to_string().parse::<Loss>().unwrap(), loss);
        }
        assert!("triple".parse::<Loss>().unwrap_err().to_string().contains("triplet, contrastive, cross-entropy"));
    }

    #[test]
    fn a_batch_of_one_class_has_pairs_but_no_triplets() {
        assert!(Loss::Triplet.of_batch(0.2, &[3, 3], Seed(0), 0).is_none());
        assert!(Loss::Contrastive.of_batch(0.2, &[3, 3], Seed(0), 0).is_some());
    }
}
