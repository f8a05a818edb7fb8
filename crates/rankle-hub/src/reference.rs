//! Names of repositories and files on the hub.

use crate::{Error, Result};
use std::{fmt, str::FromStr};

/// Kind of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Weights and the files that belong to them.
    Model,
    /// Images and labels.
    Dataset,
}

/// A repository on the hub at one revision: a branch, a tag, or a commit, which never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    kind: Kind,
    name: String,
    revision: String,
}

impl Repository {
    /// Default branch.
    pub const MAIN: &'static str = "main";

    /// Creates the name of a repository; `name` is `OWNER/REPO`.
    ///
    /// # Errors
    /// [`Error::Name`] for a name or a revision that cannot exist on the hub. Both become parts of paths.
    pub fn new(kind: Kind, name: &str, revision: &str) -> Result<Self> {
        if name.split('/').count() != 2 || !is_path(name) {
            return Err(Error::Name { text: name.into(), help: "a repository is called OWNER/REPO" });
        }
        if !is_path(revision) {
            return Err(Error::Name { text: revision.into(), help: "a revision is a branch, a tag or a commit" });
        }
        Ok(Self { kind, name: name.into(), revision: revision.into() })
    }

    /// Kind of the repository.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Name, `OWNER/REPO`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// True if the revision is a commit, so that files in the cache never change on the hub.
    pub fn is_pinned(&self) -> bool {
        is_commit(&self.revision)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.revision == Self::MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// Name of a file with weights on the hub, written `hf:OWNER/REPO[@REVISION][/FILE]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Repository of the file.
    pub repository: Repository,
    /// Path of the file in the repository.
    pub file: String,
}

impl Reference {
    /// Prefix of a reference.
    pub const SCHEME: &'static str = "hf:";
    /// Default file: the usual name of the weights in model repositories.
    pub const FILE: &'static str = "model.safetensors";
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::Name { text: text.into(), help: "write hf:OWNER/REPO, hf:OWNER/REPO@REVISION or hf:OWNER/REPO/FILE" };
        let path = text.strip_prefix(Self::SCHEME).ok_or_else(wrong)?;
        let mut parts = path.splitn(3, '/');
        let (Some(owner), Some(name)) = (parts.next(), parts.next()) else { return Err(wrong()) };
        let file = parts.next().unwrap_or(Self::FILE);
        let (name, revision) = name.split_once('@').unwrap_or((name, Repository::MAIN));
        let repository = Repository::new(Kind::Model, &format!("{owner}/{name}"), revision).map_err(|_| wrong())?;
        if is_path(file) { Ok(Self { repository, file: file.into() }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::SCHEME, self.repository)?;
        if self.file == Self::FILE { Ok(()) } else { write!(f, "/{}", self.file) }
    }
}

/// True if `text` is safe as a path below a folder on every system, and as a part of an address: no part is empty or starts or
/// ends with a dot or a blank (so none is `..`), and all characters are ASCII letters, digits or one of `._-+` and blank.
pub(crate) fn is_path(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._- +".contains(c);
    text.len() <= 500
        && text.split('/').all(|part| {
            !part.is_empty() && !part.starts_with(['.', ' ']) && !part.ends_with(['.', ' ']) && part.chars().all(allowed)
        })
}

/// True if `text` is the hash of a commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_go_both_ways() {
        for text in [
            "hf:timm/resnet18.tv_in1k",
            "hf:timm/resnet18.tv_in1k@v1.0",
            "hf:a/b/deep/er.safetensors",
            "hf:a/b@0123456789abcdef0123456789abcdef01234567/x.safetensors",
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        let reference: Reference = "hf:timm/resnet18.tv_in1k".parse().unwrap();
        assert_eq!((reference.repository.revision(), reference.file.as_str()), ("main", "model.safetensors"));
        assert!(!reference.repository.is_pinned());
    }

    #[test]
    fn what_could_leave_its_folder_is_refused() {
        for text in [
            "timm/x",
            "hf:",
            "hf:timm",
            "hf:timm/",
            "hf:/x",
            "hf:../x",
            "hf:a/..",
            "hf:a/b/../c",
            "hf:a/b//c",
            "hf:a/b@/c",
            "hf:a/b@..",
            "hf:a/b/c\\d",
            "hf:a/b/c?x=1",
            "hf:a/b/C:x",
        ] {
            let message = text.parse::<Reference>().unwrap_err().to_string();
            assert!(message.starts_with(&format!("'{text}' ")) && message.contains("hf:OWNER/REPO"), "{message}");
        }
    }
}
