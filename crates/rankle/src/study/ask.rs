//! Tables of cells, before and after they are computed.

use rankle_report::{Cell, Grid, Record};

/// The cells of a [`Grid`] that show one record.
pub(super) type Shown = fn(&Record) -> Vec<String>;

/// A table of cells that are not computed yet.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) heading: String,
    pub(super) corner: String,
    /// Headings, as many per cell as `shown` returns texts.
    pub(super) columns: Vec<String>,
    /// Row names and cells; `None` for an empty cell.
    pub(super) rows: Vec<(String, Vec<Option<Cell>>)>,
    pub(super) shown: Shown,
}

impl Asked {
    /// All cells, row by row.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.rows.iter().flat_map(|(_, cells)| cells.iter().flatten())
    }

    /// The table filled with records, which are taken in the order of its cells.
    fn answered<'a>(&self, records: &mut impl Iterator<Item = &'a Record>) -> Grid {
        let mut row = |(name, cells): &(String, Vec<Option<Cell>>)| {
            let width = self.columns.len() / cells.len().max(1);
            let cell = |asked: &Option<Cell>| {
                let record = asked.as_ref().and_then(|_| records.next());
                record.map_or_else(|| vec!["–".to_owned(); width], self.shown)
            };
            (name.clone(), cells.iter().flat_map(cell).collect())
        };
        Grid { corner: self.corner.clone(), columns: self.columns.clone(), rows: self.rows.iter().map(&mut row).collect() }
    }
}

/// The filled tables with their headings; `records` has a record per cell, in the order of the cells.
pub(super) fn answered(tables: &[Asked], records: &[Record]) -> Vec<(String, Grid)> {
    let mut records = records.iter();
    tables.iter().map(|table| (table.heading.clone(), table.answered(&mut records))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_record_stands_where_its_cell_was_asked_for() {
        let (plan, mut records) = sample::answered();
        for (n, record) in records.iter_mut().enumerate() {
            record.rank_after = Some(n as f64);
        }
        let row = |name: &str, asked: [bool; 2]| (name.to_owned(), asked.map(|asked| asked.then(|| plan[0].clone())).into());
        let once = Asked {
            heading: "once".into(),
            corner: "x".into(),
            columns: ["a", "b"].map(str::to_owned).into(),
            rows: vec![row("both", [true, true]), row("second", [false, true])],
            shown: |record| vec![format!("{:.0}", record.rank_after.unwrap())],
        };
        let twice = Asked {
            columns: ["a", "-a", "b", "-b"].map(str::to_owned).into(),
            shown: |record| vec![format!("{:.0}", record.rank_after.unwrap()), format!("{:.0}", -record.rank_after.unwrap())],
            ..once.clone()
        };
        assert_eq!(once.cells().count(), 3);
        let grids = answered(&[once, twice], &records);
        assert_eq!(grids[0].1.text(), " x       a  b\n both    0  1\n second  –  2\n");
        assert_eq!(grids[1].1.text(), " x       a  -a  b  -b\n both    3  -3  4  -4\n second  –   –  5  -5\n");
    }
}
