//! Claims on cells, so that no two processes compute the same cell.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Claims on the cells of a file of records, for any number of processes on any number of machines.
///
/// A claim locks one byte of the file `.NAME.claims` beside the records; the identity of the cell selects the byte. The operating
/// system releases the lock when the process ends in any way, and a network file system keeps it for all machines. The last
/// process to leave removes the file. On other systems than Linux and Android a claim is on all cells at once.
#[derive(Debug)]
pub struct Claims {
    path: PathBuf,
    file: Arc<File>,
}

/// A claim, held until dropped.
#[derive(Debug)]
pub struct Claim {
    file: Arc<File>,
    byte: i64,
}

impl Claims {
    /// Opens the claims beside the file `records`.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be created.
    pub fn beside(records: &Path) -> Result<Self> {
        // A link has the claims of the file that it points to, so that all names of the records share them.
        let records = rankle_files::behind(records).map_err(Error::file("write", records))?;
        let mut name = std::ffi::OsString::from(".");
        name.push(records.file_name().unwrap_or_default());
        name.push(".claims");
        let path = records.with_file_name(name);
        Ok(Self { file: Arc::new(open(&path)?), path })
    }

    /// Claims the cell of this identity; `None` if the cell is claimed already.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be locked.
    pub fn take(&mut self, identity: &str) -> Result<Option<Claim>> {
        let hash = Sha256::digest(identity);
        let byte = i64::from_be_bytes(std::array::from_fn(|at| hash[at])) & i64::MAX;
        loop {
            if !range::try_lock(&self.file, byte, 1).map_err(Error::file("lock", &self.path))? {
                return Ok(None);
            }
            let claim = Claim { file: self.file.clone(), byte };
            if rankle_files::is_still(&self.path, &self.file) {
                return Ok(Some(claim));
            }
            // The last holder removed the file after it was opened here: no other process would see a claim in it.
            drop(claim);
            self.file = Arc::new(open(&self.path)?);
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        // While the whole file is locked, no process that has it open can take a claim; afterward each finds it removed.
        if range::try_lock(&self.file, 0, 0).unwrap_or(false) && rankle_files::is_still(&self.path, &self.file) {
            fs::remove_file(&self.path).ok();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        range::unlock(&self.file, self.byte, 1).ok();
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(Error::file("write", path))
}

/// Locks on ranges of bytes, which need not exist in the file. A lock belongs to the opened file, not to the process.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod range {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;
    use std::fs::File;
    use std::io;

    /// Tries to lock `len` bytes, 0 for all from `start` on; false if another lock is on them.
    pub(super) fn try_lock(file: &File, start: i64, len: i64) -> io::Result<bool> {
        match set(file, libc::F_WRLCK, start, len) {
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            locked => Ok(locked.map(|()| true)?),
        }
    }

    pub(super) fn unlock(file: &File, start: i64, len: i64) -> io::Result<()> {
        Ok(set(file, libc::F_UNLCK, start, len)?)
    }

    fn set(file: &File, kind: i32, start: i64, len: i64) -> nix::Result<()> {
        // The types of these fields differ between systems.
        let (kind, from) = (kind as _, libc::SEEK_SET as _);
        let lock = libc::flock { l_type: kind, l_whence: from, l_start: start as _, l_len: len as _, l_pid: 0 };
        fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod range {
    use std::fs::{File, TryLockError};
    use std::io;

    pub(super) fn try_lock(file: &File, _start: i64, _len: i64) -> io::Result<bool> {
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn unlock(file: &File, _start: i64, _len: i64) -> io::Result<()> {
        file.unlock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_nobody_else_gets() {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join("records.jsonl");
        let [mut mine, mut theirs] = [(); 2].map(|()| Claims::beside(&records).unwrap());
        let claim = mine.take("cell 1").unwrap().unwrap();
        assert!(theirs.take("cell 1").unwrap().is_none());
        if cfg!(target_os = "linux") {
            assert!(theirs.take("cell 2").unwrap().is_some());
        }
        drop(claim);
        assert!(theirs.take("cell 1").unwrap().is_some());
        assert!(folder.path().join(".records.jsonl.claims").exists());
        drop((mine, theirs));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_file_stays_while_a_claim_is_held_and_is_made_anew_where_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join("records.jsonl");
        let [mut mine, mut theirs, last] = [(); 3].map(|()| Claims::beside(&records).unwrap());
        let claim = mine.take("cell 1").unwrap();
        drop(last);
        assert!(theirs.take("cell 1").unwrap().is_none(), "the file is still there");
        drop((claim, mine));
        // The file is removed by now, and the next claim is in a new one.
        let claim = theirs.take("cell 1").unwrap().unwrap();
        assert!(Claims::beside(&records).unwrap().take("cell 1").unwrap().is_none());
        drop(claim);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_has_the_claims_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (records, link) = (folder.path().join("records.jsonl"), folder.path().join("link.jsonl"));
        std::os::unix::fs::symlink("records.jsonl", &link).unwrap();
        let mut mine = Claims::beside(&records).unwrap();
        let claim = mine.take("cell 1").unwrap();
        assert!(claim.is_some() && Claims::beside(&link).unwrap().take("cell 1").unwrap().is_none());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = Claims::beside(&folder.path().join("none/records.jsonl")).unwrap_err().to_string();
        assert!(message.starts_with("cannot write ") && message.contains("none/.records.jsonl.claims"), "{message}");
    }
}
