//! `rankle convert`: files of records of an older format in the present one.

use crate::files;
use crate::progress;
use crate::verify::Shelf;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use rankle_record::Journal;
use std::path::PathBuf;

/// Largest size of a file of records, in bytes.
const LONGEST: u64 = 1 << 30;

/// Rewrite files of records that have a format older than 2, in place.
///
/// A record holds the inputs and results of one attack. Only its format changes: a file that would lose anything, or that holds
/// anything but records, is refused and left alone. Files have one record a line or, as beside a report, are one array of
/// records.
#[derive(Args)]
#[command(after_help = "Example:\n  rankle convert records.jsonl")]
pub(crate) struct Convert {
    /// Files of records
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Mark records whose weights are in no folder below this one, so that others cannot compute them again
    #[arg(long, value_name = "FOLDER")]
    weights_dir: Option<PathBuf>,
}

impl Convert {
    pub(crate) fn run(self) -> Result<()> {
        let shelf = Shelf::with(self.weights_dir.as_deref())?;
        let is_shipped = |_: &str, sha256: &str| self.weights_dir.is_none() || shelf.holds(sha256);
        for file in &self.files {
            // Keeps others from appending between reading and writing.
            let _held = Journal::at(file).hold()?;
            let text = rankle_files::read_text(file, LONGEST).with_context(|| format!("{} cannot be read", file.display()))?;
            let converted = rankle_record::convert(&text, is_shipped).map_err(|reason| anyhow!("{} {reason}", file.display()))?;
            let changed = converted != text;
            if changed {
                files::write(file, converted)?;
            }
            progress::answer(format!("{}: {}", file.display(), if changed { "converted" } else { "nothing to do" }))?;
        }
        Ok(())
    }
}
