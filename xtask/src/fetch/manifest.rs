//! What the files of a dataset must be: the parts of `datasets/<name>/manifest.toml` that fetching needs.

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
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

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a manifest", path.display()))
    }

    /// # Errors
    /// One line: the message of the parser comes with a drawing of the place.
    pub(super) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            anyhow!("line {line}: {message}")
        })
    }

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
            let message = format!("{:#}", Manifest::parse(text).unwrap_err());
            assert!(message.contains(part) && message.lines().count() == 1, "{message}");
        }
    }
}
