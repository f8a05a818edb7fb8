//! Universal perturbations, on the attacked subject or measured on another (METHOD.md 10).

use crate::error::{Error, Result, invalid};
use crate::experiment::{self, Experiment, Inputs};
use crate::{RankedSubject, Subject, percent, transfer};
use rankle_attacks::{
    Cost, Direction, Estimate, Half, Halves, Measures, Outcome, UniversalAttack, UniversalOutcome, universal_target,
};
use rankle_core::rank::Resolution;
use rankle_record::{Protocol, Record, SharedBy, Unseen, WhiteBox};
use std::time::Instant;

/// One perturbation and its effect.
pub struct Made {
    /// The target.
    pub target: u32,
    /// The images of its batch.
    pub images: Vec<usize>,
    /// The perturbation, and its effect on both halves of the batch.
    pub outcome: UniversalOutcome,
}

impl Made {
    /// The halves on the measured subject: on the victim if there is one.
    pub fn measured(&self) -> &Halves {
        self.outcome.victim.as_ref().unwrap_or(&self.outcome.source)
    }
}

/// The numbers of batches and perturbations of a spec, checked for this many images.
fn shared(experiment: &Experiment, images: usize) -> Result<SharedBy> {
    experiment.spec.check_universal(images).map_err(Error::Invalid)?;
    experiment
        .spec
        .universal
        .ok_or_else(|| Error::Invalid(format!("the spec of {} has no universal part", experiment.spec.attack)))
}

/// Checks that the set of the perturbed images has room for the batches and, under [`Protocol::Strict`], for a target outside of
/// each batch if targets are in the same set.
///
/// # Errors
/// [`Error::Invalid`] if it has none, and for images that cannot be divided into the batches.
pub fn check_room(experiment: &Experiment, images: usize, measured: &Subject) -> Result<()> {
    let (protocol, len) = (experiment.spec.protocol, measured.dataset(experiment.perturbs()).len());
    let SharedBy { batches, .. } = shared(experiment, images)?;
    let batch = images / batches;
    if images > len {
        return invalid(format!(
            "{batches} x {batch} = {images} images are needed, and there are {len}: name fewer or smaller batches"
        ));
    }
    if protocol == Protocol::Strict && batch == len && measured.datasets().is_one() {
        return invalid(format!(
            "a batch of all {len} images leaves no target outside of it, as strict wants it: name a smaller batch"
        ));
    }
    Ok(())
}

/// Cost in units of a progress bar; measured on another model, too, if `transferred`.
pub fn cost(experiment: &Experiment, images: usize, transferred: bool) -> u64 {
    let perturbations = experiment.spec.universal.map_or(0, |shared| shared.perturbations);
    let (images, seen) = (images as u64, images as u64 / 2);
    let Cost { gradients, queries } = UniversalAttack { search: experiment.search }.cost();
    let searched = seen.saturating_mul(experiment.gradient_units().saturating_mul(gradients).saturating_add(queries));
    // Before and after on each model, and the start of the search.
    let embedded = seen + 2 * images * if transferred { 2 } else { 1 };
    searched.saturating_add(embedded).saturating_mul(perturbations as u64)
}

/// Makes all perturbations, batch by batch. An attack without a direction counts as one that raises.
///
/// # Errors
/// As [`check_room`] for the batches; errors of the attack, or an interrupt.
pub fn run(experiment: &Experiment, from: &RankedSubject, to: Option<&RankedSubject>, images: &[usize]) -> Result<Vec<Made>> {
    let SharedBy { batches, perturbations } = shared(experiment, images.len())?;
    let (built, direction) = (experiment.attack(), experiment.spec.attack.direction().unwrap_or(Direction::Raise));
    let search = UniversalAttack { search: experiment.search };
    let setting = experiment.setting(from, false)?;
    let mut made = Vec::new();
    for (batch, images) in images.chunks_exact(images.len() / batches).enumerate() {
        for number in 0..perturbations {
            let target = universal_target(&setting.scene, experiment.perturbs(), (batch as u64, number as u64), images)?;
            let outcome = search.run((&*built, direction), &setting, to.map(transfer::victim), images, target)?;
            made.push(Made { target, images: images.to_vec(), outcome });
        }
    }
    Ok(made)
}

/// The outcome on the seen halves: each perturbation counts as one, with the mean over its images.
pub fn seen(made: &[Made]) -> Outcome {
    let seen: Vec<&Half> = made.iter().map(|made| &made.measured().seen).collect();
    let measures = |of: fn(&Half) -> &Measures| Measures {
        rank: means(&seen, |half| &of(half).rank),
        tied: seen.iter().map(|half| of(half).tied).sum(),
        pairs: seen.iter().map(|half| of(half).pairs).sum(),
        resolution: seen.iter().fold(Resolution::default(), |sum, half| sum.and(of(half).resolution)),
        ..Measures::default()
    };
    Outcome {
        before: measures(|half| &half.before),
        after: measures(|half| &half.after),
        embedding_shift: means(&seen, |half| &half.embedding_shift),
        ..Outcome::default()
    }
}

/// The record of perturbations on the measured subject, which count as in [`seen`].
pub fn record(measured: &Subject, inputs: Inputs, made: &[Made], start: Instant) -> Record {
    let unseen: Vec<&Half> = made.iter().map(|made| &made.measured().unseen).collect();
    let unseen = (means(&unseen, |half| &half.before.rank), means(&unseen, |half| &half.after.rank));
    let unseen = Estimate::of(&unseen.0).zip(Estimate::of(&unseen.1)).map(|(before, after)| Unseen {
        rank_before: percent(before.mean),
        rank_after: percent(after.mean),
        rank_after_stderr: after.standard_error.map(percent),
    });
    let transferred = made.iter().any(|made| made.outcome.victim.is_some());
    let white_box = transferred.then(|| white_box(&made.iter().map(|made| &made.outcome.source.seen).collect::<Vec<_>>()));
    Record { unseen, white_box, ..experiment::record(measured, inputs, &seen(made), start) }
}

fn white_box(seen: &[&Half]) -> WhiteBox {
    let mean = |of: fn(&Half) -> &[f64]| Estimate::of(&means(seen, of)).map(|estimate| estimate.mean);
    WhiteBox {
        rank_before: mean(|half| &half.before.rank).map(percent),
        rank_after: mean(|half| &half.after.rank).map(percent),
        recall_at_1_before: None,
        recall_at_1_after: None,
        embedding_shift: mean(|half| &half.embedding_shift).unwrap_or(0.0),
    }
}

/// The mean of each half.
fn means(halves: &[&Half], of: impl Fn(&Half) -> &[f64]) -> Vec<f64> {
    halves.iter().filter_map(|half| Estimate::of(of(half))).map(|estimate| estimate.mean).collect()
}
