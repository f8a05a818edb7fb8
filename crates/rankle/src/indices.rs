//! Lists of indices on the command line: `0-15,20,7`, or `@FILE` with the same inside.

use crate::files::Input;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::PathBuf;
use std::{ops::RangeInclusive, str::FromStr};

/// Bytes of a list; a pipe may have no end.
const LONGEST_LIST: u64 = 64 << 20;

/// A list as it was given: in the order that was written, repetitions included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Indices {
    /// On the command line.
    Given(Vec<RangeInclusive<u32>>),
    /// In a file, where line breaks and blanks separate as commas do.
    File(PathBuf),
}

impl Indices {
    /// The ranges, where no file is needed to know them.
    pub(crate) fn given(&self) -> Option<impl Iterator<Item = &RangeInclusive<u32>>> {
        match self {
            Self::Given(ranges) => Some(ranges.iter()),
            Self::File(_) => None,
        }
    }

    /// What is read to know them; `option` names the list.
    pub(crate) fn input(&self, option: &'static str) -> Option<Input> {
        match self {
            Self::Given(_) => None,
            Self::File(path) => Some(Input::new(option, path)),
        }
    }

    /// The indices, each checked to be below `len`; `option` names the list in messages.
    ///
    /// # Errors
    /// When the file cannot be read or is no such list, or when an index is out of range.
    pub(crate) fn resolve(&self, option: &str, len: usize) -> Result<Vec<u32>> {
        let ranges = match self {
            Self::Given(ranges) => ranges.clone(),
            Self::File(path) => {
                let text = rankle_files::read_text(path, LONGEST_LIST);
                let text = text.with_context(|| format!("{option}: {} cannot be read", path.display()))?;
                parse(&text).map_err(|line| anyhow::anyhow!("{option}: {}: {line}", path.display()))?
            }
        };
        // Before anything is expanded: a range may end at four thousand millions.
        if let Some(range) = ranges.iter().find(|range| *range.end() as usize >= len) {
            bail!("{option}: index {} is out of range: there are {len} images, counted from 0", range.end());
        }
        Ok(ranges.into_iter().flatten().collect())
    }
}

impl FromStr for Indices {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(path) => Ok(Self::File(path.into())),
            None => parse(text).map(Self::Given),
        }
    }
}

fn parse(text: &str) -> Result<Vec<RangeInclusive<u32>>, String> {
    let parts: Vec<&str> = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("no index in it; write indices and inclusive ranges, as in 0-15,20".to_owned());
    }
    parts.into_iter().map(range).collect()
}

fn range(part: &str) -> Result<RangeInclusive<u32>, String> {
    let number = |text: &str| {
        text.parse().map_err(|_| format!("'{part}' is no index or inclusive range; write, for example, 0-15,20 or @FILE"))
    };
    match part.split_once('-') {
        Some((first, last)) => {
            let range = number(first)?..=number(last)?;
            if range.is_empty() { Err(format!("the range '{part}' ends before it starts")) } else { Ok(range) }
        }
        None => number(part).map(|index| index..=index),
    }
}

/// A list in words, for records: two lists with the same words are equal. Long ones are told by their hash.
pub(crate) fn in_words(indices: &[u32]) -> String {
    let mut words = String::new();
    for run in indices.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        let comma = if words.is_empty() { "" } else { "," };
        let (first, last) = (run[0], run[run.len() - 1]);
        // Writing to a string cannot fail.
        if first == last { write!(words, "{comma}{first}") } else { write!(words, "{comma}{first}-{last}") }.ok();
    }
    if words.len() <= 100 {
        return words;
    }
    format!("{} indices with SHA-256 {}", indices.len(), crate::files::hex(&Sha256::digest(&words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_order_is_kept() {
        let list: Indices = "5,0-3, 2".parse().unwrap();
        assert_eq!(list.resolve("--x", 6).unwrap(), [5, 0, 1, 2, 3, 2]);
        assert_eq!(in_words(&list.resolve("--x", 6).unwrap()), "5,0-3,2");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "7\n8-9\n\n0").unwrap();
        let list: Indices = format!("@{}", file.path().display()).parse().unwrap();
        assert_eq!(list.resolve("--x", 10).unwrap(), [7, 8, 9, 0]);
    }

    #[test]
    fn faults_are_told_in_one_line() {
        for (text, line) in [
            ("", "no index in it; write indices and inclusive ranges, as in 0-15,20"),
            ("3-1", "the range '3-1' ends before it starts"),
            ("1,x", "'x' is no index or inclusive range; write, for example, 0-15,20 or @FILE"),
            ("-1", "'-1' is no index or inclusive range; write, for example, 0-15,20 or @FILE"),
            ("4294967296", "'4294967296' is no index or inclusive range; write, for example, 0-15,20 or @FILE"),
        ] {
            assert_eq!(text.parse::<Indices>().unwrap_err(), line);
        }
        let message = "0-4294967295".parse::<Indices>().unwrap().resolve("--image-indices", 10).unwrap_err().to_string();
        assert_eq!(message, "--image-indices: index 4294967295 is out of range: there are 10 images, counted from 0");
        let message = "@/nonexistent".parse::<Indices>().unwrap().resolve("--image-indices", 10).unwrap_err().to_string();
        assert_eq!(message, "--image-indices: /nonexistent cannot be read");
    }

    #[test]
    fn long_lists_have_short_words_of_their_own() {
        let even: Vec<u32> = (0..200).step_by(2).collect();
        let odd: Vec<u32> = (1..200).step_by(2).collect();
        assert!(in_words(&even).starts_with("100 indices with SHA-256 ") && in_words(&even) != in_words(&odd));
    }
}
