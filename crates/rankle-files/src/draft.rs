//! Files and folders under a temporary name until they are complete.

use crate::{behind, folder_of, sync_folder};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::{Builder, NamedTempFile, TempDir};

/// Prefix of a temporary name; [`BEHIND`] is the suffix.
const BEFORE: &str = ".rankle-";
const BEHIND: &str = ".draft";

/// A file under a temporary name in the folder of its final path; removed if dropped without [`Draft::keep`].
///
/// A draft is locked while it exists. The file of a killed process is unlocked, and the first draft that another process makes in
/// the same folder removes it.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// Creates a draft of the file at `path`, or of the target if `path` is a link.
    ///
    /// # Errors
    /// [`io::Error`] if the folder does not exist or cannot be written.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = behind(path)?;
        let folder = folder_of(&path);
        tidy(folder);
        let file = held(|| builder(0o666).tempfile_in(folder), |file| (file.path().to_owned(), file.as_file().try_clone()))?.0;
        Ok(Self { file, path })
    }

    /// Syncs the file to disk and renames it to its final path.
    ///
    /// # Errors
    /// [`io::Error`] if the disk is full or the file cannot be renamed; the previous file is then unchanged.
    pub fn keep(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path)?;
        sync_folder(folder_of(&self.path))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A folder under a temporary name, locked and cleaned up like a [`Draft`].
#[derive(Debug)]
pub struct DraftFolder {
    folder: TempDir,
    /// Holds the lock; never read.
    _lock: Option<File>,
}

impl DraftFolder {
    /// Creates a folder in `parent`; removed with its contents if dropped without [`DraftFolder::keep`].
    ///
    /// # Errors
    /// [`io::Error`] if `parent` does not exist or cannot be written.
    pub fn within(parent: &Path) -> io::Result<Self> {
        tidy(parent);
        let (folder, lock) =
            held(|| builder(0o777).tempdir_in(parent), |folder| (folder.path().to_owned(), File::open(folder.path())))?;
        Ok(Self { folder, _lock: lock })
    }

    /// The path under the temporary name.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Renames the folder to `path`, which must not exist.
    ///
    /// # Errors
    /// [`io::Error`] if the folder cannot be renamed.
    pub fn keep(self, path: &Path) -> io::Result<()> {
        fs::rename(self.path(), path)?;
        // Under its new name it is no temporary folder, and must not be removed.
        let _ = self.folder.keep();
        sync_folder(folder_of(path))
    }
}

/// Makes a draft and locks it. Between the two steps another process may remove it as left over: then another one is made.
fn held<T>(make: impl Fn() -> io::Result<T>, parts: impl Fn(&T) -> (PathBuf, io::Result<File>)) -> io::Result<(T, Option<File>)> {
    loop {
        let draft = make()?;
        let (path, file) = parts(&draft);
        // On a file system without locks no process can remove it as left over.
        let lock = file.ok().filter(|file| file.lock().is_ok());
        if path.exists() {
            return Ok((draft, lock));
        }
    }
}

/// Removes unlocked drafts that killed processes left in a folder, once per process and folder, because the folder may be large.
fn tidy(folder: &Path) {
    static TIDIED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let place = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if !TIDIED.lock().unwrap_or_else(PoisonError::into_inner).insert(place) {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(BEFORE.as_bytes()) && name.ends_with(BEHIND.as_bytes()) {
            // A draft that is already gone or belongs to another user does no harm.
            remove_unheld(&entry.path()).ok();
        }
    }
}

fn remove_unheld(path: &Path) -> io::Result<()> {
    let is_folder = path.symlink_metadata()?.is_dir();
    let file = if is_folder { File::open(path)? } else { OpenOptions::new().read(true).write(true).open(path)? };
    match file.try_lock() {
        Ok(()) if is_folder => fs::remove_dir_all(path),
        Ok(()) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Temporary files are private by default; these get the usual permissions, less the user's umask.
fn builder(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(BEFORE).suffix(BEHIND);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_go_when_they_are_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let held = (Draft::of(&folder.path().join("file")).unwrap(), DraftFolder::within(folder.path()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        drop(held);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_gets_its_name_once() {
        let folder = tempfile::tempdir().unwrap();
        let draft = DraftFolder::within(folder.path()).unwrap();
        fs::write(draft.path().join("file"), "x").unwrap();
        let place = folder.path().join("place");
        draft.keep(&place).unwrap();
        assert_eq!(
            (fs::read_to_string(place.join("file")).unwrap(), fs::read_dir(folder.path()).unwrap().count()),
            ("x".into(), 1)
        );
        assert!(DraftFolder::within(folder.path()).unwrap().keep(&place).is_err(), "something is there");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// An unlocked draft was left by a process that has ended.
    #[test]
    fn left_overs_go_and_what_is_held_or_somebody_elses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for left in [".rankle-file.draft", ".rankle-mine", "mine.draft"] {
            fs::write(at(left), "").unwrap();
        }
        fs::create_dir(at(".rankle-folder.draft")).unwrap();
        fs::write(at(".rankle-folder.draft/file"), "").unwrap();
        fs::write(at(".rankle-held.draft"), "").unwrap();
        let other = File::open(at(".rankle-held.draft")).unwrap();
        other.lock().unwrap();
        let draft = Draft::of(&at("file")).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| at(name) != draft.file.path());
        names.sort();
        assert_eq!(names, [".rankle-held.draft", ".rankle-mine", "mine.draft"]);
        // Locked by this very process, and so kept.
        remove_unheld(draft.file.path()).unwrap();
        assert!(draft.file.path().exists());
    }
}
