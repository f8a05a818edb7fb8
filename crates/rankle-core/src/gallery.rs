//! The gallery on the CPU, computed by rankle's kernels.

use crate::counted::{Counted, PointList};
use crate::dataset::check_indices;
use crate::numbers::numbers;
use crate::rank::{List, Precision, Resolution};
use crate::{
    Distance, DistanceTerm, Embeddings, Error, Evaluation, GapLoss, GapTerm, Lists, Place, Ranking, Result, Score, SortedLists,
};
use candle_core::{Device, Tensor};
use rankle_kernels::distance as kernel;
use rankle_kernels::distance::Width;
use rayon::prelude::*;

/// Embedded gallery images. All methods sum a distance in the same order, so equal pairs have equal distances to the last bit and
/// an item never outranks itself.
#[derive(Clone, Debug)]
pub struct Gallery {
    rows: kernel::GalleryRows,
    distance: Distance,
}

impl Gallery {
    /// Copies embeddings into a gallery.
    ///
    /// # Errors
    /// [`Error::Empty`] without embeddings, [`Error::Unrankable`] for one that [`Embeddings::check`] refuses.
    pub fn new(embeddings: &Embeddings) -> Result<Self> {
        if embeddings.is_empty() {
            return Err(Error::Empty("gallery items"));
        }
        embeddings.check(embeddings.len(), |item| format!("gallery item {item}"))?;
        let rows = kernel::GalleryRows::new(embeddings.to_host()?.as_slice(), embeddings.dim());
        Ok(Self { rows, distance: embeddings.distance() })
    }
    /// Number of items.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Always false: an empty gallery cannot be built.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }
    /// Dimension of the embeddings.
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
    /// The distance of every embedding to every item, `n x len`, row-major. The matrix is stored: for a few embeddings only.
    ///
    /// # Errors
    /// [`Error::Shape`] when the embeddings have another dimension.
    pub fn distances(&self, embeddings: &Embeddings) -> Result<Vec<f32>> {
        self.check(embeddings)?;
        Ok(kernel::distances(self.distance.metric(), embeddings.to_host()?.as_slice(), &self.rows))
    }
    /// The distances of some items of `set`, which may be this gallery, to all items, `items.len() x len`, row-major.
    ///
    /// # Errors
    /// [`Error::Index`] when an index is out of range, [`Error::Shape`] when the set has another dimension or distance.
    pub fn distances_from(&self, set: &Self, items: &[usize]) -> Result<Vec<f32>> {
        Ok(kernel::distances(self.distance.metric(), &self.items_of(set, items)?, &self.rows))
    }
    /// The distance of each embedding to each of its own targets (`n x targets`, row-major), bit-equal to [`Gallery::distances`].
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the targets do not fit.
    pub fn distances_to(&self, embeddings: &Embeddings, targets: &[u32]) -> Result<Vec<f32>> {
        self.check(embeddings)?;
        self.check_targets(embeddings.len(), targets)?;
        Ok(kernel::distances_to(self.distance.metric(), embeddings.to_host()?.as_slice(), &self.rows, targets))
    }
    /// As [`Gallery::distances_to`], for some items of `set`, which may be this gallery.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the items or the targets do not fit.
    pub fn distances_to_from(&self, (set, items): (&Self, &[usize]), targets: &[u32]) -> Result<Vec<f32>> {
        let rows = self.items_of(set, items)?;
        self.check_targets(items.len(), targets)?;
        Ok(kernel::distances_to(self.distance.metric(), &rows, &self.rows, targets))
    }
    /// The sorted lists of some items of `set`, which may be this gallery.
    ///
    /// # Errors
    /// As [`Gallery::distances_from`].
    pub fn sorted_lists(&self, set: &Self, items: &[usize]) -> Result<SortedLists> {
        Ok(SortedLists::new(self.distances_from(set, items)?, self.len()))
    }
    /// Rank counts of each target (`n x targets`, row-major) in the list of its own embedding. No list is sorted, and the matrix
    /// of distances is not stored. `without` names one item per embedding, which is left out of its list unless it is the target.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Index`] when the targets or the items left out do not fit.
    pub fn rank_counts(
        &self,
        embeddings: &Embeddings,
        targets: &[u32],
        without: Option<&[u32]>,
        precision: Precision,
    ) -> Result<Counted> {
        self.check(embeddings)?;
        self.check_targets(embeddings.len(), targets)?;
        self.count(embeddings.to_host()?.as_slice(), targets, without, precision)
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
        self.check_targets(items.len(), targets)?;
        self.count(&points, targets, without, precision)
    }

    /// The standard deviation of the distances from the items of `set` to this gallery: of at most 100 and 1,000 of them, evenly
    /// spaced.
    ///
    /// # Errors
    /// [`Error::Shape`] when the two sets do not fit.
    pub fn spread_from(&self, set: &Self) -> Result<f64> {
        let some = |len: usize, most: usize| {
            let count = len.min(most);
            (0..count).map(move |at| at * len / count)
        };
        let (points, items) = (some(set.len(), 100).collect::<Vec<_>>(), some(self.len(), 1000));
        let targets: Vec<u32> = points.iter().flat_map(|_| items.clone().map(|item| item as u32)).collect();
        let distances = self.distances_to_from((set, &points), &targets)?;
        let mean = |numbers: &mut dyn Iterator<Item = f64>| numbers.sum::<f64>() / distances.len() as f64;
        let center = mean(&mut distances.iter().map(|&distance| f64::from(distance)));
        Ok(mean(&mut distances.iter().map(|&distance| (f64::from(distance) - center).powi(2))).sqrt())
    }

    /// Number of lists of distances to hold at once: 64, or fewer so that they fill at most 64 MiB.
    pub fn lists_at_once(&self) -> usize {
        ((64 << 20) / (4 * self.len())).clamp(1, 64)
    }
    /// The list of one point, from its row of [`Gallery::distances`].
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
    /// Difference of two distances to one point, one of them `distance`, below which f32 cannot tell them apart.
    pub fn resolution_at(&self, distance: f32) -> f32 {
        self.width().at(distance)
    }

    fn width(&self) -> Width {
        Width::of(self.distance.metric(), self.dim())
    }

    fn count(&self, points: &[f32], targets: &[u32], without: Option<&[u32]>, precision: Precision) -> Result<Counted> {
        let dim = self.dim();
        let n = points.len() / dim;
        if let Some(items) = without {
            self.check_targets(n, items)?;
            if items.len() != n {
                return Err(Error::Shape { what: "the items left out", actual: vec![items.len()], expected: format!("({n})") });
            }
        }
        let set = targets.len() / n;
        let most = precision.most(self.len());
        let at_once = self.points_at_once(set, most);
        let mut counted = Counted::default();
        for (part, points) in points.chunks(at_once.saturating_mul(dim)).enumerate() {
            let (first, n) = (part * at_once, points.len() / dim);
            let without = without.map(|items| &items[first..][..n]);
            let Counted { counts, resolution } = self.count_part(points, &targets[first * set..][..n * set], without, most);
            counted.counts.extend(counts);
            counted.resolution = counted.resolution.and(resolution);
        }
        Ok(counted)
    }

    /// Number of points to count at once, so that the near items of a collapsed model fill at most about 200 MB.
    fn points_at_once(&self, set: usize, most: usize) -> usize {
        (8_000_000 / (most.min(self.len()) * set).max(1)).max(1)
    }

    fn count_part(&self, points: &[f32], targets: &[u32], without: Option<&[u32]>, most: usize) -> Counted {
        let (dim, metric) = (self.dim(), self.distance.metric());
        let set = targets.len() / (points.len() / dim);
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
        Counted { resolution: resolution.reduce(Resolution::default, Resolution::and), counts }
    }

    fn items_of(&self, set: &Self, indices: &[usize]) -> Result<Vec<f32>> {
        self.check_set(set)?;
        check_indices("query", indices, set.len())?;
        Ok(indices.iter().flat_map(|&index| set.point(index)).copied().collect())
    }
    /// Checks that embeddings are in the space of this gallery.
    pub(crate) fn check(&self, embeddings: &Embeddings) -> Result<()> {
        self.check_space(embeddings.len(), embeddings.dim(), embeddings.distance())
    }
    /// Checks that another set is in the space of this gallery.
    pub(crate) fn check_set(&self, set: &Self) -> Result<()> {
        self.check_space(set.len(), set.dim(), set.distance)
    }
    fn check_gaps(&self, embeddings: &Embeddings, terms: &[GapTerm<'_>]) -> Result<()> {
        self.check(embeddings)?;
        terms.iter().try_for_each(|term| self.check_targets(embeddings.len(), term.targets))
    }
    /// Checks that each pair of an embedding and a target has one distance and, if there are weights, one weight.
    pub(crate) fn check_terms(&self, embeddings: &Embeddings, terms: &[DistanceTerm<'_>]) -> Result<()> {
        self.check(embeddings)?;
        for DistanceTerm { targets, distances, weights, .. } in terms {
            self.check_targets(embeddings.len(), targets)?;
            let pairs = [embeddings.len(), targets.len() / embeddings.len()];
            for (what, tensor) in [("the distances of a term", Some(*distances)), ("the weights of a term", *weights)] {
                if let Some(tensor) = tensor.filter(|tensor| tensor.dims() != pairs) {
                    return Err(Error::Shape { what, actual: tensor.dims().to_vec(), expected: format!("{pairs:?}") });
                }
            }
        }
        Ok(())
    }
    fn check_space(&self, len: usize, dim: usize, distance: Distance) -> Result<()> {
        if (dim, distance) == (self.dim(), self.distance) {
            return Ok(());
        }
        let expected = format!("(n, {}) under {} distance", self.dim(), self.distance);
        Err(Error::Shape { what: "the embedding", actual: vec![len, dim], expected })
    }
    /// Checks that each of `n` embeddings has the same number of targets, and that all targets are items.
    pub(crate) fn check_targets(&self, n: usize, targets: &[u32]) -> Result<()> {
        if n == 0 || targets.is_empty() || !targets.len().is_multiple_of(n) {
            let expected = format!("({n} x targets)");
            return Err(Error::Shape { what: "the list of targets", actual: vec![targets.len()], expected });
        }
        match targets.iter().find(|&&index| index as usize >= self.len()) {
            Some(&index) => Err(Error::Index { what: "target", index: index as usize, len: self.len() }),
            None => Ok(()),
        }
    }
}

impl Ranking for Gallery {
    fn exact(&self) -> &Gallery {
        self
    }
    fn place(&self) -> &Place {
        &Place::Kernels
    }

    fn distances_to(&self, embeddings: &Embeddings, targets: &[u32]) -> Result<Tensor> {
        let distances = Self::distances_to(self, embeddings, targets)?;
        Ok(Tensor::from_vec(distances, (embeddings.len(), targets.len() / embeddings.len()), &Device::Cpu)?)
    }

    fn weighted_distances(&self, embeddings: &Embeddings, terms: &[DistanceTerm<'_>]) -> Result<Evaluation> {
        self.check_terms(embeddings, terms)?;
        let (rows, dim) = (embeddings.to_host()?, self.dim());
        let mut loss = vec![0.0f64; embeddings.len()];
        let mut gradient = vec![0.0f32; embeddings.len() * dim];
        for &DistanceTerm { targets, distances, weights, scale } in terms {
            let per_row = targets.len() / embeddings.len();
            let (distances, weights) = (numbers(distances)?, weights.map(numbers).transpose()?);
            let all = gradient.par_chunks_exact_mut(dim).zip(&mut loss).zip(targets.par_chunks_exact(per_row)).enumerate();
            all.for_each(|(row, ((gradient, loss), targets))| {
                for (at, &target) in targets.iter().enumerate() {
                    let pair = row * per_row + at;
                    let weight = weights.as_ref().map_or(scale, |weights| scale * f64::from(weights[pair]));
                    let item = self.point(target as usize);
                    *loss += weight * f64::from(distances[pair]);
                    add_gradient(self.distance, gradient, weight, rows.row(row), item, distances[pair]);
                }
            });
        }
        let gradient = Tensor::from_vec(gradient, embeddings.tensor().shape(), &Device::Cpu)?;
        Ok(Evaluation::new(Tensor::new(loss, &Device::Cpu)?, gradient))
    }

    fn gap_sums(&self, embeddings: &Embeddings, terms: &[GapTerm<'_>], of: GapLoss) -> Result<Evaluation> {
        self.check_gaps(embeddings, terms)?;
        let sum = kernel::gap_sums(self.distance.metric(), embeddings.to_host()?.as_slice(), &self.rows, terms, of);
        let gradient = Tensor::from_vec(sum.gradient, embeddings.tensor().shape(), &Device::Cpu)?;
        let [loss, active] = [sum.loss, sum.active].map(|numbers| Tensor::new(numbers, &Device::Cpu));
        Ok(Evaluation { loss: loss?, gradient, rank: Some(active?) })
    }

    fn gap_values(&self, embeddings: &Embeddings, terms: &[GapTerm<'_>], of: GapLoss) -> Result<Score> {
        self.check_gaps(embeddings, terms)?;
        let sum = kernel::gap_values(self.distance.metric(), embeddings.to_host()?.as_slice(), &self.rows, terms, of);
        let [loss, active] = [sum.loss, sum.active].map(|numbers| Tensor::new(numbers, &Device::Cpu));
        Ok(Score { loss: loss?, rank: Some(active?) })
    }

    fn lists<'a>(&'a self, queries: &'a dyn Ranking, rows: &[usize]) -> Result<Box<dyn Lists + 'a>> {
        Ok(Box::new(self.sorted_lists(queries.exact(), rows)?))
    }
}

/// Adds `weight · ∇d(item, embedding)` with respect to the embedding, where `d` is their distance. At a Euclidean distance of
/// zero the gradient counts as zero.
fn add_gradient(distance: Distance, gradient: &mut [f32], weight: f64, embedding: &[f32], item: &[f32], d: f32) {
    match distance {
        Distance::Cosine => {
            let weight = weight as f32;
            gradient.iter_mut().zip(item).for_each(|(g, &q)| *g -= weight * q);
        }
        Distance::Euclidean if d > 0.0 => {
            let weight = (weight / f64::from(d)) as f32;
            gradient.iter_mut().zip(embedding.iter().zip(item)).for_each(|(g, (&c, &q))| *g += weight * (c - q));
        }
        Distance::Euclidean => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a collapsed gallery the points are counted in parts: neither the counts nor the resolution depend on the parts.
    #[test]
    fn counts_do_not_depend_on_how_many_points_are_counted_at_once() {
        let (len, n, set) = (1200, 90, 100);
        let near = |index: usize| [1.0 + 1e-5 * ((index * 7919) % 1009) as f32, 1e-4 * ((index * 104_729) % 997) as f32];
        let rows = |from: usize, count: usize| {
            let numbers: Vec<f32> = (from..from + count).flat_map(near).collect();
            Distance::Cosine.normalize(&Tensor::from_vec(numbers, (count, 2), &Device::Cpu).unwrap()).unwrap()
        };
        let (gallery, points) = (Gallery::new(&rows(0, len)).unwrap(), rows(3, n));
        let targets: Vec<u32> = (0..(n * set) as u32).map(|at| at * 31 % len as u32).collect();
        let without: Vec<u32> = (0..n as u32).map(|row| row * 7 % len as u32).collect();
        assert!(gallery.points_at_once(set, Precision::Resolved.most(len)) < n, "the test needs several parts");
        for (precision, without) in
            [(Precision::Resolved, Some(&without[..])), (Precision::Resolved, None), (Precision::Single, None)]
        {
            let together = gallery.rank_counts(&points, &targets, without, precision).unwrap();
            let mut alone = Counted::default();
            for row in 0..n {
                let (own, without) = (&targets[row * set..][..set], without.map(|items| &items[row..][..1]));
                let one = gallery.rank_counts(&points.select(&[row]).unwrap(), own, without, precision).unwrap();
                alone.counts.extend(one.counts);
                alone.resolution = alone.resolution.and(one.resolution);
            }
            assert!(together == alone && together.resolution.near > 0, "{precision:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let rows = |n: usize| Tensor::from_vec((0..2 * n).map(|at| at as f32).collect::<Vec<_>>(), (n, 2), &Device::Cpu).unwrap();
        for place in [Place::Kernels, Place::Tensors(Device::Cpu)] {
            let embeddings = |n| place.normalize(Distance::Euclidean, &rows(n)).unwrap();
            let (gallery, asking) = (place.ranking(&embeddings(5)).unwrap(), embeddings(3));
            let distances = gallery.distances_to(&asking, &[0, 1, 2, 3, 4, 0]).unwrap();
            let weighted = |weights: Option<&Tensor>, targets: &[u32]| {
                let term = DistanceTerm { targets, distances: &distances, weights, scale: 1.0 };
                gallery.weighted_distances(&asking, &[term])
            };
            assert!(weighted(None, &[0, 1, 2, 3, 4, 0]).is_ok());
            // One weight for each image instead of one for each pair, and distances of other pairs.
            let flat = Tensor::ones(3, candle_core::DType::F32, &Device::Cpu).unwrap();
            assert!(matches!(
                weighted(Some(&flat), &[0, 1, 2, 3, 4, 0]),
                Err(Error::Shape { what: "the weights of a term", .. })
            ));
            assert!(matches!(weighted(None, &[0, 1, 2]), Err(Error::Shape { what: "the distances of a term", .. })));
            let lists = gallery.lists(&*gallery, &[4, 2]).unwrap();
            assert!(lists.gap_sums(&[0, 1, 1, 0, 0, 1], &distances, true, 1.0, GapLoss::Hinge).is_ok());
            assert!(matches!(lists.gap_sums(&[0, 1], &distances, true, 1.0, GapLoss::Hinge), Err(Error::Shape { .. })));
            assert!(matches!(
                lists.gap_sums(&[0, 1, 2, 0, 0, 1], &distances, true, 1.0, GapLoss::Hinge),
                Err(Error::Index { index: 2, len: 2, .. })
            ));
            assert!(gallery.lists(&*gallery, &[5]).is_err());
            let narrow = Tensor::ones((3, 0), candle_core::DType::F32, &Device::Cpu).unwrap();
            assert!(matches!(place.normalize(Distance::Cosine, &narrow), Err(Error::Shape { .. })));
        }
    }
}
