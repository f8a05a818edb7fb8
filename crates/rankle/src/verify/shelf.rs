//! Local files of weights, found by their hashes.

use crate::{arguments, files, hub};
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Limits of the search for weights: the depth of folders, and the number of files.
const DEEPEST: usize = 12;
const MOST: usize = 10_000;

/// Places on this machine where weights are looked for.
pub(crate) struct Shelf {
    /// Files below the folder that the user named.
    named: Vec<PathBuf>,
    /// Hashes of the files that were read; `None` for a file that cannot be read.
    hashes: RefCell<HashMap<PathBuf, Option<String>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Here(PathBuf),
    /// No file has the hash; `others_in_place` is true if the recorded path has other weights.
    Missing {
        others_in_place: bool,
    },
}

impl Shelf {
    /// Searches the recorded paths, and the folder if one is named.
    ///
    /// # Errors
    /// When the folder cannot be read, or holds too many files.
    pub(crate) fn with(folder: Option<&Path>) -> Result<Self> {
        let named = folder.map_or(Ok(Vec::new()), below)?;
        Ok(Self { named, hashes: RefCell::default() })
    }

    /// Finds the file with this hash: at the recorded path, beside the records, then below the folder that the user named.
    pub(crate) fn weights(&self, place: &str, sha256: &str, records: &Path) -> Found {
        let place = PathBuf::from(place);
        let own = self.hash(&place);
        if own.as_deref() == Some(sha256) {
            return Found::Here(place);
        }
        let has_it = |path: &PathBuf| self.hash(path).as_deref() == Some(sha256);
        let beside = WalkDir::new(rankle_files::folder_of(records)).min_depth(1).max_depth(1).sort_by_file_name();
        let beside = beside.into_iter().flatten().map(walkdir::DirEntry::into_path).filter(|path| are_weights(path));
        match beside.chain(self.named.iter().cloned()).find(has_it) {
            Some(path) => Found::Here(path),
            None => Found::Missing { others_in_place: own.is_some() },
        }
    }

    /// True if the folder that the user named holds weights with this hash.
    pub(crate) fn holds(&self, sha256: &str) -> bool {
        self.named.iter().any(|path| self.hash(path).as_deref() == Some(sha256))
    }

    fn hash(&self, path: &Path) -> Option<String> {
        let mut hashes = self.hashes.borrow_mut();
        hashes.entry(path.to_owned()).or_insert_with(|| files::hash_file(&hub::local(path).ok()?).ok()).clone()
    }
}

fn are_weights(path: &Path) -> bool {
    ["safetensors", "onnx"].iter().any(|ending| arguments::ends_in(path, ending)) && path.is_file()
}

/// Files of weights below a folder, in a fixed order.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let refused = || format!("--weights-dir {} cannot be read", folder.display());
    std::fs::read_dir(folder).with_context(refused)?;
    let mut weights = Vec::new();
    for (seen, entry) in WalkDir::new(folder).follow_links(true).max_depth(DEEPEST).sort_by_file_name().into_iter().enumerate() {
        if seen == MOST {
            bail!("--weights-dir {} holds more than {MOST} files: name a smaller folder", folder.display());
        }
        // A folder without permission, or a link that leads back up, is skipped.
        weights.extend(entry.map(walkdir::DirEntry::into_path).ok().filter(|path| are_weights(path)));
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn weights_are_found_by_their_hash() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            (path, files::hash(text.as_bytes()))
        };
        let (own, own_hash) = write("elsewhere/model.safetensors", "own");
        let (beside, beside_hash) = write("records/other.safetensors", "beside");
        let (named, named_hash) = write("named/a/b/model.SAFETENSORS", "named");
        let (_, no_weights) = write("records/notes.txt", "notes");
        let records = folder.path().join("records/records.jsonl");
        let (place, none) = (own.to_str().unwrap(), folder.path().join("none"));
        let with = Shelf::with(Some(&folder.path().join("named"))).unwrap();
        let found = |shelf: &Shelf, place: &str, sha256: &str| shelf.weights(place, sha256, &records);
        assert_eq!(found(&with, place, &own_hash), Found::Here(own.clone()));
        assert_eq!(found(&with, place, &beside_hash), Found::Here(beside.clone()), "another content is not taken");
        assert_eq!(found(&with, none.to_str().unwrap(), &named_hash), Found::Here(named));
        let without = Shelf::with(None).unwrap();
        for (place, sha256, others_in_place) in [
            (place, &named_hash, true),
            (none.to_str().unwrap(), &named_hash, false),
            ("", &no_weights, false),
            (folder.path().to_str().unwrap(), &own_hash, false),
        ] {
            assert_eq!(found(&without, place, sha256), Found::Missing { others_in_place }, "{place}");
        }
        #[cfg(unix)]
        {
            let (_, linked_hash) = write("apart/model.safetensors", "linked");
            std::os::unix::fs::symlink(folder.path().join("apart"), folder.path().join("named/link")).unwrap();
            std::os::unix::fs::symlink(folder.path(), folder.path().join("named/loop")).unwrap();
            let with = Shelf::with(Some(&folder.path().join("named"))).unwrap();
            assert!(with.holds(&linked_hash) && with.holds(&named_hash));
        }
        let message = Shelf::with(Some(&none)).err().unwrap().to_string();
        assert!(message.starts_with("--weights-dir ") && message.ends_with("none cannot be read"), "{message}");
    }
}
