//! File of finished searches, beside the page to come. An interrupted or killed run loses only its current search: the same
//! command goes on after the finished ones.

use crate::files;
use crate::stop::{self, Stop};
use anyhow::{Context, Result, bail};
use rankle_eval::sanity::StoredSearch;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Settings that the results depend on, as words by name.
pub(super) type About = BTreeMap<String, String>;

/// File name in the folder of the page. TOML, because it preserves numbers to the last bit.
const FILE: &str = "sanity.part.toml";

/// Finished searches of a run.
pub(super) struct Memory {
    path: PathBuf,
    /// Number of searches of the whole run.
    total: usize,
    found: RefCell<Found>,
    start: Instant,
    /// Seconds that earlier parts of the run took.
    earlier: f64,
}

/// Content of the file.
#[derive(Serialize, Deserialize)]
struct Found {
    /// Seconds that all parts of the run took.
    seconds: f64,
    about: About,
    #[serde(default)]
    searches: BTreeMap<String, StoredSearch>,
}

impl Memory {
    /// Opens the searches of a run of `total` searches, with those of an interrupted run with the same settings.
    ///
    /// # Errors
    /// A file that cannot be read, or that has other settings.
    pub(super) fn open(folder: &Path, about: About, total: usize) -> Result<Self> {
        let path = folder.join(FILE);
        let found = match fs::read_to_string(&path) {
            Ok(text) => read(&path, &text, &about)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Found { seconds: 0.0, about, searches: BTreeMap::new() },
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let (start, earlier) = (Instant::now(), found.seconds);
        let memory = Self { path, total, found: RefCell::new(found), start, earlier };
        if memory.len() > 0 {
            tracing::info!("going on: {}", memory.summary());
        }
        Ok(memory)
    }

    /// Seconds that the run took so far, to the millisecond.
    pub(super) fn seconds(&self) -> f64 {
        ((self.earlier + self.start.elapsed().as_secs_f64()) * 1000.0).round() / 1000.0
    }

    /// The error; if it is an interrupt and searches are finished, a message that the same command goes on.
    pub(super) fn going_on(&self, error: anyhow::Error) -> anyhow::Error {
        match stop::is_interrupt(&error) && self.len() > 0 {
            true => Stop::interrupted(format!("{}, the same command goes on with the rest", self.summary())).into(),
            false => error,
        }
    }

    /// Number of finished searches.
    fn len(&self) -> usize {
        self.found.borrow().searches.len()
    }

    /// Number of finished searches in words, for messages.
    fn summary(&self) -> String {
        format!("{} of {} searches are in {}", self.len(), self.total, self.path.display())
    }

    /// Removes the file once the page is written.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub(super) fn forget(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} cannot be removed", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

impl rankle_eval::sanity::Memory for Memory {
    fn recall(&self, name: &str) -> Option<StoredSearch> {
        self.found.borrow().searches.get(name).cloned()
    }

    fn keep(&self, name: &str, found: StoredSearch) {
        let mut all = self.found.borrow_mut();
        all.searches.insert(name.to_owned(), found);
        all.seconds = self.seconds();
        drop(all);
        let text = toml::to_string(&*self.found.borrow()).context("the searches are no TOML");
        // A search that cannot be stored only has to be repeated after an interrupt: this run has its result.
        if let Err(error) = text.and_then(|text| files::write(&self.path, text)) {
            tracing::warn!("{error:#}");
        }
    }
}

/// Reads the file of an interrupted run, and checks that it has the same settings.
fn read(path: &Path, text: &str, about: &About) -> Result<Found> {
    let path = path.display();
    let found: Found = toml::from_str(text).with_context(|| format!("{path} holds no searches of `rankle sanity`: delete it"))?;
    let names = found.about.keys().chain(about.keys());
    let word = |about: &About, name: &String| about.get(name).cloned().unwrap_or_else(|| "none".to_owned());
    let difference = names.map(|name| (name, word(&found.about, name), word(about, name))).find(|(_, its, own)| its != own);
    if let Some((name, its, own)) = difference {
        bail!(
            "{path} is of an unfinished run with {name} {its} instead of {own}: finish that, delete the file, or choose another --output"
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_eval::sanity::{Memory as _, SearchResult};

    fn tried(loss: f64) -> SearchResult {
        SearchResult { before: vec![1.0 / 3.0, 50.0], after: vec![0.1 + 0.2, f64::MIN_POSITIVE], loss }
    }

    #[test]
    fn what_was_found_comes_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let about = || About::from([("seed".to_owned(), "0".to_owned())]);
        let open = |about: About| Memory::open(folder.path(), about, 3);
        let first = open(about()).unwrap();
        let bits = |tried: &SearchResult| -> Vec<u64> {
            tried.before.iter().chain(&tried.after).chain([&tried.loss]).map(|number| number.to_bits()).collect()
        };
        let made = |work, tried| StoredSearch { work, tried };
        first.keep("a", made(7, vec![tried(1e-300)]));
        first.keep("b", made(1, vec![tried(-0.0), tried(f64::INFINITY)]));
        assert!(first.recall("c").is_none());

        let second = open(about()).unwrap();
        assert_eq!(second.summary(), format!("2 of 3 searches are in {}", folder.path().join(FILE).display()));
        let StoredSearch { work, tried: again } = second.recall("a").unwrap();
        assert_eq!((bits(&again[0]), work), (bits(&tried(1e-300)), 7));
        assert_eq!(bits(&second.recall("b").unwrap().tried[1]), bits(&tried(f64::INFINITY)));

        let other = About::from([("seed".to_owned(), "1".to_owned())]);
        let message = open(other).err().unwrap().to_string();
        assert!(message.contains(" is of an unfinished run with seed 0 instead of 1: finish that, delete the file"), "{message}");
        fs::write(folder.path().join(FILE), "half a fi").unwrap();
        assert!(open(about()).err().unwrap().to_string().ends_with("holds no searches of `rankle sanity`: delete it"));
        second.forget().unwrap();
        second.forget().unwrap();
        assert_eq!(open(about()).unwrap().len(), 0);
    }
}
