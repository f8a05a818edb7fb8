//! Files: what is written is whole or not there.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Whether `path` can be written, asked before hours of work are spent on it. Nothing is left behind.
///
/// # Errors
/// One line that names the path.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        bail!("{} is a folder: name a file in it", path.display());
    }
    if path.exists() && !path.is_file() {
        bail!("{} is no ordinary file: name one that is, or a new one", path.display());
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        bail!("{} cannot be written: there is no folder {}", path.display(), folder.display());
    }
    temporary(path).map(drop)
}

/// Writes a file under a temporary name and renames it. Of a link, it is the file behind it that is replaced.
///
/// # Errors
/// One line that names the path.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    let refused = || format!("{} cannot be written", path.display());
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut file = temporary(path)?;
    file.write_all(contents.as_ref()).and_then(|()| file.as_file().sync_all()).with_context(refused)?;
    file.persist(path).with_context(refused)?;
    Ok(())
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn temporary(path: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // As any new file: whoever may read the folder may read it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.prefix(".rankle-").tempfile_in(folder_of(path));
    file.with_context(|| format!("{} cannot be written", path.display()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_a_check_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        check_writable(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        write(&path, "first").unwrap();
        write(&path, "abc").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
        assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for wrong in [folder.path(), &folder.path().join("none/file"), &path.join("file")] {
            let message = check_writable(wrong).unwrap_err().to_string();
            assert!(message.starts_with(wrong.to_str().unwrap()), "{message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_devices_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&path, "first").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        check_writable(&link).unwrap();
        write(&link, "second").unwrap();
        assert!(link.is_symlink() && fs::read_to_string(&path).unwrap() == "second");
        assert!(check_writable(Path::new("/dev/null")).unwrap_err().to_string().contains("no ordinary file"));
    }
}
