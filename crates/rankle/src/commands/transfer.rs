//! `rankle transfer`: attacks on one model, measured on another.

use crate::arguments::{self, FormatArgument, SetArguments, TensorNames, VictimArguments, heading};
use crate::attack_arguments::AttackArguments;
use crate::choice::Count;
use crate::device::Device;
use crate::model_arguments::{ModelName, ModelOptions};
use crate::names;
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

/// Attack test images on one model, and measure how far ranks change in the lists of another.
///
/// The attacks are those of `rankle attack --help`: ca+ and ca- change a gallery image, which rises or sinks in the lists of its
/// target queries; all others change a query, in whose list targets move. Each model ranks its own embeddings of the gallery by
/// its own distance. The targets are the same images for both models; those of minus attacks are near the top of the lists of the
/// measured model. A rank is a position in percent of the gallery: 0 is the top of a list, about 50 is chance.
#[derive(Args)]
#[command(next_help_heading = heading::DATA, after_help = EXAMPLES)]
pub(crate) struct Transfer {
    /// The images: a published dataset, or folder:PATH with one sub-folder per class
    #[arg(long, value_name = "NAME", value_parser = names::Datasets, long_help = names::DATASETS)]
    dataset: Source,
    /// Folder with the files of published datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    #[command(flatten)]
    sets: SetArguments,
    /// The attacked model: a folder that `rankle train` wrote, a file of weights, then with --model and --distance, or
    /// onnx:FILE or exec:COMMAND, then with --distance
    #[arg(long, value_name = "FOLDER|FILE|onnx:FILE|exec:COMMAND", help_heading = heading::MODEL)]
    from: PathBuf,
    /// The measured model: a folder that `rankle train` wrote, a file of weights, onnx:FILE or exec:COMMAND
    #[arg(long, value_name = "FOLDER|FILE|onnx:FILE|exec:COMMAND", help_heading = heading::MODEL)]
    to: PathBuf,
    /// Architecture of the attacked model, with the size of its linear layer, if it has one: resnet18,embedding-size=128
    #[arg(long, value_name = "NAME", value_parser = names::RANKERS, help_heading = heading::MODEL)]
    model: Option<Architecture>,
    /// Distance that the attacked model was trained for
    #[arg(long, value_name = "NAME", value_parser = names::DISTANCES, help_heading = heading::MODEL)]
    distance: Option<Distance>,
    #[command(flatten, next_help_heading = heading::MODEL)]
    victim: VictimArguments,
    /// Let these options win where they contradict the card of a model; otherwise that is an error
    #[arg(long)]
    override_card: bool,
    #[command(flatten)]
    names: TensorNames,
    #[command(flatten)]
    attack: AttackArguments,
    /// Number of images to attack, sampled by the seed; 1000 when left out, or all if there are fewer
    #[arg(
        long,
        value_name = "N",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        conflicts_with = "image_indices",
        help_heading = heading::IMAGES,
        display_order = 0
    )]
    images: Option<NonZero<usize>>,
    #[command(flatten)]
    answer: FormatArgument,
}

const EXAMPLES: &str = "\
Example: images made against a plain model, measured on a defended one
  rankle transfer --dataset mnist --from models/mnist-c2f2-cosine-triplet \\
      --to models/mnist-c2f2-cosine-triplet-est --attack ca+ --epsilon 0.3";

impl Transfer {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let experiment = self.attack.experiment()?;
        let choice = self.attack.choice(&experiment, Count::usual(self.images))?;
        let said = ModelOptions {
            options: ["--from", "--distance"],
            names: names::RANKERS,
            model: self.model.map(ModelName::Architecture),
            weights: Some(self.from),
            distance: self.distance,
            override_card: self.override_card,
        };
        let from = said.model(None)?.key(self.sets.of(self.dataset, self.dataset_dir), self.names.strip_prefix)?;
        from.check_search(experiment.search.kind())?;
        let to = self.victim.key(&from, self.to, self.override_card)?;
        let bar = progress::bar(0);
        let (from, to) = from.open_beside(Some(to), device, &bar)?;
        let to = to.context("two models were named")?;
        let (images, rows) = choice.images(&to)?;
        let experiment = experiment.with_targets(rows.set(experiment.spec.targets));
        self.attack.heed(&experiment);
        bar.set_length(transfer::cost(&experiment, images.len()).saturating_add(2 * to.len() as u64));
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
        table::answer(&record, self.answer.format)
    }
}
