//! `rankle attack`: one attack on one model.

mod choice;
mod saved;
mod table;

use crate::arguments::{self, SystemArguments};
use crate::device::Device;
use crate::experiment::{self, Experiment, Origin};
use crate::indices::Indices;
use crate::names::{self, Format};
use crate::stop::Stop;
use crate::system::System;
use crate::{files, progress};
use anyhow::Result;
use choice::Choice;
use clap::Args;
use rankle_attacks::{Kind, Protocol};
use rankle_core::{Epsilon, Seed};
use rankle_data::Split;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

/// Attack test images and measure how their ranking changes.
///
/// Ranks are in percent of the gallery, 0 the top of a list: the mean over images of the
/// mean over their targets. The gallery is the whole clean test split.
///
///   ca+ ca-        the image rises or sinks in the lists of its target queries
///   qa+ qa-        the target candidates rise or sink in the list of the image
///   sp-qa+ sp-qa-  as qa+ and qa-, while the nearest items stay in front
///   es             the embedding moves as far as it can; no targets
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub(crate) struct Attack {
    #[command(flatten)]
    system: SystemArguments,
    /// What to move
    #[arg(long, value_name = "NAME", value_parser = names::ATTACKS)]
    attack: Kind,
    /// How many queries or candidates at once, for each image; 1 when left out, meaningless for es
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    targets: Option<NonZero<usize>>,
    /// How far a pixel may move; pixels are in [0, 1]
    #[arg(long, value_name = "E", value_parser = arguments::epsilon, allow_negative_numbers = true)]
    epsilon: Epsilon,
    /// How many images, sampled by the seed; 1000 when left out
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true, conflicts_with = "image_indices")]
    images: Option<NonZero<usize>>,
    /// The seed of the images, the targets and the starts
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Whose definitions: those of the paper, or corrected ones with a stronger search
    #[arg(long, value_name = "NAME", default_value_t = Protocol::Paper, value_parser = names::PROTOCOLS)]
    protocol: Protocol,
    /// Rank the image as a saved file would have it, rounded to 1/255
    #[arg(long)]
    eight_bit: bool,
    /// Write the images, before and after, with their ranks to this safetensors file
    #[arg(long, value_name = "FILE")]
    save_adversarial: Option<PathBuf>,
    /// How many images at once; memory grows with it, no result depends on it
    #[arg(long, value_name = "N", default_value_t = default_batch(), value_parser = arguments::count, allow_negative_numbers = true)]
    batch_size: NonZero<usize>,
    /// On standard output: a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
    #[command(flatten)]
    search: Search,
    #[command(flatten)]
    chosen: Chosen,
}

/// Where the search shall differ from what the protocol prescribes.
#[derive(Args)]
#[command(next_help_heading = "Search (the protocol's own when left out)")]
struct Search {
    /// How far a pixel moves in one step
    #[arg(long, value_name = "S", value_parser = arguments::positive, allow_negative_numbers = true)]
    step: Option<f64>,
    /// How many steps
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    iterations: Option<NonZero<usize>>,
    /// Start at a random point of the ball; --random-start=false for the clean image
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    random_start: Option<bool>,
    /// How many random starts; the best one counts
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    restarts: Option<NonZero<usize>>,
    /// The weight of the items that stay in front; only for sp-qa+ and sp-qa-
    #[arg(long, value_name = "X", value_parser = arguments::not_negative, allow_negative_numbers = true)]
    xi: Option<f64>,
}

/// Indices of test images in the place of what the seed would choose.
#[derive(Args)]
#[command(next_help_heading = "Explicit choices (as in 0-15,20 with inclusive ranges, or @FILE)")]
struct Chosen {
    /// The images to attack
    #[arg(long, value_name = "LIST", value_parser = arguments::indices, allow_hyphen_values = true)]
    image_indices: Option<Indices>,
    /// Their targets: as many for each image, row by row
    #[arg(long, value_name = "LIST", value_parser = arguments::indices, allow_hyphen_values = true)]
    target_indices: Option<Indices>,
    /// sp-qa+ and sp-qa-: the items that stay in front, row by row; the nearest when left out
    #[arg(long, value_name = "LIST", value_parser = arguments::indices, allow_hyphen_values = true)]
    preserved_indices: Option<Indices>,
}

const EXAMPLES: &str = "\
Examples:
  rankle attack --dataset mnist --model c2f2 --weights model.safetensors --distance cosine \\
      --attack ca+ --targets 1 --epsilon 0.3 --images 1000 --seed 0 --protocol paper --format json

  Raise test image 100 in the list that image 7 gives, and keep both images:
  rankle attack --dataset mnist --model c2f2 --weights model.safetensors --distance cosine \\
      --attack qa+ --image-indices 7 --target-indices 100 --epsilon 0.1 \\
      --save-adversarial seven.safetensors";

/// How many images are attacked when nothing else is said.
const IMAGES: NonZero<usize> = NonZero::new(1000).expect("above zero");

fn default_batch() -> NonZero<usize> {
    NonZero::new(crate::experiment::BATCH).unwrap_or(NonZero::<usize>::MIN)
}

impl Attack {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let experiment = self.experiment()?;
        let choice = self.choice(&experiment)?;
        if let Some(file) = &self.save_adversarial {
            files::check_writable(file)?;
        }
        let bar = progress::bar(0);
        let system = System::open(self.system.into(), Split::Test, device, bar.clone())?;
        let (images, rows) = choice.images(&system)?;
        let experiment = Experiment { set: rows.set(experiment.set), ..experiment };
        bar.set_length(system.dataset.len() as u64 + experiment.cost(images.len()));
        bar.set_message(format!("{} on {}", experiment.attack(), experiment::describe(&system)));
        let gallery = system.gallery()?;

        let start = Instant::now();
        let targets = rows.targets(&experiment, &gallery, &images)?;
        let outcome = experiment.run(&system, &gallery, &images, &targets, self.save_adversarial.is_some())?;
        let origin = Origin { chosen: rows.in_words(choice.image_words(&images)), ..Origin::default() };
        let record = experiment::record(&system, experiment.cell(&system, images.len(), origin)?, &outcome, start);
        let line = record.to_line()?;
        if let Some(file) = &self.save_adversarial {
            saved::write(file, &*system.dataset, &images, &targets, &outcome)?;
        }
        progress::clear();
        match self.format {
            Format::Json => progress::answer(&line),
            Format::Human => progress::answer(&table::Table(&record).to_string()),
        }
    }

    /// The attack with all its numbers, checked.
    fn experiment(&self) -> Result<Experiment, Stop> {
        let preserving = matches!(self.attack, Kind::PreservingQuery(_));
        if self.search.xi.is_some() && !preserving {
            return Err(Stop::usage(format!(
                "--xi weighs the items that sp-qa+ and sp-qa- keep in front; {} keeps none",
                self.attack
            )));
        }
        let set = self.targets.map_or(1, NonZero::get);
        let mut experiment = Experiment::new(self.attack, set, self.epsilon, self.protocol, Seed(self.seed));
        let search = &mut experiment.search;
        search.step = self.search.step.unwrap_or(search.step);
        search.iterations = self.search.iterations.map_or(search.iterations, NonZero::get);
        search.random_start = self.search.random_start.unwrap_or(search.random_start);
        let usual = if search.random_start { search.restarts } else { 1 };
        search.restarts = self.search.restarts.map_or(usual, NonZero::get);
        if search.restarts > 1 && !search.random_start {
            return Err(Stop::usage(format!(
                "--restarts {} are all alike from the clean image: add --random-start",
                search.restarts
            )));
        }
        experiment.variant.xi = self.search.xi;
        Ok(Experiment { eight_bit: self.eight_bit, batch_size: self.batch_size.get(), ..experiment })
    }

    /// The images and targets, as far as the arguments tell.
    fn choice(&self, experiment: &Experiment) -> Result<Choice, Stop> {
        let Chosen { image_indices, target_indices, preserved_indices } = &self.chosen;
        if target_indices.is_some() && self.attack == Kind::Shift {
            return Err(Stop::usage("--target-indices: es has no targets; leave them out or choose another attack"));
        }
        if preserved_indices.is_some() && !matches!(self.attack, Kind::PreservingQuery(_)) {
            return Err(Stop::usage(format!(
                "--preserved-indices are for sp-qa+ and sp-qa-; {} keeps nothing in front",
                self.attack
            )));
        }
        let choice = Choice {
            images: image_indices.clone(),
            targets: target_indices.clone(),
            preserved: preserved_indices.clone(),
            count: self.images.unwrap_or(IMAGES).get(),
            set: self.targets.map(NonZero::get),
            seed: experiment.seed,
        };
        choice.check_counts()?;
        Ok(choice)
    }
}
