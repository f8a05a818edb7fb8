//! Files, and what is said of those that cannot be read or written.

use crate::stop::Stop;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
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

/// Whether the files that options name can be written, and each is another one than those that are written or read beside it.
///
/// # Errors
/// As [`check_writable`]; [`Stop`] with the exit code for wrong arguments where two options name one file.
pub(crate) fn check_outputs(outputs: &[(&str, Option<&Path>)], inputs: &[(&str, Option<&Path>)]) -> Result<()> {
    let (outputs, inputs) = (given(outputs), given(inputs));
    for (at, &(option, path)) in outputs.iter().enumerate() {
        for &(other, file) in outputs[at + 1..].iter().chain(&inputs) {
            if rankle_files::are_one(path, file).with_context(|| refused(path))? {
                return Err(Stop::usage(format!("{option} and {other} both name {}: give them two files", path.display())).into());
            }
        }
        check_writable(path)?;
    }
    Ok(())
}

fn given<'a>(options: &[(&'a str, Option<&'a Path>)]) -> Vec<(&'a str, &'a Path)> {
    options.iter().filter_map(|&(option, path)| Some((option, path?))).collect()
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

/// SHA-256 of the bytes of a file, in hexadecimal. Of bytes and not of a path: a file may be another one when it is read again.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_check_leaves_nothing_and_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        check_writable(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        write(&path, "abc").unwrap();
        assert_eq!(hash(&fs::read(&path).unwrap()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for wrong in [folder.path(), &folder.path().join("none/file"), &path.join("file")] {
            for message in [check_writable(wrong).unwrap_err(), write(wrong, "").unwrap_err()].map(|error| error.to_string()) {
                assert!(message.starts_with(wrong.to_str().unwrap()), "{message}");
            }
        }
    }

    #[test]
    fn two_options_need_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let [file, same, other] = ["file", "./file", "other"].map(|name| folder.path().join(name));
        let message = |outputs: &[(&str, Option<&Path>)], inputs: &[(&str, Option<&Path>)]| {
            check_outputs(outputs, inputs).map_err(|error| error.to_string()).err()
        };
        let (a, b) = (("--a", Some(file.as_path())), ("--b", Some(same.as_path())));
        for said in [message(&[a, b], &[]), message(&[a], &[("--other", Some(&other)), b])] {
            assert!(said.unwrap().starts_with("--a and --b both name "));
        }
        assert_eq!(message(&[a, ("--b", Some(&other))], &[]), None);
        assert_eq!(message(&[a, ("--b", None)], &[b, b].map(|(option, _)| (option, None))), None);
        assert!(message(&[("--a", Some(folder.path()))], &[]).unwrap().contains("is a folder"));
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
