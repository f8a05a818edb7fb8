//! Weights that are read once, so that their hash is the hash of the bytes that are used.

use crate::{files, hub};
use anyhow::{Result, bail};
use rankle_models::weights::{self, Tensors};
use std::path::{Path, PathBuf};

/// Tensors of a file of weights, and the hash of the file.
pub(crate) struct Weights {
    /// Path of the file; for weights on the hub, in the cache.
    pub(crate) path: PathBuf,
    pub(crate) tensors: Tensors,
    pub(crate) sha256: String,
}

impl Weights {
    /// Reads a local file, or one from the hub. Removes `prefix` from the tensor names if all have it.
    ///
    /// # Errors
    /// When the file cannot be read or is no safetensors file.
    pub(crate) fn read(named: &Path, prefix: Option<&str>) -> Result<Self> {
        let path = hub::local(named)?.into_owned();
        let bytes = weights::bytes(&path)?;
        let tensors = weights::parse(&path, &bytes)?;
        let tensors = match prefix {
            Some(prefix) => weights::without_prefix(tensors, prefix),
            None => tensors,
        };
        Ok(Self { tensors, sha256: files::hash(&bytes), path })
    }

    /// Checks the hash against the one from an earlier read.
    ///
    /// # Errors
    /// One line that names the file, when the hash has changed.
    pub(crate) fn checked(self, before: Option<&str>) -> Result<Self> {
        match before.filter(|&before| before != self.sha256) {
            None => Ok(self),
            Some(before) => bail!(
                "{} has changed while this command ran: its SHA-256 was {before} and is {} now; leave the file alone and run the command again",
                self.path.display(),
                self.sha256
            ),
        }
    }
}
