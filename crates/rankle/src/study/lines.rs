//! Plans in lines of JSON: the work of `rankle sweep`, followed by a table.

use super::{Outcome, beyond, shown};
use crate::commands::sweep::Cells;
use crate::device::Device;
use anyhow::{Context, Result};
use rankle_report::{Cell, Grid, Record};
use std::path::{Path, PathBuf};

/// Computes the cells that `records.jsonl` in the output folder does not hold yet.
///
/// # Errors
/// As `rankle sweep`.
pub(crate) fn compute(plan: Vec<Cell>, file: &Path, output: &Path, datasets: Option<&Path>, device: Device) -> Result<Outcome> {
    let records = output.join("records.jsonl");
    let dataset_dir = |_: &str| datasets.map(Path::to_owned);
    let cells = Cells {
        plan,
        file,
        records: &records,
        image_ranks: false,
        dataset_dir: &dataset_dir as &dyn Fn(&str) -> Option<PathBuf>,
        prefix: None,
    };
    let records = cells.compute(device)?;
    let json = serde_json::to_string_pretty(&records).context("the records cannot be written as JSON")?;
    let text = format!("{}\nrecords.jsonl is in {}\n", table(&records).text(), shown(output));
    Ok(Outcome { text, json })
}

fn table(records: &[Record]) -> Grid {
    let row = |record: &Record| {
        let error = record.rank_after_stderr.map_or_else(String::new, |error| format!(" ± {error:.2}"));
        let rank = match record.rank_after {
            Some(_) => beyond::before_after(record.rank_before, record.rank_after) + &error,
            None => "–".to_owned(),
        };
        (record.cell.to_string(), vec![record.cell.images.to_string(), rank, format!("{:.3}", record.embedding_shift)])
    };
    let columns = ["images", "mean rank in %", "embedding shift"].map(str::to_owned);
    Grid { corner: "cell".to_owned(), columns: columns.into(), rows: records.iter().map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_record_is_a_row() {
        let mut records = sample::answered().1;
        records.truncate(2);
        (records[1].rank_before, records[1].rank_after, records[1].rank_after_stderr) = (None, None, None);
        let text = table(&records).text();
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows.len() == 3 && rows[0].trim_start().starts_with("cell") && rows[0].ends_with("embedding shift"), "{text}");
        assert!(rows[1].contains("50.00 → 50.50 ± 0.25") && rows[1].contains("  1000  ") && rows[1].ends_with("0.822"), "{text}");
        assert!(rows[2].contains("  –  "), "{text}");
    }
}
