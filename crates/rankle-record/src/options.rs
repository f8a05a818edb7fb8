//! Named choices of an attack.

use crate::{Error, Result, named};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Definitions of targets and ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Definitions of the original: targets drawn with replacement, the query and the clean copy stay in the list, ties count as
    /// in the original.
    #[default]
    Paper,
    /// Corrected definitions: distinct targets, never the image itself; the query and the clean copy leave the list; tied items
    /// count half.
    Strict,
}

/// Loss that an attack with targets minimizes during the search. Ranks are measured alike under all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// The paper's hinges between each target and every gallery item: only items between a target and its goal contribute
    /// (METHOD.md 7.2, 7.3).
    #[default]
    Ranking,
    /// Mean distance to the targets, or its negative, whatever else is in the list (METHOD.md 7.6). For ablations: a target that
    /// has reached its goal pulls as hard as one that is far from it.
    Distance,
    /// A smooth rank: sigmoids of the gaps between each target and every gallery item, in place of hinges (METHOD.md 7.7). Its
    /// temperature is in units of the spread of the distances, so that it means the same for every model.
    SoftRank,
}

/// Algorithm that searches the ball around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SearchKind {
    /// Projected gradient descent with a fixed step, as in the paper.
    #[default]
    Pgd,
    /// Auto-PGD: momentum, and steps that each image halves by itself.
    Apgd,
    /// Square attack: random search that only embeds images.
    Square,
    /// Several searches of both kinds without parameters, and for each image the strongest result.
    Standard,
}

/// Part of an image's own list that the targets of a plus attack are drawn from. Targets of minus attacks are always near the
/// top; otherwise they could not sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetPool {
    /// The whole list, as in the paper: a target may be anywhere, on average in the middle.
    #[default]
    Global,
    /// Positions from 1 % to 5 % of the gallery: targets that are near, but not yet on the first page. They depend on the model.
    Local,
}

/// Norm of a perturbation, with pixels in `[0, 1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Largest change of a pixel, as in the paper.
    #[default]
    Linf,
    /// Euclidean norm over all pixels and channels of an image, as in torchattacks and foolbox.
    L2,
}

impl Norm {
    /// Longest accepted radius or step: above the diagonal of any image that fits into memory.
    pub(crate) const LONGEST: f64 = 1e6;

    /// Checks that a radius is in the range of this norm.
    ///
    /// # Errors
    /// One line with the range.
    pub fn check(self, epsilon: f64) -> Result<(), String> {
        match self {
            Self::Linf if !(0.0..=1.0).contains(&epsilon) => {
                Err(format!("epsilon {epsilon} is outside [0, 1]; pixels are in [0, 1], so write 8/255 as 0.0314, not as 8"))
            }
            Self::L2 if !(0.0..=Self::LONGEST).contains(&epsilon) => Err(format!(
                "epsilon {epsilon} is not the Euclidean norm of a change of an image: a number from 0 to {} is needed",
                Self::LONGEST
            )),
            _ => Ok(()),
        }
    }
}

macro_rules! names {
    ($type:ident, $what:literal, $($variant:ident = $name:literal),+) => {
        impl $type {
            /// All values, for messages and menus.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $name),+
                })
            }
        }

        impl FromStr for $type {
            type Err = Error;

            /// # Errors
            /// [`Error::Unknown`] with the known names.
            fn from_str(name: &str) -> Result<Self> {
                named($what, name, &Self::ALL)
            }
        }
    };
}

names!(Protocol, "protocol", Paper = "paper", Strict = "strict");
names!(ObjectiveKind, "objective", Ranking = "ranking", Distance = "distance", SoftRank = "soft-rank");
names!(SearchKind, "search", Pgd = "pgd", Apgd = "apgd", Square = "square", Standard = "standard");
names!(Norm, "norm", Linf = "linf", L2 = "l2");
names!(TargetPool, "target band", Global = "global", Local = "local");

/// True if a choice is the default, which records and plans do not write.
pub(crate) fn is_usual<T: Default + PartialEq>(choice: &T) -> bool {
    *choice == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_named<T>(all: &[T])
    where
        T: fmt::Display + fmt::Debug + FromStr<Err = Error> + PartialEq + Serialize + for<'de> Deserialize<'de>,
    {
        for one in all {
            assert_eq!(one.to_string().parse::<T>().unwrap(), *one);
            assert_eq!(serde_json::to_string(one).unwrap(), format!("\"{one}\""));
            assert_eq!(serde_json::from_str::<T>(&format!("\"{one}\"")).unwrap(), *one);
        }
    }

    #[test]
    fn a_radius_is_a_number_that_its_norm_can_have() {
        for (norm, good, bad) in [
            (Norm::Linf, [0.0, 0.3, 1.0], [-0.1, 1.0001, 8.0, f64::NAN, f64::INFINITY]),
            (Norm::L2, [0.0, 0.3, 28.0], [-0.1, -1e-300, 1.1e6, f64::NAN, f64::INFINITY]),
        ] {
            assert!(good.iter().all(|&epsilon| norm.check(epsilon) == Ok(())), "{norm}");
            for epsilon in bad {
                assert!(norm.check(epsilon).unwrap_err().starts_with(&format!("epsilon {epsilon} is ")), "{norm}");
            }
        }
    }

    #[test]
    fn names_are_those_of_the_records() {
        assert_named(&Protocol::ALL);
        assert_named(&ObjectiveKind::ALL);
        assert_named(&TargetPool::ALL);
        assert_named(&Norm::ALL);
        assert_named(&SearchKind::ALL);
        assert_eq!("ours".parse::<Protocol>().unwrap_err().to_string(), "unknown protocol 'ours'; known: paper, strict");
    }
}
