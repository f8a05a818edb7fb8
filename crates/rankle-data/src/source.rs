//! Everything that can be named as a dataset.

use crate::{Credits, Error, Folder, Name, Preparation, Published, Result, Split, open, split};
use rankle_core::Dataset;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, str::FromStr};

/// What is named as a dataset: one in IDX files, a published one of photographs, or a folder of one's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Grey images of 28×28.
    Idx(Name),
    /// Photographs in a published layout.
    Published(Published),
    /// Photographs in a folder, `folder:PATH`.
    Folder(Folder),
}

impl Source {
    /// What can be written, for messages and menus.
    pub const NAMES: [&'static str; 6] = ["mnist", "fashion-mnist", "sop", "cub", "cars", "folder:PATH"];

    /// Opens one split. Photographs are cut to squares of `side` pixels, 224 when it is not given; other images are as they
    /// are.
    ///
    /// # Errors
    /// As [`open`], [`Published::open`] and [`Folder::open`]; [`Error::Side`] for a side that cannot be had.
    pub fn open(&self, split: Split, dir: Option<&Path>, side: Option<usize>) -> Result<Arc<dyn Dataset>> {
        let preparation = || side.map_or(Ok(Preparation::PAPER), Preparation::to_side);
        Ok(match self {
            Self::Idx(name) => open(*name, split, dir)?,
            Self::Published(published) => Arc::new(published.open(split, dir, preparation()?)?),
            Self::Folder(folder) => Arc::new(folder.open(split, dir, preparation()?)?),
        })
    }

    /// Whose the data in `dir` is, as far as it is known. Of photographs, a file [`Credits::FILE`] beside them has the last word.
    ///
    /// # Errors
    /// When that file cannot be read or is not understood; as [`Source::open`] where a published dataset is not there.
    pub fn credits(&self, dir: Option<&Path>) -> Result<Credits> {
        let (said, usual) = match self {
            Self::Idx(name) => (None, Credits::new(&name.manifest().license, &name.manifest().attribution)),
            Self::Published(published) => (Credits::read(&published.root(dir)?)?, published.credits()),
            Self::Folder(folder) => (Credits::read(&folder.root(dir))?, Credits::new("not known", "a folder of one's own")),
        };
        Ok(said.unwrap_or(usual))
    }

    /// As others may be told of it: of an absolute path only the end, which says nothing of the machine.
    pub fn portable(&self) -> Self {
        match self {
            Self::Folder(Folder { path, division }) if path.is_absolute() => Self::Folder(Folder {
                path: path.file_name().map_or_else(|| "photographs".into(), Into::into),
                division: division.clone(),
            }),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idx(name) => name.fmt(f),
            Self::Published(published) => published.fmt(f),
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
        let known = Name::ALL.map(Self::Idx).into_iter().chain(Published::ALL.map(Self::Published));
        known.into_iter().find(|one| one.to_string() == name).ok_or_else(|| split::unknown("dataset", name, &Self::NAMES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Division;

    #[test]
    fn names_go_both_ways() {
        let folders = ["folder:a b/c", "folder,classes=50%:x", "folder,images=20%:C:\\x", "folder,list=test.txt:/abs"];
        for name in Source::NAMES.into_iter().chain(folders) {
            assert_eq!(name.parse::<Source>().unwrap().to_string(), name);
        }
        let Ok(Source::Folder(folder)) = "folder,images=20%:x:y".parse() else { panic!("no folder") };
        assert_eq!((folder.path.to_str(), folder.division), (Some("x:y"), Division::Images(20)));
    }

    #[test]
    fn slips_are_answered() {
        let says = |name: &str| name.parse::<Source>().unwrap_err().to_string();
        let known = "known: mnist, fashion-mnist, sop, cub, cars, folder:PATH";
        assert_eq!(says("minst"), format!("unknown dataset 'minst', did you mean 'mnist'? {known}"));
        assert_eq!(says("folder"), format!("unknown dataset 'folder', did you mean 'folder:PATH'? {known}"));
        for wrong in [
            "folder:",
            "folder,images=0%:x",
            "folder,classes=100%:x",
            "folder,images=20:x",
            "folder,list=../x:y",
            "folder,x=1%:y",
        ] {
            let message = says(wrong);
            assert!(message.starts_with(&format!("'{wrong}' is no folder of photographs: write folder:PATH")), "{message}");
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
