//! The parts of a dataset.

use crate::{Error, Result};
use std::{fmt, str::FromStr};

/// A part of a dataset. There is no validation split, as in the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// The training images.
    Train,
    /// The images that are used as queries and attacked.
    Test,
    /// The images that are ranked for the queries: the test images themselves, unless the dataset has a gallery of its own.
    Gallery,
}

impl Split {
    /// All splits, for messages and menus.
    pub const ALL: [Self; 3] = [Self::Train, Self::Test, Self::Gallery];

    /// The name on the command line: `train`, `test` or `gallery`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Gallery => "gallery",
        }
    }

    /// The split that a dataset without a gallery of its own uses for this one.
    pub(crate) fn without_gallery(self) -> Self {
        if self == Self::Gallery { Self::Test } else { self }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Split {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        known("split", name, &Self::ALL, Self::as_str)
    }
}

/// Finds the item of `all` whose name is `name`; the error lists the nearest name and all names.
pub(crate) fn known<T: Copy>(what: &'static str, name: &str, all: &[T], called: fn(T) -> &'static str) -> Result<T> {
    if let Some(&found) = all.iter().find(|&&one| called(one) == name) {
        return Ok(found);
    }
    Err(unknown(what, name, &all.iter().map(|&one| called(one)).collect::<Vec<_>>()))
}

/// The error for an unknown name, with the nearest known name and all of them.
pub(crate) fn unknown(what: &'static str, name: &str, known: &[&'static str]) -> Error {
    // Jaro-Winkler rather than an edit distance: it also counts the start of a name, such as `fashion`, as near to the whole.
    let lower = name.to_lowercase();
    let nearest = (known.iter().map(|candidate| (strsim::jaro_winkler(&lower, candidate), *candidate)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|&(likeness, _)| likeness > 0.7)
        .map(|(_, candidate)| candidate);
    Error::Unknown { what, name: name.into(), nearest, known: known.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_slips_are_answered() {
        for split in Split::ALL {
            assert_eq!(split.to_string().parse::<Split>().unwrap(), split);
        }
        let says = |name: &str| name.parse::<Split>().unwrap_err().to_string();
        assert_eq!(says("tset"), "unknown split 'tset', did you mean 'test'? known: train, test, gallery");
        assert_eq!(says("Train"), "unknown split 'Train', did you mean 'train'? known: train, test, gallery");
        assert_eq!(says("xyz"), "unknown split 'xyz'; known: train, test, gallery");
    }
}
