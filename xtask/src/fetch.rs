//! `cargo xtask fetch`: data that the repository does not ship.

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

/// What every dataset has in its folder.
const MANIFEST: &str = "manifest.toml";

/// Put a dataset into its folder under datasets/, checked against its manifest there.
///
/// Fashion-MNIST is taken from Debian's package dataset-fashion-mnist, or from a folder that you name, or from the Hugging Face
/// hub. The photographs come from their public homes or from the hub; what was interrupted goes on where it was, and who wants
/// what another process is fetching waits for it. Before its first download this command builds the program for it, which needs the Rust registry. Unknown Horizons is made of the sprites in
/// Debian's package of that name, or in a folder that it was unpacked to.
///
/// HF_ENDPOINT is the one environment variable that is honoured: the address of the hub, as --endpoint.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask fetch fashion-mnist\n  cargo xtask fetch cub --from Downloads/CUB_200_2011.tgz\n  \
    rankle evaluate --dataset cub --dataset-dir datasets/cub --model resnet18 --distance cosine --weights resnet18.safetensors"
)]
pub(crate) struct Fetch {
    /// Which dataset
    #[arg(value_name = "NAME")]
    name: Name,
    /// What is here already: a folder with the four files, gzipped or plain, an archive of photographs, or an unpacked package
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// Another home of the archive of photographs. It need not be the published one, byte for byte: what its hash is, is said and
    /// remembered for the next time
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    url: Option<String>,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// 70,000 images of clothes, 28 by 28 gray pixels
    FashionMnist,
    /// Handwritten digits: they are shipped, this only checks them
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

/// Whether there is more of a dataset in its folder than its manifest.
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

    /// Whether it is an archive of photographs.
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
        // The program that is run for us does so in the root of the workspace.
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
