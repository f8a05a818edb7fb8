//! Errors between the name of a dataset and its images.

use crate::text::{cut, shown};
use std::{io, path::PathBuf};

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error between the name of a dataset and its images. Each message is one line: the file, the value found, the value
/// expected, what to do. The reasons below are part of the message, so they are not repeated as a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An unknown name.
    #[error("unknown {what} '{}'{} known: {known}", cut(name), .nearest.map_or(";".into(), |name| format!(", did you mean '{name}'?")))]
    Unknown {
        /// The kind of name: `dataset`, `split` or `option of a dataset`.
        what: &'static str,
        /// The name.
        name: String,
        /// The known name that is most similar; `None` if none is similar.
        nearest: Option<&'static str>,
        /// The known names, separated by commas.
        known: String,
    },
    /// Two datasets in which some classes have names and others have none.
    #[error(
        "the classes of {named} have names and those of {unnamed} have no names, so they cannot be matched: take queries and \
         gallery of one kind"
    )]
    Classes {
        /// The dataset whose classes have names.
        named: String,
        /// The other dataset.
        unnamed: String,
    },
    /// A dataset that is neither compiled in nor installed, without a given folder.
    #[error("{dataset} is not installed and no folder was given: {help}")]
    Unavailable {
        /// The dataset.
        dataset: String,
        /// Advice on getting the dataset.
        help: String,
    },
    /// A given folder that does not exist or is no folder.
    #[error("{} is not a folder: name the folder that holds {file}.gz", shown(folder))]
    NotAFolder {
        /// The path that was given.
        folder: PathBuf,
        /// The first file that was looked for in it.
        file: String,
    },
    /// A folder without a file of the dataset.
    #[error("{} holds neither {file}.gz nor {file} of {dataset}: {help}", shown(folder))]
    Missing {
        /// The folder that was searched.
        folder: PathBuf,
        /// The file, without `.gz`.
        file: String,
        /// The dataset.
        dataset: String,
        /// Advice on getting the dataset.
        help: String,
    },
    /// A folder at the path of a file.
    #[error("{} is a folder, expected a file: remove it or name the file", shown(path))]
    Directory {
        /// The folder.
        path: PathBuf,
    },
    /// A file that the operating system cannot read.
    #[error("cannot read {}: {reason}; check the path and its permissions", shown(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// A file that starts as gzip and is truncated or damaged.
    #[error("{} is not a whole gzip file ({reason}): it is truncated or damaged, get it again", shown(path))]
    Gzip {
        /// The file.
        path: PathBuf,
        /// The error of the decompressor.
        reason: io::Error,
    },
    /// A file with another magic number.
    #[error("{} starts with the magic number {found}, expected {expected} for IDX {what}: {help}", shown(path))]
    Magic {
        /// The file.
        path: PathBuf,
        /// The first four bytes as a big-endian number.
        found: u32,
        /// 2051 for images, 2049 for labels.
        expected: u32,
        /// `images` or `labels`.
        what: &'static str,
        /// Advice to the user.
        help: &'static str,
    },
    /// A zero dimension in a header.
    #[error("{} has 0 {what} in its header, expected at least 1: it is damaged, get it again", shown(path))]
    Zero {
        /// The file.
        path: PathBuf,
        /// The dimension: `images`, `rows`, `columns` or `labels`.
        what: &'static str,
    },
    /// A header that announces more than the limit; nothing after it was read.
    #[error(
        "{} promises {promised} bytes in its header, expected at most {limit}: it is damaged or another file, get it again",
        shown(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes according to the header.
        promised: u128,
        /// Largest number of decompressed bytes allowed.
        limit: u64,
    },
    /// A file that ends too early.
    #[error("{} ends after {found} bytes (decompressed), expected {expected}: it is truncated, get it again", shown(path))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes in the file.
        found: u64,
        /// Decompressed bytes according to the header.
        expected: u64,
    },
    /// A file that continues after its last item.
    #[error(
        "{} goes on after the {expected} bytes (decompressed) that its header promises: it is damaged, get it again",
        shown(path)
    )]
    Trailing {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes according to the header.
        expected: u64,
    },
    /// A label that is no class.
    #[error(
        "{} has label {found} at index {index}, expected one below {classes}: it belongs to another dataset or is damaged",
        shown(path)
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// The position of the label, counted from 0.
        index: usize,
        /// The value of the label.
        found: u8,
        /// Number of classes.
        classes: usize,
    },
    /// Different numbers of images and labels.
    #[error(
        "{} holds {found_images} images but {} holds {found_labels} labels, expected as many: use two files of one split",
        shown(images),
        shown(labels)
    )]
    Counts {
        /// The file of images.
        images: PathBuf,
        /// Number of images in that file.
        found_images: usize,
        /// The file of labels.
        labels: PathBuf,
        /// Number of labels in that file.
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
        /// Advice on getting the published file.
        help: String,
    },
    /// Pixels in memory that do not match the shape and the number of labels.
    #[error(
        "the image set '{name}' has {found} pixels, expected {labels} x {} x {} x {}: pass channels x height x width bytes, at least one, per label",
        .shape.0, .shape.1, .shape.2
    )]
    Pixels {
        /// The name of the set.
        name: String,
        /// Number of bytes passed.
        found: usize,
        /// Number of labels passed.
        labels: usize,
        /// `(channels, height, width)` as passed.
        shape: (usize, usize, usize),
    },
    /// A photograph that cannot be used.
    #[error("{} {}: {help}", shown(path), cut(found))]
    Photo {
        /// The file.
        path: PathBuf,
        /// The fault.
        found: String,
        /// Advice to the user.
        help: String,
    },
    /// A side that photographs cannot be cropped to.
    #[error("photographs cannot be cropped to {found} pixels a side: 1 to {most} are possible")]
    Side {
        /// The requested side in pixels.
        found: usize,
        /// The longest side in pixels.
        most: usize,
    },
    /// A malformed line in a list of photographs.
    #[error("{}, line {line}: {}: {help}", shown(path), cut(found))]
    Line {
        /// The list.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The fault.
        found: String,
        /// Advice to the user.
        help: &'static str,
    },
    /// A folder or file of a dataset with an unexpected layout.
    #[error("{} {}: {help}", shown(path), cut(found))]
    Layout {
        /// The folder or file.
        path: PathBuf,
        /// The fault.
        found: String,
        /// Advice to the user.
        help: String,
    },
    /// The name of a folder dataset without a path, or with malformed options.
    #[error("'{}' has no folder: {help}", cut(found))]
    FolderName {
        /// The name as written.
        found: String,
        /// The correct form.
        help: &'static str,
    },
    /// An option in the name of a dataset that cannot be used.
    #[error("'{}' in the dataset '{}' cannot be used: {help}", cut(option), cut(dataset))]
    DatasetOption {
        /// The whole name of the dataset.
        dataset: String,
        /// The option with its value.
        option: String,
        /// The reason, or what to write instead.
        help: String,
    },
    /// The training split of a dataset whose name says that every image is tested.
    #[error("'{}' tests every image and leaves none to train on: say what is tested, as in folder,images=20%:PATH", cut(dataset))]
    NothingToTrain {
        /// The whole name of the dataset.
        dataset: String,
    },
    /// A side before the crop that is shorter than the crop, or too long.
    #[error("edge={edge} does not fit a model that takes {side} pixels a side: {side} to {most} are possible")]
    Edge {
        /// The requested side before the crop, in pixels.
        edge: usize,
        /// The side of the crop in pixels.
        side: usize,
        /// The longest side before the crop, in pixels.
        most: usize,
    },
    /// Work stopped at the caller's request.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// True if the error follows from the name of the dataset and the model's input alone, before any file is opened.
    pub fn is_of_arguments(&self) -> bool {
        matches!(self, Self::DatasetOption { .. } | Self::NothingToTrain { .. } | Self::Edge { .. })
    }
}
