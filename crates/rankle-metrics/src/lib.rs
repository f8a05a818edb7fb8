//! Measures of rankings of labeled embeddings: recall at k, mean average precision, R-precision, reciprocal and normalized rank.
//! All results are fractions.
//!
//! Queries are all gallery items ([`leave_one_out`]), some of them, or items of another set ([`retrieve`]). A query that is a
//! gallery item is left out of its own list by its index, never as "the nearest item". Queries without another item of their
//! class are skipped and counted. At equal distances every number is its expected value over all orders of the tied items.
//! Distances that f32 cannot tell apart are compared in f64. Ranks are found by counting, a few lists at a time; the matrix of
//! all distances is never stored. [`spread`] measures the distances between items and the number of directions they spread in,
//! and so shows a collapsed embedding.
//!
//! Left out: embedding the images (`rankle_models`), attacks (`rankle_attacks`), studies and files (`rankle_eval`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle_eval`](../rankle_eval/index.html), [`rankle`](../rankle/index.html).
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
