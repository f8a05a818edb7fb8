//! Files from other homes than the hub.

use crate::client::{Client, Head};
use crate::download::{Wanted, download, keep};
use crate::{Access, Digest, Error, Lock, Result, Watch, folder, sha256};
use sha2::Digest as _;
use std::path::{Path, PathBuf};

/// A file on any server.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// Its address.
    pub url: &'a str,
    /// Its length, where that was published.
    pub bytes: Option<u64>,
    /// Its SHA-256, where that was published.
    pub sha256: Option<&'a str>,
    /// It is never longer than this.
    pub limit: u64,
}

/// A file that was downloaded. No other process touches it before this is let go.
#[derive(Debug)]
pub struct Download {
    /// Where it lies.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    _lock: Lock,
}

impl Home<'_> {
    /// Downloads into a folder, from where an earlier download of the same version stopped; one that another process brought in the
    /// meantime, or that a process left before it was used, is taken as it is.
    ///
    /// # Errors
    /// [`Error::Hash`] for another file than the published one, and everything that stands between here and the server.
    pub fn download(&self, into: &Path, access: &Access, watch: Watch<'_>) -> Result<Download> {
        let client = Client::new(access)?;
        let head = match client.head(self.url) {
            // Some servers only answer to the question for the file itself.
            Err(Error::Status { status: 405 | 501, .. }) => Head { etag: None, commit: None, bytes: None },
            head => head?,
        };
        let bytes = self.bytes.or(head.bytes);
        // Parts of two versions are never put together.
        let version = format!("{}\n{}\n{bytes:?}\n{:?}", self.url, head.etag.as_deref().unwrap_or_default(), self.sha256);
        let name: String = sha2::Sha256::digest(version).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = into.join(&name);
        let lock = Lock::take(&into.join(format!("{name}.lock")), self.url, watch)?;
        // Without a hash, nor anything that names the version, only what was brought just now is the same.
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
