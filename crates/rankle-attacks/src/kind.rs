//! What attacks and protocols are called.

use crate::{Band, CandidateAttack, Objective, PreservingQueryAttack, QueryAttack, RankingAttack, ShiftAttack};
use rankle_core::{Error, Result};
use std::{fmt, str::FromStr};

/// Which way a ranking attack moves its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards the top of the list: `+`.
    Raise,
    /// Towards the bottom: `-`.
    Lower,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raise => "+",
            Self::Lower => "-",
        })
    }
}

impl FromStr for Direction {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        find("direction", name, &[Self::Raise, Self::Lower])
    }
}

/// Whose definitions are used for targets and ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Those of the original: targets drawn with replacement, the query and the clean copy stay in the list, ties count
    /// as in the original.
    #[default]
    Paper,
    /// Corrected ones: distinct targets, never the image itself; the query and the clean copy leave the list; ties count
    /// mid-rank.
    Strict,
}

impl Protocol {
    /// Every protocol, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Paper, Self::Strict];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Strict => "strict",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        find("protocol", name, &Self::ALL)
    }
}

/// The attacks by name: `ca+`, `ca-`, `qa+`, `qa-`, `sp-qa+`, `sp-qa-`, `es`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`CandidateAttack`].
    Candidate(Direction),
    /// [`QueryAttack`].
    Query(Direction),
    /// [`PreservingQueryAttack`].
    PreservingQuery(Direction),
    /// [`ShiftAttack`].
    Shift,
}

impl Kind {
    /// Every attack, for messages and menus.
    pub const ALL: [Self; 7] = [
        Self::Candidate(Direction::Raise),
        Self::Candidate(Direction::Lower),
        Self::Query(Direction::Raise),
        Self::Query(Direction::Lower),
        Self::PreservingQuery(Direction::Raise),
        Self::PreservingQuery(Direction::Lower),
        Self::Shift,
    ];

    /// The attack with `set` targets per image; neither means anything to an attack that has no such thing.
    pub fn attack(self, set: usize, variant: Variant) -> Box<dyn RankingAttack> {
        let Variant { objective, band, xi } = variant;
        match self {
            Self::Candidate(direction) => Box::new(CandidateAttack { direction, queries: set, objective, band }),
            Self::Query(direction) => Box::new(QueryAttack { direction, candidates: set, objective, band }),
            Self::PreservingQuery(direction) => {
                let usual = PreservingQueryAttack::new(direction, set);
                Box::new(PreservingQueryAttack { xi: xi.unwrap_or(usual.xi), objective, band, ..usual })
            }
            Self::Shift => Box::new(ShiftAttack),
        }
    }
}

/// Where an attack differs from that of the paper's tables, for ablations; by default nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Variant {
    /// What is lowered.
    pub objective: Objective,
    /// Where the targets of plus attacks are drawn from.
    pub band: Band,
    /// In the place of the usual weight of the preserved items.
    pub xi: Option<f64>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Candidate(direction) => write!(f, "ca{direction}"),
            Self::Query(direction) => write!(f, "qa{direction}"),
            Self::PreservingQuery(direction) => write!(f, "sp-qa{direction}"),
            Self::Shift => f.write_str("es"),
        }
    }
}

impl FromStr for Kind {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        find("attack", name, &Self::ALL)
    }
}

/// The one of that name.
pub(crate) fn find<T: Copy + fmt::Display>(what: &'static str, name: &str, all: &[T]) -> Result<T> {
    let known = || all.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    let found = all.iter().find(|one| one.to_string() == name).copied();
    found.ok_or_else(|| Error::Unknown { what, name: name.into(), known: known() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse::<Kind>().unwrap(), kind);
            assert_eq!(kind.attack(2, Variant::default()).to_string(), kind.to_string());
        }
        for protocol in Protocol::ALL {
            assert_eq!(protocol.to_string().parse::<Protocol>().unwrap(), protocol);
        }
        for (objective, band) in Objective::ALL.into_iter().zip(Band::ALL) {
            assert_eq!(objective.to_string().parse::<Objective>().unwrap(), objective);
            assert_eq!(band.to_string().parse::<Band>().unwrap(), band);
        }
        let error = "ca".parse::<Kind>().unwrap_err().to_string();
        assert_eq!(error, "unknown attack 'ca'; known: ca+, ca-, qa+, qa-, sp-qa+, sp-qa-, es");
    }
}
