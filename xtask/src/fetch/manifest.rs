//! Manifests: the parts of `datasets/<name>/manifest.toml` that fetching reads.

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
    /// Folder of the files in the system's package.
    pub(super) system_folder: Option<String>,
    pub(super) hub: Option<String>,
    train: Pair,
    test: Pair,
}

#[derive(Debug, Deserialize)]
struct Pair {
    images: File,
    labels: File,
}

/// A file after decompression.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Photographs in an archive, or in tables on the hub.
#[derive(Debug, Deserialize)]
pub(super) struct Photos {
    pub(super) title: String,
    pub(super) source: String,
    pub(super) license: String,
    pub(super) attribution: String,
    /// Folder that the archive unpacks to and readers expect.
    pub(super) folder: String,
    /// An entry of that folder, by which a complete dataset is recognized.
    pub(super) landmark: String,
    /// Largest number of files and folders in the archive; `most_bytes` limits its size, packed and unpacked.
    pub(super) most_entries: usize,
    pub(super) most_bytes: u64,
    #[serde(flatten)]
    pub(super) home: Home,
}

/// Default source of the photographs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Home {
    Archive(Archive),
    Hub(Tables),
}

#[derive(Debug, Deserialize)]
pub(super) struct Archive {
    pub(super) url: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A repository on the hub, at a commit that was inspected.
#[derive(Debug, Deserialize)]
pub(super) struct Tables {
    pub(super) repository: String,
    pub(super) revision: String,
    /// `SPLIT:FOLDER:IMAGES` of each split.
    pub(super) splits: Vec<String>,
    pub(super) classes: usize,
}

/// Sprites of a game in a package.
#[derive(Debug, Deserialize)]
pub(super) struct Sprites {
    pub(super) title: String,
    /// Version of the package.
    pub(super) version: String,
    pub(super) source: String,
    pub(super) license: String,
    pub(super) attribution: String,
    /// Folder of the content in the package.
    pub(super) system_folder: String,
    /// SHA-256 over the names, sizes and pixels of all images.
    pub(super) sha256: String,
}

impl Sprites {
    /// Content of credits.toml, from which cards of trained models take license and attribution.
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

/// Parses a manifest. An error is one line; the parser's own message also draws the position.
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
