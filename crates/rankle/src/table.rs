//! A record for people.

use crate::names::Format;
use crate::progress;
use crate::threat_arguments::with_norm;
use anyhow::Result;
use rankle_record::{AttackSpec, Cell, ObjectiveKind, Record, SharedBy, Subject, TargetPool, Unseen, WhiteBox};
use std::fmt;

/// Prints a record, as a table or as its line of JSON.
///
/// # Errors
/// When one of its numbers is not finite, and when standard output is full.
pub(crate) fn answer(record: &Record, format: Format) -> Result<()> {
    match format {
        Format::Json => progress::answer(record.to_line()?),
        Format::Human => progress::answer(RecordTable(record)),
    }
}

/// Before and after, side by side.
struct RecordTable<'a>(&'a Record);

impl fmt::Display for RecordTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { cell: Cell { subject, spec, images, from, .. }, facts, .. } = self.0;
        let (Subject { model, distance, weights, .. }, dataset) = (subject, subject.data());
        let AttackSpec { attack, targets, epsilon, norm, search, options, protocol, seed, universal, .. } = spec;
        let set = if *targets > 0 { format!(", {} = {targets}", attack.declaration().letter) } else { String::new() };
        writeln!(f, "{attack} on {dataset} ({model}, {distance}){set}, ε = {}", with_norm(epsilon, *norm))?;
        writeln!(f, "{}", attack.description())?;
        if let Some(from) = from {
            writeln!(f, "images perturbed against {} ({}), {}", from.model, from.distance, from.weights)?;
            writeln!(f, "measured on {model} ({distance}), {weights}")?;
        }
        if let Some(SharedBy { batches, perturbations }) = universal {
            let (size, made) = (images / (*batches).max(1), batches * perturbations);
            writeln!(f, "{made} universal perturbations, each for {size} images: half of them are seen, half unseen")?;
        }
        let starts = search.restarts.filter(|_| search.random_start == Some(true));
        let starts = starts.map_or_else(String::new, |restarts| format!(", {restarts} random starts"));
        let of = match facts.queries {
            None => format!("{images} of {} images", facts.gallery),
            Some(queries) => format!("{images} images, {queries} queries, {} gallery images", facts.gallery),
        };
        writeln!(f, "{of}, seed {seed}, protocol {protocol}")?;
        writeln!(f, "{} steps of {:.4}{starts}", search.iterations.unwrap_or(0), search.step.unwrap_or(0.0))?;
        if options.objective != ObjectiveKind::default() {
            writeln!(f, "objective: {}", options.objective)?;
        }
        if options.target_band != TargetPool::default() {
            writeln!(f, "target band: {}", options.target_band)?;
        }
        writeln!(f)?;
        writeln!(f, "{:<24}{:>16}{:>16}", "", "before", "after")?;
        for (name, before, after) in self.rows() {
            writeln!(f, "{name:<24}{before:>16}{after:>16}")?;
        }
        write!(f, "{:<24}{:>16}{:>16.4}", "embedding shift", "", self.0.embedding_shift)?;
        for (name, share) in [("tied ranks", self.0.tie_share), ("below resolution", self.0.undecided_share)] {
            write!(f, "\n{name:<24}{:>16}{share:>14.2} %", "")?;
        }
        write!(f, "\n\n{:.1} s on {} ({})", self.0.seconds, facts.provenance.device, facts.provenance.instruction_set)
    }
}

impl RecordTable<'_> {
    /// What was measured, in words.
    fn rows(&self) -> Vec<(&'static str, String, String)> {
        let record = self.0;
        let number = |value: Option<f64>, error: Option<f64>| match (value, error) {
            (Some(value), Some(error)) => format!("{value:.2} ± {error:.2}"),
            (Some(value), None) => format!("{value:.2}"),
            (None, _) => String::new(),
        };
        let white_box = |value: fn(&WhiteBox) -> Option<f64>| record.white_box.as_ref().and_then(value);
        let unseen = |value: fn(&Unseen) -> Option<f64>| record.unseen.as_ref().and_then(value);
        let rank = if record.unseen.is_some() { "rank, seen images, %" } else { "rank, %" };
        let rows = [
            (rank, record.rank_before, record.rank_before_stderr, record.rank_after, record.rank_after_stderr),
            (
                "rank, unseen images, %",
                unseen(|unseen| Some(unseen.rank_before)),
                None,
                unseen(|unseen| Some(unseen.rank_after)),
                unseen(|unseen| unseen.rank_after_stderr),
            ),
            ("white-box rank, %", white_box(|source| source.rank_before), None, white_box(|source| source.rank_after), None),
            ("rank of preserved, %", record.preserved_rank_before, None, record.preserved_rank_after, None),
            ("recall at 1, %", record.recall_at_1_before, None, record.recall_at_1_after, None),
            (
                "white-box recall at 1, %",
                white_box(|source| source.recall_at_1_before),
                None,
                white_box(|source| source.recall_at_1_after),
                None,
            ),
            ("recall at 10, %", record.recall_at_10_before, None, record.recall_at_10_after, None),
            ("recall at 100, %", record.recall_at_100_before, None, record.recall_at_100_after, None),
        ];
        let measured = rows.into_iter().filter(|row| row.1.is_some());
        measured
            .map(|(name, before, error, after, error_after)| (name, number(before, error), number(after, error_after)))
            .collect()
    }
}
