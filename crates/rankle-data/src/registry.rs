//! Datasets known by name, and the search for their files.

use crate::manifest::{FileEntry, Manifest};
use crate::{Error, ImageSet, Result, Split, embedded, idx, split};
use rankle_core::Dataset;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::{fmt, str::FromStr};

/// A dataset known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Name {
    /// Handwritten digits: 60,000 training and 10,000 test images of 1×28×28.
    Mnist,
    /// Clothes: 60,000 training and 10,000 test images of 1×28×28.
    FashionMnist,
}

impl Name {
    /// Every dataset, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Mnist, Self::FashionMnist];

    /// The name on the command line and of the folder in `datasets/`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// The expected files, their origin and their license.
    pub fn manifest(self) -> &'static Manifest {
        macro_rules! manifest {
            ($folder:literal) => {{
                static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
                    Manifest::compiled_in(include_str!(concat!("../../../datasets/", $folder, "/manifest.toml")))
                });
                &MANIFEST
            }};
        }
        match self {
            Self::Mnist => manifest!("mnist"),
            Self::FashionMnist => manifest!("fashion-mnist"),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Name {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        split::known("dataset", name, &Self::ALL, Self::as_str)
    }
}

/// Loads a split of a dataset, every file checked against the manifest's hash.
///
/// A given `dir` is the only folder that is searched. It holds the files, or a sub-folder of the dataset's name that does, or it
/// is torchvision's root, with the files in `MNIST/raw` or `FashionMNIST/raw`. Without `dir`, compiled-in files come first, then
/// the folder of an operating system's package.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::NotAFolder`], [`Error::Missing`], [`Error::Hash`], and every error of an IDX file.
pub fn open(name: Name, split: Split, dir: Option<&Path>) -> Result<Arc<dyn Dataset>> {
    let manifest = name.manifest();
    let files = manifest.files(split);

    let (path, from) = source(name, manifest, &files.images, dir)?;
    let images = idx::images(&path, from, files.images.bytes)?;
    verify(manifest, &files.images, &images.path, &images.sha256)?;

    let (path, from) = source(name, manifest, &files.labels, dir)?;
    let labels = idx::labels(&path, from, manifest.classes, files.labels.bytes)?;
    verify(manifest, &files.labels, &labels.path, &labels.sha256)?;

    Ok(Arc::new(ImageSet::from_idx(name.as_str(), images, labels)?))
}

/// A file to read, and its name in messages.
fn source(name: Name, manifest: &Manifest, file: &FileEntry, dir: Option<&Path>) -> Result<(PathBuf, Box<dyn Read>)> {
    if let (None, Some(bytes)) = (dir, embedded::file(name, &file.name)) {
        return Ok((PathBuf::from(format!("compiled-in {name}/{}.gz", file.name)), Box::new(bytes)));
    }
    let path = locate(manifest, file, dir)?;
    let from = Box::new(idx::open(&path)?);
    Ok((path, from))
}

fn locate(manifest: &Manifest, file: &FileEntry, dir: Option<&Path>) -> Result<PathBuf> {
    let installed = manifest.system_folder.as_deref().filter(|folder| folder.is_dir());
    let Some(folder) = dir.or(installed) else {
        return Err(Error::Unavailable { dataset: manifest.name.clone(), help: manifest.how_to_get.clone() });
    };
    if !folder.is_dir() {
        return Err(Error::NotAFolder { folder: folder.into(), file: file.name.clone() });
    }
    let zipped = format!("{}.gz", file.name);
    let places = [folder.to_path_buf(), folder.join(&manifest.name), folder.join(&manifest.torchvision_folder).join("raw")];
    (places.iter().flat_map(|place| [place.join(&zipped), place.join(&file.name)])).find(|path| path.exists()).ok_or_else(|| {
        Error::Missing {
            folder: folder.into(),
            file: file.name.clone(),
            dataset: manifest.name.clone(),
            help: manifest.how_to_get.clone(),
        }
    })
}

fn verify(manifest: &Manifest, file: &FileEntry, path: &Path, found: &str) -> Result<()> {
    if found == file.sha256 {
        return Ok(());
    }
    Err(Error::Hash {
        path: path.into(),
        found: found.into(),
        expected: file.sha256.clone(),
        help: format!("it is not the published file of {}; {}", manifest.name, manifest.how_to_get),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_is_read_and_complete() {
        for name in Name::ALL {
            let manifest = name.manifest();
            assert_eq!(manifest.name, name.as_str());
            assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
            for split in Split::ALL {
                let files = manifest.files(split);
                for file in [&files.images, &files.labels] {
                    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                    assert!(file.sha256.len() == 64 && file.sha256.chars().all(hex), "{name} {}", file.name);
                }
                let count = files.labels.bytes - 8;
                assert_eq!(count, if split == Split::Train { 60_000 } else { 10_000 });
                assert_eq!(files.images.bytes, 16 + count * 28 * 28);
            }
        }
    }

    #[test]
    fn slips_are_answered_with_the_nearest_name() {
        for (slip, nearest) in [
            ("minst", Some("mnist")),
            ("MNIST", Some("mnist")),
            ("fashion", Some("fashion-mnist")),
            ("FashionMNIST", Some("fashion-mnist")),
            ("", None),
            ("zzz", None),
        ] {
            match slip.parse::<Name>() {
                Err(Error::Unknown { nearest: found, .. }) => assert_eq!(found, nearest, "{slip}"),
                other => panic!("{slip}: {other:?}"),
            }
        }
    }

    #[test]
    fn without_any_folder_the_error_names_the_command() {
        let nowhere = Manifest { system_folder: Some("/nonexistent".into()), ..Name::FashionMnist.manifest().clone() };
        let says = locate(&nowhere, &nowhere.test.images, None).unwrap_err().to_string();
        assert!(
            says.starts_with("fashion-mnist is not installed and no folder was given: run `cargo xtask fetch fashion-mnist`")
        );
        assert!(says.contains("--dataset-dir"));
    }

    /// A user of torchvision names only its root; the files are in `root/MNIST/raw` or `root/FashionMNIST/raw`.
    #[test]
    fn the_folders_of_torchvision_are_found() {
        for (name, inner) in [(Name::Mnist, "MNIST"), (Name::FashionMnist, "FashionMNIST")] {
            let root = tempfile::tempdir().unwrap();
            let (manifest, raw) = (name.manifest(), root.path().join(inner).join("raw"));
            std::fs::create_dir_all(&raw).unwrap();
            let file = raw.join(&manifest.train.images.name);
            std::fs::write(&file, []).unwrap();
            assert_eq!(locate(manifest, &manifest.train.images, Some(root.path())).unwrap(), file);
        }
    }

    #[test]
    fn an_installed_package_serves_where_no_folder_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest { system_folder: Some(folder.path().into()), ..Name::FashionMnist.manifest().clone() };
        let plain = folder.path().join(&manifest.test.labels.name);
        std::fs::write(&plain, []).unwrap();
        assert_eq!(locate(&manifest, &manifest.test.labels, None).unwrap(), plain);
    }
}
