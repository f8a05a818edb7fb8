//! Errors of downloads and archives.

use std::{io, path::PathBuf};

/// Result of the functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of a download or an archive. Each message is one line: the problem, the value found, the value expected, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that cannot exist on the hub.
    #[error("'{text}' is not a name on the hub: {help}")]
    Name {
        /// The name.
        text: String,
        /// Correct form of a name.
        help: &'static str,
    },
    /// An invalid or unsupported address.
    #[error("{url} is not a usable address: {reason}")]
    Address {
        /// The address.
        url: String,
        /// Problem of the address.
        reason: String,
    },
    /// A server that does not answer, or a connection that breaks again and again.
    #[error("{url} cannot be reached ({reason}); what came so far is kept, so the same command goes on")]
    Unreachable {
        /// The address.
        url: String,
        /// Error of the network.
        reason: String,
    },
    /// A refusal by the server.
    #[error("{url} answers with status {status}: {help}")]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
        /// Meaning of the status.
        help: &'static str,
    },
    /// An invalid answer of the server.
    #[error("{url} answers with {found}: {help}")]
    Answer {
        /// The address.
        url: String,
        /// The invalid part of the answer.
        found: String,
        /// Expected answer, or advice.
        help: &'static str,
    },
    /// A redirect from an encrypted address to one that is not encrypted.
    #[error("{from} redirects to {to}, which is not encrypted: nothing was taken from there; name another address")]
    Downgrade {
        /// The encrypted address.
        from: String,
        /// The address that is not encrypted.
        to: String,
    },
    /// More bytes than allowed.
    #[error("{what} has more than the {limit} bytes that are allowed: it is another file or has no end; name another address")]
    TooLarge {
        /// The file or the address.
        what: String,
        /// Limit in bytes.
        limit: u64,
    },
    /// A download that takes more time than allowed.
    #[error(
        "{url} sent {bytes} bytes in {seconds} s, which is too slow: what came so far is kept, so the same command goes on; \
         --max-time allows more, another address may be faster"
    )]
    TooSlow {
        /// The address.
        url: String,
        /// Number of bytes received.
        bytes: u64,
        /// Seconds since the start of the download.
        seconds: u64,
    },
    /// Content with another hash than expected.
    #[error("{what} has {algorithm} {found}, expected {expected}: it is damaged or another file, and was not kept")]
    Hash {
        /// The address or the file.
        what: String,
        /// `SHA-256` or `Git hash`.
        algorithm: &'static str,
        /// Hash of the content.
        found: String,
        /// Expected hash.
        expected: String,
    },
    /// A file that is not in the cache, while downloads are forbidden.
    #[error("{what} is not in the cache at {}, and --offline forbids downloads: run once without it", cache.display())]
    Offline {
        /// The file or the repository.
        what: String,
        /// Folder of the cache.
        cache: PathBuf,
    },
    /// A local file or folder that cannot be read or written, for example because the disk is full.
    #[error("{} {what}: {reason}", path.display())]
    File {
        /// The file or the folder.
        path: PathBuf,
        /// `cannot be read` or `cannot be written`.
        what: &'static str,
        /// Error of the operating system.
        reason: io::Error,
    },
    /// A user without a home folder, so that the cache has no default folder.
    #[error("this user has no home folder: name one for the cache with --hub-cache")]
    NoHome,
    /// An archive that is damaged or not allowed.
    #[error("{}: {found}; nothing was unpacked", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Problem of the archive.
        found: String,
    },
    /// A Parquet file without the required images and labels.
    #[error("{} {found}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Problem of the file.
        found: String,
    },
    /// An interruption by the [`Watcher`](crate::Watcher). The bytes downloaded so far are kept.
    #[error("interrupted; the same command goes on where it was")]
    Interrupted,
}

impl Error {
    /// Converts the error of a file that cannot be read.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |reason| Self::File { path, what: "cannot be read", reason }
    }

    /// Converts the error of a file that cannot be written.
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |reason| Self::File { path, what: "cannot be written", reason }
    }
}
