//! `rankle universal`: perturbations that many images share.

mod saved;

use crate::arguments::{self, FormatArgument, VictimArguments, heading};
use crate::device::Device;
use crate::files::Input;
use crate::names;
use crate::search::{self, Remedy};
use crate::search_arguments::SearchArguments;
use crate::stop::Stop;
use crate::system::Key;
use crate::threat_arguments::ThreatArguments;
use crate::{arguments::SubjectArguments, files, progress, table};
use anyhow::Result;
use clap::Args;
use rankle_core::{Distance, Embedder as _, Role};
use rankle_eval::universal::{self, Made};
use rankle_eval::{Experiment, Origin, RankedSubject, transfer};
use rankle_record::{AttackId, AttackOptions, AttackSpec, Protocol, Record, SharedBy};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

/// Compute one perturbation for many images, and measure it on images that it has not seen.
///
/// A perturbation is computed on the seen half of a batch of images and measured on both halves. Each has one target, drawn by
/// the seed. ca+ and ca-: the images are gallery images, which rise or sink in the list of the target query. qa+ and qa-: the
/// images are queries, in whose lists the target rises or sinks. For minus attacks only the images nearest to the target are
/// measured, 1 % of each half: 5 of 500. Queries and gallery are the same test images, unless --queries or --gallery name another
/// dataset.
///
/// The search is pgd with --protocol paper and apgd with --protocol strict, unless --search names another one. pgd starts at no
/// perturbation and makes 100 steps of 2/255, with --norm l2 of epsilon/40. With --protocol paper both halves take part in clipping
/// its perturbation, so the unseen half is not quite unseen; with --protocol strict it is. The other searches treat the
/// perturbation as one image: they clip the perturbed images and leave the unseen half alone under both protocols. apgd makes 100
/// steps; a query of square embeds the whole seen half; standard runs apgd from no perturbation and from 3 random starts, then
/// square, then apgd from its result.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Universal {
    #[command(flatten)]
    system: SubjectArguments,
    /// Measure on this model instead: a folder that `rankle train` wrote, a file of weights, onnx:FILE or exec:COMMAND
    #[arg(long, value_name = "FILE|FOLDER|onnx:FILE|exec:COMMAND", help_heading = heading::MODEL)]
    to: Option<PathBuf>,
    #[command(flatten, next_help_heading = heading::MODEL)]
    victim: VictimArguments,
    /// The attack: ca+ or ca- for gallery images, qa+ or qa- for queries; + raises, - lowers
    #[arg(long, value_name = "NAME", value_parser = names::ATTACKS, help_heading = heading::ATTACK)]
    attack: AttackId,
    #[command(flatten)]
    threat: ThreatArguments,
    /// Definitions of targets and ranks, and clipping: paper has those of the original code, strict corrects them
    #[arg(
        long,
        value_name = "NAME",
        default_value_t = Protocol::Paper,
        value_parser = names::PROTOCOLS,
        help_heading = heading::ATTACK
    )]
    protocol: Protocol,
    /// Round adversarial images to 8 bits before ranking them, as saving to a file would
    #[arg(long, help_heading = heading::ATTACK)]
    eight_bit: bool,
    #[command(flatten)]
    search: SearchArguments,
    /// Number of images in a batch
    #[arg(
        long,
        value_name = "N",
        default_value = "1000",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        help_heading = heading::IMAGES
    )]
    batch: NonZero<usize>,
    /// Number of batches, sampled by the seed
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        help_heading = heading::IMAGES
    )]
    batches: NonZero<usize>,
    /// Number of perturbations per batch, each with its own target
    #[arg(
        long,
        value_name = "N",
        default_value = "10",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        help_heading = heading::IMAGES
    )]
    perturbations: NonZero<usize>,
    /// Take the size of the paper: all images, in batches of 1000 (100 for euclidean), with 100 (10) perturbations each; takes
    /// hours
    #[arg(long, conflicts_with_all = ["batch", "batches", "perturbations"], help_heading = heading::IMAGES)]
    full: bool,
    /// Seed of the sampled images and the targets
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, help_heading = heading::IMAGES)]
    seed: u64,
    /// File to write the perturbations to, with their targets and ranks, ending in .safetensors
    #[arg(long, value_name = "FILE", value_parser = arguments::safetensors(), help_heading = heading::OUTPUT)]
    save: Option<PathBuf>,
    /// PNG to draw the first perturbations in, ten at most, each with a few unseen images
    #[arg(long, value_name = "FILE", value_parser = arguments::png(), help_heading = heading::OUTPUT)]
    picture: Option<PathBuf>,
    #[command(flatten)]
    answer: FormatArgument,
}

/// Perturbations with their record, not written yet.
pub(crate) struct Perturbations {
    record: Record,
    measured: RankedSubject,
    perturbed: Role,
    made: Vec<Made>,
    threat: ThreatArguments,
    /// Whose the images are, for the picture.
    credits: Vec<String>,
    save: Option<PathBuf>,
    picture: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Example: ten perturbations, each for 500 images, and their picture
  rankle universal --dataset mnist --model models/mnist-c2f2-cosine-triplet \\
      --attack ca+ --epsilon 0.3 --picture universal.png";

impl Universal {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let format = self.answer.format;
        let made = self.make(device)?;
        progress::clear();
        // The numbers are printed first, as in `rankle attack`.
        let answered = table::answer(&made.record, format);
        made.write()?;
        answered
    }

    /// Computes and measures the perturbations, without writing the files.
    ///
    /// # Errors
    /// Data or weights that cannot be read, outputs that could not be written, and an interrupt.
    pub(crate) fn make(self, device: Device) -> Result<Perturbations> {
        if self.to.is_none() && self.victim.is_given() {
            return Err(Stop::usage("--to-model and --to-distance describe the model of --to, which is missing").into());
        }
        let (batch, shared) =
            (self.batch.get(), SharedBy { batches: self.batches.get(), perturbations: self.perturbations.get() });
        let asked = batch.checked_mul(shared.batches).ok_or_else(|| Stop::usage("--batches: so many images are no number"))?;
        let chosen = self.search.chosen();
        let plain = self.threat.of(AttackSpec::new(self.attack, 0.0, self.protocol, self.seed));
        let spec = AttackSpec { search: chosen, eight_bit: self.eight_bit, universal: Some(shared), ..plain };
        spec.check_universal(asked).map_err(Stop::usage)?;
        let experiment = Experiment::new(&spec).map_err(Stop::usage)?;
        let override_card = self.system.system.model.override_card;
        let from: Key = self.system.try_into()?;
        from.check_search(experiment.search.kind())?;
        let to = self.to.as_ref().map(|path| Input::new("--to", path));
        let inputs: Vec<Input> = from.inputs().into_iter().chain(to).collect();
        files::check_outputs(&[("--save", self.save.as_deref()), ("--picture", self.picture.as_deref())], &inputs)?;

        let bar = progress::bar(0);
        let credits = self.picture.as_ref().map_or(Ok(Vec::new()), |_| from.data.credit_lines())?;
        let to = self.to.map(|weights| self.victim.key(&from, weights, override_card)).transpose()?;
        let (from, to) = from.open_beside(to, device, &bar)?;
        let role = rankle_attacks::build(self.attack, 1, AttackOptions::default()).perturbs();
        let (count, shared) = match self.full {
            true => paper_size(from.embedder().distance(), from.dataset(role).len()),
            false => (asked, shared),
        };
        let experiment = Experiment { spec: AttackSpec { universal: Some(shared), ..experiment.spec }, ..experiment };
        experiment.spec.check_universal(count).map_err(anyhow::Error::msg)?;
        universal::check_room(&experiment, count, &from)?;
        let images = from.sample(role, experiment.seed(), count)?;
        search::heed(&experiment.search, chosen, Remedy::Options);
        let galleries = from.len() as u64 * if to.is_some() { 2 } else { 1 };
        bar.set_length(universal::cost(&experiment, count, to.is_some()).saturating_add(galleries));
        bar.set_message(format!("universal {} on {from}", self.attack));
        let (from, to) = (RankedSubject::new(from)?, to.map(RankedSubject::new).transpose()?);

        let start = Instant::now();
        let made = universal::run(&experiment, &from, to.as_ref(), &images)?;
        let mut inputs = experiment.inputs(to.as_ref().unwrap_or(&from).subject(), count, Origin::default());
        inputs.cell.from = to.as_ref().map(|_| transfer::source(from.subject()));
        let record = universal::record(to.as_ref().unwrap_or(&from).subject(), inputs, &made, start);
        let (record, measured) = (from.subject().followed(record), to.unwrap_or(from));
        let (threat, save, picture) = (self.threat, self.save, self.picture);
        Ok(Perturbations { record, measured, perturbed: role, made, threat, credits, save, picture })
    }
}

impl Perturbations {
    /// Writes the files of `--save` and `--picture`.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) fn write(&self) -> Result<()> {
        let Self { record, measured, perturbed, made, threat, credits, save, picture } = self;
        save.as_ref().map_or(Ok(()), |file| saved::tensors(file, made))?;
        picture.as_ref().map_or(Ok(()), |file| saved::picture(file, measured, record, threat, *perturbed, made, credits))
    }
}

/// Size of the paper's experiment on `images` images: the number of images used, batches and perturbations (METHOD.md 10).
fn paper_size(distance: Distance, images: usize) -> (usize, SharedBy) {
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
        assert_eq!(paper_size(Distance::Cosine, 10_000), (10_000, SharedBy { batches: 10, perturbations: 100 }));
        assert_eq!(paper_size(Distance::Euclidean, 10_000), (10_000, SharedBy { batches: 100, perturbations: 10 }));
        assert_eq!(paper_size(Distance::Cosine, 2_500), (2_000, SharedBy { batches: 2, perturbations: 100 }));
        assert_eq!(paper_size(Distance::Cosine, 7), (7, SharedBy { batches: 1, perturbations: 1 }));
    }
}
