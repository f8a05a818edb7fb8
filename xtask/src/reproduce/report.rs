//! What a reproduction leaves in its folder and says on standard output.

use super::scope::Scope;
use crate::files;
use anyhow::{Context, Result};
use rankle_report::{Comparison, Record, curves, markdown, spreadsheet, terminal};
use std::path::Path;

/// Writes report.md, cells.csv, curves.svg and curves.png beside the records.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn write(folder: &Path, scope: &Scope, comparisons: &[Comparison<'_>], records: &[Record]) -> Result<()> {
    files::write(&folder.join("cells.csv"), spreadsheet::render(comparisons)?)?;
    let setting = scope.setting();
    files::write(&folder.join("curves.svg"), curves::svg(&setting, records)?)?;
    files::write(&folder.join("curves.png"), curves::png(&setting, records)?)?;
    files::write(&folder.join("report.md"), as_markdown(scope, comparisons, records))
}

/// The tables for a terminal, the cells that are furthest away, and where the files are.
pub(crate) fn for_people(comparisons: &[Comparison<'_>], folder: &str) -> String {
    let tables: String = comparisons.iter().map(|comparison| terminal::render(comparison) + "\n").collect();
    let furthest = terminal::furthest(comparisons);
    format!("{tables}{furthest}\nrecords.jsonl, report.md, cells.csv, curves.svg and curves.png are in {folder}\n")
}

/// One array of all measured cells.
///
/// # Errors
/// None that a record read from JSON can cause.
pub(crate) fn as_json(comparisons: &[Comparison<'_>]) -> Result<String> {
    let rows: Vec<_> = comparisons.iter().flat_map(Comparison::measured).collect();
    serde_json::to_string_pretty(&rows).context("the cells cannot be written as JSON")
}

fn as_markdown(scope: &Scope, comparisons: &[Comparison<'_>], records: &[Record]) -> String {
    let mut out = "# The published MNIST tables, reproduced\n\n".to_owned();
    out += &format!("Scope: {scope}.\n\n{}\n", markdown::legend());
    out += "![Rank against epsilon with one target, ours and published](curves.svg)\n\n";
    for comparison in comparisons {
        out += &markdown::render(comparison);
        let of_table = |record: &&Record| record.cell.table.as_deref() == Some(&comparison.table.id);
        out += &provenance(&records.iter().filter(of_table).collect::<Vec<_>>());
        out.push('\n');
    }
    let seconds: f64 = records.iter().map(|record| record.seconds).sum();
    out += &format!("All cells together took {seconds:.0} seconds.\n");
    out
}

/// What made the numbers: every value that occurs among the records.
fn provenance(records: &[&Record]) -> String {
    let distinct = |text: &dyn Fn(&Record) -> String| {
        let mut values: Vec<String> = Vec::new();
        for value in records.iter().map(|record| text(record)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(", ")
    };
    format!(
        "\nWeights: {}. Protocol {}, gallery of {} images, computed on {} by version {}, method {}.\n",
        distinct(&|record| format!("{} (SHA-256 {})", record.cell.weights, record.cell.weights_sha256)),
        distinct(&|record| record.cell.protocol.clone()),
        distinct(&|record| record.cell.gallery.to_string()),
        distinct(&|record| format!("{} ({})", record.device, record.instruction_set)),
        distinct(&|record| record.code_version.clone()),
        distinct(&|record| record.cell.method_version.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use rankle_report::published;
    use serde_json::Value;

    fn comparisons(records: &[Record]) -> Vec<Comparison<'_>> {
        published::tables().iter().map(|table| Comparison::new(table, &sample::SCOPE.setting(), records)).collect()
    }

    #[test]
    fn the_json_is_one_array_of_160_cells() {
        let (_, records) = sample::answered();
        let cells: Vec<Value> = serde_json::from_str(&as_json(&comparisons(&records)).unwrap()).unwrap();
        assert_eq!(cells.len(), 160);
        let fields = "table dataset model distance loss defense attack targets epsilon published measured stderr images gallery seed seconds";
        for cell in &cells {
            assert!(fields.split(' ').all(|field| !cell[field].is_null()), "{cell}");
            let (ours, theirs) = (cell["measured"].as_f64().unwrap(), cell["published"].as_f64().unwrap());
            assert!((ours - theirs - 0.5).abs() < 1e-9, "{cell}");
        }
    }

    #[test]
    fn the_folder_holds_the_report_and_the_pictures() {
        let (_, mut records) = sample::answered();
        records[7].instruction_set = "avx512".into(); // gone on with on another machine
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &sample::SCOPE, &comparisons(&records), &records).unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert!(read("curves.png").starts_with(b"\x89PNG"));
        assert!(read("curves.svg").starts_with(b"<svg"));
        assert_eq!(String::from_utf8(read("cells.csv")).unwrap().lines().count(), 161);
        let text = String::from_utf8(read("report.md")).unwrap();
        for part in ["(curves.svg)", "1000 images attacked per cell, seed 0", "(CT)", "(CTD)", "SHA-256 5f5f", "took 720 seconds"]
        {
            assert!(text.contains(part), "{part}");
        }
        assert_eq!(text.matches("computed on cpu (avx2), cpu (avx512) by version 0.1.0, method 1").count(), 1);
        assert_eq!(text.matches("computed on cpu (avx2) by version").count(), 1);
        assert!(!text.contains(files::root().to_str().unwrap()), "no path of this machine");
    }

    #[test]
    fn people_see_both_tables_and_where_the_files_are() {
        let (_, records) = sample::answered();
        let text = for_people(&comparisons(&records), "target/reproduce/mnist");
        assert!(text.contains("mnist-ct ·") && text.contains("mnist-ctd ·"));
        assert!(text.ends_with("are in target/reproduce/mnist\n"));
        assert!(text.contains("160 of 160 cells of all tables are measured; furthest from the published ranks:\n"));
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
}
