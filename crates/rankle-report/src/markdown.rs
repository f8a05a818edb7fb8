//! Tables as Markdown.

use crate::{Attack, Comparison, NOTEWORTHY, NOTEWORTHY_ERRORS, Row};

/// A heading, the summary and one table per attack: `ours ± standard error (published, difference)`, in bold where the
/// difference is noteworthy. Rows and columns without any record are left out.
pub fn render(comparison: &Comparison<'_>) -> String {
    let table = comparison.table;
    let mut out = format!("## {}\n\n{}.\n", table.title, comparison.summary().sentence());
    out += &format!("Published R@1: {} %. Source: {}.\n", table.recall_at_1, table.source);
    for attack in table.attacks() {
        out += &block(comparison, attack);
    }
    out
}

/// What the cells of [`render`] mean, to be said once in a report.
pub fn legend() -> String {
    format!(
        "Cells: our mean normalised rank after the attack in percent ± its standard error (published, difference in points); \
         marked in bold where the difference is more than {NOTEWORTHY} points and more than {NOTEWORTHY_ERRORS} standard errors. The published columns named QA hold SP-QA.\n"
    )
}

fn block(comparison: &Comparison<'_>, attack: Attack) -> String {
    let targets = comparison.measured_axis(attack, |cell| cell.targets);
    if targets.is_empty() {
        return String::new();
    }
    let letter = attack.set_letter();
    let mut lines = vec![row("ε", targets.iter().map(|targets| format!("{letter} = {targets}"))), rule(targets.len())];
    for epsilon in comparison.measured_axis(attack, |cell| cell.epsilon) {
        let cell = |&targets| comparison.row(attack, targets, epsilon).and_then(cell).unwrap_or_else(|| "–".to_owned());
        lines.push(row(&epsilon.to_string(), targets.iter().map(cell)));
    }
    format!("\n### {}: {}\n\n{}\n", attack.name().to_uppercase(), attack.description(), lines.join("\n"))
}

fn cell(row: &Row<'_>) -> Option<String> {
    let (measured, difference) = (row.measured()?, row.difference()?);
    let stderr = row.stderr().map_or_else(String::new, |stderr| format!(" ± {stderr:.2}"));
    let text = format!("{measured:.2}{stderr} ({:.1}, {difference:+.2})", row.published.rank);
    Some(if row.noteworthy() { format!("**{text}**") } else { text })
}

/// A row of a Markdown table.
pub(crate) fn row(first: &str, cells: impl Iterator<Item = String>) -> String {
    format!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// The line between the head and the body: the first column and `columns` more, all numbers.
pub(crate) fn rule(columns: usize) -> String {
    format!("|{}", "---:|".repeat(columns + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{published, synthetic};

    #[test]
    fn a_cell_shows_ours_theirs_and_the_difference() {
        let mut records = synthetic::complete("mnist-ct");
        records[4].rank_after = Some(5.0); // ca+, w = 1, epsilon 0.3, published 2.1
        let text = render(&Comparison::new(published::table("mnist-ct").unwrap(), &synthetic::setting(), &records));
        assert!(text.starts_with("## MNIST, ordinary model (CT)\n\n80 of 80 cells; "), "{text}");
        assert!(text.contains("\n| ε | w = 1 | w = 2 | w = 5 | w = 10 |\n|---:|---:|---:|---:|---:|\n"), "{text}");
        assert!(
            text.contains("\n| 0.3 | **5.00 ± 0.25 (2.1, +2.90)** | 9.60 ± 0.25 (9.1, +0.50) | 13.50 ± 0.25 (13.0, +0.50) |")
        );
        assert_eq!(text.matches("| m = 10 |").count(), 2);
        assert_eq!(text.matches("+0.50").count(), 79);
    }

    #[test]
    fn without_records_there_is_no_table() {
        let text = render(&Comparison::new(published::table("mnist-ctd").unwrap(), &synthetic::setting(), &[]));
        assert!(text.contains("0 of 80 cells measured") && !text.contains('|'), "{text}");
        assert!(legend().contains("2 points"));
    }
}
