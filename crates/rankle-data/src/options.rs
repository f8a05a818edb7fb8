//! Options in the name of a dataset: `,key=value` or `,key`, in any order, each at most once.

use crate::{Error, Result, split};

pub(crate) struct Part<'a> {
    /// The whole name of the dataset, for messages.
    dataset: &'a str,
    pub(crate) key: &'a str,
    /// The value; empty if there is none.
    pub(crate) value: &'a str,
}

/// Splits a name such as `folder,images=20%:PATH`, which begins with `word`, into its options, with their commas, and its path.
///
/// # Errors
/// [`Error::FolderName`] with `help` if the name has another form or the path is empty.
pub(crate) fn folder<'a>(name: &'a str, word: &str, help: &'static str) -> Result<(&'a str, &'a str)> {
    (name.strip_prefix(word).and_then(|rest| rest.split_once(':')))
        .filter(|(options, path)| (options.is_empty() || options.starts_with(',')) && !path.is_empty())
        .ok_or_else(|| Error::FolderName { found: name.into(), help })
}

/// Splits `text`, which is empty or begins with a comma, into options; `known` are the keys that this dataset takes.
///
/// # Errors
/// [`Error::Unknown`] for an unknown key, [`Error::DatasetOption`] for a repeated key or for a dataset that takes no options.
pub(crate) fn parse<'a>(dataset: &'a str, text: &'a str, known: &[&'static str]) -> Result<Vec<Part<'a>>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for option in text.split(',').skip(1) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let part = Part { dataset, key, value };
        if known.is_empty() {
            return part.refuse("this dataset takes no options");
        }
        if !known.contains(&key) {
            return Err(split::unknown("option of a dataset", key, known));
        }
        if parts.iter().any(|said| said.key == key) {
            return part.refuse(format!("{key} is given twice"));
        }
        parts.push(part);
    }
    Ok(parts)
}

impl Part<'_> {
    /// Returns [`Error::DatasetOption`] with `help` for this option.
    pub(crate) fn refuse<T>(&self, help: impl Into<String>) -> Result<T> {
        let Self { dataset, key, value } = self;
        let option = if value.is_empty() { (*key).to_owned() } else { format!("{key}={value}") };
        Err(Error::DatasetOption { dataset: (*dataset).into(), option, help: help.into() })
    }

    /// True, or [`Error::DatasetOption`] if the option has a value.
    pub(crate) fn alone(&self) -> Result<bool> {
        if self.value.is_empty() { Ok(true) } else { self.refuse(format!("write {} alone", self.key)) }
    }

    /// The item of `all` whose name, by `called`, is the value, or [`Error::DatasetOption`] with all names.
    pub(crate) fn one_of<T: Copy>(&self, all: &[T], called: fn(T) -> &'static str) -> Result<T> {
        let names = || all.iter().map(|&one| format!("{}={}", self.key, called(one))).collect::<Vec<_>>().join(" or ");
        all.iter().copied().find(|&one| called(one) == self.value).map_or_else(|| self.refuse(format!("write {}", names())), Ok)
    }
}
