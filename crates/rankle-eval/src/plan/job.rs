//! A line of a plan, checked.

use crate::error::{Error, Result, invalid};
use crate::{Experiment, Origin, transfer, universal};
use rankle_record::{Cell, Subject};

/// One attack on one subject. `K` says how to open a subject: equal keys are one.
#[derive(Clone, Debug)]
pub struct Job<K> {
    /// The line.
    pub cell: Cell,
    /// The subject that is measured.
    pub key: K,
    /// The subject that images are perturbed against, where it is another.
    pub from: Option<K>,
    /// The attack.
    pub experiment: Experiment,
    /// File and line, for messages.
    pub place: String,
}

impl<K> Job<K> {
    /// A line of a plan with what opens its subjects.
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

    /// What opens its subjects.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        [&self.key].into_iter().chain(&self.from)
    }

    /// What its record says besides the attack.
    pub fn origin(&self) -> Origin {
        let Cell { table, subject: Subject { loss, defense, .. }, .. } = self.cell.clone();
        Origin { table, loss, defense, chosen: None }
    }

    /// The work of it, in the units of a monitor.
    pub fn cost(&self) -> u64 {
        let images = self.cell.images;
        match (self.experiment.spec.universal, &self.from) {
            (Some(_), _) => universal::cost(&self.experiment, images),
            (None, Some(_)) => transfer::cost(&self.experiment, images),
            (None, None) => self.experiment.cost(images),
        }
    }
}
