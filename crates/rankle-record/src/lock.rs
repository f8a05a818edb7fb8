//! Locks on folders, for one process at a time.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A lock on a folder, held until it is dropped or the process ends in any way: the operating system then releases it. A folder
/// that the lock created is removed with it if nothing else was created inside.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    path: PathBuf,
    /// Folders that the lock created, innermost first.
    made: Vec<PathBuf>,
}

/// Content of the lock file, for a process that finds the folder locked.
#[derive(Serialize, Deserialize)]
struct Holder {
    process: u32,
    command: String,
    /// Start time in seconds since 1970.
    since: u64,
}

impl FolderLock {
    /// Locks `folder`, which is created if need be, through the file `.lock` in it. `command` is reported to other processes.
    ///
    /// # Errors
    /// [`Error::Held`] if another process, or another lock of this one, holds the folder; [`Error::File`] if it cannot be
    /// written.
    pub fn acquire(folder: &Path, command: &str) -> Result<Self> {
        Self::named(folder, ".lock", command)
    }

    /// Locks `folder` through the lock file `name` in it, for a second kind of work that excludes only itself.
    ///
    /// # Errors
    /// As [`FolderLock::acquire`].
    pub fn named(folder: &Path, name: &str, command: &str) -> Result<Self> {
        let made: Vec<PathBuf> = folder.ancestors().take_while(|folder| !is_there(folder)).map(Path::to_owned).collect();
        let path = folder.join(name);
        let mut file = loop {
            fs::create_dir_all(folder).map_err(Error::file("make the folder", folder))?;
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = match options {
                // The previous holder may have removed the folder in between.
                Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => continue,
                file => file.map_err(Error::file("write", &path))?,
            };
            match file.try_lock() {
                Ok(()) if rankle_files::is_still(&path, &file) => break file,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Held { folder: folder.to_owned(), holder: describe(&mut file) });
                }
                Err(TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
            }
        };
        let holder = Holder { process: std::process::id(), command: command.to_owned(), since: now() };
        let text = serde_json::to_string(&holder).expect("integers and a string are JSON");
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(Error::file("write", &path))?;
        Ok(Self { file, path, made })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        self.file.set_len(0).ok();
        // Otherwise the file stays, and closing the handle releases the lock.
        if let Some(folder) = self.made.first()
            && fs::read_dir(folder).is_ok_and(|entries| entries.count() == 1)
        {
            fs::remove_file(&self.path).ok();
            self.made.iter().try_for_each(fs::remove_dir).ok();
        }
    }
}

fn is_there(folder: &Path) -> bool {
    // The last ancestor of a relative path is empty; it stands for the working directory.
    folder.as_os_str().is_empty() || folder.symlink_metadata().is_ok()
}

fn describe(file: &mut File) -> String {
    let mut text = String::new();
    // The holder may be writing the file at this moment, and some systems do not let others read a locked file.
    let holder: Option<Holder> =
        file.rewind().and_then(|()| file.read_to_string(&mut text)).ok().and_then(|_| serde_json::from_str(&text).ok());
    match holder {
        Some(Holder { process, command, since }) => {
            format!("process {process} (`{command}`), started {}", ago(now().saturating_sub(since)))
        }
        None => "another process".to_owned(),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("reproduce/mnist");
        let first = FolderLock::acquire(&output, "cargo xtask reproduce").unwrap();
        let message = FolderLock::acquire(&output, "another").unwrap_err().to_string();
        for part in [output.to_str().unwrap(), &std::process::id().to_string(), "`cargo xtask reproduce`", "s ago"] {
            assert!(message.contains(part), "{part} in {message}");
        }
        FolderLock::named(&output, ".sweep.lock", "another kind of work").unwrap();

        drop(first);
        let second = FolderLock::acquire(&output, "another").unwrap();
        let message = FolderLock::acquire(&output, "a third").unwrap_err().to_string();
        assert!(message.contains("`another`"), "{message}");
        drop(second);
    }

    #[test]
    fn a_folder_in_which_nothing_was_made_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("models/mine");
        drop(FolderLock::acquire(&output, "x").unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let lock = FolderLock::acquire(&output, "x").unwrap();
        fs::write(output.join("model"), "").unwrap();
        drop(lock);
        assert!(output.join("model").exists() && output.join(".lock").exists());
        // A folder that existed before stays.
        fs::remove_file(output.join("model")).unwrap();
        drop(FolderLock::acquire(&output, "x").unwrap());
        assert!(output.is_dir());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = FolderLock::acquire(&file.path().join("output"), "x").unwrap_err().to_string();
        assert!(message.contains("cannot make the folder") && message.contains("output"), "{message}");
        assert!(std::error::Error::source(&FolderLock::acquire(&file.path().join("x"), "x").unwrap_err()).is_none(), "told once");
    }

    #[test]
    fn time_is_told_in_words() {
        assert_eq!([ago(5), ago(300), ago(9000)], ["5 s ago", "5 min ago", "2 h ago"]);
    }
}
