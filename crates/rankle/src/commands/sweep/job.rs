//! A line of a plan, checked.

use crate::experiment::{Experiment, Origin};
use crate::names;
use crate::system::Key;
use crate::{transfer, universal};
use anyhow::{Error, Result, anyhow, bail};
use rankle_record::{Cell, Source, Subject};
use std::path::PathBuf;

/// One attack on one system.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The line.
    pub(super) cell: Cell,
    /// The system on which is measured.
    pub(super) key: Key,
    /// The system against which images are perturbed, where it is another.
    pub(super) from: Option<Key>,
    pub(super) experiment: Experiment,
    /// File and line, for messages.
    pub(super) place: String,
}

impl Job {
    /// # Errors
    /// One line for a name that is not known and for a number out of range.
    pub(super) fn new(cell: Cell, dataset_dir: Option<PathBuf>, prefix: Option<String>, place: String) -> Result<Self> {
        if cell.images == 0 {
            bail!("images is 0: at least one is needed");
        }
        let experiment = Experiment::new(&cell.spec).map_err(Error::msg)?;
        cell.spec.check_universal(cell.images).map_err(Error::msg)?;
        let Subject { dataset, model, weights, distance, .. } = &cell.subject;
        let key = Key {
            dataset: dataset.parse()?,
            dataset_dir,
            model: names::RANKERS.find(model).map_err(Error::msg)?,
            weights: weights.into(),
            prefix,
            distance: names::DISTANCES.find(distance).map_err(Error::msg)?,
        };
        key.preprocessing().map_err(|stop| anyhow!("{stop}"))?;
        let from = |source: &Source| -> Result<Key> {
            Ok(Key {
                model: names::RANKERS.find(&source.model).map_err(Error::msg)?,
                weights: (&source.weights).into(),
                distance: names::DISTANCES.find(&source.distance).map_err(Error::msg)?,
                ..key.clone()
            })
        };
        let from = cell.from.as_ref().map(from).transpose()?;
        from.as_ref().map_or(Ok(()), |from| from.check_beside(&key)).map_err(|stop| anyhow!("{stop}"))?;
        Ok(Self { cell, key, from, experiment, place })
    }

    /// The systems that it opens.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        [&self.key].into_iter().chain(&self.from)
    }

    /// What its record says besides the attack.
    pub(super) fn origin(&self) -> Origin {
        let Cell { table, subject: Subject { loss, defense, .. }, .. } = self.cell.clone();
        Origin { table, loss, defense, chosen: None }
    }

    /// In the units of the progress bar.
    pub(super) fn cost(&self) -> u64 {
        let images = self.cell.images;
        match (self.experiment.spec.universal, &self.from) {
            (Some(shared), _) => universal::cost(&self.experiment, images, shared),
            (None, Some(_)) => transfer::cost(&self.experiment, images),
            (None, None) => self.experiment.cost(images),
        }
    }
}
