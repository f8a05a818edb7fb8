//! The interface of attacks to a gallery.

use crate::numbers::doubles;
use crate::{Distance, Embeddings, Gallery, Place, Result, SortedLists};
use candle_core::Tensor;
use rankle_kernels::distance::Hinge;
use std::fmt::Debug;

/// A loss per image and its gradient, on the device where they were computed.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// `(n)`, f64 or f32: one loss per image; lower is better for the attacker.
    pub loss: Tensor,
    /// `(n, d)`: the gradient of each image's own loss.
    pub gradient: Tensor,
}

impl Evaluation {
    /// The losses on the host.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when they cannot be copied.
    pub fn losses(&self) -> Result<Vec<f64>> {
        doubles(&self.loss)
    }
}

/// One term of a weighted sum of distances, from each embedding to its own targets.
#[derive(Clone, Copy, Debug)]
pub struct DistanceTerm<'a> {
    /// Indices of items, `n x targets`, row-major.
    pub targets: &'a [u32],
    /// The distances to the targets, from [`Ranking::distances_to`].
    pub distances: &'a Tensor,
    /// `(n, targets)`: the weight of each distance; `None` for weights of 1.
    pub weights: Option<&'a Tensor>,
    /// Factor of all distances.
    pub scale: f64,
}

/// A gallery or a set of queries on a compute backend. Results are tensors on its device; [`Ranking::exact`] is on the host.
pub trait Ranking: Send + Sync + Debug {
    /// The same embeddings on the host, with exact ranks, to draw targets and to measure the outcome of a search.
    fn exact(&self) -> &Gallery;

    /// The compute backend.
    fn place(&self) -> &Place;

    /// The distance of each embedding to each of its own targets, `(n, targets)`; `targets` holds indices of items, row by row.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] or [`crate::Error::Index`] when the targets do not fit.
    fn distances_to(&self, embeddings: &Embeddings, targets: &[u32]) -> Result<Tensor>;

    /// The weighted sum of the distances of all terms, and its gradient with respect to the embeddings. At a Euclidean distance
    /// of zero the gradient counts as zero.
    ///
    /// # Errors
    /// As [`Ranking::distances_to`], and [`crate::Error::Shape`] when distances or weights do not fit.
    fn weighted_distances(&self, embeddings: &Embeddings, terms: &[DistanceTerm<'_>]) -> Result<Evaluation>;

    /// Sums of hinges over the whole gallery with their gradient (METHOD.md 7.3): per embedding,
    /// `Σ_terms weight · Σ_c Σ_x [±(d(p,c) - d(p,x))]₊`.
    ///
    /// # Errors
    /// As [`Ranking::distances_to`].
    fn hinges(&self, embeddings: &Embeddings, terms: &[Hinge<'_>]) -> Result<Evaluation>;

    /// The lists of some queries over this gallery: the `rows` of `queries`, which may be this gallery.
    ///
    /// # Errors
    /// [`crate::Error::Index`] when there is no such query, [`crate::Error::Shape`] when the two sets do not fit.
    fn lists<'a>(&'a self, queries: &'a dyn Ranking, rows: &[usize]) -> Result<Box<dyn Lists + 'a>>;
}

impl dyn Ranking + '_ {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.exact().len()
    }
    /// Always false: an empty gallery cannot be built.
    pub fn is_empty(&self) -> bool {
        self.exact().is_empty()
    }
    /// The distance of this ranking.
    pub fn distance(&self) -> Distance {
        self.exact().distance()
    }
    /// Maps raw embeddings into the space of this ranking, on its backend.
    ///
    /// # Errors
    /// As [`Place::normalize`].
    pub fn normalize(&self, raw: &Tensor) -> Result<Embeddings> {
        self.place().normalize(self.distance(), raw)
    }
}

/// Lists of the distances from queries to a whole gallery.
pub trait Lists: Send + Sync + Debug {
    /// Hinge sums of images with `distances` `(n, targets)` to their queries; `slots` holds the index of each query's list: to
    /// raise an image `Σ_x [distance - d(q,x)]₊`, to lower it `Σ_x [d(q,x) - distance]₊`. Returns the sum per image times
    /// `share`, `(n)`, and the derivative of each hinge sum (without `share`) with respect to its distance, `(n, targets)`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] or [`crate::Error::Index`] when slots and distances do not fit.
    fn hinges(&self, slots: &[usize], distances: &Tensor, raise: bool, share: f64) -> Result<(Tensor, Tensor)>;

    /// The same lists on the host, sorted.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when they cannot be computed.
    fn exact(&self) -> Result<&SortedLists>;
}
