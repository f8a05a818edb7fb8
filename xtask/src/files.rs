//! Where things are, and writing them.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // Set by `cargo run`, so a moved checkout is found again; the fallback serves whoever starts the binary by hand.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or(own.clone(), Path::to_owned)
}

/// `path` as seen from the root of the workspace, for display; unchanged when it lies elsewhere.
pub(crate) fn shown(path: &Path) -> String {
    relative(path, &root())
}

/// `path` as seen from a folder; unchanged when it lies elsewhere.
pub(crate) fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// Whether there is anything in a folder besides one file.
pub(crate) fn holds_more_than(folder: &Path, name: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).any(|entry| entry.file_name() != name)
}

/// Replaces a file, or makes it and its folder: it is never there by half.
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
    fn the_root_holds_the_workspace() {
        assert!(root().join("crates/rankle-report").is_dir());
        assert_eq!(shown(&root().join("target/reproduce")), "target/reproduce");
        assert_eq!(shown(Path::new("/elsewhere/x")), "/elsewhere/x");
        assert_eq!(relative(Path::new("/elsewhere/x"), Path::new("/elsewhere")), "x");
    }
}
