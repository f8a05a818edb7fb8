//! Reports of experiments whose cells are in no published table.

use super::models::Models;
use super::report::distinct;
use super::{Outcome, Scope, shown};
use crate::files;
use anyhow::{Context, Result};
use rankle_report::{AttackId, Grid, Record, System};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Text above the tables.
pub(super) struct About<'a> {
    pub(super) title: &'a str,
    pub(super) scope: &'a Scope,
    /// Meaning of the cells.
    pub(super) note: &'a str,
    /// Caveats about the models, shown with the numbers.
    pub(super) caveats: &'a [String],
}

/// Caveats of the models that have one, each with the id of its model.
pub(super) fn caveats(models: &Models, systems: &[System]) -> Result<Vec<String>> {
    let caveat = |system: &System| Ok(models.of(system)?.caveat().map(|caveat| format!("{}: {caveat}", system.id())));
    systems.iter().filter_map(|system| caveat(system).transpose()).collect()
}

pub(super) fn heading(attack: AttackId) -> String {
    format!("{}: {}", attack.name().to_uppercase(), attack.description())
}

/// Rank after a plus attack, which starts at any rank; ranks before and after a minus attack, which starts near the top.
pub(super) fn ranks(attack: AttackId, before: Option<f64>, after: Option<f64>) -> String {
    match attack {
        AttackId::CA_PLUS | AttackId::QA_PLUS | AttackId::SP_QA_PLUS => number(after),
        _ => before_after(before, after),
    }
}

/// Two ranks in percent, as in `1.99 → 90.42`.
pub(super) fn before_after(before: Option<f64>, after: Option<f64>) -> String {
    format!("{} → {}", number(before), number(after))
}

fn number(rank: Option<f64>) -> String {
    rank.map_or_else(|| "?".to_owned(), |rank| format!("{rank:.2}"))
}

/// Writes report.md and cells.json, with the records in the order of the tables; returns the same as text and JSON.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn report(
    folder: &Path,
    about: &About<'_>,
    grids: &[(String, Grid)],
    pictures: &[(String, String)],
    records: &[Record],
) -> Result<Outcome> {
    let (mut markdown, mut text) = body(about, grids, pictures);
    // A cell in two tables was computed once.
    let once: BTreeMap<String, f64> = records.iter().map(|record| (record.identity(), record.seconds)).collect();
    let seconds: f64 = once.values().sum();
    let machines = distinct(records.iter().map(|record| record.facts.provenance.machine()));
    let weights = records.iter().flat_map(|record| {
        let of = |name: &str, hash: &str| format!("{name} (SHA-256 {hash})");
        let from = record.cell.from.as_ref().map(|from| of(&from.weights, &from.weights_sha256));
        [Some(of(&record.cell.subject.weights, &record.facts.provenance.weights_sha256)), from].into_iter().flatten()
    });
    markdown += &format!("\nWeights: {}. Computed on {machines}.\n", distinct(weights));
    markdown += &format!("\nAll cells together took {seconds:.0} seconds.\n");
    let json = json(records, about.caveats)?;
    files::write(&folder.join("cells.json"), &json)?;
    files::write(&folder.join("report.md"), markdown)?;
    text += &format!("\nrecords.jsonl, cells.json and report.md are in {}\n", shown(folder));
    Ok(Outcome { text, json })
}

/// The report in Markdown and as plain text, without provenance.
pub(super) fn body(about: &About<'_>, grids: &[(String, Grid)], pictures: &[(String, String)]) -> (String, String) {
    let About { title, scope, note, caveats } = about;
    let mut markdown = format!("# {title}\n\nScope: {scope}.\n\n{note}\n");
    // One line per clause, since the note is wider than a terminal.
    let mut text = format!("{title}\n{}\n", note.replace(". ", ".\n").replace("; ", ";\n"));
    for caveat in *caveats {
        markdown += &format!("\n**Beware: {caveat}.**\n");
        text += &format!("BEWARE: {caveat}\n");
    }
    for (heading, grid) in grids {
        if !heading.is_empty() {
            markdown += &format!("\n## {heading}\n");
            text += &format!("\n {heading}\n");
        }
        markdown += &format!("\n{}", grid.markdown());
        text += &format!("\n{}", grid.text());
    }
    (markdown + &gallery(pictures), text)
}

/// Pictures in Markdown, each below its caption.
pub(super) fn gallery(pictures: &[(String, String)]) -> String {
    let one = |(file, caption): &(String, String)| format!("\n{}:\n\n![{caption}]({file})\n", caption.trim_end_matches('.'));
    pictures.iter().map(one).collect()
}

/// The records as a JSON array; each has the field `caveat` if there are caveats.
fn json(records: &[Record], caveats: &[String]) -> Result<String> {
    let object = |record: &Record| -> Result<Value> {
        let mut value = serde_json::to_value(record).context("a record cannot be written as JSON")?;
        if let (Value::Object(fields), false) = (&mut value, caveats.is_empty()) {
            fields.insert("caveat".to_owned(), caveats.join("; ").into());
        }
        Ok(value)
    };
    let objects = records.iter().map(object).collect::<Result<Vec<_>>>()?;
    serde_json::to_string_pretty(&objects).context("the records cannot be written as JSON")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_report_has_tables_pictures_and_caveats_in_every_output() {
        let folder = tempfile::tempdir().unwrap();
        let records = sample::answered().1;
        let scope = Scope::QUICK;
        let caveats = ["mnist-x: quick model".to_owned()];
        let about = About { title: "A title", scope: &scope, note: "A note.", caveats: &caveats };
        let grid = Grid { corner: "x".into(), columns: vec!["y".into()], rows: vec![("row".into(), vec!["1.00".into()])] };
        let pictures = [("p.png".to_owned(), "A picture".to_owned())];
        let outcome = report(folder.path(), &about, &[("Heading".into(), grid)], &pictures, &records[..3]).unwrap();
        let markdown = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
        for part in ["# A title\n", "## Heading\n", "| row | 1.00 |", "![A picture](p.png)", "**Beware: mnist-x", "SHA-256 5f5f"]
        {
            assert!(markdown.contains(part), "{part} in {markdown}");
        }
        assert!(
            outcome.text.contains("BEWARE: mnist-x: quick model") && outcome.text.contains(" row  1.00\n"),
            "{}",
            outcome.text
        );
        assert_eq!(std::fs::read_to_string(folder.path().join("cells.json")).unwrap(), outcome.json);
        let cells: Vec<Value> = serde_json::from_str(&outcome.json).unwrap();
        assert!(cells.len() == 3 && cells.iter().all(|cell| cell["caveat"] == "mnist-x: quick model"));
        assert!(!json(&records[..1], &[]).unwrap().contains("caveat"));
    }

    #[test]
    fn ranks_are_shown_by_direction() {
        assert_eq!(ranks(AttackId::CA_PLUS, Some(50.0), Some(2.256)), "2.26");
        assert_eq!(ranks(AttackId::SP_QA_MINUS, Some(0.5), Some(8.0)), "0.50 → 8.00");
        assert_eq!(before_after(None, Some(1.0)), "? → 1.00");
    }
}
