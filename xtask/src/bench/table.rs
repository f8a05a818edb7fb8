//! Timings side by side.

use super::{Timing, VARIANTS};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// One row per step and batch size, and all timings it was made from.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    rows: Vec<Row>,
    timings: Vec<Timing>,
}

/// One step at one batch size. Times are the medians, over the rounds, of the medians: milliseconds.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    name: String,
    images: usize,
    threads: usize,
    ours_ms: Option<f64>,
    /// By variant.
    pytorch_ms: BTreeMap<String, f64>,
    /// The fastest variant.
    best_pytorch: Option<String>,
    /// The time of the fastest variant divided by ours: above 1 we are faster.
    ratio: Option<f64>,
}

impl Table {
    pub(super) fn of(timings: &[Timing]) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for timing in timings {
            let Timing { name, images, threads, .. } = timing;
            if !rows.iter().any(|row| (&row.name, row.images, row.threads) == (name, *images, *threads)) {
                rows.push(Row::of(timings, name, *images, *threads));
            }
        }
        Self { rows, timings: timings.to_vec() }
    }
}

impl Row {
    fn of(timings: &[Timing], name: &str, images: usize, threads: usize) -> Self {
        let here = |timing: &&Timing| (timing.name.as_str(), timing.images, timing.threads) == (name, images, threads);
        let mut by_variant: BTreeMap<Option<String>, Vec<f64>> = BTreeMap::new();
        for timing in timings.iter().filter(here) {
            by_variant.entry(timing.variant.clone()).or_default().push(timing.median_ms);
        }
        let ours_ms = by_variant.remove(&None).map(median);
        let pytorch_ms: BTreeMap<String, f64> =
            by_variant.into_iter().filter_map(|(variant, times)| Some((variant?, median(times)))).collect();
        let best = pytorch_ms.iter().min_by(|a, b| a.1.total_cmp(b.1));
        Self {
            ratio: ours_ms.zip(best).map(|(ours, (_, theirs))| theirs / ours),
            best_pytorch: best.map(|(variant, _)| variant.clone()),
            name: name.to_owned(),
            images,
            threads,
            ours_ms,
            pytorch_ms,
        }
    }
}

/// The middle one; of an even number the mean of both.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variants: Vec<&str> =
            VARIANTS.into_iter().filter(|&v| self.rows.iter().any(|row| row.pytorch_ms.contains_key(v))).collect();
        let ms = |time: Option<f64>| time.map_or_else(|| "·".to_owned(), |time| format!("{time:.2}"));
        write!(f, "{:<24} {:>6} {:>7} {:>10}", "median milliseconds", "images", "threads", "rankle")?;
        variants.iter().try_for_each(|variant| write!(f, " {variant:>14}"))?;
        writeln!(f, "{}", if variants.is_empty() { "" } else { "   best PyTorch / rankle" })?;
        for row in &self.rows {
            write!(f, "{:<24} {:>6} {:>7} {:>10}", row.name, row.images, row.threads, ms(row.ours_ms))?;
            variants.iter().try_for_each(|&variant| write!(f, " {:>14}", ms(row.pytorch_ms.get(variant).copied())))?;
            match row.ratio {
                Some(ratio) => writeln!(f, "   {:>21}", format!("{ratio:.2}x"))?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(name: &str, variant: Option<&str>, images: usize, median_ms: f64) -> Timing {
        let variant = variant.map(str::to_owned);
        Timing { name: name.into(), variant, images, threads: 1, median_ms, minimum_ms: median_ms, repeats: 9 }
    }

    fn rounds() -> Vec<Timing> {
        let mut timings = Vec::new();
        for (ours, eager, compile) in [(4.0, 9.0, 6.5), (5.0, 8.0, 6.0), (40.0, 10.0, 60.0)] {
            timings.push(timing("forward", None, 100, ours));
            timings.push(timing("forward", Some("eager"), 100, eager));
            timings.push(timing("forward", Some("compile"), 100, compile));
        }
        timings.push(timing("c2f2-training-step", None, 500, 33.0));
        timings
    }

    #[test]
    fn the_median_round_is_compared_with_the_best_variant() {
        let table = Table::of(&rounds());
        assert_eq!(table.rows.len(), 2);
        let row = &table.rows[0];
        assert_eq!((row.ours_ms, row.pytorch_ms["eager"], row.pytorch_ms["compile"]), (Some(5.0), 9.0, 6.5));
        assert_eq!((row.best_pytorch.as_deref(), row.ratio), (Some("compile"), Some(1.3)));
        assert_eq!((table.rows[1].ours_ms, table.rows[1].ratio), (Some(33.0), None));
        assert_eq!(table.timings.len(), 10);
        assert_eq!((median(vec![1.0, 4.0]), median(vec![7.0])), (2.5, 7.0));
    }

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn a_table_for_people() {
        let expected = [
            "median milliseconds      images threads     rankle          eager        compile   best PyTorch / rankle",
            "forward                     100       1       5.00           9.00           6.50                   1.30x",
            "c2f2-training-step          500       1      33.00              ·              ·",
            "",
        ];
        assert_eq!(Table::of(&rounds()).to_string(), expected.join("\n"));
        let ours: Vec<Timing> = rounds().into_iter().filter(|timing| timing.variant.is_none()).collect();
        assert!(Table::of(&ours).to_string().starts_with("median milliseconds      images threads     rankle\nforward"));
    }
}
