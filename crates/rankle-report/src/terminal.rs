//! A table for a terminal of 120 columns.

use crate::{Attack, Comparison, NOTEWORTHY, NOTEWORTHY_ERRORS, Row, published};
use std::fmt::Write;

/// How the columns of one set size are filled: ours, its standard error, the paper's, the difference, a mark.
const WIDTH: usize = "100.00  0.00 100.0 +10.00*".len();

/// Ours, its standard error, the published number and the difference: a block per attack, a row per epsilon, a group of
/// columns per set size. Rows and columns without any record are left out. At most 120 columns wide.
pub fn render(comparison: &Comparison<'_>) -> String {
    let table = comparison.table;
    let mut out = format!("{} · {}\n", table.id, table.title);
    for attack in table.attacks() {
        block(&mut out, comparison, attack);
    }
    let summary = comparison.summary();
    writeln!(out, "\n{}", summary.sentence()).expect("a string takes all text");
    if summary.measured > 0 {
        let meaning = format!("more than {NOTEWORTHY} points and {NOTEWORTHY_ERRORS} standard errors from the published rank");
        writeln!(out, "* {meaning}").expect("a string takes all text");
    }
    out
}

/// How many cells were measured in all tables together, and the five that are furthest from the published ranks.
pub fn furthest(comparisons: &[Comparison<'_>]) -> String {
    let mut rows: Vec<_> = comparisons.iter().flat_map(|c| c.measured().map(|row| (c.table.id.as_str(), row))).collect();
    let cells: usize = comparisons.iter().map(|comparison| comparison.rows.len()).sum();
    let measured = rows.len();
    let distance = |row: &Row<'_>| row.difference().map_or(0.0, f64::abs);
    rows.sort_by(|a, b| distance(b.1).total_cmp(&distance(a.1))); // stable: equals stay in the order of the tables
    let mut out = format!("{measured} of {cells} cells of all tables are measured");
    if measured > 0 {
        out += "; furthest from the published ranks:\n";
        out += &format!(" {:<10} {:<7} {:<6} {:<5} │   ours   ±se paper   diff", "table", "attack", "", "ε");
    }
    for (table, row) in rows.into_iter().take(5) {
        let published::Cell { attack, targets, epsilon, .. } = row.published;
        let set = format!("{} = {targets}", attack.set_letter());
        out += &format!("\n {table:<10} {attack:<7} {set:<6} {epsilon:<5} │ {}", cell(row).unwrap_or_default());
    }
    out + "\n"
}

fn block(out: &mut String, comparison: &Comparison<'_>, attack: Attack) {
    let epsilons = comparison.measured_axis(attack, |cell| cell.epsilon);
    let targets = comparison.measured_axis(attack, |cell| cell.targets);
    if targets.is_empty() {
        return;
    }
    let letter = attack.set_letter();
    let line = |first: &str, cell: &dyn Fn(usize) -> String| {
        let cells: Vec<String> = targets.iter().map(|&targets| format!("{:<WIDTH$}", cell(targets))).collect();
        format!(" {first:<4} │ {}", cells.join("│ ")).trim_end().to_owned()
    };
    let mut lines = vec![
        format!("\n {} · {}", attack.name().to_uppercase(), attack.description()),
        line("", &|targets| format!("{letter} = {targets}")),
        line("ε", &|_| "  ours   ±se paper   diff".to_owned()),
    ];
    lines.extend(epsilons.iter().map(|&epsilon| {
        line(&epsilon.to_string(), &|targets| {
            comparison.row(attack, targets, epsilon).and_then(cell).unwrap_or_else(|| "     ·".to_owned())
        })
    }));
    *out += &(lines.join("\n") + "\n");
}

fn cell(row: &Row<'_>) -> Option<String> {
    let (measured, difference) = (row.measured()?, row.difference()?);
    let stderr = row.stderr().map_or_else(String::new, |stderr| format!("±{stderr:.2}"));
    let mark = if row.noteworthy() { "*" } else { "" };
    Some(format!("{measured:>6.2} {stderr:<5} {:>5.1} {difference:>+6.2}{mark}", row.published.rank))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn a_slice_shows_only_what_was_measured() {
        let mut records = synthetic::complete("mnist-ct");
        records.retain(|record| [1, 10].contains(&record.cell.targets) && [0.0, 0.3].contains(&record.cell.epsilon));
        records.retain(|record| record.cell.attack != Attack::CandidateLower);
        records.retain(|record| record.cell.attack != Attack::PreservingQueryLower || record.cell.epsilon > 0.0);
        records[1].rank_after = Some(100.0);
        records.remove(2);
        let text = render(&Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records));
        assert_eq!(text, include_str!("../tests/snapshots/slice.txt"), "\n{text}");
    }

    #[test]
    fn a_full_table_fits_120_columns() {
        let mut records = synthetic::complete("mnist-ctd");
        records.iter_mut().for_each(|record| record.rank_after = Some(100.0));
        let text = render(&Comparison::new(published::table("mnist-ctd").unwrap(), &synthetic::setting(), &records));
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!((100..=120).contains(&widest), "{widest}");
        assert_eq!(text.matches("ε    │").count(), 4);
        assert_eq!(text.matches("±0.25").count(), 80);
    }

    #[test]
    fn the_five_furthest_cells_of_all_tables() {
        let mut records = [synthetic::complete("mnist-ct"), synthetic::complete("mnist-ctd")].concat();
        *records[100].rank_after.as_mut().unwrap() -= 10.0;
        *records[79].rank_after.as_mut().unwrap() += 3.0;
        records.remove(1);
        let setting = synthetic::setting();
        let comparisons: Vec<_> = published::tables().iter().map(|table| Comparison::new(table, &setting, &records)).collect();
        let text = furthest(&comparisons);
        let expected = [
            "159 of 160 cells of all tables are measured; furthest from the published ranks:",
            " table      attack         ε     │   ours   ±se paper   diff",
            " mnist-ctd  ca-     w = 1  0     │  -7.50 ±0.25   2.0  -9.50*",
            " mnist-ct   sp-qa-  m = 10 0.3   │   8.30 ±0.25   4.8  +3.50*",
        ];
        for (line, expected) in text.lines().zip(expected) {
            assert_eq!(line, expected, "\n{text}");
        }
        assert_eq!(text.lines().count(), 7);
        let none = Comparison::new(published::table("mnist-ct").unwrap(), &setting, &[]);
        assert_eq!(furthest(&[none]), "0 of 80 cells of all tables are measured\n");
    }
}
