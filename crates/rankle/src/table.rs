//! A record for people.

use crate::names::Format;
use crate::progress;
use anyhow::Result;
use rankle_report::{Record, Unseen, WhiteBox};
use std::fmt;

/// Prints a record, as a table or as its line of JSON.
///
/// # Errors
/// When one of its numbers is not finite, and when standard output is full.
pub(crate) fn answer(record: &Record, format: Format) -> Result<()> {
    match format {
        Format::Json => progress::answer(record.to_line()?),
        Format::Human => progress::answer(Table(record)),
    }
}

/// Before and after, side by side.
struct Table<'a>(&'a Record);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { cell, .. } = self.0;
        let (w, n) = (cell.attack.set_letter(), cell.targets);
        let set = if n > 0 { format!(", {w} = {n}") } else { String::new() };
        writeln!(f, "{} on {} ({}, {}){set}, ε = {}", cell.attack, cell.dataset, cell.model, cell.distance, cell.epsilon)?;
        writeln!(f, "{}", cell.attack.description())?;
        if let Some(from) = &cell.from {
            writeln!(f, "images perturbed against {} ({}), {}", from.model, from.distance, from.weights)?;
            writeln!(f, "measured on {} ({}), {}", cell.model, cell.distance, cell.weights)?;
        }
        if let Some(universal) = &cell.universal {
            let (size, made) = (cell.images / universal.batches.max(1), universal.batches * universal.perturbations);
            writeln!(f, "{made} universal perturbations, each for {size} images: half of them are seen, half unseen")?;
        }
        let starts = if cell.random_start { format!(", {} random starts", cell.restarts) } else { String::new() };
        writeln!(f, "{} of {} images, seed {}, protocol {}", cell.images, cell.gallery, cell.seed, cell.protocol)?;
        writeln!(f, "{} steps of {:.4}{starts}", cell.iterations, cell.step)?;
        for (what, unusual) in [("objective", &cell.objective), ("target band", &cell.target_band)] {
            if let Some(unusual) = unusual {
                writeln!(f, "{what}: {unusual}")?;
            }
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
        write!(f, "\n\n{:.1} s on {} ({})", self.0.seconds, self.0.device, self.0.instruction_set)
    }
}

impl Table<'_> {
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
