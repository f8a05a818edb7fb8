//! Shared types of rankle: embedders, datasets, distances, embeddings, galleries, rank counts, seeds and errors.
//!
//! The crates for data, models, metrics, attacks and training meet through these types alone. Pixels are in `[0, 1]` everywhere;
//! the first layer of an embedder normalizes them by mean and standard deviation, so epsilon has one unit for all models.
//!
//! Left out: files and datasets (`rankle-data`), architectures (`rankle-models`), metrics (`rankle-metrics`), attacks
//! (`rankle-attacks`), the command line (`rankle`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_kernels`](../rankle_kernels/index.html),
//! [`rankle_data`](../rankle_data/index.html), [`rankle_models`](../rankle_models/index.html),
//! [`rankle_metrics`](../rankle_metrics/index.html), [`rankle_attacks`](../rankle_attacks/index.html),
//! [`rankle_train`](../rankle_train/index.html).
//!
//! ```
//! use rankle_core::{Dataset, Embedder, Gallery, Distance, toy};
//! use rankle_core::rank::{Precision};
//!
//! let (dataset, embedder) = (toy::dataset(0), toy::embedder(0, Distance::Cosine)?);
//! let everything: Vec<usize> = (0..dataset.len()).collect();
//! let embeddings = embedder.distance().normalize(&embedder.embed(&dataset.images(&everything)?)?)?;
//! let gallery = Gallery::new(&embeddings)?;
//!
//! // No item is closer to an item than the item itself.
//! let itself = gallery.rank_counts(&embeddings.select(&[7])?, &[7], None, Precision::Single)?;
//! assert_eq!(itself.counts[0].closer, 0);
//! # Ok::<(), rankle_core::Error>(())
//! ```

pub mod classes;
mod counted;
pub mod dataset;
mod defense;
mod distance;
mod embedder;
mod embeddings;
mod error;
mod exact;
mod gallery;
mod input_spec;
mod kernels;
mod lists;
pub mod numbers;
mod pieces;
mod place;
pub mod rank;
mod ranking;
mod read_ahead;
pub mod seed;
mod sets;
mod tensors;
pub mod toy;
mod trainable;

pub use counted::Counted;
pub use dataset::Dataset;
pub use defense::Defense;
pub use distance::Distance;
pub use embedder::{Differentiable, Embedder, Upstream, upstream_gradient};
pub use embeddings::{Embeddings, HostRows};
pub use error::{Error, Result};
pub use gallery::Gallery;
pub use input_spec::{Filter, InputSpec, Resize};
pub use lists::SortedLists;
pub use pieces::in_pieces;
pub use place::Place;
pub use ranking::{DistanceTerm, Evaluation, GapLoss, GapTerm, ListSums, Lists, Ranking, Score};
pub use read_ahead::{Waiting, read_ahead};
pub use seed::Seed;
pub use sets::{Role, Sets};
pub use trainable::{AdamStep, Trainable};
