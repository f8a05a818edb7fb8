//! Tables as comma-separated values, in long form: one line per measured cell.

use crate::published::PublishedTable;
use crate::{Comparison, Error, Protocol, Result, Row};
use serde::Serialize;

/// One line. Ranks are in percent, differences in points of rank; `measured` of `es` is a shift in units of the distance.
#[derive(Serialize)]
struct Line<'a> {
    table: &'a str,
    attack: &'a str,
    targets: usize,
    epsilon: f64,
    published: Option<f64>,
    measured: Option<f64>,
    stderr: Option<f64>,
    difference: Option<f64>,
    rank_before: Option<f64>,
    preserved_rank_before: Option<f64>,
    preserved_rank_after: Option<f64>,
    embedding_shift: f64,
    tie_share: f64,
    images: usize,
    gallery: usize,
    seed: u64,
    protocol: Protocol,
    weights_sha256: &'a str,
    seconds: f64,
    /// Limitation of the numbers; empty if there is none.
    caveat: Option<&'a str>,
    /// Deviations of the cell from the paper's tables; empty if there are none.
    change: String,
}

/// Renders all measured cells of the tables, with a heading line.
///
/// # Errors
/// [`Error::Make`] if the text cannot be made.
pub fn render(comparisons: &[Comparison<'_>]) -> Result<String> {
    let rows = comparisons.iter().flat_map(|comparison| comparison.measured().map(|row| (comparison.table, row)));
    to_text(rows.filter_map(|(table, row)| line(table, row)))
}

/// Serializes `lines` under a heading made of their field names.
pub(crate) fn to_text<T: Serialize>(lines: impl Iterator<Item = T>) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.serialize(line).map_err(Error::make("the CSV table"))?;
    }
    let bytes = writer.into_inner().map_err(Error::make("the CSV table"))?;
    String::from_utf8(bytes).map_err(Error::make("the CSV table"))
}

fn line<'a>(table: &'a PublishedTable, row: &Row<'a>) -> Option<Line<'a>> {
    let record = row.record?;
    Some(Line {
        table: &table.id,
        attack: row.published.attack.name(),
        targets: row.published.targets,
        epsilon: row.published.epsilon,
        published: row.published.rank,
        measured: row.measured(),
        stderr: row.stderr(),
        difference: row.difference().map(|difference| (difference * 1e6).round() / 1e6), // 0.5, not 0.4999999999999982
        rank_before: record.rank_before,
        preserved_rank_before: record.preserved_rank_before,
        preserved_rank_after: record.preserved_rank_after,
        embedding_shift: record.embedding_shift,
        tie_share: record.tie_share,
        images: record.cell.images,
        gallery: record.facts.gallery,
        seed: record.cell.spec.seed,
        protocol: record.cell.spec.protocol,
        weights_sha256: &record.facts.provenance.weights_sha256,
        seconds: record.seconds,
        caveat: row.caveat,
        change: table.change.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, published, synthetic};

    #[test]
    fn one_line_per_measured_cell_in_full_precision() {
        let mut records = synthetic::complete("mnist-ctd");
        records.truncate(3);
        records[0].rank_after = Some(1.0 / 3.0);
        let empty = Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records, None);
        let table = published::table("mnist-ctd").unwrap();
        let text = render(&[empty, Comparison::new(table, &synthetic::setting(), &records, Some("half trained"))]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("table,attack,targets,epsilon,published,measured,stderr,difference,rank_before,"));
        assert!(
            lines[1].starts_with("mnist-ctd,ca+,1,0.0,50.0,0.3333333333333333,0.25,-49.666667,50.0,,,0.822,"),
            "{}",
            lines[1]
        );
        assert!(lines[0].ends_with(",seconds,caveat,change") && lines[1].ends_with(",4.5,half trained,"));
        assert!(lines[3].starts_with("mnist-ctd,ca+,1,0.03,47.4,47.9,0.25,0.5,"), "{}", lines[3]);
        let mut strict = table.clone();
        strict.change = Change { protocol: Some(Protocol::Strict), ..Change::default() };
        for record in &mut records {
            record.cell.spec.protocol = Protocol::Strict;
            record.cell.spec.search.kind = Some(rankle_record::SearchKind::Apgd);
        }
        let text = render(&[Comparison::new(&strict, &synthetic::setting(), &records, None)]).unwrap();
        assert!(text.lines().nth(1).unwrap().ends_with(",4.5,,\"protocol = \"\"strict\"\"\""), "{text}");
    }
}
