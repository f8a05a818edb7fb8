//! Transfer: an attack on one subject, measured on another (METHOD.md 9).

use crate::error::Result;
use crate::experiment::{self, Experiment, Inputs};
use crate::{Identity, RankedSubject, Subject, percent};
use rankle_attacks::{Estimate, Measures, Outcome, Targets, Transfer, Victim};
use rankle_record::{Record, Source, WhiteBox};
use std::time::Instant;

/// The subject as the victim of a transfer.
pub fn victim(ranked: &RankedSubject) -> Victim<'_> {
    Victim { embedder: ranked.subject().embedder(), sets: ranked.sets() }
}

/// Attacks the images on `from` and measures on both.
///
/// # Errors
/// Errors of the attack, or an interrupt.
pub fn run(
    experiment: &Experiment,
    from: &RankedSubject,
    to: &RankedSubject,
    images: &[usize],
    targets: &Targets,
) -> Result<Transfer> {
    let setting = experiment.setting(from, false)?;
    Ok(rankle_attacks::transfer_spec(&experiment.search, &experiment.spec, &setting, victim(to), images, targets)?)
}

/// Cost of a transfer, in units of a [`Monitor`](crate::Monitor).
pub fn cost(experiment: &Experiment, images: usize) -> u64 {
    experiment.cost(images).saturating_add(2 * images as u64)
}

/// The attacked subject, as a record describes it.
pub fn source(attacked: &Subject) -> Source {
    let Identity { weights_sha256, probe_distances, subject, .. } = attacked.identity.clone();
    Source { weights_sha256, probe_distances, ..Source::planned(&subject) }
}

/// The record of a transfer to `to`.
pub fn record(to: &Subject, inputs: Inputs, transfer: &Transfer, start: Instant) -> Record {
    let parts = experiment::parts(&transfer.source);
    Record { white_box: Some(white_box(&transfer.source)), parts, ..experiment::record(to, inputs, &transfer.victim, start) }
}

fn white_box(outcome: &Outcome) -> WhiteBox {
    let mean = |values: &[f64]| Estimate::of(values).map(|estimate| estimate.mean);
    let rank = |measures: &Measures| mean(&measures.rank).map(percent);
    let recall = |measures: &Measures| mean(&measures.hits(1)).map(percent);
    WhiteBox {
        rank_before: rank(&outcome.before),
        rank_after: rank(&outcome.after),
        recall_at_1_before: recall(&outcome.before),
        recall_at_1_after: recall(&outcome.after),
        embedding_shift: mean(&outcome.embedding_shift).unwrap_or(0.0),
    }
}
