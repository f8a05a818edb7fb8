//! Atomic writing and bounded reading of files: under its final name a file is complete or does not exist.
//!
//! Files are written under a temporary name in the same folder and then renamed, so a killed process or a full disk leaves the
//! previous file unchanged; the next process removes the temporary files of killed ones. Reading has a limit on the size.
//!
//! Left out: formats, locks and journals, which [`rankle_record`](../rankle_record/index.html) has, and messages for the user:
//! errors are [`io::Error`]s, to which the caller adds the name of the file.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_data`](../rankle_data/index.html),
//! [`rankle_models`](../rankle_models/index.html), [`rankle_record`](../rankle_record/index.html),
//! [`rankle_report`](../rankle_report/index.html), [`rankle_hub`](../rankle_hub/index.html).
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("answer.txt");
//! rankle_files::write(&path, "first")?;
//! rankle_files::write(&path, "second")?;
//! assert_eq!(std::fs::read_to_string(&path)?, "second");
//! assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
//! # Ok::<(), std::io::Error>(())
//! ```

mod draft;
mod read;

pub use draft::{Draft, DraftFolder};
pub use read::{read, read_limited, read_text, read_text_or_pipe, text};

use same_file::Handle;
use std::path::{Path, PathBuf};
use std::{fs, io, io::Write};

/// Replaces or creates a file. If `path` is a link, its target is replaced or created.
///
/// # Errors
/// [`io::Error`] if the folder does not exist or cannot be written, or the disk is full; the previous file is then unchanged.
pub fn write(path: &Path, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let mut draft = Draft::of(path)?;
    draft.write_all(contents.as_ref())?;
    draft.keep()
}

/// Errors that [`sync_folder`] ignores: the folder may be written but not read, or the file system cannot sync folders.
const UNSYNCED: [io::ErrorKind; 3] = [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];

/// Waits until the names in a folder are on disk: otherwise a renamed file may have its old name after a power failure.
///
/// # Errors
/// [`io::Error`] if the folder cannot be opened or the disk fails.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if UNSYNCED.contains(&error.kind()) => Ok(()),
        synced => synced,
    }
}

/// Follows links to their target, which need not exist; any other path is returned unchanged.
///
/// # Errors
/// [`io::Error`] if the links form a circle.
pub fn behind(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    // No operating system follows more links in a row.
    for _ in 0..64 {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = folder_of(&path).join(target);
    }
    Err(io::Error::other("its links form a loop"))
}

/// True if two paths lead to the same file, existing or not, so that writing to one overwrites the other.
///
/// # Errors
/// [`io::Error`] if links form a circle.
pub fn are_one(a: &Path, b: &Path) -> io::Result<bool> {
    let place = |path: &Path| -> io::Result<_> {
        let path = behind(path)?;
        let folder = folder_of(&path);
        Ok((folder.canonicalize().unwrap_or_else(|_| folder.to_owned()), path.file_name().map(ToOwned::to_owned)))
    };
    Ok(place(a)? == place(b)?)
}

/// The folder of a file; `.` for a bare file name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// True if a path, existing or not, is inside a folder or below it.
///
/// # Errors
/// [`io::Error`] if links form a circle.
pub fn is_within(path: &Path, folder: &Path) -> io::Result<bool> {
    let path = std::path::absolute(behind(path)?)?;
    // The nearest existing ancestor: missing folders are created in it.
    let place = path.ancestors().skip(1).find_map(|above| above.canonicalize().ok());
    Ok(folder.canonicalize().is_ok_and(|folder| place.is_some_and(|place| place.starts_with(folder))))
}

/// True if an open file is still the file at `path`.
pub fn is_still(path: &Path, file: &fs::File) -> bool {
    let opened = file.try_clone().and_then(Handle::from_file);
    opened.is_ok_and(|opened| Handle::from_path(path).is_ok_and(|named| named == opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "first").unwrap();
        // A folder at the path of the file, a file at the path of its folder, and a missing folder.
        for wrong in [folder.path(), &path.join("below"), &folder.path().join("none/file")] {
            assert!(write(wrong, "second").is_err(), "{}", wrong.display());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_within_a_folder_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        let within = |path: &Path, folder: &Path| is_within(path, folder).unwrap();
        assert!(within(&below.join("file"), folder.path()) && within(&below.join("../below/file"), &below));
        assert!(within(&below.join("none/file"), &below) && !within(&below, &below));
        assert!(!within(&folder.path().join("file"), &below) && !within(&below.join("file"), &folder.path().join("none")));
        assert_eq!(folder_of(Path::new("file")), Path::new("."));
    }

    #[test]
    fn a_file_may_lose_its_name_while_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let file = fs::File::open(&path).unwrap();
        assert!(is_still(&path, &file));
        fs::remove_file(&path).unwrap();
        assert!(!is_still(&path, &file));
        fs::write(&path, "").unwrap();
        assert!(!is_still(&path, &file));
    }

    #[test]
    fn two_names_may_lead_to_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        let (file, detour) = (folder.path().join("file"), below.join("../file"));
        assert!(are_one(&file, &detour).unwrap() && !are_one(&file, &below.join("file")).unwrap());
        #[cfg(unix)]
        {
            let link = below.join("link");
            std::os::unix::fs::symlink(&file, &link).unwrap();
            assert!(are_one(&file, &link).unwrap());
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_the_umask_is_obeyed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, link, usual) = (folder.path().join("file"), folder.path().join("link"), folder.path().join("usual"));
        write(&path, "first").unwrap();
        fs::write(&usual, "").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&usual));
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, "second").unwrap();
        assert!(link.is_symlink() && fs::read_to_string(&path).unwrap() == "second");
        fs::remove_file(&path).unwrap();
        write(&link, "third").unwrap();
        assert!(link.is_symlink() && fs::read_to_string(&path).unwrap() == "third");
        // The draft is in the folder of the link's target; a circle of links is refused.
        let other = tempfile::tempdir().unwrap();
        let (far, round) = (other.path().join("far"), other.path().join("round"));
        std::os::unix::fs::symlink(&path, &far).unwrap();
        write(&far, "fourth").unwrap();
        assert!(far.is_symlink() && fs::read_to_string(&path).unwrap() == "fourth");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
        std::os::unix::fs::symlink("round", &round).unwrap();
        assert!(write(&round, "x").unwrap_err().to_string().contains("form a loop") && round.is_symlink());
    }
}
