//! Results committed in `xtask/results`: for each experiment the files of a run at its default size.

use super::Weights;
use super::plan::tests::named;
use super::scope::Scope;
use crate::files;
use anyhow::Result;
use rankle_report::{Cell, Grid, Journal, Record, Source, System};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Committed files of one experiment.
pub(super) struct CommittedResults {
    experiment: String,
    folder: PathBuf,
}

impl CommittedResults {
    pub(super) fn of(experiment: &str) -> Self {
        Self { experiment: experiment.to_owned(), folder: root().join("xtask/results").join(experiment) }
    }

    /// Records beside the report, or beside the models that the report is about.
    fn records(&self) -> Vec<Record> {
        let journal = |place: &Path| Journal::at(place.join("records.jsonl")).read().unwrap().records;
        let beside = match std::fs::read(self.folder.join("cells.json")) {
            Ok(cells) => serde_json::from_slice(&cells).unwrap(),
            Err(_) => journal(&self.folder),
        };
        if !beside.is_empty() {
            return beside;
        }
        let systems = named(&self.experiment).study.work(&Scope::default()).into_iter().map(|(system, _)| system);
        systems.flat_map(|system| journal(&root().join("models").join(system.id()))).collect()
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub(super) fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    /// Records in the order of a plan, made for the recorded paths of the weights. Checks that the plan asks for these records,
    /// and that they name the weights that are shipped now.
    pub(super) fn answer(&self, plan: &dyn Fn(Weights<'_>) -> Result<Vec<Cell>>) -> Vec<Record> {
        let mut rest = self.records();
        let mut hashes = HashMap::new();
        for Record { cell, facts, .. } in rest.iter().filter(|record| record.cell.subject.weights.starts_with("models/")) {
            let hash = hashes.entry(cell.subject.weights.clone()).or_insert_with(|| sha256(&cell.subject.weights));
            assert_eq!(*hash, facts.provenance.weights_sha256, "{}", cell.subject.weights);
        }
        let places: Vec<String> = rest.iter().map(|record| record.cell.subject.weights.clone()).collect();
        let weights = |system: &System| {
            let place = format!("models/{}/model.safetensors", system.id());
            Ok(places.iter().find(|weights| weights.ends_with(&place)).unwrap_or_else(|| panic!("no record of {place}")).clone())
        };
        let plan = plan(&weights).unwrap();
        assert_eq!(rest.len(), plan.len());
        let from = |source: &Option<Source>| source.as_ref().map(|source| source.weights.clone());
        let record = |planned: &Cell| {
            let asked = |Record { cell, .. }: &Record| {
                planned.matches(cell)
                    && planned.subject.weights == cell.subject.weights
                    && from(&planned.from) == from(&cell.from)
            };
            // The first match: a planned variation states only the fields that it changes.
            rest.remove(rest.iter().position(asked).unwrap_or_else(|| panic!("no record of {planned:?}")))
        };
        plan.iter().map(record).collect()
    }

    /// Checks that the report has exactly these tables.
    pub(super) fn assert_grids(&self, grids: &[(String, Grid)]) {
        self.assert_tables(&grids.iter().map(|(_, grid)| grid.markdown()).collect::<String>());
    }

    /// Checks that the report begins with this title and note.
    pub(super) fn assert_note(&self, title: &str, note: &str) {
        let head = format!("# {title}\n\nScope: {}.\n\n{note}\n", Scope::default());
        assert!(self.text("report.md").starts_with(&head), "{}\n{head}", self.folder.display());
    }

    /// Checks that the report has exactly the table rows of `markdown`.
    pub(super) fn assert_tables(&self, markdown: &str) {
        let rows = |text: &str| text.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect::<Vec<_>>();
        let report = self.text("report.md");
        assert!(!rows(&report).is_empty());
        assert_eq!(rows(&report), rows(markdown), "{}", self.folder.display());
    }
}

pub(super) fn sha256(file: &str) -> String {
    files::hash(&std::fs::read(root().join(file)).unwrap())
}

mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Numbers with two decimal places.
    fn numbers(text: &str) -> impl Iterator<Item = &str> {
        let tokens = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        tokens.filter(|token| token.split_once('.').is_some_and(|(whole, rest)| !whole.is_empty() && rest.len() == 2))
    }

    /// The page of all results copies tables from reports: each section from the reports that it links to.
    #[test]
    fn the_tables_of_the_page_hold_numbers_of_the_reports_only() {
        let folder = root().join("xtask/results");
        let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let read = |experiment: &str| std::fs::read_to_string(folder.join(experiment).join("report.md")).unwrap();
        let mut compared = 0;
        for section in page.split("\n## ").skip(1) {
            let links = section.split("](").filter_map(|rest| rest.split_once("/report.md)")).map(|(experiment, _)| experiment);
            let reports: Vec<String> = links.map(read).collect();
            let known: HashSet<&str> = reports.iter().flat_map(|report| numbers(report)).collect();
            for row in section.lines().filter(|line| line.starts_with('|') && !reports.is_empty()) {
                for number in numbers(row) {
                    assert!(known.contains(number), "{number} is in no report that the section links to: {row}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 200, "{compared}");
    }
}
