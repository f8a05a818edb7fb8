//! Training of embedding networks and classifiers: losses with closed-form gradients, sampling of triplets, the training loop.
//!
//! A model is any [`rankle_core::Trainable`], a defense any [`rankle_core::Defense`]. Every draw is keyed by the seed and the
//! epoch or optimizer step, so a resumed run equals one that was never interrupted. An image is compared with others of its batch
//! or, where classes are small, with others of the whole training set ([`Sampling`]).
//!
//! Left out: network architectures (`rankle_models`), adversarial training (`rankle_defense`), files (`rankle`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle_defense`](../rankle_defense/index.html), [`rankle`](../rankle/index.html).
//!
//! ```
//! use rankle_core::{Distance, Embeddings, Seed};
//! use rankle_train::{Triplet, TripletLoss, draw_triplets};
//!
//! let labels = [0, 0, 1, 1];
//! let triplets = draw_triplets(&labels, Seed(0), 0);
//! assert!(triplets.iter().all(|t| labels[t.anchor] == labels[t.positive] && labels[t.anchor] != labels[t.negative]));
//!
//! // Two classes at right angles are further apart than the margin: no loss.
//! let raw = candle_core::Tensor::new(&[[1f32, 0.], [1., 0.], [0., 1.], [0., 1.]], &candle_core::Device::Cpu)?;
//! let points = Distance::Cosine.normalize(&raw)?;
//! let (loss, _gradient) = TripletLoss { margin: 0.2 }.evaluate(&points, &triplets)?;
//! assert_eq!(loss, 0.0);
//! # Ok::<(), rankle_core::Error>(())
//! ```

mod contrastive;
mod cross_entropy;
mod custom;
#[cfg(test)]
mod differences;
mod epoch_loss;
mod loss;
mod pairs;
mod recipe;
mod sampler;
mod training;
mod triplet;

pub use contrastive::ContrastiveLoss;
pub use cross_entropy::cross_entropy_loss;
pub use custom::{CustomLoss, Evaluate};
pub use epoch_loss::EpochLoss;
pub use loss::{BatchLoss, Loss, LossBuilder};
pub use pairs::PairLoss;
pub use recipe::Recipe;
pub use sampler::{PairRule, Sampling};
pub use training::{Moment, Progress, Training};
pub use triplet::{Triplet, TripletLoss, draw_triplets};
