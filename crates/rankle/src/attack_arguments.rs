//! Options of the commands that attack single images: `attack`, `picture` and `transfer`.

use crate::arguments::{self, heading};
use crate::choice::{Choice, Count};
use crate::files::Input;
use crate::indices::Indices;
use crate::names;
use crate::search::{self, Remedy};
use crate::search_arguments::SearchArguments;
use crate::stop::Stop;
use crate::threat_arguments::ThreatArguments;
use crate::variant::VariantArguments;
use clap::Args;
use rankle_eval::{Experiment, experiment};
use rankle_record::{AttackId, AttackSpec, Protocol};
use std::num::NonZero;

/// An attack, its search, and the images and targets that it is run on.
#[derive(Args)]
#[command(next_help_heading = heading::ATTACK)]
pub(crate) struct AttackArguments {
    /// The attack: ca+ and ca- change a gallery image, qa+, qa-, sp-qa+ and sp-qa- a query; + raises, - lowers in the ranked
    /// lists. es shifts the embedding of a query
    #[arg(long, value_name = "NAME", value_parser = names::ATTACKS)]
    attack: AttackId,
    #[command(flatten)]
    threat: ThreatArguments,
    /// Number of targets of each image: w queries for ca+ and ca-, m candidates for the query attacks; 1 when left out, ignored
    /// by es
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    targets: Option<NonZero<usize>>,
    /// Definitions of targets, ranks and search: paper has those of the original code, strict corrects them and searches longer
    #[arg(long, value_name = "NAME", default_value_t = Protocol::Paper, value_parser = names::PROTOCOLS)]
    protocol: Protocol,
    /// Round adversarial images to 8 bits before ranking them, as saving to a file would
    #[arg(long)]
    eight_bit: bool,
    #[command(flatten)]
    search: SearchArguments,
    #[command(flatten)]
    variant: VariantArguments,
    /// Seed of the sampled images, their targets and the random starts
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, help_heading = heading::IMAGES)]
    seed: u64,
    #[command(flatten)]
    chosen: Chosen,
    /// Number of images perturbed at once; memory grows with it, no result depends on it
    #[arg(long, value_name = "N", default_value_t = default_batch(), value_parser = arguments::count, allow_negative_numbers = true)]
    batch_size: NonZero<usize>,
}

/// Lists of images, targets and preserved items that replace the seed's choice.
#[derive(Args)]
#[command(next_help_heading = heading::IMAGES)]
struct Chosen {
    /// The images to attack: indices, inclusive ranges and names of test images, as in 0-15,20,mug-000/3.jpg, or @FILE with such
    /// lines
    #[arg(long, value_name = "LIST", value_parser = arguments::indices, allow_hyphen_values = true)]
    image_indices: Option<Indices>,
    /// Their targets, the same number for each image: first those of the first image, then those of the second, and so on
    #[arg(long, value_name = "LIST", value_parser = arguments::indices, allow_hyphen_values = true)]
    target_indices: Option<Indices>,
    /// sp-qa+ and sp-qa-: the items that keep their positions, in the same order; the nearest ones when left out
    #[arg(long, value_name = "LIST", value_parser = arguments::indices, allow_hyphen_values = true)]
    preserved_indices: Option<Indices>,
}

fn default_batch() -> NonZero<usize> {
    NonZero::new(experiment::BATCH).unwrap_or(NonZero::<usize>::MIN)
}

impl AttackArguments {
    /// The spec of the attack.
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

    /// The checked experiment, with all numbers filled in.
    ///
    /// # Errors
    /// [`Stop`] where the arguments contradict one another.
    pub(crate) fn experiment(&self) -> Result<Experiment, Stop> {
        let experiment = Experiment::new(&self.spec()).map_err(Stop::usage)?;
        Ok(Experiment { batch_size: self.batch_size.get(), ..experiment })
    }

    /// Files that hold lists of indices.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let Chosen { image_indices, target_indices, preserved_indices } = &self.chosen;
        let lists = [
            ("--image-indices", image_indices),
            ("--target-indices", target_indices),
            ("--preserved-indices", preserved_indices),
        ];
        lists.into_iter().filter_map(|(option, list)| list.as_ref()?.input(option)).collect()
    }

    /// Radius and norm of the perturbations.
    pub(crate) fn threat(&self) -> &ThreatArguments {
        &self.threat
    }

    /// Warns of a search that cannot reach the edge of its ball, or whose steps are longer than the radius.
    pub(crate) fn heed(&self, experiment: &Experiment) {
        search::heed(&experiment.search, self.search.chosen(), Remedy::Options);
    }

    /// The choice of images and targets; `count` images where none are listed.
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
