//! Caltech-UCSD Birds-200-2011 with the zero-shot split (METHOD.md 2.3): species 1–100 train, 101–200 test. The published split
//! file is not used: it is for classification.

use super::list::{Item, List};
use crate::{Error, Result, Split};
use std::path::Path;

/// The list `image_id path`, with paths in [`FOLDER`].
pub(super) const IMAGES: &str = "images.txt";
/// The list `image_id class_id`, in the same order as [`IMAGES`].
const LABELS: &str = "image_class_labels.txt";
const FOLDER: &str = "images";
const CLASSES: u32 = 200;

pub(super) fn items(root: &Path, split: Split) -> Result<Vec<Item>> {
    let (images, labels) = (List::read(root.join(IMAGES))?, List::read(root.join(LABELS))?);
    let (count, classes) = (images.lines().count(), labels.lines().count());
    if count != classes {
        let found = format!("has {count} lines in {IMAGES} but {classes} in {LABELS}");
        return Err(Error::Layout { path: root.into(), found, help: "one of them is truncated, get both again".into() });
    }
    let mut items = Vec::new();
    for (image, label) in images.lines().zip(labels.lines()) {
        let [id, path] = image.columns()?;
        let [of, class] = label.columns()?;
        if image.number(id)? != label.number(of)? {
            return label
                .fault(format!("image {of} where {IMAGES} has {id}"), "the two lists do not belong together, get both again");
        }
        let class = label.number(class)?;
        if !(1..=CLASSES).contains(&class) {
            return label.fault(format!("class {class} of {CLASSES}"), "the list is damaged, get it again");
        }
        let path = Path::new(FOLDER).join(image.path(path)?);
        if (class <= CLASSES / 2) == (split == Split::Train) {
            items.push((path, class));
        }
    }
    Ok(items)
}
