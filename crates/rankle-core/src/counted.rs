//! Rank counts with near ties decided in f64 and with one item left out of each list.

use crate::Gallery;
use crate::rank::{RankCount, Resolution};
use rankle_kernels::distance::{Near, Width};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Rank counts of targets in the lists of their points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// One count per target, in the order of the targets.
    pub counts: Vec<RankCount>,
    /// Number of comparisons between targets and items, and how many of them f32 could not decide.
    pub resolution: Resolution,
}

/// The list of one point, with its targets.
pub(crate) struct PointList<'a> {
    pub(crate) gallery: &'a Gallery,
    pub(crate) point: &'a [f32],
    pub(crate) targets: &'a [u32],
    /// Distances of the targets from the point.
    pub(crate) own: &'a [f32],
    /// The item that is left out of the list, and its distance.
    pub(crate) left_out: Option<(u32, f32)>,
    pub(crate) width: Width,
}

impl PointList<'_> {
    /// Decides the near items in f64, unless there are more than `most`, and removes the item left out from the counts. `near`
    /// lists the near items of the targets, which are numbered from `first`.
    pub(crate) fn settle(&self, counts: &mut [RankCount], near: &[Near], first: usize, most: usize) -> Resolution {
        let decided = most > 0 && self.is_listed(counts, near) && (near.len() <= most || items(near) <= most);
        let mut exact = Exact { list: self, known: HashMap::new() };
        let mut resolution = Resolution::default();
        for (at, count) in counts.iter_mut().enumerate() {
            let (target, own) = (self.targets[at], self.own[at]);
            let left_out = self.left_out.filter(|&(item, _)| item != target);
            let left_out_is_near = left_out.is_some_and(|(_, distance)| self.is_near(distance, own));
            let others = count.near.saturating_sub(1 + u32::from(left_out_is_near));
            resolution = resolution.and(Resolution {
                comparisons: (self.gallery.len() - 1 - usize::from(left_out.is_some())) as u64,
                near: u64::from(others),
                undecided: if decided { 0 } else { u64::from(others) },
            });
            if decided && count.near > 1 {
                let own = near.partition_point(|near| near.target < first + at)..;
                let near = near[own].iter().take_while(|near| near.target == first + at).filter(|near| near.item != target);
                exact.recount(count, target, near);
            }
            if let Some((item, distance)) = left_out {
                let order = match decided && left_out_is_near {
                    true => exact.order(item, target),
                    false => distance.total_cmp(&own),
                };
                let is_before = item < target;
                count.closer -= u32::from(order.is_lt()).min(count.closer);
                count.tied -= u32::from(order.is_eq()).min(count.tied.saturating_sub(1));
                count.tied_before -= u32::from(order.is_eq() && is_before).min(count.tied_before);
            }
        }
        resolution
    }

    /// True if `near` has all near items: the kernel drops the near items of a point that has too many.
    fn is_listed(&self, counts: &[RankCount], near: &[Near]) -> bool {
        counts.iter().map(|count| count.near as usize).sum::<usize>() == near.len()
    }

    fn is_near(&self, distance: f32, own: f32) -> bool {
        (distance - own).abs() <= self.width.at(own)
    }
}

/// Number of different items in `near`.
fn items(near: &[Near]) -> usize {
    near.iter().map(|near| near.item).collect::<HashSet<_>>().len()
}

/// Distances in f64 to one point, each computed once.
struct Exact<'a> {
    list: &'a PointList<'a>,
    known: HashMap<u32, f64>,
}

impl Exact<'_> {
    fn distance(&mut self, item: u32) -> f64 {
        let PointList { gallery, point, .. } = self.list;
        *self.known.entry(item).or_insert_with(|| gallery.distance().exact(point, gallery.point(item as usize)))
    }

    fn order(&mut self, item: u32, target: u32) -> Ordering {
        self.distance(item).total_cmp(&self.distance(target))
    }

    /// Counts the near items of a target again, by their distances in f64.
    fn recount<'n>(&mut self, count: &mut RankCount, target: u32, near: impl Iterator<Item = &'n Near>) {
        (count.tied, count.tied_before) = (1, 0);
        for near in near {
            count.closer -= u32::from(near.closer);
            match self.order(near.item, target) {
                Ordering::Less => count.closer += 1,
                Ordering::Equal => {
                    count.tied += 1;
                    count.tied_before += u32::from(near.item < target);
                }
                Ordering::Greater => {}
            }
        }
    }
}
