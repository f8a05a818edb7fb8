//! Command line of rankle: attacks, defends and measures image-ranking systems.
//!
//! This crate parses arguments, checks them, and calls the libraries. A whole experiment, such as a published table, is a plan
//! file for `rankle run`. Left out, each in a crate of its own: attacks, models, datasets, training, studies, and the formats of
//! records and reports.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_eval`](../rankle_eval/index.html),
//! [`rankle_attacks`](../rankle_attacks/index.html), [`rankle_models`](../rankle_models/index.html),
//! [`rankle_data`](../rankle_data/index.html), [`rankle_train`](../rankle_train/index.html),
//! [`rankle_record`](../rankle_record/index.html), [`rankle_report`](../rankle_report/index.html),
//! [`rankle_cli`](../rankle_cli/index.html).
//!
//! ```text
//! rankle train    --dataset mnist --model c2f2 --distance cosine --loss triplet --output models/mine
//! rankle evaluate --dataset mnist --model c2f2 --distance cosine --weights models/mine/model.safetensors
//! rankle attack   --dataset mnist --model c2f2 --distance cosine --weights models/mine/model.safetensors \
//!                 --attack ca+ --targets 1 --epsilon 0.3
//! ```
//!
//! Results go to standard output; with `--format json` as one JSON object and nothing else. Progress, warnings and errors go to
//! standard error. Exit codes: 0 done; 1 a file, the data or the machine caused an error; 2 the arguments are wrong; 130
//! interrupted.
//!
//! [`run`] is the whole program as a function, so an example needs no process:
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
mod foreign;
mod hub;
mod indices;
mod interrupt;
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../../../METHOD.md")]
pub mod method {}
mod model_arguments;
mod names;
mod network;
mod pass;
mod progress;
mod provenance;
mod search;
mod search_arguments;
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

/// Runs the program on `arguments`, the first of which is the program's name, and returns the exit code.
pub fn run<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> u8 {
    run_with(Registry::default(), arguments)
}

/// Models, losses and attacks that another program adds to the command line.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Models. Commands, plans, cards and records refer to them by name.
    pub backbones: Vec<Backbone>,
    /// Losses for `--loss`.
    pub losses: Vec<CustomLoss>,
    /// Attacks for `--attack`, plans and records.
    pub attacks: Vec<CustomAttack>,
}

impl Registry {
    /// Registers every entry; a name that is not allowed or is registered twice is an error of one line.
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

/// Runs the program as [`run`] does, with the models, losses and attacks of `registry`. Every command, records and resuming
/// included, works with them. Before the gradient of such a model is first used, it is compared with difference quotients.
/// `crates/rankle/examples/own-model` is an example.
pub fn run_with<A: Into<OsString> + Clone>(registry: Registry, arguments: impl IntoIterator<Item = A>) -> u8 {
    spare_the_cores();
    keep_freed_memory();
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

/// Keeps freed memory of up to half a gigabyte for the next tensors. glibc would return each tensor of some megabytes to the system,
/// which clears its pages again for the next one: up to half the time of a convolution on large maps. The heaps that it has for further
/// threads are returned whatever the threshold, so all threads share the first one.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (setting, number) in [(libc::M_MMAP_THRESHOLD, 32 << 20), (libc::M_TRIM_THRESHOLD, 512 << 20), (libc::M_ARENA_MAX, 1)] {
        // SAFETY: sets a number of the allocator. A setting that it refuses changes nothing.
        unsafe { libc::mallopt(setting, number) };
    }
}

/// Tells candle, through `RAYON_NUM_THREADS`, to compute a product on one thread. The program's own pool gives whole images to
/// its threads, so a product within one image needs no more. Without the variable candle reads `/proc/cpuinfo` for each of the
/// thousands of products of a foreign network, which takes longer than the products.
///
/// No other thread may read the environment meanwhile, so a process that already has several threads is left alone.
fn spare_the_cores() {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads == 1 {
        // SAFETY: no other thread runs.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
    }
}
