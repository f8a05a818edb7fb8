//! Weights that are read once: their hash is that of the bytes that are used.

use crate::{files, hub};
use anyhow::{Result, bail};
use rankle_models::weights::{self, Tensors};
use std::path::{Path, PathBuf};

/// The tensors of a file, and the hash of that file.
pub(crate) struct Weights {
    /// Where they were read: of weights on the hub the file in its cache.
    pub(crate) path: PathBuf,
    pub(crate) tensors: Tensors,
    pub(crate) sha256: String,
}

impl Weights {
    /// Reads the file that is named, or that of the hub; without `prefix` in front of its names where all have it.
    ///
    /// # Errors
    /// When it cannot be read or is no safetensors file.
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

    /// The same, if they are those that were read before.
    ///
    /// # Errors
    /// One line that names the file, when its hash is another one.
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
