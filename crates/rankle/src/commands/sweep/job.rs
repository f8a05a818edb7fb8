//! A line of a plan, read and checked.

use crate::experiment::{Experiment, Origin};
use crate::names;
use crate::search::Search;
use crate::system::Key;
use crate::{transfer, universal, variant};
use anyhow::{Error, Result, anyhow, bail};
use rankle_attacks::{Band, Kind, Objective, Variant};
use rankle_core::{Epsilon, Seed};
use rankle_report::{Planned, Source, Universal};
use std::path::PathBuf;

/// One attack on one system.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The system on which is measured.
    pub(super) key: Key,
    /// The system against which images are perturbed, where it is another.
    pub(super) from: Option<Key>,
    /// How perturbations are shared, where they are.
    pub(super) universal: Option<Universal>,
    pub(super) experiment: Experiment,
    /// What the line says of the search.
    pub(super) search: Search,
    pub(super) origin: Origin,
    pub(super) images: usize,
    /// File and line, for messages.
    pub(super) place: String,
}

impl Job {
    /// # Errors
    /// One line for a name that is not known and for a number out of range.
    pub(super) fn new(planned: Planned, dataset_dir: Option<PathBuf>, prefix: Option<String>, place: String) -> Result<Self> {
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
        let (objective, band) = (objective.map_err(Error::msg)?, band.map_err(Error::msg)?);
        let variant = Variant { objective, band, xi: planned.xi };
        variant::check(kind, variant).map_err(Error::msg)?;
        let Planned { step, iterations, random_start, restarts, .. } = planned;
        let search = Search { step, iterations, random_start, restarts };
        check_numbers(planned.xi, search)?;
        if let Some(shared) = planned.universal {
            universal::check(kind, planned.images, shared).map_err(Error::msg)?;
            if variant != Variant::default() {
                bail!("a universal perturbation has no objective, target_band and xi of its own: leave them out");
            }
            if search != Search::default() {
                bail!("a universal perturbation has no step, iterations and starts of its own in a plan: leave them out");
            }
            if planned.targets != 1 {
                bail!("targets is {}: a universal perturbation has 1", planned.targets);
            }
        }
        let seed = Seed(planned.seed);
        let experiment = match planned.universal {
            Some(_) => universal::experiment(kind, epsilon, protocol, seed),
            None => Experiment::new(kind, planned.targets, epsilon, protocol, seed),
        };
        let alike = |restarts| anyhow!("restarts is {restarts}: all are alike from the clean image without random_start");
        let experiment = Experiment { search: search.change(experiment.search).map_err(alike)?, ..experiment };
        let key = Key {
            dataset: planned.dataset.parse()?,
            dataset_dir,
            model: names::RANKERS.find(&planned.model).map_err(Error::msg)?,
            weights: planned.weights.into(),
            prefix,
            distance: names::DISTANCES.find(&planned.distance).map_err(Error::msg)?,
        };
        key.preprocessing().map_err(|stop| anyhow!("{stop}"))?;
        let from = |source: Source| -> Result<Key> {
            Ok(Key {
                model: names::RANKERS.find(&source.model).map_err(Error::msg)?,
                weights: source.weights.into(),
                distance: names::DISTANCES.find(&source.distance).map_err(Error::msg)?,
                ..key.clone()
            })
        };
        let from = planned.from.map(from).transpose()?;
        from.as_ref().map_or(Ok(()), |from| from.check_beside(&key)).map_err(|stop| anyhow!("{stop}"))?;
        Ok(Self {
            from,
            universal: planned.universal,
            key,
            experiment: Experiment { eight_bit: planned.eight_bit, variant, ..experiment },
            search,
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

    /// The systems that it opens.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        [&self.key].into_iter().chain(&self.from)
    }

    /// In the units of the progress bar.
    pub(super) fn cost(&self) -> u64 {
        match (self.universal, &self.from) {
            (Some(shared), _) => universal::cost(&self.experiment, self.images, shared),
            (None, Some(_)) => transfer::cost(&self.experiment, self.images),
            (None, None) => self.experiment.cost(self.images),
        }
    }
}

/// Whether the numbers of an ablation are in range.
fn check_numbers(xi: Option<f64>, search: Search) -> Result<()> {
    if let Some(xi) = xi.filter(|xi| !(xi.is_finite() && *xi >= 0.0)) {
        bail!("xi is {xi}: a number of at least 0 is needed");
    }
    if let Some(step) = search.step.filter(|step| !(step.is_finite() && *step > 0.0)) {
        bail!("step is {step}: a number above 0 is needed");
    }
    for (name, count) in [("iterations", search.iterations), ("restarts", search.restarts)] {
        if count == Some(0) {
            bail!("{name} is 0: at least one is needed");
        }
    }
    Ok(())
}
