//! A checked line of a plan.

use crate::error::{Error, Result, invalid};
use crate::{Experiment, Origin, transfer, universal};
use rankle_record::{Cell, Subject};

/// One attack on one subject. `K` is a key that tells how to open a subject; equal keys are the same subject.
#[derive(Clone, Debug)]
pub struct Job<K> {
    /// The line of the plan.
    pub cell: Cell,
    /// The subject that is measured.
    pub key: K,
    /// The source of a transfer, against which images are perturbed.
    pub from: Option<K>,
    /// The attack.
    pub experiment: Experiment,
    /// File and line, for messages.
    pub place: String,
}

impl<K> Job<K> {
    /// Checks a line of a plan; the keys open its subjects.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a number out of range.
    pub fn new(cell: Cell, key: K, from: Option<K>, place: String) -> Result<Self> {
        if cell.images == 0 {
            return invalid("images is 0: at least one is needed");
        }
        let experiment = Experiment::new(&cell.spec).map_err(Error::Invalid)?;
        cell.spec.check_universal(cell.images).map_err(Error::Invalid)?;
        Ok(Self { cell, key, from, experiment, place })
    }

    /// The keys of its subjects.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        [&self.key].into_iter().chain(&self.from)
    }

    /// The fields of its record that a plan adds.
    pub fn origin(&self) -> Origin {
        let Cell { table, subject: Subject { loss, defense, .. }, .. } = self.cell.clone();
        Origin { table, loss, defense, chosen: None }
    }

    /// Cost of the job, in units of a [`Monitor`](crate::Monitor).
    pub fn cost(&self) -> u64 {
        let images = self.cell.images;
        match (self.experiment.spec.universal, &self.from) {
            (Some(_), from) => universal::cost(&self.experiment, images, from.is_some()),
            (None, Some(_)) => transfer::cost(&self.experiment, images),
            (None, None) => self.experiment.cost(images),
        }
    }
}
