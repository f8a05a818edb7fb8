//! Rank counts. `RankRule` of `rankle-attacks` turns them into ranks.

use super::pairs::distances_to_on;
use super::{BLOCK, GalleryRows, Group, Metric, TASK, blocks};
use crate::simd::{Isa, Kernel, Vector};
use crate::size::{product, sum};
use rayon::prelude::*;

/// Counts of the items of a list around a target: all that a rule for ties needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankCount {
    /// Number of items that are strictly closer.
    pub closer: u32,
    /// Number of items at exactly the same distance with a lower index.
    pub tied_before: u32,
    /// Number of items at exactly the same distance, the target itself included.
    pub tied: u32,
    /// Number of items within the [`Width`] of the target's distance, the target itself included: f32 cannot order them.
    pub near: u32,
}

impl RankCount {
    /// Counts the items of a stored list, `(index, distance)`, around a target at `distance`. `target` is its index, `None` if it
    /// is not in the list. The slow oracle of [`rank_counts`], for any type of distance.
    pub fn among<D: PartialOrd + Copy>(items: impl Iterator<Item = (u32, D)>, distance: D, target: Option<u32>) -> Self {
        let mut count = Self { tied: u32::from(target.is_none()), ..Self::default() };
        for (item, other) in items {
            count.closer += u32::from(other < distance);
            count.tied += u32::from(other == distance);
            count.tied_before += u32::from(other == distance && target.is_some_and(|target| item < target));
        }
        Self { near: count.tied, ..count }
    }

    /// The counts without an item at distance `other`, for a target at `distance`. `tied_before` does not change: no rule both
    /// leaves items out and breaks ties by index.
    #[must_use]
    pub fn without<D: PartialOrd>(mut self, other: D, distance: D) -> Self {
        self.closer -= u32::from(other < distance);
        self.tied -= u32::from(other == distance);
        self
    }

    /// True if another item is at exactly the same distance.
    pub fn is_tied(self) -> bool {
        self.tied > 1
    }
}

/// Difference of two distances below which rounding may have decided their order: `absolute + relative · distance`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Width {
    /// Absolute part, in units of the distance.
    pub absolute: f32,
    /// Relative part, as a fraction of the target's distance.
    pub relative: f32,
}

impl Width {
    /// Four standard deviations of the rounding error of a difference of two distances, each one chain of `dim` multiply-adds
    /// whose partial sums are at most 1 (cosine) or the squared distance itself (Euclidean, which the root halves).
    pub fn of(metric: Metric, dim: usize) -> Self {
        let error = 4.0 * (f32::EPSILON / 2.0) * (2.0 * (dim as f32 + 1.0) / 3.0).sqrt();
        match metric {
            Metric::Cosine => Self { absolute: error, relative: 0.0 },
            // Squares below the smallest normal number have few digits, or none.
            Metric::Euclidean => Self { absolute: f32::MIN_POSITIVE.sqrt(), relative: error / 2.0 },
        }
    }

    /// The width at a distance.
    #[inline(always)]
    pub fn at(self, distance: f32) -> f32 {
        self.absolute + self.relative * distance
    }
}

/// An item whose distance f32 cannot tell from a target's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Near {
    /// Position of the target in the list of targets.
    pub target: usize,
    /// Gallery index of the item.
    pub item: u32,
    /// True if f32 counts the item among [`RankCount::closer`].
    pub closer: bool,
}

/// Rank counts of each target (`n x set`, row-major) in the list of its own point, and the items near the targets, with the
/// targets themselves, in the order of the targets. Near items are listed for points whose targets have at most `listed` of them
/// each, on average and without the targets themselves.
pub fn rank_counts(
    metric: Metric,
    points: &[f32],
    rows: &GalleryRows,
    targets: &[u32],
    listed: usize,
) -> (Vec<RankCount>, Vec<Near>) {
    rank_counts_on(Isa::best(), metric, points, rows, targets, listed)
}

fn rank_counts_on(
    isa: Isa,
    metric: Metric,
    points: &[f32],
    rows: &GalleryRows,
    targets: &[u32],
    listed: usize,
) -> (Vec<RankCount>, Vec<Near>) {
    let dim = rows.dim;
    let own = distances_to_on(isa, metric, points, rows, targets);
    let set = targets.len() / rows.count(points);
    let (task_targets, task_points) = (product([TASK, set]), product([TASK, dim]));
    let width = Width::of(metric, dim);
    let mut all = vec![RankCount::default(); targets.len()];
    let near: Vec<Vec<Near>> = all
        .par_chunks_mut(task_targets)
        .zip(points.par_chunks(task_points))
        .zip(own.par_chunks(task_targets).zip(targets.par_chunks(task_targets)))
        .enumerate()
        .map(|(task, ((all, points), (own, targets)))| {
            let panel = isa.panel();
            let (panel_targets, panel_points) = (product([panel, set]), product([panel, dim]));
            let lists = own.chunks(panel_targets).zip(targets.chunks(panel_targets));
            let mut groups: Vec<(Group, Counts)> = points
                .chunks(panel_points)
                .zip(lists)
                .map(|(points, (own, targets))| {
                    let group = Group::pack(isa, metric, points, dim);
                    let counts = Counts::new(&group, set, own, targets, width);
                    (group, counts)
                })
                .collect();
            let mut buffer = vec![0.0; BLOCK * panel];
            for block in blocks(rows.len) {
                for (group, counts) in &mut groups {
                    group.distances(rows, block.clone(), &mut buffer);
                    let distances = &buffer[..block.len() * group.columns];
                    isa.run(Count { counts: &mut *counts, distances, first: block.start as u32 });
                    if listed > 0 {
                        counts.list(distances, block.start as u32, listed);
                    }
                }
            }
            let mut near = Vec::new();
            for (place, ((group, counts), all)) in groups.iter().zip(all.chunks_mut(panel_targets)).enumerate() {
                for (at, count) in all.iter_mut().enumerate() {
                    let slot = at % set * group.columns + at / set;
                    *count = counts.of(slot);
                }
                let first = (task * TASK + place * panel) * set;
                near.extend(counts.kept().map(|near| Near { target: first + near.target, ..near }));
            }
            near.sort_unstable();
            near
        })
        .collect();
    (all, near.concat())
}

/// Thresholds and counters of one group, `set x columns`.
struct Counts {
    columns: usize,
    set: usize,
    own: Vec<f32>,
    width: Vec<f32>,
    targets: Vec<u32>,
    closer: Vec<u32>,
    before: Vec<u32>,
    tied: Vec<u32>,
    near: Vec<u32>,
    /// Near items that [`Counts::list`] has seen, per slot and (`listed`) per point.
    seen: Vec<u32>,
    listed: Vec<usize>,
    /// Listed near items: slot, item, and true if the item is closer.
    kept: Vec<(usize, u32, bool)>,
}

impl Counts {
    fn new(group: &Group, set: usize, own: &[f32], targets: &[u32], width: Width) -> Self {
        let size = set * group.columns;
        let mut counts = Self {
            columns: group.columns,
            set,
            own: vec![0.0; size],
            // Negative: lanes without a point have no near items.
            width: vec![-1.0; size],
            listed: vec![0; group.columns],
            targets: vec![0; size],
            closer: vec![0; size],
            before: vec![0; size],
            tied: vec![0; size],
            near: vec![0; size],
            seen: vec![0; size],
            kept: Vec::new(),
        };
        for (at, (&own, &target)) in own.iter().zip(targets).enumerate() {
            let slot = at % set * group.columns + at / set;
            (counts.own[slot], counts.width[slot], counts.targets[slot]) = (own, width.at(own), target);
        }
        counts
    }

    fn of(&self, slot: usize) -> RankCount {
        let Self { closer, before, tied, near, .. } = self;
        RankCount { closer: closer[slot], tied_before: before[slot], tied: tied[slot], near: near[slot] }
    }

    /// Lists the near items of a block of distances, for points whose targets have at most `most` of them each, on average and
    /// without the targets themselves. Few blocks have any.
    fn list(&mut self, distances: &[f32], first: u32, most: usize) {
        for slot in 0..self.near.len() {
            if self.near[slot] == self.seen[slot] {
                continue;
            }
            let point = slot % self.columns;
            let room = product([sum([most, 1]), self.set]);
            let had_room = self.listed[point] <= room;
            self.listed[point] += (self.near[slot] - self.seen[slot]) as usize;
            self.seen[slot] = self.near[slot];
            if self.listed[point] > room {
                if had_room {
                    let columns = self.columns;
                    self.kept.retain(|kept| kept.0 % columns != point);
                }
                continue;
            }
            let column = distances[point..].iter().step_by(self.columns);
            let near = (first..).zip(column).filter(|&(_, distance)| (distance - self.own[slot]).abs() <= self.width[slot]);
            self.kept.extend(near.map(|(item, distance)| (slot, item, *distance < self.own[slot])));
        }
    }

    /// The listed near items; targets are counted from the first of the group.
    fn kept(&self) -> impl Iterator<Item = Near> {
        self.kept.iter().map(|&(slot, item, closer)| {
            let (c, point) = (slot / self.columns, slot % self.columns);
            Near { target: point * self.set + c, item, closer }
        })
    }
}

struct Count<'a> {
    counts: &'a mut Counts,
    distances: &'a [f32],
    first: u32,
}

impl Kernel for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        // The number of columns is a constant, so that a row of lanes is one or two registers.
        match self.counts.columns {
            4 => self.compute::<4>(),
            8 => self.compute::<8>(),
            16 => self.compute::<16>(),
            _ => self.compute::<32>(),
        }
    }
}

impl Count<'_> {
    // Plain Rust over lanes: the compiler vectorizes it for the instruction set.
    #[inline(always)]
    fn compute<const W: usize>(self) {
        let Counts { own, width, targets, closer, before, tied, near, .. } = self.counts;
        for (slot, own) in own.as_chunks::<W>().0.iter().enumerate() {
            let (width, targets) = (&width.as_chunks::<W>().0[slot], &targets.as_chunks::<W>().0[slot]);
            let [mut less, mut first, mut equal, mut close] = [[0u32; W]; 4];
            for (item, distances) in (self.first..).zip(self.distances.as_chunks::<W>().0) {
                for lane in 0..W {
                    let gap = distances[lane] - own[lane];
                    less[lane] += u32::from(gap < 0.0);
                    equal[lane] += u32::from(gap == 0.0);
                    first[lane] += u32::from(gap == 0.0) & u32::from(item < targets[lane]);
                    close[lane] += u32::from(gap.abs() <= width[lane]);
                }
            }
            for (counter, more) in [(&mut *closer, less), (&mut *before, first), (&mut *tied, equal), (&mut *near, close)] {
                counter.as_chunks_mut::<W>().0[slot].iter_mut().zip(more).for_each(|(counter, more)| *counter += more);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{distances_on, tests::METRICS};
    use super::*;
    use crate::testing::random;

    /// Compares with counts on the stored matrix, with many exact ties.
    #[test]
    fn counts_agree_with_counting_in_the_stored_matrix() {
        for isa in Isa::available() {
            let (n, len, dim, set) = (TASK + 5, 150, 12, 3);
            let mut gallery = random(2, len * dim);
            for copy in 0..len / 3 {
                gallery.copy_within(copy * dim..(copy + 1) * dim, (len - 1 - copy) * dim);
            }
            // Some rows that are nearly copies.
            for copy in 0..10 {
                gallery.copy_within(copy * dim..(copy + 1) * dim, (60 + copy) * dim);
                gallery[(60 + copy) * dim] += 2e-7;
            }
            let (points, rows) = (random(1, n * dim), GalleryRows::new(&gallery, dim));
            let targets: Vec<u32> = (0..n * set).map(|at| (at * 7 % len) as u32).collect();
            for metric in METRICS {
                let all = distances_on(isa, metric, &points, &rows);
                let width = Width::of(metric, dim);
                for listed in [0, 2, 1000] {
                    let (counts, near) = rank_counts_on(isa, metric, &points, &rows, &targets, listed);
                    let mut expected_near = Vec::new();
                    for (point, counts) in counts.chunks_exact(set).enumerate() {
                        let list = &all[point * len..][..len];
                        let items = || (0..).zip(list.iter().copied());
                        let mut around = Vec::new();
                        for (c, &count) in counts.iter().enumerate() {
                            let target = targets[point * set + c];
                            let own = list[target as usize];
                            let near = items().filter(|(_, d)| (d - own).abs() <= width.at(own));
                            let near: Vec<Near> =
                                near.map(|(item, d)| Near { target: point * set + c, item, closer: d < own }).collect();
                            let expected = RankCount { near: near.len() as u32, ..RankCount::among(items(), own, Some(target)) };
                            assert_eq!(count, expected, "{isa} {metric:?} {point} {c}");
                            around.extend(near);
                        }
                        if listed > 0 && around.len() <= (listed + 1) * set {
                            expected_near.extend(around);
                        }
                    }
                    assert_eq!(near, expected_near, "{isa} {metric:?} {listed}");
                    assert!(counts.iter().any(|count| count.near > count.tied && count.tied > 1), "{metric:?}");
                }
            }
        }
    }

    /// The width is wide enough: items that f32 orders differently from f64 are always near.
    #[test]
    fn what_f32_orders_wrongly_is_near() {
        for isa in Isa::available() {
            for dim in [3, 64, 700] {
                let (n, len) = (12, 400);
                let unit = |mut rows: Vec<f32>| {
                    crate::rows::normalize_rows(&mut rows, dim);
                    rows
                };
                // All in one direction: distances are tiny, and sums are near 1.
                let base = random(9, dim);
                let around = |seed, count: usize| {
                    let cloud = random(seed, count * dim).into_iter().enumerate();
                    unit(cloud.map(|(at, x)| base[at % dim] + 1e-3 * x).collect())
                };
                let (points, gallery) = (around(1, n), around(2, len));
                for metric in METRICS {
                    let rows = GalleryRows::new(&gallery, dim);
                    let all = distances_on(isa, metric, &points, &rows);
                    let width = Width::of(metric, dim);
                    for (point, list) in points.chunks_exact(dim).zip(all.chunks_exact(len)) {
                        let sums = |item: usize| {
                            let pairs = point.iter().zip(rows.row(item)).map(|(&a, &b)| (f64::from(a), f64::from(b)));
                            match metric {
                                Metric::Cosine => 1.0 - pairs.map(|(a, b)| a * b).sum::<f64>(),
                                Metric::Euclidean => pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
                            }
                        };
                        let exact: Vec<f64> = (0..len).map(sums).collect();
                        for a in 0..len {
                            for b in 0..a {
                                let wrong = (list[a] < list[b]) != (exact[a] < exact[b]);
                                assert!(
                                    !wrong || (list[a] - list[b]).abs() <= width.at(list[b].max(list[a])),
                                    "{dim} {metric:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
