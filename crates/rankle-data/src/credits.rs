//! License and attribution of a dataset.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Upper limit on the size of the file, in bytes.
const LARGEST: u64 = 64 << 10;

/// License and attribution of a dataset; pictures, and the cards of models trained on it, repeat them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credits {
    /// Conditions of use.
    pub license: String,
    /// Makers of the data.
    pub attribution: String,
}

impl Credits {
    /// Name of the file in a folder of images that states both: `license = "…"` and `attribution = "…"`.
    pub const FILE: &str = "credits.toml";

    pub(crate) fn new(license: &str, attribution: &str) -> Self {
        Self { license: license.into(), attribution: attribution.into() }
    }

    /// Reads the file [`Credits::FILE`] in `folder`; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::Layout`] for a file with other contents.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE);
        match path.metadata() {
            Err(reason) if reason.kind() == io::ErrorKind::NotFound && !path.is_symlink() => return Ok(None),
            Ok(metadata) if !metadata.is_file() => {
                let reason = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
                return Err(Error::Read { path, reason });
            }
            _ => {}
        }
        let read = match rankle_files::read_text(&path, LARGEST) {
            Err(reason) if reason.kind() == io::ErrorKind::FileTooLarge => Err(reason.to_string()),
            Err(reason) => return Err(Error::Read { path, reason }),
            Ok(text) => match toml::from_str(&text) {
                Ok(Self { license, attribution }) if license.is_empty() || attribution.is_empty() => {
                    Err("one is empty".to_owned())
                }
                read => read.map_err(|error| error.message().to_owned()),
            },
        };
        read.map(Some).map_err(|why| Error::Layout {
            path,
            found: format!("is not understood ({why})"),
            help: "it needs license = \"…\" and attribution = \"…\" and nothing else".into(),
        })
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
            std::fs::write(folder.path().join(Credits::FILE), text).unwrap();
            Credits::read(folder.path())
        };
        let credits = says("license = \"CC0\"\nattribution = \"me\"").unwrap();
        assert_eq!(credits, Some(Credits::new("CC0", "me")));
        let (empty, owner) = ("license = \"\"\nattribution = \"me\"", "license = \"CC0\"\nattribution = \"me\"\nowner = \"me\"");
        let large = "#".repeat(1 << 17);
        for wrong in ["license = \"CC0\"", "license = 1\nattribution = \"me\"", "x", empty, owner, &large] {
            let message = says(wrong).unwrap_err().to_string();
            assert!(message.contains("credits.toml is not understood (") && message.lines().count() == 1, "{message}");
        }
        std::fs::remove_file(folder.path().join(Credits::FILE)).unwrap();
        std::fs::create_dir(folder.path().join(Credits::FILE)).unwrap();
        assert!(Credits::read(folder.path()).unwrap_err().to_string().contains("cannot read"));
        #[cfg(unix)]
        {
            std::fs::remove_dir(folder.path().join(Credits::FILE)).unwrap();
            std::os::unix::fs::symlink("/dev/zero", folder.path().join(Credits::FILE)).unwrap();
            assert!(Credits::read(folder.path()).unwrap_err().to_string().contains("it is not a regular file"));
        }
    }
}
