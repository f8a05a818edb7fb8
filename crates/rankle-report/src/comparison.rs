//! Measured numbers beside published ones.

use crate::published::{PublishedCell, PublishedTable};
use crate::{AttackId, Epsilon, Record, RunSetting};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// Points of rank above which a difference is marked in every table, if it is also above [`NOTEWORTHY_ERRORS`].
pub const NOTEWORTHY: f64 = 2.0;
/// Standard errors above which a difference is marked in every table, if it is also above [`NOTEWORTHY`].
pub const NOTEWORTHY_ERRORS: f64 = 2.0;

/// A published table with our record of each measured cell.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The table.
    pub table: &'a PublishedTable,
    /// One row per cell, in the order of [`PublishedTable::cells`].
    pub rows: Vec<Row<'a>>,
    /// Limitation of our numbers, as in `quick model: ...`, which is printed wherever they are.
    pub caveat: Option<&'a str>,
}

/// One cell with its published number and our record. As JSON it is the object of a `reproduce` cell: `published`, `measured`,
/// `stderr`, `difference`, `caveat` if there is one, then all fields of the record; only measured rows can be serialized.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The cell, with its published number.
    pub published: PublishedCell,
    /// Our record; `None` if the cell was not measured.
    pub record: Option<&'a Record>,
    /// Limitation of our number: see [`Comparison::caveat`].
    pub caveat: Option<&'a str>,
    comparable: bool,
}

/// Agreement of a table with the published numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Number of cells in the table.
    pub cells: usize,
    /// Number of measured cells.
    pub measured: usize,
    /// Number of marked cells: see [`Row::noteworthy`].
    pub noteworthy: usize,
    /// Mean absolute difference of the ranks, in points; `None` if nothing can be compared.
    pub mean: Option<f64>,
    /// The cell with the largest absolute difference of the ranks, and the difference.
    pub furthest: Option<(PublishedCell, f64)>,
}

impl<'a> Comparison<'a> {
    /// Finds for each cell of the table its record in `setting`; the last one counts if there are several.
    pub fn new(table: &'a PublishedTable, setting: &RunSetting, records: &'a [Record], caveat: Option<&'a str>) -> Self {
        let comparable = table.other_system.is_none();
        let row = |published: PublishedCell| {
            let PublishedCell { attack, targets, epsilon, .. } = published;
            let wanted = table.asked("", attack, targets, epsilon, setting);
            let record = records.iter().rev().find(|record| wanted.matches(&record.cell));
            Row { published, record, caveat, comparable }
        };
        Self { table, rows: table.cells().map(row).collect(), caveat }
    }

    /// Finds the row of one cell.
    pub fn row(&self, attack: AttackId, targets: usize, epsilon: f64) -> Option<&Row<'a>> {
        self.rows.iter().find(|row| {
            let PublishedCell { attack: a, targets: t, epsilon: e, .. } = row.published;
            (a, t, e) == (attack, targets, epsilon)
        })
    }

    /// Rows with a measured number.
    pub fn measured(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(|row| row.measured().is_some())
    }

    /// Finds the row of an attack and an epsilon in a table with a single number of targets.
    pub(crate) fn at(&self, attack: AttackId, epsilon: f64) -> Option<&Row<'a>> {
        self.rows.iter().find(|row| (row.published.attack, row.published.epsilon) == (attack, epsilon))
    }

    /// Attacks that have a measured row, in the order of the table.
    pub(crate) fn measured_attacks(&self) -> Vec<AttackId> {
        let measured = |attack: &AttackId| self.measured().any(|row| row.published.attack == *attack);
        self.table.attacks().filter(measured).collect()
    }

    /// Distinct values of `key` among the measured rows of one attack, in the order of the table.
    pub(crate) fn measured_axis<T: PartialEq>(&self, attack: AttackId, key: impl Fn(&PublishedCell) -> T) -> Vec<T> {
        let mut values = Vec::new();
        for row in self.measured().filter(|row| row.published.attack == attack) {
            let value = key(&row.published);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// Summarizes the agreement with the published numbers.
    pub fn summary(&self) -> Summary {
        let ranks = self.rows.iter().filter(|row| row.is_comparable() && row.is_rank());
        let differences: Vec<_> = ranks.filter_map(|row| Some((row.published, row.difference()?))).collect();
        let sizes = || differences.iter().map(|(_, difference)| difference.abs());
        Summary {
            cells: self.rows.len(),
            measured: self.measured().count(),
            noteworthy: self.rows.iter().filter(|row| row.noteworthy()).count(),
            mean: (!differences.is_empty()).then(|| sizes().sum::<f64>() / differences.len() as f64),
            furthest: differences.iter().copied().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())),
        }
    }
}

impl Row<'_> {
    /// True if the number is a rank, in percent; otherwise it is a shift, in units of the distance.
    pub fn is_rank(&self) -> bool {
        self.published.attack != AttackId::EmbeddingShift
    }

    /// True if the published number, if any, is of the same system and attack as this cell.
    pub fn is_comparable(&self) -> bool {
        self.comparable
    }

    /// Our mean rank after the attack, in percent; for [`AttackId::EmbeddingShift`] the mean shift, in units of the distance.
    pub fn measured(&self) -> Option<f64> {
        let record = self.record?;
        if self.is_rank() { record.rank_after } else { Some(record.embedding_shift) }
    }

    /// Standard error of the rank, in points.
    pub fn stderr(&self) -> Option<f64> {
        self.record?.rank_after_stderr
    }

    /// Difference of our number and the published one, in points; for [`AttackId::EmbeddingShift`] in units of the distance.
    pub fn difference(&self) -> Option<f64> {
        Some(self.measured()? - self.published.rank?)
    }

    /// True if the difference is marked: it is more than [`NOTEWORTHY`] points and more than [`NOTEWORTHY_ERRORS`] standard
    /// errors. False without a standard error, and if the published number is of another system.
    pub fn noteworthy(&self) -> bool {
        let (Some(difference), Some(stderr)) = (self.difference(), self.stderr()) else { return false };
        self.comparable && difference.abs() > NOTEWORTHY.max(NOTEWORTHY_ERRORS * stderr)
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
        if let Some(caveat) = self.caveat {
            map.serialize_entry("caveat", caveat)?;
        }
        let fields = serde_json::to_value(record).map_err(S::Error::custom)?;
        for (name, value) in fields.as_object().into_iter().flatten() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Summary {
    /// The summary in one sentence, as in `80 of 80 cells; 0.42 points away on average, ...`.
    pub fn sentence(&self) -> String {
        let Self { cells, measured, noteworthy, .. } = self;
        let (Some(mean), Some((cell, difference))) = (self.mean, self.furthest) else {
            return format!("{measured} of {cells} cells measured");
        };
        let PublishedCell { attack, targets, epsilon, .. } = cell;
        let letter = attack.declaration().letter;
        format!(
            "{measured} of {cells} cells; {mean:.2} points away on average, {difference:+.2} at most \
             ({attack}, {letter} = {targets}, ε = {}); {noteworthy} marked",
            Epsilon(epsilon)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published;
    use crate::synthetic;

    #[test]
    fn a_record_stands_beside_its_own_cell_only() {
        let records = [
            synthetic::record("mnist-ct", AttackId::CA_PLUS, 1, 0.3, 99.0), // an older record of the same cell
            synthetic::record("mnist-ctd", AttackId::CA_PLUS, 2, 0.3, 50.0),
            synthetic::record("mnist-ct", AttackId::CA_PLUS, 1, 0.25, 50.0),
            synthetic::record("mnist-ct", AttackId::CA_PLUS, 1, 0.3, 5.0),
        ];
        let comparison = Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records, None);
        assert_eq!(comparison.measured().count(), 1);
        let row = comparison.row(AttackId::CA_PLUS, 1, 0.3).unwrap();
        assert_eq!((row.measured(), row.stderr(), row.noteworthy()), (Some(5.0), Some(0.25), true));
        assert!((row.difference().unwrap() - 2.9).abs() < 1e-12);
        assert_eq!(comparison.row(AttackId::CA_PLUS, 2, 0.3).unwrap().measured(), None);
    }

    #[test]
    fn a_record_of_another_setting_is_no_record_of_the_cell() {
        let table = published::table("mnist-ct").unwrap();
        let records = [synthetic::record("mnist-ct", AttackId::CA_PLUS, 1, 0.3, 5.0)];
        for other in [
            RunSetting { images: 10_000, ..synthetic::setting() },
            RunSetting { seed: 1, ..synthetic::setting() },
            RunSetting { eight_bit: true, ..synthetic::setting() },
            RunSetting { protocol: crate::Protocol::Strict, ..synthetic::setting() },
        ] {
            assert_eq!(Comparison::new(table, &other, &records, None).measured().count(), 0, "{other}");
        }
    }

    #[test]
    fn marked_is_what_neither_two_points_nor_two_errors_explain() {
        let mut record = synthetic::record("mnist-ct", AttackId::CA_PLUS, 1, 0.3, 5.0); // 2.9 points above
        let mut noteworthy = |stderr| {
            record.rank_after_stderr = stderr;
            let records = [record.clone()];
            Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records, None).summary().noteworthy
                == 1
        };
        assert!(noteworthy(Some(1.4)) && !noteworthy(Some(1.5)) && !noteworthy(None));
        record.rank_after = Some(4.0); // 1.9 points above
        record.rank_after_stderr = Some(0.01);
        let records = [record];
        let comparison = Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records, None);
        assert_eq!(comparison.summary().noteworthy, 0);
    }

    #[test]
    fn the_summary_finds_the_furthest_cell() {
        let mut records = synthetic::complete("mnist-ctd");
        let index = records
            .iter()
            .position(|r| (r.cell.spec.attack, r.cell.spec.targets, r.cell.spec.epsilon) == (AttackId::CA_MINUS, 5, 0.1));
        *records[index.unwrap()].rank_after.as_mut().unwrap() -= 4.5;
        let summary = Comparison::new(published::table("mnist-ctd").unwrap(), &synthetic::setting(), &records, None).summary();
        assert_eq!((summary.cells, summary.measured, summary.noteworthy), (80, 80, 1));
        assert_eq!(
            summary.sentence(),
            "80 of 80 cells; 0.54 points away on average, -4.00 at most (ca-, w = 5, ε = 0.1); 1 marked"
        );
    }

    #[test]
    fn a_row_as_json_is_a_reproduce_cell() {
        let records = synthetic::complete("mnist-ct");
        let comparison = Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records, None);
        let json = serde_json::to_value(comparison.row(AttackId::SP_QA_PLUS, 10, 0.3).unwrap()).unwrap();
        let expected = serde_json::json!({
            "table": "mnist-ct", "dataset": "mnist", "model": "c2f2", "distance": "cosine", "loss": "triplet", "defense": "none",
            "attack": "sp-qa+", "targets": 10, "epsilon": 0.3, "published": 32.1, "measured": 32.6, "stderr": 0.25,
            "images": 1000, "gallery": 10000, "seed": 0, "seconds": 4.5,
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&json[name], value, "{name}");
        }
        assert_eq!((&json["protocol"], json.get("caveat")), (&"paper".into(), None));
        assert!(serde_json::to_value(Row { record: None, ..comparison.rows[0] }).is_err());
    }
    /// Published numbers of another system are shown but not judged; cells without a published number are not compared.
    #[test]
    fn without_comparable_numbers_nothing_is_marked() {
        let ours = |id, published: f64| {
            let mut record = synthetic::record(id, AttackId::CA_PLUS, 1, 0.0, published);
            record.rank_after = Some(99.0);
            record
        };
        let records = [ours("fashion-ct-curves", 49.2), ours("fashion-ct", 0.0)];
        let [curves, table] = ["fashion-ct-curves", "fashion-ct"]
            .map(|id| Comparison::new(published::table(id).unwrap(), &synthetic::setting(), &records, Some("half trained")));
        assert_eq!(curves.rows[0].difference().map(|difference| difference.round()), Some(50.0));
        assert_eq!(curves.summary().noteworthy, 0);
        assert_eq!((table.rows[0].measured(), table.rows[0].difference()), (Some(99.0), None));
        assert_eq!(table.summary().sentence(), "1 of 80 cells measured");
        let json = serde_json::to_value(table.rows[0]).unwrap();
        assert_eq!((&json["published"], &json["difference"]), (&serde_json::Value::Null, &serde_json::Value::Null));
        assert_eq!(json["caveat"], "half trained");
    }

    /// A shift is compared in its own unit and is not part of a summary in points of rank.
    #[test]
    fn an_embedding_shift_is_compared_as_such() {
        let mut record = synthetic::record("mnist-ct-curves", AttackId::EmbeddingShift, 0, 0.3, 0.0);
        (record.rank_after, record.rank_after_stderr) = (None, None);
        let records = [record];
        let comparison = Comparison::new(published::table("mnist-ct-curves").unwrap(), &synthetic::setting(), &records, None);
        let row = comparison.row(AttackId::EmbeddingShift, 0, 0.3).unwrap();
        assert_eq!((row.measured(), row.published.rank, row.noteworthy()), (Some(0.822), Some(1.395), false));
        assert_eq!(comparison.summary().sentence(), "1 of 155 cells measured");
    }
}
