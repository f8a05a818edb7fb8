//! Files from servers other than the hub.

use crate::client::{Client, Head};
use crate::download::{Wanted, download, keep};
use crate::{Access, Digest, Error, Lock, Result, Watch, folder, sha256};
use sha2::Digest as _;
use std::path::{Path, PathBuf};

/// File on any server.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// Address of the file.
    pub url: &'a str,
    /// Published length in bytes; `None` if there is none.
    pub bytes: Option<u64>,
    /// Published SHA-256; `None` if there is none.
    pub sha256: Option<&'a str>,
    /// Maximum length in bytes.
    pub limit: u64,
}

/// Downloaded file, locked against other processes until this value is dropped.
#[derive(Debug)]
pub struct Download {
    /// Path of the file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    _lock: Lock,
}

impl Home<'_> {
    /// Downloads into a folder, and resumes an earlier download of the same version. A complete file of the same version, from
    /// another process or an earlier one, is used as it is.
    ///
    /// # Errors
    /// [`Error::Hash`] for a file other than the published one, and all errors of a download.
    pub fn download(&self, into: &Path, access: &Access, watch: Watch<'_>) -> Result<Download> {
        let client = Client::new(access)?;
        let head = match client.head(self.url) {
            // Some servers do not support requests for the headers alone.
            Err(Error::Status { status: 405 | 501, .. }) => Head { etag: None, commit: None, bytes: None },
            head => head?,
        };
        let bytes = self.bytes.or(head.bytes);
        // The name depends on the version, so that parts of two versions are never joined.
        let version = format!("{}\n{}\n{bytes:?}\n{:?}", self.url, head.etag.as_deref().unwrap_or_default(), self.sha256);
        let name: String = sha2::Sha256::digest(version).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = into.join(&name);
        let lock = Lock::take(&into.join(format!("{name}.lock")), self.url, watch)?;
        // Without a hash or an identifier of the version, only a file that another process has just downloaded is the same.
        let is_known = self.sha256.is_some() || head.etag.is_some() || lock.waited();
        let found = if is_known && path.is_file() { Some(sha256(&path, watch)?) } else { None };
        if let Some(sha256) = found.filter(|found| self.sha256.is_none_or(|published| found == published)) {
            return Ok(Download { path, sha256, _lock: lock });
        }
        let partial = path.with_extension("incomplete");
        download(&client, Wanted { url: self.url, bytes, limit: self.limit }, &partial, watch)?;
        let sha256 = match self.sha256 {
            Some(published) => {
                keep(&partial, &path, &Digest::Sha256(published.into()), self.url, watch)?;
                published.to_owned()
            }
            None => {
                let hash = sha256(&partial, watch)?;
                folder::rename(&partial, &path)?;
                hash
            }
        };
        Ok(Download { path, sha256, _lock: lock })
    }
}
