//! Report of an experiment on tables: files in its folder, and the answer on standard output.

use super::Scope;
use crate::files;
use anyhow::{Context, Result};
use rankle_report::curves::{self, Panel};
use rankle_report::{Comparison, Record, markdown, spreadsheet, terminal};
use std::path::Path;

pub(super) struct Report<'a> {
    pub(super) title: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) comparisons: &'a [Comparison<'a>],
    pub(super) panels: Vec<Panel<'a>>,
    /// Pictures of single attacks: files in the folder of the run, with captions.
    pub(super) pictures: Vec<(String, String)>,
}

impl Report<'_> {
    /// Writes report.md, cells.csv, curves.svg, curves.png and curves.pdf into the folder of the records.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn write(&self, folder: &Path, records: &[Record]) -> Result<()> {
        files::write(&folder.join("cells.csv"), spreadsheet::render(self.comparisons)?)?;
        files::write(&folder.join("curves.svg"), curves::svg(&self.panels)?)?;
        files::write(&folder.join("curves.png"), curves::png(&self.panels)?)?;
        files::write(&folder.join("curves.pdf"), curves::pdf(&self.panels)?)?;
        files::write(&folder.join("report.md"), self.as_markdown(records))
    }

    /// Text for a terminal: the tables, the cells furthest from the published ranks, and the folder of the files.
    pub(super) fn for_people(&self, folder: &str) -> String {
        let tables: String = self.comparisons.iter().map(|comparison| terminal::render(comparison) + "\n").collect();
        let furthest = terminal::furthest(self.comparisons);
        format!(
            "{tables}{furthest}\nrecords.jsonl, report.md, cells.csv, curves.svg, .png, .pdf and pictures of single attacks are in {folder}\n"
        )
    }

    /// All measured cells as a JSON array.
    ///
    /// # Errors
    /// None that a record read from JSON can cause.
    pub(super) fn as_json(&self) -> Result<String> {
        let rows: Vec<_> = self.comparisons.iter().flat_map(Comparison::measured).collect();
        serde_json::to_string_pretty(&rows).context("the cells cannot be written as JSON")
    }

    fn as_markdown(&self, records: &[Record]) -> String {
        let mut out = format!("# {}\n\n", self.title);
        out += &format!("Scope: {}.\n\n{}\n", self.scope, markdown::legend());
        let caption = curves::caption(&self.panels);
        out += &format!("![Rank against epsilon with one target, ours and published](curves.svg)\n\n*{caption}*\n\n");
        for comparison in self.comparisons {
            out += &markdown::render(comparison);
            let of_table = |record: &&Record| record.cell.table.as_deref() == Some(&comparison.table.id);
            out += &provenance(&records.iter().filter(of_table).collect::<Vec<_>>());
            out.push('\n');
        }
        for (file, caption) in &self.pictures {
            out += &format!("{caption}:\n\n![{caption}]({file})\n\n");
        }
        let seconds: f64 = records.iter().map(|record| record.seconds).sum();
        out += &format!("All cells together took {seconds:.0} seconds.\n");
        out
    }
}

/// Distinct values in the order of their first appearance.
pub(super) fn distinct(values: impl Iterator<Item = String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct.join(", ")
}

/// Provenance of a table: every value that occurs among the records.
fn provenance(records: &[&Record]) -> String {
    let distinct = |text: &dyn Fn(&Record) -> String| distinct(records.iter().map(|record| text(record)));
    format!(
        "\nWeights: {}. Protocol {}, gallery of {} images, computed on {} by version {}, method {}.\n",
        distinct(&|record| format!("{} (SHA-256 {})", record.cell.subject.weights, record.facts.provenance.weights_sha256)),
        distinct(&|record| record.cell.spec.protocol.to_string()),
        distinct(&|record| record.facts.gallery.to_string()),
        distinct(&|record| record.facts.provenance.machine()),
        distinct(&|record| record.facts.provenance.code_version.clone()),
        distinct(&|record| record.facts.provenance.method_version.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{kept, sample};
    use super::*;
    use rankle_report::published;
    use serde_json::Value;

    /// Calls `look` with the report of the MNIST tables on `records`.
    fn with_report<T>(records: &[Record], caveat: Option<&str>, look: impl Fn(&Report<'_>) -> T) -> T {
        let (scope, setting) = (Scope::default(), Scope::default().setting());
        let tables = ["mnist-ct", "mnist-ctd"].map(|id| published::table(id).unwrap());
        let comparisons: Vec<_> = tables.into_iter().map(|table| Comparison::new(table, &setting, records, caveat)).collect();
        let panels = comparisons.iter().map(|ours| Panel { ours, theirs: ours.table }).collect();
        look(&Report {
            title: "The tables",
            scope: &scope,
            comparisons: &comparisons,
            panels,
            pictures: vec![("p.png".into(), "CA+".into())],
        })
    }

    #[test]
    fn the_json_is_one_array_of_160_cells() {
        let (_, records) = sample::answered();
        let text = with_report(&records, None, |report| report.as_json()).unwrap();
        let cells: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(cells.len(), 160);
        let fields = "table dataset model distance loss defense attack targets epsilon published measured stderr images gallery seed seconds";
        for cell in &cells {
            assert!(fields.split(' ').all(|field| !cell[field].is_null()), "{cell}");
            let (ours, theirs) = (cell["measured"].as_f64().unwrap(), cell["published"].as_f64().unwrap());
            assert!((ours - theirs - 0.5).abs() < 1e-9, "{cell}");
        }
        // Outside readers rely on the order of the fields, and on no field more.
        let first = "[\n  {\n    \"published\": 50.0,\n    \"measured\": 50.5,\n    \"stderr\": 0.25,\n    \"difference\": 0.5,\n    \"attack\": \"ca+\",";
        assert!(text.starts_with(first), "{}", &text[..200]);
    }

    #[test]
    fn the_folder_holds_the_report_and_the_pictures() {
        let (_, mut records) = sample::answered();
        records[7].facts.provenance.instruction_set = "avx512".into(); // resumed on another machine
        let folder = tempfile::tempdir().unwrap();
        with_report(&records, None, |report| report.write(folder.path(), &records)).unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert!(read("curves.png").starts_with(b"\x89PNG"));
        assert!(read("curves.svg").starts_with(b"<svg"));
        assert!(read("curves.pdf").starts_with(b"%PDF"));
        assert_eq!(String::from_utf8(read("cells.csv")).unwrap().lines().count(), 161);
        let text = String::from_utf8(read("report.md")).unwrap();
        for part in [
            "# The tables\n",
            "(curves.svg)\n\n*Mean normalized rank after the attack against ε",
            "CA+:\n\n![CA+](p.png)\n",
            "1000 images attacked per cell, seed 0",
            "(CT)",
            "(CTD)",
            "SHA-256 5f5f",
            "took 720 seconds",
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert_eq!(text.matches("computed on cpu (avx2), cpu (avx512) by version 0.1.0, method 1").count(), 1);
        assert_eq!(text.matches("computed on cpu (avx2) by version").count(), 1);
        assert!(!text.contains(kept::root().to_str().unwrap()), "no path of this machine");
    }

    #[test]
    fn people_see_both_tables_and_where_the_files_are() {
        let (_, records) = sample::answered();
        let text = with_report(&records, None, |report| report.for_people("target/reproduce/mnist"));
        assert!(text.contains("mnist-ct ·") && text.contains("mnist-ctd ·"));
        assert!(text.ends_with("are in target/reproduce/mnist\n"));
        assert!(text.contains("160 of 160 cells of all tables are measured; furthest from the published ranks:\n"));
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }

    /// Numbers of a barely trained model always carry the caveat.
    #[test]
    fn a_caveat_is_in_every_output() {
        let (_, records) = sample::answered();
        let folder = tempfile::tempdir().unwrap();
        let (human, json) = with_report(&records, Some("quick model"), |report| {
            report.write(folder.path(), &records).unwrap();
            (report.for_people("here"), report.as_json().unwrap())
        });
        assert_eq!(human.matches("BEWARE: quick model").count(), 2);
        assert_eq!(json.matches("\"caveat\": \"quick model\"").count(), 160);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("report.md").matches("**Beware: quick model.**").count(), 2);
        assert_eq!(read("cells.csv").matches(",quick model,\n").count(), 160);
        assert_eq!(read("curves.svg").matches("quick model").count(), 2);
    }
}
