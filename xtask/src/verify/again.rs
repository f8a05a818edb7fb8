//! The line of a plan that asks for a record again.

use rankle_report::{Cell, Facts, Source, Subject};

/// The plan line, with weights at these places; none for a record that no sweep makes.
pub(super) fn plan(cell: &Cell, facts: &Facts, weights: &str, from: Option<&str>) -> Option<Cell> {
    if facts.chosen.is_some() {
        return None;
    }
    let source = |(source, weights): (&Source, &str)| Source {
        weights: weights.to_owned(),
        weights_sha256: String::new(),
        ..source.clone()
    };
    let subject = Subject { weights: weights.to_owned(), ..cell.subject.clone() };
    Some(Cell { subject, from: cell.from.as_ref().zip(from).map(source), ..cell.clone() })
}
