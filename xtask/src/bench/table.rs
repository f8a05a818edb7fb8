//! Table of timings side by side.

use super::rows::{Contest, PEAK, Row};
use super::timing::{PER_SECOND, Timing, WAITING};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A line per timed row.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BenchTable {
    /// Multiply-adds in registers on one thread, in 10⁹ operations per second.
    pub(super) peak_gflops: Option<f64>,
    pub(super) lines: Vec<Line>,
}

/// One row; all numbers are medians over the rounds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) row: String,
    pub(super) ours: Side,
    /// Other sides with the names of their variants, in the order in which they ran.
    pub(super) others: Vec<(String, Side)>,
    pub(super) verdicts: Vec<Verdict>,
    /// Share of the peak on one thread; `None` if the row has no count of operations, since work on zeros is skipped.
    pub(super) share_of_peak: Option<f64>,
    pub(super) limit_mb: Option<f64>,
    /// Results that differ between the sides.
    pub(super) mismatches: Vec<String>,
    /// Image rate and waiting time of whole commands.
    pub(super) notes: Vec<String>,
}

/// Milliseconds per call, share of the processor time that the threads could have had, and memory of the process in MB.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) ms: f64,
    pub(super) cpu_share: Option<f64>,
    pub(super) peak_mb: Option<f64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) best: String,
    /// Time of the best other side divided by the time of rankle: above 1 rankle is faster.
    pub(super) ratio: f64,
    /// Smallest ratio that is required.
    pub(super) floor: f64,
    /// True if the row is so near to the peak of the machine that the floor does not bind.
    pub(super) at_peak: bool,
}

impl Verdict {
    pub(super) fn met(&self) -> bool {
        self.at_peak || self.ratio >= self.floor
    }
}

/// Largest relative difference between the results of two sides: rounding errors flip a sign here and there.
const TOLERANCE: f64 = 0.01;

impl BenchTable {
    pub(super) fn of(rows: &[Row], timings: &[Timing]) -> Self {
        let rate = |timing: &Timing| Some(timing.operations? / timing.minimum_ms / 1e6); // for a peak the best repeat counts
        let peak_gflops = median(timings.iter().filter(|timing| timing.row.starts_with(PEAK)).filter_map(rate));
        let lines = rows.iter().filter_map(|row| Line::of(row, timings, peak_gflops)).collect();
        Self { peak_gflops, lines }
    }

    /// All results that differ between two sides.
    pub(super) fn mismatches(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().flat_map(|line| &line.mismatches)
    }
}

impl Line {
    fn of(row: &Row, timings: &[Timing], peak_gflops: Option<f64>) -> Option<Self> {
        let id = row.id();
        let of = |variant: Option<&str>| -> Vec<&Timing> {
            timings.iter().filter(|timing| timing.row == id && timing.variant.as_deref() == variant).collect()
        };
        let own = of(None);
        let ours = Side::of(&own)?;
        let others: Vec<(String, Side)> =
            row.variants().filter_map(|variant| Some((variant.to_owned(), Side::of(&of(Some(variant)))?))).collect();
        let operations = own.first().and_then(|timing| timing.operations).filter(|_| row.threads == 1);
        let share_of_peak = operations.zip(peak_gflops).map(|(operations, peak)| operations / ours.ms / 1e6 / peak);
        let verdict = |&Contest { floor, enough, variants }: &Contest| {
            let theirs = others.iter().filter(|(variant, _)| variants.contains(&variant.as_str()));
            let (best, side) = theirs.min_by(|a, b| a.1.ms.total_cmp(&b.1.ms))?;
            let at_peak = share_of_peak.is_some_and(|share| share >= enough);
            Some(Verdict { best: best.clone(), ratio: side.ms / ours.ms, floor, at_peak })
        };
        let mismatches = row.variants().flat_map(|variant| {
            let theirs = of(Some(variant));
            own.first()
                .zip(theirs.first())
                .map_or_else(Vec::new, |(us, them)| differences(&id, variant, &us.results, &them.results))
        });
        Some(Self {
            ours,
            verdicts: row.contests.iter().filter_map(verdict).collect(),
            share_of_peak,
            limit_mb: row.limit_mb,
            mismatches: mismatches.collect(),
            notes: notes(&own),
            others,
            row: id,
        })
    }

    pub(super) fn within_limit(&self) -> Option<bool> {
        Some(self.ours.peak_mb? <= self.limit_mb?)
    }
}

impl Side {
    fn of(timings: &[&Timing]) -> Option<Self> {
        Some(Self {
            ms: median(timings.iter().map(|timing| timing.median_ms))?,
            cpu_share: median(timings.iter().filter_map(|timing| timing.cpu_share)),
            peak_mb: median(timings.iter().filter_map(|timing| timing.peak_mb)),
        })
    }
}

/// Image rate of whole commands, and the share of the time in which the model waited for images.
fn notes(own: &[&Timing]) -> Vec<String> {
    let told = |key| median(own.iter().filter_map(|timing| timing.results.get(key).copied()));
    let fast = told(PER_SECOND).map(|images| format!("{images:.1} images a second"));
    let waiting = told(WAITING).map(|share| format!("{share:.1} % of it waiting for them"));
    fast.into_iter().chain(waiting).collect()
}

/// Results that differ between two sides.
pub(super) fn differences(id: &str, variant: &str, ours: &BTreeMap<String, f64>, theirs: &BTreeMap<String, f64>) -> Vec<String> {
    let both = ours.iter().filter_map(|(key, &us)| Some((key, us, *theirs.get(key)?)));
    both.filter(|(_, us, them)| (us - them).abs() > TOLERANCE * us.abs().max(them.abs()) || !(us - them).is_finite())
        .map(|(key, us, them)| format!("{id}: {key} is {us}, with {variant} {them}"))
        .collect()
}

/// Median; for an even number of values the mean of the two in the middle; `None` without values.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// Milliseconds or seconds, by size.
pub(super) fn time(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.2} s", ms / 1e3) }
}

/// A share in percent; a dot for `None`.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "·".to_owned(), |share| format!("{:.0} %", 100.0 * share))
}

/// Megabytes; a dot for `None`.
pub(super) fn megabytes(mb: Option<f64>) -> String {
    mb.map_or_else(|| "·".to_owned(), |mb| format!("{mb:.0}"))
}

impl fmt::Display for BenchTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<32}{:>10}{:>8}{:>7}{:>7}   against", "row", "rankle", "of peak", "CPU", "MB")?;
        for line in &self.lines {
            let Side { ms, cpu_share, peak_mb } = line.ours;
            let numbers = [time(ms), percent(line.share_of_peak), percent(cpu_share), megabytes(peak_mb)];
            write!(f, "{:<32}{:>10}{:>8}{:>7}{:>7}", line.row, numbers[0], numbers[1], numbers[2], numbers[3])?;
            let mut words: Vec<String> = line.others.iter().map(|(name, side)| format!("{name} {}", time(side.ms))).collect();
            for verdict in &line.verdicts {
                let met = if verdict.met() { "met" } else { "MISSED" };
                words.push(format!("{:.2}x {}, at least {}x: {met}", verdict.ratio, verdict.best, verdict.floor));
            }
            if let (Some(limit), Some(within)) = (line.limit_mb, line.within_limit()) {
                words.push(format!("at most {limit:.0} MB: {}", if within { "met" } else { "MISSED" }));
            }
            words.extend(line.notes.iter().cloned());
            writeln!(f, "{}{}", if words.is_empty() { "" } else { "   " }, words.join(" · "))?;
        }
        if self.lines.iter().any(|line| line.others.iter().any(|(name, _)| name == "research")) {
            writeln!(f, "research: two of thirty steps are timed, and their time is scaled")?;
        }
        match self.peak_gflops {
            Some(peak) => writeln!(f, "peak of one thread: {peak:.0}·10⁹ operations a second"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::rows::{self, Row};
    use super::super::timing::sample;
    use super::*;

    fn named(ids: &[&str]) -> Vec<Row> {
        rows::all().into_iter().filter(|row| ids.contains(&row.id().as_str())).collect()
    }

    /// Three rounds of a network, one of an attack with two other sides, and one of a command that is only measured.
    pub(in crate::bench) fn example() -> BenchTable {
        let rows = named(&["f32-peak/1", "c2f2-forward/100", "attack-ca+-w1/1000", "attack/500"]);
        let mut timings = vec![Timing { operations: Some(2e9), ..sample("f32-peak/1", None, 10.0) }];
        for (ours, eager, compile) in [(4.0, 9.0, 6.5), (5.0, 8.0, 6.0), (40.0, 10.0, 60.0)] {
            timings.push(Timing { operations: Some(9e8), ..sample("c2f2-forward/100", None, ours) });
            timings.push(sample("c2f2-forward/100", Some("eager"), eager));
            timings.push(sample("c2f2-forward/100", Some("compile"), compile));
        }
        let with = |rank: f64, timing: Timing| Timing { results: [("rank_after".to_owned(), rank)].into(), ..timing };
        timings.push(with(2.0, sample("attack-ca+-w1/1000", None, 4000.0)));
        timings.push(sample("attack-ca+-w1/1000", Some("research"), 36_000.0));
        timings.push(with(2.01, sample("attack-ca+-w1/1000", Some("vectorized"), 12_000.0)));
        let told = [(PER_SECOND.to_owned(), 62.5), (WAITING.to_owned(), 0.25)].into();
        timings.push(Timing { peak_mb: Some(301.0), results: told, ..sample("attack/500", None, 700.0) });
        BenchTable::of(&rows, &timings)
    }

    #[test]
    fn the_median_round_is_compared_with_the_best_variant() {
        let table = example();
        assert_eq!((table.peak_gflops, table.lines.len()), (Some(200.0), 4));
        let line = &table.lines[1];
        assert_eq!(line.ours.ms, 5.0);
        assert_eq!(line.verdicts, [Verdict { best: "compile".into(), ratio: 1.3, floor: 1.3, at_peak: false }]);
        assert_eq!(line.share_of_peak, Some(0.9));
        let ratios: Vec<(f64, bool)> = table.lines[2].verdicts.iter().map(|verdict| (verdict.ratio, verdict.met())).collect();
        assert_eq!(ratios, [(9.0, false), (3.0, true)]);
        // Nobody can be faster than the peak.
        let at_peak = |ms| {
            let timings = [
                Timing { operations: Some(2e9), ..sample("f32-peak/1", None, 10.0) },
                Timing { operations: Some(9e8), ..sample("c2f2-forward/100", None, ms) },
            ];
            let eager = sample("c2f2-forward/100", Some("eager"), ms);
            BenchTable::of(&named(&["f32-peak/1", "c2f2-forward/100"]), &[&timings[..], &[eager]].concat()).lines[1].verdicts[0]
                .met()
        };
        assert_eq!([4.7, 4.8].map(at_peak), [true, false]);
        assert_eq!((table.lines[3].within_limit(), table.lines[3].share_of_peak), (Some(false), None));
        assert_eq!(
            (median([1.0, 4.0].into_iter()), median([7.0].into_iter()), median([].into_iter())),
            (Some(2.5), Some(7.0), None)
        );
    }

    #[test]
    fn who_computes_something_else_is_told() {
        assert_eq!(example().mismatches().count(), 0);
        let of = |value: f64| BTreeMap::from([("loss".to_owned(), value)]);
        assert_eq!(differences("row", "eager", &of(1.0), &of(0.98)), ["row: loss is 1, with eager 0.98"]);
        assert_eq!(differences("row", "eager", &of(1.0), &of(f64::NAN)).len(), 1);
        assert!(differences("row", "eager", &of(1.0), &BTreeMap::new()).is_empty());
    }

    #[test]
    #[rustfmt::skip] // keeps the columns aligned
    fn a_table_for_people() {
        let expected = [
            "row                                 rankle of peak    CPU     MB   against",
            "f32-peak/1                         10.0 ms   100 %   90 %    100",
            "c2f2-forward/100                    5.0 ms    90 %   90 %    100   eager 9.0 ms · compile 6.5 ms · 1.30x compile, at least 1.3x: met",
            "attack-ca+-w1/1000                  4.00 s       ·   90 %    100   research 36.00 s · vectorized 12.00 s · 9.00x research, at least 10x: MISSED · 3.00x vectorized, at least 3x: met",
            "attack/500                        700.0 ms       ·   90 %    301   at most 300 MB: MISSED · 62.5 images a second · 0.2 % of it waiting for them",
            "research: two of thirty steps are timed, and their time is scaled",
            "peak of one thread: 200·10⁹ operations a second",
            "",
        ];
        assert_eq!(example().to_string(), expected.join("\n"));
    }
}
