//! `cargo xtask reproduce`: the published tables, ours beside theirs.

mod report;
#[cfg(test)]
pub(crate) mod sample;
mod scope;

use crate::{driver::Driver, files};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use rankle_report::{Comparison, FolderLock, published, published::Table};
use scope::Scope;
use sha2::{Digest, Sha256};
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// Compute every cell of the published tables and print it beside the published number.
///
/// Works offline with the data and the weights of the repository. Writes records.jsonl, report.md, cells.csv, curves.svg and
/// curves.png into the output folder. Killed or interrupted, the same command goes on where it was: finished cells in
/// records.jsonl are not computed again.
#[derive(Args)]
pub(crate) struct Reproduce {
    /// What to reproduce
    #[arg(value_enum, value_name = "NAME", default_value_t = Name::Mnist)]
    name: Name,
    /// Attack all 10,000 test images instead of a sample of 1,000
    #[arg(long, conflicts_with_all = ["quick", "images"])]
    full: bool,
    /// Only a slice, in two minutes: ε of 0, 0.1 and 0.3, one and ten targets, 100 images (unless --images says otherwise)
    #[arg(long)]
    quick: bool,
    /// Also compute the 31 values of ε of the published curves, with one target (208 cells more)
    #[arg(long, conflicts_with = "quick")]
    curves: bool,
    /// Train both models first, into the output folder, instead of using the shipped weights: hours
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
    /// -seed-N and -retrained where these were asked for
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// On standard output: tables for people, or one JSON array of cells and nothing else
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Say what can be reproduced, and stop
    #[arg(long)]
    list: bool,
}

/// What can be reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The two MNIST tables of the paper: 160 cells
    Mnist,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

impl Name {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
        }
    }

    fn tables(self) -> &'static [Table] {
        match self {
            Self::Mnist => published::tables(),
        }
    }
}

impl Reproduce {
    pub(crate) fn run(self) -> Result<()> {
        if self.list {
            print!("{}", list());
            return Ok(());
        }
        let (name, output) = (self.name, self.output()?);
        let weights = |table: &Table| self.weights(table, &output);
        if !self.retrain {
            name.tables().iter().try_for_each(|table| shipped(&table.weights).map(drop))?;
        }
        let _lock = FolderLock::acquire(&output, "cargo xtask reproduce")?;
        let driver = Driver::build()?;
        // Records and cards name files as seen from where the driver works: no path of this machine gets into them.
        let base = if self.retrain && !output.starts_with(files::root()) { output.clone() } else { files::root() };
        if self.retrain {
            name.tables().iter().try_for_each(|table| self.train(&driver, table, &base, &weights(table)))?;
        }

        let scope = self.scope();
        let plan = scope.plan(name.tables(), |table| files::relative(&weights(table), &base));
        eprintln!("{name}: {scope}, into {}", files::shown(&output), name = name.as_str());
        let records = driver.sweep(&plan, &base, &output, self.threads, AGAIN)?;
        let setting = scope.setting();
        let comparisons: Vec<_> = name.tables().iter().map(|table| Comparison::new(table, &setting, &records)).collect();
        report::write(&output, &scope, &comparisons, &records)?;
        match self.format {
            Format::Human => print!("{}", report::for_people(&comparisons, &files::shown(&output))),
            Format::Json => println!("{}", report::as_json(&comparisons)?),
        }
        Ok(())
    }

    fn scope(&self) -> Scope {
        let images = match (self.images, self.full, self.quick) {
            (Some(images), ..) => images.into(),
            (None, true, _) => 10_000,
            (None, false, true) => 100,
            (None, false, false) => 1000,
        };
        Scope { images, seed: self.seed, quick: self.quick, curves: self.curves }
    }

    fn train_seed(&self) -> u64 {
        self.train_seed.unwrap_or(self.seed)
    }

    /// Absolute, because the driver works in another folder than the user.
    fn output(&self) -> Result<PathBuf> {
        let default = || files::root().join("target/reproduce").join(self.folder());
        let output = self.output.clone().unwrap_or_else(default);
        std::path::absolute(&output).with_context(|| format!("{} is not a path", output.display()))
    }

    /// A name of its own for every run with other numbers, as in `mnist-images-200-seed-1-retrained`.
    fn folder(&self) -> String {
        let mut folder = self.name.as_str().to_owned();
        for (given, name) in [(self.full, "-full"), (self.quick, "-quick")] {
            folder += if given { name } else { "" };
        }
        if let Some(images) = self.images {
            folder += &format!("-images-{images}");
        }
        folder += &suffix(self.seed);
        if self.retrain {
            folder += "-retrained";
            folder += &self.train_seed.filter(|&seed| seed != self.seed).map_or_else(String::new, |seed| format!("-seed-{seed}"));
        }
        folder
    }

    /// The weights file of a table: the shipped one, or the one that `--retrain` makes.
    fn weights(&self, table: &Table, output: &Path) -> PathBuf {
        match self.retrain {
            false => files::root().join("models").join(&table.weights).join(MODEL),
            true => output.join("models").join(table.weights.clone() + &suffix(self.train_seed())).join(MODEL),
        }
    }

    fn train(&self, driver: &Driver, table: &Table, base: &Path, weights: &Path) -> Result<()> {
        let folder = weights.parent().context("weights lie in a folder")?;
        let seed = self.train_seed();
        driver.train(table, seed, base, folder, self.threads, AGAIN)?;
        let place = files::shown(weights);
        if seed != 0 {
            eprintln!("{place} was trained with seed {seed}, the shipped weights with seed 0");
            return Ok(());
        }
        let trained = hash(weights)?;
        match shipped(&table.weights).and_then(|file| hash(&file)) {
            Ok(same) if same == trained => eprintln!("{place} is bit-equal to the shipped weights"),
            Ok(_) => eprintln!(
                "{place} is NOT bit-equal to the shipped weights: expected where their card.toml names another instruction set or other epochs"
            ),
            Err(error) => eprintln!("{place} cannot be compared with the shipped weights: {error:#}"),
        }
        Ok(())
    }
}

const MODEL: &str = "model.safetensors";
const AGAIN: &str = "the same command goes on where it was";

/// What a seed other than the usual one adds to the name of a folder.
fn suffix(seed: u64) -> String {
    if seed == 0 { String::new() } else { format!("-seed-{seed}") }
}

/// The weights that the repository ships.
fn shipped(id: &str) -> Result<PathBuf> {
    let file = files::root().join("models").join(id).join(MODEL);
    if !file.is_file() {
        bail!("{} is missing: restore it from the repository, or train it with --retrain", files::shown(&file));
    }
    Ok(file)
}

fn hash(file: &Path) -> Result<[u8; 32]> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Sha256::digest(bytes).into())
}

fn list() -> String {
    let mut out = String::new();
    for name in Name::value_variants() {
        out += &format!("{}\n", name.as_str());
        for table in name.tables() {
            out += &format!("  {:<10} {} cells  {}; {}\n", table.id, table.cells().count(), table.title, table.source);
        }
    }
    out
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

    #[test]
    fn bare_means_mnist() {
        let bare = parse("");
        assert_eq!(bare.name, Name::Mnist);
        assert_eq!(parse("mnist").name, Name::Mnist);
        assert_eq!(bare.scope(), Scope { images: 1000, seed: 0, quick: false, curves: false });
        assert_eq!(bare.output().unwrap(), files::root().join("target/reproduce/mnist"));
    }

    #[test]
    fn options_change_the_scope_and_the_place() {
        assert_eq!(parse("--full").scope().images, 10_000);
        assert_eq!(parse("--quick").scope().images, 100);
        assert_eq!(parse("--quick --images 20").scope().images, 20);
        assert_eq!(parse("mnist --images 7 --seed 3").scope(), Scope { images: 7, seed: 3, quick: false, curves: false });
        assert!(parse("--quick").output().unwrap().ends_with("target/reproduce/mnist-quick"));
        assert!(parse("--output here").output().unwrap().is_absolute());
    }

    #[test]
    fn every_run_has_a_folder_of_its_own() {
        let folders = [
            ("", "mnist"),
            ("--full", "mnist-full"),
            ("--images 200", "mnist-images-200"),
            ("--quick --images 20", "mnist-quick-images-20"),
            ("--full --seed 3", "mnist-full-seed-3"),
            ("--retrain", "mnist-retrained"),
            ("--retrain --seed 3", "mnist-seed-3-retrained"),
            ("--retrain --train-seed 3", "mnist-retrained-seed-3"),
            ("--retrain --seed 3 --train-seed 0", "mnist-seed-3-retrained-seed-0"),
        ];
        for (line, folder) in folders {
            assert_eq!(parse(line).folder(), folder, "{line}");
        }
    }

    #[test]
    fn the_training_has_a_seed_of_its_own() {
        let seeds = |line: &str| (parse(line).scope().seed, parse(line).train_seed());
        assert_eq!(seeds("--retrain"), (0, 0));
        assert_eq!(seeds("--retrain --seed 3"), (3, 3));
        assert_eq!(seeds("--retrain --train-seed 3"), (0, 3));
        assert_eq!(seeds("--retrain --seed 3 --train-seed 0"), (3, 0));
    }

    #[test]
    fn retrained_weights_never_stand_in_for_the_shipped_ones() {
        let (table, output) = (published::table("mnist-ctd").unwrap(), Path::new("/out"));
        let place = |line: &str| parse(line).weights(table, output);
        assert!(place("").ends_with("models/mnist-c2f2-cosine-triplet-est/model.safetensors"));
        assert!(place("--seed 3").starts_with(files::root()));
        assert_eq!(place("--retrain"), Path::new("/out/models/mnist-c2f2-cosine-triplet-est/model.safetensors"));
        let third = Path::new("/out/models/mnist-c2f2-cosine-triplet-est-seed-3/model.safetensors");
        assert_eq!((place("--retrain --seed 3").as_path(), place("--retrain --train-seed 3").as_path()), (third, third));
    }

    #[test]
    fn the_list_names_every_table() {
        let text = list();
        assert!(
            text.starts_with("mnist\n") && text.contains("mnist-ct ") && text.contains("mnist-ctd ") && text.contains("80 cells")
        );
    }

    #[test]
    fn missing_weights_are_named_with_what_to_do() {
        let message = shipped("no-such-model").unwrap_err().to_string();
        assert!(
            message.starts_with("models/no-such-model/model.safetensors is missing") && message.contains("--retrain"),
            "{message}"
        );
    }
}
