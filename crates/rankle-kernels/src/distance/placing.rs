//! Ranks by counting.

use super::pairs::distances_to_on;
use super::{BLOCK, Group, Metric, Rows, TASK, blocks};
use crate::simd::{Isa, Kernel, Vector};
use rayon::prelude::*;

/// Where a target stands in a list: everything that a rule for ties needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placing {
    /// Items strictly nearer.
    pub closer: u32,
    /// Items at exactly the same distance with a lower index.
    pub tied_before: u32,
    /// Items at exactly the same distance, the target itself included.
    pub tied: u32,
}

/// Where each target (`n x set`, row-major) stands in the list of its own point.
pub fn placings(metric: Metric, points: &[f32], rows: &Rows, targets: &[u32]) -> Vec<Placing> {
    placings_on(Isa::best(), metric, points, rows, targets)
}

fn placings_on(isa: Isa, metric: Metric, points: &[f32], rows: &Rows, targets: &[u32]) -> Vec<Placing> {
    let dim = rows.dim;
    let set = targets.len() / (points.len() / dim);
    let own = distances_to_on(isa, metric, points, rows, targets);
    let mut placings = vec![Placing::default(); targets.len()];
    placings
        .par_chunks_mut(TASK * set)
        .zip(points.par_chunks(TASK * dim))
        .zip(own.par_chunks(TASK * set).zip(targets.par_chunks(TASK * set)))
        .for_each(|((placings, points), (own, targets))| {
            let panel = isa.panel();
            let lists = own.chunks(panel * set).zip(targets.chunks(panel * set));
            let mut groups: Vec<(Group, Counts)> = points
                .chunks(panel * dim)
                .zip(lists)
                .map(|(points, (own, targets))| {
                    let group = Group::pack(isa, metric, points, dim);
                    let counts = Counts::new(&group, set, own, targets);
                    (group, counts)
                })
                .collect();
            let mut buffer = vec![0.0; BLOCK * panel];
            for block in blocks(rows.len) {
                for (group, counts) in &mut groups {
                    group.distances(rows, block.clone(), &mut buffer);
                    isa.run(Count { counts, distances: &buffer[..block.len() * group.columns], first: block.start as u32 });
                }
            }
            for ((group, counts), placings) in groups.iter().zip(placings.chunks_mut(panel * set)) {
                for (at, placing) in placings.iter_mut().enumerate() {
                    let slot = at % set * group.columns + at / set;
                    *placing = Placing { closer: counts.closer[slot], tied_before: counts.before[slot], tied: counts.tied[slot] };
                }
            }
        });
    placings
}

/// Thresholds and counters of one group, `set x columns`.
struct Counts {
    columns: usize,
    own: Vec<f32>,
    targets: Vec<u32>,
    closer: Vec<u32>,
    before: Vec<u32>,
    tied: Vec<u32>,
}

impl Counts {
    fn new(group: &Group, set: usize, own: &[f32], targets: &[u32]) -> Self {
        let size = set * group.columns;
        let mut counts = Self {
            columns: group.columns,
            own: vec![0.0; size],
            targets: vec![0; size],
            closer: vec![0; size],
            before: vec![0; size],
            tied: vec![0; size],
        };
        for (at, (&own, &target)) in own.iter().zip(targets).enumerate() {
            let slot = at % set * group.columns + at / set;
            (counts.own[slot], counts.targets[slot]) = (own, target);
        }
        counts
    }
}

struct Count<'a> {
    counts: &'a mut Counts,
    distances: &'a [f32],
    first: u32,
}

impl Kernel for Count<'_> {
    type Output = ();

    // Plain Rust over lanes: the compiler makes it the registers of the instruction set.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Counts { columns, own, targets, closer, before, tied } = self.counts;
        let own = own.chunks_exact(*columns).zip(targets.chunks_exact(*columns));
        let counters =
            closer.chunks_exact_mut(*columns).zip(before.chunks_exact_mut(*columns)).zip(tied.chunks_exact_mut(*columns));
        for ((own, targets), ((closer, before), tied)) in own.zip(counters) {
            for (item, distances) in (self.first..).zip(self.distances.chunks_exact(*columns)) {
                let lanes = distances.iter().zip(own).zip(targets);
                for (((&distance, &own), &target), ((closer, before), tied)) in
                    lanes.zip(closer.iter_mut().zip(&mut *before).zip(&mut *tied))
                {
                    *closer += u32::from(distance < own);
                    *tied += u32::from(distance == own);
                    *before += u32::from(distance == own) & u32::from(item < target);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{distances_on, tests::METRICS};
    use super::*;
    use crate::testing::random;

    /// Against a sort-free count on the stored matrix, with many exact ties.
    #[test]
    fn placings_agree_with_counting_in_the_stored_matrix() {
        for isa in Isa::available() {
            let (n, len, dim, set) = (TASK + 5, 150, 12, 3);
            let mut gallery = random(2, len * dim);
            for copy in 0..len / 3 {
                gallery.copy_within(copy * dim..(copy + 1) * dim, (len - 1 - copy) * dim);
            }
            let (points, rows) = (random(1, n * dim), Rows::new(&gallery, dim));
            let targets: Vec<u32> = (0..n * set).map(|at| (at * 7 % len) as u32).collect();
            for metric in METRICS {
                let all = distances_on(isa, metric, &points, &rows);
                for (at, &placing) in placings_on(isa, metric, &points, &rows, &targets).iter().enumerate() {
                    let (list, target) = (&all[at / set * len..][..len], targets[at] as usize);
                    let count = |keep: &dyn Fn(usize) -> bool| (0..len).filter(|&x| keep(x)).count() as u32;
                    let expected = Placing {
                        closer: count(&|x| list[x] < list[target]),
                        tied_before: count(&|x| list[x] == list[target] && x < target),
                        tied: count(&|x| list[x] == list[target]),
                    };
                    assert_eq!(placing, expected, "{isa} {metric:?} {at}");
                }
            }
        }
    }
}
