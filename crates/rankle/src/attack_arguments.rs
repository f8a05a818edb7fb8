//! What every command that attacks images asks for.

use crate::arguments;
use crate::choice::{Choice, Count};
use crate::files::Input;
use crate::indices::Indices;
use crate::names;
use crate::search::{self, Remedy};
use crate::stop::Stop;
use crate::threat_arguments::ThreatArguments;
use crate::variant::VariantArguments;
use clap::Args;
use rankle_eval::{Experiment, experiment};
use rankle_record::{AttackId, AttackSpec, Protocol, Search};
use std::num::NonZero;

/// An attack: what to move, how far, and where to search.
#[derive(Args)]
pub(crate) struct AttackArguments {
    /// What to move
    #[arg(long, value_name = "NAME", value_parser = names::ATTACKS)]
    attack: AttackId,
    /// How many queries or candidates at once, for each image; 1 when left out, meaningless for es
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    targets: Option<NonZero<usize>>,
    #[command(flatten)]
    threat: ThreatArguments,
    /// The seed of the images, the targets and the starts
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Whose definitions: those of the paper, or corrected ones with a stronger search
    #[arg(long, value_name = "NAME", default_value_t = Protocol::Paper, value_parser = names::PROTOCOLS)]
    protocol: Protocol,
    /// Rank the image as a saved file would have it, rounded to 1/255
    #[arg(long)]
    eight_bit: bool,
    /// How many images at once; memory grows with it, no result depends on it
    #[arg(long, value_name = "N", default_value_t = default_batch(), value_parser = arguments::count, allow_negative_numbers = true)]
    batch_size: NonZero<usize>,
    #[command(flatten)]
    search: SearchArguments,
    #[command(flatten)]
    variant: VariantArguments,
    #[command(flatten)]
    chosen: Chosen,
}

/// Where the search shall differ from what the protocol prescribes.
#[derive(Args, Clone, Copy)]
#[command(next_help_heading = "Search (the protocol's own when left out)")]
struct SearchArguments {
    /// How far an image moves in one step, in the norm of the radius: every pixel by so much, as in 0.01 or 1/255
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
}

/// Indices or names of test images in the place of what the seed would choose.
#[derive(Args)]
#[command(next_help_heading = "Explicit choices (as in 0-15,20 with inclusive ranges, mug-000/3.jpg, or @FILE with such lines)")]
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

impl SearchArguments {
    fn chosen(self) -> Search {
        let Self { step, iterations, random_start, restarts } = self;
        let [iterations, restarts] = [iterations, restarts].map(|count| count.map(NonZero::get));
        Search { step, iterations, random_start, restarts }
    }
}

fn default_batch() -> NonZero<usize> {
    NonZero::new(experiment::BATCH).unwrap_or(NonZero::<usize>::MIN)
}

impl AttackArguments {
    /// The attack as the arguments describe it.
    pub(crate) fn spec(&self) -> AttackSpec {
        let plain = self.threat.of(AttackSpec::new(self.attack, 0.0, self.protocol, self.seed));
        AttackSpec {
            targets: self.targets.map_or(plain.targets, |targets| if self.attack.has_targets() { targets.get() } else { 0 }),
            search: self.search.chosen(),
            options: self.variant.chosen(),
            eight_bit: self.eight_bit,
            ..plain
        }
    }

    /// The attack with all its numbers, checked.
    ///
    /// # Errors
    /// [`Stop`] where the arguments contradict one another.
    pub(crate) fn experiment(&self) -> Result<Experiment, Stop> {
        let experiment = Experiment::new(&self.spec()).map_err(Stop::usage)?;
        Ok(Experiment { batch_size: self.batch_size.get(), ..experiment })
    }

    /// The lists that are read from files.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let Chosen { image_indices, target_indices, preserved_indices } = &self.chosen;
        let lists = [
            ("--image-indices", image_indices),
            ("--target-indices", target_indices),
            ("--preserved-indices", preserved_indices),
        ];
        lists.into_iter().filter_map(|(option, list)| list.as_ref()?.input(option)).collect()
    }

    /// What it may do to an image.
    pub(crate) fn threat(&self) -> &ThreatArguments {
        &self.threat
    }

    /// Warns where the search cannot do what its radius promises.
    pub(crate) fn heed(&self, experiment: &Experiment) {
        search::heed(&experiment.search, self.search.chosen(), Remedy::Options);
    }

    /// The images and targets, as far as the arguments tell; `count` many where they are not listed.
    ///
    /// # Errors
    /// [`Stop`] where the arguments contradict one another.
    pub(crate) fn choice(&self, experiment: &Experiment, count: Count) -> Result<Choice, Stop> {
        let Chosen { image_indices, target_indices, preserved_indices } = &self.chosen;
        if target_indices.is_some() && !self.attack.has_targets() {
            return Err(Stop::usage("--target-indices: es has no targets; leave them out or choose another attack"));
        }
        if preserved_indices.is_some() && !matches!(self.attack, AttackId::PreservingQuery(_)) {
            return Err(Stop::usage(format!(
                "--preserved-indices are for sp-qa+ and sp-qa-; {} keeps nothing in front",
                self.attack
            )));
        }
        let choice = Choice {
            images: image_indices.clone(),
            targets: target_indices.clone(),
            preserved: preserved_indices.clone(),
            count,
            set: self.targets.map(NonZero::get),
            seed: experiment.seed(),
            role: experiment.perturbs(),
        };
        choice.check_counts()?;
        Ok(choice)
    }
}
