//! Distances of single pairs, bit-equal to those of whole blocks.

use super::{GalleryRows, Metric};
use crate::simd::{Isa, Kernel, Vector};

/// The distance of each point to each of its own targets, `n x set`, row-major.
pub fn distances_to(metric: Metric, points: &[f32], rows: &GalleryRows, targets: &[u32]) -> Vec<f32> {
    distances_to_on(Isa::best(), metric, points, rows, targets)
}

pub(super) fn distances_to_on(isa: Isa, metric: Metric, points: &[f32], rows: &GalleryRows, targets: &[u32]) -> Vec<f32> {
    let n = rows.count(points);
    assert!(n > 0 && targets.len().is_multiple_of(n), "one set of targets per point");
    let set = targets.len() / n;
    let mut distances = Vec::with_capacity(targets.len());
    for (point, targets) in points.chunks_exact(rows.dim).zip(targets.chunks_exact(set.max(1))) {
        for targets in targets.chunks(CHAINS) {
            let mut others = [point; CHAINS];
            others.iter_mut().zip(targets).for_each(|(other, &target)| *other = rows.row(target as usize));
            let sums = isa.run(Pairs { metric, point, others });
            distances.extend(sums[..targets.len()].iter().map(|&sum| metric.finish(sum)));
        }
    }
    distances
}

/// Number of pairs at a time. A pair is one chain of additions; eight of them hide its latency.
const CHAINS: usize = 8;

struct Pairs<'a> {
    metric: Metric,
    point: &'a [f32],
    others: [&'a [f32]; CHAINS],
}

impl Kernel for Pairs<'_> {
    type Output = [f32; CHAINS];

    #[inline(always)]
    fn run<V: Vector>(self) -> [f32; CHAINS] {
        let len = self.point.len();
        let others = self.others.map(|other| &other[..len]);
        let mut sums = [0.0f32; CHAINS];
        for (k, &x) in self.point.iter().enumerate() {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum = match self.metric {
                    Metric::Cosine => V::multiply_add_one(other[k], x, *sum),
                    Metric::Euclidean => V::multiply_add_one(other[k] - x, other[k] - x, *sum),
                };
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::super::{distances_on, tests::METRICS};
    use super::*;
    use crate::testing::random;

    /// Exact equality, not only approximate: every rank relies on it.
    #[test]
    fn a_pair_has_the_bits_it_has_in_a_block() {
        for isa in Isa::available() {
            let (n, len, dim, set) = (37, 90, 129, 11);
            let (points, gallery) = (random(1, n * dim), GalleryRows::new(&random(2, len * dim), dim));
            let targets: Vec<u32> = (0..n * set).map(|at| (at * 31 % len) as u32).collect();
            for metric in METRICS {
                let all = distances_on(isa, metric, &points, &gallery);
                for (at, &pair) in distances_to_on(isa, metric, &points, &gallery, &targets).iter().enumerate() {
                    assert_eq!(pair.to_bits(), all[at / set * len + targets[at] as usize].to_bits(), "{isa} {metric:?} {at}");
                }
            }
        }
    }
}
