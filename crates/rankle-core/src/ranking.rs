//! The interface of attacks to a gallery.

use crate::numbers::doubles;
use crate::{Distance, Embeddings, Gallery, Place, Result, SortedLists};
use candle_core::Tensor;
pub use rankle_kernels::distance::{GapLoss, GapTerm};
use std::fmt::Debug;

/// A loss per image and its gradient, on the device where they were computed.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// `(n)`, f64 or f32: one loss per image; lower is better for the attacker.
    pub loss: Tensor,
    /// `(n, d)`: the gradient of each image's own loss.
    pub gradient: Tensor,
    /// `(n)`, of the type of the loss: the rank that the attack is after, lower is better for the attacker. `None` if the loss is no
    /// sum over a gallery, or is what the attack is after.
    pub rank: Option<Tensor>,
}

impl Evaluation {
    /// A loss and its gradient, without ranks.
    pub fn new(loss: Tensor, gradient: Tensor) -> Self {
        Self { loss, gradient, rank: None }
    }

    /// The losses on the host.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when they cannot be copied.
    pub fn losses(&self) -> Result<Vec<f64>> {
        doubles(&self.loss)
    }
}

/// An [`Evaluation`] without its gradient.
#[derive(Clone, Debug)]
pub struct Score {
    /// `(n)`, f64 or f32: one loss per image.
    pub loss: Tensor,
    /// `(n)`, of the type of the loss: the rank, if there is one.
    pub rank: Option<Tensor>,
}

impl From<Evaluation> for Score {
    fn from(Evaluation { loss, rank, .. }: Evaluation) -> Self {
        Self { loss, rank }
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

    /// Sums over the gaps to the whole gallery with their gradient (METHOD.md 7.3): per embedding,
    /// `Σ_terms weight · Σ_c Σ_x f(±(d(p,c) - d(p,x)))`, where `f` is `of`. The rank is the same sum, of 1 for each positive gap.
    ///
    /// # Errors
    /// As [`Ranking::distances_to`].
    fn gap_sums(&self, embeddings: &Embeddings, terms: &[GapTerm<'_>], of: GapLoss) -> Result<Evaluation>;

    /// Loss and rank of [`Ranking::gap_sums`], the same to the last bit. The default computes the gradient, too.
    ///
    /// # Errors
    /// As [`Ranking::gap_sums`].
    fn gap_values(&self, embeddings: &Embeddings, terms: &[GapTerm<'_>], of: GapLoss) -> Result<Score> {
        self.gap_sums(embeddings, terms, of).map(Score::from)
    }

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

/// Sums over the gaps of some images to the items of the lists of their queries.
#[derive(Clone, Debug)]
pub struct ListSums {
    /// The sum of each image over all its queries, times the share, `(n)`.
    pub loss: Tensor,
    /// The derivative of each sum over one list with respect to its distance, `(n, targets)`.
    pub derivative: Tensor,
    /// The number of positive gaps of each image over all its queries, times the share, `(n)`.
    pub positive: Tensor,
}

/// Lists of the distances from queries to a whole gallery.
pub trait Lists: Send + Sync + Debug {
    /// Sums over the gaps of images with `distances` `(n, targets)` to their queries; `slots` holds the index of each query's list.
    /// A gap is `distance - d(q,x)` to raise an image, and `d(q,x) - distance` to lower it. The sums of each image, not the
    /// derivatives, are multiplied by `share`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] or [`crate::Error::Index`] when slots and distances do not fit.
    fn gap_sums(&self, slots: &[usize], distances: &Tensor, raise: bool, share: f64, of: GapLoss) -> Result<ListSums>;

    /// The same lists on the host, sorted.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when they cannot be computed.
    fn exact(&self) -> Result<&SortedLists>;
}
