//! The records of a plan: cells done by this process or by others, and claims on cells in progress.

use super::Planned;
use crate::Inputs;
use crate::error::{Error, Result, invalid};
use rankle_record::{Claim, Claims, Follower, Journal, Reading, Record};
use rankle_report::RankKeeper;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

/// The file of records, as far as it was read.
pub struct Book {
    path: PathBuf,
    journal: Journal,
    follower: Follower,
    claims: Claims,
    /// Writer of the rank of each image; `None` if these are not kept.
    ranks: Option<RankKeeper>,
    /// Records by the identity of their cell.
    records: HashMap<String, Record>,
    /// Differences between the records of one cell, by its identity.
    contradictions: HashMap<String, String>,
}

impl Book {
    /// Opens a file of records and reads it.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else, and when nothing can be written beside it.
    pub fn open(path: &Path) -> Result<Self> {
        let journal = Journal::at(path);
        let mut book = Self {
            path: path.to_owned(),
            follower: journal.follow(),
            claims: Claims::beside(path)?,
            ranks: None,
            journal,
            records: HashMap::new(),
            contradictions: HashMap::new(),
        };
        if let Some(torn) = book.read_on()?.torn {
            tracing::warn!("{torn}");
        }
        Ok(book)
    }

    /// Also keeps the rank of each image, in a file beside the records.
    ///
    /// # Errors
    /// When another file is in the way.
    pub fn with_image_ranks(self) -> Result<Self> {
        Ok(Self { ranks: Some(RankKeeper::beside(&self.path)?), ..self })
    }

    /// Reads the records appended since. A second record of a cell is noted as a contradiction if it differs, else ignored.
    fn read_on(&mut self) -> Result<Reading> {
        let mut reading = self.follower.more()?;
        for record in std::mem::take(&mut reading.records) {
            match self.records.entry(record.identity()) {
                Entry::Vacant(new) => drop(new.insert(record)),
                Entry::Occupied(known) => {
                    if let Some(difference) = known.get().difference(&record) {
                        self.contradictions.insert(known.key().clone(), difference);
                    }
                }
            }
        }
        Ok(reading)
    }

    /// Checks that the file has no contradicting records of a planned cell.
    ///
    /// # Errors
    /// One line for the first cell that has two.
    pub fn check<K>(&self, planned: &[Planned<K>]) -> Result<()> {
        let found =
            planned.iter().find_map(|Planned { inputs, .. }| Some((&inputs.cell, self.contradictions.get(&inputs.identity())?)));
        let Some((cell, difference)) = found else { return Ok(()) };
        let path = self.path.display();
        invalid(format!("{path} has two records of {cell} that differ: {difference}; delete the one that is wrong, or both"))
    }

    /// Claims a cell for this process; `None` if another process holds it. A claim also reads all records finished by then.
    ///
    /// # Errors
    /// When the file cannot be locked or read.
    pub(super) fn claim(&mut self, inputs: &Inputs) -> Result<Option<Claim>> {
        let claim = self.claims.take(&inputs.identity())?;
        if claim.is_some() {
            self.read_on()?;
        }
        Ok(claim)
    }

    /// True if a cell is done: it has a record, and ranks of its images if these are kept.
    ///
    /// # Errors
    /// When the ranks cannot be read.
    pub(super) fn holds(&mut self, inputs: &Inputs) -> Result<bool> {
        let is_recorded = self.records.contains_key(&inputs.identity());
        let Some(ranks) = self.ranks.as_mut().filter(|_| is_recorded) else { return Ok(is_recorded) };
        Ok(ranks.holds(&inputs.cell.key(&inputs.facts)?)?)
    }

    /// The record of a cell that is done.
    ///
    /// # Errors
    /// When the cell is not done.
    pub(super) fn of(&self, inputs: &Inputs) -> Result<&Record> {
        let lost = || Error::Invalid(format!("the record of {} is lost", inputs.cell));
        self.records.get(&inputs.identity()).ok_or_else(lost)
    }

    /// Adds the ranks of the images, then the record, and waits until the disk has both. A record already in the file stays.
    ///
    /// # Errors
    /// When a file cannot be written, and when the file has another record of the cell that differs.
    pub(super) fn append(&mut self, record: Record, image_ranks: &[f32]) -> Result<()> {
        let known = self.records.entry(record.identity());
        if let Entry::Occupied(known) = &known
            && let Some(difference) = known.get().difference(&record)
        {
            let path = self.path.display();
            let reason = "has another record of this cell than is computed now, so its ranks do not fit";
            return invalid(format!("{path} {reason}: {difference}"));
        }
        if let Some(ranks) = &self.ranks {
            ranks.keep(&record.key()?, image_ranks)?;
        }
        if let Entry::Vacant(new) = known {
            self.journal.append(&record)?;
            new.insert(record);
        }
        Ok(())
    }

    /// Merges the ranks of the images into their one file, if they are kept.
    ///
    /// # Errors
    /// When the file cannot be written; no ranks are lost then.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.ranks.is_none() {
            return Ok(());
        }
        self.read_on()?;
        let keys = self.records.values().map(Record::key).collect::<Result<_, _>>()?;
        Ok(self.ranks.as_mut().map_or(Ok(()), |ranks| ranks.merge(&keys))?)
    }
}
