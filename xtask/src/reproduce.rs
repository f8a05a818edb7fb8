//! `cargo xtask reproduce`: the published numbers, ours beside them.

mod checked;
mod cost;
mod list;
mod models;
pub(crate) mod report;
#[cfg(test)]
pub(crate) mod sample;
mod scope;
mod session;

pub(crate) use models::Models;
pub(crate) use scope::Scope;
pub(crate) use session::Session;

use crate::driver::Driver;
use crate::experiments::{self, Experiment, Outcome};
use crate::files;
use anyhow::{Context, Result};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use models::Training;
use rankle_cli::answer;
use rankle_report::FolderLock;
use std::num::NonZero;
use std::path::PathBuf;

/// Compute what is published, cell by cell, and print it beside the published number; --list says what there is.
///
/// Works offline with the data and the weights of the repository. Writes records.jsonl, report.md, cells.csv, curves.svg and
/// curves.png into the output folder. Killed or interrupted, the same command goes on where it was: finished cells in
/// records.jsonl are not computed again, an unfinished one begins anew, and so do the accuracies of classifiers and the pages
/// of sanity, which take a few minutes at their default size. Models that are not shipped are trained first with the paper's recipe, once for all
/// experiments, into target/models/ID.
#[derive(Args)]
pub(crate) struct Reproduce {
    /// What to reproduce, one or several; mnist when left out
    #[arg(value_name = "NAME", default_value = "mnist", value_parser = names(), hide_default_value = true)]
    names: Vec<&'static dyn Experiment>,
    /// AttackId all 10,000 test images instead of a sample of 1,000
    #[arg(long, conflicts_with_all = ["quick", "images"])]
    full: bool,
    /// Only a slice, in ten minutes (mnist: two): few ε and set sizes, 100 images (unless --images says otherwise). Models that
    /// are not there are trained for one epoch only, into target/models-quick, and every output says so
    #[arg(long)]
    quick: bool,
    /// Even less: models that are not there are trained on at most so many images, the first ones
    #[arg(long, value_name = "N", requires = "quick")]
    training_images: Option<NonZero<usize>>,
    /// Train all models first, into the output folder, instead of using the shipped weights: hours
    #[arg(long, conflicts_with = "quick")]
    retrain: bool,
    /// The seed of the attacked images and their targets
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The seed of the training; that of --seed when left out. Only 0 can give the shipped weights
    #[arg(long, value_name = "N", requires = "retrain")]
    train_seed: Option<u64>,
    /// How many of the 10,000 test images to attack
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    images: Option<u16>,
    /// How many threads; all cores when left out. No result depends on it
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Where records and report go; when left out target/reproduce/NAME, or NAME-full, NAME-quick, NAME-images-N, each with
    /// -seed-N and -retrained where these were asked for. Of several experiments each gets a folder in it
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// On standard output: tables for people, or one JSON array of cells and nothing else
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Say what can be reproduced, what it needs and how long it takes, and stop
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// Reads the name of an experiment.
fn names() -> impl TypedValueParser<Value = &'static dyn Experiment> {
    let all = experiments::all().map(|experiment| PossibleValue::new(experiment.name()).help(experiment.summary()));
    PossibleValuesParser::new(all.collect::<Vec<_>>()).try_map(|name| {
        experiments::all().find(|experiment| experiment.name() == name).ok_or("the parser knows the names of all experiments")
    })
}

impl Reproduce {
    pub(crate) fn run(self) -> Result<()> {
        if self.list {
            return answer(list::list()?);
        }
        for experiment in self.experiments() {
            // Whether it can be had is better known before minutes of compiling.
            FolderLock::acquire(&self.output(experiment)?, "cargo xtask reproduce")?;
        }
        let driver = Driver::build()?;
        let mut arrays = Vec::new();
        // A full standard output costs no experiment.
        let mut answered = Ok(());
        for experiment in self.experiments() {
            let Outcome { text, json } = self.one(experiment, &driver)?;
            match self.format {
                Format::Human => answered = answered.and(answer(text)),
                Format::Json => arrays.push(json),
            }
        }
        match self.format {
            Format::Human => answered,
            Format::Json => answer(joined(&arrays)),
        }
    }

    /// Each once, in the order of the arguments.
    fn experiments(&self) -> Vec<&'static dyn Experiment> {
        let mut once: Vec<&'static dyn Experiment> = Vec::new();
        for &experiment in &self.names {
            if once.iter().all(|known| known.name() != experiment.name()) {
                once.push(experiment);
            }
        }
        once
    }

    fn one(&self, experiment: &dyn Experiment, driver: &Driver) -> Result<Outcome> {
        let output = self.output(experiment)?;
        let _lock = FolderLock::acquire(&output, "cargo xtask reproduce")?;
        let base = if self.retrain && !output.starts_with(files::root()) { output.clone() } else { files::root() };
        let (scope, threads, training) = (self.scope(), self.threads, self.training());
        let training_images = self.training_images.map(NonZero::get);
        experiment.run(&Session { driver, scope, threads, output, base, training, training_images })
    }

    fn scope(&self) -> Scope {
        let scope = match (self.full, self.quick) {
            (true, _) => Scope::FULL,
            (false, true) => Scope::QUICK,
            (false, false) => Scope::default(),
        };
        Scope { images: self.images.map_or(scope.images, usize::from), seed: self.seed, ..scope }
    }

    fn training(&self) -> Training {
        if self.retrain { Training::Always(self.train_seed.unwrap_or(self.seed)) } else { Training::WhereMissing }
    }

    /// Absolute, because the driver works in another folder than the user.
    fn output(&self, experiment: &dyn Experiment) -> Result<PathBuf> {
        let output = match &self.output {
            None => files::root().join("target/reproduce").join(self.folder(experiment)),
            Some(folder) if self.experiments().len() > 1 => folder.join(experiment.name()),
            Some(folder) => folder.clone(),
        };
        std::path::absolute(&output).with_context(|| format!("{} is not a path", output.display()))
    }

    /// A name of its own for every run with other numbers, as in `mnist-images-200-seed-1-retrained`.
    fn folder(&self, experiment: &dyn Experiment) -> String {
        let mut folder = experiment.name().to_owned();
        for (given, name) in [(self.full, "-full"), (self.quick, "-quick")] {
            folder += if given { name } else { "" };
        }
        if let Some(images) = self.images {
            folder += &format!("-images-{images}");
        }
        if let Some(images) = self.training_images {
            folder += &format!("-training-images-{images}");
        }
        folder += &suffix(self.seed);
        if self.retrain {
            folder += "-retrained";
            folder += &self.train_seed.filter(|&seed| seed != self.seed).map_or_else(String::new, |seed| format!("-seed-{seed}"));
        }
        folder
    }
}

/// What a seed other than the usual one adds to the name of a folder.
fn suffix(seed: u64) -> String {
    if seed == 0 { String::new() } else { format!("-seed-{seed}") }
}

/// One JSON array of the elements of several, each as it is written there.
fn joined(arrays: &[String]) -> String {
    let inner = |array: &String| array.strip_prefix("[\n")?.strip_suffix("\n]").map(str::to_owned);
    let elements: Vec<String> = arrays.iter().filter_map(inner).collect();
    if elements.is_empty() { "[]".to_owned() } else { format!("[\n{}\n]", elements.join(",\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        reproduce: Reproduce,
    }

    fn parse(line: &str) -> Reproduce {
        Alone::parse_from(["reproduce"].into_iter().chain(line.split_whitespace())).reproduce
    }

    fn folders(line: &str) -> Vec<PathBuf> {
        let parsed = parse(line);
        parsed.experiments().into_iter().map(|experiment| parsed.output(experiment).unwrap()).collect()
    }

    #[test]
    fn bare_means_mnist() {
        let names = |line: &str| parse(line).experiments().iter().map(|experiment| experiment.name()).collect::<Vec<_>>();
        assert_eq!(names(""), ["mnist"]);
        assert_eq!(names("mnist"), ["mnist"]);
        assert_eq!(names("mnist mnist"), ["mnist"]);
        assert_eq!(parse("").scope(), Scope { images: 1000, seed: 0, quick: false });
        assert_eq!(folders(""), [files::root().join("target/reproduce/mnist")]);
    }

    #[test]
    fn options_change_the_scope_and_the_place() {
        assert_eq!(parse("--full").scope().images, 10_000);
        assert_eq!(parse("--quick").scope().images, 100);
        assert_eq!(parse("--quick --images 20").scope(), Scope { images: 20, ..Scope::QUICK });
        assert_eq!(parse("mnist --images 7 --seed 3").scope(), Scope { images: 7, seed: 3, quick: false });
        assert!(folders("--quick")[0].ends_with("target/reproduce/mnist-quick"));
        assert!(folders("--output here")[0].is_absolute() && folders("--output here")[0].ends_with("here"));
    }

    #[test]
    fn every_run_has_a_folder_of_its_own() {
        let folders_of = [
            ("", "mnist"),
            ("--full", "mnist-full"),
            ("--images 200", "mnist-images-200"),
            ("--quick --images 20", "mnist-quick-images-20"),
            ("--quick --images 20 --training-images 9", "mnist-quick-images-20-training-images-9"),
            ("--full --seed 3", "mnist-full-seed-3"),
            ("--retrain", "mnist-retrained"),
            ("--retrain --seed 3", "mnist-seed-3-retrained"),
            ("--retrain --train-seed 3", "mnist-retrained-seed-3"),
            ("--retrain --seed 3 --train-seed 0", "mnist-seed-3-retrained-seed-0"),
        ];
        for (line, folder) in folders_of {
            assert!(folders(line)[0].ends_with(PathBuf::from("target/reproduce").join(folder)), "{line}");
        }
    }

    #[test]
    fn the_training_has_a_seed_of_its_own() {
        let seeds = |line: &str| (parse(line).scope().seed, parse(line).training());
        assert_eq!(seeds(""), (0, Training::WhereMissing));
        assert_eq!(seeds("--seed 3"), (3, Training::WhereMissing));
        assert_eq!(seeds("--retrain"), (0, Training::Always(0)));
        assert_eq!(seeds("--retrain --seed 3"), (3, Training::Always(3)));
        assert_eq!(seeds("--retrain --train-seed 3"), (0, Training::Always(3)));
        assert_eq!(seeds("--retrain --seed 3 --train-seed 0"), (3, Training::Always(0)));
    }

    #[test]
    fn several_arrays_are_joined_as_they_are() {
        let array = |text: &str| serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(text).unwrap()).unwrap();
        let whole = array(r#"[{"a": [1]}, {"b": "]"}]"#);
        assert_eq!(joined(std::slice::from_ref(&whole)), whole);
        let both = joined(&[whole.clone(), array("[]"), array("[{}]")]);
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&both).unwrap().len(), 3);
        assert_eq!(joined(&[array("[]")]), "[]");
    }
}
