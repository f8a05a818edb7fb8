//! What the files of a dataset must be, as written in `datasets/<name>/manifest.toml`.

use crate::Split;
use serde::Deserialize;
use std::path::PathBuf;

/// The manifest of a dataset of IDX files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The registered name, also that of the folder.
    pub name: String,
    /// The full name.
    pub title: String,
    /// The public home page of the data.
    pub source: String,
    /// The license of the data (not of this code).
    pub license: String,
    /// Who made it.
    pub attribution: String,
    /// Labels are below this number.
    pub classes: usize,
    /// What to do when the files are missing or wrong, as the end of an error message.
    pub how_to_get: String,
    /// Where an operating system's own package puts the files.
    pub system_folder: Option<PathBuf>,
    /// What torchvision calls the folder in its root: the files are in `raw` below it.
    pub torchvision_folder: PathBuf,
    /// The files of [`Split::Train`].
    pub train: FilePair,
    /// The files of [`Split::Test`], which is also the gallery.
    pub test: FilePair,
}

/// The two files of one split.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FilePair {
    /// IDX with three dimensions.
    pub images: FileEntry,
    /// IDX with one dimension.
    pub labels: FileEntry,
}

/// One file. Size and hash are those of the decompressed bytes, for gzip can write the same bytes in many ways.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FileEntry {
    /// The file name without `.gz`.
    pub name: String,
    /// Decompressed size.
    pub bytes: u64,
    /// SHA-256 of the decompressed bytes in lower-case hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// The files of a split.
    pub fn files(&self, split: Split) -> &FilePair {
        match split {
            Split::Train => &self.train,
            Split::Test | Split::Gallery => &self.test,
        }
    }

    /// Reads a manifest that is compiled in; `text` is never input, and the tests read every one of them.
    pub(crate) fn compiled_in(text: &str) -> Self {
        toml::from_str(text).expect("a manifest in datasets/ is not valid")
    }
}
