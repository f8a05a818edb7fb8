//! The command line: what every sub-command has in common.

use crate::commands::{
    Attack, Bench, Check, Classify, Completions, Convert, Embed, Evaluate, Man, Picture, Run, Sanity, Spread, Sweep, Train,
    Transfer, Universal, Verify,
};
use crate::data::Data;
use crate::device::Device;
use crate::indices::Indices;
use crate::model_arguments::{ModelArguments, ModelName, Said};
use crate::stop::Stop;
use crate::system::{self, Key};
use crate::{interrupt, names};
use anyhow::{Context, Result, anyhow};
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use rankle_attacks::Threat;
use rankle_core::Distance;
use rankle_data::Source;
use rankle_models::Architecture;
use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// Attack, defend and measure image-ranking systems.
///
/// Results go to standard output (with --format json one object and nothing else), everything else to standard error.
/// Exit codes: 0 done; 1 a file, data or the machine stood in the way; 2 the arguments are wrong; 130 interrupted.
#[derive(Parser)]
#[command(name = "rankle", version, max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
pub(crate) struct Global {
    /// How many threads; all cores when left out. No result depends on it
    #[arg(long, global = true, value_name = "N", value_parser = threads, allow_negative_numbers = true, help_heading = "Everywhere")]
    threads: Option<NonZero<usize>>,
    /// Where to compute: cpu, cuda[:N] or metal. This version's models run on the CPU
    #[arg(long, global = true, value_name = "DEVICE", default_value_t = Device::Cpu, help_heading = "Everywhere")]
    device: Device,
    /// Say more on standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub(crate) verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub(crate) quiet: bool,
    /// Follow the gradients of models that go through automatic differentiation without comparing them with differences first
    #[arg(long, global = true, help_heading = "Everywhere")]
    no_gradient_check: bool,
    /// End as after Ctrl-C when the parent process is not the one of this number any more
    #[arg(long, global = true, hide = true, value_name = "PID")]
    parent: Option<u32>,
    /// For weights that are named by their place on the hub
    #[cfg(feature = "hub")]
    #[command(flatten)]
    hub: rankle_hub::Access,
}

#[derive(Subcommand)]
enum Command {
    Attack(Attack),
    Evaluate(Evaluate),
    Embed(Embed),
    Picture(Picture),
    Sanity(Sanity),
    Train(Train),
    Transfer(Transfer),
    Universal(Universal),
    Run(Run),
    Sweep(Sweep),
    Verify(Verify),
    Spread(Spread),
    Classify(Classify),
    Check(Check),
    Convert(Convert),
    Bench(Bench),
    Completions(Completions),
    Man(Man),
}

/// Data and a model that was trained: what is attacked or measured.
#[derive(Args)]
pub(crate) struct SystemArguments {
    /// The images; folder:PATH has a sub-folder per class, and folder,images=20%:PATH tests a fifth of each
    #[arg(long, value_name = "NAME", value_parser = names::Datasets, long_help = names::DATASETS)]
    pub(crate) dataset: Source,
    /// The folder with the files of the dataset, and of --queries and --gallery; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dataset_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) names: TensorNames,
}

/// Data and a model that was trained, where queries need not be gallery images.
#[derive(Args)]
pub(crate) struct SubjectArguments {
    #[command(flatten)]
    pub(crate) system: SystemArguments,
    #[command(flatten)]
    pub(crate) sets: SetArguments,
}

/// Who asks, and what is ranked.
#[derive(Args)]
pub(crate) struct SetArguments {
    /// Another dataset whose test images are the queries; those of --dataset when left out. A query that is no gallery image has nothing
    /// left out of its list
    #[arg(long, value_name = "DATASET", value_parser = names::Datasets)]
    queries: Option<Source>,
    /// Another dataset whose test images are ranked; those of --dataset when left out, or its gallery where it has one (inshop)
    #[arg(long, value_name = "DATASET", value_parser = names::Datasets)]
    gallery: Option<Source>,
}

impl SetArguments {
    /// The images that they name beside a dataset.
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

/// How the tensors of weights from elsewhere are called. No record tells of it: a prefix is taken off where all names have it, so
/// that a file has one reading only, and its hash says which.
#[derive(Args)]
pub(crate) struct TensorNames {
    /// Take PREFIX off the names of the tensors, as in model., in every file of weights where all names begin with it.
    /// PyTorch's own (module. and _orig_mod.) go by themselves
    #[arg(long, value_name = "PREFIX")]
    pub(crate) strip_prefix: Option<String>,
}

/// A second model, on which is measured, where it differs from the first.
#[derive(Args)]
pub(crate) struct VictimArguments {
    /// The architecture of the model on which is measured, where it is another
    #[arg(long, value_name = "NAME", value_parser = names::RANKERS)]
    to_model: Option<Architecture>,
    /// The distance of the model on which is measured, where it is another
    #[arg(long, value_name = "NAME", value_parser = names::DISTANCES)]
    to_distance: Option<Distance>,
}

impl VictimArguments {
    /// Whether anything was said.
    pub(crate) fn is_given(&self) -> bool {
        self.to_model.is_some() || self.to_distance.is_some()
    }

    /// The system with these weights, a file or a model's folder, on the data of `from`.
    ///
    /// # Errors
    /// As [`Said::model`] and [`Model::key`](crate::model_arguments::Model::key).
    pub(crate) fn key(&self, from: &Key, weights: PathBuf, override_card: bool) -> Result<Key> {
        let said = Said {
            options: ["--to", "--to-distance"],
            names: names::RANKERS,
            model: self.to_model.map(ModelName::Architecture),
            weights: Some(weights),
            distance: self.to_distance,
            override_card,
        };
        let Key { data, prefix, model, distance, .. } = from.clone();
        said.model(Some((model, distance)))?.key(data, prefix)
    }
}

const MOST_THREADS: usize = 1024;

/// How many images are attacked when nothing else is said.
pub(crate) const IMAGES: NonZero<usize> = NonZero::new(1000).expect("above zero");

impl Arguments {
    /// Checks what the arguments show, then does what they ask for.
    ///
    /// # Errors
    /// [`crate::stop::Stop`] where the exit code is not 1.
    pub(crate) fn run(self) -> Result<()> {
        let device = self.global.device;
        let cores = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let threads = self.global.threads.unwrap_or_else(cores).get();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.with_context(|| format!("{threads} threads cannot be started: ask for fewer with --threads"))?;
        interrupt::watch(self.global.parent)?;
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

/// A sub-command of these words, without its name.
///
/// # Errors
/// One line for what the command line would refuse.
pub(crate) fn parsed<A: Args>(words: impl IntoIterator<Item = OsString>) -> Result<A> {
    let command = A::augment_args(clap::Command::new("rankle").no_binary_name(true));
    let parsed = command.try_get_matches_from(words).and_then(|matches| A::from_arg_matches(&matches));
    parsed.map_err(|error| anyhow!(rankle_cli::complaint(&error)))
}

/// A model with a linear layer of so many numbers, where that is asked for.
///
/// # Errors
/// One line for a model without such a layer, and for a number that it cannot have.
pub(crate) fn sized(model: Architecture, embedding_size: Option<usize>) -> Result<Architecture, Stop> {
    let sized = embedding_size.map_or(Ok(model), |size| model.with(&format!("embedding-size={size}")));
    sized.map_err(|error| Stop::usage(error.to_string()))
}

/// The name of a picture; what ends in anything else is refused.
pub(crate) fn png() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| if ends_in(&path, "png") { Ok(path) } else { Err("name a file that ends in .png") })
}

/// The name of a file of tensors; what ends in anything else is refused.
pub(crate) fn safetensors() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match ends_in(&path, "safetensors") {
        true => Ok(path),
        false => Err("name a file that ends in .safetensors"),
    })
}

/// Whether a file has this extension, in upper or lower case.
pub(crate) fn ends_in(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// How far every pixel may move.
///
/// # Errors
/// One line for what is no number and for what is outside of `[0, 1]`.
pub(crate) fn epsilon(text: &str) -> Result<Threat, String> {
    let value = number(text).ok_or("it is no number; pixels are in [0, 1], so write 0.03 or 8/255")?;
    Threat::linf(value).map_err(|error| error.to_string())
}

/// A number above zero.
///
/// # Errors
/// One line for everything else.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    number(text).filter(|&value| value > 0.0 && value.is_finite()).ok_or("a number above 0 is needed".to_owned())
}

/// A decimal number, or a fraction as in `8/255`.
pub(crate) fn number(text: &str) -> Option<f64> {
    match text.split_once('/') {
        Some((above, below)) => Some(above.parse::<f64>().ok()? / below.parse::<f64>().ok()?),
        None => text.parse().ok(),
    }
}

/// A number that is not below zero.
///
/// # Errors
/// One line for everything else.
pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&value: &f64| value >= 0.0 && value.is_finite())
        .ok_or("a number of at least 0 is needed".to_owned())
}

/// How many of something.
///
/// # Errors
/// One line for zero and for what is no number.
pub(crate) fn count(text: &str) -> Result<NonZero<usize>, String> {
    text.parse().map_err(|_| "a whole number of at least 1 is needed".to_owned())
}

/// How many threads: more than any machine has are a slip of the pen, and would be started.
///
/// # Errors
/// One line for what is no such number.
fn threads(text: &str) -> Result<NonZero<usize>, String> {
    let threads = count(text)?;
    if threads.get() > MOST_THREADS { Err(format!("at most {MOST_THREADS} threads can be asked for")) } else { Ok(threads) }
}

/// A list of indices; an own function, for clap would otherwise ask for `From<OsStr>`.
///
/// # Errors
/// One line for what is no list.
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
