//! Any folder of photographs: one sub-folder per class, as torchvision's `ImageFolder`.

use super::list::{self, Item, List};
use super::{Photos, Preparation};
use crate::{Error, Result, Split};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs, str::FromStr};

/// A folder with one sub-folder per class, and how it is divided. Classes are numbered in the order of their names. What lies
/// deeper in a sub-folder is of its class, too. What is hidden (`.…`) is passed over, and so are, with a warning, other files and
/// links to folders in a class.
///
/// Written as `folder:PATH`, or `folder,HOW:PATH` with one of the divisions below.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Folder {
    /// The folder, as it was written.
    pub path: PathBuf,
    /// What is trained on, what is tested.
    pub division: Division,
}

/// What of a folder is tested; the rest is trained on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Division {
    /// Where nothing is said: the sub-folders `train` and `test`, where both are there, else the second half of the classes.
    Usual,
    /// `classes=P%`: the last of the classes, so that no class is both trained on and tested.
    Classes(u8),
    /// `images=P%`: of every class so many, at least one of two; which ones the hash of their names decides.
    Images(u8),
    /// `list=FILE`: what this file in the folder names, one `CLASS/IMAGE` a line.
    List(String),
}

const HELP: &str = "write folder:PATH, folder,classes=50%:PATH, folder,images=20%:PATH or folder,list=FILE:PATH";
const TRAIN: &str = "train";
const TEST: &str = "test";

impl Folder {
    /// One split; a relative path is seen from `dir`, where that is given.
    ///
    /// # Errors
    /// [`Error::Layout`], [`Error::Line`] and [`Error::Photo`] for a folder, a list or a file that cannot be used.
    pub fn open(&self, split: Split, dir: Option<&Path>, preparation: Preparation) -> Result<Photos> {
        let root = self.root(dir);
        Photos::new(self.to_string(), &root, self.items(&root, split)?, preparation)
    }

    /// Where it is.
    pub(crate) fn root(&self, dir: Option<&Path>) -> PathBuf {
        dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path))
    }

    fn items(&self, root: &Path, split: Split) -> Result<Vec<Item>> {
        let tested = split == Split::Test;
        match &self.division {
            Division::Usual if [TRAIN, TEST].iter().all(|part| root.join(part).is_dir()) => two_folders(root, split),
            Division::Usual => by_class(root, 50, tested),
            Division::Classes(percent) => by_class(root, *percent, tested),
            Division::Images(percent) => {
                let mut items = Vec::new();
                for class in labelled(root, tested)? {
                    items.extend(some_of(class, *percent, tested));
                }
                Ok(items)
            }
            Division::List(file) => by_list(root, file, tested),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.division {
            Division::Usual => write!(f, "folder:"),
            Division::Classes(percent) => write!(f, "folder,classes={percent}%:"),
            Division::Images(percent) => write!(f, "folder,images={percent}%:"),
            Division::List(file) => write!(f, "folder,list={file}:"),
        }?;
        write!(f, "{}", self.path.display())
    }
}

impl FromStr for Folder {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let fault = || Error::FolderName { found: text.into(), help: HELP };
        let (how, path) = text.strip_prefix("folder").and_then(|rest| rest.split_once(':')).ok_or_else(fault)?;
        let percent = |text: &str| text.strip_suffix('%')?.parse().ok().filter(|percent| (1..=99).contains(percent));
        let division = match how.split_once('=') {
            None if how.is_empty() => Some(Division::Usual),
            Some((",classes", share)) => percent(share).map(Division::Classes),
            Some((",images", share)) => percent(share).map(Division::Images),
            Some((",list", file)) => list::is_inside(Path::new(file)).then(|| Division::List(file.into())),
            _ => None,
        };
        match division {
            Some(division) if !path.is_empty() => Ok(Self { path: path.into(), division }),
            _ => Err(fault()),
        }
    }
}

/// `train/CLASS/…` and `test/CLASS/…`; a class has one number in both.
fn two_folders(root: &Path, split: Split) -> Result<Vec<Item>> {
    let (train, test) = (classes(&root.join(TRAIN))?, classes(&root.join(TEST))?);
    let (part, here) = if split == Split::Train { (TRAIN, &train) } else { (TEST, &test) };
    let mut all = [train.as_slice(), &test].concat();
    all.sort();
    all.dedup();
    let mut items = Vec::new();
    let mut passed = Passed::default();
    for (class, name) in (0..).zip(&all).filter(|(_, name)| here.contains(name)) {
        items.extend(photos(root, &Path::new(part).join(name), &mut passed)?.into_iter().map(|photo| (photo, class)));
    }
    passed.warn(root);
    Ok(items)
}

/// The last `percent` of the classes are tested, at least one, and at least one is not.
fn by_class(root: &Path, percent: u8, tested: bool) -> Result<Vec<Item>> {
    let classes = labelled(root, tested)?;
    if classes.len() < 2 {
        let found = format!("has {} sub-folder with photographs", classes.len());
        let help = "to divide it by class at least two are needed, or divide it by images, as in folder,images=20%:PATH";
        return Err(Error::Layout { path: root.into(), found, help: help.into() });
    }
    let trained = classes.len() - share(classes.len(), percent);
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

fn by_list(root: &Path, file: &str, tested: bool) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = labelled(root, tested)?.into_iter().flatten().collect();
    let list = List::read(root.join(file))?;
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

/// The photographs of every class, labelled from 0.
fn labelled(root: &Path, tested: bool) -> Result<Vec<Vec<Item>>> {
    let mut passed = Passed::default();
    let mut labelled = Vec::new();
    for (class, name) in (0..).zip(classes(root)?) {
        labelled.push(photos(root, Path::new(&name), &mut passed)?.into_iter().map(|photo| (photo, class)).collect());
    }
    // Both splits see the same files, and whoever trains tests as well: once is enough.
    if tested {
        passed.warn(root);
    }
    Ok(labelled)
}

/// The names of the sub-folders, in order.
pub(super) fn classes(folder: &Path) -> Result<Vec<OsString>> {
    let mut classes = names(folder)?;
    classes.retain(|name| folder.join(name).is_dir());
    if classes.is_empty() {
        return Err(Error::Layout {
            path: folder.into(),
            found: "has no sub-folders".into(),
            help: "one per class is needed".into(),
        });
    }
    Ok(classes)
}

/// The photographs in a sub-folder and below it, in order, as seen from `root`.
pub(super) fn photos(root: &Path, folder: &Path, passed: &mut Passed) -> Result<Vec<PathBuf>> {
    let mut photos = Vec::new();
    collect(root, folder, &mut photos, passed)?;
    if photos.is_empty() {
        let help = format!("every sub-folder is a class and needs files called {}; remove it or fill it", extensions());
        return Err(Error::Layout { path: root.join(folder), found: "has no photographs".into(), help });
    }
    Ok(photos)
}

fn collect(root: &Path, folder: &Path, photos: &mut Vec<PathBuf>, passed: &mut Passed) -> Result<()> {
    for name in names(&root.join(folder))? {
        let path = folder.join(name);
        let full = root.join(&path);
        // A link may stand for a photograph, but not for a folder: those can lead round in circles.
        if full.is_dir() && !full.is_symlink() {
            collect(root, &path, photos, passed)?;
        } else if list::is_photo(&path) && !full.is_dir() {
            photos.push(path);
        } else {
            passed.add(path);
        }
    }
    Ok(())
}

/// The names of what is in a folder, in order, without what is hidden.
fn names(folder: &Path) -> Result<Vec<OsString>> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let mut names: Vec<OsString> = entries.map_err(|reason| Error::Read { path: folder.into(), reason })?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    Ok(names)
}

/// What is in a class and no photograph by its name.
#[derive(Default)]
pub(super) struct Passed {
    count: usize,
    first: PathBuf,
}

impl Passed {
    fn add(&mut self, path: PathBuf) {
        if self.count == 0 {
            self.first = path;
        }
        self.count += 1;
    }

    /// Says so once for all of them, if there are any.
    pub(super) fn warn(&self, root: &Path) {
        let (root, first, extensions) = (root.display(), self.first.display(), extensions());
        match self.count {
            0 => {}
            1 => tracing::warn!("{root}: {first} is passed over, for it is not called {extensions}"),
            count => {
                tracing::warn!("{root}: {first} and {} more are passed over, for they are not called {extensions}", count - 1)
            }
        }
    }
}

fn extensions() -> String {
    list::EXTENSIONS.map(|extension| format!(".{extension}")).join(" ")
}
