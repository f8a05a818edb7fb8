//! What an experiment has at hand while it runs.

use super::Scope;
use super::models::{Models, Training, Weights};
use crate::driver::Driver;
use anyhow::Result;
use rankle_report::{AttackId, Cell, Record, System};
use std::num::NonZero;
use std::path::PathBuf;

/// One run of one experiment: how much, where, and with what.
pub(crate) struct Session<'a> {
    pub(crate) driver: &'a Driver,
    pub(crate) scope: Scope,
    /// How many threads; all cores when none.
    pub(crate) threads: Option<NonZero<usize>>,
    /// The folder of the run, absolute.
    pub(crate) output: PathBuf,
    /// Where the driver works: records and cards name files as seen from here, so that no path of this machine gets into them.
    pub(crate) base: PathBuf,
    /// Where weights come from.
    pub(crate) training: Training,
    /// On how many images a model is trained at most that is trained for a moment only; none for as many as usual.
    pub(crate) training_images: Option<usize>,
}

impl Session<'_> {
    /// The weights of the systems, in their order; what is missing is trained now.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn weights(&self, systems: &[System]) -> Result<Models> {
        Models::get(self, systems)
    }

    /// The accuracy of a classifier before and after an attack, as one line of JSON.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn classify(&self, system: &System, weights: &str, attack: &str, epsilon: f64) -> Result<String> {
        self.driver.classify(system, weights, (attack, epsilon), &self.scope, &self.base, self.threads)
    }

    /// Runs every cell of a plan that records.jsonl in the folder of the run does not hold yet; returns the records of the plan,
    /// in its order.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn sweep(&self, plan: &[Cell]) -> Result<Vec<Record>> {
        self.driver.sweep(plan, &self.base, &self.output, self.threads)
    }

    /// Draws an attack with one target on one image of a system into a file of the folder of the run.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn picture(&self, system: &System, weights: &Weights, attack: AttackId, epsilon: f64, file: &str) -> Result<()> {
        let further = ["--attack", attack.name(), "--epsilon", &epsilon.to_string(), "--seed", &self.scope.seed.to_string()]
            .map(str::to_owned);
        self.draw("picture", system, weights, &further, "--output", file)
    }

    /// Draws the first universal perturbation of a system, for a batch of so many images.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn universal(
        &self,
        system: &System,
        weights: &Weights,
        attack: AttackId,
        epsilon: f64,
        batch: usize,
        file: &str,
    ) -> Result<()> {
        let (epsilon, seed, batch) = (epsilon.to_string(), self.scope.seed.to_string(), batch.to_string());
        let further =
            ["--attack", attack.name(), "--epsilon", &epsilon, "--seed", &seed, "--batch", &batch, "--perturbations", "1"];
        self.draw("universal", system, weights, &further.map(str::to_owned), "--picture", file)
    }

    /// Asks a system the questions of `rankle sanity`, on so many images, with images transferred from `other`; sanity.md and
    /// sanity.json come into a folder below that of the run.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn sanity(
        &self,
        system: &System,
        weights: &Weights,
        other: &Weights,
        epsilon: f64,
        images: usize,
        folder: &str,
    ) -> Result<()> {
        let (epsilon, seed, images) = (epsilon.to_string(), self.scope.seed.to_string(), images.to_string());
        let further = ["--against", &other.name, "--epsilon", &epsilon, "--seed", &seed, "--images", &images];
        self.draw("sanity", system, weights, &further.map(str::to_owned), "--output", folder)
    }

    fn draw(&self, name: &str, system: &System, weights: &Weights, further: &[String], option: &str, file: &str) -> Result<()> {
        let output = [option.to_owned(), self.output.join(file).to_string_lossy().into_owned()];
        let further = [further, &output].concat();
        self.driver.draw(name, system, &weights.name, &further, &self.base, self.threads)
    }
}
