//! `rankle run`: whole experiments from plan files.

use crate::arguments::{self, heading};
use crate::device::Device;
use crate::names::{self, Format};
use crate::progress;
use crate::stop::Stop;
use crate::study::{self, Content, Experiment, Outcome, Places, Scope, Session, Training};
use anyhow::{Result, bail};
use clap::Args;
use rankle_report::{Cell, FolderLock, joined};
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// Compute whole experiments from plan files, and print their tables beside the published numbers.
///
/// A plan is a TOML file, as in xtask/plans of the repository, or a file with the inputs of one attack a line, as for
/// `rankle sweep`. A cell is one attack on one model with one epsilon, one number of a table. The output folder gets
/// records.jsonl, report.md and, for tables, cells.csv and the figure (curves.svg, .png, .pdf). After an interrupt the same command goes on:
/// finished cells in records.jsonl are not computed again; the unfinished cell and accuracies of classifiers are.
///
/// A model is the file of weights that the plan names, else a folder in --models, else one in --trained; if it is in none of
/// them, it is trained there with the recipe of the paper.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// Plan files
    #[arg(value_name = "PLAN", required = true)]
    plans: Vec<PathBuf>,
    /// Print what the plans need and how long they take, and stop
    #[arg(long)]
    list: bool,
    /// Compute only the part that the plan marks as quick, on 100 images unless --images is given. Missing models are trained for
    /// one epoch only, into a folder beside --trained, and every output says so
    #[arg(long, help_heading = heading::IMAGES)]
    quick: bool,
    /// Attack 10,000 test images instead of a sample of 1,000
    #[arg(long, conflicts_with_all = ["quick", "images"], help_heading = heading::IMAGES)]
    full: bool,
    /// Number of test images to attack
    #[arg(
        long,
        value_name = "N",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        help_heading = heading::IMAGES
    )]
    images: Option<NonZero<usize>>,
    /// Seed of the attacked images and their targets; 0 when left out
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = heading::IMAGES)]
    seed: Option<u64>,
    /// Folder with the files of published datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER", help_heading = heading::IMAGES)]
    dataset_dir: Option<PathBuf>,
    /// Folder that has a folder for each model, as in models/mnist-c2f2-cosine-triplet; may be repeated
    #[arg(long, value_name = "FOLDER", default_value = "models", help_heading = heading::MODEL)]
    models: Vec<PathBuf>,
    /// Folder for models that are trained; models in the output folder when left out
    #[arg(long, value_name = "FOLDER", help_heading = heading::MODEL)]
    trained: Option<PathBuf>,
    /// Train all models first, into the output folder, except those whose weights the plan names; takes hours
    #[arg(long, conflicts_with = "quick", help_heading = heading::MODEL)]
    retrain: bool,
    /// Seed of the training; that of --seed when left out
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "retrain", help_heading = heading::MODEL)]
    train_seed: Option<u64>,
    /// With --quick: train missing models on at most the first N training images
    #[arg(
        long,
        value_name = "N",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        requires = "quick",
        help_heading = heading::MODEL
    )]
    training_images: Option<NonZero<usize>>,
    /// Folder for records and reports; with several plans each gets a folder in it
    #[arg(long, value_name = "FOLDER", required_unless_present = "list", help_heading = heading::OUTPUT)]
    output: Option<PathBuf>,
    /// Print tables, or one JSON array of cells and nothing else
    #[arg(
        long,
        value_name = "FORMAT",
        default_value_t = Format::Human,
        value_parser = names::FORMATS,
        help_heading = heading::OUTPUT
    )]
    format: Format,
}

const EXAMPLES: &str = "\
Example: a slice of the two MNIST tables of the paper, in two minutes
  rankle run xtask/plans/mnist.toml --quick --output mnist-quick

Example: the cells of a file of records again, with the weights that it names
  rankle run models/mnist-c2f2-cosine-triplet/records.jsonl --output again";

impl Run {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let plans = self.contents()?;
        let Some(output) = self.output.as_deref().filter(|_| !self.list) else {
            return self.list(plans);
        };
        let mut arrays = Vec::new();
        // A full standard output does not end the experiments.
        let mut answered = Ok(());
        for (path, content) in plans {
            let output = if self.several() { output.join(stem(path)) } else { output.to_owned() };
            let _lock = FolderLock::acquire(&output, "rankle run")?;
            let Outcome { text, json } = match content {
                Content::Experiment(experiment) => self.experiment(&experiment, &output, device)?,
                Content::Lines(planned) => self.lines(planned, path, &output, device)?,
            };
            progress::clear();
            match self.format {
                Format::Human => answered = answered.and(progress::answer(text)),
                Format::Json => arrays.push(json),
            }
        }
        match self.format {
            Format::Human => answered,
            Format::Json => progress::answer(joined(&arrays)),
        }
    }

    /// Reads all plans before anything is computed, each file once.
    fn contents(&self) -> Result<Vec<(&Path, Content)>> {
        let mut contents: Vec<(&Path, Content)> = Vec::new();
        for (at, path) in self.plans.iter().enumerate() {
            if self.plans[..at].contains(path) {
                continue;
            }
            if let Some((other, _)) = contents.iter().find(|(other, _)| stem(other) == stem(path)) {
                let (other, path) = (other.display(), path.display());
                return Err(Stop::usage(format!("{other} and {path} would share a folder: rename one of them")).into());
            }
            contents.push((path, study::content(path)?));
        }
        Ok(contents)
    }

    fn several(&self) -> bool {
        self.plans.iter().any(|path| *path != self.plans[0])
    }

    fn list(&self, plans: Vec<(&Path, Content)>) -> Result<()> {
        let experiment = |(path, content): (&Path, Content)| match content {
            Content::Experiment(experiment) => Ok(experiment),
            Content::Lines(_) => bail!("{} holds cells and says nothing of their size: leave out --list", path.display()),
        };
        let experiments = plans.into_iter().map(experiment).collect::<Result<Vec<_>>>()?;
        progress::answer(study::list(experiments, &self.places(Path::new("."))))
    }

    fn experiment(&self, experiment: &Experiment, output: &Path, device: Device) -> Result<Outcome> {
        let places = self.places(output);
        let session = Session {
            experiment,
            scope: self.scope(),
            device,
            output,
            places: &places,
            training: self.training(),
            training_images: self.training_images.map(NonZero::get),
        };
        experiment.run(&session)
    }

    fn lines(&self, planned: Vec<Cell>, path: &Path, output: &Path, device: Device) -> Result<Outcome> {
        let given = [
            ("--full", self.full),
            ("--quick", self.quick),
            ("--retrain", self.retrain),
            ("--seed", self.seed.is_some()),
            ("--images", self.images.is_some()),
        ];
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            bail!("{} holds cells, each with its own images and seed: leave out {option}", path.display());
        }
        study::compute_lines(planned, path, output, self.dataset_dir.as_deref(), device)
    }

    fn places(&self, output: &Path) -> Places {
        let trained = self.trained.clone().unwrap_or_else(|| output.join("models"));
        Places { models: self.models.clone(), trained, datasets: self.dataset_dir.clone() }
    }

    fn scope(&self) -> Scope {
        let scope = match (self.full, self.quick) {
            (true, _) => Scope::FULL,
            (false, true) => Scope::QUICK,
            (false, false) => Scope::default(),
        };
        Scope { images: self.images.map_or(scope.images, NonZero::get), seed: self.seed.unwrap_or(0), ..scope }
    }

    fn training(&self) -> Training {
        if self.retrain { Training::Always(self.train_seed.or(self.seed).unwrap_or(0)) } else { Training::WhereMissing }
    }
}

/// File name of a plan without its extension.
fn stem(path: &Path) -> &Path {
    Path::new(path.file_stem().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn parse(line: &str) -> Run {
        arguments::parsed(line.split_whitespace().map(OsString::from)).unwrap()
    }

    #[test]
    fn options_change_the_scope_and_the_training() {
        let run = |rest: &str| parse(&format!("mnist.toml --output here {rest}"));
        assert_eq!(run("").scope(), Scope { images: 1000, seed: 0, quick: false });
        assert_eq!(run("--full").scope().images, 10_000);
        assert_eq!(run("--quick").scope().images, 100);
        assert_eq!(run("--quick --images 20").scope(), Scope { images: 20, ..Scope::QUICK });
        assert_eq!(run("--images 7 --seed 3").scope(), Scope { images: 7, seed: 3, quick: false });
        let trainings = ["", "--retrain", "--retrain --seed 3", "--retrain --train-seed 3", "--retrain --seed 3 --train-seed 0"];
        let of = trainings.map(|rest| run(rest).training());
        assert_eq!(
            of,
            [Training::WhereMissing, Training::Always(0), Training::Always(3), Training::Always(3), Training::Always(0)]
        );
    }

    #[test]
    fn models_are_trained_into_the_output_folder_unless_another_is_named() {
        let places = |line: &str| parse(line).places(Path::new("here"));
        let Places { models, trained, .. } = places("p --output here");
        assert_eq!((models, trained), (vec![PathBuf::from("models")], PathBuf::from("here/models")));
        let Places { models, trained, .. } = places("p --output here --models a --models b --trained c");
        assert_eq!((models, trained), (vec![PathBuf::from("a"), PathBuf::from("b")], PathBuf::from("c")));
    }
}
