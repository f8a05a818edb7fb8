//! Comparison of this build with an older one, and with itself.

use super::machine::{self, Machine};
use super::rows::Row;
use super::sides::Sides;
use super::table::{differences, megabytes, time};
use super::timing::{Answer, Timing};
use crate::driver::{Driver, Failed};
use crate::files;
use anyhow::{Result, bail};
use rankle_cli::{answer, say};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// The programs that take turns. `Again` is this build once more: its distance from `This` is noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    This,
    Other,
    Again,
}

/// Order in the first round, rotated in each round. The older driver is first, so that a row it lacks costs no other run.
const TURNS: [Turn; 3] = [Turn::Other, Turn::This, Turn::Again];

/// Variant name of the older driver in a [`Timing`].
const OTHER: &str = "other";
/// Variant name of the second run of this build in a round.
const AGAIN: &str = "again";

/// Smallest noise: two builds of one program differ that much for accidental reasons, such as the addresses of their loops.
const LEAST_NOISE: f64 = 0.02;

/// Smallest share of the processor for a valid run; a program that waits for its turn is slow for that reason alone.
const LEAST_SHARE: f64 = 0.8;

/// Result of a run, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Comparison {
    command: String,
    machine: Machine,
    other: Other,
    seconds: f64,
    /// Load of the machine before each round.
    loads: Vec<Option<f64>>,
    lines: Vec<Line>,
    /// Rows that the older driver lacks.
    skipped: Vec<Skipped>,
    /// Rows in which the older driver failed.
    failed: Vec<Skipped>,
    /// Timings behind the lines.
    timings: Vec<Timing>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Other {
    version: String,
    sha256: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Skipped {
    row: String,
    reason: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    row: String,
    /// Milliseconds of the best round.
    this_ms: f64,
    other_ms: f64,
    /// Time of this build divided by the time of the older one: above 1 this build is slower.
    ratio: f64,
    /// Time of the second run of this build divided by the time of the first.
    itself: f64,
    /// Distance from 1 that the ratio of two equal programs can reach; see [`noise`].
    noise: f64,
    verdict: Verdict,
    /// Share of the processor time that the threads could have had, in the best rounds.
    this_cpu: Option<f64>,
    other_cpu: Option<f64>,
    /// Largest memory over the rounds.
    this_mb: Option<f64>,
    other_mb: Option<f64>,
    /// Results that differ between the two builds.
    mismatches: Vec<String>,
}

/// Judgment of a ratio, given the noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Slower,
    Equal,
    Faster,
    /// Other programs took the processor.
    Unknown,
}

/// Runs all rounds, writes the JSON after each, and prints the table. `seconds` is the duration of each timing.
///
/// # Errors
/// When this build fails; when a row is slower than the noise or cannot be judged; when the older driver fails or has no row.
pub(super) fn run(
    command: String,
    machine: Machine,
    sides: &Sides,
    (other, version): (Driver, String),
    (rows, seconds, rounds): (&[Row], f64, usize),
    file: &Path,
) -> Result<()> {
    let other_is = Other { version, sha256: other.sha256()? };
    let mut comparison = Comparison::new(command, machine, other_is, seconds);
    for round in 0..rounds {
        comparison.round(round, rounds, sides, &other, rows)?;
        // Written after every round, so that an interrupt does not cost an hour.
        files::write(file, serde_json::to_string_pretty(&comparison)? + "\n")?;
    }
    answer(&comparison)?;
    say(format_args!("written to {}", files::shown(file)));
    comparison.check()
}

impl Comparison {
    fn new(command: String, machine: Machine, other: Other, seconds: f64) -> Self {
        let (loads, lines, skipped, failed, timings) = Default::default();
        Self { command, machine, other, seconds, loads, lines, skipped, failed, timings }
    }

    /// Runs every row once by each of the three.
    fn round(&mut self, round: usize, rounds: usize, sides: &Sides, other: &Driver, rows: &[Row]) -> Result<()> {
        self.loads.push(machine::load());
        let mut turns = TURNS;
        turns.rotate_left(round % TURNS.len());
        for row in rows {
            say(format_args!("round {} of {rounds}: {}", round + 1, row.id()));
            for turn in turns {
                self.turn(turn, sides, other, row)?;
            }
        }
        self.lines = rows.iter().filter_map(|row| self.line(row)).collect();
        Ok(())
    }

    /// Runs a row by one of the three, unless the row is left out.
    fn turn(&mut self, turn: Turn, sides: &Sides, other: &Driver, row: &Row) -> Result<()> {
        let id = row.id();
        if self.skipped.iter().chain(&self.failed).any(|skipped| skipped.row == id) {
            return Ok(());
        }
        let variant = match turn {
            Turn::This => None,
            Turn::Other => Some(OTHER.to_owned()),
            Turn::Again => Some(AGAIN.to_owned()),
        };
        let timed = match turn {
            Turn::Other => sides.of(other, row),
            Turn::This | Turn::Again => sides.ours(row),
        };
        match timed {
            Ok((answer, timing)) => {
                if let (Some(Answer { version, instruction_set, .. }), Turn::This) = (answer, turn) {
                    (self.machine.rankle, self.machine.instruction_set) = (version, instruction_set);
                }
                self.timings.push(Timing { row: id, variant, ..timing });
            }
            Err(error) if turn == Turn::Other && rankle_cli::code(&error) != 130 => self.leave_out(id, &error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Leaves a row out from here on. Wrong arguments mean that the older driver lacks the row; other errors are failures.
    fn leave_out(&mut self, row: String, error: &anyhow::Error) {
        let (list, reason) = match error.downcast_ref::<Failed>() {
            Some(failed) if failed.is_usage() => (&mut self.skipped, failed.reason.clone()),
            _ => (&mut self.failed, rankle_cli::line(error)),
        };
        say(format_args!("warning: {row} is left out; the other driver says: {reason}"));
        list.push(Skipped { row, reason });
    }

    fn line(&self, row: &Row) -> Option<Line> {
        let id = row.id();
        if self.failed.iter().any(|failed| failed.row == id) {
            return None;
        }
        let of = |variant: Option<&str>| -> Vec<&Timing> {
            self.timings.iter().filter(|timing| timing.row == id && timing.variant.as_deref() == variant).collect()
        };
        Line::of(row, &of(None), &of(Some(AGAIN)), &of(Some(OTHER)))
    }

    /// Refuses, in one line, a slower or unknown row, a failed row, and an empty comparison.
    fn check(&self) -> Result<()> {
        for (verdict, said) in [
            (Verdict::Slower, "slower than the noise"),
            (Verdict::Unknown, "the machine was too busy to tell (run it again when nothing else does)"),
        ] {
            let rows: Vec<&str> =
                self.lines.iter().filter(|line| line.verdict == verdict).map(|line| line.row.as_str()).collect();
            if !rows.is_empty() {
                bail!("{said} in {} of {} rows: {}", rows.len(), self.lines.len(), rows.join(", "));
            }
        }
        if let Some(Skipped { row, reason }) = self.failed.first() {
            bail!("the other driver fails in {} rows, as in {row}: {reason}", self.failed.len());
        }
        if self.lines.is_empty() {
            bail!("nothing was compared: the other driver has none of these rows");
        }
        Ok(())
    }
}

impl Line {
    /// `None` if one of the three has no timing.
    fn of(row: &Row, this: &[&Timing], again: &[&Timing], other: &[&Timing]) -> Option<Self> {
        let id = row.id();
        let best = |timings: &[&Timing]| timings.iter().copied().min_by(|a, b| a.median_ms.total_cmp(&b.median_ms)).cloned();
        let most = |timings: &[&Timing]| timings.iter().filter_map(|timing| timing.peak_mb).max_by(f64::total_cmp);
        let (us, ourselves, them) = (best(this)?, best(again)?, best(other)?);
        let noise = noise(this.iter().chain(again).map(|timing| timing.median_ms).collect());
        let ratio = us.median_ms / them.median_ms;
        let judged = was_undisturbed(row.threads, [us.cpu_share, them.cpu_share]);
        Some(Self {
            this_ms: us.median_ms,
            other_ms: them.median_ms,
            ratio,
            itself: ourselves.median_ms / us.median_ms,
            noise,
            verdict: if judged { Verdict::of(ratio, noise) } else { Verdict::Unknown },
            this_cpu: us.cpu_share,
            other_cpu: them.cpu_share,
            this_mb: most(this),
            other_mb: most(other),
            mismatches: differences(&id, "the other", &us.results, &them.results),
            row: id,
        })
    }
}

/// True if two runs had the processor. One thread never waits for itself. Several threads may wait for each other on one side,
/// which is slow for that reason, so then one undisturbed side is enough.
fn was_undisturbed(threads: usize, shares: [Option<f64>; 2]) -> bool {
    let mut had = shares.iter().map(|share| share.is_none_or(|share| share >= LEAST_SHARE));
    if threads == 1 { had.all(|had| had) } else { had.any(|had| had) }
}

/// Distance from 1 that the ratio of the best rounds of two equal programs can reach. The runs of this build are taken as two
/// sides with equally many rounds. In the worst case one side has all the best runs, and the ratio is that of the next run to the
/// best. With up to five rounds no split is worse; with more, one in 32 is.
fn noise(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    let next = runs.get((runs.len() / 2).min(RUN_OF_LUCK));
    let ratio = next.zip(runs.first()).map_or(0.0, |(next, best)| next / best - 1.0);
    ratio.max(LEAST_NOISE)
}

/// Largest number of best runs that are taken to be on one side by chance.
const RUN_OF_LUCK: usize = 5;

impl Verdict {
    fn of(ratio: f64, noise: f64) -> Self {
        match () {
            () if ratio > 1.0 + noise => Self::Slower,
            () if ratio < 1.0 / (1.0 + noise) => Self::Faster,
            () => Self::Equal,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slower => "SLOWER than the noise",
            Self::Equal => "equal",
            Self::Faster => "faster",
            Self::Unknown => "unknown: the machine was busy",
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["this", "other", "ratio", "itself", "noise", "MB", "CPU %"].map(|head| format!("{head:>10}")).concat();
        writeln!(f, "{:<32}{heads}   verdict", "row")?;
        for line in &self.lines {
            let Line { row, this_ms, other_ms, ratio, itself, noise, verdict, mismatches, .. } = line;
            let cpu = |share: Option<f64>| share.map_or_else(|| "·".to_owned(), |share| format!("{:.0}", 100.0 * share));
            let numbers = [
                time(*this_ms),
                time(*other_ms),
                format!("{ratio:.3}"),
                format!("{itself:.3}"),
                format!("{:.1} %", 100.0 * noise),
                format!("{}/{}", megabytes(line.this_mb), megabytes(line.other_mb)),
                format!("{}/{}", cpu(line.this_cpu), cpu(line.other_cpu)),
            ];
            writeln!(f, "{row:<32}{}   {verdict}", numbers.map(|number| format!("{number:>10}")).concat())?;
            mismatches.iter().try_for_each(|mismatch| writeln!(f, "  not the same work: {mismatch}"))?;
        }
        for (what, rows) in [("the other driver lacks", &self.skipped), ("the other driver fails in", &self.failed)] {
            rows.iter().try_for_each(|Skipped { row, reason }| writeln!(f, "{what} {row}: {reason}"))?;
        }
        writeln!(f, "the best of {} rounds; the other driver is rankle {}", self.loads.len(), self.other.version)
    }
}

#[cfg(test)]
mod tests {
    use super::super::timing::sample;
    use super::*;

    fn comparison() -> Comparison {
        let other = Other { version: "0.0.9".into(), sha256: "5f".into() };
        Comparison::new("c".into(), Machine::default(), other, 1.0)
    }

    #[test]
    #[rustfmt::skip] // keeps the columns aligned
    fn the_noise_is_that_of_an_unlucky_split_and_never_next_to_nothing() {
        for (runs, expected) in [
            (vec![10.0, 10.0],                         0.02),
            (vec![10.0, 11.0],                         0.1),
            (vec![12.0, 10.0, 10.1, 11.0, 15.0, 10.5], 0.1),
            (vec![],                                   0.02),
            ((0..16).map(|n| 10.0 + f64::from(n)).collect(), 0.5),
        ] {
            assert!((noise(runs.clone()) - expected).abs() < 1e-9, "{runs:?}");
        }
        for (ratio, noise, verdict) in [
            (2.0,  0.02, Verdict::Slower),
            (1.03, 0.02, Verdict::Slower),
            (1.03, 0.05, Verdict::Equal),
            (0.97, 0.05, Verdict::Equal),
            (0.9,  0.05, Verdict::Faster),
        ] {
            assert_eq!(Verdict::of(ratio, noise), verdict, "{ratio} {noise}");
        }
    }

    #[test]
    fn the_best_rounds_are_compared_and_survive_their_file() {
        let mut comparison = comparison();
        for (this, again, other) in [(10.0, 10.4, 9.0), (30.0, 10.2, 40.0), (10.1, 11.0, 9.2)] {
            comparison.timings.push(sample("a/1", None, this));
            comparison.timings.push(sample("a/1", Some(AGAIN), again));
            let results = [("loss".to_owned(), 1.0)].into();
            comparison.timings.push(Timing { results, peak_mb: Some(120.0), ..sample("a/1", Some(OTHER), other) });
        }
        comparison.timings[0].results = [("loss".to_owned(), 2.0)].into();
        let line = comparison.line(&Row::step("a", 1)).unwrap();
        assert_eq!((line.this_ms, line.other_ms, line.verdict), (10.0, 9.0, Verdict::Slower));
        assert!((line.itself - 1.02).abs() < 1e-9 && (line.noise - 0.04).abs() < 1e-9, "{line:?}");
        comparison.lines.push(line);
        comparison.skipped.push(Skipped { row: "b/1".into(), reason: "no row is called so".into() });
        comparison.loads.push(None);
        let expected = [
            "row                                   this     other     ratio    itself     noise        MB     CPU %   verdict",
            "a/1                                10.0 ms    9.0 ms     1.111     1.020     4.0 %   100/120     90/90   SLOWER than the noise",
            "  not the same work: a/1: loss is 2, with the other 1",
            "the other driver lacks b/1: no row is called so",
            "the best of 1 rounds; the other driver is rankle 0.0.9",
            "",
        ];
        assert_eq!(comparison.to_string(), expected.join("\n"));
        let back: Comparison = serde_json::from_str(&serde_json::to_string(&comparison).unwrap()).unwrap();
        assert_eq!(back.to_string(), comparison.to_string());
        assert!(serde_json::to_string(&comparison).unwrap().contains("\"verdict\":\"slower\""));
        assert_eq!(comparison.check().unwrap_err().to_string(), "slower than the noise in 1 of 1 rows: a/1");
    }

    /// A run without the processor proves nothing, in either direction.
    #[test]
    fn a_busy_machine_is_no_judge() {
        let of = |this: f64, other: f64| {
            let timing = |variant, ms, share| Timing { cpu_share: Some(share), ..sample("a/1", variant, ms) };
            let mut comparison = comparison();
            comparison.timings =
                vec![timing(None, 20.0, this), timing(Some(AGAIN), 20.0, this), timing(Some(OTHER), 10.0, other)];
            comparison.lines.extend(comparison.line(&Row::step("a", 1)));
            comparison.check().unwrap_err().to_string()
        };
        assert!(of(0.9, 1.0).starts_with("slower than the noise in 1 of 1 rows"));
        for (this, other) in [(0.5, 1.0), (1.0, 0.05)] {
            assert!(of(this, other).starts_with("the machine was too busy to tell"), "{this} {other}");
        }
        // Threads that wait for each other are slow by themselves.
        assert!(was_undisturbed(2, [Some(0.5), Some(0.95)]) && !was_undisturbed(2, [Some(0.5), Some(0.6)]));
        assert!(was_undisturbed(1, [None, None]));
    }

    #[test]
    fn each_has_every_place_once_in_three_rounds() {
        for turn in TURNS {
            let mut places: Vec<usize> = (0..3)
                .map(|round| {
                    let mut turns = TURNS;
                    turns.rotate_left(round);
                    turns.iter().position(|one| *one == turn).unwrap()
                })
                .collect();
            places.sort_unstable();
            assert_eq!(places, [0, 1, 2], "{turn:?}");
        }
    }

    #[cfg(unix)]
    mod drivers {
        use super::*;
        use std::path::PathBuf;
        use std::process::Command;

        /// Makes a program from a script. Another process writes the file, because a file that a forked child of another test
        /// holds open for writing cannot be executed.
        fn executable(folder: &Path, name: &str, script: &str) -> PathBuf {
            let (text, path) = (folder.join(format!("{name}.sh")), folder.join(name));
            std::fs::write(&text, script).unwrap();
            assert!(Command::new("install").args(["-m", "755"]).args([&text, &path]).status().unwrap().success());
            path
        }

        /// A program that prints its version, and runs `body` for `bench`, with the name of the row in `$row`.
        fn program(folder: &Path, name: &str, body: &str) -> PathBuf {
            let script = format!(
                "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'rankle 0.0.9'; exit 0; fi\n\
                 while [ \"$1\" != --name ]; do shift; done\nrow=$2\n{body}\n"
            );
            executable(folder, name, &script)
        }

        /// A shell command that prints a row in the format of `rankle bench`.
        fn answer(ms: f64) -> String {
            format!(
                "echo '{{\"version\":\"0.1.0\",\"instruction_set\":\"avx2\",\"timings\":[{{\"name\":\"a\",\"images\":1,\"threads\":1,\
                 \"median_ms\":{ms},\"minimum_ms\":{ms},\"repeats\":5,\"cpu_share\":1.0,\"results\":{{\"loss\":1.0}}}}]}}'"
            )
        }

        /// Two rounds of this build, which takes 10 ms, and another driver.
        fn compared(body: &str) -> (Comparison, Result<()>) {
            let folder = tempfile::tempdir().unwrap();
            let driver = |name, body: &str| Driver::older(&program(folder.path(), name, body)).unwrap().0;
            let sides = Sides::without_python(driver("this", &answer(10.0)), 0.1).unwrap();
            let other = driver("other", body);
            let rows = [Row::step("a", 1), Row::step("b", 1)];
            let mut comparison = comparison();
            let outcome = (0..2).try_for_each(|round| comparison.round(round, 2, &sides, &other, &rows));
            (comparison, outcome)
        }

        #[test]
        fn a_slower_build_is_found_and_an_equal_one_is_not() {
            for (theirs, verdict) in [(5.0, Verdict::Slower), (10.0, Verdict::Equal), (20.0, Verdict::Faster)] {
                let (comparison, outcome) = compared(&answer(theirs));
                outcome.unwrap();
                let verdicts: Vec<Verdict> = comparison.lines.iter().map(|line| line.verdict).collect();
                assert_eq!(verdicts, [verdict; 2], "{theirs}");
                assert_eq!(comparison.check().is_err(), verdict == Verdict::Slower);
                assert_eq!(comparison.timings.len(), 2 * 2 * 3);
            }
        }

        #[test]
        fn a_row_that_the_other_lacks_is_left_out_and_named() {
            let lacks = "if [ \"$row\" = b/1 ]; then echo 'error: --name b/1: no row is called so' >&2; exit 2; fi";
            let (comparison, outcome) = compared(&format!("{lacks}\n{}", answer(10.0)));
            outcome.unwrap();
            comparison.check().unwrap();
            assert_eq!(comparison.lines.len(), 1);
            let reason = "--name b/1: no row is called so".to_owned();
            assert_eq!(comparison.skipped, [Skipped { row: "b/1".into(), reason }]);
            assert!(comparison.timings.iter().all(|timing| timing.row == "a/1"), "nobody waits for what is not compared");
        }

        #[test]
        fn a_driver_that_crashes_or_prints_something_else_is_told() {
            for (body, part) in [
                ("kill -KILL $$", "`rankle bench` failed (signal: 9"),
                ("exit 1", "`rankle bench` failed (exit status: 1)"),
                ("echo done", "`rankle bench` did not print an object with timings"),
            ] {
                let (comparison, outcome) = compared(body);
                outcome.unwrap();
                let message = rankle_cli::line(&comparison.check().unwrap_err());
                assert!(message.contains("fails in 2 rows, as in a/1: ") && message.contains(part), "{message}");
                assert!(comparison.lines.is_empty());
            }
        }

        #[test]
        fn what_is_no_driver_is_told_in_one_line() {
            let folder = tempfile::tempdir().unwrap();
            let text = folder.path().join("text");
            std::fs::write(&text, "text").unwrap();
            let garbage = executable(folder.path(), "garbage", "#!/bin/sh\necho something else\n");
            for (path, part) in [(folder.path().join("none"), "cannot start"), (text, "cannot start"), (garbage, "is no driver")]
            {
                let message = rankle_cli::line(&Driver::older(&path).err().unwrap());
                assert!(message.contains(part) && message.contains(path.to_str().unwrap()), "{message}");
                assert_eq!(message.lines().count(), 1);
            }
        }
    }
}
