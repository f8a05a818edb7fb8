//! Comparisons for a terminal of 120 columns.

use crate::{AttackId, Change, Comparison, Epsilon, NOTEWORTHY, NOTEWORTHY_ERRORS, PublishedCell, Row};
use std::fmt::Write;

/// Width of the columns of one number of targets: ours, its standard error, the paper's, the difference, a mark.
const WIDTH: usize = "100.00  0.00 100.0 +10.00*".len();
/// Width of the columns of one attack if there is a single number of targets: ours, the paper's, a mark.
const NARROW: usize = "100.00 100.0* ".len();

/// Renders ours, its standard error, the published number and the difference: a block per attack, a row per epsilon, a group of
/// columns per number of targets. With a single number of targets: ours and the published number, a row per epsilon, a column per
/// attack. Rows and columns without any record are left out. At most 120 columns wide, but for the caveat.
pub fn render(comparison: &Comparison<'_>) -> String {
    let table = comparison.table;
    let mut out = format!("{} · {}\n", table.id, table.title);
    if table.change != Change::default() {
        out += &format!("differs from the paper's tables: {}\n", table.change);
    }
    if let Some(caveat) = comparison.caveat {
        out += &format!("BEWARE: {caveat}\n");
    }
    if table.targets.len() == 1 {
        by_attack(&mut out, comparison);
    } else {
        table.attacks().for_each(|attack| block(&mut out, comparison, attack));
    }
    let summary = comparison.summary();
    writeln!(out, "\n{}", summary.sentence()).expect("a string takes all text");
    if !table.is_published() {
        out += "no published numbers\n";
    } else if table.other_system.is_some() {
        out += "the published numbers are of another system (see the report)\n";
    } else if summary.measured > 0 {
        let meaning = format!("more than {NOTEWORTHY} points and {NOTEWORTHY_ERRORS} standard errors from the published rank");
        writeln!(out, "* {meaning}").expect("a string takes all text");
    }
    out
}

/// Renders the number of measured cells in all tables, and the five cells that are furthest from the published ranks.
pub fn furthest(comparisons: &[Comparison<'_>]) -> String {
    let cells: usize = comparisons.iter().map(|comparison| comparison.rows.len()).sum();
    let measured = comparisons.iter().flat_map(Comparison::measured).count();
    let compared = |row: &&Row<'_>| row.is_rank() && row.is_comparable() && row.difference().is_some();
    let mut rows: Vec<_> =
        comparisons.iter().flat_map(|c| c.rows.iter().filter(compared).map(|row| (c.table.id.as_str(), row))).collect();
    let distance = |row: &Row<'_>| row.difference().map_or(0.0, f64::abs);
    rows.sort_by(|a, b| distance(b.1).total_cmp(&distance(a.1))); // stable: equals stay in the order of the tables
    let mut out = format!("{measured} of {cells} cells of all tables are measured");
    let width = rows.iter().map(|(table, _)| table.len() + 1).max().unwrap_or(0).max(10);
    if !rows.is_empty() {
        out += "; furthest from the published ranks:\n";
        out += &format!(" {:<width$} {:<7} {:<6} {:<5} │   ours   ±se paper   diff", "table", "attack", "", "ε");
    }
    for (table, row) in rows.into_iter().take(5) {
        let PublishedCell { attack, targets, epsilon, .. } = row.published;
        let set = format!("{} = {targets}", attack.declaration().letter);
        out += &format!("\n {table:<width$} {attack:<7} {set:<6} {:<5} │ {}", Epsilon(epsilon), cell(row).unwrap_or_default());
    }
    out + "\n"
}

fn block(out: &mut String, comparison: &Comparison<'_>, attack: AttackId) {
    let epsilons = comparison.measured_axis(attack, |cell| cell.epsilon);
    let targets = comparison.measured_axis(attack, |cell| cell.targets);
    if targets.is_empty() {
        return;
    }
    let letter = attack.declaration().letter;
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
        line(&Epsilon(epsilon).to_string(), &|targets| {
            comparison.row(attack, targets, epsilon).and_then(cell).unwrap_or_else(|| "     ·".to_owned())
        })
    }));
    *out += &(lines.join("\n") + "\n");
}

/// Renders a table with a single number of targets: the columns are the attacks.
fn by_attack(out: &mut String, comparison: &Comparison<'_>) {
    let attacks = comparison.measured_attacks();
    if attacks.is_empty() {
        return;
    }
    let line = |first: &str, cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<NARROW$}")).collect();
        format!(" {first:<7} │ {}\n", cells.join("│ ")).trim_end().to_owned() + "\n"
    };
    *out += "\n";
    *out += &line("", attacks.iter().map(|attack| attack.name().to_uppercase()).collect());
    *out += &line("ε", attacks.iter().map(|_| "  ours paper".to_owned()).collect());
    for &epsilon in &comparison.table.epsilons {
        let cells: Vec<_> = attacks.iter().map(|&attack| comparison.at(attack, epsilon).and_then(narrow)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "     ·".to_owned()));
            *out += &line(&Epsilon(epsilon).to_string(), cells.collect());
        }
    }
}

fn cell(row: &Row<'_>) -> Option<String> {
    let measured = row.measured()?;
    let stderr = row.stderr().map_or_else(String::new, |stderr| format!("±{stderr:.2}"));
    let published = match (row.published.rank, row.difference()) {
        (Some(rank), Some(difference)) => format!("{rank:>5.1} {difference:>+6.2}"),
        _ => "    –".to_owned(),
    };
    let mark = if row.noteworthy() { "*" } else { "" };
    Some(format!("{measured:>6.2} {stderr:<5} {published}{mark}"))
}

/// Formats our number and the published one, with three decimals for a shift.
fn narrow(row: &Row<'_>) -> Option<String> {
    let measured = row.measured()?;
    let (digits, printed) = if row.is_rank() { (2, 1) } else { (3, 3) };
    let published = row.published.rank.map_or_else(|| "    –".to_owned(), |rank| format!("{rank:>5.printed$}"));
    let mark = if row.noteworthy() { "*" } else { "" };
    Some(format!("{measured:>6.digits$} {published}{mark}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published;
    use crate::synthetic;

    #[test]
    fn a_slice_shows_only_what_was_measured() {
        let mut records = synthetic::complete("mnist-ct");
        records.retain(|record| [1, 10].contains(&record.cell.spec.targets) && [0.0, 0.3].contains(&record.cell.spec.epsilon));
        records.retain(|record| record.cell.spec.attack != AttackId::CA_MINUS);
        records.retain(|record| record.cell.spec.attack != AttackId::SP_QA_MINUS || record.cell.spec.epsilon > 0.0);
        records[1].rank_after = Some(100.0);
        records.remove(2);
        let text = render(&Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records, None));
        assert_eq!(text, include_str!("../tests/snapshots/slice.txt"), "\n{text}");
    }

    #[test]
    fn a_full_table_fits_120_columns() {
        let mut records = synthetic::complete("mnist-ctd");
        records.iter_mut().for_each(|record| record.rank_after = Some(100.0));
        let text = render(&Comparison::new(published::table("mnist-ctd").unwrap(), &synthetic::setting(), &records, None));
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
        let tables = ["mnist-ct", "mnist-ctd"].map(|id| published::table(id).unwrap());
        let comparisons: Vec<_> = tables.iter().map(|table| Comparison::new(table, &setting, &records, None)).collect();
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
        let none = Comparison::new(published::table("mnist-ct").unwrap(), &setting, &[], None);
        assert_eq!(furthest(&[none]), "0 of 80 cells of all tables are measured\n");
    }
    #[test]
    fn a_single_set_size_has_a_column_per_attack() {
        let mut records = synthetic::complete("mnist-ctd-curves");
        for record in records.iter_mut().filter(|record| record.cell.spec.targets == 0) {
            (record.rank_after, record.rank_after_stderr) = (None, None);
        }
        let table = published::table("mnist-ctd-curves").unwrap();
        let text = render(&Comparison::new(table, &synthetic::setting(), &records, Some("quick model")));
        assert!(
            text.starts_with("mnist-ctd-curves · MNIST, defended model (CTD), 31 values of ε\nBEWARE: quick model\n\n"),
            "{text}"
        );
        let line = " 0.3     │  0.822 0.035  │  31.10  30.6  │   7.50   7.0  │  33.70  33.2  │   2.90   2.4";
        assert!(text.lines().any(|found| found == line), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120));
        assert!(text.contains("\n155 of 155 cells; 0.50 points away on average, "), "{text}");
    }

    #[test]
    fn without_published_numbers_there_are_only_ours() {
        let records = [synthetic::record("fashion-ct", AttackId::CA_PLUS, 1, 0.3, 5.0)];
        let comparison = Comparison::new(published::table("fashion-ct").unwrap(), &synthetic::setting(), &records, None);
        let text = render(&comparison);
        assert!(text.contains("\n 0.3  │   5.00 ±0.25     –\n"), "{text}");
        assert!(text.ends_with("\n1 of 80 cells measured\nno published numbers\n"), "{text}");
        assert_eq!(furthest(&[comparison]), "1 of 80 cells of all tables are measured\n");
    }
}
