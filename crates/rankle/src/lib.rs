//! The driver: attack, defend and measure image-ranking systems from the command line.
//!
//! This crate turns arguments into a checked plan, and the plan into calls of the libraries. It is the only one that reads
//! arguments and names files: attacks, models and data are elsewhere, the format of records is `rankle-report`'s. A whole
//! experiment, as a published table, is a plan file for `rankle run`.
//!
//! ```text
//! rankle train    --dataset mnist --model c2f2 --distance cosine --loss triplet --output models/mine
//! rankle evaluate --dataset mnist --model c2f2 --distance cosine --weights models/mine/model.safetensors
//! rankle attack   --dataset mnist --model c2f2 --distance cosine --weights models/mine/model.safetensors \
//!                 --attack ca+ --targets 1 --epsilon 0.3
//! ```
//!
//! Results go to standard output, with `--format json` as one JSON object and nothing else; everything said on the way goes to
//! standard error. Exit codes: 0 done; 1 a file, data or the machine stood in the way; 2 the arguments are wrong; 130
//! interrupted.
//!
//! [`run`] is the whole program, so it can be tried without a process of its own:
//!
//! ```
//! assert_eq!(rankle::run(["rankle", "bench", "--name", "c2f2-forward", "--seconds", "0.01", "--format", "json"]), 0);
//!
//! // Pixels are in [0, 1]: this is answered with one line that says so.
//! let model = ["--dataset", "mnist", "--model", "c2f2", "--distance", "cosine", "--weights", "w.safetensors"];
//! let attack = ["rankle", "attack", "--attack", "ca+", "--epsilon", "8"];
//! assert_eq!(rankle::run(attack.into_iter().chain(model)), 2);
//! ```

mod arguments;
mod attack_arguments;
mod called;
mod card;
mod choice;
mod commands;
mod data;
mod device;
mod files;
mod hub;
mod indices;
mod interrupt;
mod model_arguments;
mod names;
mod pass;
mod progress;
mod provenance;
mod search;
mod stop;
mod study;
mod sweep;
mod system;
mod table;
mod threat_arguments;
mod variant;
mod verify;
mod weights;

use arguments::Arguments;
use clap::Parser;
pub use rankle_attacks::CustomAttack;
use rankle_models::Architecture;
pub use rankle_models::Backbone;
pub use rankle_train::CustomLoss;
use rankle_train::Loss;
use std::ffi::OsString;

/// Runs the program with these arguments, the first of which is its own name, and returns its exit code.
pub fn run<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> u8 {
    run_with(Registry::default(), arguments)
}

/// What a program of one's own adds to this one.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Models, by whose names every command, plan, card and record knows them.
    pub backbones: Vec<Backbone>,
    /// Losses for `--loss`.
    pub losses: Vec<CustomLoss>,
    /// Attacks for `--attack`, plans and records.
    pub attacks: Vec<CustomAttack>,
}

impl Registry {
    /// # Errors
    /// One line for a name that cannot be, and for one that stands twice.
    fn register(self) -> rankle_core::Result<()> {
        let names: [Vec<&str>; 3] = [
            self.backbones.iter().map(|backbone| backbone.name).collect(),
            self.losses.iter().map(|loss| loss.name).collect(),
            self.attacks.iter().map(|attack| attack.declaration.name).collect(),
        ];
        let twice = |names: &Vec<&'static str>| {
            names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| *name)
        };
        if let Some(name) = names.iter().find_map(twice) {
            return Err(rankle_core::Error::Refused(format!(
                "the name '{name}' is registered twice: give each one a name of its own"
            )));
        }
        self.backbones.into_iter().try_for_each(|backbone| Architecture::register(backbone).map(drop))?;
        self.losses.into_iter().try_for_each(|loss| Loss::register(loss).map(drop))?;
        self.attacks.into_iter().try_for_each(|attack| attack.register().map(drop))
    }
}

/// As [`run`], of a program that knows more: its models, losses and attacks get every command, records and resuming included. The
/// gradients of its models are compared with differences before they are first followed. `crates/rankle/examples/own-model` is such a program.
pub fn run_with<A: Into<OsString> + Clone>(registry: Registry, arguments: impl IntoIterator<Item = A>) -> u8 {
    spare_the_cores();
    if let Err(error) = registry.register() {
        rankle_cli::say(stop::line(&error.into()));
        return 1;
    }
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return stop::refuse(&error),
    };
    progress::start(arguments.global.quiet, arguments.global.verbose);
    match arguments.run() {
        Ok(()) => 0,
        Err(error) => {
            progress::clear();
            rankle_cli::say(stop::line(&error));
            stop::code(&error)
        }
    }
}

/// The pool shares images out to threads, so a product within one image needs no threads of its own. Unless candle is told so, it
/// reads `/proc/cpuinfo` for each of the thousands of products of a foreign network, which takes longer than the products.
///
/// It is told by the environment, which no thread may read meanwhile: a program that has started others is left alone.
fn spare_the_cores() {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads == 1 {
        // SAFETY: no other thread runs.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
    }
}
