//! What can go wrong between a name and its images.

use crate::text::{cut, shown};
use std::{io, path::PathBuf};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a name and its images. Each message is one line: the file, the value found, the value
/// expected, what to do. The reasons below are part of the message, so they are not repeated as a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is not known.
    #[error("unknown {what} '{}'{} known: {known}", cut(name), .nearest.map_or(";".into(), |name| format!(", did you mean '{name}'?")))]
    Unknown {
        /// What was named: `dataset` or `split`.
        what: &'static str,
        /// The name.
        name: String,
        /// The known name that looks most like it, if any does.
        nearest: Option<&'static str>,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// Two datasets of which one has no names for its classes.
    #[error(
        "the classes of {named} have names and those of {unnamed} have no names, so it cannot be told which are the same: take queries and \
         gallery of one kind"
    )]
    Classes {
        /// The dataset whose classes have names.
        named: String,
        /// The other one.
        unnamed: String,
    },
    /// No folder was given, and the dataset is neither compiled in nor installed.
    #[error("{dataset} is not at hand and no folder was given: {help}")]
    Unavailable {
        /// The dataset.
        dataset: String,
        /// How to get it.
        help: String,
    },
    /// The folder of a dataset does not exist or is something else.
    #[error("{} is not a folder: name the folder that holds {file}.gz", shown(folder))]
    NotAFolder {
        /// The path that was given.
        folder: PathBuf,
        /// The first file that was looked for in it.
        file: String,
    },
    /// The folder does not hold a file of the dataset.
    #[error("{} holds neither {file}.gz nor {file} of {dataset}: {help}", shown(folder))]
    Missing {
        /// The folder that was searched.
        folder: PathBuf,
        /// The file, without `.gz`.
        file: String,
        /// The dataset.
        dataset: String,
        /// How to get it.
        help: String,
    },
    /// A folder stands where a file is expected.
    #[error("{} is a folder, expected a file: remove it or name the file", shown(path))]
    Directory {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("cannot read {}: {reason}; check the path and its permissions", shown(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The file starts like gzip and does not go on like it.
    #[error("{} is not a whole gzip file ({reason}): it is truncated or damaged, get it again", shown(path))]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decompressor says.
        reason: io::Error,
    },
    /// The first four bytes do not announce what was expected.
    #[error("{} starts with the magic number {found}, expected {expected} for IDX {what}: {help}", shown(path))]
    Magic {
        /// The file.
        path: PathBuf,
        /// Its first four bytes as a big-endian number.
        found: u32,
        /// 2051 for images, 2049 for labels.
        expected: u32,
        /// `images` or `labels`.
        what: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// A dimension in the header is zero.
    #[error("{} has 0 {what} in its header, expected at least 1: it is damaged, get it again", shown(path))]
    Zero {
        /// The file.
        path: PathBuf,
        /// The dimension: `images`, `rows`, `columns` or `labels`.
        what: &'static str,
    },
    /// The header promises more than is allowed; nothing of it was read.
    #[error(
        "{} promises {promised} bytes in its header, expected at most {limit}: it is damaged or another file, get it again",
        shown(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes that the header asks for.
        promised: u128,
        /// Decompressed bytes that are allowed.
        limit: u64,
    },
    /// The file ends too early.
    #[error("{} ends after {found} bytes (decompressed), expected {expected}: it is truncated, get it again", shown(path))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes that it holds.
        found: u64,
        /// Decompressed bytes that its header asks for.
        expected: u64,
    },
    /// The file goes on behind its last item.
    #[error(
        "{} goes on after the {expected} bytes (decompressed) that its header promises: it is damaged, get it again",
        shown(path)
    )]
    Trailing {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes that its header asks for.
        expected: u64,
    },
    /// A label is not a class.
    #[error(
        "{} has label {found} at index {index}, expected one below {classes}: it belongs to another dataset or is damaged",
        shown(path)
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// Which label, counted from 0.
        index: usize,
        /// Its value.
        found: u8,
        /// How many classes there are.
        classes: usize,
    },
    /// Images and labels do not belong together.
    #[error(
        "{} holds {found_images} images but {} holds {found_labels} labels, expected as many: use two files of one split",
        shown(images),
        shown(labels)
    )]
    Counts {
        /// The file of images.
        images: PathBuf,
        /// How many images it holds.
        found_images: usize,
        /// The file of labels.
        labels: PathBuf,
        /// How many labels it holds.
        found_labels: usize,
    },
    /// A well-formed file that is not the published one.
    #[error("{} has SHA-256 {found} (decompressed), expected {expected}: {help}", shown(path))]
    Hash {
        /// The file.
        path: PathBuf,
        /// The hash of its decompressed bytes.
        found: String,
        /// The hash in the manifest.
        expected: String,
        /// How to get the right one.
        help: String,
    },
    /// Pixels in memory that do not make up as many images as there are labels.
    #[error(
        "the image set '{name}' has {found} pixels, expected {labels} x {} x {} x {}: pass channels x height x width bytes, at least one, per label",
        .shape.0, .shape.1, .shape.2
    )]
    Pixels {
        /// The name of the set.
        name: String,
        /// Bytes that were passed.
        found: usize,
        /// How many labels were passed.
        labels: usize,
        /// `(channels, height, width)` as passed.
        shape: (usize, usize, usize),
    },
    /// A photograph that cannot be used.
    #[error("{} {}: {help}", shown(path), cut(found))]
    Photo {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
        /// What to do.
        help: String,
    },
    /// A side that photographs cannot be cut to.
    #[error("photographs cannot be cut to {found} pixels a side: 1 to {most} can be had")]
    Side {
        /// The side that was asked for.
        found: usize,
        /// The longest.
        most: usize,
    },
    /// A line of a list of photographs is not what it should be.
    #[error("{}, line {line}: {}: {help}", shown(path), cut(found))]
    Line {
        /// The list.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        found: String,
        /// What to do.
        help: &'static str,
    },
    /// A folder of photographs that is not laid out as it should be.
    #[error("{} {}: {help}", shown(path), cut(found))]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        found: String,
        /// What to do.
        help: String,
    },
    /// A name that begins like that of a folder, and names none.
    #[error("'{}' names no folder: {help}", cut(found))]
    FolderName {
        /// What was written.
        found: String,
        /// What can be.
        help: &'static str,
    },
    /// An option in the name of a dataset that cannot be used.
    #[error("'{}' in the dataset '{}' cannot be used: {help}", cut(option), cut(dataset))]
    DatasetOption {
        /// The whole name.
        dataset: String,
        /// The option with its value.
        option: String,
        /// Why not, or what to write instead.
        help: String,
    },
    /// The training split of a dataset whose name says that all of it is tested.
    #[error("'{}' tests every image and leaves none to train on: say what is tested, as in folder,images=20%:PATH", cut(dataset))]
    NothingToTrain {
        /// The whole name.
        dataset: String,
    },
    /// A side before the cut that is shorter than what is cut out, or too long.
    #[error("edge={edge} does not fit a model that takes {side} pixels a side: {side} to {most} can be had")]
    Edge {
        /// The side that was asked for.
        edge: usize,
        /// The side of what is cut out.
        side: usize,
        /// The longest.
        most: usize,
    },
    /// The caller asked for the work to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether the name of the dataset and the model's input alone show it, before any file is opened.
    pub fn is_of_arguments(&self) -> bool {
        matches!(self, Self::DatasetOption { .. } | Self::NothingToTrain { .. } | Self::Edge { .. })
    }
}
