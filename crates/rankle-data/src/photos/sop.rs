//! Stanford Online Products (METHOD.md 2.2): a list per split, its header and then `image_id class_id super_class_id path`.

use super::list::{Item, List};
use crate::{Result, Split};
use std::path::Path;

/// The list of the test split; the folder that holds it is the folder of the dataset.
pub(super) const TEST: &str = "Ebay_test.txt";
const TRAIN: &str = "Ebay_train.txt";
const HEADER: &str = "image_id class_id super_class_id path";

/// Photographs of a split, labeled by class (the product); the super class is not used. Image ids must rise by one from line to
/// line, from any start: a list that lost lines in the middle is rejected.
pub(super) fn items(root: &Path, split: Split) -> Result<Vec<Item>> {
    let list = List::read(root.join(if split == Split::Train { TRAIN } else { TEST }))?;
    let mut items = Vec::new();
    let mut next = None;
    for (place, line) in list.lines().enumerate() {
        if place == 0 {
            line.check_header(HEADER)?;
            continue;
        }
        let [image, class, _, path] = line.columns()?;
        let (image, class) = (line.number(image)?, line.number(class)?);
        if next.is_some_and(|next| next != image) {
            return line.fault(format!("image id {image} does not follow the one before"), "the list is damaged, get it again");
        }
        next = image.checked_add(1);
        items.push((line.path(path)?, class));
    }
    Ok(items)
}
