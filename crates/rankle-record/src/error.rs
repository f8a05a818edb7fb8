//! What can go wrong between a plan, a record and what is made of it.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a plan, a record and what is made of it. Each message is one line that names the file or the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened, read, written or locked.
    #[error("cannot {action} {}: {reason}", path.display())]
    File {
        /// What was tried, as in `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed: part of the message, hence no `source`, which callers would print once more.
        reason: io::Error,
    },
    /// A complete line of a file is not what it should be.
    #[error("{} line {line} is not a {what}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the line should hold, as in `record`.
        what: &'static str,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A record that JSON cannot hold, because one of its numbers is NaN or infinite.
    #[error("the record of {cell} cannot be written: {reason}")]
    Record {
        /// The cell, in words.
        cell: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of per-image ranks that is none, or does not fit its records.
    #[error("{} {reason}", path.display())]
    Ranks {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process works in the same folder.
    #[error("{} is in use by {holder}; wait for it to end or choose another output folder", folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// Who holds it: process, command, since when.
        holder: String,
    },
    /// A name that is not known, with the known ones.
    #[error("unknown {what} '{name}'; known: {known}")]
    Unknown {
        /// What was named.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// A plan, a table or a picture cannot be made.
    #[error("cannot make {what}: {reason}")]
    Make {
        /// Which one.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// For `map_err`: what was tried, on which file.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |reason| Self::File { action, path, reason }
    }

    /// For `map_err`: which output cannot be made.
    pub fn make<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |reason| Self::Make { what, reason: reason.to_string() }
    }
}
