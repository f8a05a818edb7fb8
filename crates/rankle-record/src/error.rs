//! Errors of plans, records and their outputs.

use std::io;
use std::path::{Path, PathBuf};

/// Result of the fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of a plan, a record or an output made of records. Each message is one line that names the file or the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be opened, read, written or locked.
    #[error("cannot {action} {}: {reason}", path.display())]
    File {
        /// Attempted action, as in `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause. It is part of the message; as a `source`, callers would print it once more.
        reason: io::Error,
    },
    /// A complete line of a file that does not hold the expected content.
    #[error("{} line {line} is not a {what}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, counted from 1.
        line: usize,
        /// Expected content of the line, as in `record`.
        what: &'static str,
        /// The problem, and the remedy.
        reason: String,
    },
    /// A record that JSON cannot hold, because one of its numbers is NaN or infinite.
    #[error("the record of {cell} cannot be written: {reason}")]
    Record {
        /// The cell, in words.
        cell: String,
        /// The problem.
        reason: String,
    },
    /// A file that does not hold per-image ranks, or whose ranks do not fit its records.
    #[error("{} {reason}", path.display())]
    Ranks {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// A folder that another process works in.
    #[error("{} is in use by {holder}; wait for it to end or choose another output folder", folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The holder: process, command and start time.
        holder: String,
    },
    /// An unknown name, with the known ones.
    #[error("unknown {what} '{name}'; known: {known}")]
    Unknown {
        /// Kind of the name, as in `attack`.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// A plan, a table or a picture that cannot be made.
    #[error("cannot make {what}: {reason}")]
    Make {
        /// The output, as in `the table`.
        what: &'static str,
        /// The problem.
        reason: String,
    },
}

impl Error {
    /// Argument of `map_err` for an attempted action on a file.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |reason| Self::File { action, path, reason }
    }

    /// Argument of `map_err` for an output that cannot be made.
    pub fn make<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |reason| Self::Make { what, reason: reason.to_string() }
    }
}
