//! Adversarial training: a defense for ranking models, and one for classifiers to compare with.
//!
//! [`ShiftDefense`], the paper's, trains on images whose embeddings are moved as far as possible. [`MisclassificationDefense`] is
//! the usual adversarial training of classifiers. Left out: the training loop, which takes any [`rankle_core::Defense`]
//! (`rankle-train`), datasets (`rankle-data`) and the command line (`rankle`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle_attacks`](../rankle_attacks/index.html), [`rankle_train`](../rankle_train/index.html).
//!
//! ```
//! use rankle_attacks::Threat;
//! use rankle_core::{Dataset, Defense, Distance, Seed, toy};
//! use rankle_defense::ShiftDefense;
//!
//! let (dataset, embedder) = (toy::dataset(0), toy::embedder(0, Distance::Cosine)?);
//! let images = dataset.images(&[0, 1, 2])?;
//! let defense = ShiftDefense::paper(Threat::linf(0.3)?);
//! let perturbed = defense.perturb(&embedder, &images, &[0, 1, 2], 0, Seed(0))?;
//! let moved = (perturbed - &images)?.abs()?.max_all()?.to_scalar::<f32>()?;
//! assert!(0.0 < moved && moved <= 0.3 + 1e-6);
//! # Ok::<(), rankle_core::Error>(())
//! ```

mod misclassification;
mod shift;

pub use misclassification::MisclassificationDefense;
pub use shift::ShiftDefense;
