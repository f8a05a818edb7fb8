//! Distances to a gallery, ranks in it, and sums over its gaps, in blocks of the gallery. Only [`distances`] stores a matrix.
//!
//! Points are side by side in the lanes of a register, gallery rows come one after the other. Every distance is one chain of
//! multiply-adds in the order of the coordinates: equal pairs have equal distances to the last bit, so comparing them is
//! meaningful and an item never outranks itself.

mod gaps;
mod pairs;
mod rank;

pub use gaps::{GapLoss, GapSums, GapTerm, gap_sums, gap_values, list_sigmoids};
pub use pairs::distances_to;
pub use rank::{Near, RankCount, Width, rank_counts};

use crate::aligned::Aligned;
use crate::simd::Isa;
use crate::size::{product, sum, whole};
use crate::tile::{Left, Right, Store, Stretches, Term, split, tile_of};
use rayon::prelude::*;

/// Distance of two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `1 - a·b`; rows are expected to have unit length.
    Cosine,
    /// `‖a - b‖`.
    Euclidean,
}

impl Metric {
    fn term(self) -> Term {
        match self {
            Self::Cosine => Term::Product,
            Self::Euclidean => Term::SquaredDifference,
        }
    }
    /// The distance from the sum over coordinates.
    #[inline(always)]
    fn finish(self, sum: f32) -> f32 {
        match self {
            Self::Cosine => 1.0 - sum,
            Self::Euclidean => sum.sqrt(),
        }
    }
}

/// Gallery rows, `len x dim`, laid out so that neighboring rows do not compete for the same cache lines.
#[derive(Clone, Debug)]
pub struct GalleryRows {
    data: Aligned,
    len: usize,
    dim: usize,
    stride: usize,
}

impl GalleryRows {
    /// Copies `len x dim` numbers. `dim` is at least 1.
    pub fn new(data: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && data.len().is_multiple_of(dim), "whole rows");
        // An odd number of cache lines: rows a power of two apart would share a few sets of the cache.
        let stride = sum([whole(dim, 32), 16]);
        let len = data.len() / dim;
        assert!(len <= u32::MAX as usize, "gallery indices have 32 bits");
        let mut padded = Aligned::zeros(product([len, stride]));
        padded.chunks_exact_mut(stride).zip(data.chunks_exact(dim)).for_each(|(to, from)| to[..dim].copy_from_slice(from));
        Self { data: padded, len, dim, stride }
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }
    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Numbers per row.
    pub fn dim(&self) -> usize {
        self.dim
    }
    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        assert!(index < self.len, "row {index} of a gallery of {}", self.len);
        &self.data[index * self.stride..][..self.dim]
    }
    /// Number of points, each of the rows' length.
    fn count(&self, points: &[f32]) -> usize {
        assert!(points.len().is_multiple_of(self.dim), "whole points");
        points.len() / self.dim
    }
}

/// Points per task: a few groups share each block of the gallery while it is in the cache.
const TASK: usize = 64;
/// Gallery rows per block.
const BLOCK: usize = 64;

/// Up to one panel of points, stored coordinate by coordinate.
struct Group {
    isa: Isa,
    metric: Metric,
    /// `dim x columns`.
    data: Aligned,
    /// Columns of one or two registers.
    columns: usize,
}

impl Group {
    /// Packs `points.len() / dim` rows, at most a panel of them.
    fn pack(isa: Isa, metric: Metric, points: &[f32], dim: usize) -> Self {
        let count = points.len() / dim;
        let columns = if count <= isa.lanes() { isa.lanes() } else { isa.panel() };
        let mut data = Aligned::zeros(product([dim, columns]));
        for (lane, row) in points.chunks_exact(dim).enumerate() {
            data[lane..].iter_mut().step_by(columns).zip(row).for_each(|(to, &from)| *to = from);
        }
        Self { isa, metric, data, columns }
    }

    /// Distances to the gallery rows `block`: `out[row * columns + lane]`.
    fn distances(&self, rows: &GalleryRows, block: std::ops::Range<usize>, out: &mut [f32]) {
        let right = Right { data: &self.data, stride: self.columns };
        for piece in split(block.len(), self.isa.rows()) {
            let data = &rows.data[(block.start + piece.start) * rows.stride..];
            let left = Left { data, row: rows.stride, step: 1, stretches: Stretches::ONE, len: rows.dim };
            let out = &mut out[piece.start * self.columns..piece.end * self.columns];
            tile_of(self.metric.term(), self.isa, piece.len(), self.columns, left, right, out, self.columns, Store::Overwrite);
            out.iter_mut().for_each(|sum| *sum = self.metric.finish(*sum));
        }
    }
}

/// Ranges of the blocks of a gallery.
fn blocks(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..len).step_by(BLOCK).map(move |start| start..len.min(start + BLOCK))
}

/// All distances, `n x len`, row-major. The matrix is stored: for a few points only.
pub fn distances(metric: Metric, points: &[f32], rows: &GalleryRows) -> Vec<f32> {
    distances_on(Isa::best(), metric, points, rows)
}

fn distances_on(isa: Isa, metric: Metric, points: &[f32], rows: &GalleryRows) -> Vec<f32> {
    let (dim, len) = (rows.dim, rows.len);
    let mut all = vec![0.0; product([rows.count(points), len])];
    all.par_chunks_mut(product([TASK, len])).zip(points.par_chunks(product([TASK, dim]))).for_each(|(all, points)| {
        let panels = points.chunks(product([isa.panel(), dim]));
        let groups: Vec<Group> = panels.map(|points| Group::pack(isa, metric, points, dim)).collect();
        let mut buffer = vec![0.0; BLOCK * isa.panel()];
        for block in blocks(len) {
            for (group, all) in groups.iter().zip(all.chunks_mut(product([isa.panel(), len]))) {
                group.distances(rows, block.clone(), &mut buffer);
                for (lane, list) in all.chunks_exact_mut(len).enumerate() {
                    let column = buffer[lane..].iter().step_by(group.columns);
                    list[block.clone()].iter_mut().zip(column).for_each(|(to, &from)| *to = from);
                }
            }
        }
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    pub(super) const METRICS: [Metric; 2] = [Metric::Cosine, Metric::Euclidean];

    #[test]
    fn distances_agree_with_their_definition_for_every_shape() {
        for isa in Isa::available() {
            for (n, len, dim) in [(1, 1, 1), (3, 70, 5), (isa.panel() + 1, 129, 40), (TASK + 3, 65, 33)] {
                let (points, gallery) = (random(1, n * dim), random(2, len * dim));
                for metric in METRICS {
                    let all = distances_on(isa, metric, &points, &GalleryRows::new(&gallery, dim));
                    for (at, &distance) in all.iter().enumerate() {
                        let pair = points[at / len * dim..][..dim].iter().zip(&gallery[at % len * dim..][..dim]);
                        let expected = match metric {
                            Metric::Cosine => 1.0 - pair.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>(),
                            Metric::Euclidean => pair.map(|(&a, &b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt(),
                        };
                        assert!((f64::from(distance) - expected).abs() < 1e-5, "{isa} {metric:?} {n}x{len}x{dim} at {at}");
                    }
                }
            }
        }
    }
}
