//! Photographs: lists of files with labels, decoded on demand.
//!
//! Decoded images are not cached: 60,502 images of 224×224 would fill 36 GB as f32. All threads of the current rayon pool decode;
//! memory holds the requested images and one decoded file per thread, and threads with large files wait for each other.

mod budget;
mod cars;
mod cub;
mod decode;
mod folder;
mod inshop;
mod jpeg;
mod jpeg_scan;
mod layout;
mod list;
mod overrides;
mod preparation;
mod resample;
mod sop;
mod tree;

pub use decode::Exif;
pub use folder::{Division, Folder};
pub use list::is_photo;
pub use overrides::Overrides;
pub use preparation::{Preparation, Rules};

use crate::check::{self, Watch};
use crate::{Credits, Error, Result, Split};
use candle_core::{Device, Tensor};
use preparation::Cut;
use rankle_core::{Dataset, Resize, Seed, dataset::check_indices};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Labeled photographs below one folder, prepared according to their [`Preparation`].
pub struct Photos {
    name: String,
    root: PathBuf,
    files: Vec<PathBuf>,
    labels: Vec<u32>,
    /// The names of the classes, as far as known.
    classes: HashMap<u32, String>,
    /// Number of broken photographs that were left out.
    left_out: usize,
    preparation: Preparation,
}

/// Largest number of broken photographs named in a warning.
const SHOWN: usize = 3;

/// A dataset of photographs in its published layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Published {
    /// Stanford Online Products: 120,053 photographs of 22,634 products.
    Sop,
    /// Caltech-UCSD Birds-200-2011: 11,788 photographs of 200 species; trained on the first 100, tested on the others.
    Cub,
    /// Cars-196: 16,185 photographs of 196 models; trained on the first 98, tested on the others.
    Cars,
    /// In-Shop Clothes Retrieval of DeepFashion: 52,712 photographs of 7,982 items of clothing; trained on 3,997 items, tested on
    /// the others, whose photographs are divided into queries and gallery.
    InShop,
}

impl Published {
    /// All datasets, for messages and menus.
    pub const ALL: [Self; 4] = [Self::Sop, Self::Cub, Self::Cars, Self::InShop];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sop => "sop",
            Self::Cub => "cub",
            Self::Cars => "cars",
            Self::InShop => "inshop",
        }
    }

    /// True if the gallery differs from the test images.
    pub(crate) fn has_gallery(self) -> bool {
        self == Self::InShop
    }

    /// The folder that the published archive unpacks to, and the possible names of a file or folder by which it is recognized.
    fn folder(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Sop => ("Stanford_Online_Products", &[sop::TEST]),
            Self::Cub => ("CUB_200_2011", &[cub::IMAGES]),
            Self::Cars => ("cars", &[cars::TRAIN]),
            Self::InShop => ("In-shop_Clothes_Retrieval_Benchmark", &inshop::LISTS),
        }
    }

    /// Advice on where to get the dataset, as the end of an error message.
    fn how_to_get(self) -> String {
        match self {
            Self::Sop | Self::Cub | Self::Cars => format!("`cargo xtask fetch {self}` gets it"),
            Self::InShop => "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html says where to get it".into(),
        }
    }

    /// Default resizing of its photographs: to squares as in the paper (METHOD.md 2.2) and its successor; for testing birds, cars
    /// and clothes with the aspect ratio kept (METHOD.md 2.3).
    pub fn rules(self) -> Rules {
        match self {
            Self::Sop => Rules::both(Resize::Square),
            Self::Cub | Self::Cars | Self::InShop => Rules { training: Resize::Square, testing: Resize::Shorter },
        }
    }

    /// Makers of the dataset, and their conditions of use.
    pub(crate) fn credits(self) -> Credits {
        let (license, attribution) = match self {
            Self::Sop => (
                "none stated by its makers; the photographs belong to their sellers",
                "H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese: Stanford Online Products (CVPR 2016)",
            ),
            Self::Cub => (
                "non-commercial research and education; the photographs belong to their makers",
                "C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie: Caltech-UCSD Birds-200-2011 (2011)",
            ),
            Self::Cars => (
                "none stated by its makers; the photographs belong to their owners",
                "J. Krause, M. Stark, J. Deng, L. Fei-Fei: Cars-196 (3dRR 2013)",
            ),
            Self::InShop => ("non-commercial research", "Z. Liu, P. Luo, S. Qiu, X. Wang, X. Tang: DeepFashion (CVPR 2016)"),
        };
        Credits::new(license, attribution)
    }

    /// Opens one split of the files in `dir`: the folder that the archive unpacks to, or one or two levels above it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without `dir`, [`Error::Read`]; [`Error::Layout`], [`Error::Line`] and [`Error::Photo`] for a
    /// folder, a list or a file that is not as published.
    pub fn open(self, split: Split, dir: Option<&Path>, preparation: Preparation) -> Result<Photos> {
        self.listed(split, dir, preparation)?.present()
    }

    /// As [`Published::open`], without checking that the photographs exist.
    pub(crate) fn listed(self, split: Split, dir: Option<&Path>, preparation: Preparation) -> Result<Photos> {
        let split = if self.has_gallery() { split } else { split.without_gallery() };
        let root = self.root(dir)?;
        let listed = |items| Photos::listed(self.as_str().into(), root.clone(), items, preparation);
        Ok(match self {
            // The folders of this dataset are categories; its classes, the products, have only numbers.
            Self::Sop => listed(sop::items(&root, split)?)?,
            Self::Cub => listed(cub::items(&root, split)?)?.with_class_folders(1),
            Self::Cars => listed(cars::items(&root, split)?)?.with_class_folders(1),
            Self::InShop => {
                let (items, classes) = inshop::items(&root, split)?;
                Photos { classes, ..listed(items)? }
            }
        })
    }

    /// The folder that the archive unpacks to.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without `dir`; [`Error::Layout`] if the dataset is not in `dir`.
    pub(crate) fn root(self, dir: Option<&Path>) -> Result<PathBuf> {
        let (inner, landmarks) = self.folder();
        let (landmark, how_to_get) = (landmarks.join(" or "), self.how_to_get());
        let help = format!("name the folder {inner} with --dataset-dir; it holds {landmark}, and {how_to_get}");
        let dir = dir.ok_or_else(|| Error::Unavailable { dataset: self.as_str().into(), help: help.clone() })?;
        let mut places = [dir.to_path_buf(), dir.join(inner), dir.join(self.as_str()).join(inner)].into_iter();
        let root = places.find(|root| landmarks.iter().any(|landmark| root.join(landmark).exists()));
        root.ok_or_else(|| Error::Layout { path: dir.into(), found: format!("does not hold {self}"), help })
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Photos {
    /// Creates a dataset called `name` from files below `root`, each with its label.
    ///
    /// # Errors
    /// [`Error::Layout`] without files; [`Error::Photo`] for a file that leads out of the folder, is listed twice or does not
    /// exist: reported here rather than after an hour of training.
    pub fn new(
        name: impl Into<String>,
        root: impl Into<PathBuf>,
        items: Vec<(PathBuf, u32)>,
        preparation: Preparation,
    ) -> Result<Self> {
        Self::listed(name.into(), root.into(), items, preparation)?.present()
    }

    /// As [`Photos::new`], without checking that the photographs exist.
    fn listed(name: String, root: PathBuf, items: Vec<(PathBuf, u32)>, preparation: Preparation) -> Result<Self> {
        if items.is_empty() {
            let help = format!("{name} needs at least one");
            return Err(Error::Layout { path: root, found: "has no photographs for this split".into(), help });
        }
        let (files, labels): (Vec<PathBuf>, Vec<u32>) = items.into_iter().unzip();
        let wrong = |file: &PathBuf, found: &str, help: &str| {
            Err(Error::Photo { path: root.join(file), found: found.into(), help: help.into() })
        };
        let mut seen = HashSet::with_capacity(files.len());
        for file in &files {
            if !list::is_inside(file) {
                return wrong(file, "leads out of the folder of the dataset", "name files in it, without '..'");
            }
            if !seen.insert(file) {
                return wrong(file, "is listed twice", "remove one of the two");
            }
        }
        Ok(Self { name, root, files, labels, classes: HashMap::new(), left_out: 0, preparation })
    }

    /// Checks that every file exists.
    fn present(self) -> Result<Self> {
        let missing: Vec<&PathBuf> = self.files.par_iter().filter(|file| !self.root.join(file).is_file()).collect();
        let Some(first) = missing.first() else { return Ok(self) };
        let more = if missing.len() > 1 { format!(", and {} more are missing", missing.len() - 1) } else { String::new() };
        let (path, help) = (self.root.join(first), "get the whole dataset again, or take it off the list".into());
        let found = if path.exists() { "is not a regular file" } else { "is listed, but there is no such file" };
        Err(Error::Photo { path, found: format!("{found}{more}"), help })
    }

    /// Leaves out broken and missing photographs if `skip_broken`, else checks that every file exists.
    pub(crate) fn checked(self, skip_broken: bool, watch: Watch<'_>) -> Result<Self> {
        if skip_broken { self.without_broken(watch) } else { self.present() }
    }

    /// Decodes every photograph and leaves out those that cannot be decoded, with one warning for all.
    fn without_broken(mut self, watch: Watch<'_>) -> Result<Self> {
        let decode = |index: usize| decode::decode(&self.root.join(&self.files[index]), self.preparation.exif).err();
        let broken = check::find(self.len(), watch, |index| decode(index).map(|error| (index, error)));
        let (broken, unread): (Vec<_>, Vec<_>) =
            broken.ok_or(Error::Interrupted)?.into_iter().partition(|(_, error)| !is_passing(error));
        if let Some((_, error)) = unread.into_iter().next() {
            return Err(error);
        }
        let Some((_, first)) = broken.first() else { return Ok(self) };
        if broken.len() == self.len() {
            let found = format!("has {} photographs for this split, and none can be decoded ({first})", self.len());
            return Err(Error::Layout { path: self.root, found, help: "mend them, or name another folder".into() });
        }
        let names: Vec<Cow<'_, str>> = broken.iter().filter_map(|&(index, _)| self.image_name(index)).take(SHOWN).collect();
        let more = if broken.len() > SHOWN { ", …" } else { "" };
        let (root, count, all, names) = (self.root.display(), broken.len(), self.len(), names.join(", "));
        tracing::warn!("{root}: {count} of {all} photographs are left out because they cannot be decoded: {names}{more}");
        let broken: HashSet<usize> = broken.into_iter().map(|(index, _)| index).collect();
        let kept = (self.files.into_iter().zip(self.labels).enumerate()).filter(|(index, _)| !broken.contains(index));
        (self.files, self.labels) = kept.map(|(_, item)| item).unzip();
        self.left_out = broken.len();
        Ok(self)
    }

    /// Names each class after the folder at `depth` on the path to its photographs, counted from 0 below the dataset's folder.
    #[must_use]
    pub fn with_class_folders(mut self, depth: usize) -> Self {
        let folder = |file: &PathBuf| {
            let below = file.parent()?.components().nth(depth)?;
            Some(below.as_os_str().to_string_lossy().into_owned())
        };
        let named = self.labels.iter().zip(&self.files).rev();
        self.classes = named.filter_map(|(&label, file)| Some((label, folder(file)?))).collect();
        self
    }

    /// The file of an image; `None` if there is no such index.
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        self.files.get(index).map(|file| self.root.join(file))
    }

    /// Decodes photographs and crops each to the part that `cut` returns for its width and height and its index.
    fn load(&self, indices: &[usize], cut: impl Fn((u32, u32), usize) -> Option<Cut> + Sync) -> rankle_core::Result<Tensor> {
        check_indices("image", indices, self.len())?;
        let (channels, side) = (self.preparation.channels(), self.preparation.side());
        let size = channels * side * side;
        let mut pixels = vec![0.0; indices.len() * size];
        let failure = (pixels.par_chunks_exact_mut(size).zip(indices))
            .map(|(pixels, &index)| -> Result<()> {
                let path = self.root.join(&self.files[index]);
                let mut decoded = decode::decode(&path, self.preparation.exif)?;
                let sides = decoded.image.dimensions();
                let cut = cut(sides, index).ok_or_else(|| self.wrong_size(path, sides))?;
                self.preparation.apply(&mut decoded.image, cut, pixels);
                Ok(())
            })
            .find_map_first(Result::err);
        match failure {
            Some(error) => Err(rankle_core::Error::Image(error.to_string())),
            None => Ok(Tensor::from_vec(pixels, (indices.len(), channels, side, side), &Device::Cpu)?),
        }
    }

    fn wrong_size(&self, path: PathBuf, (width, height): (u32, u32)) -> Error {
        let side = self.preparation.side();
        let found = format!("is {width}×{height} pixels, and with resize=none the model takes {side}×{side} only");
        Error::Photo {
            path,
            found,
            help: "resize it, or write resize=shorter or resize=square in the name of the dataset".into(),
        }
    }
}

/// True for a read error other than a missing file: the photograph itself may be sound.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Read { reason, .. } if reason.kind() != ErrorKind::NotFound)
}

impl Dataset for Photos {
    fn name(&self) -> &str {
        &self.name
    }
    fn shape(&self) -> (usize, usize, usize) {
        (self.preparation.channels(), self.preparation.side(), self.preparation.side())
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn images(&self, indices: &[usize]) -> rankle_core::Result<Tensor> {
        self.load(indices, |sides, _| self.preparation.middle(sides))
    }
    fn describe(&self, index: usize) -> String {
        let path = self.path(index).unwrap_or_default();
        format!("image {index} of {} ({})", self.name, path.display())
    }
    fn image_name(&self, index: usize) -> Option<Cow<'_, str>> {
        let parts: Vec<_> = self.files.get(index)?.iter().map(|part| part.to_string_lossy()).collect();
        Some(parts.join("/").into())
    }
    fn class_name(&self, label: u32) -> Option<Cow<'_, str>> {
        self.classes.get(&label).map(|name| name.into())
    }
    fn left_out(&self) -> usize {
        self.left_out
    }
    fn training_images(&self, indices: &[usize], seed: Seed, epoch: u64) -> rankle_core::Result<Tensor> {
        self.load(indices, |sides, index| self.preparation.anywhere(sides, seed, epoch, index))
    }
}

/// Prints name, folder and sizes, not 60,502 paths.
impl fmt::Debug for Photos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Photos").field("name", &self.name).field("root", &self.root))
            .field("images", &self.labels.len())
            .field("preparation", &self.preparation)
            .finish_non_exhaustive()
    }
}
