//! Spread of numbers over training seeds.

use crate::published::{PublishedCell, PublishedTable};
use crate::{AttackId, Comparison, Epsilon, Error, NOTEWORTHY, Record, Result, RunSetting, markdown, spreadsheet};
use serde::Serialize;

/// A table with the range of each cell over several sets of records.
#[derive(Debug)]
pub struct SeedSpread {
    /// The table.
    pub table: &'static PublishedTable,
    /// Cells that were measured in at least one set.
    pub rows: Vec<Range>,
}

/// A cell in CSV and JSON.
#[derive(Serialize)]
struct Line<'a> {
    table: &'a str,
    attack: &'a str,
    targets: usize,
    epsilon: f64,
    published: Option<f64>,
    sets: usize,
    mean: f64,
    minimum: f64,
    maximum: f64,
    deviation: Option<f64>,
}

/// Statistics of one cell over all sets. Ranks are in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The cell, with its published number.
    pub published: PublishedCell,
    /// Number of sets in which the cell was measured, at least 1.
    pub sets: usize,
    /// Mean over the sets.
    pub mean: f64,
    /// Lowest value.
    pub minimum: f64,
    /// Highest value.
    pub maximum: f64,
    /// Sample standard deviation; `None` for a single set.
    pub deviation: Option<f64>,
}

impl SeedSpread {
    /// Ranges over sets of records that were measured in one setting, as a rule one set per training seed.
    pub fn over(table: &'static PublishedTable, setting: &RunSetting, sets: &[Vec<Record>]) -> Self {
        let comparisons: Vec<_> = sets.iter().map(|records| Comparison::new(table, setting, records, None)).collect();
        let range = |(index, published): (usize, PublishedCell)| {
            let values: Vec<f64> = comparisons.iter().filter_map(|set| set.rows[index].measured()).collect();
            Range::of(published, &values)
        };
        Self { table, rows: table.cells().enumerate().filter_map(range).collect() }
    }

    /// Renders a heading and one Markdown table per attack: `mean [lowest, highest] (published)`, in bold if the published number
    /// is more than two points outside of the range.
    pub fn to_markdown(&self) -> String {
        let sets = self.rows.iter().map(|row| row.sets).max().unwrap_or(0);
        let mut out = format!("## {}, spread over {sets} training seeds\n", self.table.title);
        for attack in self.table.attacks() {
            out += &self.block(attack);
        }
        out
    }

    fn block(&self, attack: AttackId) -> String {
        let rows: Vec<&Range> = self.rows.iter().filter(|row| row.published.attack == attack).collect();
        if rows.is_empty() {
            return String::new();
        }
        let letter = attack.declaration().letter;
        let heads = self.table.targets.iter().map(|targets| format!("{letter} = {targets}"));
        let mut lines = vec![markdown::row("ε", heads), markdown::rule(self.table.targets.len())];
        for epsilon in &self.table.epsilons {
            let cell = |targets: &usize| {
                let here = |row: &&&Range| (row.published.targets, row.published.epsilon) == (*targets, *epsilon);
                rows.iter().find(here).map_or_else(|| "–".to_owned(), |row| row.text())
            };
            lines.push(markdown::row(&Epsilon(*epsilon).to_string(), self.table.targets.iter().map(cell)));
        }
        format!("\n### {}\n\n{}\n", attack.name().to_uppercase(), lines.join("\n"))
    }

    /// Renders CSV with one line per cell.
    ///
    /// # Errors
    /// [`Error::Make`] if the text cannot be made.
    pub fn to_csv(&self) -> Result<String> {
        spreadsheet::to_text(self.lines())
    }

    /// Renders a JSON array of objects, one per cell, with the columns of the CSV as fields.
    ///
    /// # Errors
    /// [`Error::Make`] if the text cannot be made.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(&self.lines().collect::<Vec<_>>()).map_err(Error::make("the JSON table"))
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.rows.iter().map(|row| Line {
            table: &self.table.id,
            attack: row.published.attack.name(),
            targets: row.published.targets,
            epsilon: row.published.epsilon,
            published: row.published.rank,
            sets: row.sets,
            mean: row.mean,
            minimum: row.minimum,
            maximum: row.maximum,
            deviation: row.deviation,
        })
    }
}

impl Range {
    fn of(published: PublishedCell, values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let sets = values.len();
        let mean = values.iter().sum::<f64>() / sets as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            published,
            sets,
            mean,
            minimum: values.iter().copied().fold(f64::INFINITY, f64::min),
            maximum: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            deviation: (sets > 1).then(|| (squares / (sets - 1) as f64).sqrt()),
        })
    }

    /// Distance of the published number from the range, in points; 0 inside the range, and without a published number.
    pub fn outside(&self) -> f64 {
        self.published.rank.map_or(0.0, |rank| (self.minimum - rank).max(rank - self.maximum).max(0.0))
    }

    fn text(&self) -> String {
        let Self { mean, minimum, maximum, published, .. } = self;
        let published = published.rank.map_or_else(String::new, |rank| format!(" ({rank:.1})"));
        let text = format!("{mean:.2} [{minimum:.2}, {maximum:.2}]{published}");
        if self.outside() > NOTEWORTHY { format!("**{text}**") } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published;
    use crate::synthetic;

    /// Three seeds: half a point above, two points above and one point below the published table; the last has only 79 cells.
    fn spread() -> SeedSpread {
        let sets = [0.0, 1.5, -1.5].map(|shift| {
            let mut records = synthetic::complete("mnist-ct");
            records.iter_mut().for_each(|record| *record.rank_after.as_mut().unwrap() += shift);
            records
        });
        let mut sets = sets.to_vec();
        sets[2].remove(0);
        SeedSpread::over(published::table("mnist-ct").unwrap(), &synthetic::setting(), &sets)
    }

    #[test]
    fn a_range_is_that_of_its_cell() {
        let spread = spread();
        assert_eq!(spread.rows.len(), 80);
        let (first, second) = (spread.rows[0], spread.rows[1]);
        assert_eq!((first.sets, first.minimum, first.maximum, first.mean), (2, 50.5, 52.0, 51.25));
        assert!((first.deviation.unwrap() - 1.5 / 2f64.sqrt()).abs() < 1e-12);
        assert!((first.outside() - 0.5).abs() < 1e-12);
        assert_eq!((second.sets, second.outside()), (3, 0.0));
        assert!((second.deviation.unwrap() - 1.5).abs() < 1e-12);

        let alone = SeedSpread::over(spread.table, &synthetic::setting(), &[synthetic::complete("mnist-ct")]);
        assert_eq!(alone.rows[0].deviation, None);
        assert!(SeedSpread::over(spread.table, &synthetic::setting(), &[]).rows.is_empty());
    }

    #[test]
    fn it_is_rendered_beside_the_published_numbers() {
        let mut spread = spread();
        spread.rows[1].minimum = 46.7; // the published 44.6 is 2.1 points below
        let text = spread.to_markdown();
        assert!(text.starts_with("## MNIST, ordinary model (CT), spread over 3 training seeds\n"));
        assert!(text.contains("\n| 0 | 51.25 [50.50, 52.00] (50.0) | 50.50 [49.00, 52.00] (50.0) |"), "{text}");
        assert!(text.contains("| **45.10 [46.70, 46.60] (44.6)** |"), "{text}");
        let csv = spread.to_csv().unwrap();
        assert_eq!(csv.lines().count(), 81);
        assert!(csv.contains("\nmnist-ct,ca+,1,0.0,50.0,2,51.25,50.5,52.0,1.06066"), "{csv}");
        let json: Vec<serde_json::Value> = serde_json::from_str(&spread.to_json().unwrap()).unwrap();
        assert_eq!((json.len(), &json[0]["sets"], &json[0]["mean"]), (80, &2.into(), &51.25.into()));
    }
}
