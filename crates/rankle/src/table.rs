//! A record as a table.

use crate::names::Format;
use crate::progress;
use crate::threat_arguments::with_norm;
use anyhow::Result;
use rankle_record::{AttackSpec, Cell, Epsilon, Record, Search, SearchKind, SharedBy, Subject, TargetPool, Unseen, WhiteBox};
use std::fmt;

/// Prints a record, as a table or as a line of JSON.
///
/// # Errors
/// When a number of the record is not finite, and when standard output is full.
pub(crate) fn answer(record: &Record, format: Format) -> Result<()> {
    match format {
        Format::Json => progress::answer(record.to_line()?),
        Format::Human => progress::answer(RecordTable(record)),
    }
}

/// A record in two columns, before and after the attack.
struct RecordTable<'a>(&'a Record);

impl fmt::Display for RecordTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { cell: Cell { subject, spec, images, from, .. }, facts, .. } = self.0;
        let (Subject { model, distance, weights, .. }, dataset) = (subject, subject.data());
        let AttackSpec { attack, targets, epsilon, norm, search, options, protocol, seed, universal, .. } = spec;
        let set = if *targets > 0 { format!(", {} = {targets}", attack.declaration().letter) } else { String::new() };
        writeln!(f, "{attack} on {dataset} ({model}, {distance}){set}, ε = {}", with_norm(Epsilon(*epsilon), *norm))?;
        writeln!(f, "{}", attack.description())?;
        if let Some(from) = from {
            writeln!(f, "images perturbed against {} ({}), {}", from.model, from.distance, from.weights)?;
            writeln!(f, "measured on {model} ({distance}), {weights}")?;
        }
        if let Some(SharedBy { batches, perturbations }) = universal {
            let (size, made) = (images / (*batches).max(1), batches * perturbations);
            writeln!(f, "{made} universal perturbations, each for {size} images: half of them are seen, half unseen")?;
        }
        let of = match facts.queries {
            None => format!("{images} of {} images", facts.gallery),
            Some(queries) => format!("{images} images, {queries} queries, {} gallery images", facts.gallery),
        };
        writeln!(f, "{of}, seed {seed}, protocol {protocol}")?;
        writeln!(f, "{}", in_words(search, !self.0.parts.is_empty()))?;
        if let Some(objective) = options.objective {
            writeln!(f, "objective: {objective}")?;
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
        if !self.0.parts.is_empty() {
            write!(f, "\neach part alone, on the attacked model")?;
        }
        for part in &self.0.parts {
            let after = match (part.rank_after, part.preserved_rank_after) {
                (Some(rank), Some(kept)) => format!("{rank:.2} ({kept:.2})"),
                (Some(rank), None) => format!("{rank:.2}"),
                (None, _) => format!("{:.4}", part.embedding_shift),
            };
            write!(f, "\n  {:<50}{after:>8}", part.name)?;
        }
        write!(f, "\n\n{:.1} s on {} ({})", self.0.seconds, facts.provenance.device, facts.provenance.instruction_set)
    }
}

/// The search and its parameters, as in `24 steps of 0.0100, 3 random starts`; whether its parts follow.
fn in_words(search: &Search, has_parts: bool) -> String {
    let starts = search.restarts.filter(|_| search.random_start == Some(true));
    let starts = starts.map_or_else(String::new, |restarts| format!(", {restarts} random starts"));
    let iterations = search.iterations.unwrap_or(0);
    match search.kind.unwrap_or_default() {
        SearchKind::Pgd => format!("{iterations} steps of {:.4}{starts}", search.step.unwrap_or(0.0)),
        SearchKind::Apgd => format!("APGD, {iterations} steps{starts}"),
        SearchKind::Square => format!("Square attack, {} queries", search.query_budget.unwrap_or(0)),
        SearchKind::Standard if has_parts => "the standard attack; what each part found alone stands below".to_owned(),
        SearchKind::Standard => "the standard attack".to_owned(),
    }
}

impl RecordTable<'_> {
    /// Measured values with their labels.
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

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_record::{AttackId, PartOutcome, sample};

    fn record(attack: AttackId) -> Record {
        let record = sample::record("mnist-ct", sample::subject(), attack, 2, 0.25, 4.32);
        Record { rank_before: Some(51.23), rank_before_stderr: Some(0.87), rank_after_stderr: Some(0.21), ..record }
    }

    /// The numbers of the line that begins with `name`.
    fn line(table: &str, name: &str) -> Vec<String> {
        let line = table.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with("  ")));
        let line = line.unwrap_or_else(|| panic!("no line '{name}' in\n{table}"));
        line.split("  ").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn every_number_of_a_rank_attack_is_in_its_table() {
        let mut record = record(AttackId::SP_QA_PLUS);
        (record.preserved_rank_before, record.preserved_rank_after) = (Some(1.11), Some(2.22));
        (record.embedding_shift, record.tie_share, record.undecided_share, record.seconds) = (0.8225, 3.33, 4.44, 7.65);
        record.cell.spec.search.restarts = Some(3);
        record.cell.spec.search.random_start = Some(true);
        let table = RecordTable(&record).to_string();
        assert_eq!(line(&table, "rank, %"), ["51.23 ± 0.87", "4.32 ± 0.21"]);
        assert_eq!(line(&table, "rank of preserved, %"), ["1.11", "2.22"]);
        assert_eq!(line(&table, "embedding shift"), ["0.8225"]);
        assert_eq!(line(&table, "tied ranks"), ["3.33 %"]);
        assert_eq!(line(&table, "below resolution"), ["4.44 %"]);
        assert!(table.starts_with("sp-qa+ on mnist (c2f2, cosine), m = 2, ε = 0.25\n"), "{table}");
        assert!(table.contains("\n1000 of 10000 images, seed 0, protocol paper\n24 steps of 0.0100, 3 random starts\n"));
        assert!(table.ends_with("\n\n7.7 s on cpu (avx2)") || table.ends_with("\n\n7.6 s on cpu (avx2)"), "{table}");
    }

    #[test]
    fn other_searches_are_named_with_their_parameters_and_parts() {
        let mut record = record(AttackId::CA_PLUS);
        let words = |search| {
            RecordTable(&Record {
                cell: Cell { spec: AttackSpec { search, ..record.cell.spec }, ..record.cell.clone() },
                ..record.clone()
            })
            .to_string()
        };
        let search = |kind| Search { kind: Some(kind), ..Search::default() };
        assert!(words(Search { iterations: Some(100), ..search(SearchKind::Apgd) }).contains("\nAPGD, 100 steps\n"));
        assert!(words(Search { query_budget: Some(30), ..search(SearchKind::Square) }).contains("\nSquare attack, 30 queries\n"));
        assert!(words(search(SearchKind::Standard)).contains("\nthe standard attack\n"));
        let part = PartOutcome {
            name: "square".into(),
            rank_after: Some(7.125),
            preserved_rank_after: None,
            embedding_shift: 0.5,
            gradients: 0.0,
            queries: 1000.0,
        };
        let longest = "apgd on the soft rank, from the result of square";
        let preserving = PartOutcome { name: longest.into(), preserved_rank_after: Some(3.1), ..part.clone() };
        record.parts = vec![part.clone(), PartOutcome { name: "apgd".into(), rank_after: None, ..part }, preserving];
        let table = RecordTable(&record).to_string();
        assert_eq!((line(&table, "  square"), line(&table, "  apgd")), (vec!["7.12".to_owned()], vec!["0.5000".to_owned()]));
        assert_eq!(line(&table, &format!("  {longest}")), ["7.12 (3.10)"]);
    }

    #[test]
    fn every_recall_of_a_shift_is_in_its_table() {
        let mut record = record(AttackId::EmbeddingShift);
        (record.rank_before, record.rank_after, record.cell.spec.targets) = (None, None, 0);
        (record.recall_at_1_before, record.recall_at_1_after) = (Some(98.76), Some(1.23));
        (record.recall_at_10_before, record.recall_at_10_after) = (Some(99.21), Some(4.56));
        (record.recall_at_100_before, record.recall_at_100_after) = (Some(99.87), Some(7.89));
        let source = WhiteBox {
            rank_before: None,
            rank_after: None,
            recall_at_1_before: Some(97.65),
            recall_at_1_after: Some(0.98),
            embedding_shift: 0.5,
        };
        record.white_box = Some(source);
        let table = RecordTable(&record).to_string();
        assert_eq!(line(&table, "recall at 1, %"), ["98.76", "1.23"]);
        assert_eq!(line(&table, "recall at 10, %"), ["99.21", "4.56"]);
        assert_eq!(line(&table, "recall at 100, %"), ["99.87", "7.89"]);
        assert_eq!(line(&table, "white-box recall at 1, %"), ["97.65", "0.98"]);
        assert!(!table.contains("rank, %"), "{table}");
    }

    #[test]
    fn every_number_of_a_transferred_universal_perturbation_is_in_its_table() {
        let mut record = record(AttackId::CA_PLUS);
        record.cell.spec.universal = Some(SharedBy { batches: 5, perturbations: 3 });
        record.unseen = Some(Unseen { rank_before: 48.76, rank_after: 9.87, rank_after_stderr: Some(0.65) });
        record.white_box = Some(WhiteBox {
            rank_before: Some(47.65),
            rank_after: Some(3.21),
            recall_at_1_before: None,
            recall_at_1_after: None,
            embedding_shift: 0.5,
        });
        record.facts.queries = Some(77);
        let table = RecordTable(&record).to_string();
        assert_eq!(line(&table, "rank, seen images, %"), ["51.23 ± 0.87", "4.32 ± 0.21"]);
        assert_eq!(line(&table, "rank, unseen images, %"), ["48.76", "9.87 ± 0.65"]);
        assert_eq!(line(&table, "white-box rank, %"), ["47.65", "3.21"]);
        assert!(table.contains("\n15 universal perturbations, each for 200 images: half of them"), "{table}");
        assert!(table.contains("\n1000 images, 77 queries, 10000 gallery images, seed 0"), "{table}");
    }
}
