//! The rank rule: which items leave the list, how ties count and which arithmetic compares distances (METHOD.md 8).
//!
//! Every rank of attacks and pictures is [`RankRule::rank`] of a [`RankCount`]. Items are counted by `Gallery::rank_counts` and
//! `List::count` of `rankle-core`, and by the sorted lists of a candidate attack; where a target is the query itself, it stays in
//! the list. The metrics need the expected value over the orders of tied items and use the `TieGroup` of `rankle-core`.

use crate::Protocol;
use rankle_core::rank::{Precision, RankCount};

/// The kind of item that is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankOf {
    /// The perturbed image of a candidate attack, in the list of a query. The gallery holds its clean copy, not the image itself.
    Perturbed,
    /// A gallery item, in the list of a perturbed query.
    Item,
}

/// Treatment of ties, items at exactly the distance of the ranked item, in the words of `scipy.stats.rankdata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// All tied items are behind the item.
    Min,
    /// Tied items with a lower index are in front of the item, as after a stable sort.
    Ordinal,
    /// Half of the tied items are in front of the item: the expected value over all orders.
    Average,
}

/// The rule by which a protocol ranks.
///
/// # Source
/// METHOD.md 8.1, 8.2. Under `paper` only items strictly closer than a perturbed image count, and ties in the list of a perturbed
/// query go by index, as in a stable sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankRule {
    /// Rule for ties.
    pub ties: Ties,
    /// The arithmetic that decides between distances which f32 cannot tell apart.
    pub precision: Precision,
    /// True if the query and the clean copy of the perturbed image leave the list.
    pub excludes_self: bool,
}

impl RankRule {
    /// The rule of a protocol for one kind of item.
    pub fn of(protocol: Protocol, ranked: RankOf) -> Self {
        match protocol {
            Protocol::Paper => {
                let ties = if ranked == RankOf::Perturbed { Ties::Min } else { Ties::Ordinal };
                Self { ties, precision: Precision::Single, excludes_self: false }
            }
            Protocol::Strict => Self { ties: Ties::Average, precision: Precision::Resolved, excludes_self: true },
        }
    }

    /// The 0-based rank.
    pub fn rank(self, count: RankCount) -> f64 {
        f64::from(count.closer)
            + match self.ties {
                Ties::Min => 0.0,
                Ties::Ordinal => f64::from(count.tied_before),
                Ties::Average => f64::from(count.tied.saturating_sub(1)) / 2.0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn ranks_by_hand() {
        let list = [0.5f32, 0.1, 0.5, 0.5, 0.9, 0.5];
        let of = |target: usize| RankCount::among((0..).zip(list), list[target], Some(target as u32));
        let rank = |count: RankCount, ties| RankRule { ties, ..RankRule::of(Protocol::Paper, RankOf::Item) }.rank(count);
        //                                target  min  ordinal  average
        for (target, min, ordinal, average) in [
            (0, 1.0, 1.0, 2.5),
            (3, 1.0, 3.0, 2.5),
            (1, 0.0, 0.0, 0.0),
            (4, 5.0, 5.0, 5.0),
        ] {
            let ranks = [Ties::Min, Ties::Ordinal, Ties::Average].map(|ties| rank(of(target), ties));
            assert_eq!(ranks, [min, ordinal, average], "{target}");
        }
        // An item that is not in the list: all equal distances are those of others.
        let outside = RankCount::among((0..).zip(list), 0.5, None);
        assert_eq!((rank(outside, Ties::Min), rank(outside, Ties::Average), outside.is_tied()), (1.0, 3.0, true));
        assert_eq!(rank(outside.without(0.1, 0.5).without(0.5, 0.5), Ties::Average), 1.5);
        assert!(!of(1).is_tied());
        // NaN is tied with nothing, not even itself: the rank is meaningless, but there is no panic.
        assert_eq!(rank(RankCount::among((0..).zip(list), f32::NAN, Some(0)), Ties::Average), 0.0);
    }

    #[test]
    fn protocols_rank_as_the_method_says() {
        let ties = |protocol| [RankOf::Perturbed, RankOf::Item].map(|ranked| RankRule::of(protocol, ranked).ties);
        assert_eq!(ties(Protocol::Paper), [Ties::Min, Ties::Ordinal]);
        assert_eq!(ties(Protocol::Strict), [Ties::Average, Ties::Average]);
        for ranked in [RankOf::Perturbed, RankOf::Item] {
            let [paper, strict] = [Protocol::Paper, Protocol::Strict].map(|protocol| RankRule::of(protocol, ranked));
            assert_eq!([paper.precision, strict.precision], [Precision::Single, Precision::Resolved]);
            assert_eq!([paper.excludes_self, strict.excludes_self], [false, true]);
        }
    }
}
