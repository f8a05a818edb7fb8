//! Rank counts whose close calls are decided, and whose lists leave an item out.

use crate::Gallery;
use crate::rank::{RankCount, Resolution};
use rankle_kernels::distance::{Near, Width};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Where targets stand in the lists of their points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// One for each target, in their order.
    pub counts: Vec<RankCount>,
    /// What f32 could not decide of the comparisons between targets and items.
    pub resolution: Resolution,
}

/// The list of one point around its targets.
pub(crate) struct PointList<'a> {
    pub(crate) gallery: &'a Gallery,
    pub(crate) point: &'a [f32],
    pub(crate) targets: &'a [u32],
    /// The distances of the targets.
    pub(crate) own: &'a [f32],
    /// An item that has no place in the list, and its distance.
    pub(crate) left_out: Option<(u32, f32)>,
    pub(crate) width: Width,
}

impl PointList<'_> {
    /// Decides what is near, unless these are more than `most` items, and takes out what is to be left out. `near` lists
    /// the near items of targets that are numbered from `first`.
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

    /// Whether `near` has all near items: the kernel drops those of a point that has too many.
    fn is_listed(&self, counts: &[RankCount], near: &[Near]) -> bool {
        counts.iter().map(|count| count.near as usize).sum::<usize>() == near.len()
    }

    fn is_near(&self, distance: f32, own: f32) -> bool {
        (distance - own).abs() <= self.width.at(own)
    }
}

/// How many different items are near a target.
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

    /// Counts the near items of a target once more.
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
