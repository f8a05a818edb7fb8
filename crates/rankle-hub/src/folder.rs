//! Final names for files and folders, given once they are complete and on disk.

use crate::{Error, Result, Watch};
use rankle_files::DraftFolder;
use std::fs;
use std::path::Path;

/// Creates a temporary folder in `parent`, removed when dropped.
pub(crate) fn temporary(parent: &Path) -> Result<DraftFolder> {
    fs::create_dir_all(parent).map_err(Error::write(parent))?;
    DraftFolder::within(parent).map_err(Error::write(parent))
}

/// Renames a folder to `output` once all files in it are on disk.
///
/// # Errors
/// [`Error::File`], [`Error::Interrupted`].
pub(crate) fn settle(folder: &Path, output: &Path, watch: Watch<'_>) -> Result<()> {
    sync(folder, watch)?;
    rename(folder, output)
}

/// Renames a file or a folder, and syncs the parent of the new name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).and_then(|()| rankle_files::sync_folder(rankle_files::folder_of(to))).map_err(Error::write(to))
}

/// Syncs all files below a folder to disk.
fn sync(folder: &Path, watch: Watch<'_>) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        let open = fs::File::open(folder).map_err(Error::read(folder))?;
        // The whole file system at once: at 7 ms a file, a hundred thousand files one by one take a quarter of an hour.
        match rustix::fs::syncfs(open) {
            Err(rustix::io::Errno::NOSYS) => {}
            outcome => return outcome.map_err(|reason| Error::write(folder)(reason.into())),
        }
    }
    sync_each(folder, watch)
}

/// Syncs all files below a folder one by one, then the folder.
fn sync_each(folder: &Path, watch: Watch<'_>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::read(folder))? {
        watch.look()?;
        let path = entry.map_err(Error::read(folder))?.path();
        if path.is_dir() {
            sync_each(&path, watch)?;
        } else {
            fs::File::options().write(true).open(&path).and_then(|file| file.sync_all()).map_err(Error::write(&path))?;
        }
    }
    rankle_files::sync_folder(folder).map_err(Error::write(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwatched;
    use std::ops::ControlFlow;

    #[test]
    fn a_tree_is_synced_in_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/c"), "x").unwrap();
        sync(folder.path(), &mut unwatched()).unwrap();
        let mut looks = 0;
        let mut counting = |_: u64, _: Option<u64>| {
            looks += 1;
            ControlFlow::Continue(())
        };
        sync_each(folder.path(), &mut counting).unwrap();
        assert_eq!(looks, 3);
        let none = folder.path().join("none");
        assert!(sync(&none, &mut unwatched()).is_err() && sync_each(&none, &mut unwatched()).is_err());
    }
}
