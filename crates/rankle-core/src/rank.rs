//! Positions in a list of distances, and the comparisons that f32 cannot decide.
//!
//! A [`RankCount`] says how many items of a list are closer than a target and how many are at exactly its distance; the
//! `RankRule` of `rankle-attacks` makes a rank of it. Metrics ask for the expected value over all orders of tied items: a
//! [`TieGroup`] has it in closed form.

pub use rankle_kernels::distance::RankCount;
use rankle_kernels::distance::Width;

/// Items of a list at one distance from its query, some of which are wanted (of the query's class). All orders of a group are
/// equally likely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TieGroup {
    /// Items that are closer than the group.
    pub closer: u32,
    /// Items of the group.
    pub tied: u32,
    /// Wanted items of the group, at least one.
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

    /// For 0, 1, 2 … places at the front of the group the probability that none of them is wanted, up to the last that can
    /// be above 0.
    fn nothing_first(self) -> impl Iterator<Item = f64> {
        let others = self.tied - self.wanted;
        let next = move |(missed, places): &(f64, u32)| {
            (*places < others).then(|| (missed * f64::from(others - places) / f64::from(self.tied - places), places + 1))
        };
        std::iter::successors(Some((1.0, 0)), next).map(|(missed, _)| missed)
    }
}

/// How many comparisons of two distances to one point were closer than the rounding error of f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// All comparisons.
    pub comparisons: u64,
    /// Those below the resolution of f32.
    pub near: u64,
    /// Those of these that were left to f32: [`Precision::Single`] decides nothing else, and [`Precision::Resolved`] gives up
    /// on a list with too many.
    pub undecided: u64,
}

impl Resolution {
    /// Comparisons that f32 alone decides, `near` of them below its resolution.
    pub fn single(comparisons: usize, near: usize) -> Self {
        Self { comparisons: comparisons as u64, near: near as u64, undecided: near as u64 }
    }

    /// The share of comparisons that f32 decided below its resolution; 0 of none.
    pub fn undecided_share(self) -> f64 {
        self.undecided as f64 / self.comparisons.max(1) as f64
    }

    /// Both together.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            comparisons: self.comparisons + more.comparisons,
            near: self.near + more.near,
            undecided: self.undecided + more.undecided,
        }
    }
}

/// What decides which of two items is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The distances in f32, as in the paper.
    Single,
    /// Distances in f64 where those in f32 are closer than their rounding error, in every list where at most 3 % of its length
    /// have to be compared once more, or at most 1,024.
    Resolved,
}

impl Precision {
    /// How many items of a list of `len` may be compared once more.
    pub fn most(self, len: usize) -> usize {
        match self {
            Self::Single => 0,
            Self::Resolved => (3 * len / 100).max(1024),
        }
    }
}

/// One list of distances in f32, and what can decide where those are too coarse.
pub struct List<'a> {
    /// The distance of every item.
    pub distances: &'a [f32],
    /// Below which differences they are too coarse.
    pub(crate) width: Width,
    /// The distance of an item in f64.
    pub(crate) exact: Box<dyn Fn(u32) -> f64 + 'a>,
    /// How many items may be asked for it.
    pub(crate) most: usize,
}

impl List<'_> {
    /// The groups of equal distance that hold items of `wanted`, ascending, where the list is `wanted` and `others`; and how
    /// many of the comparisons between the two were below the resolution.
    ///
    /// Only `wanted` is sorted. Each of the others then counts before the first wanted item that it precedes.
    pub fn tie_groups(&self, wanted: &[u32], others: impl Iterator<Item = u32>) -> (Vec<TieGroup>, Resolution) {
        let distance = |item: u32| self.distances[item as usize];
        let mut wanted: Vec<(f32, u32)> = wanted.iter().map(|&item| (distance(item), item)).collect();
        wanted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let sorted = Sorted::new(wanted.iter().map(|&(distance, _)| distance).collect());
        // How many others stand between each wanted item and the one before it, and those whose place is not clear.
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
        // Of the unclear ones some stand between two wanted items, others beside one.
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

    /// The group of the closest wanted item alone, as [`List::tie_groups`] has it; `None` where nothing is wanted.
    pub fn first_match(&self, wanted: &[u32], others: impl Iterator<Item = u32>) -> Option<(TieGroup, Resolution)> {
        let distance = |item: &u32| self.distances[*item as usize];
        let least = wanted.iter().map(distance).min_by(f32::total_cmp)?;
        let width = self.width.at(least);
        // What cannot be the closest needs no place.
        let first: Vec<u32> = wanted.iter().copied().filter(|item| distance(item) - least <= width).collect();
        let (groups, resolution) = self.tie_groups(&first, others);
        Some((*groups.first()?, resolution))
    }

    /// Where something outside of the list stands at distance `own`, in f64 `exact`, among the items that `keep` keeps.
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

    /// The distances by which sorted `wanted` items and `others` near them are told apart.
    fn decide(&self, wanted: &[(f32, u32)], others: &[u32]) -> (Decided, Resolution) {
        let single = |item: u32| f64::from(self.distances[item as usize]);
        // Where stretches of wanted items near an other begin and end.
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

/// Ascending distances that are looked up for many others. Most of these lie where few of the distances do, so a table of buckets
/// finds their place at once.
struct Sorted {
    /// Between two that nothing reaches.
    distances: Vec<f32>,
    least: f32,
    scale: f32,
    /// The place of the first distance of each bucket, and the number of distances.
    buckets: Vec<u32>,
}

impl Sorted {
    fn new(distances: Vec<f32>) -> Self {
        let (least, most) = (distances.first().copied().unwrap_or(0.0), distances.last().copied().unwrap_or(0.0));
        let count = distances.len().next_power_of_two();
        // Not finite where all are equal, or nearly: then one bucket has all.
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

    /// The bucket of a distance: never lower for a greater one.
    #[inline]
    fn bucket(&self, distance: f32) -> usize {
        (((distance - self.least) * self.scale) as usize).min(self.buckets.len() - 2)
    }

    /// How many distances are below another.
    #[inline]
    fn closer(&self, distance: f32) -> usize {
        let bucket = self.bucket(distance);
        let (from, to) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        from + self.distances[1 + from..1 + to].partition_point(|&one| one < distance)
    }

    /// The distances before and after a place.
    #[inline]
    fn around(&self, place: usize) -> (f32, f32) {
        (self.distances[place], self.distances[place + 1])
    }
}

/// Distances that can be compared with one another.
struct Decided {
    /// Ascending.
    wanted: Vec<f64>,
    others: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order of a group is tried.
    #[test]
    fn expected_values_are_those_of_all_orders() {
        for (closer, tied) in [(0u32, 1u32), (0, 5), (3, 4), (7, 6)] {
            for wanted in 1..=tied {
                // A subset of the places holds the wanted items; all are equally likely.
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
        // Without ties to the last bit.
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

    /// f32 says 0, 1, 2, 3; the distances in f64 say otherwise of those that are near.
    #[test]
    fn what_is_near_is_decided_once_more() {
        let distances = [0.1000, 0.1001, 0.1002, 0.5];
        let exact = |item: u32| [0.10015, 0.1000, 0.10015, f64::NAN][item as usize];
        let group = |closer, tied, wanted| TieGroup { closer, tied, wanted };
        let (groups, resolution) = list(&distances, exact, 3).tie_groups(&[0, 3], [1, 2].into_iter());
        assert_eq!(groups, [group(1, 2, 1), group(3, 1, 1)]);
        assert_eq!(resolution, Resolution { comparisons: 4, near: 2, undecided: 0 });
        // One more than may be asked for: f32 decides, and says so.
        let (groups, resolution) = list(&distances, exact, 2).tie_groups(&[0, 3], [1, 2].into_iter());
        assert_eq!(groups, [group(0, 1, 1), group(3, 1, 1)]);
        assert_eq!((resolution.undecided, resolution.undecided_share()), (2, 0.5));
        // Something else at 0.10005, and in truth at 0.1001: the middle of the three is closer. Without that it is the first.
        let something = |most: usize, keep: fn(u32) -> bool| list(&distances, exact, most).count(0.10005, 0.1001, keep).0;
        assert_eq!(something(3, |_| true).closer, 1);
        assert_eq!(something(2, |_| true).closer, 1);
        assert_eq!(something(2, |item| item != 1).closer, 0);
        assert_eq!(something(1, |item| item != 1).closer, 1);
        // Two wanted items that change places with each other change nothing.
        let (groups, _) = list(&distances, exact, 9).tie_groups(&[0, 1, 2], [3].into_iter());
        assert_eq!(groups, [group(0, 1, 1), group(1, 1, 1), group(2, 1, 1)]);
    }
}
