//! Manifests of datasets, as written in `datasets/<name>/manifest.toml`: expected files, origin and license.

use crate::Split;
use serde::Deserialize;
use std::path::PathBuf;

/// The manifest of a dataset of IDX files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The registered name, also the name of the folder.
    pub name: String,
    /// The full name.
    pub title: String,
    /// The public home page of the data.
    pub source: String,
    /// The license of the data (not of this code).
    pub license: String,
    /// Makers of the data.
    pub attribution: String,
    /// Number of classes; labels are below it.
    pub classes: usize,
    /// Advice for missing or wrong files, as the end of an error message.
    pub how_to_get: String,
    /// The folder in which an operating system's own package installs the files.
    pub system_folder: Option<PathBuf>,
    /// The name of torchvision's folder in its root; the files are in `raw` below it.
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
    /// The file of images, IDX with three dimensions.
    pub images: FileEntry,
    /// The file of labels, IDX with one dimension.
    pub labels: FileEntry,
}

/// One file. Size and hash are those of the decompressed bytes, because gzip can encode the same bytes in many ways.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FileEntry {
    /// The file name without `.gz`.
    pub name: String,
    /// Decompressed size in bytes.
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

    /// Parses a compiled-in manifest; panics if it is invalid. `text` is never input, and the tests parse every manifest.
    pub(crate) fn compiled_in(text: &str) -> Self {
        toml::from_str(text).expect("a manifest in datasets/ is not valid")
    }
}
