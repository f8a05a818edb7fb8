//! What can go wrong between an address and a file.

use std::{io, path::PathBuf};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between an address and a file. Each message is one line: what, the value found, the value expected, what
/// to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that the hub would not give.
    #[error("'{text}' names nothing on the hub: {help}")]
    Name {
        /// What was written.
        text: String,
        /// How it is written.
        help: &'static str,
    },
    /// An address that nothing can be downloaded from.
    #[error("{url} cannot be asked: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers, or the connection breaks again and again.
    #[error("{url} cannot be reached ({reason}); what came so far is kept, so the same command goes on")]
    Unreachable {
        /// The address.
        url: String,
        /// What the network says.
        reason: String,
    },
    /// The server refuses.
    #[error("{url} answers with status {status}: {help}")]
    Status {
        /// The address.
        url: String,
        /// The status of HTTP.
        status: u16,
        /// What it means.
        help: &'static str,
    },
    /// The server says things that cannot be.
    #[error("{url} answers with {found}: {help}")]
    Answer {
        /// The address.
        url: String,
        /// What it says.
        found: String,
        /// What was expected, or what to do.
        help: &'static str,
    },
    /// An encrypted address sends us to one that is not.
    #[error("{from} sends us to {to}, which is not encrypted: nothing was taken from there; name another address")]
    Downgrade {
        /// The encrypted address.
        from: String,
        /// The other one.
        to: String,
    },
    /// More bytes than are allowed.
    #[error("{what} has more than the {limit} bytes that are allowed: it is another file or has no end; name another address")]
    TooLarge {
        /// A file or an address.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// More time than is allowed.
    #[error(
        "{url} sent {bytes} bytes in {seconds} s, which is too slow: what came so far is kept, so the same command goes on; \
         --max-time allows more, another address may be faster"
    )]
    TooSlow {
        /// The address.
        url: String,
        /// What came.
        bytes: u64,
        /// In this time.
        seconds: u64,
    },
    /// Another content than the expected one.
    #[error("{what} has {algorithm} {found}, expected {expected}: it is damaged or another file, and was not kept")]
    Hash {
        /// The address, or the file.
        what: String,
        /// `SHA-256`, or `Git hash`.
        algorithm: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// Nothing may be downloaded, and it is not in the cache.
    #[error("{what} is not in the cache at {}, and --offline forbids to download it", cache.display())]
    Offline {
        /// What was asked for.
        what: String,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// Something on this machine cannot be read or written; a full disk, for example.
    #[error("{} {what}: {reason}", path.display())]
    File {
        /// The file or the folder.
        path: PathBuf,
        /// `cannot be read`, `cannot be written`.
        what: &'static str,
        /// What the system says.
        reason: io::Error,
    },
    /// There is no home, and so no usual place for the cache.
    #[error("this user has no home folder: name one for the cache with --hub-cache")]
    NoHome,
    /// An archive that is refused or damaged.
    #[error("{}: {found}; nothing of it was kept", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// A Parquet file without the images and labels that are needed.
    #[error("{} {found}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// It was asked to stop. What was downloaded so far is kept.
    #[error("interrupted; the same command goes on where it was")]
    Interrupted,
}

impl Error {
    /// For what cannot be read.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |reason| Self::File { path, what: "cannot be read", reason }
    }

    /// For what cannot be written.
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |reason| Self::File { path, what: "cannot be written", reason }
    }
}
