//! Paths in the workspace, and writing files.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    // Set by `cargo run`, so that a moved checkout is found; the fallback is for a binary that is started by hand.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or(own.clone(), Path::to_owned)
}

/// `path` relative to the root of the workspace, for display; unchanged if it is elsewhere.
pub(crate) fn shown(path: &Path) -> String {
    relative(path, &root())
}

/// `path` relative to a folder; unchanged if it is elsewhere.
pub(crate) fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// True if a folder has any entry other than `name`.
pub(crate) fn holds_more_than(folder: &Path, name: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).any(|entry| entry.file_name() != name)
}

/// Sub-folders of a folder, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let mut folders: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file atomically, and makes its folder if need be.
///
/// # Errors
/// When the folder cannot be written; the message names the file.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let written = fs::create_dir_all(rankle_files::folder_of(path)).and_then(|()| rankle_files::write(path, content));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/report.md");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        assert!(!holds_more_than(path.parent().unwrap(), "report.md") && holds_more_than(path.parent().unwrap(), "other.md"));
        assert!(!holds_more_than(&folder.path().join("none"), "report.md"));

        let message = write(&path.join("below-a-file"), "x").unwrap_err().to_string();
        assert!(message.starts_with("cannot write") && message.ends_with("below-a-file"), "{message}");
    }

    #[test]
    fn a_file_has_a_hash_and_a_folder_has_folders() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("b/file");
        write(&file, "abc").unwrap();
        write(&folder.path().join("a/file"), "").unwrap();
        write(&folder.path().join("beside"), "").unwrap();
        assert_eq!(folders(folder.path()).unwrap(), ["a", "b"].map(|name| folder.path().join(name)));
        assert_eq!(sha256(&file).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for message in [folders(&file).unwrap_err(), sha256(folder.path()).unwrap_err()].map(|error| error.to_string()) {
            assert!(message.starts_with("cannot read "), "{message}");
        }
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("crates/rankle-report").is_dir());
        assert_eq!(shown(&root().join("target/reproduce")), "target/reproduce");
        assert_eq!(shown(Path::new("/elsewhere/x")), "/elsewhere/x");
        assert_eq!(relative(Path::new("/elsewhere/x"), Path::new("/elsewhere")), "x");
    }
}
