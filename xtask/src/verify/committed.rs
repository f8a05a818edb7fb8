//! Records as they are committed: every column as it is written, whatever this version knows of it.

use crate::files;
use anyhow::{Context, Result, anyhow, bail};
use rankle_report::{Cell, Facts, Record};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A file of records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) file: PathBuf,
    /// How many of them are computed again at most; none for all.
    pub(super) at_most: Option<usize>,
}

/// One record.
pub(super) struct Committed {
    /// Its file, as seen from the root of the workspace.
    pub(super) file: String,
    /// Which record of the file it is, counted from 1: of a JSON Lines file the line.
    pub(super) number: usize,
    pub(super) columns: Map<String, Value>,
}

/// How many cells of a file with 10,000 images each are computed again: they take about a minute each.
const OF_FULL: usize = 8;

/// The committed files with records of attacks, those of the models first.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn shipped(root: &Path) -> Result<Vec<Input>> {
    let kinds = [
        ("models", "records.jsonl", None),
        ("models", "records-full.jsonl", Some(OF_FULL)),
        ("xtask/results", "records.jsonl", None),
        ("xtask/results", "cells.json", None),
    ];
    let mut inputs = Vec::new();
    for (parent, name, at_most) in kinds {
        let files = files::folders(&root.join(parent))?.into_iter().map(|folder| folder.join(name));
        inputs.extend(files.filter(|file| file.is_file()).map(|file| Input { file, at_most }));
    }
    Ok(inputs)
}

/// Files that somebody named: all of their records.
pub(super) fn named(files: &[PathBuf]) -> Vec<Input> {
    files.iter().map(|file| Input { file: file.clone(), at_most: None }).collect()
}

/// Reads a file of records: one JSON object a line, or one array of them.
///
/// # Errors
/// One line that names the file, and the record that is none.
pub(super) fn read(path: &Path) -> Result<Vec<Committed>> {
    let shown = files::shown(path);
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    let values: Vec<serde_json::Result<Value>> = match text.trim_start().starts_with('[') {
        true => {
            let array: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("{shown} is no array of records"))?;
            array.into_iter().map(Ok).collect()
        }
        false => text.lines().map(serde_json::from_str).collect(),
    };
    let committed = |(at, value): (usize, serde_json::Result<Value>)| {
        let number = at + 1;
        match value {
            Ok(Value::Object(columns)) => Ok(Committed { file: shown.clone(), number, columns }),
            Ok(_) => bail!("{shown} record {number} is no JSON object"),
            Err(reason) => Err(anyhow!(reason).context(format!("{shown} line {number} is not a record"))),
        }
    };
    values.into_iter().enumerate().map(committed).collect()
}

impl Committed {
    /// Whether it is about an attack on a ranking, which has targets, and not about a classifier.
    pub(super) fn is_of_a_ranking(&self) -> bool {
        self.columns.contains_key("targets")
    }

    /// The inputs.
    ///
    /// # Errors
    /// When a column is missing or has another type than this version reads.
    pub(super) fn inputs(&self) -> Result<(Cell, Facts)> {
        // What a report adds beside its records.
        let columns = self.columns.iter().filter(|(name, _)| *name != "caveat");
        let line = Value::Object(columns.map(|(name, value)| (name.clone(), value.clone())).collect()).to_string();
        let record = Record::from_line(line.as_bytes()).map_err(anyhow::Error::msg);
        let record = record.with_context(|| format!("{} record {} is not a record of this version", self.file, self.number))?;
        Ok((record.cell, record.facts))
    }

    /// How long it took, where it is written.
    pub(super) fn seconds(&self) -> f64 {
        self.columns.get("seconds").and_then(Value::as_f64).unwrap_or(f64::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_arrays_are_read_and_anything_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let line = "{\"targets\":1,\"seconds\":2.5,\"of_tomorrow\":[1]}\n";
        for text in [line.repeat(2), format!("[{line},\n{line}]")] {
            let read = read(&file("good", &text)).unwrap();
            assert_eq!(read.iter().map(|committed| committed.number).collect::<Vec<_>>(), [1, 2]);
            assert!(read[1].is_of_a_ranking() && read[1].seconds() == 2.5 && read[1].columns.contains_key("of_tomorrow"));
            assert!(read[1].inputs().unwrap_err().to_string().ends_with("good record 2 is not a record of this version"));
        }
        for (text, part) in [
            (format!("{line}{{"), "line 2 is not a record"),
            (format!("{line}3\n"), "record 2 is no JSON object"),
            ("[".to_owned(), "is no array of records"),
        ] {
            let error = read(&file("bad", &text)).err().unwrap();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
        assert!(read(&folder.path().join("none")).err().unwrap().to_string().ends_with("none cannot be read"));
    }

    #[test]
    fn the_files_of_the_models_come_first_and_full_ones_are_sampled() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["models/b/records.jsonl", "models/a/records-full.jsonl", "models/a/other", "xtask/results/c/cells.json"] {
            files::write(&folder.path().join(file), "").unwrap();
        }
        let found = shipped(folder.path()).unwrap();
        let seen: Vec<_> = found.iter().map(|input| (files::relative(&input.file, folder.path()), input.at_most)).collect();
        let expected =
            [("models/b/records.jsonl", None), ("models/a/records-full.jsonl", Some(8)), ("xtask/results/c/cells.json", None)];
        assert_eq!(seen, expected.map(|(file, at_most)| (file.to_owned(), at_most)));
    }
}
