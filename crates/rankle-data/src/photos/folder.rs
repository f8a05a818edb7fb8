//! Any folder of photographs: one sub-folder per class, as torchvision's `ImageFolder`.

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

/// A folder with one sub-folder per class, and how it is divided. Classes are numbered in the order of their names. What lies
/// deeper in a sub-folder is of its class, too. What is hidden (`.…`) is passed over, and so are, with a warning, other files and
/// links to folders in a class.
///
/// Sub-folders that are all called like a split, in any case (`train`, `test`; `val`, `valid` or `validation`), are splits with the
/// classes in them, and a class has one number in all of them. The same holds where others lie beside `train` and one of the rest.
///
/// Written as `folder:PATH`, or with options as in `folder,images=20%,resize=square:PATH`: one of the divisions below, and what
/// [`Overrides`] takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Folder {
    /// The folder, as it was written.
    pub path: PathBuf,
    /// What is trained on, what is tested.
    pub division: Division,
    /// How its photographs are prepared, where the name says so.
    pub overrides: Overrides,
}

/// What of a folder is tested; the rest is trained on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Division {
    /// Where nothing is said: of splits `test`, or without one the validation images, and `train` is trained on; else the second half
    /// of the classes.
    Usual,
    /// `classes=P%`: the last of the classes, so that no class is both trained on and tested.
    Classes(u8),
    /// `images=P%`: of every class so many, at least one of two; which ones the hash of their names decides.
    Images(u8),
    /// `list=FILE`: what this file names, one `CLASS/IMAGE` a line as seen from the folder. A relative path leads to a file in the
    /// folder. A pipe will do where nothing is trained on.
    List(String),
    /// `test=all`: every image, and nothing is left to train on.
    All,
}

const HELP: &str = "write folder:PATH, or with options folder,images=20%:PATH";
/// The options that say how a folder is divided.
const DIVISIONS: [&str; 4] = ["classes", "images", "list", "test"];
/// How many of the classes are tested where nothing else is said, in percent.
const USUAL_SHARE: u8 = 50;

impl Folder {
    /// How photographs are resized where nothing else is said: their shape is kept.
    pub const RULES: Rules = Rules::both(Resize::Shorter);

    /// One split; a relative path is seen from `dir`, where that is given.
    ///
    /// # Errors
    /// [`Error::Layout`], [`Error::Line`] and [`Error::Photo`] for a folder, a list or a file that cannot be used;
    /// [`Error::NothingToTrain`].
    pub fn open(&self, split: Split, dir: Option<&Path>, preparation: Preparation) -> Result<Photos> {
        self.listed(split, dir, preparation)?.checked(self.overrides.skip_broken, &check::nobody)
    }

    /// As [`Folder::open`], before any photograph is looked at.
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

    /// As others may be told of it: of absolute paths only the end, which says nothing of the machine.
    pub(crate) fn portable(&self) -> Self {
        let division = match &self.division {
            Division::List(file) => Division::List(portable(Path::new(file), "list.txt").display().to_string()),
            other => other.clone(),
        };
        Self { path: portable(&self.path, "photographs"), division, ..self.clone() }
    }

    /// Where it is.
    pub(crate) fn root(&self, dir: Option<&Path>) -> PathBuf {
        dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path))
    }

    /// The file that says what is tested, where one does.
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

    /// Says what is passed over, and where nothing else was asked for, what is tested.
    fn tell(&self, root: &Path, layout: &Layout) {
        let root = root.display();
        if let Layout::Splits(Splits { strays, .. }) = layout {
            strays.iter().for_each(|stray| {
                tracing::warn!("{root}: {}/ is passed over, for the folders beside it are splits", stray.display());
            });
        }
        if let (Division::Usual, Layout::Splits(splits)) = (&self.division, layout) {
            tracing::info!("{root}: {}", splits.in_words());
        }
    }
}

impl Division {
    /// # Errors
    /// [`Error::DatasetOption`] for a value that cannot be.
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
            return second.refuse("the folder is divided already: say one of the two");
        }
        Ok(Self { path: path.into(), division, overrides: Overrides::parse(&parts)? })
    }
}

/// `train/CLASS/…`, `test/CLASS/…` and the like; a class has one number in all of them.
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

/// The names of the classes of all splits, in order, each once.
fn all_classes(root: &Path, splits: &Splits) -> Result<Vec<OsString>> {
    let mut all = Vec::new();
    for part in splits.all() {
        all.extend(tree::folders(&root.join(part))?);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// The last `percent` of the classes are tested, at least one, and at least one is not.
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

/// Which images of a class are tested does not depend on the order of the files.
fn some_of(class: Vec<Item>, percent: u8, tested: bool) -> Vec<Item> {
    let mut keyed: Vec<_> =
        class.iter().map(|(path, _)| Sha256::digest(path.as_os_str().as_encoded_bytes())).zip(&class).collect();
    keyed.sort();
    let chosen: HashSet<&Item> = match class.len() {
        1 => HashSet::new(), // alone, it has nothing to be found by
        len => keyed.into_iter().take(share(len, percent)).map(|(_, item)| item).collect(),
    };
    class.iter().filter(|item| chosen.contains(item) == tested).cloned().collect()
}

fn by_list(root: &Path, layout: &Layout, file: &str, tested: bool) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = labeled(root, layout, tested)?.into_iter().flatten().collect();
    // The other split reads it again, which a pipe cannot do.
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

/// `percent` of `len`, rounded, but neither none nor all of at least two.
fn share(len: usize, percent: u8) -> usize {
    ((len * usize::from(percent) + 50) / 100).clamp(1, len - 1)
}

/// The photographs of every class, labeled from 0; where the folder has splits, those of all of them.
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
    // Both splits see the same files, and whoever trains tests as well: once is enough.
    if tested {
        passed.warn(root);
    }
    Ok(labeled)
}
