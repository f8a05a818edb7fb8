//! Staging of ranks before they are merged into the file.

use super::{
    ImageRanks,
    file::{self, Values},
};
use crate::{Error, Journal, Result};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Writer of the ranks of records, for any number of processes that add to one file.
///
/// The ranks of a record are first staged in a file of their own, before the record is written. Later all staged ranks are merged
/// into the one file under the lock of the records. So a record never lacks its ranks, whenever a process dies; no ranks are lost
/// or stored twice; and the large file is written once per sweep, not once per record.
#[derive(Debug)]
pub struct RankKeeper {
    records: PathBuf,
    path: PathBuf,
    staging: PathBuf,
    /// Keys in the file when it was last read; `seen` is its modification time and length at that moment.
    known: HashSet<String>,
    seen: Option<(SystemTime, u64)>,
}

impl RankKeeper {
    /// Opens the ranks beside `records` or, for a link, beside the file that it points to.
    ///
    /// # Errors
    /// If the file of ranks holds anything else, or if there is a file in place of the staging folder.
    pub fn beside(records: &Path) -> Result<Self> {
        let records = rankle_files::behind(records).map_err(Error::file("write", records))?;
        let mut keeper =
            Self { path: ImageRanks::path(&records), staging: folder(&records), records, known: HashSet::new(), seen: None };
        keeper.look()?;
        if keeper.staging.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            return Err(Error::file("write", &keeper.staging)(ErrorKind::NotADirectory.into()));
        }
        Ok(keeper)
    }

    fn look(&mut self) -> Result<()> {
        let now = self.path.metadata().ok().and_then(|found| Some((found.modified().ok()?, found.len())));
        if now.is_some() && now == self.seen {
            return Ok(());
        }
        self.seen = now;
        self.known = file::read(&self.path)?.into_keys().collect();
        Ok(())
    }

    /// True if any process has stored the ranks of a record with this key.
    ///
    /// # Errors
    /// As [`RankKeeper::beside`].
    pub fn holds(&mut self, key: &str) -> Result<bool> {
        // In this order: merged ranks are in the file before their staged file is removed.
        if self.known.contains(key) || self.staged(key).is_file() {
            return Ok(true);
        }
        self.look()?;
        Ok(self.known.contains(key))
    }

    /// Stages the ranks of a record that is about to be written, under its key, and waits until the disk has them.
    ///
    /// # Errors
    /// [`Error::File`] if they cannot be written.
    pub fn keep(&self, key: &str, ranks: &[f32]) -> Result<()> {
        let values = Values::from([(key.to_owned(), ranks.to_vec())]);
        loop {
            match fs::create_dir(&self.staging) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                made => made.and_then(|()| rankle_files::sync_folder(rankle_files::folder_of(&self.staging))),
            }
            .map_err(Error::file("make the folder", &self.staging))?;
            match file::write(&self.staged(key), &values) {
                // Another process merged its ranks and removed the folder.
                Err(Error::File { .. }) if !self.staging.exists() => {}
                written => return written,
            }
        }
    }

    /// Merges the staged ranks with these keys, which have records, into the file.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be written; the ranks then stay staged.
    pub fn merge(&mut self, recorded: &HashSet<String>) -> Result<()> {
        if read(&self.records)?.keys().any(|key| recorded.contains(key)) {
            let _held = Journal::at(&self.records).hold()?;
            let mut staged = read(&self.records)?;
            staged.retain(|key, _| recorded.contains(key));
            let moved: Vec<PathBuf> = staged.keys().map(|key| self.staged(key)).collect();
            let mut values = file::read(&self.path)?;
            values.extend(staged);
            file::write(&self.path, &values)?;
            self.known = values.into_keys().collect();
            moved.iter().try_for_each(|path| fs::remove_file(path).map_err(Error::file("remove", path)))?;
        }
        // The removal fails if others have staged ranks meanwhile, which stay.
        fs::remove_dir(&self.staging).ok();
        Ok(())
    }

    fn staged(&self, key: &str) -> PathBuf {
        self.staging.join(format!("{key}.safetensors"))
    }
}

fn folder(records: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(records.file_name().unwrap_or_default());
    name.push(".ranks");
    records.with_file_name(name)
}

/// Reads all ranks that are staged beside `records`.
pub(super) fn read(records: &Path) -> Result<Values> {
    let folder = folder(records);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Values::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(Error::file("read", &folder))?,
    };
    let mut values = Values::new();
    for path in entries.into_iter().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            values.extend(file::read(&path)?);
        }
    }
    Ok(values)
}
