//! An attack on one system, measured on another.

use crate::experiment::{self, Experiment, Inputs, percent};
use crate::system::{Ranked, System};
use rankle_attacks::{Estimate, Outcome, Standings, Targets, Transfer, Victim};
use rankle_record::{Record, Source, WhiteBox};
use std::time::Instant;

/// The other side.
pub(crate) fn victim(ranked: &Ranked) -> Victim<'_> {
    Victim { embedder: &ranked.system.embedder, sets: ranked.sets() }
}

/// Attacks the images on `from` and measures on both.
///
/// # Errors
/// What the libraries report, or an interrupt.
pub(crate) fn run(
    experiment: &Experiment,
    from: &Ranked,
    to: &Ranked,
    images: &[usize],
    targets: &Targets,
) -> rankle_core::Result<Transfer> {
    let (attack, setting) = (experiment.attack(), experiment.setting(from, false));
    rankle_attacks::transfer(&*attack, &experiment.search, &setting, victim(to), images, targets)
}

/// How much work it is, in the units of a progress bar.
pub(crate) fn cost(experiment: &Experiment, images: usize) -> u64 {
    experiment.cost(images).saturating_add(2 * images as u64)
}

/// What a record says of the system that was attacked.
pub(crate) fn source(system: &System) -> Source {
    Source { weights_sha256: system.weights_sha256.clone(), ..Source::planned(&system.subject()) }
}

/// The record of a transfer to `to`.
pub(crate) fn record(to: &System, inputs: Inputs, transfer: &Transfer, start: Instant) -> Record {
    Record { white_box: Some(white_box(&transfer.source)), ..experiment::record(to, inputs, &transfer.victim, start) }
}

fn white_box(outcome: &Outcome) -> WhiteBox {
    let mean = |values: &[f64]| Estimate::of(values).map(|estimate| estimate.mean);
    let rank = |standings: &Standings| mean(&standings.rank).map(percent);
    let recall = |standings: &Standings| mean(&standings.hits(1)).map(percent);
    WhiteBox {
        rank_before: rank(&outcome.before),
        rank_after: rank(&outcome.after),
        recall_at_1_before: recall(&outcome.before),
        recall_at_1_after: recall(&outcome.after),
        embedding_shift: mean(&outcome.embedding_shift).unwrap_or(0.0),
    }
}
