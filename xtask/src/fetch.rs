//! `cargo xtask fetch`: datasets that are not in the repository.

mod hub;
mod idx;
mod manifest;
mod photos;
mod sprites;

use crate::files;
use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use hub::Hub;
use std::path::PathBuf;

/// File in the folder of every dataset.
const MANIFEST: &str = "manifest.toml";

/// Download a dataset into its folder under datasets/ and check it against the manifest there.
///
/// Fashion-MNIST comes from Debian's package dataset-fashion-mnist, from a folder that you name, or from the Hugging Face hub.
/// Photographs come from their public home or from the hub. An interrupted download is resumed; a second process waits for the
/// first one's result. Unknown Horizons is made of the sprites in Debian's package of that name, or in a folder to which the
/// package was unpacked. Before the first download the program that downloads is built, for which the Rust registry is needed.
///
/// The only environment variable that is read is HF_ENDPOINT, the address of the hub, as --endpoint.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask fetch fashion-mnist\n  cargo xtask fetch cub --from Downloads/CUB_200_2011.tgz\n  \
    rankle evaluate --dataset cub --dataset-dir datasets/cub --model resnet18 --distance cosine --weights resnet18.safetensors"
)]
pub(crate) struct Fetch {
    /// Dataset to fetch
    #[arg(value_name = "NAME")]
    name: Name,
    /// Take the data from here instead: a folder with the four files (gzipped or plain), an archive of photographs, or an
    /// unpacked package
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// Download the archive of photographs from here instead. It need not equal the published one: its hash is printed and kept
    /// for the next time
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    url: Option<String>,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// 70,000 images of clothes, 28 by 28 gray pixels
    FashionMnist,
    /// Handwritten digits, which are in the repository: only checks them
    Mnist,
    /// Stanford Online Products: 120,053 photographs of 22,634 products, 3 GB
    Sop,
    /// Caltech-UCSD Birds-200-2011: 11,788 photographs of 200 species, 1.2 GB
    Cub,
    /// Cars-196: 16,185 photographs of 196 models, 2 GB
    Cars,
    /// Unknown Horizons: 116 buildings, ships and other objects of a game, each from four sides
    UnknownHorizons,
}

/// True if the folder of a dataset has more than its manifest.
pub(crate) fn is_fetched(dataset: &str) -> bool {
    files::holds_more_than(&files::root().join("datasets").join(dataset), MANIFEST)
}

impl Name {
    fn as_str(self) -> &'static str {
        match self {
            Self::FashionMnist => "fashion-mnist",
            Self::Mnist => "mnist",
            Self::Sop => "sop",
            Self::Cub => "cub",
            Self::Cars => "cars",
            Self::UnknownHorizons => "unknown-horizons",
        }
    }

    /// True if the dataset is an archive of photographs.
    fn is_archive(self) -> bool {
        matches!(self, Self::Sop | Self::Cub | Self::Cars)
    }
}

impl Fetch {
    pub(crate) fn run(self) -> Result<()> {
        if self.url.is_some() && !self.name.is_archive() {
            let message = format!("--url is for archives of photographs, {} is none: use --from\n", self.name.as_str());
            clap::Error::raw(ErrorKind::ArgumentConflict, message).exit();
        }
        let folder = files::root().join("datasets").join(self.name.as_str());
        let path = folder.join(MANIFEST);
        // Absolute, because the program that downloads runs in the root of the workspace.
        let from = self.from.as_deref().map(std::path::absolute).transpose()?;
        match self.name {
            Name::Mnist if from.is_none() => idx::check_shipped(&manifest::read(&path)?, &folder),
            Name::Mnist | Name::FashionMnist => idx::get(&manifest::read(&path)?, from.as_deref(), &self.hub, &folder),
            Name::Sop | Name::Cub | Name::Cars => {
                photos::get(&manifest::read(&path)?, from.as_deref(), self.url.as_deref(), &self.hub, &folder)
            }
            Name::UnknownHorizons => sprites::get(&manifest::read(&path)?, from.as_deref(), &folder),
        }
    }
}
