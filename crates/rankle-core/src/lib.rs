//! The vocabulary of rankle: what an embedder, a dataset, a distance, a gallery and a seed are.
//!
//! Every other crate meets the rest only through the types here. This crate knows no file, no dataset, no architecture, no
//! attack and no command line. Pixels cross every boundary in `[0, 1]`; mean and standard deviation are the first layer of
//! an embedder, so epsilon has one meaning everywhere.
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
//! // Nothing is nearer to an item than the item itself.
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
pub use embedder::{Differentiable, Embedder, Upstream};
pub use embeddings::{Embeddings, HostRows};
pub use error::{Error, Result};
pub use gallery::{Gallery, Hinge};
pub use input_spec::{Filter, InputSpec, Resize};
pub use lists::SortedLists;
pub use place::Place;
pub use ranking::{DistanceTerm, Evaluation, Lists, Ranking};
pub use read_ahead::{Waiting, read_ahead};
pub use seed::Seed;
pub use sets::{Role, Sets};
pub use trainable::{AdamStep, Trainable};
