//! Whose data is, and what may be done with it.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// What the cards of models that learned from data pass on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credits {
    /// Under which conditions it may be used.
    pub license: String,
    /// Who made it.
    pub attribution: String,
}

impl Credits {
    /// In a folder of photographs, a file of this name says it: `license = "…"` and `attribution = "…"`.
    pub const FILE: &str = "credits.toml";

    pub(crate) fn new(license: &str, attribution: &str) -> Self {
        Self { license: license.into(), attribution: attribution.into() }
    }

    /// What the file in a folder says, if there is one.
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::Layout`] for a file that says something else.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(|reason| Error::Read { path: path.clone(), reason })?;
        let read = toml::from_str(&text).map_err(|error: toml::de::Error| Error::Layout {
            path,
            found: format!("is not understood ({})", error.message()),
            help: "it needs license = \"…\" and attribution = \"…\" and nothing else".into(),
        });
        read.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_say_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Credits::read(folder.path()).unwrap(), None);
        let says = |text: &str| {
            fs::write(folder.path().join(Credits::FILE), text).unwrap();
            Credits::read(folder.path())
        };
        let credits = says("license = \"CC0\"\nattribution = \"me\"").unwrap();
        assert_eq!(credits, Some(Credits::new("CC0", "me")));
        for wrong in ["license = \"CC0\"", "license = 1\nattribution = \"me\"", "x", "license=\"\"\nattribution=\"\"\nowner=\"\""]
        {
            let message = says(wrong).unwrap_err().to_string();
            assert!(message.contains("credits.toml is not understood (") && message.lines().count() == 1, "{message}");
        }
    }
}
