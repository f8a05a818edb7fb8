//! Command line: the program, the options that several subcommands share, and parsers of values.

use crate::commands::{
    Attack, Bench, Check, Classify, Completions, Convert, Embed, Evaluate, Man, Picture, Run, Sanity, Spread, Sweep, Train,
    Transfer, Universal, Verify,
};
use crate::data::Data;
use crate::device::Device;
use crate::foreign::{self, ForeignArguments};
use crate::indices::Indices;
use crate::model_arguments::{ModelArguments, ModelName, ModelOptions};
use crate::names::Format;
use crate::stop::Stop;
use crate::system::{self, Key};
use crate::{interrupt, names};
use anyhow::{Context, Result, anyhow};
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use rankle_attacks::Threat;
use rankle_core::Distance;
use rankle_data::Source;
use rankle_models::{Architecture, Isa};
use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// Attack, defend and measure image search.
///
/// A model embeds images; a query ranks the images of a gallery by the distance of their embeddings. rankle measures how good
/// these rankings are and how far a small change of an image moves it in them, and trains models that resist such changes.
/// `rankle COMMAND --help` explains the terms and options of a command.
///
/// Results go to standard output (with --format json one object and nothing else), everything else to standard error.
/// Exit codes: 0 done; 1 a problem with a file, the data or the machine; 2 the arguments are wrong; 130 interrupted.
#[derive(Parser)]
#[command(name = "rankle", version, max_term_width = 120, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples: how good a model is, and how far an attack moves images in its lists
  rankle evaluate --dataset mnist --model models/mnist-c2f2-cosine-triplet
  rankle attack   --dataset mnist --model models/mnist-c2f2-cosine-triplet \\
      --attack ca+ --epsilon 0.3";

/// Headings of the groups of options, in the order in which the help of a command shows them.
pub(crate) mod heading {
    pub(crate) const DATA: &str = "Data";
    pub(crate) const MODEL: &str = "Model";
    pub(crate) const ATTACK: &str = "Attack";
    pub(crate) const SEARCH: &str = "Search (as prescribed when left out)";
    pub(crate) const IMAGES: &str = "Images";
    pub(crate) const OUTPUT: &str = "Output";
    pub(crate) const MACHINE: &str = "Machine and messages";
}

/// Form of the answer on standard output.
#[derive(Args)]
pub(crate) struct FormatArgument {
    /// Print for people, or one JSON object and nothing else
    #[arg(
        long,
        value_name = "FORMAT",
        default_value_t = Format::Human,
        value_parser = names::FORMATS,
        help_heading = heading::OUTPUT
    )]
    pub(crate) format: Format,
}

#[derive(Args)]
#[command(next_help_heading = heading::MACHINE)]
pub(crate) struct Global {
    /// Device to compute on: cpu (kernels of this program), candle-cpu (networks and searches on tensors, as on a GPU),
    /// cuda[:N] or metal, in builds with these features
    #[arg(long, global = true, value_name = "DEVICE", default_value_t = Device::Cpu)]
    device: Device,
    /// Number of threads; all cores when left out. No result depends on it
    #[arg(long, global = true, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    threads: Option<NonZero<usize>>,
    /// Let rankle's kernels use another instruction set of this machine than the fastest one. Results of two sets agree but for
    /// rounding
    #[arg(long, global = true, value_name = "NAME", value_parser = instruction_set)]
    instruction_set: Option<Isa>,
    /// Say more on standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Skip the check that compares gradients from automatic differentiation with difference quotients before their first use
    #[arg(long, global = true)]
    no_gradient_check: bool,
    #[command(flatten)]
    foreign: ForeignArguments,
    /// End as after Ctrl-C once the parent process is no longer the one with this ID
    #[arg(long, global = true, hide = true, value_name = "PID")]
    parent: Option<u32>,
    /// Access to the Hugging Face hub, for weights named `hf:…`.
    #[cfg(feature = "hub")]
    #[command(flatten)]
    hub: rankle_hub::Access,
}

#[derive(Subcommand)]
enum Command {
    Evaluate(Evaluate),
    Attack(Attack),
    Picture(Picture),
    Sanity(Sanity),
    Train(Train),
    Transfer(Transfer),
    Universal(Universal),
    Classify(Classify),
    Embed(Embed),
    Check(Check),
    Run(Run),
    Sweep(Sweep),
    Verify(Verify),
    Spread(Spread),
    Convert(Convert),
    Bench(Bench),
    Completions(Completions),
    Man(Man),
}

/// A dataset and a trained model, which are attacked or measured.
#[derive(Args)]
#[command(next_help_heading = heading::DATA)]
pub(crate) struct SystemArguments {
    /// The images: a published dataset, or folder:PATH with one sub-folder per class; folder,images=20%:PATH tests a fifth of
    /// each
    #[arg(long, value_name = "NAME", value_parser = names::Datasets, long_help = names::DATASETS)]
    pub(crate) dataset: Source,
    /// Folder with the files of published datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dataset_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) names: TensorNames,
}

/// A trained model and its data; the queries may be other images than the gallery.
#[derive(Args)]
pub(crate) struct SubjectArguments {
    #[command(flatten)]
    pub(crate) system: SystemArguments,
    #[command(flatten)]
    pub(crate) sets: SetArguments,
}

/// Datasets of the queries and of the gallery, where they are not the test images of `--dataset`.
#[derive(Args)]
#[command(next_help_heading = heading::DATA)]
pub(crate) struct SetArguments {
    /// Dataset whose test images are the queries; --dataset when left out. A query is left out of its own list only if it is a
    /// gallery image
    #[arg(long, value_name = "DATASET", value_parser = names::Datasets)]
    queries: Option<Source>,
    /// Dataset whose test images are the gallery, the images that are ranked; --dataset when left out, or its published gallery
    /// (inshop)
    #[arg(long, value_name = "DATASET", value_parser = names::Datasets)]
    gallery: Option<Source>,
}

impl SetArguments {
    /// `dataset` with these queries and this gallery.
    pub(crate) fn of(self, dataset: Source, dir: Option<PathBuf>) -> Data {
        let Self { queries, gallery } = self;
        Data { dataset, queries, gallery, dir }
    }
}

impl TryFrom<SystemArguments> for Key {
    type Error = anyhow::Error;
    fn try_from(arguments: SystemArguments) -> Result<Self> {
        let SystemArguments { dataset, dataset_dir, model, names } = arguments;
        model.model()?.key(Data::one(dataset, dataset_dir), names.strip_prefix)
    }
}

impl TryFrom<SubjectArguments> for Key {
    type Error = anyhow::Error;
    fn try_from(arguments: SubjectArguments) -> Result<Self> {
        let SubjectArguments { system: SystemArguments { dataset, dataset_dir, model, names }, sets } = arguments;
        model.model()?.key(sets.of(dataset, dataset_dir), names.strip_prefix)
    }
}

/// Prefix of the tensor names in a file of weights. No record stores it: the prefix is removed only where all names have it, so a
/// file can be read in one way only, and the hash of the file identifies the weights.
#[derive(Args)]
pub(crate) struct TensorNames {
    /// Remove PREFIX, as in model., from the names of the tensors in every file of weights where all names begin with it.
    /// module. and _orig_mod., which PyTorch adds, are removed without it
    #[arg(long, value_name = "PREFIX")]
    pub(crate) strip_prefix: Option<String>,
}

/// Architecture and distance of the victim, the model that is measured, where they differ from those of the attacked model.
#[derive(Args)]
pub(crate) struct VictimArguments {
    /// Architecture of the measured model (--to), if it differs from that of the attacked one
    #[arg(long, value_name = "NAME", value_parser = names::RANKERS)]
    to_model: Option<Architecture>,
    /// Distance of the measured model (--to), if it differs from that of the attacked one
    #[arg(long, value_name = "NAME", value_parser = names::DISTANCES)]
    to_distance: Option<Distance>,
}

impl VictimArguments {
    /// True if one of the options is given.
    pub(crate) fn is_given(&self) -> bool {
        self.to_model.is_some() || self.to_distance.is_some()
    }

    /// Key of the victim with these weights (a file or the folder of a model) on the data of `from`.
    ///
    /// # Errors
    /// As [`ModelOptions::model`] and [`Model::key`](crate::model_arguments::Model::key).
    pub(crate) fn key(&self, from: &Key, weights: PathBuf, override_card: bool) -> Result<Key> {
        let said = ModelOptions {
            options: ["--to", "--to-distance"],
            names: names::RANKERS,
            model: self.to_model.map(ModelName::Architecture),
            weights: Some(weights),
            distance: self.to_distance,
            override_card,
        };
        let Key { data, prefix, model, distance, .. } = from.clone();
        said.model(Some((model.architecture(), distance)))?.key(data, prefix)
    }
}

const MOST_THREADS: usize = 1024;

/// Default number of attacked images.
pub(crate) const IMAGES: NonZero<usize> = NonZero::new(1000).expect("above zero");

impl Arguments {
    /// Starts the threads and runs the subcommand.
    ///
    /// # Errors
    /// Those of the subcommand; [`crate::stop::Stop`] where the exit code is not 1.
    pub(crate) fn run(self) -> Result<()> {
        let device = self.global.device;
        let cores = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let threads = self.global.threads.unwrap_or_else(cores).get();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.with_context(|| format!("{threads} threads cannot be started: ask for fewer with --threads"))?;
        if let Some(Err(best)) = self.global.instruction_set.map(Isa::make_best) {
            return Err(Stop::usage(format!("this process computes with {best} already")).into());
        }
        interrupt::watch(self.global.parent)?;
        foreign::start(self.global.foreign);
        system::leave_gradients_unchecked(self.global.no_gradient_check);
        #[cfg(feature = "hub")]
        crate::hub::start(self.global.hub);
        pool.install(|| match self.command {
            Command::Attack(command) => command.run(device),
            Command::Evaluate(command) => command.run(device),
            Command::Embed(command) => command.run(device),
            Command::Picture(command) => command.run(device),
            Command::Sanity(command) => command.run(device),
            Command::Train(command) => command.run(device),
            Command::Transfer(command) => command.run(device),
            Command::Universal(command) => command.run(device),
            Command::Run(command) => command.run(device),
            Command::Sweep(command) => command.run(device),
            Command::Verify(command) => command.run(device),
            Command::Spread(command) => command.run(),
            Command::Classify(command) => command.run(device),
            Command::Check(command) => command.run(),
            Command::Convert(command) => command.run(),
            Command::Bench(command) => command.run(device),
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
        })
    }
}

/// Parses the words of a subcommand, without its name.
///
/// # Errors
/// The message of the command line, in one line.
pub(crate) fn parsed<A: Args>(words: impl IntoIterator<Item = OsString>) -> Result<A> {
    let command = A::augment_args(clap::Command::new("rankle").no_binary_name(true));
    let parsed = command.try_get_matches_from(words).and_then(|matches| A::from_arg_matches(&matches));
    parsed.map_err(|error| anyhow!(rankle_cli::complaint(&error)))
}

/// The model with a linear layer of `embedding_size` outputs; unchanged if `None`.
///
/// # Errors
/// A model that takes no such layer, and a size that it cannot have.
pub(crate) fn sized(model: Architecture, embedding_size: Option<usize>) -> Result<Architecture, Stop> {
    let sized = embedding_size.map_or(Ok(model), |size| model.with(&format!("embedding-size={size}")));
    sized.map_err(|error| Stop::usage(error.to_string()))
}

/// Parser of a path that must end in `.png`.
pub(crate) fn png() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| if ends_in(&path, "png") { Ok(path) } else { Err("name a file that ends in .png") })
}

/// Parser of a path that must end in `.safetensors`.
pub(crate) fn safetensors() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match ends_in(&path, "safetensors") {
        true => Ok(path),
        false => Err("name a file that ends in .safetensors"),
    })
}

/// True if the path has this extension, in upper or lower case.
pub(crate) fn ends_in(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// Parses the radius of an L∞ ball, a number in `[0, 1]`: the largest change of a pixel.
pub(crate) fn epsilon(text: &str) -> Result<Threat, String> {
    let value = number(text).ok_or("it is no number; pixels are in [0, 1], so write 0.03 or 8/255")?;
    Threat::linf(value).map_err(|error| error.to_string())
}

/// Parses a finite number above zero.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    number(text).filter(|&value| value > 0.0 && value.is_finite()).ok_or("a number above 0 is needed".to_owned())
}

/// Parses a decimal number or a fraction, as in `8/255`.
pub(crate) fn number(text: &str) -> Option<f64> {
    match text.split_once('/') {
        Some((above, below)) => Some(above.parse::<f64>().ok()? / below.parse::<f64>().ok()?),
        None => text.parse().ok(),
    }
}

/// Parses a finite number that is not below zero.
pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&value: &f64| value >= 0.0 && value.is_finite())
        .ok_or("a number of at least 0 is needed".to_owned())
}

/// Parses a whole number above zero.
pub(crate) fn count(text: &str) -> Result<NonZero<usize>, String> {
    text.parse().map_err(|_| "a whole number of at least 1 is needed".to_owned())
}

/// Parses the name of an instruction set of this machine.
///
/// # Errors
/// A message for clap.
fn instruction_set(text: &str) -> Result<Isa, String> {
    let available = Isa::available();
    let names: Vec<String> = available.iter().map(Isa::to_string).collect();
    let found = available.into_iter().find(|isa| isa.to_string() == text);
    found.ok_or_else(|| format!("this machine has {}", names.join(", ")))
}

/// Parses a number of threads. More than any machine has is a typing error, and all of them would be started.
fn threads(text: &str) -> Result<NonZero<usize>, String> {
    let threads = count(text)?;
    if threads.get() > MOST_THREADS { Err(format!("at most {MOST_THREADS} threads can be asked for")) } else { Ok(threads) }
}

/// Parses a list of indices. Without a function of its own clap would require `From<OsStr>`.
pub(crate) fn indices(text: &str) -> Result<Indices, String> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
