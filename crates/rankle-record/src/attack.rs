//! Attacks by name, with one declaration each.

use crate::{Error, Result, named};
use rankle_registry::{Named, Registry};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The direction in which a ranking attack moves ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Toward the top of the list: `+`.
    Raise,
    /// Toward the bottom: `-`.
    Lower,
}

/// An attack, under the name that the command line, plans, records and tables use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttackId {
    /// `ca+`, `ca-`: the image moves in the lists of the target queries.
    Candidate(Direction),
    /// `qa+`, `qa-`: the target candidates move in the list of the image.
    Query(Direction),
    /// `sp-qa+`, `sp-qa-`: as [`AttackId::Query`], while the nearest items stay in front.
    PreservingQuery(Direction),
    /// `es`: the embedding moves as far as it can, without a target.
    EmbeddingShift,
    /// An attack of another program, added by [`AttackId::register`].
    Custom(&'static Declaration),
}

/// Fixed properties of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Declaration {
    /// Name, as in `ca+`.
    pub name: &'static str,
    /// The literature's letter for the number of targets: `w` queries or `m` candidates.
    pub letter: &'static str,
    /// Description of the movement, in a few words.
    pub moves: &'static str,
    /// Direction of the ranks; `None` for an attack without ranks.
    pub direction: Option<Direction>,
    /// Unit of the outcome.
    pub unit: &'static str,
}

const PERCENT: &str = "percent of the gallery";

/// Every attack, in the order of the paper.
#[rustfmt::skip] // a table
static DECLARATIONS: [Declaration; 7] = {
    use Direction::{Lower, Raise};
    [
        Declaration { name: "ca+", letter: "w", moves: "the image rises in the lists of w queries", direction: Some(Raise), unit: PERCENT },
        Declaration { name: "ca-", letter: "w", moves: "the image sinks in the lists of w queries", direction: Some(Lower), unit: PERCENT },
        Declaration { name: "qa+", letter: "m", moves: "m candidates rise in the list of the image", direction: Some(Raise), unit: PERCENT },
        Declaration { name: "qa-", letter: "m", moves: "m candidates sink in the list of the image", direction: Some(Lower), unit: PERCENT },
        Declaration { name: "sp-qa+", letter: "m", moves: "m candidates rise, the nearest items stay", direction: Some(Raise), unit: PERCENT },
        Declaration { name: "sp-qa-", letter: "m", moves: "m candidates sink, the nearest items stay", direction: Some(Lower), unit: PERCENT },
        Declaration { name: "es", letter: "m", moves: "the embedding moves as far as it can", direction: None, unit: "distance" },
    ]
};

static OWN: Registry<Declaration> = Registry::new();

impl Named for Declaration {
    fn name(&self) -> &'static str {
        self.name
    }
}

impl AttackId {
    /// Candidate attack, raising.
    pub const CA_PLUS: Self = Self::Candidate(Direction::Raise);
    /// Candidate attack, lowering.
    pub const CA_MINUS: Self = Self::Candidate(Direction::Lower);
    /// Query attack, raising.
    pub const QA_PLUS: Self = Self::Query(Direction::Raise);
    /// Query attack, lowering.
    pub const QA_MINUS: Self = Self::Query(Direction::Lower);
    /// Semantics-preserving query attack, raising.
    pub const SP_QA_PLUS: Self = Self::PreservingQuery(Direction::Raise);
    /// Semantics-preserving query attack, lowering.
    pub const SP_QA_MINUS: Self = Self::PreservingQuery(Direction::Lower);

    /// All attacks, in the order of the paper.
    pub const ALL: [Self; 7] =
        [Self::CA_PLUS, Self::CA_MINUS, Self::QA_PLUS, Self::QA_MINUS, Self::SP_QA_PLUS, Self::SP_QA_MINUS, Self::EmbeddingShift];

    /// The four columns of the published tables.
    pub const TABLE: [Self; 4] = [Self::CA_PLUS, Self::CA_MINUS, Self::SP_QA_PLUS, Self::SP_QA_MINUS];

    /// Registers an attack of another program under its name, to the end of the process. Its computation is registered with it,
    /// in `rankle_attacks::CustomAttack`.
    ///
    /// # Errors
    /// [`Error::Make`] for a name of another attack, or a name that cannot be given on a command line.
    pub fn register(declaration: Declaration) -> Result<Self> {
        let taken = |name: &str| Self::ALL.into_iter().any(|attack| attack.name() == name);
        OWN.add(declaration, taken).map(|own| Self::Custom(own.get())).map_err(Error::make("the attack"))
    }

    /// Registered attacks, in the order of registration.
    pub fn registered() -> Vec<Self> {
        OWN.all().into_iter().map(|own| Self::Custom(own.get())).collect()
    }

    /// Fixed properties of the attack.
    pub fn declaration(self) -> &'static Declaration {
        let at = match self {
            Self::Custom(declaration) => return declaration,
            Self::Candidate(direction) => direction as usize,
            Self::Query(direction) => 2 + direction as usize,
            Self::PreservingQuery(direction) => 4 + direction as usize,
            Self::EmbeddingShift => 6,
        };
        &DECLARATIONS[at]
    }

    /// The name, as in `ca+`.
    pub fn name(self) -> &'static str {
        self.declaration().name
    }

    /// Direction of the ranks; `None` for an attack without ranks.
    pub fn direction(self) -> Option<Direction> {
        self.declaration().direction
    }

    /// True if the attack has targets.
    pub fn has_targets(self) -> bool {
        self != Self::EmbeddingShift
    }

    /// Description of the movement and, for ranks, of the stronger outcome.
    pub fn description(self) -> String {
        let Declaration { moves, direction, .. } = self.declaration();
        match direction {
            Some(Direction::Raise) => format!("{moves}; lower is a stronger attack"),
            Some(Direction::Lower) => format!("{moves}; higher is a stronger attack"),
            None => (*moves).to_owned(),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raise => "+",
            Self::Lower => "-",
        })
    }
}

impl fmt::Display for AttackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for AttackId {
    type Err = Error;

    /// # Errors
    /// [`Error::Unknown`] with the known names.
    fn from_str(name: &str) -> Result<Self> {
        named("attack", name, &[&Self::ALL[..], &Self::registered()].concat())
    }
}

impl Serialize for AttackId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for AttackId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_is_declared_at_its_place() {
        for (at, attack) in AttackId::ALL.into_iter().enumerate() {
            let Declaration { name, letter, direction, .. } = *attack.declaration();
            assert_eq!(DECLARATIONS[at].name, name);
            assert_eq!(attack.name().parse::<AttackId>().unwrap(), attack);
            assert_eq!(serde_json::to_string(&attack).unwrap(), format!("\"{attack}\""));
            assert_eq!(serde_json::from_str::<AttackId>(&format!("\"{attack}\"")).unwrap(), attack);
            assert_eq!(
                direction.map(|direction| direction.to_string()),
                name.get(name.len() - 1..).filter(|sign| *sign != "s").map(str::to_owned)
            );
            assert_eq!(letter, if name.starts_with("ca") { "w" } else { "m" });
        }
        let message = "ca".parse::<AttackId>().unwrap_err().to_string();
        assert_eq!(message, "unknown attack 'ca'; known: ca+, ca-, qa+, qa-, sp-qa+, sp-qa-, es");
    }

    #[test]
    fn a_description_says_which_outcome_is_stronger() {
        assert_eq!(AttackId::CA_PLUS.description(), "the image rises in the lists of w queries; lower is a stronger attack");
        assert_eq!(AttackId::SP_QA_MINUS.description(), "m candidates sink, the nearest items stay; higher is a stronger attack");
        assert_eq!(AttackId::EmbeddingShift.description(), "the embedding moves as far as it can");
    }
}
