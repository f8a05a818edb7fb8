//! A run of an experiment, and the sub-commands that its study calls in this process.

use super::models::{Models, Places, Training, Weights};
use super::{Experiment, Scope, recipe};
use crate::commands::sweep::Cells;
use crate::commands::{Classify, Picture, Sanity, Train, Universal};
use crate::device::Device;
use crate::{arguments, files, progress};
use anyhow::{Context, Result};
use rankle_report::{AttackId, Cell, Epsilon, Norm, Record, Sanity as Page, System};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// One run of one experiment: size, folder, device, and the source of weights.
pub(crate) struct Session<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) scope: Scope,
    pub(crate) device: Device,
    /// Folder of the run.
    pub(crate) output: &'a Path,
    pub(crate) places: &'a Places,
    pub(crate) training: Training,
    /// Upper limit of the training images under `--quick`; `None` for the usual number.
    pub(crate) training_images: Option<usize>,
}

impl Session<'_> {
    /// Logs the start of the work.
    pub(super) fn tell(&self, size: impl Display) {
        tracing::info!("{}: {size}, into {}", self.experiment.name, super::shown(self.output));
    }

    /// Weights of the systems, in their order; missing ones are trained now.
    ///
    /// # Errors
    /// When a model cannot be trained.
    pub(super) fn weights(&self, systems: &[System]) -> Result<Models> {
        if let Some(drawn) = self.drawn() {
            drawn?;
        }
        Models::get(self, systems)
    }

    /// The weights of the systems, and the records of a plan on them, in its order.
    ///
    /// # Errors
    /// As [`Session::weights`] and [`Session::sweep`].
    pub(super) fn answers(
        &self,
        systems: &[System],
        size: impl Display,
        plan: impl FnOnce(super::Weights<'_>) -> Result<Vec<Cell>>,
    ) -> Result<(Models, Vec<Record>)> {
        let models = self.weights(systems)?;
        self.tell(size);
        let records = self.sweep(&plan(&|system| models.name(system))?)?;
        Ok((models, records))
    }

    /// Trains the weights of a system with the paper's recipe; `further` arguments override it. A finished training is left
    /// alone, an unfinished one is resumed.
    ///
    /// # Errors
    /// When data cannot be read, and when the folder holds another training.
    pub(super) fn train(&self, system: &System, further: &[String], folder: &Path) -> Result<()> {
        // The card names the folder in this form.
        let folder = folder.strip_prefix(".").unwrap_or(folder);
        let words = recipe(system).into_iter().chain(further.iter().cloned()).map(OsString::from);
        let words = words.chain(self.data(&system.dataset)).chain([option("output", folder)]);
        let command: Train = arguments::parsed(words)?;
        let trained = command.train(self.device).with_context(|| format!("training {}", system.id()))?;
        trained.sentence().iter().for_each(|sentence| tracing::info!("{sentence}"));
        Ok(())
    }

    /// Computes the cells of a plan that records.jsonl in the folder of the run does not hold yet; returns the records of the
    /// plan, in its order.
    ///
    /// # Errors
    /// As `rankle sweep`.
    fn sweep(&self, plan: &[Cell]) -> Result<Vec<Record>> {
        let (file, records) = (self.output.join("plan.jsonl"), self.output.join("records.jsonl"));
        files::write(&file, Cell::to_lines(plan)?)?;
        let dataset_dir = |dataset: &str| self.folder(dataset);
        let cells = Cells {
            plan: plan.to_vec(),
            file: &file,
            records: &records,
            image_ranks: false,
            dataset_dir: &dataset_dir,
            prefix: None,
        };
        cells.compute(self.device)
    }

    /// Draws an attack with one target on one image of a system into a file in the folder of the run.
    ///
    /// # Errors
    /// As `rankle picture`.
    pub(super) fn picture(
        &self,
        system: &System,
        weights: &Weights,
        attack: AttackId,
        (norm, epsilon): (Norm, f64),
        file: &str,
    ) -> Result<()> {
        let own = vec![option("norm", norm.to_string()), option("output", self.output.join(file))];
        let further = [attacking(attack.name(), epsilon), self.seed(), own].concat();
        let command: Picture = self.command(system, weights, further)?;
        progress::quietly(|| command.draw(self.device)?.write()).with_context(|| format!("the picture {file}"))
    }

    /// Draws the first universal perturbation of a system, for a batch of `batch` images.
    ///
    /// # Errors
    /// As `rankle universal`.
    pub(super) fn universal(
        &self,
        system: &System,
        weights: &Weights,
        attack: AttackId,
        epsilon: f64,
        batch: usize,
        file: &str,
    ) -> Result<()> {
        let size = ["--perturbations=1".into(), format!("--batch={batch}").into(), option("picture", self.output.join(file))];
        let further = [attacking(attack.name(), epsilon), self.seed(), size.into()].concat();
        let command: Universal = self.command(system, weights, further)?;
        progress::quietly(|| command.make(self.device)?.write()).with_context(|| format!("the picture {file}"))
    }

    /// Runs `rankle sanity` on a system, with images transferred from `other`; writes sanity.md and sanity.json into `folder`.
    ///
    /// # Errors
    /// As `rankle sanity`.
    pub(super) fn sanity(
        &self,
        (system, weights): (&System, &Weights),
        (other, against): (&System, &Weights),
        epsilon: f64,
        images: usize,
        folder: &str,
    ) -> Result<Page> {
        let other = [
            format!("--against={}", against.name),
            format!("--against-model={}", other.model),
            format!("--against-distance={}", other.distance),
            format!("--epsilon={epsilon}"),
            format!("--images={images}"),
        ];
        let other: Vec<OsString> = other.map(OsString::from).into();
        let further = [other, self.seed(), vec![option("output", self.output.join(folder))]].concat();
        let command: Sanity = self.command(system, weights, further)?;
        tracing::info!("the page of {}", system.id());
        command.page(self.device).with_context(|| format!("the page of {}", system.id()))
    }

    /// Runs `rankle classify`: the accuracy of a classifier before and after an attack.
    ///
    /// # Errors
    /// As `rankle classify`.
    pub(super) fn classify(&self, system: &System, weights: &Weights, attack: &str, epsilon: f64) -> Result<Value> {
        let images = OsString::from(format!("--images={}", self.scope.images));
        let mut words = [attacking(attack, epsilon), self.seed(), vec![images]].concat();
        words.extend(
            ["dataset", "model"].into_iter().zip([&system.dataset, &system.model]).map(|(name, word)| option(name, word)),
        );
        words.extend([option("weights", &weights.name)].into_iter().chain(self.data(&system.dataset)));
        let command: Classify = arguments::parsed(words)?;
        let (answer, _) = command.measure(self.device).with_context(|| format!("{attack} on {}", system.id()))?;
        serde_json::to_value(answer).context("the result is no JSON")
    }

    /// Arguments of a sub-command on a ranking system, parsed.
    fn command<A: clap::Args>(&self, system: &System, weights: &Weights, further: Vec<OsString>) -> Result<A> {
        let System { dataset, model, distance, .. } = system;
        let words = [("dataset", dataset), ("model", model), ("distance", distance), ("weights", &weights.name)];
        let words = words.map(|(name, word)| option(name, word));
        arguments::parsed(words.into_iter().chain(further).chain(self.data(dataset)))
    }

    fn seed(&self) -> Vec<OsString> {
        vec![format!("--seed={}", self.scope.seed).into()]
    }

    /// Folder of drawn images, if this run uses them.
    fn drawn(&self) -> Option<Result<&Path>> {
        Some(self.experiment.drawn.as_ref().filter(|_| self.scope.quick)?.here())
    }

    /// Folder of a dataset; `None` for the default.
    fn folder(&self, dataset: &str) -> Option<PathBuf> {
        let drawn = self.drawn().and_then(Result::ok);
        drawn.or_else(|| self.places.data(dataset)).map(Path::to_owned)
    }

    /// Option for the folder of a dataset.
    fn data(&self, dataset: &str) -> Option<OsString> {
        self.folder(dataset).map(|folder| option("dataset-dir", folder))
    }
}

/// An option with its value, which may begin with a hyphen.
fn option(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut option = OsString::from(format!("--{name}="));
    option.push(value);
    option
}

fn attacking(attack: &str, epsilon: f64) -> Vec<OsString> {
    vec![option("attack", attack), option("epsilon", Epsilon(epsilon).to_string())]
}

/// The arguments of `rankle train` that depend on a system. The rest of the paper's recipe is the default of the command.
fn recipe(system: &System) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
    add("dataset", &system.dataset);
    add("model", &system.model);
    if !system.is_classifier() {
        add("distance", &system.distance);
    }
    add("loss", &system.loss);
    add("seed", &system.seed.to_string());
    if system.is_defended() {
        add("defense", &system.defense);
        add("epsilon", &recipe::defended_epsilon(system).to_string());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_report::published;

    #[test]
    fn the_recipe_is_that_of_the_table() {
        let of = |id| recipe(&published::table(id).unwrap().system.clone().seeded(3)).join(" ");
        let ordinary = "--dataset=mnist --model=c2f2 --distance=cosine --loss=triplet --seed=3";
        assert_eq!(of("mnist-ct"), ordinary);
        let classifier = recipe(&System::classifier("mnist", "softmax").seeded(3)).join(" ");
        assert_eq!(classifier, "--dataset=mnist --model=softmax --loss=cross-entropy --seed=3");
        let defended = recipe(&System::classifier("mnist", "softmax").defended().seeded(3)).join(" ");
        assert_eq!(defended, format!("{classifier} --defense=pgd --epsilon=0.3"));
        assert_eq!(of("mnist-ctd"), format!("{ordinary} --defense=embedding-shift --epsilon=0.3"));
        for id in ["mnist-ct", "mnist-ctd"] {
            let words = recipe(&published::table(id).unwrap().system).into_iter().chain(["--output=x".to_owned()]);
            assert!(arguments::parsed::<Train>(words.map(OsString::from)).is_ok(), "{id}");
        }
    }
}
