//! Layout of a folder of photographs: its sub-folders are classes, or splits with a sub-folder per class.

use super::tree;
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The kind of the sub-folders of a folder.
pub(super) enum Layout {
    /// Classes.
    Classes,
    /// Splits, each with a sub-folder per class.
    Splits(Splits),
}

/// The sub-folders named like splits.
#[derive(Default)]
pub(super) struct Splits {
    train: Option<OsString>,
    validation: Option<OsString>,
    test: Option<OsString>,
    /// Sub-folders with other names.
    pub(super) other_folders: Vec<OsString>,
}

/// The split that the name of a sub-folder stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Validation,
    Test,
}

impl Role {
    fn of(name: &OsStr) -> Option<Self> {
        match name.to_str()?.to_ascii_lowercase().as_str() {
            "train" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Validation),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

impl Layout {
    /// Reads the names of the sub-folders. They are splits if all of them are named like splits, or if one is named `train` and
    /// another like a split for testing; then other sub-folders are no classes, and skipped.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Layout`] without sub-folders, and for two sub-folders named like the same split.
    pub(super) fn of(root: &Path) -> Result<Self> {
        let names = tree::classes(root)?;
        let roles: Vec<Option<Role>> = names.iter().map(|name| Role::of(name)).collect();
        let has = |role| roles.contains(&Some(role));
        if roles.contains(&None) && !(has(Role::Train) && (has(Role::Validation) || has(Role::Test))) {
            return Ok(Self::Classes);
        }
        let mut splits = Splits::default();
        for (name, role) in names.into_iter().zip(roles) {
            let Some(role) = role else {
                splits.other_folders.push(name);
                continue;
            };
            let place = splits.place(role);
            if let Some(first) = place {
                let found = format!("holds {}/ and {}/, which name the same split", first.display(), name.display());
                return Err(Error::Layout { path: root.into(), found, help: "remove or rename one of them".into() });
            }
            *place = Some(name);
        }
        Ok(Self::Splits(splits))
    }

    /// Number of folders between the root and the folders of the classes.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Classes => 0,
            Self::Splits(_) => 1,
        }
    }
}

impl Splits {
    fn place(&mut self, role: Role) -> &mut Option<OsString> {
        match role {
            Role::Train => &mut self.train,
            Role::Validation => &mut self.validation,
            Role::Test => &mut self.test,
        }
    }

    /// The folders of all splits.
    pub(super) fn all(&self) -> impl Iterator<Item = &OsString> {
        [&self.train, &self.validation, &self.test].into_iter().flatten()
    }

    /// The folder that is tested or trained on by default. Tested is `test`, or without one the validation images.
    ///
    /// # Errors
    /// [`Error::Layout`] if there is no such folder.
    pub(super) fn folder(&self, root: &Path, tested: bool) -> Result<&OsString> {
        let (folder, missing) = if tested { (self.tested(), "test or val") } else { (self.train.as_ref(), "train") };
        folder.ok_or_else(|| Error::Layout {
            path: root.into(),
            found: format!("has {}, but no folder {missing}", self.all().map(shown).collect::<Vec<_>>().join(" and ")),
            help: "add it, or divide what is there, as in folder,images=20%:PATH, or test it all with folder,test=all:PATH"
                .into(),
        })
    }

    fn tested(&self) -> Option<&OsString> {
        self.test.as_ref().or(self.validation.as_ref())
    }

    /// The use of each folder in words, for a message.
    pub(super) fn in_words(&self) -> String {
        let unused = self.validation.as_ref().filter(|_| self.test.is_some());
        let words = [("tested", self.tested()), ("trained on", self.train.as_ref()), ("not used", unused)];
        let words = words.into_iter().filter_map(|(what, folder)| Some(format!("{what}: {}", shown(folder?))));
        words.collect::<Vec<_>>().join(", ")
    }
}

fn shown(folder: &OsString) -> String {
    format!("{}/", folder.display())
}
