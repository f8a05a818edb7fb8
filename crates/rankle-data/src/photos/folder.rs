//! Any folder of photographs with one sub-folder per class, as torchvision's `ImageFolder`.

use super::layout::{Layout, Splits};
use super::list::{Item, List};
use super::tree::{self, Passed};
use super::{Overrides, Photos, Preparation, Rules};
use crate::check;
use crate::options::{self, Part};
use crate::text::portable;
use crate::{Error, Result, Split};
use rankle_core::Resize;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, str::FromStr};

/// A folder with one sub-folder per class, and its division into training and test images. Classes are numbered in the order of
/// their names. Photographs deeper in a sub-folder belong to its class, too. Hidden files and folders (`.…`) are skipped; so are,
/// with a warning, other files and links to folders in a class.
///
/// If all sub-folders are named like splits, in any case (`train`, `test`; `val`, `valid` or `validation`), they are splits with
/// the classes in them. The same holds if one is `train` and another is a split for testing; other sub-folders are then skipped.
/// A class has the same number in all splits.
///
/// Written as `folder:PATH`, or with options as in `folder,images=20%,resize=square:PATH`: one [`Division`] and the options of
/// [`Overrides`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Folder {
    /// The folder, as written by the user.
    pub path: PathBuf,
    /// The division into training and test images.
    pub division: Division,
    /// Options of the preparation given in the name.
    pub overrides: Overrides,
}

/// The choice of the test images of a folder; the others are for training.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Division {
    /// The default: of splits, `test` or else the validation images are tested, and `train` is trained on; without splits, the
    /// second half of the classes is tested.
    Usual,
    /// `classes=P%`: the last classes in the order of their names, so that no class is both trained on and tested.
    Classes(u8),
    /// `images=P%`: this share of the images of every class, at least one of two or more; the hash of their paths decides which.
    Images(u8),
    /// `list=FILE`: the images in this file, one `CLASS/IMAGE` per line, relative to the folder. A relative path of the file is
    /// relative to the folder, too. The file may be a pipe if the training images are not read.
    List(String),
    /// `test=all`: every image; none is left for training.
    All,
}

const HELP: &str = "write folder:PATH, or with options folder,images=20%:PATH";
/// Keys of the options that divide a folder.
const DIVISIONS: [&str; 4] = ["classes", "images", "list", "test"];
/// Default share of the classes that are tested, in percent.
const USUAL_SHARE: u8 = 50;

impl Folder {
    /// Default resizing of photographs: the aspect ratio is kept.
    pub const RULES: Rules = Rules::both(Resize::Shorter);

    /// Opens one split; a relative path is relative to `dir` if that is given.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Layout`], [`Error::Line`] and [`Error::Photo`] for a folder, a list or a file that cannot be
    /// used; [`Error::NothingToTrain`].
    pub fn open(&self, split: Split, dir: Option<&Path>, preparation: Preparation) -> Result<Photos> {
        self.listed(split, dir, preparation)?.checked(self.overrides.skip_broken, &check::nobody)
    }

    /// As [`Folder::open`], without checking the photographs.
    pub(crate) fn listed(&self, split: Split, dir: Option<&Path>, preparation: Preparation) -> Result<Photos> {
        let split = split.without_gallery();
        if (split, &self.division) == (Split::Train, &Division::All) {
            return Err(Error::NothingToTrain { dataset: self.to_string() });
        }
        let root = self.root(dir);
        let layout = Layout::of(&root)?;
        let items = self.items(&root, &layout, split)?;
        Ok(Photos::listed(self.to_string(), root, items, preparation)?.with_class_folders(layout.depth()))
    }

    /// The same dataset with every absolute path cut to its last component, which says nothing of the machine.
    pub(crate) fn portable(&self) -> Self {
        let division = match &self.division {
            Division::List(file) => Division::List(portable(Path::new(file), "list.txt").display().to_string()),
            other => other.clone(),
        };
        Self { path: portable(&self.path, "photographs"), division, ..self.clone() }
    }

    /// The folder, with a relative path taken from `dir`.
    pub(crate) fn root(&self, dir: Option<&Path>) -> PathBuf {
        dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path))
    }

    /// The file that lists the tested images; `None` for other divisions.
    pub(crate) fn list(&self, dir: Option<&Path>) -> Option<PathBuf> {
        match &self.division {
            Division::List(file) => Some(self.root(dir).join(file)),
            _ => None,
        }
    }

    fn items(&self, root: &Path, layout: &Layout, split: Split) -> Result<Vec<Item>> {
        let tested = split == Split::Test;
        if tested {
            self.tell(root, layout);
        }
        match (&self.division, layout) {
            (Division::Usual, Layout::Splits(splits)) => one_split(root, splits, tested),
            (Division::Usual, Layout::Classes) => by_class(root, layout, USUAL_SHARE, tested),
            (Division::Classes(percent), _) => by_class(root, layout, *percent, tested),
            (Division::Images(percent), _) => {
                let classes = labeled(root, layout, tested)?;
                Ok(classes.into_iter().flat_map(|class| some_of(class, *percent, tested)).collect())
            }
            (Division::List(file), _) => by_list(root, layout, file, tested),
            (Division::All, _) => Ok(labeled(root, layout, tested)?.into_iter().flatten().collect()),
        }
    }

    /// Warns of skipped folders; without a chosen division, also logs which split is tested.
    fn tell(&self, root: &Path, layout: &Layout) {
        let root = root.display();
        if let Layout::Splits(Splits { other_folders, .. }) = layout {
            other_folders.iter().for_each(|stray| {
                tracing::warn!("{root}: {}/ is skipped: the folders beside it are splits", stray.display());
            });
        }
        if let (Division::Usual, Layout::Splits(splits)) = (&self.division, layout) {
            tracing::info!("{root}: {}", splits.in_words());
        }
    }
}

impl Division {
    fn parse(part: &Part<'_>) -> Result<Self> {
        let percent = || part.value.strip_suffix('%')?.parse().ok().filter(|percent| (1..=99).contains(percent));
        let share = |division: fn(u8) -> Self| match percent() {
            Some(percent) => Ok(division(percent)),
            None => part.refuse(format!("write {}=P%, of 1 to 99", part.key)),
        };
        match part.key {
            "classes" => share(Self::Classes),
            "images" => share(Self::Images),
            "list" if part.value.is_empty() => part.refuse("write list=FILE"),
            "list" => Ok(Self::List(part.value.into())),
            "test" if part.value == "all" => Ok(Self::All),
            _ => part.refuse("write test=all"),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.division {
            Division::Usual => write!(f, "folder"),
            Division::Classes(percent) => write!(f, "folder,classes={percent}%"),
            Division::Images(percent) => write!(f, "folder,images={percent}%"),
            Division::List(file) => write!(f, "folder,list={file}"),
            Division::All => write!(f, "folder,test=all"),
        }?;
        write!(f, "{}:{}", self.overrides, self.path.display())
    }
}

impl FromStr for Folder {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (how, path) = options::folder(text, "folder", HELP)?;
        let parts = options::parse(text, how, &[DIVISIONS.as_slice(), &Overrides::KEYS].concat())?;
        let mut divisions = parts.iter().filter(|part| DIVISIONS.contains(&part.key));
        let division = divisions.next().map_or(Ok(Division::Usual), Division::parse)?;
        if let Some(second) = divisions.next() {
            return second.refuse("the folder is divided already: give one of the two");
        }
        Ok(Self { path: path.into(), division, overrides: Overrides::parse(&parts)? })
    }
}

/// Photographs of one split, in `train/CLASS/…`, `test/CLASS/…` and the like; a class has the same number in all splits.
fn one_split(root: &Path, splits: &Splits, tested: bool) -> Result<Vec<Item>> {
    let part = splits.folder(root, tested)?;
    let here = tree::classes(&root.join(part))?;
    let mut items = Vec::new();
    let mut passed = Passed::default();
    for (class, name) in (0..).zip(all_classes(root, splits)?).filter(|(_, name)| here.contains(name)) {
        items.extend(tree::photos(root, &Path::new(part).join(name), &mut passed)?.into_iter().map(|photo| (photo, class)));
    }
    passed.warn(root);
    Ok(items)
}

/// The names of the classes of all splits, sorted, each once.
fn all_classes(root: &Path, splits: &Splits) -> Result<Vec<OsString>> {
    let mut all = Vec::new();
    for part in splits.all() {
        all.extend(tree::folders(&root.join(part))?);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// Divides by class: the last `percent` of the classes are tested, at least one, and at least one is trained on.
fn by_class(root: &Path, layout: &Layout, percent: u8, tested: bool) -> Result<Vec<Item>> {
    let classes = labeled(root, layout, tested)?;
    if classes.len() < 2 {
        let found = format!("has {} sub-folder with photographs", classes.len());
        let help = "to divide it by class at least two are needed, or divide it by images, as in folder,images=20%:PATH";
        return Err(Error::Layout { path: root.into(), found, help: help.into() });
    }
    let trained = classes.len() - share(classes.len(), percent);
    if tested {
        let (root, count, all) = (root.display(), classes.len() - trained, classes.len());
        tracing::info!("{root}: tested: the last {count} of {all} classes in the order of their names, trained on: the others");
    }
    Ok(classes.into_iter().enumerate().filter(|(place, _)| (*place >= trained) == tested).flat_map(|(_, class)| class).collect())
}

/// The tested or the trained images of one class; the choice does not depend on the order of the files.
fn some_of(class: Vec<Item>, percent: u8, tested: bool) -> Vec<Item> {
    let mut keyed: Vec<_> =
        class.iter().map(|(path, _)| Sha256::digest(path.as_os_str().as_encoded_bytes())).zip(&class).collect();
    keyed.sort();
    let chosen: HashSet<&Item> = match class.len() {
        1 => HashSet::new(), // a query needs another image of its class
        len => keyed.into_iter().take(share(len, percent)).map(|(_, item)| item).collect(),
    };
    class.iter().filter(|item| chosen.contains(item) == tested).cloned().collect()
}

fn by_list(root: &Path, layout: &Layout, file: &str, tested: bool) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = labeled(root, layout, tested)?.into_iter().flatten().collect();
    // The other split reads the list again, which is impossible with a pipe.
    let list = if tested { List::read_once(root.join(file)) } else { List::read(root.join(file)) }?;
    let mut named = HashSet::new();
    let known: HashSet<&PathBuf> = items.iter().map(|(path, _)| path).collect();
    for line in list.lines() {
        let path = line.path(line.text)?;
        if !known.contains(&path) {
            return line.fault(format!("there is no photograph '{}' in the folder", line.text), "write CLASS/IMAGE");
        }
        if !named.insert(path) {
            return line.fault(format!("'{}' is listed twice", line.text), "remove one of the two");
        }
    }
    items.retain(|(path, _)| named.contains(path) == tested);
    Ok(items)
}

/// `percent` of `len`, rounded, at least 1 and at most `len - 1`; `len` must be at least 2.
fn share(len: usize, percent: u8) -> usize {
    ((len * usize::from(percent) + 50) / 100).clamp(1, len - 1)
}

/// The photographs of every class, labeled from 0; with splits, those of all splits.
fn labeled(root: &Path, layout: &Layout, tested: bool) -> Result<Vec<Vec<Item>>> {
    let (names, parts): (_, Vec<&Path>) = match layout {
        Layout::Classes => (tree::classes(root)?, vec![Path::new("")]),
        Layout::Splits(splits) => (all_classes(root, splits)?, splits.all().map(Path::new).collect()),
    };
    let mut passed = Passed::default();
    let mut labeled = Vec::with_capacity(names.len());
    for (class, name) in (0..).zip(names) {
        let mut items = Vec::new();
        for folder in parts.iter().map(|part| part.join(&name)).filter(|folder| root.join(folder).is_dir()) {
            items.extend(tree::photos(root, &folder, &mut passed)?.into_iter().map(|photo| (photo, class)));
        }
        labeled.push(items);
    }
    // Both splits list the same files, and whoever trains also tests: one warning is enough.
    if tested {
        passed.warn(root);
    }
    Ok(labeled)
}
