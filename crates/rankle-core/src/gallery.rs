//! The database that is ranked.

use crate::counted::{Counted, PointList};
use crate::dataset::check_indices;
use crate::rank::{List, Precision, Resolution};
use crate::{Distance, Error, Points, Result};
use rankle_kernels::distance as kernel;
use rankle_kernels::distance::Width;
pub use rankle_kernels::distance::{Hinge, HingeSum};
use rayon::prelude::*;

/// Embedded gallery images. Every distance to it, wherever it is computed, is summed in one order, so that equal pairs have
/// equal distances to the last bit and an item never outranks itself.
#[derive(Clone, Debug)]
pub struct Gallery {
    rows: kernel::Rows,
    distance: Distance,
}

impl Gallery {
    /// # Errors
    /// [`Error::Empty`] without points, and [`Error::Unrankable`] as [`Points::check`] finds them.
    pub fn new(points: &Points) -> Result<Self> {
        if points.is_empty() {
            return Err(Error::Empty("gallery items"));
        }
        points.check(|item| format!("gallery item {item}"))?;
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
    /// The distances of all items to some items of `set`, which may be this gallery, `items.len() x len`, row-major.
    ///
    /// # Errors
    /// [`Error::Index`] when an index is out of range, [`Error::Shape`] when the set has another dimension or distance.
    pub fn distances_from(&self, set: &Self, items: &[usize]) -> Result<Vec<f32>> {
        Ok(kernel::distances(self.distance.metric(), &self.items_of(set, items)?, &self.rows))
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
    /// distances is never stored. `without` names one item for each point that has no place in its list, unless it is a target.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the targets or the items left out do not fit.
    pub fn rank_counts(
        &self,
        points: &Points,
        targets: &[u32],
        without: Option<&[u32]>,
        precision: Precision,
    ) -> Result<Counted> {
        self.check_targets(points, targets)?;
        self.count(points.as_slice(), targets, without, precision)
    }
    /// As [`Gallery::rank_counts`], in the lists of some items of `set`, which may be this gallery.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the items, the targets or the items left out do not fit.
    pub fn rank_counts_from(
        &self,
        (set, items): (&Self, &[usize]),
        targets: &[u32],
        without: Option<&[u32]>,
        precision: Precision,
    ) -> Result<Counted> {
        let points = self.items_of(set, items)?;
        self.check_sets(items.len(), targets)?;
        self.count(&points, targets, without, precision)
    }

    /// How many lists of distances to hold at once: 64, or fewer so that they fill 64 MiB at most.
    pub fn lists_at_once(&self) -> usize {
        ((64 << 20) / (4 * self.len())).clamp(1, 64)
    }
    /// The list of one point, from its distances as [`Gallery::distances`] has them.
    ///
    /// # Errors
    /// [`Error::Shape`] when point or distances do not fit.
    pub fn list<'a>(&'a self, point: &'a [f32], distances: &'a [f32], precision: Precision) -> Result<List<'a>> {
        if point.len() != self.dim() || distances.len() != self.len() {
            let expected = format!("({}) with ({}) distances", self.dim(), self.len());
            return Err(Error::Shape { what: "the point", actual: vec![point.len(), distances.len()], expected });
        }
        Ok(List {
            distances,
            width: self.width(),
            exact: Box::new(|item| self.distance.exact(point, self.point(item as usize))),
            most: precision.most(self.len()),
        })
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

    /// The difference of two distances to one point, one of them `distance`, below which f32 cannot tell them apart.
    pub fn resolution_at(&self, distance: f32) -> f32 {
        self.width().at(distance)
    }

    fn width(&self) -> Width {
        Width::of(self.distance.metric(), self.dim())
    }

    fn count(&self, points: &[f32], targets: &[u32], without: Option<&[u32]>, precision: Precision) -> Result<Counted> {
        let (dim, metric) = (self.dim(), self.distance.metric());
        let n = points.len() / dim;
        if let Some(items) = without {
            self.check_sets(n, items)?;
            if items.len() != n {
                return Err(Error::Shape { what: "the items left out", actual: vec![items.len()], expected: format!("({n})") });
            }
        }
        let set = targets.len() / n;
        let most = precision.most(self.len());
        let (mut counts, near) = kernel::rank_counts(metric, points, &self.rows, targets, most);
        let own = kernel::distances_to(metric, points, &self.rows, targets);
        let left_out = without.map(|items| (items, kernel::distances_to(metric, points, &self.rows, items)));
        let lists = counts.par_chunks_exact_mut(set).zip(targets.par_chunks_exact(set)).zip(own.par_chunks_exact(set));
        let resolution = lists.enumerate().map(|(at, ((counts, targets), own))| {
            let list = PointList {
                gallery: self,
                point: &points[at * dim..][..dim],
                targets,
                own,
                left_out: left_out.as_ref().map(|(items, distances)| (items[at], distances[at])),
                width: self.width(),
            };
            let (first, end) = (at * set, (at + 1) * set);
            let from = near.partition_point(|near| near.target < first);
            let near = &near[from..][..near[from..].partition_point(|near| near.target < end)];
            list.settle(counts, near, first, most)
        });
        Ok(Counted { resolution: resolution.reduce(Resolution::default, Resolution::and), counts })
    }

    /// The embeddings of some items of a set in the same space, one after the other.
    fn items_of(&self, set: &Self, indices: &[usize]) -> Result<Vec<f32>> {
        self.check_space(set.len(), set.dim(), set.distance)?;
        check_indices("gallery", indices, set.len())?;
        Ok(indices.iter().flat_map(|&index| set.point(index)).copied().collect())
    }
    fn check(&self, points: &Points) -> Result<()> {
        self.check_space(points.len(), points.dim(), points.distance())
    }
    fn check_space(&self, len: usize, dim: usize, distance: Distance) -> Result<()> {
        if (dim, distance) == (self.dim(), self.distance) {
            return Ok(());
        }
        let expected = format!("(n, {}) under {} distance", self.dim(), self.distance);
        Err(Error::Shape { what: "the embedding", actual: vec![len, dim], expected })
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
