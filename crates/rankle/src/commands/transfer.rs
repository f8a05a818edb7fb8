//! `rankle transfer`: an attack on one model, measured on another.

use crate::arguments::{self, SetArguments, TensorNames, VictimArguments};
use crate::attack_arguments::AttackArguments;
use crate::choice::Count;
use crate::device::Device;
use crate::model_arguments::{ModelName, Said};
use crate::names::{self, Format};
use crate::{progress, table};
use anyhow::{Context, Result};
use clap::Args;
use rankle_attacks::target_gallery;
use rankle_core::Distance;
use rankle_data::Source;
use rankle_eval::{Origin, RankedSubject, Subject, transfer};
use rankle_models::Architecture;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

/// Attack test images on one model, and measure how their ranking changes in another one.
///
/// Each model ranks its own gallery by its own distance; the targets are the same images. Those of minus attacks are
/// near the top of the lists of the model that is measured. Ranks are in percent of the gallery, 0 the top of a list.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Transfer {
    /// The images
    #[arg(long, value_name = "NAME", value_parser = names::Datasets, long_help = names::DATASETS)]
    dataset: Source,
    /// The folder with the files of the dataset; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    #[command(flatten)]
    sets: SetArguments,
    /// The model that is attacked: the folder that `rankle train` left, or a file of weights, then with --model and --distance
    #[arg(long, value_name = "FOLDER|FILE")]
    from: PathBuf,
    /// Its architecture; with the size of a linear layer, if there is one: resnet18,embedding-size=128
    #[arg(long, value_name = "NAME", value_parser = names::RANKERS)]
    model: Option<Architecture>,
    /// The distance it was trained for
    #[arg(long, value_name = "NAME", value_parser = names::DISTANCES)]
    distance: Option<Distance>,
    /// The model on which is measured: a folder, or a file of weights
    #[arg(long, value_name = "FOLDER|FILE")]
    to: PathBuf,
    /// What is said here counts where the card of a model says something else
    #[arg(long)]
    override_card: bool,
    #[command(flatten)]
    victim: VictimArguments,
    #[command(flatten)]
    names: TensorNames,
    /// How many images, sampled by the seed; 1000 when left out, or all there are
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true, conflicts_with = "image_indices")]
    images: Option<NonZero<usize>>,
    /// On standard output: a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
    #[command(flatten)]
    attack: AttackArguments,
}

const EXAMPLES: &str = "\
Example:
  rankle transfer --dataset mnist --model c2f2 --distance cosine --from plain.safetensors --to defended.safetensors \\
      --attack ca+ --targets 1 --epsilon 0.3";

impl Transfer {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let experiment = self.attack.experiment()?;
        let choice = self.attack.choice(&experiment, Count::usual(self.images))?;
        let said = Said {
            options: ["--from", "--distance"],
            names: names::RANKERS,
            model: self.model.map(ModelName::Architecture),
            weights: Some(self.from),
            distance: self.distance,
            override_card: self.override_card,
        };
        let from = said.model(None)?.key(self.sets.of(self.dataset, self.dataset_dir), self.names.strip_prefix)?;
        let to = self.victim.key(&from, self.to, self.override_card)?;
        let bar = progress::bar(0);
        let (from, to) = from.open_beside(Some(to), device, &bar)?;
        let to = to.context("two models were named")?;
        let (images, rows) = choice.images(&to)?;
        let experiment = experiment.with_targets(rows.set(experiment.spec.targets));
        self.attack.heed(&experiment);
        bar.set_length(2 * to.len() as u64 + transfer::cost(&experiment, images.len()));
        let of = |subject: &Subject| format!("{} ({})", subject.identity.subject.model, subject.identity.subject.distance);
        bar.set_message(format!("{} from {} to {}", experiment.spec.attack, of(&from), of(&to)));
        let (from, to) = (RankedSubject::new(from)?, RankedSubject::new(to)?);

        let start = Instant::now();
        let sets = target_gallery(experiment.spec.attack, from.sets(), to.sets());
        let targets = rows.targets(&experiment, sets, &images)?;
        let outcome = transfer::run(&experiment, &from, &to, &images, &targets)?;
        let origin = Origin { chosen: rows.in_words(choice.image_words(&images)), ..Origin::default() };
        let mut inputs = experiment.inputs(to.subject(), images.len(), origin);
        inputs.cell.from = Some(transfer::source(from.subject()));
        let record = from.subject().followed(transfer::record(to.subject(), inputs, &outcome, start));
        progress::clear();
        table::answer(&record, self.format)
    }
}
