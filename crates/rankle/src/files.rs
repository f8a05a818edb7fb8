//! Files, and what is said of those that cannot be read or written.

use crate::stop::Stop;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs;
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
    let folder = rankle_files::folder_of(path);
    if !folder.is_dir() {
        bail!("{} cannot be written: there is no folder {}", path.display(), folder.display());
    }
    rankle_files::draft(path).map(drop).with_context(|| refused(path))
}

/// Whether two options name two files: the second would replace the first.
///
/// # Errors
/// [`Stop`] with the exit code for wrong arguments where they name one.
pub(crate) fn check_apart(options: [(&str, Option<&Path>); 2]) -> Result<(), Stop> {
    let [(one, first), (other, second)] = options;
    let real = |path: &Path| {
        let folder = rankle_files::folder_of(path);
        folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).join(path.file_name().unwrap_or_default())
    };
    match first.zip(second) {
        Some((first, second)) if real(first) == real(second) => {
            Err(Stop::usage(format!("{one} and {other} both name {}: give them two files", first.display())))
        }
        _ => Ok(()),
    }
}

/// Replaces a file, or makes it; it is whole or what it was.
///
/// # Errors
/// One line that names the path.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    rankle_files::write(path, contents).with_context(|| refused(path))
}

fn refused(path: &Path) -> String {
    format!("{} cannot be written", path.display())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_leaves_nothing_and_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        check_writable(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        write(&path, "abc").unwrap();
        assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for wrong in [folder.path(), &folder.path().join("none/file"), &path.join("file")] {
            for message in [check_writable(wrong).unwrap_err(), write(wrong, "").unwrap_err()].map(|error| error.to_string()) {
                assert!(message.starts_with(wrong.to_str().unwrap()), "{message}");
            }
        }
    }

    #[test]
    fn two_options_need_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let [file, same] = ["file", "./file"].map(|name| folder.path().join(name));
        let apart = |one: Option<&Path>, other: Option<&Path>| check_apart([("--a", one), ("--b", other)]);
        assert!(apart(Some(&file), Some(&same)).unwrap_err().to_string().starts_with("--a and --b both name "));
        assert!(apart(Some(&file), Some(&folder.path().join("other"))).is_ok());
        assert!(apart(Some(&file), None).is_ok() && apart(None, None).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_left_alone_and_links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&path, "").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        check_writable(&link).unwrap();
        assert!(check_writable(Path::new("/dev/null")).unwrap_err().to_string().contains("no ordinary file"));
    }
}
