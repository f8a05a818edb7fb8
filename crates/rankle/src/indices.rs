//! Lists of images on the command line: `0-15,20,mug-000/3.jpg`, or `@FILE` for a file with such lines.
//!
//! A line of digits, hyphens, commas and blanks holds indices and ranges. Any other line is the name of an image, or else a list
//! of names and indices separated by commas. So a name may contain blanks, and commas if it is alone on its line.

use crate::files::Input;
use crate::names;
use anyhow::{Context, Result, bail};
use rankle_core::Dataset;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::{ops::RangeInclusive, str::FromStr};

/// Largest size of a file with a list, in bytes; a pipe may have no end.
const LONGEST_LIST: u64 = 64 << 20;

/// A list of images in the order in which it is written, with repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Indices {
    /// A list on the command line.
    Given(Vec<Item>),
    /// A list in a file.
    File(PathBuf),
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// An index or a range of indices.
    Range(RangeInclusive<u32>),
    /// A name, or a list that contains names; the names in the dataset decide which.
    Words(String),
}

impl Indices {
    /// Number of indices; `None` if it depends on a file or on the names in a dataset.
    pub(crate) fn count(&self) -> Option<u64> {
        let Self::Given(items) = self else { return None };
        let count = |item: &Item| match item {
            Item::Range(range) => Some(u64::from(range.end() - range.start()) + 1),
            Item::Words(words) => (!words.contains(',')).then_some(1),
        };
        items.iter().map(count).sum()
    }

    /// The file of the list, if there is one; `option` names the list in messages.
    pub(crate) fn input(&self, option: &'static str) -> Option<Input> {
        match self {
            Self::Given(_) => None,
            Self::File(path) => Some(Input::new(option, path)),
        }
    }

    /// True if the list is on the command line.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }

    /// Indices of the listed images in a dataset; `option` names the list in messages.
    ///
    /// # Errors
    /// A file that cannot be read or is not a list, an index out of range, and a name that no image has.
    pub(crate) fn resolve(&self, option: &str, dataset: &dyn Dataset) -> Result<Vec<u32>> {
        let (items, place) = match self {
            Self::Given(items) => (items.clone(), option.to_owned()),
            Self::File(path) => {
                let place = format!("{option}: {}", path.display());
                let text =
                    rankle_files::read_text_or_pipe(path, LONGEST_LIST).with_context(|| format!("{place} cannot be read"))?;
                (parse(&text).map_err(|line| anyhow::anyhow!("{place}: {line}"))?, place)
            }
        };
        Names { dataset, indices: OnceCell::new() }.resolve(items).with_context(|| place)
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

/// Index of the images of a dataset by name.
struct Names<'a> {
    dataset: &'a dyn Dataset,
    /// Built at the first look-up of a name.
    indices: OnceCell<HashMap<Cow<'a, str>, u32>>,
}

impl Names<'_> {
    fn resolve(&self, items: Vec<Item>) -> Result<Vec<u32>> {
        let len = self.dataset.len();
        let mut found = Vec::new();
        for item in items {
            match item {
                // Checked before the range is expanded: its end may be as large as 2³² - 1.
                Item::Range(range) if *range.end() as usize >= len => {
                    bail!("index {} is out of range: there are {len} images, counted from 0", range.end())
                }
                Item::Range(range) => found.extend(range),
                Item::Words(words) => match self.index(&words) {
                    Some(index) => found.push(index),
                    None if words.contains(',') => found.append(&mut self.resolve(separated(&words)?)?),
                    None => return Err(self.unknown(&words)),
                },
            }
        }
        Ok(found)
    }

    fn index(&self, name: &str) -> Option<u32> {
        let named = |index: usize| Some((self.dataset.image_name(index)?, index as u32));
        let indices = self.indices.get_or_init(|| (0..self.dataset.len()).filter_map(named).collect());
        indices.get(name).or_else(|| indices.get(name.strip_prefix("./")?)).copied()
    }

    /// Error for a name that no image has, with the nearest name.
    fn unknown(&self, name: &str) -> anyhow::Error {
        let dataset = self.dataset.name();
        let names = || (0..self.dataset.len()).filter_map(|index| self.dataset.image_name(index));
        let Some(first) = names().next() else {
            return anyhow::anyhow!(
                "'{name}' is no index, and the images of {dataset} have no names; write, for example, 0-15,20"
            );
        };
        let remedy = match names::nearest(name, names()) {
            Some(known) => format!(", did you mean '{known}'?"),
            None => format!("; the first is '{first}'"),
        };
        anyhow::anyhow!("none of the {} images of {dataset} is '{name}'{remedy}", self.dataset.len())
    }
}

/// Parses the items of all lines.
fn parse(text: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match is_numeric(line) {
            true => items.append(&mut ranges(line)?),
            false => items.push(Item::Words(line.to_owned())),
        }
    }
    if items.is_empty() {
        return Err("no index in it; write indices and inclusive ranges, as in 0-15,20".to_owned());
    }
    Ok(items)
}

fn is_numeric(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || matches!(c, '-' | ','))
}

/// Items between the commas of a line that is not a name.
fn separated(line: &str) -> Result<Vec<Item>> {
    let parts = line.split(',').map(str::trim).filter(|part| !part.is_empty());
    let items = parts.map(|part| match is_numeric(part) {
        true => ranges(part).map_err(anyhow::Error::msg),
        false => Ok(vec![Item::Words(part.to_owned())]),
    });
    Ok(items.collect::<Result<Vec<_>>>()?.concat())
}

fn ranges(text: &str) -> Result<Vec<Item>, String> {
    let parts = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
    parts.map(|part| range(part).map(Item::Range)).collect()
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

/// A list in words, for records. Lists with the same words are equal; a long list is replaced by its length and hash.
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
        let resolved = list.resolve("--x", &numbers(6)).unwrap();
        assert_eq!((list.count(), resolved.as_slice()), (Some(6), &[5, 0, 1, 2, 3, 2][..]));
        assert_eq!(in_words(&resolved), "5,0-3,2");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "7\n8-9\n\n0").unwrap();
        let list: Indices = format!("@{}", file.path().display()).parse().unwrap();
        assert_eq!((list.count(), list.resolve("--x", &numbers(10)).unwrap()), (None, vec![7, 8, 9, 0]));
    }

    /// A dataset with its name, the number of images, and the names of the first images.
    struct Images(&'static str, usize, &'static [&'static str]);

    impl Dataset for Images {
        fn name(&self) -> &str {
            self.0
        }
        fn shape(&self) -> (usize, usize, usize) {
            (1, 1, 1)
        }
        fn labels(&self) -> &[u32] {
            &[]
        }
        fn images(&self, _: &[usize]) -> rankle_core::Result<candle_core::Tensor> {
            Err(rankle_core::Error::Empty("pixels"))
        }
        fn len(&self) -> usize {
            self.1
        }
        fn image_name(&self, index: usize) -> Option<Cow<'_, str>> {
            self.2.get(index).map(|&name| name.into())
        }
    }

    const fn numbers(len: usize) -> Images {
        Images("numbers", len, &[])
    }

    const SHOP: Images = Images("shop", 4, &["cup/0.jpg", "mug-000/3.jpg", "mug-000/a b.jpg", "mug-000/c, d.jpg"]);

    #[test]
    fn images_are_found_by_name() {
        for (list, found) in [
            ("mug-000/3.jpg", &[1][..]),
            ("./mug-000/3.jpg,0-1, cup/0.jpg", &[1, 0, 1, 0]),
            ("mug-000/a b.jpg,2 3", &[2, 2, 3]),
            ("mug-000/c, d.jpg", &[3]),
        ] {
            assert_eq!(list.parse::<Indices>().unwrap().resolve("--x", &SHOP).unwrap(), found, "{list}");
        }
        let count = |list: &str| list.parse::<Indices>().unwrap().count();
        assert_eq!((count("mug-000/3.jpg"), count("0-3"), count("mug-000/3.jpg,1")), (Some(1), Some(4), None));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}mug-000/c, d.jpg\r\n0,1 2\r\n\r\nmug-000/a b.jpg, cup/0.jpg").unwrap();
        let list: Indices = format!("@{}", file.path().display()).parse().unwrap();
        assert_eq!(list.resolve("--x", &SHOP).unwrap(), [3, 0, 1, 2, 2, 0]);
    }

    #[test]
    fn names_that_are_unknown_are_answered_with_the_nearest() {
        for (list, line) in [
            ("mug-00/3.jpg", "--x: none of the 4 images of shop is 'mug-00/3.jpg', did you mean 'mug-000/3.jpg'?"),
            ("0, mug-000/4.jpg", "--x: none of the 4 images of shop is 'mug-000/4.jpg', did you mean 'mug-000/3.jpg'?"),
            ("?", "--x: none of the 4 images of shop is '?'; the first is 'cup/0.jpg'"),
            ("cup/0.jpg,4", "--x: index 4 is out of range: there are 4 images, counted from 0"),
        ] {
            let error = list.parse::<Indices>().unwrap().resolve("--x", &SHOP).unwrap_err();
            assert_eq!(format!("{error:#}"), line);
        }
        let error = "1,x".parse::<Indices>().unwrap().resolve("--x", &numbers(3)).unwrap_err();
        let line = "--x: 'x' is no index, and the images of numbers have no names; write, for example, 0-15,20";
        assert_eq!(format!("{error:#}"), line);
    }

    #[test]
    fn faults_are_told_in_one_line() {
        for (text, line) in [
            ("", "no index in it; write indices and inclusive ranges, as in 0-15,20"),
            ("3-1", "the range '3-1' ends before it starts"),
            ("-1", "'-1' is no index or inclusive range; write, for example, 0-15,20 or @FILE"),
            ("4294967296", "'4294967296' is no index or inclusive range; write, for example, 0-15,20 or @FILE"),
        ] {
            assert_eq!(text.parse::<Indices>().unwrap_err(), line);
        }
        let said = |list: &str| list.parse::<Indices>().unwrap().resolve("--image-indices", &numbers(10)).unwrap_err();
        let message = format!("{:#}", said("0-4294967295"));
        assert_eq!(message, "--image-indices: index 4294967295 is out of range: there are 10 images, counted from 0");
        assert_eq!(said("@/nonexistent").to_string(), "--image-indices: /nonexistent cannot be read");
    }

    #[test]
    fn long_lists_have_short_words_of_their_own() {
        let even: Vec<u32> = (0..200).step_by(2).collect();
        let odd: Vec<u32> = (1..200).step_by(2).collect();
        assert!(in_words(&even).starts_with("100 indices with SHA-256 ") && in_words(&even) != in_words(&odd));
    }
}
