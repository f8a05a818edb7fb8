//! Datasets as named on the command line and in records.

use crate::check::{self, Watch};
use crate::{
    Credits, Error, Folder, IdxFolder, Name, Overrides, Photos, Preparation, Published, Result, Split, open, options, split,
};
use rankle_core::{Dataset, InputSpec};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, str::FromStr};

/// A named dataset: a published one, in IDX files or as photographs, or the user's own folder of either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Gray images of 28×28 pixels.
    Idx(Name),
    /// Gray images in IDX files without a published hash, `idx:PATH`.
    IdxFolder(IdxFolder),
    /// Photographs in a published layout, as `sop` or with options as in `sop,resize=square`.
    Published(Published, Overrides),
    /// Photographs in a folder, `folder:PATH`.
    Folder(Folder),
}

/// An opened split whose photographs have not been checked yet.
enum Listed {
    Idx(Arc<dyn Dataset>),
    /// Photographs; true if broken ones are to be left out.
    Photos(Photos, bool),
}

impl Source {
    /// All names, for messages and menus.
    pub const NAMES: [&'static str; 8] = ["mnist", "fashion-mnist", "sop", "cub", "cars", "inshop", "folder:PATH", "idx:PATH"];

    /// Opens one split. Photographs are prepared for the model's input by [`Source::preparation`]; other images are unchanged.
    ///
    /// # Errors
    /// As [`open`], [`Published::open`], [`Folder::open`] and [`Source::preparation`].
    pub fn open(&self, split: Split, dir: Option<&Path>, input: &InputSpec) -> Result<Arc<dyn Dataset>> {
        self.open_watched(split, dir, input, &check::nobody)
    }

    /// As [`Source::open`]; with `skip-broken` in the name every photograph is decoded, and `watch` follows the progress.
    ///
    /// # Errors
    /// As [`Source::open`], and [`Error::Interrupted`] if `watch` stopped it.
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

    /// As [`Source::open_watched`], for [`crate::broken_images`]: without `skip-broken` in the name, missing photographs are not
    /// an error here but when they are read, so that all of them are found and not only the first.
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

    /// True if the gallery differs from the test images. Otherwise [`Split::Gallery`] is the same as [`Split::Test`].
    pub fn has_gallery(&self) -> bool {
        matches!(self, Self::Published(published, _) if published.has_gallery())
    }

    /// True if the images are photographs, which are resized to the input of any model.
    pub fn is_of_photographs(&self) -> bool {
        matches!(self, Self::Published(..) | Self::Folder(_))
    }

    /// The preparation of photographs for a model's input; `None` for other images.
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

    /// The same dataset with its photographs prepared as in `said`, the text of a [`Preparation`]. Options in the name itself
    /// take precedence. Other images are unchanged.
    ///
    /// # Errors
    /// [`Error::DatasetOption`] if `said` is no such text.
    pub fn prepared_as(&self, said: &str) -> Result<Self> {
        let mut prepared = self.clone();
        let (Self::Published(_, overrides) | Self::Folder(Folder { overrides, .. })) = &mut prepared else { return Ok(prepared) };
        // `crop` and `channels` follow from the model.
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

    /// License and attribution of the data in `dir`, as far as known. A file [`Credits::FILE`] in the folder has precedence.
    ///
    /// # Errors
    /// As [`Source::open`] if a published dataset is missing; [`Error::Read`] and [`Error::Layout`] for an unusable credits file.
    pub fn credits(&self, dir: Option<&Path>) -> Result<Credits> {
        Ok(self.stated_credits(dir)?.unwrap_or_else(|| match self {
            Self::Idx(name) => Credits::new(&name.manifest().license, &name.manifest().attribution),
            Self::Published(published, _) => published.credits(),
            Self::IdxFolder(_) | Self::Folder(_) => Credits::new("not known", "a folder of one's own"),
        }))
    }

    /// License and attribution that a file [`Credits::FILE`] in the folder of the data states; `None` without one.
    ///
    /// # Errors
    /// As [`Source::credits`].
    pub fn stated_credits(&self, dir: Option<&Path>) -> Result<Option<Credits>> {
        match self {
            Self::Idx(_) => Ok(None),
            Self::Published(published, _) => Credits::read(&published.root(dir)?),
            Self::IdxFolder(folder) => folder.credits(dir),
            Self::Folder(folder) => Credits::read(&folder.root(dir)),
        }
    }

    /// The folder that holds the photographs; `None` for other images or a published dataset that is missing.
    pub fn photographs(&self, dir: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::Idx(_) | Self::IdxFolder(_) => None,
            Self::Published(published, _) => published.root(dir).ok(),
            Self::Folder(folder) => Some(folder.root(dir)),
        }
    }

    /// The file that lists the tested images of a folder; `None` without one.
    pub fn list(&self, dir: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => folder.list(dir),
            _ => None,
        }
    }

    /// The same dataset with every absolute path cut to its last component, which says nothing of the machine.
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
        // Options are read in any order and written in a fixed one.
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
        assert!(says("folder:").starts_with("'folder:' has no folder: write folder:PATH"));
        assert!(says("idx:").starts_with("'idx:' has no folder: write idx:PATH"));
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
            ("folder,images=20%,images=20%:y", "images is given twice"),
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

    /// A message quotes only a part of a very long name.
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
