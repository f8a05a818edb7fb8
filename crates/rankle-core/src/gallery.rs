//! The database that is ranked.

use crate::dataset::check_indices;
use crate::{Distance, Error, Points, Result};
use rankle_kernels::distance as kernel;
pub use rankle_kernels::distance::{Hinge, HingeSum, Placing};

/// Embedded gallery images. Every distance to it, wherever it is computed, is summed in one order, so that equal pairs have
/// equal distances to the last bit and an item never outranks itself.
#[derive(Clone, Debug)]
pub struct Gallery {
    rows: kernel::Rows,
    distance: Distance,
}

impl Gallery {
    /// # Errors
    /// [`Error::Empty`] without points, [`Error::NotFinite`] if one of them is not a number.
    pub fn new(points: &Points) -> Result<Self> {
        if points.is_empty() {
            return Err(Error::Empty("gallery items"));
        }
        if !points.as_slice().iter().all(|x| x.is_finite()) {
            return Err(Error::NotFinite("the embedding of the gallery".into()));
        }
        Ok(Self { rows: kernel::Rows::new(points.as_slice(), points.dim()), distance: points.distance() })
    }
    /// How many items.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Never: an empty gallery cannot be built.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }
    /// Numbers per embedding.
    pub fn dim(&self) -> usize {
        self.rows.dim()
    }
    /// The distance of this ranking.
    pub fn distance(&self) -> Distance {
        self.distance
    }
    /// The embedding of one item.
    pub fn point(&self, index: usize) -> &[f32] {
        self.rows.row(index)
    }
    /// The distance of every point to every item, `n x len`, row-major. For a few points: this matrix is stored.
    ///
    /// # Errors
    /// [`Error::Shape`] when the points have another dimension.
    pub fn distances(&self, points: &Points) -> Result<Vec<f32>> {
        self.check(points)?;
        Ok(kernel::distances(self.distance.metric(), points.as_slice(), &self.rows))
    }
    /// The distances of all items to the items `from`, `from.len() x len`, row-major.
    ///
    /// # Errors
    /// [`Error::Index`] when an index is out of range.
    pub fn distances_from(&self, from: &[usize]) -> Result<Vec<f32>> {
        Ok(kernel::distances(self.distance.metric(), &self.items(from)?, &self.rows))
    }
    /// The distance of each point to each of its own targets (`n x set`, row-major), bit-equal to [`Gallery::distances`].
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the targets do not fit.
    pub fn distances_to(&self, points: &Points, targets: &[u32]) -> Result<Vec<f32>> {
        self.check_targets(points, targets)?;
        Ok(kernel::distances_to(self.distance.metric(), points.as_slice(), &self.rows, targets))
    }
    /// Where each target (`n x set`, row-major) stands in the list of its own point: counts, never a sort. The matrix of
    /// distances is never stored.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the targets do not fit.
    pub fn placings(&self, points: &Points, targets: &[u32]) -> Result<Vec<Placing>> {
        self.check_targets(points, targets)?;
        Ok(kernel::placings(self.distance.metric(), points.as_slice(), &self.rows, targets))
    }
    /// As [`Gallery::placings`], in the lists of the items `from`.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the items or the targets do not fit.
    pub fn placings_from(&self, from: &[usize], targets: &[u32]) -> Result<Vec<Placing>> {
        let points = self.items(from)?;
        self.check_sets(from.len(), targets)?;
        Ok(kernel::placings(self.distance.metric(), &points, &self.rows, targets))
    }
    /// Sums of hinges over the whole gallery with their exact slope, one pass for all terms (`method.md` 7.3):
    /// per point, `Σ_terms weight · Σ_c Σ_x [±(d(p,c) - d(p,x))]₊`.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the targets of a term do not fit.
    pub fn hinges(&self, points: &Points, terms: &[Hinge<'_>]) -> Result<HingeSum> {
        for term in terms {
            self.check_targets(points, term.targets)?;
        }
        Ok(kernel::hinges(self.distance.metric(), points.as_slice(), &self.rows, terms))
    }

    /// The embeddings of some items, one after the other.
    fn items(&self, indices: &[usize]) -> Result<Vec<f32>> {
        check_indices("gallery", indices, self.len())?;
        Ok(indices.iter().flat_map(|&index| self.point(index)).copied().collect())
    }
    fn check(&self, points: &Points) -> Result<()> {
        if points.dim() == self.dim() && points.distance() == self.distance {
            return Ok(());
        }
        let expected = format!("(n, {}) under {} distance", self.dim(), self.distance);
        Err(Error::Shape { what: "the embedding", actual: vec![points.len(), points.dim()], expected })
    }
    fn check_targets(&self, points: &Points, targets: &[u32]) -> Result<()> {
        self.check(points)?;
        self.check_sets(points.len(), targets)
    }
    fn check_sets(&self, points: usize, targets: &[u32]) -> Result<()> {
        if points == 0 || targets.is_empty() || !targets.len().is_multiple_of(points) {
            let expected = format!("({points} x set)");
            return Err(Error::Shape { what: "the list of targets", actual: vec![targets.len()], expected });
        }
        match targets.iter().find(|&&index| index as usize >= self.len()) {
            Some(&index) => Err(Error::Index { what: "target", index: index as usize, len: self.len() }),
            None => Ok(()),
        }
    }
}
