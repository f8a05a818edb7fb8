//! `rankle attack`: one attack on one model.

mod saved;

use crate::arguments::{self, FormatArgument, SubjectArguments, heading};
use crate::attack_arguments::AttackArguments;
use crate::choice::Count;
use crate::device::Device;
use crate::system::Key;
use crate::{files, progress, table};
use anyhow::{Result, anyhow};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use rankle_eval::{Origin, RankedSubject, experiment};
use saved::{Destination, Made};
use std::num::NonZero;
use std::time::Instant;

/// Attack test images, and measure how far ranks in the lists change
///
/// Each query image ranks the gallery by the distance of the embeddings. Queries and gallery
/// are both the whole test split, unless --queries or --gallery name another dataset. An attack
/// changes one image, no pixel by more than --epsilon:
///
///   ca+ ca-        a gallery image, so that it rises or sinks in the lists of w target queries
///   qa+ qa-        a query, so that m target images of the gallery rise or sink in its list
///   sp-qa+ sp-qa-  as qa+ and qa-, while the nearest items keep their positions in front
///   es             a query, so that its embedding shifts as far as possible; no targets
///
/// w and m are --targets. A rank is a position in percent of the gallery: 0 is the top of a list,
/// about 50 is chance. The table has means over the images of the mean over their targets.
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub(crate) struct Attack {
    #[command(flatten)]
    system: SubjectArguments,
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
    /// Save the images: FILE.safetensors has all of them, clean and adversarial, as they were ranked, with their ranks; FILE.png
    /// the adversarial image, if one is attacked; a new or empty FOLDER/ a PNG for each and index.json. A PNG is rounded to 8
    /// bits, which changes ranks a little: --eight-bit ranks the rounded images
    #[arg(
        long,
        value_name = "PATH",
        value_parser = PathBufValueParser::new().try_map(Destination::new),
        help_heading = heading::OUTPUT
    )]
    save_adversarial: Option<Destination>,
    #[command(flatten)]
    answer: FormatArgument,
}

const EXAMPLES: &str = "\
Examples:
  rankle attack --dataset mnist --model models/mnist-c2f2-cosine-triplet --attack ca+ --epsilon 0.3

  Raise test image 100 in the list of test image 7, and save image 7 before and after:
  rankle attack --dataset mnist --model models/mnist-c2f2-cosine-triplet \\
      --attack qa+ --epsilon 0.1 --image-indices 7 --target-indices 100 --save-adversarial seven.safetensors";

impl Attack {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let experiment = self.attack.experiment()?;
        let choice = self.attack.choice(&experiment, Count::usual(self.images))?;
        let key: Key = self.system.try_into()?;
        key.check_search(experiment.search.kind())?;
        let saved = self.save_adversarial.as_ref();
        saved.zip(choice.image_count()).map_or(Ok(()), |(saved, images)| saved.check_count(images))?;
        let file = ("--save-adversarial", saved.and_then(Destination::file));
        let inputs = [key.inputs(), self.attack.inputs()].concat();
        files::check_outputs(&[file], &inputs)?;
        saved.map_or(Ok(()), |saved| saved.check_folder(&inputs))?;
        let bar = progress::bar(0);
        let subject = key.open(device, &bar)?;
        let (images, rows) = choice.images(&subject)?;
        saved.map_or(Ok(()), |saved| saved.check_count(images.len() as u64)).map_err(|stop| anyhow!("{stop}"))?;
        let experiment = experiment.with_targets(rows.set(experiment.spec.targets));
        self.attack.heed(&experiment);
        bar.set_length(experiment.cost(images.len()).saturating_add(subject.len() as u64));
        bar.set_message(format!("{} on {subject}", experiment.spec.attack));
        let ranked = RankedSubject::new(subject)?;
        let subject = ranked.subject();

        let start = Instant::now();
        let targets = rows.targets(&experiment, ranked.sets(), &images)?;
        let outcome = experiment.run(&ranked, &images, &targets, saved.is_some())?;
        let origin = Origin { chosen: rows.in_words(choice.image_words(&images)), ..Origin::default() };
        let inputs = experiment.inputs(subject, images.len(), origin);
        let record = subject.followed(experiment::record(subject, inputs, &outcome, start));
        progress::clear();
        // The numbers are printed first, so that a full disk does not lose them; a full standard output does not lose the file.
        let answered = table::answer(&record, self.answer.format);
        if let Some(saved) = saved {
            let (dataset, images, targets) = (subject.dataset(experiment.perturbs()), &*images, &targets);
            saved.write(&Made { dataset, images, targets, outcome: &outcome, record: &record })?;
        }
        answered
    }
}
