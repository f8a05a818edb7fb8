//! The names of the attacks.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An attack, under the name that the command line, the records and the tables use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Attack {
    /// `ca+`: the image rises in the lists of the target queries.
    #[serde(rename = "ca+")]
    CandidateRaise,
    /// `ca-`: the image sinks in the lists of the target queries.
    #[serde(rename = "ca-")]
    CandidateLower,
    /// `qa+`: the target candidates rise in the list of the image.
    #[serde(rename = "qa+")]
    QueryRaise,
    /// `qa-`: the target candidates sink in the list of the image.
    #[serde(rename = "qa-")]
    QueryLower,
    /// `sp-qa+`: as `qa+`, while the nearest items stay in front.
    #[serde(rename = "sp-qa+")]
    PreservingQueryRaise,
    /// `sp-qa-`: as `qa-`, while the nearest items stay in front.
    #[serde(rename = "sp-qa-")]
    PreservingQueryLower,
    /// `es`: the embedding moves as far as it can, without a target.
    #[serde(rename = "es")]
    EmbeddingShift,
}

impl Attack {
    /// All of them, in the order of the paper.
    pub const ALL: [Self; 7] = [
        Self::CandidateRaise,
        Self::CandidateLower,
        Self::QueryRaise,
        Self::QueryLower,
        Self::PreservingQueryRaise,
        Self::PreservingQueryLower,
        Self::EmbeddingShift,
    ];

    /// The four columns of the published tables.
    pub const TABLE: [Self; 4] =
        [Self::CandidateRaise, Self::CandidateLower, Self::PreservingQueryRaise, Self::PreservingQueryLower];

    /// The name, as in `ca+`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CandidateRaise => "ca+",
            Self::CandidateLower => "ca-",
            Self::QueryRaise => "qa+",
            Self::QueryLower => "qa-",
            Self::PreservingQueryRaise => "sp-qa+",
            Self::PreservingQueryLower => "sp-qa-",
            Self::EmbeddingShift => "es",
        }
    }

    /// The letter that the paper uses for the number of targets: `w` queries or `m` candidates.
    pub fn set_letter(self) -> &'static str {
        if matches!(self, Self::CandidateRaise | Self::CandidateLower) { "w" } else { "m" }
    }

    /// What moves, in a few words.
    pub fn description(self) -> &'static str {
        match self {
            Self::CandidateRaise => "the image rises in the lists of w queries; lower is a stronger attack",
            Self::CandidateLower => "the image sinks in the lists of w queries; higher is a stronger attack",
            Self::QueryRaise => "m candidates rise in the list of the image; lower is a stronger attack",
            Self::QueryLower => "m candidates sink in the list of the image; higher is a stronger attack",
            Self::PreservingQueryRaise => "m candidates rise, the nearest items stay; lower is a stronger attack",
            Self::PreservingQueryLower => "m candidates sink, the nearest items stay; higher is a stronger attack",
            Self::EmbeddingShift => "the embedding moves as far as it can",
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Attack {
    type Err = Error;

    /// # Errors
    /// [`Error::Unknown`] with the known names.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|attack| attack.name() == name).ok_or_else(|| Error::Unknown {
            what: "attack",
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_on_the_command_line_is_the_name_in_the_records() {
        for attack in Attack::ALL {
            assert_eq!(attack.name().parse::<Attack>().unwrap(), attack);
            assert_eq!(serde_json::to_string(&attack).unwrap(), format!("\"{attack}\""));
        }
        let message = "ca".parse::<Attack>().unwrap_err().to_string();
        assert_eq!(message, "unknown attack 'ca'; known: ca+, ca-, qa+, qa-, sp-qa+, sp-qa-, es");
    }
}
