//! What can be reproduced, under one name each.
//!
//! An experiment is a file in this folder and its registration below. One that attacks cells of tables is data and no code
//! ([`Tables`]); what else there may be implements [`Experiment`].

mod ablations;
mod backbones;
mod beyond;
mod classification;
mod curves;
#[cfg(test)]
mod example;
mod fashion;
mod grid;
#[cfg(test)]
mod kept;
mod losses;
mod mnist;
mod pictures;
mod products;
mod sanity;
pub(crate) mod tables;
mod transfer;
mod universal;

use crate::reproduce::{Scope, Session};
use anyhow::Result;
use rankle_report::System;
use tables::Tables;

/// Something that can be reproduced.
pub(crate) trait Experiment: Sync {
    /// The name on the command line and of the output folder.
    fn name(&self) -> &'static str;

    /// What it is, in one line.
    fn summary(&self) -> &'static str;

    /// Whether published numbers stand beside ours.
    fn published(&self) -> Published;

    /// How many cells it attacks of each system: what is missing of their weights is trained first. For the list.
    fn work(&self, scope: &Scope) -> Vec<(System, usize)>;

    /// Computes what the session's folder does not hold yet, and writes the report into it.
    ///
    /// # Errors
    /// When the driver fails, or the folder cannot be written.
    fn run(&self, session: &Session<'_>) -> Result<Outcome>;
}

/// Of how many of our numbers there are published ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// Of all.
    All,
    /// Of some.
    Some,
    /// Only of another system, for orientation.
    Similar,
    /// Of none.
    None,
}

/// What is said on standard output.
pub(crate) struct Outcome {
    /// For people.
    pub(crate) text: String,
    /// For programs: an array of one object per cell.
    pub(crate) json: String,
}

/// Every experiment whose cells stand in tables.
static TABLES: &[&Tables] = &[
    &mnist::MNIST,
    &curves::CURVES,
    &fashion::FASHION,
    &losses::LOSSES,
    &backbones::BACKBONES,
    #[cfg(test)]
    &example::EXAMPLE,
];

/// Every other experiment.
static OTHERS: &[&dyn Experiment] = &[
    &transfer::OTHERS,
    &transfer::SELF,
    &universal::Universal,
    &classification::MNIST,
    &classification::FASHION,
    &ablations::Ablations,
    &sanity::MNIST,
    &sanity::FASHION,
    &products::Products,
];

/// Every experiment, in the order of the list.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn Experiment> {
    TABLES.iter().map(|&tables| tables as &dyn Experiment).chain(OTHERS.iter().copied())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The experiment of that name.
    pub(crate) fn named(name: &str) -> &'static dyn Experiment {
        all().find(|experiment| experiment.name() == name).unwrap()
    }

    #[test]
    fn data_and_a_registration_make_an_experiment() {
        let (example, cells) =
            (named("example"), |scope: Scope| named("example").work(&scope).iter().map(|work| work.1).sum::<usize>());
        assert_eq!((example.published(), cells(Scope::default()), cells(Scope::QUICK)), (Published::Some, 160, 16));
    }

    #[test]
    fn every_experiment_has_a_name_of_its_own_and_something_to_do() {
        let names: HashSet<_> = all().map(|experiment| experiment.name()).collect();
        assert_eq!(names.len(), all().count());
        for experiment in all() {
            let line = experiment.summary();
            assert!(!line.is_empty() && line.len() <= 100 && !line.contains('\n'), "{line}");
            let cells = |scope: Scope| experiment.work(&scope).iter().map(|(_, cells)| cells).sum::<usize>();
            let (quick, all) = (cells(Scope::QUICK), cells(Scope::FULL));
            assert!(0 < quick && quick <= all, "{}: {quick} of {all} cells", experiment.name());
        }
    }
}
