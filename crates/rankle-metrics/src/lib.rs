//! How good a ranking is: leave-one-out recall at k, mean average precision, R-precision, reciprocal and normalized rank.
//!
//! Every gallery item is a query against all others ([`leave_one_out`]), or some items or those of another set are ([`retrieve`]). A
//! query that is an item is left out of its own list by its index, never as "the nearest item". Queries without another item of their
//! class have nothing to find: they are skipped and counted. Where distances
//! are equal, every number is its expected value over all orders of the tied items. Distances that f32 cannot tell apart are compared
//! in f64. Ranks are found by counting, a few lists at a time; the matrix of all distances is never stored.
//!
//! [`spread`] tells how far apart the items are, and in how many directions: whether an embedding has collapsed.
//!
//! Left out: attacks, embedding, files. All results are fractions.
//!
//! ```
//! use rankle_core::{Dataset, Distance, Embedder, Gallery, toy};
//!
//! let (dataset, embedder) = (toy::dataset(0), toy::embedder(0, Distance::Cosine)?);
//! let everything: Vec<usize> = (0..dataset.len()).collect();
//! let gallery = Gallery::new(&embedder.distance().normalize(&embedder.embed(&dataset.images(&everything)?)?)?)?;
//!
//! let retrieval = rankle_metrics::leave_one_out(&gallery, dataset.labels(), &mut |_done| std::ops::ControlFlow::Continue(()))?;
//! assert!(retrieval.recall_at(1) > 0.9); // chance is 0.25
//! assert!(retrieval.recall_at(10) >= retrieval.recall_at(1));
//! assert_eq!((retrieval.queries(), retrieval.skipped), (200, 0));
//! # Ok::<(), rankle_core::Error>(())
//! ```

mod retrieval;
mod spread;

pub use retrieval::{Retrieval, leave_one_out, retrieve};
pub use spread::{EmbeddingSpread, spread};
