//! Sub-folders and the photographs in them.

use super::list;
use crate::{Error, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of the sub-folders, sorted.
pub(super) fn folders(folder: &Path) -> Result<Vec<OsString>> {
    let mut folders = names(folder)?;
    folders.retain(|name| folder.join(name).is_dir());
    Ok(folders)
}

/// The names of the sub-folders, sorted, at least one.
///
/// # Errors
/// [`Error::Read`], and [`Error::Layout`] if there is none.
pub(super) fn classes(folder: &Path) -> Result<Vec<OsString>> {
    let classes = folders(folder)?;
    if classes.is_empty() {
        return Err(Error::Layout {
            path: folder.into(),
            found: "has no sub-folders".into(),
            help: "one per class is needed".into(),
        });
    }
    Ok(classes)
}

/// The photographs in a sub-folder and below it, sorted, relative to `root`.
///
/// # Errors
/// [`Error::Read`], and [`Error::Layout`] if there is none.
pub(super) fn photos(root: &Path, folder: &Path, passed: &mut Passed) -> Result<Vec<PathBuf>> {
    let mut photos = Vec::new();
    collect(root, folder, &mut photos, passed)?;
    if photos.is_empty() {
        let help = format!("every sub-folder is a class and needs files called {}; remove it or fill it", extensions());
        return Err(Error::Layout { path: root.join(folder), found: "has no photographs".into(), help });
    }
    Ok(photos)
}

fn collect(root: &Path, folder: &Path, photos: &mut Vec<PathBuf>, passed: &mut Passed) -> Result<()> {
    for name in names(&root.join(folder))? {
        let path = folder.join(name);
        let full = root.join(&path);
        // A link may stand for a photograph, but not for a folder: links to folders can form a circle.
        if full.is_dir() && !full.is_symlink() {
            collect(root, &path, photos, passed)?;
        } else if list::is_photo(&path) && !full.is_dir() {
            photos.push(path);
        } else {
            passed.add(path);
        }
    }
    Ok(())
}

/// Files and folders that operating systems and file servers leave behind, in lower case; skipped without a warning.
const SYSTEM_FILES: [&str; 5] = ["__macosx", "@eadir", "thumbs.db", "ehthumbs.db", "desktop.ini"];

/// The names of the entries of a folder, sorted, without hidden ones and without droppings.
fn names(folder: &Path) -> Result<Vec<OsString>> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let mut names: Vec<OsString> = entries.map_err(|reason| Error::Read { path: folder.into(), reason })?;
    let is_dropping = |name: &OsString| SYSTEM_FILES.iter().any(|dropping| name.eq_ignore_ascii_case(dropping));
    names.retain(|name| !name.as_encoded_bytes().starts_with(b".") && !is_dropping(name));
    names.sort();
    Ok(names)
}

/// Skipped entries of class folders: those that are no photographs by their names.
#[derive(Default)]
pub(super) struct Passed {
    count: usize,
    first: PathBuf,
}

impl Passed {
    fn add(&mut self, path: PathBuf) {
        if self.count == 0 {
            self.first = path;
        }
        self.count += 1;
    }

    /// Logs one warning for all skipped entries, if there are any.
    pub(super) fn warn(&self, root: &Path) {
        let (root, first, extensions) = (root.display(), self.first.display(), extensions());
        match self.count {
            0 => {}
            1 => tracing::warn!("{root}: {first} is skipped: its name does not end in {extensions}"),
            count => {
                tracing::warn!("{root}: {first} and {} more are skipped: their names do not end in {extensions}", count - 1)
            }
        }
    }
}

fn extensions() -> String {
    list::EXTENSIONS.map(|extension| format!(".{extension}")).join(" ")
}
