//! Comparisons as Markdown.

use crate::{AttackId, Change, Comparison, Epsilon, NOTEWORTHY, NOTEWORTHY_ERRORS, Row};

/// Renders a heading, the caveat, the summary and one table per attack (one for all attacks if there is a single number of
/// targets): `ours ± standard error (published, difference)`, in bold if the difference is noteworthy. Rows and columns without
/// any record are left out.
pub fn render(comparison: &Comparison<'_>) -> String {
    let table = comparison.table;
    let mut out = format!("## {}\n\n", table.title);
    if let Some(caveat) = comparison.caveat {
        out += &format!("**Beware: {caveat}.**\n\n");
    }
    out += &format!("{}.\n{}\n", comparison.summary().sentence(), source(comparison));
    if table.targets.len() == 1 {
        return out + &by_attack(comparison);
    }
    for attack in table.attacks() {
        out += &block(comparison, attack);
    }
    out
}

/// Explanation of the cells of [`render`], for one place in a report.
pub fn legend() -> String {
    format!(
        "Cells: our mean normalized rank after the attack in percent ± its standard error (published, difference in points); \
         marked in bold where the difference is more than {NOTEWORTHY} points and more than {NOTEWORTHY_ERRORS} standard errors. The published columns named QA hold SP-QA.\n"
    )
}

/// Source of the published numbers, with the remarks that they need.
fn source(comparison: &Comparison<'_>) -> String {
    let table = comparison.table;
    let recall = table.recall_at_1.map(|recall| format!("Published R@1: {recall} %."));
    let none = (!table.is_published()).then(|| "No published numbers for the cells.".to_owned());
    let change = (table.change != Change::default()).then(|| format!("Otherwise than in the paper's tables: {}.", table.change));
    let other = table.other_system.as_ref().map(|other| format!("The published numbers are of another system: {other}."));
    let source = table.source.as_ref().map(|source| format!("Source: {source}."));
    [change, none, recall, other, source].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn block(comparison: &Comparison<'_>, attack: AttackId) -> String {
    let targets = comparison.measured_axis(attack, |cell| cell.targets);
    if targets.is_empty() {
        return String::new();
    }
    let letter = attack.declaration().letter;
    let mut lines = vec![row("ε", targets.iter().map(|targets| format!("{letter} = {targets}"))), rule(targets.len())];
    for epsilon in comparison.measured_axis(attack, |cell| cell.epsilon) {
        let cell = |&targets| comparison.row(attack, targets, epsilon).and_then(cell).unwrap_or_else(|| "–".to_owned());
        lines.push(row(&Epsilon(epsilon).to_string(), targets.iter().map(cell)));
    }
    format!("\n### {}: {}\n\n{}\n", attack.name().to_uppercase(), attack.description(), lines.join("\n"))
}

/// Renders one table for a single number of targets: a row per epsilon, a column per attack.
fn by_attack(comparison: &Comparison<'_>) -> String {
    let attacks = comparison.measured_attacks();
    if attacks.is_empty() {
        return String::new();
    }
    let mut lines = vec![row("ε", attacks.iter().map(|attack| attack.name().to_uppercase())), rule(attacks.len())];
    for &epsilon in &comparison.table.epsilons {
        let cells: Vec<_> = attacks.iter().map(|&attack| comparison.at(attack, epsilon).and_then(cell)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
            lines.push(row(&Epsilon(epsilon).to_string(), cells));
        }
    }
    let shift =
        if attacks.contains(&AttackId::EmbeddingShift) { "\nES: the mean shift of the embedding, a distance.\n" } else { "" };
    format!("\n{}\n{shift}", lines.join("\n"))
}

fn cell(row: &Row<'_>) -> Option<String> {
    let measured = row.measured()?;
    // A shift has three decimals, as in its source; a rank has one in the sources and two here.
    let (digits, printed) = if row.is_rank() { (2, 1) } else { (3, 3) };
    let stderr = row.stderr().map_or_else(String::new, |stderr| format!(" ± {stderr:.2}"));
    let published = match (row.published.rank, row.difference()) {
        (Some(rank), Some(difference)) => format!(" ({rank:.printed$}, {difference:+.digits$})"),
        _ => String::new(),
    };
    let text = format!("{measured:.digits$}{stderr}{published}");
    Some(if row.noteworthy() { format!("**{text}**") } else { text })
}

pub(crate) fn row(first: &str, cells: impl Iterator<Item = String>) -> String {
    format!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// The line between the head and the body of a Markdown table with `columns` + 1 columns, all aligned right.
pub(crate) fn rule(columns: usize) -> String {
    format!("|{}", "---:|".repeat(columns + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Record, published, synthetic};

    fn rendered(table: &str, records: &[Record], caveat: Option<&str>) -> String {
        render(&Comparison::new(published::table(table).unwrap(), &synthetic::setting(), records, caveat))
    }

    #[test]
    fn a_cell_shows_ours_theirs_and_the_difference() {
        let mut records = synthetic::complete("mnist-ct");
        records[4].rank_after = Some(5.0); // ca+, w = 1, epsilon 0.3, published 2.1
        let text = rendered("mnist-ct", &records, None);
        assert!(text.starts_with("## MNIST, ordinary model (CT)\n\n80 of 80 cells; "), "{text}");
        assert!(text.contains("\nPublished R@1: 99.1 %. Source: cdluminate/advrank: "), "{text}");
        assert!(text.contains("\n| ε | w = 1 | w = 2 | w = 5 | w = 10 |\n|---:|---:|---:|---:|---:|\n"), "{text}");
        assert!(
            text.contains("\n| 0.3 | **5.00 ± 0.25 (2.1, +2.90)** | 9.60 ± 0.25 (9.1, +0.50) | 13.50 ± 0.25 (13.0, +0.50) |")
        );
        assert_eq!(text.matches("| m = 10 |").count(), 2);
        assert_eq!(text.matches("+0.50").count(), 79);
    }

    #[test]
    fn without_records_there_is_no_table() {
        for table in ["mnist-ctd", "mnist-ctd-curves"] {
            let text = rendered(table, &[], None);
            assert!(text.contains(" cells measured") && !text.contains('|'), "{text}");
        }
        assert!(legend().contains("2 points"));
    }

    #[test]
    fn what_is_not_published_or_not_comparable_is_said() {
        let record = synthetic::record("fashion-ct", AttackId::CA_PLUS, 1, 0.3, 5.0);
        let text = rendered("fashion-ct", &[record], Some("quick model"));
        assert!(
            text.contains("\n\n**Beware: quick model.**\n\n1 of 80 cells measured.\nNo published numbers for the cells. "),
            "{text}"
        );
        assert!(text.contains("\n| 0.3 | 5.00 ± 0.25 |"), "{text}");

        let record = synthetic::record("fashion-ctd-curves", AttackId::CA_MINUS, 1, 0.30196, 10.0);
        let text = rendered("fashion-ctd-curves", &[record], None);
        assert!(text.contains("\nThe published numbers are of another system: the same architecture, "), "{text}");
        assert!(text.contains("\n| 0.30196 | 10.00 ± 0.25 (32.6, -22.60) |\n"), "{text}");
    }

    #[test]
    fn one_set_size_makes_one_table() {
        let mut shift = synthetic::record("mnist-ct-curves", AttackId::EmbeddingShift, 0, 0.3, 0.0);
        (shift.rank_after, shift.rank_after_stderr) = (None, None);
        let rank = synthetic::record("mnist-ct-curves", AttackId::CA_MINUS, 1, 0.29, 93.5);
        let text = rendered("mnist-ct-curves", &[shift, rank], None);
        let lines = "\n| ε | ES | CA- |\n|---:|---:|---:|\n| 0.29 | – | 93.50 ± 0.25 (93.3, +0.20) |\n| 0.3 | 0.822 (1.395, -0.573) | – |\n";
        assert!(text.contains(lines), "{text}");
    }
}
