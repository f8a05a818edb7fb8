//! `rankle attack`: one attack on one model.

mod saved;

use crate::arguments::{self, SubjectArguments};
use crate::attack_arguments::AttackArguments;
use crate::choice::Count;
use crate::device::Device;
use crate::names::{self, Format};
use crate::system::Key;
use crate::{files, progress, table};
use anyhow::{Result, anyhow};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use rankle_eval::{Origin, RankedSubject, experiment};
use saved::{Destination, Made};
use std::num::NonZero;
use std::time::Instant;

/// Attack test images and measure how their ranking changes.
///
/// Ranks are in percent of the gallery, 0 the top of a list: the mean over images of the
/// mean over their targets. Gallery and queries are the whole clean test split, unless
/// --gallery or --queries name others: ca+ and ca- perturb gallery images, all others queries.
///
///   ca+ ca-        the image rises or sinks in the lists of its target queries
///   qa+ qa-        the target candidates rise or sink in the list of the image
///   sp-qa+ sp-qa-  as qa+ and qa-, while the nearest items stay in front
///   es             the embedding moves as far as it can; no targets
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub(crate) struct Attack {
    #[command(flatten)]
    system: SubjectArguments,
    #[command(flatten)]
    attack: AttackArguments,
    /// How many images, sampled by the seed; 1000 when left out, or all there are
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true, conflicts_with = "image_indices")]
    images: Option<NonZero<usize>>,
    /// Keep the images: FILE.safetensors has them before and after, as they were ranked, with their ranks; FILE.png has the one that
    /// was attacked, a new or empty FOLDER/ a PNG for each and index.json. A PNG is rounded to 8 bits, which moves ranks a little:
    /// --eight-bit ranks the rounded images
    #[arg(long, value_name = "PATH", value_parser = PathBufValueParser::new().try_map(Destination::new))]
    save_adversarial: Option<Destination>,
    /// On standard output: a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  rankle attack --dataset mnist --model c2f2 --weights model.safetensors --distance cosine \\
      --attack ca+ --targets 1 --epsilon 0.3 --images 1000 --seed 0 --protocol paper --format json

  Raise test image 100 in the list that image 7 gives, and keep both images:
  rankle attack --dataset mnist --model c2f2 --weights model.safetensors --distance cosine \\
      --attack qa+ --image-indices 7 --target-indices 100 --epsilon 0.1 \\
      --save-adversarial seven.safetensors";

impl Attack {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let experiment = self.attack.experiment()?;
        let choice = self.attack.choice(&experiment, Count::usual(self.images))?;
        let key: Key = self.system.try_into()?;
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
        bar.set_length(subject.len() as u64 + experiment.cost(images.len()));
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
        // The numbers first: a disk that is full by now shall not cost them, nor a full standard output the file.
        let answered = table::answer(&record, self.format);
        if let Some(saved) = saved {
            let (dataset, images, targets) = (subject.dataset(experiment.perturbs()), &*images, &targets);
            saved.write(&Made { dataset, images, targets, outcome: &outcome, record: &record })?;
        }
        answered
    }
}
