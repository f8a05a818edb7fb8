//! Small tables of text, for a terminal and for Markdown.

/// A table with named rows and columns.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Heading of the column of row names.
    pub corner: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the rows, each with one cell per column.
    pub rows: Vec<(String, Vec<String>)>,
}

impl Grid {
    /// A table with a cell for each row and column. Rows and columns have names, and the values that `cell` receives.
    pub fn of<R, C>(
        corner: &str,
        columns: impl IntoIterator<Item = (String, C)>,
        rows: impl IntoIterator<Item = (String, R)>,
        cell: impl Fn(&R, &C) -> String,
    ) -> Self {
        let (columns, about): (_, Vec<C>) = columns.into_iter().unzip();
        let row = |(name, of): (String, R)| (name, about.iter().map(|column| cell(&of, column)).collect());
        Self { corner: corner.to_owned(), columns, rows: rows.into_iter().map(row).collect() }
    }

    fn lines(&self) -> Vec<Vec<&str>> {
        let head = [&self.corner].into_iter().chain(&self.columns).map(String::as_str).collect();
        let rows = self.rows.iter().map(|(name, cells)| [name].into_iter().chain(cells).map(String::as_str).collect());
        [head].into_iter().chain(rows).collect()
    }

    /// Formats the table as Markdown.
    pub fn markdown(&self) -> String {
        let row = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let mut lines = self.lines().into_iter();
        let head = lines.next().map_or_else(String::new, row);
        let rule = format!("|---|{}\n", "---:|".repeat(self.columns.len()));
        head + &rule + &lines.map(row).collect::<String>()
    }

    /// Formats the table for a terminal, with aligned columns.
    pub fn text(&self) -> String {
        let lines = self.lines();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=self.columns.len()).map(width).collect();
        let aligned = |line: &Vec<&str>| {
            let first = format!(" {:<1$}", line[0], widths[0]);
            let rest = line.iter().zip(&widths).skip(1).map(|(cell, &width)| format!("  {cell:>width$}"));
            (first + &rest.collect::<String>()).trim_end().to_owned() + "\n"
        };
        lines.iter().map(aligned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_meets_every_column() {
        let named = |names: [&str; 2]| names.map(|name| (name.to_owned(), name.len()));
        let grid = Grid::of("x", named(["a", "bb"]), named(["", "ccc"]), |row, column| format!("{row}{column}"));
        assert_eq!((grid.corner.as_str(), grid.columns), ("x", vec!["a".to_owned(), "bb".to_owned()]));
        let cells = |one: &str, two: &str| vec![one.to_owned(), two.to_owned()];
        assert_eq!(grid.rows, [(String::new(), cells("01", "02")), ("ccc".to_owned(), cells("31", "32"))]);
    }

    #[test]
    fn both_forms_have_every_cell_in_its_place() {
        let grid = Grid {
            corner: "from".into(),
            columns: vec!["a".into(), "bcd".into()],
            rows: vec![("x".into(), vec!["1".into(), "2 → 3".into()]), ("longer".into(), vec!["10.00".into(), String::new()])],
        };
        assert_eq!(grid.markdown(), "| from | a | bcd |\n|---|---:|---:|\n| x | 1 | 2 → 3 |\n| longer | 10.00 |  |\n");
        assert_eq!(grid.text(), " from        a    bcd\n x           1  2 → 3\n longer  10.00\n");
    }
}
