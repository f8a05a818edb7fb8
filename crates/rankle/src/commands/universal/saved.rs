//! Output files of `--save` and `--picture`.

use crate::threat_arguments::ThreatArguments;
use crate::{called, files};
use anyhow::Result;
use candle_core::{Device, Tensor};
use rankle_attacks::{Estimate, Half};
use rankle_core::{Dataset, Role, numbers::numbers};
use rankle_eval::RankedSubject;
use rankle_eval::universal::Made;
use rankle_models::weights;
use rankle_record::Record;
use rankle_report::picture::{self, Example, Image, SHOWN, Shared, SharedPicture, grouped};
use std::path::Path;

/// Number of unseen images drawn for each perturbation.
const EXAMPLES: usize = 8;

/// Writes all perturbations with their results: `perturbations` (f32, n x c x h x w), `target_indices` (u32, n), `image_indices`
/// (u32, n x batch; images at even indices are seen), and `seen_rank_before`, `seen_rank_after`, `unseen_rank_before`,
/// `unseen_rank_after` (f32, n, percent).
///
/// # Errors
/// A file that cannot be written.
pub(super) fn tensors(path: &Path, made: &[Made]) -> Result<()> {
    let n = made.len();
    let all: Vec<&Tensor> = made.iter().map(|made| &made.outcome.perturbation).collect();
    let targets: Vec<u32> = made.iter().map(|made| made.target).collect();
    let images: Vec<u32> = made.iter().flat_map(|made| made.images.iter().map(|&image| image as u32)).collect();
    let batch = images.len() / n.max(1);
    let ranks = |of: fn(&Made) -> &[f64]| {
        let mean = |made: &Made| Estimate::of(of(made)).map_or(f32::NAN, |estimate| (100.0 * estimate.mean) as f32);
        Tensor::from_vec(made.iter().map(mean).collect::<Vec<f32>>(), n, &Device::Cpu)
    };
    let tensors = weights::Tensors::from([
        ("perturbations".to_owned(), Tensor::cat(&all, 0)?),
        ("target_indices".to_owned(), Tensor::from_vec(targets, n, &Device::Cpu)?),
        ("image_indices".to_owned(), Tensor::from_vec(images, (n, batch), &Device::Cpu)?),
        ("seen_rank_before".to_owned(), ranks(|made| &made.measured().seen.before.rank)?),
        ("seen_rank_after".to_owned(), ranks(|made| &made.measured().seen.after.rank)?),
        ("unseen_rank_before".to_owned(), ranks(|made| &made.measured().unseen.before.rank)?),
        ("unseen_rank_after".to_owned(), ranks(|made| &made.measured().unseen.after.rank)?),
    ]);
    Ok(weights::write(path, &tensors)?)
}

/// Draws the first perturbations, each with its target and a few unseen images before and after.
///
/// # Errors
/// An image that cannot be shown, and a file that cannot be written.
pub(super) fn picture(
    path: &Path,
    ranked: &RankedSubject,
    record: &Record,
    threat: &ThreatArguments,
    perturbed: Role,
    made: &[Made],
    credits: &[String],
) -> Result<()> {
    let (subject, cell) = (ranked.subject(), &record.cell);
    let shape = subject.dataset(Role::Candidate).shape();
    let (images, targets) = (subject.dataset(perturbed), subject.dataset(perturbed.other()));
    let pixels = |set: &dyn Dataset, index: usize| -> Result<Vec<f32>> { Ok(numbers(&set.images(&[index])?)?.to_vec()) };
    let first = &made[..made.len().min(SHOWN)];
    let perturbations: Vec<Vec<f32>> =
        first.iter().map(|made| Ok(numbers(&made.outcome.perturbation)?.to_vec())).collect::<Result<_>>()?;
    let (white, white_as_given) = threat.white(perturbations.iter().flatten());
    let shared = |(made, perturbation): (&Made, &Vec<f32>)| -> Result<Shared> {
        let half = &made.measured().unseen;
        let example = |at: usize| -> Result<Example> {
            let clean = pixels(images, half.images[at])?;
            let after = clean.iter().zip(perturbation).map(|(x, p)| (x + p).clamp(0.0, 1.0)).collect();
            let rank = |ranks: &[f64]| grouped((ranks[at] * ranked.exact().gallery.len() as f64).round() as usize);
            Ok(Example {
                before: Image::new(shape, clean)?,
                after: Image::new(shape, after)?,
                rank_before: rank(&half.before.rank),
                rank_after: rank(&half.after.rank),
            })
        };
        let mean = |half: &Half| {
            let mean = |ranks: &[f64]| Estimate::of(ranks).map_or(f64::NAN, |estimate| 100.0 * estimate.mean);
            format!("{:.2} % before, {:.2} % after", mean(&half.before.rank), mean(&half.after.rank))
        };
        let role = if perturbed == Role::Candidate { "query" } else { "candidate" };
        let (halves, target) = (made.measured(), made.target as usize);
        Ok(Shared {
            caption: format!(
                "{role} {}: mean rank of seen images {}; of unseen ones {}",
                called::image(targets, target),
                mean(&halves.seen),
                mean(&halves.unseen)
            ),
            name: match called::lines(targets, target).pop() {
                Some(file) => format!("{role} {file}"),
                None => format!("{role} #{target}"),
            },
            target: Image::new(shape, pixels(targets, target)?)?,
            perturbation: Image::perturbation(shape, perturbation, white)?,
            examples: (0..half.images.len().min(EXAMPLES)).map(example).collect::<Result<_>>()?,
        })
    };
    let more = if made.len() > SHOWN { format!("; {SHOWN} of {} perturbations are shown", made.len()) } else { String::new() };
    let against = cell.from.as_ref().map_or_else(String::new, |from| {
        let same = [&from.model, &from.distance] == [&cell.subject.model, &cell.subject.distance];
        if same {
            "made against other weights; ".to_owned()
        } else {
            format!("made against {} ({}); ", from.model, from.distance)
        }
    });
    let picture = SharedPicture {
        title: format!(
            "Universal {}, ε = {}, protocol {}",
            cell.spec.attack.name().to_uppercase(),
            threat.shown(),
            cell.spec.protocol
        ),
        lines: [format!(
            "{subject}; {against}unseen images with their ranks of {} before and after{more}",
            grouped(ranked.exact().gallery.len())
        )]
        .into_iter()
        .chain(credits.iter().cloned())
        .collect(),
        epsilon: white_as_given,
        rows: first.iter().zip(&perturbations).map(shared).collect::<Result<_>>()?,
    };
    files::write(path, picture::shared_png(&picture)?)
}
