//! Everything that can be named as a dataset.

use crate::check::{self, Watch};
use crate::{
    Credits, Error, Folder, IdxFolder, Name, Overrides, Photos, Preparation, Published, Result, Split, open, options, split,
};
use rankle_core::{Dataset, InputSpec};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, str::FromStr};

/// What is named as a dataset: a published one in IDX files or of photographs, or a folder of one's own with either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Gray images of 28×28.
    Idx(Name),
    /// Gray images in IDX files without a published hash, `idx:PATH`.
    IdxFolder(IdxFolder),
    /// Photographs in a published layout, as `sop` or with options as in `sop,resize=square`.
    Published(Published, Overrides),
    /// Photographs in a folder, `folder:PATH`.
    Folder(Folder),
}

/// A split before any photograph is looked at.
enum Listed {
    Idx(Arc<dyn Dataset>),
    /// Whether broken ones are left out.
    Photos(Photos, bool),
}

impl Source {
    /// What can be written, for messages and menus.
    pub const NAMES: [&'static str; 8] = ["mnist", "fashion-mnist", "sop", "cub", "cars", "inshop", "folder:PATH", "idx:PATH"];

    /// Opens one split. Photographs are prepared for a model's input as [`Source::preparation`] says; other images are as they are.
    ///
    /// # Errors
    /// As [`open`], [`Published::open`], [`Folder::open`] and [`Source::preparation`].
    pub fn open(&self, split: Split, dir: Option<&Path>, input: &InputSpec) -> Result<Arc<dyn Dataset>> {
        self.open_watched(split, dir, input, &check::nobody)
    }

    /// As [`Source::open`]; where the name says `skip-broken`, every photograph is decoded, and `watch` is told of it.
    ///
    /// # Errors
    /// As [`Source::open`], and [`Error::Interrupted`] where `watch` ended it.
    pub fn open_watched(
        &self,
        split: Split,
        dir: Option<&Path>,
        input: &InputSpec,
        watch: Watch<'_>,
    ) -> Result<Arc<dyn Dataset>> {
        Ok(match self.listed(split, dir, input)? {
            Listed::Photos(photos, skip_broken) => Arc::new(photos.checked(skip_broken, watch)?),
            Listed::Idx(images) => images,
        })
    }

    /// As [`Source::open_watched`], for [`crate::broken_images`]: unless the name says `skip-broken`, photographs that are not there
    /// are found when they are asked for, all of them and not only the first.
    ///
    /// # Errors
    /// As [`Source::open_watched`].
    pub fn open_to_check(
        &self,
        split: Split,
        dir: Option<&Path>,
        input: &InputSpec,
        watch: Watch<'_>,
    ) -> Result<Arc<dyn Dataset>> {
        Ok(match self.listed(split, dir, input)? {
            Listed::Photos(photos, true) => Arc::new(photos.checked(true, watch)?),
            Listed::Photos(photos, false) => Arc::new(photos),
            Listed::Idx(images) => images,
        })
    }

    fn listed(&self, split: Split, dir: Option<&Path>, input: &InputSpec) -> Result<Listed> {
        Ok(match self {
            Self::Idx(name) => Listed::Idx(open(*name, split, dir)?),
            Self::IdxFolder(folder) => Listed::Idx(Arc::new(folder.open(split, dir)?)),
            Self::Published(published, overrides) => {
                let preparation = Preparation::new(published.rules(), input, overrides)?;
                Listed::Photos(published.listed(split, dir, preparation)?, overrides.skip_broken)
            }
            Self::Folder(folder) => {
                let preparation = Preparation::new(Folder::RULES, input, &folder.overrides)?;
                Listed::Photos(folder.listed(split, dir, preparation)?, folder.overrides.skip_broken)
            }
        })
    }

    /// Whether its gallery is another set than its test images. Of the others [`Split::Gallery`] is the same as [`Split::Test`].
    pub fn has_gallery(&self) -> bool {
        matches!(self, Self::Published(published, _) if published.has_gallery())
    }

    /// Whether its images are photographs, which are brought to any model's size.
    pub fn is_of_photographs(&self) -> bool {
        matches!(self, Self::Published(..) | Self::Folder(_))
    }

    /// How photographs are prepared for a model's input; none of other images.
    ///
    /// # Errors
    /// As [`Preparation::new`].
    pub fn preparation(&self, input: &InputSpec) -> Result<Option<Preparation>> {
        match self {
            Self::Idx(_) | Self::IdxFolder(_) => Ok(None),
            Self::Published(published, overrides) => Preparation::new(published.rules(), input, overrides).map(Some),
            Self::Folder(folder) => Preparation::new(Folder::RULES, input, &folder.overrides).map(Some),
        }
    }

    /// The same images, prepared as `said`, which is written as [`Preparation`] shows it, where the name says nothing else. Of other
    /// images the same.
    ///
    /// # Errors
    /// [`Error::DatasetOption`] for what is no such text.
    pub fn prepared_as(&self, said: &str) -> Result<Self> {
        let mut prepared = self.clone();
        let (Self::Published(_, overrides) | Self::Folder(Folder { overrides, .. })) = &mut prepared else { return Ok(prepared) };
        // The rest follows from the model.
        let parts = said.split(',').filter(|part| !part.starts_with("crop=") && !part.starts_with("channels="));
        let rest: String = parts.map(|part| format!(",{part}")).collect();
        let usual = Overrides::parse(&options::parse(said, &rest, &Overrides::KEYS)?)?;
        let Overrides { resize, edge, filter, exif, skip_broken } = *overrides;
        *overrides = Overrides {
            resize: resize.or(usual.resize),
            edge: edge.or(usual.edge),
            filter: filter.or(usual.filter),
            exif: exif.or(usual.exif),
            skip_broken,
        };
        Ok(prepared)
    }

    /// Whose the data in `dir` is, as far as it is known. Of photographs, a file [`Credits::FILE`] beside them has the last word.
    ///
    /// # Errors
    /// When that file cannot be read or is not understood; as [`Source::open`] where a published dataset is not there.
    pub fn credits(&self, dir: Option<&Path>) -> Result<Credits> {
        let own = Credits::new("not known", "a folder of one's own");
        let (said, usual) = match self {
            Self::Idx(name) => (None, Credits::new(&name.manifest().license, &name.manifest().attribution)),
            Self::Published(published, _) => (Credits::read(&published.root(dir)?)?, published.credits()),
            Self::IdxFolder(folder) => (folder.credits(dir)?, own),
            Self::Folder(folder) => (Credits::read(&folder.root(dir))?, own),
        };
        Ok(said.unwrap_or(usual))
    }

    /// The folder whose photographs are its images, where there is one.
    pub fn photographs(&self, dir: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::Idx(_) | Self::IdxFolder(_) => None,
            Self::Published(published, _) => published.root(dir).ok(),
            Self::Folder(folder) => Some(folder.root(dir)),
        }
    }

    /// The file that says what of a folder is tested, where one does.
    pub fn list(&self, dir: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => folder.list(dir),
            _ => None,
        }
    }

    /// As others may be told of it: of absolute paths only the end, which says nothing of the machine.
    pub fn portable(&self) -> Self {
        match self {
            Self::IdxFolder(folder) => Self::IdxFolder(folder.portable()),
            Self::Folder(folder) => Self::Folder(folder.portable()),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idx(name) => name.fmt(f),
            Self::Published(published, overrides) => write!(f, "{published}{overrides}"),
            Self::IdxFolder(folder) => folder.fmt(f),
            Self::Folder(folder) => folder.fmt(f),
        }
    }
}

impl FromStr for Source {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        if name.starts_with("folder:") || name.starts_with("folder,") {
            return name.parse().map(Self::Folder);
        }
        if name.starts_with("idx:") || name.starts_with("idx,") {
            return name.parse().map(Self::IdxFolder);
        }
        let (plain, rest) = name.split_at(name.find(',').unwrap_or(name.len()));
        if let Some(&published) = Published::ALL.iter().find(|published| published.as_str() == plain) {
            let parts = options::parse(name, rest, &Overrides::KEYS)?;
            return Ok(Self::Published(published, Overrides::parse(&parts)?));
        }
        let idx = Name::ALL.into_iter().find(|idx| idx.as_str() == plain);
        let idx = idx.ok_or_else(|| split::unknown("dataset", plain, &Self::NAMES))?;
        options::parse(name, rest, &[])?;
        Ok(Self::Idx(idx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Division;

    #[test]
    fn names_go_both_ways() {
        let others = [
            "folder:a b/c",
            "folder,classes=50%:x",
            "folder,images=20%:C:\\x",
            "folder,list=test.txt:/abs",
            "folder,test=all:x",
            "folder,images=20%,resize=shorter,edge=256,filter=bicubic,exif=ignore:x",
            "sop,resize=square,edge=224",
            "cub,resize=none,exif=rotate",
            "cars,filter=bilinear",
            "inshop,resize=square",
            "sop,skip-broken",
            "folder,list=/elsewhere/l.txt,exif=ignore,skip-broken:x",
            "folder,list=../l.txt:x",
            "idx:a b/c:d",
            "idx,name=emnist-letters:/abs",
        ];
        for name in Source::NAMES.into_iter().chain(others) {
            assert_eq!(name.parse::<Source>().unwrap().to_string(), name);
        }
        let Ok(Source::Folder(folder)) = "folder,images=20%:x:y".parse() else { panic!("no folder") };
        assert_eq!((folder.path.to_str(), folder.division), (Some("x:y"), Division::Images(20)));
        // In any order; shown in one.
        let name = "folder,edge=256,images=20%,resize=shorter:x".parse::<Source>().unwrap().to_string();
        assert_eq!(name, "folder,images=20%,resize=shorter,edge=256:x");
    }

    #[test]
    fn a_name_takes_what_it_does_not_say_from_elsewhere() {
        let said = "resize=shorter,edge=256,crop=224,filter=bicubic,exif=ignore,channels=1";
        for (name, prepared) in [
            ("sop", "sop,resize=shorter,edge=256,filter=bicubic,exif=ignore"),
            ("folder,edge=300,skip-broken:x", "folder,resize=shorter,edge=300,filter=bicubic,exif=ignore,skip-broken:x"),
            ("mnist", "mnist"),
            ("idx:x", "idx:x"),
        ] {
            assert_eq!(name.parse::<Source>().unwrap().prepared_as(said).unwrap().to_string(), prepared);
        }
        assert!("sop".parse::<Source>().unwrap().prepared_as("resize=wide").is_err());
    }

    #[test]
    fn slips_are_answered() {
        let says = |name: &str| name.parse::<Source>().unwrap_err().to_string();
        let known = "known: mnist, fashion-mnist, sop, cub, cars, inshop, folder:PATH, idx:PATH";
        assert_eq!(says("minst"), format!("unknown dataset 'minst', did you mean 'mnist'? {known}"));
        assert_eq!(says("folder"), format!("unknown dataset 'folder', did you mean 'folder:PATH'? {known}"));
        assert!(says("folder:").starts_with("'folder:' names no folder: write folder:PATH"));
        assert!(says("idx:").starts_with("'idx:' names no folder: write idx:PATH"));
        for (wrong, why) in [
            ("folder,images=0%:x", "'images=0%' in the dataset 'folder,images=0%:x' cannot be used: write images=P%, of 1 to 99"),
            ("folder,classes=100%:x", "write classes=P%, of 1 to 99"),
            ("folder,images=20:x", "write images=P%, of 1 to 99"),
            ("folder,list=:y", "'list' in the dataset 'folder,list=:y' cannot be used: write list=FILE"),
            (
                "folder,skip-broken=yes:y",
                "'skip-broken=yes' in the dataset 'folder,skip-broken=yes:y' cannot be used: write skip-broken alone",
            ),
            ("idx,name=:x", "write name=NAME, as the files are called"),
            ("idx,size=3:x", "unknown option of a dataset 'size'; known: name"),
            ("folder,test=some:y", "write test=all"),
            (
                "folder,images=20%,test=all:y",
                "'test=all' in the dataset 'folder,images=20%,test=all:y' cannot be used: the folder is",
            ),
            ("folder,images=20%,images=20%:y", "images is said twice"),
            (
                "folder,1=1%:y",
                "unknown option of a dataset '1'; known: classes, images, list, test, resize, edge, filter, exif, skip-broken",
            ),
            ("folder,resise=square:y", "did you mean 'resize'?"),
            ("sop,images=20%", "unknown option of a dataset 'images'; known: resize, edge, filter, exif, skip-broken"),
            ("sop,resize=squash", "write resize=shorter or resize=square or resize=none"),
            ("sop,filter=nearest", "write filter=bilinear or filter=bicubic"),
            ("sop,exif=no", "write exif=rotate or exif=ignore"),
            ("sop,edge=0", "write edge=N, of 1 to 2048 pixels"),
            ("sop,edge=-256", "write edge=N"),
            ("sop,edge=99999999999999999999", "write edge=N"),
            (
                "sop,resize=none,edge=256",
                "'edge=256' in the dataset 'sop,resize=none,edge=256' cannot be used: resize=none resizes",
            ),
            ("sop,", "unknown option of a dataset ''"),
            ("mnist,resize=square", "'resize=square' in the dataset 'mnist,resize=square' cannot be used: this dataset takes no"),
            ("minst,resize=square", "unknown dataset 'minst', did you mean 'mnist'?"),
        ] {
            let message = says(wrong);
            assert!(message.contains(why) && message.lines().count() == 1, "{message}\n{why}");
        }
    }

    /// A message shows a part of what it was given, however much that was.
    #[test]
    fn names_of_megabytes_are_answered_in_a_line() {
        let long = "x".repeat(6 << 20);
        for name in [long.clone(), format!("folder,{long}:y"), format!("folder,images={long}:y"), format!("folder{long}:")] {
            let message = name.parse::<Source>().unwrap_err().to_string();
            assert!(message.chars().count() < 700, "{} bytes", message.len());
        }
    }

    #[test]
    fn others_are_told_nothing_of_the_machine() {
        for (name, told) in [
            ("folder,list=/a/l.txt:/b/shoes", "folder,list=l.txt:shoes"),
            ("folder,list=l.txt:b/shoes", "folder,list=l.txt:b/shoes"),
            ("idx,name=n:/b/letters", "idx,name=n:letters"),
            ("folder:/", "folder:photographs"),
            ("sop,skip-broken", "sop,skip-broken"),
        ] {
            assert_eq!(name.parse::<Source>().unwrap().portable().to_string(), told);
        }
    }

    #[test]
    fn every_dataset_has_an_owner() {
        for name in Name::ALL {
            let credits = Source::Idx(name).credits(None).unwrap();
            assert!(!credits.license.is_empty() && !credits.attribution.is_empty());
        }
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| name.parse::<Source>().unwrap().credits(Some(folder.path()));
        assert!(of("sop").is_err());
        std::fs::write(folder.path().join("Ebay_test.txt"), "").unwrap();
        assert!(of("sop").unwrap().attribution.contains("Stanford Online Products"));
        assert_eq!(of("folder:.").unwrap().license, "not known");
        std::fs::write(folder.path().join(Credits::FILE), "license = \"CC0\"\nattribution = \"me\"").unwrap();
        for name in ["sop", "folder:."] {
            assert_eq!(of(name).unwrap(), Credits::new("CC0", "me"), "{name}");
        }
    }
}
