//! The checks `gradients` and `zeros`.

use super::bounds::{IMAGES, SILENT, STILL, WAYS};
use super::lab::{Attacked, Lab};
use super::wording;
use crate::error::Result;
use candle_core::Tensor;
use rankle_attacks::{Agreement, Pgd, Slope, Zeros, directions, gradients, slopes};
use rankle_report::sanity::{Answer, Check, Verdict};

/// A search without steps, which returns a random point of the ball: in flat parts of clean images a network's decisions tie.
fn start(lab: &Lab) -> Pgd {
    Pgd { iterations: 0, restarts: 1, ..Pgd::strict(lab.threat) }
}

/// Checks that gradients agree with difference quotients of the loss.
pub(super) fn differences(lab: &Lab) -> Result<Check> {
    let widest = Slope::STEPS[0];
    let mut answers = Vec::new();
    for Attacked { kind, targets, .. } in &lab.attacks {
        // Both sides of a difference must be images.
        let places = lab.found(*kind, targets, &start(lab))?.1.clamp(widest, 1.0 - widest)?;
        let (attack, setting) = lab.scene(*kind)?;
        let mut agreement = Agreement::default();
        for (row, &image) in lab.images_of(*kind).iter().enumerate().take(IMAGES) {
            let directions = directions(lab.seed, image, WAYS, setting.images.gallery.shape())?;
            let (own, at) = (targets.of_images(row..row + 1), places.narrow(0, row, 1)?);
            agreement = agreement.and(Agreement::of(&slopes(&*attack, &setting, image, &own, &at, &directions)?));
        }
        let verdict = match agreement.holds() {
            None => Verdict::NoAnswer,
            Some(true) => Verdict::Pass,
            Some(false) => Verdict::Fail,
        };
        let [error, _, most] = agreement.error().unwrap_or([f64::NAN; 3]).map(|error| 100.0 * error);
        let numbers = [agreement.directions as f64, agreement.steepness(), error, most];
        answers.push(Answer::new(kind, &numbers, verdict));
    }
    Ok(wording::differences().answered(answers))
}

/// Checks that hardly any gradient is exactly zero.
pub(super) fn zeros(lab: &Lab) -> Result<Check> {
    let mut answers = Vec::new();
    for Attacked { kind, targets, .. } in &lab.attacks {
        let random = lab.found(*kind, targets, &start(lab))?.1;
        let (attack, setting) = lab.scene(*kind)?;
        let images_of = lab.images_of(*kind);
        let clean = setting.images.of(attack.perturbs()).images(images_of)?;
        let at =
            |images: &Tensor| -> Result<Zeros> { Ok(Zeros::of(&gradients(&*attack, &setting, images_of, targets, images)?)?) };
        let (here, there) = (at(&clean)?, at(&random)?);
        let passed = [here, there].iter().all(|zeros| zeros.images <= SILENT && zeros.pixels <= STILL);
        let numbers = [here.pixels, here.images, there.pixels, there.images].map(|share| 100.0 * share);
        answers.push(Answer::new(kind, &numbers, if passed { Verdict::Pass } else { Verdict::Fail }));
    }
    Ok(wording::zeros().answered(answers))
}
