//! `cargo xtask reproduce`: the plans in `xtask/plans`, run by the driver.

use crate::driver::Driver;
use crate::{files, plans};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use rankle_cli::answer;
use rankle_report::{FolderLock, joined};
use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// Compute published results, cell by cell, and print them beside the published numbers; --list names the experiments.
///
/// Works offline with the data and the weights of the repository. Writes records.jsonl, report.md, cells.csv and the
/// figure (curves.svg, .png, .pdf) into the output folder. After an interrupt the same command resumes: finished cells in records.jsonl are not
/// computed again. An unfinished cell starts anew, and so do accuracies of classifiers and sanity pages, which take a few minutes
/// at their default size. Models that are not shipped are first trained with the paper's recipe, once for all experiments, into
/// target/models/ID.
#[derive(Args)]
pub(crate) struct Reproduce {
    /// Experiments to run, plans in xtask/plans; default: mnist
    #[arg(value_name = "NAME", default_value = "mnist", value_parser = plans::parser(), hide_default_value = true)]
    names: Vec<String>,
    /// Attack all 10,000 test images instead of a sample of 1,000
    #[arg(long, conflicts_with_all = ["quick", "images"])]
    full: bool,
    /// Run a slice in ten minutes (mnist: two): few ε and numbers of targets, 100 images (unless --images says otherwise). Models
    /// that do not exist yet are trained for one epoch only, into target/models-quick, and every output says so
    #[arg(long)]
    quick: bool,
    /// Train models that do not exist yet on the first N images only
    #[arg(long, value_name = "N", requires = "quick")]
    training_images: Option<NonZero<usize>>,
    /// Train all models into the output folder, instead of using the shipped weights; takes hours
    #[arg(long, conflicts_with = "quick")]
    retrain: bool,
    /// Seed of the attacked images and their targets
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Seed of the training; default: the value of --seed. Only 0 can give the shipped weights
    #[arg(long, value_name = "N", requires = "retrain")]
    train_seed: Option<u64>,
    /// Number of test images to attack, of 10,000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    images: Option<u16>,
    /// Number of threads; default: all cores. No result depends on it
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Write records and report into this folder; default: target/reproduce/NAME, or NAME-full, NAME-quick, NAME-images-N,
    /// followed by -seed-N and -retrained if given. Each of several experiments gets a sub-folder
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Print tables for people, or one JSON array of cells and nothing else
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// List the experiments, with what they need and how long they take, and stop
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

impl Reproduce {
    pub(crate) fn run(self) -> Result<()> {
        if self.list {
            let all = plans::names().iter().map(|name| plans::file(name).into()).collect();
            let words = [vec!["--list".into()], all, places(&files::root())].concat();
            return Driver::build()?.say("run", &words, &files::root());
        }
        for name in self.once() {
            // A locked folder is better reported before minutes of compiling.
            FolderLock::acquire(&self.output(name)?, "cargo xtask reproduce")?;
        }
        let driver = Driver::build()?;
        let mut arrays = Vec::new();
        // An experiment that fails, or a full standard output, does not stop the other experiments.
        let mut ended = Ok(());
        for name in self.once() {
            if self.quick {
                plans::draw(name)?;
            }
            let base = self.base(name)?;
            match self.format {
                Format::Human => match driver.say("run", &self.words(name, &base)?, &base) {
                    Err(interrupt) if rankle_cli::code(&interrupt) == 130 => return Err(interrupt),
                    said => ended = ended.and(said),
                },
                Format::Json => arrays.push(driver.ask("run", &self.words(name, &base)?, &base)?),
            }
        }
        match self.format {
            Format::Human => ended,
            Format::Json => answer(joined(&arrays)),
        }
    }

    /// Names without repetitions, in the order of the arguments.
    fn once(&self) -> Vec<&str> {
        let mut once: Vec<&str> = Vec::new();
        for name in &self.names {
            if !once.contains(&name.as_str()) {
                once.push(name);
            }
        }
        once
    }

    /// Working directory of the driver, made if need be. Records and cards name files relative to it, not to this machine.
    fn base(&self, name: &str) -> Result<PathBuf> {
        let (output, root) = (self.output(name)?, files::root());
        if !self.retrain || output.starts_with(&root) {
            return Ok(root);
        }
        std::fs::create_dir_all(&output).with_context(|| format!("cannot make the folder {}", output.display()))?;
        Ok(output)
    }

    /// Arguments of `rankle run`, with paths relative to `base`.
    fn words(&self, name: &str, base: &Path) -> Result<Vec<OsString>> {
        let output = self.output(name)?;
        let output = if output == base { ".".to_owned() } else { files::relative(&output, base) };
        let plan = files::relative(&files::root().join(plans::file(name)), base);
        let mut words: Vec<OsString> = vec![plan.into(), "--output".into(), output.into()];
        let flags = [("--full", self.full), ("--quick", self.quick), ("--retrain", self.retrain)];
        words.extend(flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.into()));
        let numbers = [
            ("--seed", Some(self.seed.to_string())),
            ("--train-seed", self.train_seed.map(|seed| seed.to_string())),
            ("--images", self.images.map(|images| images.to_string())),
            ("--training-images", self.training_images.map(|images| images.to_string())),
            ("--threads", self.threads.map(|threads| threads.to_string())),
            ("--format", (self.format == Format::Json).then(|| "json".to_owned())),
        ];
        words.extend(numbers.into_iter().filter_map(|(name, value)| Some([name.into(), value?.into()])).flatten());
        Ok([words, places(base)].concat())
    }

    /// Output folder, absolute because the driver has another working directory.
    fn output(&self, name: &str) -> Result<PathBuf> {
        let output = match &self.output {
            None => files::root().join("target/reproduce").join(self.folder(name)),
            Some(folder) if self.once().len() > 1 => folder.join(name),
            Some(folder) => folder.clone(),
        };
        std::path::absolute(&output).with_context(|| format!("{} is not a path", output.display()))
    }

    /// Folder name that differs for every choice of numbers, as in `mnist-images-200-seed-1-retrained`.
    fn folder(&self, name: &str) -> String {
        let mut folder = name.to_owned();
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

/// Suffix of a folder name for a seed other than 0.
fn suffix(seed: u64) -> String {
    if seed == 0 { String::new() } else { format!("-seed-{seed}") }
}

/// Folders of models and data, as options of the driver.
fn places(base: &Path) -> Vec<OsString> {
    let places = [("--models", "models"), ("--trained", "target/models"), ("--dataset-dir", "datasets")];
    let place = |(option, folder): (&str, &str)| [option.into(), files::relative(&files::root().join(folder), base).into()];
    places.into_iter().flat_map(place).collect()
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
        parsed.once().into_iter().map(|name| parsed.output(name).unwrap()).collect()
    }

    fn words(line: &str) -> String {
        let parsed = parse(line);
        let words = parsed.words(parsed.once()[0], &files::root()).unwrap();
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn bare_means_mnist() {
        for line in ["", "mnist", "mnist mnist"] {
            assert_eq!(parse(line).once(), ["mnist"], "{line}");
        }
        assert_eq!(folders(""), [files::root().join("target/reproduce/mnist")]);
        let places = "--models models --trained target/models --dataset-dir datasets";
        assert_eq!(words(""), format!("xtask/plans/mnist.toml --output target/reproduce/mnist --seed 0 {places}"));
    }

    #[test]
    fn the_driver_gets_the_options_and_no_path_of_this_machine() {
        let line = "curves --quick --images 20 --training-images 9 --seed 3 --threads 2 --format json";
        let said = words(line);
        let plan = "xtask/plans/curves.toml --output target/reproduce/curves-quick-images-20-training-images-9-seed-3 --quick";
        let numbers = "--seed 3 --images 20 --training-images 9 --threads 2 --format json --models models";
        assert!(said.starts_with(&format!("{plan} {numbers}")), "{said}");
        assert!(words("--retrain --train-seed 1").contains(" --retrain --seed 0 --train-seed 1 "));
        let there = tempfile::tempdir().unwrap();
        let folder = there.path().canonicalize().unwrap().join("run");
        let parsed = parse(&format!("mnist --retrain --output {}", folder.display()));
        let base = parsed.base("mnist").unwrap();
        assert_eq!(base, folder, "what is trained there is named as seen from there");
        let words = parsed.words("mnist", &base).unwrap();
        assert!(words[2] == "." && words.contains(&files::root().join("models").into()), "{words:?}");
        assert!(folders("--output here")[0].is_absolute() && folders("--output here")[0].ends_with("here"));
        let both = folders("mnist curves --output here");
        assert!(both[0].ends_with("here/mnist") && both[1].ends_with("here/curves"));
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
}
