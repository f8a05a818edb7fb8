//! Losses by name.

use crate::sampler::Sampler;
use crate::{ContrastiveLoss, CustomLoss, PairLoss, PairRule, Triplet, TripletLoss, cross_entropy_loss, draw_triplets};
use rankle_core::{Embeddings, Error, Result, Seed};
use rankle_registry::Registered;
use std::{fmt, str::FromStr};

/// A loss that training minimizes (METHOD.md 3.6, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Triplet loss: the anchor nearer to its class than to another, by a margin ([`TripletLoss`]).
    Triplet,
    /// Contrastive loss: pairs of a class near, all others at least a margin apart ([`ContrastiveLoss`], or [`PairLoss`] for
    /// pairs drawn one by one).
    Contrastive,
    /// Cross-entropy of classifiers: the largest logit for the class of the image, without a margin ([`cross_entropy_loss`]).
    CrossEntropy,
    /// A ranking loss of another program: [`Loss::register`].
    Custom(Registered<CustomLoss>),
}

/// The loss of one batch: maps normalized embeddings to the mean loss per image, which is reported, and to the gradient with
/// respect to the embeddings. Where training minimizes a sum over the images of a batch, the gradient is that of the sum.
pub type BatchLoss<'a> = dyn Fn(&Embeddings) -> Result<(f64, Vec<f32>)> + 'a;

/// Maps the labels of a batch and its optimizer step (counted from 0) to the loss of the batch; `None` when the batch has none,
/// for example no triplets.
pub type LossBuilder<'a> = dyn for<'b> Fn(&'b [u32], u64) -> Option<Box<BatchLoss<'b>>> + 'a;

impl Loss {
    /// All losses of this crate, for messages and menus.
    pub const ALL: [Self; 3] = [Self::Triplet, Self::Contrastive, Self::CrossEntropy];

    /// The loss of the batch of optimizer step `step` (counted from 0), with triplets drawn for it where it needs them; `None`
    /// when the batch has no triplets. It is a mean over the triplets drawn from the batch, over its pairs, or over its images.
    pub fn for_batch(self, margin: f64, labels: &[u32], seed: Seed, step: u64) -> Option<Box<BatchLoss<'_>>> {
        match self {
            Self::Triplet => {
                let triplets = draw_triplets(labels, seed, step);
                let loss = TripletLoss { margin };
                // A batch of one class has no triplets, for example a last batch of a single image.
                (!triplets.is_empty()).then(|| -> Box<BatchLoss<'_>> { Box::new(move |points| loss.evaluate(points, &triplets)) })
            }
            Self::Contrastive => Some(Box::new(move |points| ContrastiveLoss { margin }.evaluate(points, labels))),
            Self::CrossEntropy => Some(Box::new(move |points| cross_entropy_loss(points, labels))),
            Self::Custom(own) => Some(Box::new(move |points| (own.evaluate)(points, labels, margin))),
        }
    }

    /// True if the loss compares images, and so needs two of one class.
    pub fn is_ranking(self) -> bool {
        self != Self::CrossEntropy
    }

    /// Number of images of a group drawn from the whole set: an image and those that it is compared with.
    pub(crate) fn group_size(self) -> usize {
        match self {
            // A positive and a negative also for a custom loss: images drawn at random may have no two of any class.
            Self::Triplet | Self::Custom(_) => 3,
            Self::Contrastive => 2,
            Self::CrossEntropy => 1,
        }
    }

    /// The images of a batch, each followed by those that it is compared with.
    pub(crate) fn groups(self, sampler: &Sampler<'_>, batch: &[usize], seed: Seed, epoch: u64) -> Vec<usize> {
        match self {
            Self::Triplet | Self::Custom(_) => batch.iter().flat_map(|&image| sampler.triplet(image, seed, epoch)).collect(),
            Self::Contrastive => batch.iter().flat_map(|&image| sampler.pair(image, seed, epoch)).collect(),
            Self::CrossEntropy => batch.to_vec(),
        }
    }

    /// The loss of images in the order of [`Loss::groups`]. Training minimizes the sum over the pairs or triplets of the batch,
    /// one for every image (METHOD.md 4.1, Stanford Online Products); their mean is reported.
    pub(crate) fn for_groups(self, margin: f64, labels: &[u32], draw: PairRule) -> Box<BatchLoss<'_>> {
        match self {
            Self::Triplet => {
                let triplet = |at: usize| Triplet { anchor: at, positive: at + 1, negative: at + 2 };
                let triplets: Vec<Triplet> = (0..labels.len()).step_by(self.group_size()).map(triplet).collect();
                Box::new(move |points| {
                    let (mean, mut gradient) = TripletLoss { margin }.evaluate(points, &triplets)?;
                    gradient.iter_mut().for_each(|gradient| *gradient *= triplets.len() as f32);
                    Ok((mean, gradient))
                })
            }
            Self::Contrastive => {
                let pair = |at: usize| (at, at + 1, labels[at] == labels[at + 1]);
                let pairs: Vec<(usize, usize, bool)> = (0..labels.len()).step_by(self.group_size()).map(pair).collect();
                let loss = PairLoss { margin, mislabeled: draw == PairRule::Paper };
                Box::new(move |points| {
                    let (sum, gradient) = loss.evaluate(points, &pairs)?;
                    Ok((sum / pairs.len() as f64, gradient))
                })
            }
            Self::CrossEntropy => Box::new(move |points| cross_entropy_loss(points, labels)),
            Self::Custom(own) => Box::new(move |points| (own.evaluate)(points, labels, margin)),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Triplet => "triplet",
            Self::Contrastive => "contrastive",
            Self::CrossEntropy => "cross-entropy",
            Self::Custom(own) => own.name,
        })
    }
}

impl FromStr for Loss {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        let unknown = |known| Error::Unknown { what: "loss", name: name.into(), known };
        rankle_registry::named(name, Self::ALL.into_iter().chain(Self::registered())).map_err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rankle_core::Distance;

    #[test]
    fn names_are_read_as_they_are_written() {
        for loss in Loss::ALL {
            assert_eq!(loss.to_string().parse::<Loss>().unwrap(), loss);
        }
        assert!("triple".parse::<Loss>().unwrap_err().to_string().contains("triplet, contrastive, cross-entropy"));
    }

    #[test]
    fn a_batch_of_one_class_has_pairs_but_no_triplets() {
        assert!(Loss::Triplet.for_batch(0.2, &[3, 3], Seed(0), 0).is_none());
        assert!(Loss::Contrastive.for_batch(0.2, &[3, 3], Seed(0), 0).is_some());
    }

    #[test]
    fn groups_are_shown_as_their_mean_and_followed_as_their_sum() {
        let labels = [0, 0, 1, 1, 2, 0];
        let raw: Vec<f32> = (0..6 * 4).map(|i| ((i * 7 % 11) as f32 - 5.0) / 3.0).collect();
        for distance in Distance::ALL {
            let points = distance.normalize(&Tensor::from_slice(&raw, (6, 4), &Device::Cpu).unwrap()).unwrap();
            let of = |loss: Loss, draw| loss.for_groups(0.9, &labels, draw)(&points).unwrap();
            // Two triplets. The positive of the second is not of its anchor's class; the loss does not look at the labels.
            let one = |anchor: usize| {
                let triplet = Triplet { anchor, positive: anchor + 1, negative: anchor + 2 };
                TripletLoss { margin: 0.9 }.evaluate(&points, &[triplet]).unwrap()
            };
            let ((mean, gradient), (first, second)) = (of(Loss::Triplet, PairRule::Paper), (one(0), one(3)));
            assert!((mean - (first.0 + second.0) / 2.0).abs() < 1e-6);
            let sums = first.1.iter().zip(&second.1).map(|(first, second)| first + second);
            assert!(gradient.iter().zip(sums).all(|(gradient, sum)| (gradient - sum).abs() < 1e-6));
            for (draw, mislabeled) in [(PairRule::Strict, false), (PairRule::Paper, true)] {
                let pairs = [(0, 1, true), (2, 3, true), (4, 5, false)];
                let (sum, gradient) = PairLoss { margin: 0.9, mislabeled }.evaluate(&points, &pairs).unwrap();
                assert_eq!(of(Loss::Contrastive, draw), (sum / 3.0, gradient));
            }
        }
    }
}
