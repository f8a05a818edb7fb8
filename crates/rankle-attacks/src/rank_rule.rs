//! Whose rank counts how, under each protocol. The rule itself is [`RankCount::rank`](rankle_core::rank::RankCount::rank).

use crate::Protocol;
use rankle_core::rank::{Precision, Ties};

/// What is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankOf {
    /// The perturbed image of a candidate attack, in the list of a query. It is no item of the gallery; its clean copy is.
    Perturbed,
    /// An item of the gallery, in the list of a perturbed query.
    Item,
}

/// What a protocol makes of a list.
pub trait RankRule {
    /// How ties count.
    ///
    /// # Source
    /// METHOD.md 8.1, 8.2: the original counts what is strictly closer than a perturbed image, and sorts the list of a
    /// perturbed query in a stable way.
    fn ties(self, of: RankOf) -> Ties;

    /// What decides between distances that f32 cannot tell apart.
    fn precision(self) -> Precision;

    /// Whether the query and the clean copy of the perturbed image leave the list.
    fn leaves_out(self) -> bool;
}

impl RankRule for Protocol {
    fn ties(self, of: RankOf) -> Ties {
        match (self, of) {
            (Self::Paper, RankOf::Perturbed) => Ties::Behind,
            (Self::Paper, RankOf::Item) => Ties::ByIndex,
            (Self::Strict, _) => Ties::Middle,
        }
    }

    fn precision(self) -> Precision {
        match self {
            Self::Paper => Precision::Single,
            Self::Strict => Precision::Resolved,
        }
    }

    fn leaves_out(self) -> bool {
        self == Self::Strict
    }
}
