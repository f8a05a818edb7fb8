//! Whether gradients say what the loss does, and whether there are any.

use super::lab::{Attacked, Lab};
use super::wording;
use anyhow::Result;
use candle_core::Tensor;
use rankle_attacks::{Agreement, Pgd, Slope, Zeros, gradients, slopes};
use rankle_report::sanity::{Answer, Check, Verdict};

/// How many images are looked at pixel by pixel, and every how-many-th pixel.
pub(super) const IMAGES: usize = 4;
pub(super) const STRIDE: usize = 11;
/// Of the steep and smooth places so many must agree, and so many places are needed for an answer.
pub(super) const AGREEING: f64 = 0.9;
pub(super) const PLACES: usize = 20;
/// How many images may be without any gradient.
pub(super) const SILENT: f64 = 0.05;
/// How many pixels may.
pub(super) const STILL: f64 = 0.5;

/// A uniform random place of the ball: clean images have flat backgrounds, where the decisions of a network are ties.
fn start(lab: &Lab) -> Pgd {
    Pgd { iterations: 0, restarts: 1, ..Pgd::strict(lab.epsilon) }
}

/// Gradients are the slope of the loss.
pub(super) fn differences(lab: &Lab) -> Result<Check> {
    let mut answers = Vec::new();
    for Attacked { kind, targets, .. } in &lab.attacks {
        let places = lab.found(*kind, targets, &start(lab))?.1;
        // Both sides of a pixel shall be pixels.
        let places = places.clamp(Slope::STEPS[0], 1.0 - Slope::STEPS[0])?;
        let (attack, setting) = lab.scene(*kind);
        let mut agreement = Agreement::default();
        for (row, &image) in lab.images.iter().enumerate().take(IMAGES) {
            let at = places.narrow(0, row, 1)?;
            let pixels: Vec<usize> = (row % STRIDE..at.elem_count()).step_by(STRIDE).collect();
            let slopes = slopes(&*attack, &setting, image, &targets.of_images(row..row + 1), &at, &pixels)?;
            agreement = agreement.and(Agreement::of(&slopes));
        }
        let Agreement { places, smooth, agreeing } = agreement;
        let share = agreeing as f64 / smooth as f64;
        let verdict = match smooth {
            ..PLACES => Verdict::NotRun,
            _ if share >= AGREEING => Verdict::Pass,
            _ => Verdict::Fail,
        };
        answers.push(Answer::new(kind, &[places as f64, smooth as f64, agreeing as f64, 100.0 * share], verdict));
    }
    Ok(wording::differences().answered(answers))
}

/// Hardly any gradient is exactly zero.
pub(super) fn zeros(lab: &Lab) -> Result<Check> {
    let clean = lab.ranked.system.dataset.images(&lab.images)?;
    let mut answers = Vec::new();
    for Attacked { kind, targets, .. } in &lab.attacks {
        let random = lab.found(*kind, targets, &start(lab))?.1;
        let (attack, setting) = lab.scene(*kind);
        let at =
            |images: &Tensor| -> Result<Zeros> { Ok(Zeros::of(&gradients(&*attack, &setting, &lab.images, targets, images)?)?) };
        let (here, there) = (at(&clean)?, at(&random)?);
        let passed = [here, there].iter().all(|zeros| zeros.images <= SILENT && zeros.pixels <= STILL);
        let numbers = [here.pixels, here.images, there.pixels, there.images].map(|share| 100.0 * share);
        answers.push(Answer::new(kind, &numbers, if passed { Verdict::Pass } else { Verdict::Fail }));
    }
    Ok(wording::zeros().answered(answers))
}
