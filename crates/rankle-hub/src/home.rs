//! Files from other homes than the hub.

use crate::client::{Client, Head};
use crate::download::{Wanted, download};
use crate::{Digest, Error, Result, Watch, hub, sha256};
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

impl Home<'_> {
    /// Downloads into a folder, from where an earlier download of the same version stopped. Returns the file and its SHA-256.
    ///
    /// # Errors
    /// [`Error::Hash`] for another file than the published one, and everything that stands between here and the server.
    pub fn download(&self, folder: &Path, proxy: Option<&str>, watch: Watch<'_>) -> Result<(PathBuf, String)> {
        let client = Client::new(proxy)?;
        let head = match client.head(self.url) {
            // Some servers only answer to the question for the file itself.
            Err(Error::Status { status: 405 | 501, .. }) => Head { etag: None, commit: None, bytes: None },
            head => head?,
        };
        let bytes = self.bytes.or(head.bytes);
        // Parts of two versions are never put together.
        let version = format!("{}\n{}\n{bytes:?}\n{:?}", self.url, head.etag.as_deref().unwrap_or_default(), self.sha256);
        let name: String = sha2::Sha256::digest(version).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let partial = folder.join(format!("{name}.incomplete"));
        download(&client, Wanted { url: self.url, bytes, limit: self.limit }, &partial, watch)?;
        let path = folder.join(name);
        let hash = match self.sha256 {
            Some(hash) => hash.to_owned(),
            None => sha256(&partial, watch)?,
        };
        match self.sha256 {
            Some(_) => hub::keep(&partial, &path, &Digest::Sha256(hash.clone()), self.url, watch)?,
            None => std::fs::rename(&partial, &path).map_err(Error::write(&path))?,
        }
        Ok((path, hash))
    }
}
