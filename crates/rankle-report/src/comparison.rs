//! Our numbers beside the published ones.

use crate::published::{self, Table};
use crate::{Attack, Planned, Record, Setting};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// A difference of more than this many points of rank, and of more than [`NOTEWORTHY_ERRORS`], is marked in every table.
pub const NOTEWORTHY: f64 = 2.0;
/// In standard errors: see [`NOTEWORTHY`].
pub const NOTEWORTHY_ERRORS: f64 = 2.0;

/// A published table with our record for each of its cells, where there is one.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The published table.
    pub table: &'static Table,
    /// One row per published cell, in the order of [`Table::cells`].
    pub rows: Vec<Row<'a>>,
}

/// One published cell and our record of it. As JSON it is the object of a `reproduce` cell: `published`, `measured`, `stderr`,
/// `difference`, then all fields of the record; only measured rows can be serialized.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// What was published.
    pub published: published::Cell,
    /// What we measured; none yet, where there is no record.
    pub record: Option<&'a Record>,
}

/// How near a table is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many cells the published table has.
    pub cells: usize,
    /// For how many there is a record.
    pub measured: usize,
    /// How many of these are marked: see [`Row::noteworthy`].
    pub noteworthy: usize,
    /// The mean absolute difference, in points; none without records.
    pub mean: Option<f64>,
    /// The cell that is furthest away, and its difference.
    pub furthest: Option<(published::Cell, f64)>,
}

impl<'a> Comparison<'a> {
    /// Looks for each cell of the table among the records, as measured in `setting`; of several the last one counts.
    pub fn new(table: &'static Table, setting: &Setting, records: &'a [Record]) -> Self {
        let row = |published: published::Cell| {
            let published::Cell { attack, targets, epsilon, .. } = published;
            let wanted = Planned::new(table, "", attack, targets, epsilon, setting);
            Row { published, record: records.iter().rev().find(|record| wanted.asks_for(&record.cell)) }
        };
        Self { table, rows: table.cells().map(row).collect() }
    }

    /// The row of one cell.
    pub fn row(&self, attack: Attack, targets: usize, epsilon: f64) -> Option<&Row<'a>> {
        self.rows.iter().find(|row| {
            let published::Cell { attack: a, targets: t, epsilon: e, .. } = row.published;
            (a, t, e) == (attack, targets, epsilon)
        })
    }

    /// The rows that have a record with a rank.
    pub fn measured(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(|row| row.measured().is_some())
    }

    /// The values of `key` among the measured rows of one attack, each once, in the order of the table.
    pub(crate) fn measured_axis<T: PartialEq>(&self, attack: Attack, key: impl Fn(&published::Cell) -> T) -> Vec<T> {
        let mut values = Vec::new();
        for row in self.measured().filter(|row| row.published.attack == attack) {
            let value = key(&row.published);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// How near the table is.
    pub fn summary(&self) -> Summary {
        let differences: Vec<_> = self.rows.iter().filter_map(|row| Some((row.published, row.difference()?))).collect();
        let sizes = || differences.iter().map(|(_, difference)| difference.abs());
        Summary {
            cells: self.rows.len(),
            measured: differences.len(),
            noteworthy: self.rows.iter().filter(|row| row.noteworthy()).count(),
            mean: (!differences.is_empty()).then(|| sizes().sum::<f64>() / differences.len() as f64),
            furthest: differences.iter().copied().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())),
        }
    }
}

impl Row<'_> {
    /// Our mean rank after the attack, in percent.
    pub fn measured(&self) -> Option<f64> {
        self.record?.rank_after
    }

    /// Its standard error, in points.
    pub fn stderr(&self) -> Option<f64> {
        self.record?.rank_after_stderr
    }

    /// Ours less the published one, in points.
    pub fn difference(&self) -> Option<f64> {
        Some(self.measured()? - self.published.rank)
    }

    /// Whether the difference is marked: it is more than [`NOTEWORTHY`] points and more than [`NOTEWORTHY_ERRORS`] standard
    /// errors. Never without a standard error.
    pub fn noteworthy(&self) -> bool {
        let (Some(difference), Some(stderr)) = (self.difference(), self.stderr()) else { return false };
        difference.abs() > NOTEWORTHY.max(NOTEWORTHY_ERRORS * stderr)
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let record = self.record.ok_or_else(|| S::Error::custom("a cell without a record has no JSON form"))?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("published", &self.published.rank)?;
        map.serialize_entry("measured", &self.measured())?;
        map.serialize_entry("stderr", &self.stderr())?;
        map.serialize_entry("difference", &self.difference())?;
        let fields = serde_json::to_value(record).map_err(S::Error::custom)?;
        for (name, value) in fields.as_object().into_iter().flatten() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Summary {
    /// One sentence, as in `80 of 80 cells; 0.42 points away on average, ...`.
    pub fn sentence(&self) -> String {
        let Self { cells, measured, noteworthy, .. } = self;
        let (Some(mean), Some((cell, difference))) = (self.mean, self.furthest) else {
            return format!("0 of {cells} cells measured");
        };
        let published::Cell { attack, targets, epsilon, .. } = cell;
        let letter = attack.set_letter();
        format!(
            "{measured} of {cells} cells; {mean:.2} points away on average, {difference:+.2} at most \
             ({attack}, {letter} = {targets}, ε = {epsilon}); {noteworthy} marked"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;
    use Attack::*;

    #[test]
    fn a_record_stands_beside_its_own_cell_only() {
        let records = [
            synthetic::record("mnist-ct", CandidateRaise, 1, 0.3, 99.0), // an older one of the same cell
            synthetic::record("mnist-ctd", CandidateRaise, 2, 0.3, 50.0),
            synthetic::record("mnist-ct", CandidateRaise, 1, 0.25, 50.0),
            synthetic::record("mnist-ct", CandidateRaise, 1, 0.3, 5.0),
        ];
        let comparison = Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records);
        assert_eq!(comparison.measured().count(), 1);
        let row = comparison.row(CandidateRaise, 1, 0.3).unwrap();
        assert_eq!((row.measured(), row.stderr(), row.noteworthy()), (Some(5.0), Some(0.25), true));
        assert!((row.difference().unwrap() - 2.9).abs() < 1e-12);
        assert_eq!(comparison.row(CandidateRaise, 2, 0.3).unwrap().measured(), None);
    }

    #[test]
    fn a_record_of_another_setting_is_no_record_of_the_cell() {
        let table = published::table("mnist-ct").unwrap();
        let records = [synthetic::record("mnist-ct", CandidateRaise, 1, 0.3, 5.0)];
        for other in [
            Setting { images: 10_000, ..synthetic::setting() },
            Setting { seed: 1, ..synthetic::setting() },
            Setting { eight_bit: true, ..synthetic::setting() },
            Setting { protocol: "strict".into(), ..synthetic::setting() },
        ] {
            assert_eq!(Comparison::new(table, &other, &records).measured().count(), 0, "{other}");
        }
    }

    #[test]
    fn marked_is_what_neither_two_points_nor_two_errors_explain() {
        let mut record = synthetic::record("mnist-ct", CandidateRaise, 1, 0.3, 5.0); // 2.9 points above
        let mut noteworthy = |stderr| {
            record.rank_after_stderr = stderr;
            let records = [record.clone()];
            Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records).summary().noteworthy == 1
        };
        assert!(noteworthy(Some(1.4)) && !noteworthy(Some(1.5)) && !noteworthy(None));
        record.rank_after = Some(4.0); // 1.9 points above
        record.rank_after_stderr = Some(0.01);
        let records = [record];
        let comparison = Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records);
        assert_eq!(comparison.summary().noteworthy, 0);
    }

    #[test]
    fn the_summary_finds_the_furthest_cell() {
        let mut records = synthetic::complete("mnist-ctd");
        let index = records.iter().position(|r| (r.cell.attack, r.cell.targets, r.cell.epsilon) == (CandidateLower, 5, 0.1));
        *records[index.unwrap()].rank_after.as_mut().unwrap() -= 4.5;
        let summary = Comparison::new(published::table("mnist-ctd").unwrap(), &synthetic::setting(), &records).summary();
        assert_eq!((summary.cells, summary.measured, summary.noteworthy), (80, 80, 1));
        assert_eq!(
            summary.sentence(),
            "80 of 80 cells; 0.54 points away on average, -4.00 at most (ca-, w = 5, ε = 0.1); 1 marked"
        );
    }

    #[test]
    fn a_row_as_json_is_a_reproduce_cell() {
        let records = synthetic::complete("mnist-ct");
        let comparison = Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records);
        let json = serde_json::to_value(comparison.row(PreservingQueryRaise, 10, 0.3).unwrap()).unwrap();
        let expected = serde_json::json!({
            "table": "mnist-ct", "dataset": "mnist", "model": "c2f2", "distance": "cosine", "loss": "triplet", "defense": "none",
            "attack": "sp-qa+", "targets": 10, "epsilon": 0.3, "published": 32.1, "measured": 32.6, "stderr": 0.25,
            "images": 1000, "gallery": 10000, "seed": 0, "seconds": 4.5,
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&json[name], value, "{name}");
        }
        assert_eq!(json["protocol"], "paper");
        assert!(serde_json::to_value(Row { record: None, ..comparison.rows[0] }).is_err());
    }
}
