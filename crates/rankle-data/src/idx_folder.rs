//! Folders of IDX files without published hashes: EMNIST, KMNIST, the user's own.

use crate::options;
use crate::text::portable;
use crate::{Credits, Error, ImageSet, Result, Split};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, str::FromStr};

/// A folder with IDX files of gray images and of their labels, without known hashes.
///
/// The files are called `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, for testing `t10k-…` or `test-…`, with or
/// without `.gz`; the last hyphen may be a dot. A prefix, as in `emnist-letters-train-images-idx3-ubyte.gz`, is the name of a
/// dataset: a folder may hold several. Images keep the orientation of the file: those of EMNIST are transposed.
///
/// Written as `idx:PATH`, or with the name of one of several datasets as `idx,name=emnist-letters:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdxFolder {
    /// The folder, as written by the user.
    pub path: PathBuf,
    /// The dataset's name; `None` for the dataset without a prefix, or else the only one.
    pub name: Option<String>,
}

const HELP: &str = "write idx:PATH, or for one of several datasets in a folder idx,name=NAME:PATH";

impl IdxFolder {
    /// Opens one split; a relative path is relative to `dir` if that is given. Any byte is a valid label.
    ///
    /// # Errors
    /// [`Error::Layout`] for a folder without the two files or with a choice between several datasets, [`Error::Read`], and every
    /// error of an IDX file.
    pub fn open(&self, split: Split, dir: Option<&Path>) -> Result<ImageSet> {
        let split = split.without_gallery();
        let root = self.root(dir);
        let files = self.chosen(&root, datasets(&root)?)?;
        let file = |part: Part| {
            let missing = || Error::Layout {
                path: root.clone(),
                found: format!("has no {split} {}", part.word()),
                help: format!("it needs a file called {}-{} or {0}-{1}.gz", self.prefix(split), part.ending()),
            };
            files.get(&(split, part)).map(|file| root.join(file)).ok_or_else(missing)
        };
        ImageSet::read_idx(self.to_string(), &file(Part::Images)?, &file(Part::Labels)?, 1 << 8)
    }

    /// License and attribution, if the folder has a file that states them.
    ///
    /// # Errors
    /// As [`Credits::read`].
    pub(crate) fn credits(&self, dir: Option<&Path>) -> Result<Option<Credits>> {
        Credits::read(&self.root(dir))
    }

    /// The same dataset with an absolute path cut to its last component, which says nothing of the machine.
    pub(crate) fn portable(&self) -> Self {
        Self { path: portable(&self.path, "images"), ..self.clone() }
    }

    /// The folder, with a relative path taken from `dir`.
    pub(crate) fn root(&self, dir: Option<&Path>) -> PathBuf {
        dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path))
    }

    /// The files of the chosen dataset.
    fn chosen(&self, root: &Path, mut datasets: BTreeMap<String, Files>) -> Result<Files> {
        let names: Vec<String> = datasets.keys().filter(|name| !name.is_empty()).cloned().collect();
        let wrong = |found: String, help: String| Err(Error::Layout { path: root.into(), found, help });
        let name = match &self.name {
            Some(name) => name.as_str(),
            None if datasets.contains_key("") => "",
            None if names.len() > 1 => {
                let help = format!("say which, as in idx,name={}:PATH", names[0]);
                return wrong(format!("holds IDX files of {}", names.join(", ")), help);
            }
            None => names.first().map_or("", String::as_str),
        };
        match (datasets.remove(name), names.is_empty()) {
            (Some(files), _) => Ok(files),
            (None, true) => {
                let help = "files are needed that are called like train-images-idx3-ubyte and train-labels-idx1-ubyte".into();
                wrong("holds no IDX files with a name".into(), help)
            }
            (None, false) => wrong(format!("holds no IDX files of {name}"), format!("it has those of {}", names.join(", "))),
        }
    }

    /// The prefix of the usual file names of a split.
    fn prefix(&self, split: Split) -> String {
        let split = if split == Split::Train { "train" } else { "t10k" };
        self.name.as_ref().map_or_else(|| split.to_owned(), |name| format!("{name}-{split}"))
    }
}

/// The names of the files of one dataset.
type Files = BTreeMap<(Split, Part), String>;

/// The contents of a file according to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Images,
    Labels,
}

impl Part {
    const ALL: [Self; 2] = [Self::Images, Self::Labels];

    fn word(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Labels => "labels",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Images => "images-idx3-ubyte",
            Self::Labels => "labels-idx1-ubyte",
        }
    }
}

/// All IDX files in a folder, by the names of their datasets.
fn datasets(root: &Path) -> Result<BTreeMap<String, Files>> {
    let refused = |reason| Error::Read { path: root.into(), reason };
    let entries: Result<Vec<_>, _> = fs::read_dir(root).and_then(Iterator::collect);
    let mut names: Vec<String> =
        entries.map_err(refused)?.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // Some archives unpack each file into a folder of its name.
    names.retain(|name| !root.join(name).is_dir());
    // After sorting, a gzipped file follows its plain form, and replaces it.
    names.sort();
    let mut datasets: BTreeMap<String, Files> = BTreeMap::new();
    for file in &names {
        let Some((name, split, part)) = parse(file) else { continue };
        let files = datasets.entry(name.to_owned()).or_default();
        if let Some(other) = files.insert((split, part), file.to_owned()).filter(|other| format!("{other}.gz") != *file) {
            let found = format!("holds {other} and {file}, which are the {split} {} both", part.word());
            return Err(Error::Layout { path: root.into(), found, help: "remove or rename one of them".into() });
        }
    }
    Ok(datasets)
}

/// The dataset, the split and the part that a file name stands for; `None` for other names.
fn parse(file: &str) -> Option<(&str, Split, Part)> {
    let file = file.strip_suffix(".gz").unwrap_or(file);
    let part = |part: Part| {
        let (what, kind) = part.ending().split_once('-')?;
        let front = file.strip_suffix(kind)?.strip_suffix(['-', '.'])?.strip_suffix(what)?;
        Some((front.strip_suffix('-')?, part))
    };
    let (front, part) = Part::ALL.into_iter().find_map(part)?;
    let (name, split) = front.rsplit_once('-').unwrap_or(("", front));
    match split {
        "train" => Some((name, Split::Train, part)),
        "t10k" | "test" => Some((name, Split::Test, part)),
        _ => None,
    }
}

impl fmt::Display for IdxFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.name {
            Some(name) => write!(f, "idx,name={name}:{path}"),
            None => write!(f, "idx:{path}"),
        }
    }
}

impl FromStr for IdxFolder {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (how, path) = options::folder(text, "idx", HELP)?;
        let parts = options::parse(text, how, &["name"])?;
        let name = match parts.first() {
            Some(part) if part.value.is_empty() => return part.refuse("write name=NAME, as the files are called"),
            part => part.map(|part| part.value.to_owned()),
        };
        Ok(Self { path: path.into(), name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn names_of_files() {
        use {Part::*, Split::*};
        for (file, expected) in [
            ("train-images-idx3-ubyte",                  Some(("", Train, Images))),
            ("t10k-labels-idx1-ubyte.gz",                Some(("", Test, Labels))),
            ("t10k-images.idx3-ubyte",                   Some(("", Test, Images))),
            ("emnist-letters-train-images-idx3-ubyte.gz", Some(("emnist-letters", Train, Images))),
            ("emnist-letters-test-labels-idx1-ubyte",    Some(("emnist-letters", Test, Labels))),
            ("train-images-idx1-ubyte",                  None),
            ("extra-images-idx3-ubyte",                  None),
            ("images-idx3-ubyte",                        None),
            ("README",                                   None),
        ] {
            assert_eq!(parse(file), expected, "{file}");
        }
    }
}
