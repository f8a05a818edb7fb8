//! Cars-196 with the zero-shot split (METHOD.md 2.3): models 1–98 train, 99–196 test.
//!
//! The published labels are MATLAB files, which are not read. The layout is the one in which the data is most often
//! redistributed: `cars_train/` and `cars_test/`, one sub-folder per model in each. Models are numbered as published, in the
//! order of their names. The two folders are the published split for classification, which is not used here: the photographs of
//! a model are those in both.

use super::list::Item;
use super::tree::{Passed, classes, photos};
use crate::{Error, Result, Split};
use std::path::Path;

/// The first of the two folders.
pub(super) const TRAIN: &str = "cars_train";
const TEST: &str = "cars_test";
const CLASSES: usize = 196;

pub(super) fn items(root: &Path, split: Split) -> Result<Vec<Item>> {
    let names = classes(&root.join(TRAIN))?;
    let others = classes(&root.join(TEST))?;
    if names.len() != CLASSES || names != others {
        let found = format!("has {} models in {TRAIN} and {} in {TEST}", names.len(), others.len());
        let help = format!("both should hold one folder for each of the same {CLASSES} models");
        return Err(Error::Layout { path: root.into(), found, help });
    }
    let (mut items, mut passed) = (Vec::new(), Passed::default());
    for (class, name) in (1..).zip(&names) {
        if (class <= CLASSES / 2) == (split == Split::Train) {
            for part in [TRAIN, TEST] {
                let folder = Path::new(part).join(name);
                items.extend(photos(root, &folder, &mut passed)?.into_iter().map(|photo| (photo, class as u32)));
            }
        }
    }
    passed.warn(root);
    Ok(items)
}
