//! The records of a sweep: what is done, by this process or by others, and who computes what.

use super::Planned;
use crate::experiment::Inputs;
use anyhow::{Context, Result, bail};
use rankle_record::{Claim, Claims, Follower, Journal, Reading, Record};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

/// The file of records as it is known so far.
pub(super) struct Book {
    path: PathBuf,
    journal: Journal,
    follower: Follower,
    claims: Claims,
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
    pub(super) fn open(path: &Path) -> Result<Self> {
        let journal = Journal::at(path);
        let mut book = Self {
            path: path.to_owned(),
            follower: journal.follow(),
            claims: Claims::beside(path)?,
            journal,
            records: HashMap::new(),
            contradictions: HashMap::new(),
        };
        if let Some(torn) = book.read_on()?.torn {
            tracing::warn!("{torn}");
        }
        Ok(book)
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
    pub(super) fn check(&self, planned: &[Planned]) -> Result<()> {
        let found =
            planned.iter().find_map(|Planned { inputs, .. }| Some((&inputs.cell, self.contradictions.get(&inputs.identity())?)));
        let Some((cell, difference)) = found else { return Ok(()) };
        let path = self.path.display();
        bail!("{path} has two records of {cell} that differ: {difference}; delete the one that is wrong, or both")
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

    /// Whether a cell is done.
    pub(super) fn holds(&self, inputs: &Inputs) -> bool {
        self.records.contains_key(&inputs.identity())
    }

    /// The record of a cell that is done.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn of(&self, inputs: &Inputs) -> Result<&Record> {
        self.records.get(&inputs.identity()).with_context(|| format!("the record of {} is lost", inputs.cell))
    }

    /// Adds a record to the file, and waits until the disk has it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn append(&mut self, record: Record) -> Result<()> {
        self.journal.append(&record)?;
        self.records.insert(record.identity(), record);
        Ok(())
    }
}
