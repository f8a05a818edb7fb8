//! `rankle picture`: pictures of an attack on a few images.

mod lists;

use crate::arguments::{self, FormatArgument, SubjectArguments, heading};
use crate::attack_arguments::AttackArguments;
use crate::choice::Count;
use crate::device::Device;
use crate::names::Format;
use crate::system::Key;
use crate::{called, files, progress};
use anyhow::{Context, Result};
use candle_core::IndexOp as _;
use clap::Args;
use lists::Scene;
use rankle_core::{Dataset, Embedder as _, numbers::numbers};
use rankle_eval::{Origin, RankedSubject, experiment, percent};
use rankle_record::{AttackSpec, Declaration, Record};
use rankle_report::picture::SHOWN;
use rankle_report::picture::{self, Image, grouped};
use serde_json::Value;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Attack a few images, and draw them and the lists in which something moves.
///
/// Each picture shows the image, its perturbation (what the attack adds to it), the perturbed image, and the lists before and
/// after, with arrows: the nearest images and those around what moved, at their ranks, counted from 0. ca+ and ca- change a
/// gallery image, which rises or sinks in the lists of its target queries; all other attacks change a query, in whose list
/// targets move. At most ten targets are drawn. `rankle attack --help` explains the attacks.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Picture {
    #[command(flatten)]
    system: SubjectArguments,
    #[command(flatten)]
    attack: AttackArguments,
    /// Number of images to attack, sampled by the seed; 1 when left out
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
    /// PNG to write; with several images each file name gets the index of its image, and a counter if an image is listed twice
    #[arg(long, value_name = "FILE", value_parser = arguments::png(), help_heading = heading::OUTPUT)]
    output: PathBuf,
    #[command(flatten)]
    answer: FormatArgument,
}

/// Pictures that are not written yet, with the lines and JSON that describe them.
pub(crate) struct Drawn {
    lines: Vec<String>,
    pictures: Vec<Value>,
    record: Record,
    pages: Vec<(PathBuf, Vec<u8>)>,
}

const EXAMPLES: &str = "\
Example: test image 7 rises in the lists of two queries
  rankle picture --dataset mnist --model models/mnist-c2f2-cosine-triplet \\
      --attack ca+ --targets 2 --epsilon 0.3 --image-indices 7 --output seven.png";

impl Picture {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let format = self.answer.format;
        let drawn = self.draw(device)?;
        progress::clear();
        // The numbers are printed first, as in `rankle attack`.
        let answered = match format {
            Format::Json => progress::answer(serde_json::json!({ "pictures": drawn.pictures, "record": drawn.record })),
            Format::Human => progress::answer(drawn.lines.join("\n")),
        };
        drawn.write()?;
        answered
    }

    /// Attacks the images and draws them, without writing the files.
    ///
    /// # Errors
    /// Data or weights that cannot be read, outputs that could not be written, and an interrupt.
    pub(crate) fn draw(self, device: Device) -> Result<Drawn> {
        let experiment = self.attack.experiment()?;
        let choice = self.attack.choice(&experiment, Count::Exactly(self.images.map_or(1, NonZero::get)))?;
        let bar = progress::bar(0);
        let key: Key = self.system.try_into()?;
        key.check_search(experiment.search.kind())?;
        let inputs = [key.inputs(), self.attack.inputs()].concat();
        let credits = key.data.credit_lines()?;
        let subject = key.open(device, &bar)?;
        let (images, rows) = choice.images(&subject)?;
        let files = names_of(&self.output, &images);
        let outputs: Vec<_> = files.iter().map(|file| ("--output", Some(file.as_path()))).collect();
        files::check_outputs(&outputs, &inputs)?;
        let experiment = experiment.with_targets(rows.set(experiment.spec.targets));
        self.attack.heed(&experiment);
        bar.set_length(experiment.cost(images.len()).saturating_add((subject.len() + 2 * images.len()) as u64));
        bar.set_message(format!("{} on {subject}", experiment.spec.attack));
        let ranked = RankedSubject::new(subject)?;
        let (subject, dataset) = (ranked.subject(), ranked.subject().dataset(experiment.perturbs()));

        let start = Instant::now();
        let targets = rows.targets(&experiment, ranked.sets(), &images)?;
        let outcome = experiment.run(&ranked, &images, &targets, true)?;
        let origin = Origin { chosen: rows.in_words(choice.image_words(&images)), ..Origin::default() };
        let inputs = experiment.inputs(subject, images.len(), origin);
        let record = subject.followed(experiment::record(subject, inputs, &outcome, start));
        let adversarial = outcome.adversarial.as_ref().context("the adversarial images were not kept")?;
        let model = subject.embedder();
        let place = |images| anyhow::Ok(model.distance().normalize(&model.embed(images)?)?);
        let originals = dataset.images(&images)?;
        let (clean, moved) = (place(&originals)?, place(adversarial)?);

        let mut lines = Vec::new();
        let (mut pictures, mut pages) = (Vec::new(), Vec::new());
        for (row, (&image, path)) in images.iter().zip(&files).enumerate() {
            let perturbed = Image::new(dataset.shape(), numbers(&adversarial.i(row)?)?.to_vec())?;
            let scene = Scene {
                images: subject.datasets(),
                sets: ranked.exact(),
                kind: experiment.spec.attack,
                role: experiment.perturbs(),
                protocol: experiment.spec.protocol,
                image,
                targets: targets.of_images(row..row + 1),
                clean: clean.select(&[row])?,
                moved: moved.select(&[row])?,
                perturbed: &perturbed,
            };
            let [before, after] = [&outcome.before, &outcome.after].map(|measures| measures.rank.get(row).copied());
            let shift = format!("embedding shift {:.2}", outcome.embedding_shift[row]);
            let result = match (before, after) {
                (Some(before), Some(after)) => {
                    format!("mean rank {:.2} % before, {:.2} % after; {shift}", 100.0 * before, 100.0 * after)
                }
                _ => shift,
            };
            lines.push(format!("{}: {result}", path.display()));
            pictures.push(serde_json::json!({
                "file": path, "image": image, "name": dataset.image_name(image),
                "rank_before": before.map(percent), "rank_after": after.map(percent),
            }));
            let more = if experiment.spec.targets > SHOWN {
                format!("; {SHOWN} of {} are shown", experiment.spec.targets)
            } else {
                String::new()
            };
            let added = (adversarial.i(row)? - originals.i(row)?)?;
            let (epsilon, epsilon_as_given) = self.attack.threat().white(numbers(&added)?.iter());
            let picture = picture::Picture {
                title: title(&record, &self.attack.threat().shown()),
                lines: [
                    format!("{subject}, {}", whole_name(dataset, image)),
                    format!("{result}; {} items are ranked{more}", grouped(ranked.exact().gallery.len())),
                ]
                .into_iter()
                .chain(credits.clone())
                .collect(),
                epsilon,
                epsilon_as_given,
                clean: scene.clean_image()?,
                adversarial: perturbed.clone(),
                lists: scene.pairs()?,
            };
            pages.push((path.clone(), picture::png(&picture)?));
        }
        lines.push(format!("tied ranks: {:.2} %", record.tie_share));
        Ok(Drawn { lines, pictures, record, pages })
    }
}

impl Drawn {
    /// Writes the pictures.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) fn write(self) -> Result<()> {
        self.pages.into_iter().try_for_each(|(path, page)| files::write(&path, page))
    }
}

/// Index, name and class of an image, for the picture.
fn whole_name(dataset: &dyn Dataset, image: usize) -> String {
    let name = dataset.image_name(image).map_or(String::new(), |name| format!(" ({name})"));
    format!("image #{image}{name} of class {}", called::class(dataset, dataset.labels()[image]))
}

/// Title of a picture: attack, targets, ε, and what moves.
fn title(record: &Record, epsilon: &str) -> String {
    let AttackSpec { attack, targets, .. } = record.cell.spec;
    let Declaration { name, letter, moves, .. } = attack.declaration();
    let set = if targets > 0 { format!(", {letter} = {targets}") } else { String::new() };
    format!("{}{set}, ε = {epsilon}: {moves}", name.to_uppercase())
}

/// File of each image: `output`, with the index of the image if there are several. An image that is listed several times, with
/// other targets each time, also gets a counter.
fn names_of(output: &Path, images: &[usize]) -> Vec<PathBuf> {
    if images.len() == 1 {
        return vec![output.to_owned()];
    }
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    called::numbered(images).into_iter().map(|tag| output.with_file_name(format!("{stem}-{tag}.png"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_images_get_names_of_their_own() {
        let names = |output, images| names_of(Path::new(output), images);
        assert_eq!(names("a/seven.PNG", &[7]), [Path::new("a/seven.PNG")]);
        assert_eq!(names("a/x.y.png", &[7, 8]), [Path::new("a/x.y-7.png"), Path::new("a/x.y-8.png")]);
        assert_eq!(names("x.png", &[7, 8, 7]), ["x-7-1.png", "x-8.png", "x-7-2.png"].map(Path::new));
    }
}
