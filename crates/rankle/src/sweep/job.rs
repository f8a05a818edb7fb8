//! A line of a plan, checked.

use crate::experiment::{Experiment, Origin};
use crate::names;
use crate::system::{Data, Key};
use crate::{transfer, universal};
use anyhow::{Error, Result, anyhow, bail};
use rankle_record::{Cell, Source, Subject};
use std::path::PathBuf;

/// One attack on one system.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The line.
    pub(crate) cell: Cell,
    /// The system on which is measured.
    pub(crate) key: Key,
    /// The system against which images are perturbed, where it is another.
    pub(crate) from: Option<Key>,
    pub(crate) experiment: Experiment,
    /// File and line, for messages.
    pub(crate) place: String,
}

impl Job {
    /// # Errors
    /// One line for a name that is not known and for a number out of range.
    pub(crate) fn new(cell: Cell, dataset_dir: Option<PathBuf>, prefix: Option<String>, place: String) -> Result<Self> {
        if cell.images == 0 {
            bail!("images is 0: at least one is needed");
        }
        let experiment = Experiment::new(&cell.spec).map_err(Error::msg)?;
        cell.spec.check_universal(cell.images).map_err(Error::msg)?;
        let Subject { dataset, query_dataset, gallery_dataset, model, weights, distance, .. } = &cell.subject;
        let other = |name: &Option<String>| name.as_ref().map(|name| name.parse()).transpose();
        let (queries, gallery) = (other(query_dataset)?, other(gallery_dataset)?);
        let key = Key {
            data: Data { dataset: dataset.parse()?, queries, gallery, dir: dataset_dir },
            model: names::RANKERS.find(model).map_err(Error::msg)?,
            weights: weights.into(),
            prefix,
            distance: names::DISTANCES.find(distance).map_err(Error::msg)?,
            // The plan says them, or nobody does.
            loss: None,
            defense: None,
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
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        [&self.key].into_iter().chain(&self.from)
    }

    /// What its record says besides the attack.
    pub(crate) fn origin(&self) -> Origin {
        let Cell { table, subject: Subject { loss, defense, .. }, .. } = self.cell.clone();
        Origin { table, loss, defense, chosen: None }
    }

    /// In the units of the progress bar.
    pub(crate) fn cost(&self) -> u64 {
        let images = self.cell.images;
        match (self.experiment.spec.universal, &self.from) {
            (Some(shared), _) => universal::cost(&self.experiment, images, shared),
            (None, Some(_)) => transfer::cost(&self.experiment, images),
            (None, None) => self.experiment.cost(images),
        }
    }
}
