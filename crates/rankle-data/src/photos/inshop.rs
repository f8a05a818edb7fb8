//! In-Shop Clothes Retrieval, a benchmark of DeepFashion: one list for all splits. Its first line is the number of images, the
//! second is the header, and the others are `image_name item_id evaluation_status`.

use super::list::{Item, Line, List};
use crate::{Error, Result, Split};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Possible paths of the list: as published, or as on the drive of the makers.
pub(super) const LISTS: [&str; 2] = ["Eval/list_eval_partition.txt", "list_eval_partition.txt"];
const HEADER: &str = "image_name item_id evaluation_status";
/// Folders to which the paths of the list may be relative. The paths begin with [`IMAGES`].
const FOLDERS: [&str; 2] = ["Img", ""];
const IMAGES: &str = "img";

/// A line of the list.
struct Entry<'a> {
    path: PathBuf,
    item: &'a str,
    split: Split,
}

/// Returns the images of a split, and the ids of their items by label.
///
/// The label is the item. The items of the whole list are numbered from 1 in the order of their ids, so that the labels of
/// queries and gallery agree. A query need not have its item in the gallery.
pub(super) fn items(root: &Path, split: Split) -> Result<(Vec<Item>, HashMap<u32, String>)> {
    let folder = folder(root)?;
    let [published, other] = LISTS.map(|list| root.join(list));
    let list = List::read(if published.exists() { published } else { other })?;
    let entries = entries(&list)?;
    let ids: BTreeSet<&str> = entries.iter().map(|entry| entry.item).collect();
    let labels: HashMap<&str, u32> = ids.into_iter().zip(1..).collect();
    let (mut items, mut names) = (Vec::new(), HashMap::new());
    for Entry { path, item, .. } in entries.into_iter().filter(|entry| entry.split == split) {
        items.push((Path::new(folder).join(path), labels[item]));
        names.insert(labels[item], item.to_owned());
    }
    Ok((items, names))
}

fn folder(root: &Path) -> Result<&'static str> {
    let [first, second] = FOLDERS.map(|folder| Path::new(folder).join(IMAGES));
    FOLDERS.into_iter().find(|folder| root.join(folder).join(IMAGES).is_dir()).ok_or_else(|| Error::Layout {
        path: root.into(),
        found: format!("has neither a folder {} nor {}", first.display(), second.display()),
        help: "unpack the photographs there, which are in img.zip".into(),
    })
}

/// Parses every line of the list and checks that each image is listed once and that no item is both trained on and tested.
fn entries(list: &List) -> Result<Vec<Entry<'_>>> {
    let mut lines = list.lines();
    let Some(first) = lines.next() else { return Ok(Vec::new()) };
    let count = first.number(first.text)?;
    lines.next().map_or(Ok(()), |line| line.check_header(HEADER))?;
    let mut entries = Vec::new();
    let (mut images, mut trained) = (HashSet::new(), HashMap::new());
    for line in lines {
        let entry = Entry::parse(&line)?;
        let Entry { path, item, split } = &entry;
        if !images.insert(path.clone()) {
            return line.fault(format!("'{}' is listed twice", path.display()), "remove one of the two");
        }
        let is_trained = *split == Split::Train;
        if *trained.entry(*item).or_insert(is_trained) != is_trained {
            return line.fault(format!("the item '{item}' is both trained on and tested"), "the list is damaged, get it again");
        }
        entries.push(entry);
    }
    if entries.len() != count as usize {
        let found = format!("{count} images are announced, and {} are listed", entries.len());
        return first.fault(found, "the list is truncated or damaged, get it again");
    }
    Ok(entries)
}

impl<'a> Entry<'a> {
    fn parse(line: &Line<'a>) -> Result<Self> {
        let [path, item, status] = line.columns()?;
        let split = match status {
            "train" => Split::Train,
            "query" => Split::Test,
            "gallery" => Split::Gallery,
            other => {
                return line.fault(format!("'{other}' is none of train, query and gallery"), "the list is damaged, get it again");
            }
        };
        Ok(Self { path: line.path(path)?, item, split })
    }
}
