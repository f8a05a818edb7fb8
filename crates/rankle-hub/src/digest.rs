//! Content hashes.

use crate::{Error, Result, Watch};
use sha2::Digest as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Content hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-256, as 64 hexadecimal digits. Used for large files on the hub and for published archives.
    Sha256(String),
    /// Hash of a Git blob: SHA-1 over length and content, as 40 hexadecimal digits. Used for small files on the hub.
    GitBlob(String),
}

impl Digest {
    /// Parses hexadecimal digits, whose number decides the kind of hash; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.chars().all(|c| c.is_ascii_hexdigit());
        match text.len() {
            64 if hex => Some(Self::Sha256(text.to_ascii_lowercase())),
            40 if hex => Some(Self::GitBlob(text.to_ascii_lowercase())),
            _ => None,
        }
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::GitBlob(text) => text,
        }
    }

    /// Compares the hash of a file. `what` names the file in messages.
    ///
    /// # Errors
    /// [`Error::Hash`] for another hash, [`Error::File`], [`Error::Interrupted`].
    pub fn check(&self, path: &Path, what: &str, watch: Watch<'_>) -> Result<()> {
        let (algorithm, found) = match self {
            Self::Sha256(_) => ("SHA-256", sha256(path, watch)?),
            Self::GitBlob(_) => ("Git hash", git_blob(path, watch)?),
        };
        if found == self.as_str() {
            return Ok(());
        }
        Err(Error::Hash { what: what.into(), algorithm, found, expected: self.as_str().into() })
    }
}

/// Computes the SHA-256 of a file, as hexadecimal digits.
///
/// # Errors
/// [`Error::File`], [`Error::Interrupted`].
pub fn sha256(path: &Path, watch: Watch<'_>) -> Result<String> {
    let mut hash = sha2::Sha256::new();
    pass(path, watch, &mut |bytes| hash.update(bytes))?;
    Ok(hex(&hash.finalize()))
}

fn git_blob(path: &Path, watch: Watch<'_>) -> Result<String> {
    let length = path.metadata().map_err(Error::read(path))?.len();
    let mut hash = sha1::Sha1::new();
    hash.update(format!("blob {length}\0"));
    pass(path, watch, &mut |bytes| hash.update(bytes))?;
    Ok(hex(&hash.finalize()))
}

fn pass(path: &Path, watch: Watch<'_>, take: &mut dyn FnMut(&[u8])) -> Result<()> {
    let mut file = File::open(path).map_err(Error::read(path))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read]),
            Err(reason) if reason.kind() == std::io::ErrorKind::Interrupted => {}
            Err(reason) => return Err(Error::read(path)(reason)),
        }
        watch.look()?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwatched;

    #[test]
    fn known_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        // `printf 'hello\n' | sha256sum` and `printf 'hello\n' | git hash-object --stdin`
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let blob = "ce013625030ba8dba906f756967f9e9ca394464a";
        for text in [sha256, blob, &sha256.to_uppercase()] {
            Digest::parse(text).unwrap().check(&path, "it", &mut unwatched()).unwrap();
        }
        std::fs::write(&path, "hello").unwrap();
        for text in [sha256, blob] {
            let error = Digest::parse(text).unwrap().check(&path, "it", &mut unwatched()).unwrap_err();
            assert!(error.to_string().starts_with("it has ") && error.to_string().contains(text), "{error}");
        }
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), "../../etc"] {
            assert_eq!(Digest::parse(text), None);
        }
    }
}
