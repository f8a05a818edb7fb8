//! Estimated cost of an experiment.

use super::models::{Availability, Shortened};
use super::{Scope, Study, recipe};
use rankle_eval::Experiment;
use rankle_report::{Cell, Protocol, Search, System};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Cost of an architecture, in seconds on one core.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    /// One epoch of training without defense, on 60,000 images.
    epoch: f64,
    /// One epoch with the defense, whose search has 30 steps; 20 for photographs, 10 for classifiers.
    hardened_epoch: f64,
    /// One cell of 1,000 images, averaged over the cells of the paper's tables; for classifiers over all attacks on them.
    cell: f64,
}

/// Epochs of the paper's recipe.
const EPOCHS: f64 = 30.0;
/// Epochs of the paper's recipe for photographs.
const EPOCHS_OF_PHOTOGRAPHS: f64 = 42.0;
const ALL_IMAGES: f64 = 60_000.0;
const HOUR: f64 = 3600.0;

static COSTS: LazyLock<BTreeMap<String, Cost>> =
    LazyLock::new(|| toml::from_str(include_str!("costs.toml")).expect("the tests read it"));

/// Core-hours of a study, including the training of missing models; `None` if the cost of an architecture is unknown.
pub(super) fn core_hours(study: &dyn Study, scope: &Scope, place: &dyn Fn(&System) -> Availability) -> Option<f64> {
    let seconds = |(system, cells): (System, usize)| {
        let cost = COSTS.get(&system.model)?;
        let attacks = cells as f64 * scope.images as f64 / 1000.0 * cost.cell;
        Some(attacks + if place(&system) == Availability::Missing { training(&system, cost, scope.quick) } else { 0.0 })
    };
    Some(study.work(scope).into_iter().map(seconds).sum::<Option<f64>>()? / HOUR)
}

/// Units of an image in an average cell of the tables, whose search has 24 steps of two passes.
const USUAL: f64 = 50.0;

/// Cost of a cell in units of an average cell of the tables.
pub(super) fn in_usual_cells(cell: &Cell) -> f64 {
    let is_usual = cell.spec.protocol == Protocol::Paper && cell.spec.search == Search::default();
    match Experiment::new(&cell.spec) {
        Ok(experiment) if !is_usual => experiment.cost(1) as f64 / USUAL,
        _ => 1.0,
    }
}

fn training(system: &System, cost: &Cost, quick: bool) -> f64 {
    let epoch = if system.is_defended() { cost.hardened_epoch } else { cost.epoch };
    let short = quick.then(|| Shortened::of(system, None));
    let epochs = if recipe::sees_photographs(system) { EPOCHS_OF_PHOTOGRAPHS } else { EPOCHS };
    epoch * short.map_or(epochs, |short| short.epochs as f64 * short.images as f64 / ALL_IMAGES)
}

#[cfg(test)]
mod tests {
    use super::super::models::Places;
    use super::super::plan::tests::{all, named};
    use super::*;

    #[test]
    fn every_experiment_has_a_size_and_quick_ends_in_ten_minutes_on_two_cores() {
        let places = Places::of_the_repository();
        for experiment in all() {
            let hours = |scope: Scope| core_hours(&*experiment.study, &scope, &|system| places.place(system)).unwrap();
            let (quick, usual, full) = (hours(Scope::QUICK), hours(Scope::default()), hours(Scope::FULL));
            assert!(0.0 < quick && quick < usual && usual < full, "{}: {quick} {usual} {full}", experiment.name);
            assert!(quick < 2.0 * 10.0 / 60.0, "{}: {quick} core-hours", experiment.name);
        }
    }

    /// With shipped weights only the cells count.
    #[test]
    fn the_size_of_mnist_is_that_of_its_cells() {
        let hours = core_hours(&*named("mnist").study, &Scope::default(), &|_| Availability::Shipped).unwrap();
        assert!((hours - 160.0 * COSTS["c2f2"].cell / HOUR).abs() < 1e-9);
    }

    #[test]
    fn a_training_is_as_long_as_its_recipe() {
        let (plain, cost) =
            (System::plain("mnist", "c2f2", "cosine", "triplet"), Cost { epoch: 20.0, hardened_epoch: 360.0, cell: 5.0 });
        assert_eq!(training(&plain, &cost, false), 600.0);
        assert_eq!(training(&plain, &cost, true), 20.0);
        assert_eq!(training(&plain.clone().defended(), &cost, false), 10_800.0);
        assert_eq!(training(&plain.defended(), &cost, true), 60.0);
    }
}
