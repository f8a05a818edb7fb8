//! A line of a plan, read and checked.

use crate::experiment::{Experiment, Origin};
use crate::names;
use crate::system::Key;
use crate::variant;
use anyhow::{Error, Result, bail};
use rankle_attacks::{Band, Kind, Objective, Variant};
use rankle_core::{Epsilon, Seed};
use rankle_report::Planned;
use std::path::PathBuf;

/// One attack on one system.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) experiment: Experiment,
    pub(super) origin: Origin,
    pub(super) images: usize,
    /// File and line, for messages.
    pub(super) place: String,
}

impl Job {
    /// # Errors
    /// One line for a name that is not known and for a number out of range.
    pub(super) fn new(planned: Planned, dataset_dir: Option<PathBuf>, place: String) -> Result<Self> {
        let kind = names::ATTACKS.find(planned.attack.name()).map_err(Error::msg)?;
        let protocol = names::PROTOCOLS.find(&planned.protocol).map_err(Error::msg)?;
        if planned.images == 0 {
            bail!("images is 0: at least one is needed");
        }
        if planned.targets == 0 && kind != Kind::Shift {
            bail!("targets is 0: at least one is needed");
        }
        let epsilon = Epsilon::new(planned.epsilon)?;
        let objective = planned.objective.map_or(Ok(Objective::default()), |name| names::OBJECTIVES.find(&name));
        let band = planned.target_band.map_or(Ok(Band::default()), |name| names::BANDS.find(&name));
        let variant = Variant { objective: objective.map_err(Error::msg)?, band: band.map_err(Error::msg)?, xi: None };
        variant::check(kind, variant).map_err(Error::msg)?;
        let experiment = Experiment::new(kind, planned.targets, epsilon, protocol, Seed(planned.seed));
        Ok(Self {
            key: Key {
                dataset: names::DATASETS.find(&planned.dataset).map_err(Error::msg)?,
                dataset_dir,
                model: names::MODELS.find(&planned.model).map_err(Error::msg)?,
                weights: planned.weights.into(),
                distance: names::DISTANCES.find(&planned.distance).map_err(Error::msg)?,
            },
            experiment: Experiment { eight_bit: planned.eight_bit, variant, ..experiment },
            origin: Origin {
                table: Some(planned.table),
                loss: Some(planned.loss),
                defense: Some(planned.defense),
                ..Origin::default()
            },
            images: planned.images,
            place,
        })
    }

    /// In the units of the progress bar.
    pub(super) fn cost(&self) -> u64 {
        self.experiment.cost(self.images)
    }
}
