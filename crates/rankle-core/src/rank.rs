//! Positions in a list of distances, and the comparisons that f32 cannot decide.
//!
//! A [`RankCount`] counts the items of a list that are closer than a target and those at exactly its distance; the `RankRule` of
//! `rankle-attacks` turns the counts into a rank. Metrics take the expected value over all orders of tied items, which a
//! [`TieGroup`] gives in closed form.

pub use rankle_kernels::distance::RankCount;
use rankle_kernels::distance::Width;

/// Tied items of a list: all at one distance from the query, some of them wanted (of the query's class). All orders of a group
/// are equally likely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TieGroup {
    /// Number of items that are closer than the group.
    pub closer: u32,
    /// Number of items of the group.
    pub tied: u32,
    /// Number of wanted items of the group, at least one.
    pub wanted: u32,
}

impl TieGroup {
    /// The probability that a wanted item of the group is among the first `k` of the list.
    pub fn within(self, k: usize) -> f64 {
        let places = k.saturating_sub(self.closer as usize);
        1.0 - self.nothing_first().nth(places).unwrap_or(0.0)
    }

    /// The expected 0-based position of the first wanted item of the group.
    pub fn position(self) -> f64 {
        f64::from(self.closer) + f64::from(self.tied - self.wanted) / f64::from(self.wanted + 1)
    }

    /// The expected reciprocal of the 1-based position of the first wanted item of the group.
    pub fn reciprocal_rank(self) -> f64 {
        let missed: Vec<f64> = self.nothing_first().chain([0.0]).collect();
        let first = missed.windows(2).zip(1u32..).map(|(pair, place)| (pair[0] - pair[1]) / f64::from(self.closer + place));
        first.sum()
    }

    /// Probabilities that the first 0, 1, 2 … items of the group are all unwanted, up to the last that can be above 0.
    fn nothing_first(self) -> impl Iterator<Item = f64> {
        let others = self.tied - self.wanted;
        let next = move |(missed, places): &(f64, u32)| {
            (*places < others).then(|| (missed * f64::from(others - places) / f64::from(self.tied - places), places + 1))
        };
        std::iter::successors(Some((1.0, 0)), next).map(|(missed, _)| missed)
    }
}

/// Number of comparisons of two distances to one point, and how many of them are within the rounding error of f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Number of comparisons.
    pub comparisons: u64,
    /// Number of comparisons below the resolution of f32.
    pub near: u64,
    /// Number of comparisons below the resolution that f32 decided all the same: all of them under [`Precision::Single`], those
    /// of lists with too many under [`Precision::Resolved`].
    pub undecided: u64,
}

impl Resolution {
    /// Counts for comparisons that f32 alone decides, `near` of them below its resolution.
    pub fn single(comparisons: usize, near: usize) -> Self {
        Self { comparisons: comparisons as u64, near: near as u64, undecided: near as u64 }
    }

    /// Share of comparisons that f32 decided below its resolution; 0 if there are no comparisons.
    pub fn undecided_share(self) -> f64 {
        self.undecided as f64 / self.comparisons.max(1) as f64
    }

    /// The sums of two counts.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            comparisons: self.comparisons + more.comparisons,
            near: self.near + more.near,
            undecided: self.undecided + more.undecided,
        }
    }
}

/// Precision in which two distances are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32, as in the paper.
    Single,
    /// f64 where f32 distances differ by less than their rounding error, in every list where at most 3 % of its items, or at most
    /// 1,024 items, have to be compared again.
    Resolved,
}

impl Precision {
    /// Maximum number of items of a list of `len` that are compared again in f64.
    pub fn most(self, len: usize) -> usize {
        match self {
            Self::Single => 0,
            Self::Resolved => (3 * len / 100).max(1024),
        }
    }
}

/// One list of distances in f32, with distances in f64 on demand.
pub struct List<'a> {
    /// The distance of every item.
    pub distances: &'a [f32],
    /// Difference below which f32 cannot tell two distances apart.
    pub(crate) width: Width,
    /// The distance of an item in f64.
    pub(crate) exact: Box<dyn Fn(u32) -> f64 + 'a>,
    /// Maximum number of items whose distance in f64 may be computed.
    pub(crate) most: usize,
}

impl List<'_> {
    /// The tie groups with items of `wanted`, by ascending distance, in the list of `wanted` and `others`; and the number of
    /// comparisons between the two, in total and below the resolution.
    ///
    /// Only `wanted` is sorted. Each of the others is then counted before the first wanted item that it precedes.
    pub fn tie_groups(&self, wanted: &[u32], others: impl Iterator<Item = u32>) -> (Vec<TieGroup>, Resolution) {
        let distance = |item: u32| self.distances[item as usize];
        let mut wanted: Vec<(f32, u32)> = wanted.iter().map(|&item| (distance(item), item)).collect();
        wanted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let sorted = Sorted::new(wanted.iter().map(|&(distance, _)| distance).collect());
        // Number of others between each wanted item and the one before it, and the others whose position f32 leaves unclear.
        let mut between = vec![0u32; wanted.len() + 1];
        let mut near: Vec<u32> = Vec::new();
        let mut count = 0u64;
        for other in others {
            let own = distance(other);
            let at = sorted.closer(own);
            let width = self.width.at(own);
            let (before, after) = sorted.around(at);
            let unclear = after - own <= width || own - before <= width;
            match unclear {
                true => near.push(other),
                false => between[at] += 1,
            }
            count += 1;
        }
        let (places, mut resolution) = self.decide(&wanted, &near);
        resolution.comparisons = count * wanted.len() as u64;
        // An unclear item is between two wanted items or tied with one.
        let mut beside = vec![0u32; wanted.len()];
        for other in places.others {
            let at = places.wanted.partition_point(|&wanted| wanted < other);
            match places.wanted.get(at) {
                Some(&wanted) if wanted == other => beside[at] += 1,
                _ => between[at] += 1,
            }
        }
        let mut groups = Vec::new();
        let (mut first, mut passed) = (0, 0);
        for group in places.wanted.chunk_by(|a, b| a == b) {
            let items = first..first + group.len();
            passed += between[items.clone()].iter().sum::<u32>();
            let tied = beside[items.clone()].iter().sum::<u32>();
            groups.push(TieGroup { closer: first as u32 + passed, tied: group.len() as u32 + tied, wanted: group.len() as u32 });
            passed += tied;
            first = items.end;
        }
        (groups, resolution)
    }

    /// The first group of [`List::tie_groups`], that of the closest wanted item; `None` if `wanted` is empty.
    pub fn first_match(&self, wanted: &[u32], others: impl Iterator<Item = u32>) -> Option<(TieGroup, Resolution)> {
        let distance = |item: &u32| self.distances[*item as usize];
        let least = wanted.iter().map(distance).min_by(f32::total_cmp)?;
        let width = self.width.at(least);
        // Items that cannot be the closest are dropped.
        let first: Vec<u32> = wanted.iter().copied().filter(|item| distance(item) - least <= width).collect();
        let (groups, resolution) = self.tie_groups(&first, others);
        Some((*groups.first()?, resolution))
    }

    /// Rank count of a target outside of the list, at distance `own` (`exact` in f64), among the items that `keep` accepts.
    pub fn count(&self, own: f32, exact: f64, keep: impl Fn(u32) -> bool) -> (RankCount, Resolution) {
        let width = self.width.at(own);
        let items = || (0..).zip(self.distances.iter().copied()).filter(|&(item, _)| keep(item));
        let is_near = |distance: f32| (distance - own).abs() <= width;
        let near = items().filter(|&(_, distance)| is_near(distance)).count();
        let decided = near <= self.most;
        let distances = items().map(|(item, distance)| match decided && is_near(distance) {
            true => (item, (self.exact)(item)),
            false => (item, f64::from(distance)),
        });
        let count = RankCount::among(distances, if decided { exact } else { f64::from(own) }, None);
        let undecided = if decided { 0 } else { near as u64 };
        (count, Resolution { comparisons: items().count() as u64, near: near as u64, undecided })
    }

    /// Distances that order the sorted `wanted` items and the `others` near them: in f64, unless that concerns too many items.
    fn decide(&self, wanted: &[(f32, u32)], others: &[u32]) -> (Decided, Resolution) {
        let single = |item: u32| f64::from(self.distances[item as usize]);
        // Starts and ends of the ranges of wanted items that are near one of the others.
        let mut edges = vec![0i64; wanted.len() + 1];
        let mut near = 0;
        for &other in others {
            let own = self.distances[other as usize];
            let width = self.width.at(own);
            let from = wanted.partition_point(|&(wanted, _)| own - wanted > width);
            let to = from + wanted[from..].partition_point(|&(wanted, _)| wanted - own <= width);
            edges[from] += 1;
            edges[to] -= 1;
            near += (to - from) as u64;
        }
        let stretches = edges.iter().scan(0, |open, edge| {
            *open += edge;
            Some(*open > 0)
        });
        let concerned: Vec<bool> = stretches.take(wanted.len()).collect();
        let costs = others.len() + concerned.iter().filter(|&&concerned| concerned).count();
        if costs > self.most {
            let wanted = wanted.iter().map(|&(distance, _)| f64::from(distance)).collect();
            let decided = Decided { wanted, others: others.iter().map(|&item| single(item)).collect() };
            return (decided, Resolution { near, undecided: near, comparisons: 0 });
        }
        let exact = |(&(distance, item), concerned)| if concerned { (self.exact)(item) } else { f64::from(distance) };
        let mut wanted: Vec<f64> = wanted.iter().zip(concerned).map(exact).collect();
        wanted.sort_unstable_by(f64::total_cmp);
        let others = others.iter().map(|&item| (self.exact)(item)).collect();
        (Decided { wanted, others }, Resolution { near, undecided: 0, comparisons: 0 })
    }
}

/// Ascending distances for many look-ups. Most of them fall where few of the distances are: a table of buckets is fast there.
struct Sorted {
    /// Enclosed by -∞ and ∞.
    distances: Vec<f32>,
    least: f32,
    scale: f32,
    /// Position of the first distance of each bucket, then the number of distances.
    buckets: Vec<u32>,
}

impl Sorted {
    fn new(distances: Vec<f32>) -> Self {
        let (least, most) = (distances.first().copied().unwrap_or(0.0), distances.last().copied().unwrap_or(0.0));
        let count = distances.len().next_power_of_two();
        // Not finite if all distances are (nearly) equal: then one bucket holds all of them.
        let scale = count as f32 / (most - least);
        let scale = if scale.is_finite() { scale } else { 0.0 };
        let mut sorted = Self { distances: Vec::new(), least, scale, buckets: vec![0; count + 2] };
        distances.iter().for_each(|&distance| {
            let bucket = sorted.bucket(distance);
            sorted.buckets[bucket + 1] += 1;
        });
        let mut sum = 0;
        sorted.buckets.iter_mut().for_each(|place| {
            sum += *place;
            *place = sum;
        });
        sorted.distances = [&[f32::NEG_INFINITY], &distances[..], &[f32::INFINITY]].concat();
        sorted
    }

    /// The bucket of a distance, which never decreases with the distance.
    #[inline]
    fn bucket(&self, distance: f32) -> usize {
        (((distance - self.least) * self.scale) as usize).min(self.buckets.len() - 2)
    }

    /// Number of distances below `distance`.
    #[inline]
    fn closer(&self, distance: f32) -> usize {
        let bucket = self.bucket(distance);
        let (from, to) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        from + self.distances[1 + from..1 + to].partition_point(|&one| one < distance)
    }

    /// The distances on both sides of a position.
    #[inline]
    fn around(&self, place: usize) -> (f32, f32) {
        (self.distances[place], self.distances[place + 1])
    }
}

/// Distances of wanted items and of others that can be compared with one another.
struct Decided {
    /// Ascending.
    wanted: Vec<f64>,
    others: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries every order of a group.
    #[test]
    fn expected_values_are_those_of_all_orders() {
        for (closer, tied) in [(0u32, 1u32), (0, 5), (3, 4), (7, 6)] {
            for wanted in 1..=tied {
                // A subset of the positions holds the wanted items; all subsets are equally likely.
                let orders: Vec<u32> = (0..1u32 << tied).filter(|order| order.count_ones() == wanted).collect();
                let mean = |of: &dyn Fn(u32) -> f64| {
                    orders.iter().map(|order| of(closer + order.trailing_zeros())).sum::<f64>() / orders.len() as f64
                };
                let group = TieGroup { closer, tied, wanted };
                let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{group:?}: {a} {b}");
                near(group.position(), mean(&|position| f64::from(position)));
                near(group.reciprocal_rank(), mean(&|position| 1.0 / f64::from(position + 1)));
                for k in 0..(closer + tied + 3) as usize {
                    near(group.within(k), mean(&|position| f64::from(u8::from((position as usize) < k))));
                }
            }
        }
        // Without ties the values are exact.
        let alone = TieGroup { closer: 6, tied: 1, wanted: 1 };
        assert_eq!((alone.within(6), alone.within(7), alone.position()), (0.0, 1.0, 6.0));
        assert_eq!(alone.reciprocal_rank(), 1.0 / 7.0);
    }

    #[test]
    fn places_are_those_of_a_scan() {
        let spread: Vec<f32> = (0..300).map(|at| ((at * 7919 % 301) as f32 / 301.0).powi(4) - 0.01).collect();
        for mut distances in [spread, vec![0.5; 7], vec![], vec![0.25], vec![0.0, 1e-45, 1.0], vec![-1e-8, 3e38, 3.1e38]] {
            distances.sort_unstable_by(f32::total_cmp);
            let sorted = Sorted::new(distances.clone());
            let others = distances.iter().flat_map(|&one| [one, one.next_up(), one.next_down(), 0.7 * one]);
            for other in others.chain([-1.0, 0.0, 0.3, 2.0, 3.4e38]) {
                let place = distances.iter().filter(|&&one| one < other).count();
                assert_eq!(sorted.closer(other), place, "{other} in {distances:?}");
                let (before, after) = sorted.around(place);
                assert!(before < other && after >= other, "{before} {other} {after}");
            }
        }
    }

    fn list(distances: &[f32], exact: impl Fn(u32) -> f64 + 'static, most: usize) -> List<'_> {
        List { distances, width: Width { absolute: 1e-3, relative: 0.0 }, exact: Box::new(exact), most }
    }

    #[test]
    fn groups_by_hand() {
        let distances = [0.5, 0.1, 0.5, 0.9, 0.5, 0.05];
        let of = |wanted: &[u32], others: &[u32]| list(&distances, |_| 0.0, 0).tie_groups(wanted, others.iter().copied()).0;
        let group = |closer, tied, wanted| TieGroup { closer, tied, wanted };
        assert_eq!(of(&[0, 3], &[1, 2, 4, 5]), [group(2, 3, 1), group(5, 1, 1)]);
        assert_eq!(of(&[2, 4, 1], &[0, 3, 5]), [group(1, 1, 1), group(2, 3, 2)]);
        assert_eq!(of(&[3], &[]), [group(0, 1, 1)]);
        assert_eq!(of(&[], &[1]), []);
        let first = |wanted: &[u32], others: &[u32]| list(&distances, |_| 0.0, 0).first_match(wanted, others.iter().copied());
        assert_eq!(first(&[2, 3, 4], &[0, 1, 5]).unwrap().0, group(2, 3, 2));
        assert_eq!(first(&[], &[0]), None);
    }

    /// The order is 0, 1, 2, 3 in f32; in f64 the near items have another order.
    #[test]
    fn what_is_near_is_decided_once_more() {
        let distances = [0.1000, 0.1001, 0.1002, 0.5];
        let exact = |item: u32| [0.10015, 0.1000, 0.10015, f64::NAN][item as usize];
        let group = |closer, tied, wanted| TieGroup { closer, tied, wanted };
        let (groups, resolution) = list(&distances, exact, 3).tie_groups(&[0, 3], [1, 2].into_iter());
        assert_eq!(groups, [group(1, 2, 1), group(3, 1, 1)]);
        assert_eq!(resolution, Resolution { comparisons: 4, near: 2, undecided: 0 });
        // One item more than the limit: f32 decides, and the comparisons count as undecided.
        let (groups, resolution) = list(&distances, exact, 2).tie_groups(&[0, 3], [1, 2].into_iter());
        assert_eq!(groups, [group(0, 1, 1), group(3, 1, 1)]);
        assert_eq!((resolution.undecided, resolution.undecided_share()), (2, 0.5));
        // A target at 0.10005, in f64 at 0.1001: item 1 alone is closer in f64, item 0 alone in f32.
        let something = |most: usize, keep: fn(u32) -> bool| list(&distances, exact, most).count(0.10005, 0.1001, keep).0;
        assert_eq!(something(3, |_| true).closer, 1);
        assert_eq!(something(2, |_| true).closer, 1);
        assert_eq!(something(2, |item| item != 1).closer, 0);
        assert_eq!(something(1, |item| item != 1).closer, 1);
        // Wanted items that swap their positions do not change the groups.
        let (groups, _) = list(&distances, exact, 9).tie_groups(&[0, 1, 2], [3].into_iter());
        assert_eq!(groups, [group(0, 1, 1), group(1, 1, 1), group(2, 1, 1)]);
    }
}
