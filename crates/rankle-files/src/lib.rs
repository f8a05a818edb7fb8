//! Files that are whole under their names, or not there: what weights, cards, reports and pictures are written with.
//!
//! Everything is first made under a temporary name in the same folder and then renamed, so a killed process or a full disk leaves
//! what was there before. It leaves out formats, locks and journals (`rankle-report` has those), and what to tell the user: errors
//! are [`io::Error`]s, and whoever asked names the file.
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

use std::path::{Path, PathBuf};
use std::{fs, io, io::Write};
use tempfile::{Builder, NamedTempFile, TempDir};

/// Replaces a file, or makes it. Of a link, it is the file behind it that is replaced or made.
///
/// # Errors
/// When the folder is not there or cannot be written, or the disk is full; the file is then what it was.
pub fn write(path: &Path, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let path = behind(path)?;
    let mut draft = draft(&path)?;
    draft.write_all(contents.as_ref())?;
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    Ok(())
}

/// Brings to the disk which names a folder holds: a rename survives a loss of power only then. Nothing to do on systems that keep
/// names at once, and where folders cannot be synced.
///
/// # Errors
/// When the folder is not there, or the disk fails.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match fs::File::open(folder)?.sync_all() {
        // Some network file systems know no such thing.
        Err(reason) if matches!(reason.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
        outcome => outcome?,
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// A file beside `path`, or beside what it is a link to, that is gone when it is let go: [`write()`] can have as much.
///
/// # Errors
/// When the folder is not there or cannot be written.
pub fn draft(path: &Path) -> io::Result<NamedTempFile> {
    builder(0o666).tempfile_in(folder_of(&behind(path)?))
}

/// What a link leads to, whether it is there or not; anything else is itself.
fn behind(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    // No system follows more links in a row.
    for _ in 0..64 {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = folder_of(&path).join(target);
    }
    Err(io::Error::other("its links lead round in a circle"))
}

/// Whether two names lead to one file, be it there or not: what is written under one is lost when the other is.
///
/// # Errors
/// When links lead round in a circle.
pub fn are_one(a: &Path, b: &Path) -> io::Result<bool> {
    let place = |path: &Path| -> io::Result<_> {
        let path = behind(path)?;
        let folder = folder_of(&path);
        Ok((folder.canonicalize().unwrap_or_else(|_| folder.to_owned()), path.file_name().map(ToOwned::to_owned)))
    };
    Ok(place(a)? == place(b)?)
}

/// A folder in `parent` that is gone when it is let go.
///
/// # Errors
/// When `parent` is not there or cannot be written.
pub fn draft_folder(parent: &Path) -> io::Result<TempDir> {
    builder(0o777).tempdir_in(parent)
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Temporary files are private unless told otherwise; ours are as readable as any others, less what the user's umask takes away.
fn builder(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".rankle-");
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
    fn what_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "first").unwrap();
        // A folder in the place of a file, a file in the place of a folder, no folder at all.
        for wrong in [folder.path(), &path.join("below"), &folder.path().join("none/file")] {
            assert!(write(wrong, "second").is_err(), "{}", wrong.display());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn drafts_go_when_they_are_let_go() {
        let folder = tempfile::tempdir().unwrap();
        drop((draft(&folder.path().join("file")).unwrap(), draft_folder(folder.path()).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(folder_of(Path::new("file")), Path::new("."));
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
        // The draft is where the file will be, and a circle is no place.
        let other = tempfile::tempdir().unwrap();
        let (far, round) = (other.path().join("far"), other.path().join("round"));
        std::os::unix::fs::symlink(&path, &far).unwrap();
        assert_eq!(draft(&far).unwrap().path().parent(), Some(folder.path()));
        std::os::unix::fs::symlink("round", &round).unwrap();
        assert!(write(&round, "x").unwrap_err().to_string().contains("in a circle") && round.is_symlink());
    }
}
