//! Names that files and folders get when they are whole and on the disk.

use crate::{Error, Result, Watch};
use rankle_files::DraftFolder;
use std::fs;
use std::path::Path;

/// A folder that is gone when it is let go.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn temporary(parent: &Path) -> Result<DraftFolder> {
    fs::create_dir_all(parent).map_err(Error::write(parent))?;
    DraftFolder::within(parent).map_err(Error::write(parent))
}

/// Gives a folder its name once all that is in it is on the disk.
///
/// # Errors
/// [`Error::File`], [`Error::Interrupted`].
pub(crate) fn settle(folder: &Path, output: &Path, watch: Watch<'_>) -> Result<()> {
    sync(folder, watch)?;
    rename(folder, output)
}

/// Renames, and syncs the folder that has the new name.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).and_then(|()| rankle_files::sync_folder(rankle_files::folder_of(to))).map_err(Error::write(to))
}

/// All files below a folder, then the folder. Files are synced here and not as they are written: most are on the disk by now.
fn sync(folder: &Path, watch: Watch<'_>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::read(folder))? {
        watch.look()?;
        let path = entry.map_err(Error::read(folder))?.path();
        if path.is_dir() {
            sync(&path, watch)?;
        } else {
            fs::File::options().write(true).open(&path).and_then(|file| file.sync_all()).map_err(Error::write(&path))?;
        }
    }
    rankle_files::sync_folder(folder).map_err(Error::write(folder))
}
