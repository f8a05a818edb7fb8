//! Defenses for ranking models, and one for classifiers to compare them with.
//!
//! [`ShiftDefense`] is the paper's: train on images whose embeddings were moved as far as possible. It knows the attack behind
//! it; the training loop knows only [`rankle_core::Defense`]. [`MisclassificationDefense`] is the usual adversarial training of
//! classifiers. No file, dataset or command line is known here.
//!
//! ```
//! use rankle_attacks::Threat;
//! use rankle_core::{Dataset, Defense, Distance, Seed, toy};
//! use rankle_defense::ShiftDefense;
//!
//! let (dataset, embedder) = (toy::dataset(0), toy::embedder(0, Distance::Cosine)?);
//! let images = dataset.images(&[0, 1, 2])?;
//! let defense = ShiftDefense::paper(Threat::linf(0.3)?);
//! let hardened = defense.perturb(&embedder, &images, &[0, 1, 2], 0, Seed(0))?;
//! let moved = (hardened - &images)?.abs()?.max_all()?.to_scalar::<f32>()?;
//! assert!(0.0 < moved && moved <= 0.3 + 1e-6);
//! # Ok::<(), rankle_core::Error>(())
//! ```

mod misclassification;
mod shift;

pub use misclassification::MisclassificationDefense;
pub use shift::ShiftDefense;
