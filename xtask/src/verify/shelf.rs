//! What is here to compute with: the weights in the tree, and the data.

use crate::{fetch, files};
use anyhow::Result;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The weights below a folder, found by their hashes.
pub(super) struct Shelf {
    root: PathBuf,
    /// Those of the models, as seen from the root, by their hashes.
    shipped: HashMap<String, String>,
    /// What was looked at elsewhere; none where nothing is.
    hashes: RefCell<HashMap<String, Option<String>>>,
}

/// Why a record cannot be computed again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Missing {
    /// Its weights are not in the tree; where they were.
    Weights(String),
    /// The dataset is not here.
    Data(String),
    /// It was not made by a sweep.
    Sweep,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights(place) => write!(f, "the weights are not in the tree ({place})"),
            Self::Data(dataset) => write!(f, "{dataset} is not here (`cargo xtask fetch {dataset}`)"),
            Self::Sweep => write!(f, "no sweep makes them (classifiers, and images or targets chosen by hand)"),
        }
    }
}

impl Shelf {
    /// # Errors
    /// When the folder of the models cannot be read.
    pub(super) fn of(root: PathBuf) -> Result<Self> {
        let mut shipped = HashMap::new();
        for folder in files::folders(&root.join("models"))? {
            let file = folder.join("model.safetensors");
            if file.is_file() {
                shipped.insert(files::sha256(&file)?, files::relative(&file, &root));
            }
        }
        Ok(Self { root, shipped, hashes: RefCell::default() })
    }

    /// Where weights with this hash are, as seen from the root: those of a model, or still where they were.
    ///
    /// # Errors
    /// [`Missing::Weights`].
    pub(super) fn weights(&self, place: &str, sha256: &str) -> Result<String, Missing> {
        if let Some(shipped) = self.shipped.get(sha256) {
            return Ok(shipped.clone());
        }
        let mut hashes = self.hashes.borrow_mut();
        let found = hashes.entry(place.to_owned()).or_insert_with(|| files::sha256(&self.root.join(Path::new(place))).ok());
        if found.as_deref() == Some(sha256) { Ok(place.to_owned()) } else { Err(Missing::Weights(place.to_owned())) }
    }

    /// Whether the driver finds a dataset.
    ///
    /// # Errors
    /// [`Missing::Data`].
    pub(super) fn data(&self, dataset: &str) -> Result<(), Missing> {
        if fetch::is_here(dataset) { Ok(()) } else { Err(Missing::Data(dataset.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_found_by_their_hash() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            files::write(&path, text).unwrap();
            files::sha256(&path).unwrap()
        };
        let (model, trained) = (write("models/a/model.safetensors", "a"), write("target/models/b/model.safetensors", "b"));
        let shelf = Shelf::of(folder.path().to_owned()).unwrap();
        let found = |place: &str, sha256: &str| shelf.weights(place, sha256);
        assert_eq!(found("elsewhere", &model), Ok("models/a/model.safetensors".to_owned()));
        let place = "target/models/b/model.safetensors";
        assert_eq!(found(place, &trained), Ok(place.to_owned()));
        for (place, sha256) in [(place, "5f"), ("none", &*trained)] {
            let missing = found(place, sha256).unwrap_err();
            assert_eq!(missing, Missing::Weights(place.to_owned()));
            assert!(missing.to_string().contains(place));
        }
    }

    #[test]
    fn digits_are_in_the_driver() {
        let shelf = Shelf { root: PathBuf::new(), shipped: HashMap::new(), hashes: RefCell::default() };
        assert_eq!(shelf.data("mnist"), Ok(()));
        assert_eq!(shelf.data("no-such-dataset"), Err(Missing::Data("no-such-dataset".to_owned())));
    }
}
