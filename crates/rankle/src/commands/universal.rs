//! `rankle universal`: one perturbation for many images.

mod saved;

use crate::arguments::{self, VictimArguments};
use crate::device::Device;
use crate::files::Input;
use crate::names::{self, Format};
use crate::search::{self, Remedy};
use crate::stop::Stop;
use crate::system::Key;
use crate::threat_arguments::ThreatArguments;
use crate::{arguments::SubjectArguments, files, progress, table};
use anyhow::Result;
use clap::Args;
use rankle_core::{Distance, Embedder as _, Role};
use rankle_eval::universal::{self, Made};
use rankle_eval::{Experiment, Origin, RankedSubject, transfer};
use rankle_record::{AttackId, AttackOptions, AttackSpec, Protocol, Record, Search, SharedBy};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

/// Compute perturbations that many images share, and measure what they do to images they were not computed on.
///
/// Of each batch every other image is seen by the perturbation, the rest is unseen. Each perturbation has one target,
/// drawn by the seed: with ca+ and ca- all images shall rise or sink in its list, with qa+ and qa- it shall rise or
/// sink in theirs. Of minus attacks only the images nearest to the target are measured, 1 % of each half: 5 of 500.
///
/// In the search of the paper all images of a batch have a say in how the perturbation is clipped, so that the unseen
/// ones are not quite unseen; with --protocol strict they are.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Universal {
    #[command(flatten)]
    system: SubjectArguments,
    /// What to move: ca+, ca-, qa+ or qa-
    #[arg(long, value_name = "NAME", value_parser = names::ATTACKS)]
    attack: AttackId,
    #[command(flatten)]
    threat: ThreatArguments,
    /// How many images a batch has
    #[arg(long, value_name = "N", default_value = "1000", value_parser = arguments::count, allow_negative_numbers = true)]
    batch: NonZero<usize>,
    /// How many batches, sampled by the seed
    #[arg(long, value_name = "N", default_value = "1", value_parser = arguments::count, allow_negative_numbers = true)]
    batches: NonZero<usize>,
    /// How many perturbations for each batch, each with a target of its own
    #[arg(long, value_name = "N", default_value = "10", value_parser = arguments::count, allow_negative_numbers = true)]
    perturbations: NonZero<usize>,
    /// The size of the paper: all images, in batches of 1000 (100 for euclidean), a tenth as many perturbations each; hours
    #[arg(long, conflicts_with_all = ["batch", "batches", "perturbations"])]
    full: bool,
    /// Measure on this model instead: a file of weights, or the folder that `rankle train` left
    #[arg(long, value_name = "FILE|FOLDER")]
    to: Option<PathBuf>,
    #[command(flatten)]
    victim: VictimArguments,
    /// The seed of the images and the targets
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Whose definitions: those of the paper, or corrected ones
    #[arg(long, value_name = "NAME", default_value_t = Protocol::Paper, value_parser = names::PROTOCOLS)]
    protocol: Protocol,
    /// Rank the images as saved files would have them, rounded to 1/255
    #[arg(long)]
    eight_bit: bool,
    /// How far the perturbation moves in one step, in the norm of the radius; 2/255 when left out, with --norm l2 a fortieth of it
    #[arg(long, value_name = "S", value_parser = arguments::positive, allow_negative_numbers = true)]
    step: Option<f64>,
    /// How many steps; 100 when left out
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    iterations: Option<NonZero<usize>>,
    /// Write the perturbations with their targets and ranks to this safetensors file
    #[arg(long, value_name = "FILE", value_parser = arguments::safetensors())]
    save: Option<PathBuf>,
    /// Draw the perturbations, ten at the most, each with a few unseen images, into this PNG
    #[arg(long, value_name = "FILE", value_parser = arguments::png())]
    picture: Option<PathBuf>,
    /// On standard output: a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
}

/// Perturbations that are not written yet, and their record.
pub(crate) struct Perturbations {
    record: Record,
    measured: RankedSubject,
    perturbed: Role,
    made: Vec<Made>,
    threat: ThreatArguments,
    save: Option<PathBuf>,
    picture: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Example: ten perturbations, each for 500 images, and their picture
  rankle universal --dataset mnist --model c2f2 --weights model.safetensors --distance cosine \\
      --attack ca+ --epsilon 0.3 --picture universal.png";

impl Universal {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let format = self.format;
        let made = self.make(device)?;
        progress::clear();
        // The numbers first, as in `rankle attack`.
        let answered = table::answer(&made.record, format);
        made.write()?;
        answered
    }

    /// Computes the perturbations and measures them; nothing is written yet.
    ///
    /// # Errors
    /// When data or weights cannot be read, or a file could not be written; an interrupt.
    pub(crate) fn make(self, device: Device) -> Result<Perturbations> {
        if self.to.is_none() && self.victim.is_given() {
            return Err(Stop::usage("--to-model and --to-distance describe the model of --to, which is missing").into());
        }
        let (batch, shared) =
            (self.batch.get(), SharedBy { batches: self.batches.get(), perturbations: self.perturbations.get() });
        let asked = batch.checked_mul(shared.batches).ok_or_else(|| Stop::usage("--batches: so many images are no number"))?;
        let chosen = Search { step: self.step, iterations: self.iterations.map(NonZero::get), ..Search::default() };
        let plain = self.threat.of(AttackSpec::new(self.attack, 0.0, self.protocol, self.seed));
        let spec = AttackSpec { search: chosen, eight_bit: self.eight_bit, universal: Some(shared), ..plain };
        spec.check_universal(asked).map_err(Stop::usage)?;
        let override_card = self.system.system.model.override_card;
        let from: Key = self.system.try_into()?;
        let to = self.to.as_ref().map(|path| Input::new("--to", path));
        let inputs: Vec<Input> = from.inputs().into_iter().chain(to).collect();
        files::check_outputs(&[("--save", self.save.as_deref()), ("--picture", self.picture.as_deref())], &inputs)?;

        let bar = progress::bar(0);
        let to = self.to.map(|weights| self.victim.key(&from, weights, override_card)).transpose()?;
        let (from, to) = from.open_beside(to, device, &bar)?;
        let role = rankle_attacks::build(self.attack, 1, AttackOptions::default()).perturbs();
        let (count, shared) = match self.full {
            true => papers(from.embedder().distance(), from.dataset(role).len()),
            false => (asked, shared),
        };
        let spec = AttackSpec { universal: Some(shared), ..spec };
        spec.check_universal(count).map_err(anyhow::Error::msg)?;
        let experiment = Experiment::new(&spec).map_err(anyhow::Error::msg)?;
        universal::check_room(&experiment, count, &from)?;
        let images = from.sample(role, experiment.seed(), count)?;
        search::heed(&experiment.search, chosen, Remedy::Options);
        bar.set_length(universal::cost(&experiment, count).saturating_add(2 * from.len() as u64));
        bar.set_message(format!("universal {} on {from}", self.attack));
        let (from, to) = (RankedSubject::new(from)?, to.map(RankedSubject::new).transpose()?);

        let start = Instant::now();
        let made = universal::run(&experiment, &from, to.as_ref(), &images)?;
        let mut inputs = experiment.inputs(to.as_ref().unwrap_or(&from).subject(), count, Origin::default());
        inputs.cell.from = to.as_ref().map(|_| transfer::source(from.subject()));
        let record = universal::record(to.as_ref().unwrap_or(&from).subject(), inputs, &made, start);
        let (record, measured) = (from.subject().followed(record), to.unwrap_or(from));
        Ok(Perturbations { record, measured, perturbed: role, made, threat: self.threat, save: self.save, picture: self.picture })
    }
}

impl Perturbations {
    /// Writes the files that were asked for.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) fn write(&self) -> Result<()> {
        let Self { record, measured, perturbed, made, threat, save, picture } = self;
        save.as_ref().map_or(Ok(()), |file| saved::tensors(file, made))?;
        picture.as_ref().map_or(Ok(()), |file| saved::picture(file, measured, record, threat, *perturbed, made))
    }
}

/// The paper's size: how many of all images, in which batches, with how many perturbations (METHOD.md 10).
fn papers(distance: Distance, images: usize) -> (usize, SharedBy) {
    let batch = match distance {
        Distance::Cosine => 1000,
        Distance::Euclidean => 100,
    };
    let batch = batch.min(images);
    let batches = images / batch.max(1);
    (batches * batch, SharedBy { batches, perturbations: (batch / 10).max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_size_is_that_of_its_batches() {
        assert_eq!(papers(Distance::Cosine, 10_000), (10_000, SharedBy { batches: 10, perturbations: 100 }));
        assert_eq!(papers(Distance::Euclidean, 10_000), (10_000, SharedBy { batches: 100, perturbations: 10 }));
        assert_eq!(papers(Distance::Cosine, 2_500), (2_000, SharedBy { batches: 2, perturbations: 100 }));
        assert_eq!(papers(Distance::Cosine, 7), (7, SharedBy { batches: 1, perturbations: 1 }));
    }
}
