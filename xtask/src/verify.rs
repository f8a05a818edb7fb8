//! `cargo xtask verify`: `rankle verify` on the committed records.

use crate::driver::Driver;
use crate::{fetch, files};
use anyhow::{Context, Result};
use clap::Args;
use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// Compute committed records again, and compare them column by column.
///
/// Runs `rankle verify` on the records beside the models and in xtask/results, with the weights in models/; of each
/// records-full.jsonl, which has 10,000 images per cell, only eight cells. Records that need other weights, or data that are
/// missing here, are counted and named. After an interrupt the same command resumes; results of another build of the driver are
/// never reused.
///
/// Exit code 1 when a record disagrees. FOLDER/differences.jsonl has the differences, one JSON object per column of a record.
#[derive(Args)]
pub(crate) struct Verify {
    /// Files of records to compute again, as records.jsonl; default: the committed ones
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Compute only N records, spread over attacks, models and files; records that took more than five seconds come last
    #[arg(long, value_name = "N")]
    sample: Option<NonZero<usize>>,
    /// Number of threads; default: all cores. No result depends on it
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Write records and differences into this folder; default: target/verify
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
struct Input {
    file: PathBuf,
    /// Largest number of records to compute again; `None` for all.
    at_most: Option<usize>,
}

/// Number of cells that are computed again of a file with 10,000 images per cell; each takes about a minute.
const OF_FULL: usize = 8;

impl Verify {
    pub(crate) fn run(self) -> Result<()> {
        let root = files::root();
        let output = self.output.clone().unwrap_or_else(|| root.join("target/verify"));
        let output = absolute(&output)?;
        let inputs = match self.files.is_empty() {
            true => shipped(&root)?,
            false => self.files.iter().map(|file| Ok(Input { file: absolute(file)?, at_most: None })).collect::<Result<_>>()?,
        };
        let mut arguments = self.arguments(&inputs, &output);
        // The only dataset of committed records that is not built into the driver.
        if fetch::is_fetched("fashion-mnist") {
            arguments.extend(["--dataset-dir", "datasets"].map(str::to_owned));
        }
        Driver::build()?.say("verify", &arguments.into_iter().map(OsString::from).collect::<Vec<_>>(), &root)
    }

    /// Arguments of `rankle verify`, run in the root of the workspace.
    fn arguments(&self, inputs: &[Input], output: &Path) -> Vec<String> {
        let mut arguments: Vec<String> = inputs.iter().map(|input| files::shown(&input.file)).collect();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        for Input { file, at_most } in inputs {
            if let Some(count) = at_most {
                add("--sample", format!("{}={count}", files::shown(file)));
            }
        }
        if let Some(count) = self.sample {
            add("--sample", count.to_string());
        }
        if let Some(threads) = self.threads {
            add("--threads", threads.to_string());
        }
        add("--weights-dir", "models".to_owned());
        add("--output", files::shown(output));
        arguments
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is not a path", path.display()))
}

/// Committed files of records, those of the models first.
fn shipped(root: &Path) -> Result<Vec<Input>> {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_driver_is_asked_for_what_was_asked_for() {
        let verify = |sample| Verify { files: Vec::new(), sample: NonZero::new(sample), threads: None, output: None };
        let input = |name: &str, at_most| Input { file: files::root().join(name), at_most };
        let inputs = [input("models/a/records.jsonl", None), input("models/a/records-full.jsonl", Some(8))];
        let line = |sample| verify(sample).arguments(&inputs, Path::new("/elsewhere")).join(" ");
        let files = "models/a/records.jsonl models/a/records-full.jsonl --sample models/a/records-full.jsonl=8";
        assert_eq!(line(0), format!("{files} --weights-dir models --output /elsewhere"));
        assert_eq!(line(16), format!("{files} --sample 16 --weights-dir models --output /elsewhere"));
    }
}
