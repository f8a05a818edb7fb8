//! The records of a plan: what is done, by this process or by others, and who computes what.

use super::Planned;
use crate::Inputs;
use crate::error::{Error, Result, invalid};
use rankle_record::{Claim, Claims, Follower, Journal, Reading, Record};
use rankle_report::RankKeeper;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

/// The file of records as it is known so far.
pub struct Book {
    path: PathBuf,
    journal: Journal,
    follower: Follower,
    claims: Claims,
    /// Where the rank of each image goes, too, if it is kept.
    ranks: Option<RankKeeper>,
    /// By the identity of the cell.
    records: HashMap<String, Record>,
    /// What is wrong with the records of a cell, by its identity.
    contradictions: HashMap<String, String>,
}

impl Book {
    /// Reads what is there.
    ///
    /// # Errors
    /// When it cannot be read or holds something else, and when nothing can be written beside it.
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

    /// Keeps the rank of each image beside the records.
    ///
    /// # Errors
    /// When a file is in the way.
    pub fn with_image_ranks(self) -> Result<Self> {
        Ok(Self { ranks: Some(RankKeeper::beside(&self.path)?), ..self })
    }

    /// Takes over what was appended since; another record of a cell is one that contradicts it, or says nothing new.
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

    /// Whether the file says one thing of each cell that is asked for.
    ///
    /// # Errors
    /// One line for the first of which it says two.
    pub fn check<K>(&self, planned: &[Planned<K>]) -> Result<()> {
        let found =
            planned.iter().find_map(|Planned { inputs, .. }| Some((&inputs.cell, self.contradictions.get(&inputs.identity())?)));
        let Some((cell, difference)) = found else { return Ok(()) };
        let path = self.path.display();
        invalid(format!("{path} has two records of {cell} that differ: {difference}; delete the one that is wrong, or both"))
    }

    /// The right to compute a cell, unless another process has it. Whatever others have finished by then is known after it.
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

    /// Whether a cell is done: it has a record, and ranks of its images where they are kept.
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
    /// When it is not.
    pub(super) fn of(&self, inputs: &Inputs) -> Result<&Record> {
        let lost = || Error::Invalid(format!("the record of {} is lost", inputs.cell));
        self.records.get(&inputs.identity()).ok_or_else(lost)
    }

    /// Adds a record to the file, behind the ranks of its images, and waits until the disk has both. Where it has had the record and
    /// not the ranks, the record stays.
    ///
    /// # Errors
    /// When a file cannot be written, and when the record that is there says another thing.
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

    /// Puts the ranks of the images into their one file, where they are kept.
    ///
    /// # Errors
    /// When it cannot be written; no ranks are lost then.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.ranks.is_none() {
            return Ok(());
        }
        self.read_on()?;
        let keys = self.records.values().map(Record::key).collect::<Result<_, _>>()?;
        Ok(self.ranks.as_mut().map_or(Ok(()), |ranks| ranks.merge(&keys))?)
    }
}
