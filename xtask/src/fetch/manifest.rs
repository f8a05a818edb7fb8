//! What the files of a dataset must be: the parts of `datasets/<name>/manifest.toml` that fetching needs.

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// A dataset in four files.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) source: String,
    pub(super) license: String,
    pub(super) attribution: String,
    /// Where the system's package puts the files.
    pub(super) system_folder: Option<String>,
    /// Its repository on the hub.
    pub(super) hub: Option<String>,
    train: Pair,
    test: Pair,
}

#[derive(Debug, Deserialize)]
struct Pair {
    images: File,
    labels: File,
}

/// One file, decompressed.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Photographs: one archive, or tables on the hub.
#[derive(Debug, Deserialize)]
pub(super) struct Photos {
    pub(super) title: String,
    pub(super) source: String,
    pub(super) license: String,
    pub(super) attribution: String,
    /// What the archive unpacks to, and readers look for.
    pub(super) folder: String,
    /// What lies in that folder.
    pub(super) landmark: String,
    /// An archive never has more files and folders, nor more bytes, packed or not.
    pub(super) most_entries: usize,
    pub(super) most_bytes: u64,
    #[serde(flatten)]
    pub(super) home: Home,
}

/// Where photographs are downloaded from when nothing else is said.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Home {
    Archive(Archive),
    Hub(Tables),
}

/// A published archive.
#[derive(Debug, Deserialize)]
pub(super) struct Archive {
    pub(super) url: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A repository of the hub, at the commit that was looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Tables {
    pub(super) repository: String,
    pub(super) revision: String,
    /// `SPLIT:FOLDER:IMAGES` of each split.
    pub(super) splits: Vec<String>,
    pub(super) classes: usize,
}

/// Sprites of a game, out of a package.
#[derive(Debug, Deserialize)]
pub(super) struct Sprites {
    pub(super) title: String,
    /// Of the package.
    pub(super) version: String,
    pub(super) source: String,
    pub(super) license: String,
    pub(super) attribution: String,
    /// Where the package puts its content.
    pub(super) system_folder: String,
    /// Over the names, sizes and pixels of all images.
    pub(super) sha256: String,
}

impl Sprites {
    /// The file that tells whoever trains on the images whose they are.
    pub(super) fn credits(&self) -> String {
        let attribution = format!("{} ({})", self.attribution, self.source);
        let table = toml::Table::from_iter([
            ("license".to_owned(), self.license.clone().into()),
            ("attribution".to_owned(), attribution.into()),
        ]);
        table.to_string()
    }
}

/// Reads `datasets/NAME/manifest.toml`.
///
/// # Errors
/// One line that names the file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is not a manifest", path.display()))
}

/// # Errors
/// One line: the message of the parser comes with a drawing of the place.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        anyhow!("line {line}: {message}")
    })
}

impl Manifest {
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        [&self.train, &self.test].into_iter().flat_map(|pair| [&pair.images, &pair.labels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, part) in [("name = \"x\"\ntitle = 3\n", "line 2: "), ("name = \"x\"\n???", "line 2: "), ("", "missing field")]
        {
            let message = format!("{:#}", parse::<Manifest>(text).unwrap_err());
            assert!(message.contains(part) && message.lines().count() == 1, "{message}");
        }
    }
}
