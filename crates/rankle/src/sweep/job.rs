//! A line of a plan or a record, read and checked.

use crate::experiment::{Experiment, Origin};
use crate::names;
use crate::search::Search;
use crate::system::Key;
use crate::{transfer, universal, variant};
use anyhow::{Error, Result, anyhow, bail};
use rankle_attacks::{Band, Kind, Objective, Pgd, Variant};
use rankle_core::{Epsilon, Seed};
use rankle_report::{Cell, Planned, Source, Universal};
use std::path::{Path, PathBuf};

/// One attack on one system.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The system on which is measured.
    pub(crate) key: Key,
    /// The system against which images are perturbed, where it is another.
    pub(crate) from: Option<Key>,
    /// How perturbations are shared, where they are.
    pub(crate) universal: Option<Universal>,
    pub(crate) experiment: Experiment,
    /// What the line says of the search.
    pub(crate) search: Search,
    pub(crate) origin: Origin,
    pub(crate) images: usize,
    /// File and line, for messages.
    pub(crate) place: String,
}

impl Job {
    /// What a line of a plan asks for.
    ///
    /// # Errors
    /// One line for a name that is not known and for a number out of range.
    pub(crate) fn new(planned: Planned, dataset_dir: Option<PathBuf>, prefix: Option<String>, place: String) -> Result<Self> {
        let Planned { step, iterations, random_start, restarts, .. } = planned;
        let search = Search { step, iterations, random_start, restarts };
        check_search(search)?;
        if planned.universal.is_some() && search != Search::default() {
            bail!("a universal perturbation has no step, iterations and starts of its own in a plan: leave them out");
        }
        let [table, loss, defense] = [&planned.table, &planned.loss, &planned.defense].map(|name| Some(name.clone()));
        let origin = Origin { table, loss, defense, ..Origin::default() };
        let job = Self::with_usual_search(planned, origin, dataset_dir, prefix, place)?;
        let alike = |restarts| anyhow!("restarts is {restarts}: all are alike from the clean image without random_start");
        let changed = search.change(job.experiment.search).map_err(alike)?;
        Ok(Self { experiment: Experiment { search: changed, ..job.experiment }, search, ..job })
    }

    /// What computes a record again: with the search that it names, whatever the protocol prescribes. `weights` are those of the
    /// measured model and those of the attacked one, where it is another.
    ///
    /// # Errors
    /// As [`Job::new`].
    pub(crate) fn again(
        cell: &Cell,
        weights: (&Path, Option<&Path>),
        dataset_dir: Option<PathBuf>,
        prefix: Option<String>,
        place: String,
    ) -> Result<Self> {
        let (table, loss, defense) = (cell.table.clone(), cell.loss.clone(), cell.defense.clone());
        let origin = Origin { table, loss, defense, chosen: None };
        let named = |weights: &Path| weights.to_string_lossy().into_owned();
        let source = |(source, weights): (&Source, &Path)| Source { weights: named(weights), ..source.clone() };
        let Cell { dataset, model, distance, protocol, objective, target_band, .. } = cell.clone();
        let planned = Planned {
            table: String::new(),
            dataset,
            model,
            weights: named(weights.0),
            distance,
            loss: String::new(),
            defense: String::new(),
            attack: cell.attack,
            targets: cell.targets,
            epsilon: cell.epsilon,
            protocol,
            eight_bit: cell.eight_bit,
            images: cell.images,
            seed: cell.seed,
            objective,
            target_band,
            xi: cell.xi,
            step: None,
            iterations: None,
            random_start: None,
            restarts: None,
            from: cell.from.as_ref().zip(weights.1).map(source),
            universal: cell.universal,
        };
        let job = Self::with_usual_search(planned, origin, dataset_dir, prefix, place)?;
        let Cell { step, iterations, random_start, restarts, .. } = *cell;
        let search = Pgd { step, iterations, random_start, restarts, ..job.experiment.search };
        Ok(Self { experiment: Experiment { search, ..job.experiment }, ..job })
    }

    /// With the search that the protocol prescribes, whatever is planned.
    fn with_usual_search(
        planned: Planned,
        origin: Origin,
        dataset_dir: Option<PathBuf>,
        prefix: Option<String>,
        place: String,
    ) -> Result<Self> {
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
        if let Some(xi) = planned.xi.filter(|xi| !(xi.is_finite() && *xi >= 0.0)) {
            bail!("xi is {xi}: a number of at least 0 is needed");
        }
        if let Some(shared) = planned.universal {
            universal::check(kind, planned.images, shared).map_err(Error::msg)?;
            if variant != Variant::default() {
                bail!("a universal perturbation has no objective, target_band and xi of its own: leave them out");
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
            search: Search::default(),
            origin,
            images: planned.images,
            place,
        })
    }

    /// The systems that it opens.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        [&self.key].into_iter().chain(&self.from)
    }

    /// In the units of the progress bar.
    pub(crate) fn cost(&self) -> u64 {
        match (self.universal, &self.from) {
            (Some(shared), _) => universal::cost(&self.experiment, self.images, shared),
            (None, Some(_)) => transfer::cost(&self.experiment, self.images),
            (None, None) => self.experiment.cost(self.images),
        }
    }
}

/// Whether the numbers of a search are in range.
fn check_search(search: Search) -> Result<()> {
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
