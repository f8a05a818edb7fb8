//! `cargo xtask bench`: speed of rankle, alone, beside PyTorch, or beside an older build.

mod against;
mod first_run;
mod machine;
mod markdown;
mod profile;
mod rows;
mod sides;
mod table;
mod timing;

use crate::driver::Driver;
use crate::files;
use anyhow::{Context, Result, bail};
use clap::Args;
use first_run::FirstRun;
use machine::Machine;
use rankle_cli::{answer, say};
use rows::{ONNXRUNTIME, Ours, RESEARCH, Row};
use serde::{Deserialize, Serialize};
use sides::Sides;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use table::BenchTable;
use timing::{Answer, Timing};

/// Time networks, attacks, ranking and training, and measure their memory; on one thread unless a row says otherwise.
///
/// With --against-pytorch both sides run in turn, row by row, several times, so that both see the same state of the machine;
/// medians of the medians are compared. PyTorch is needed for nothing else.
///
/// With --against this build takes turns with an older `rankle` and with itself, which measures the noise. Exit code 1 when a row
/// is slower than the noise, or the machine was too busy to judge a row. Rows that the older program lacks are named.
#[derive(Args)]
pub(crate) struct Bench {
    /// Also time PyTorch and onnxruntime: networks in three configurations and from ONNX files, attacks in two styles of script
    #[arg(long)]
    against_pytorch: bool,
    /// Also time an older build, the program `rankle` at this path
    #[arg(long, value_name = "DRIVER", conflicts_with_all = ["against_pytorch", "python"])]
    against: Option<PathBuf>,
    /// Python with torch installed; default: target/bench/venv/bin/python if it exists, else python3
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Run only rows whose name contains PART, and the peak
    #[arg(long, value_name = "PART", default_value = "")]
    name: String,
    /// Run one short round, to see that everything works
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Number of rounds, in each of which every side runs once
    #[arg(long, value_name = "N", default_value = "3")]
    rounds: NonZero<usize>,
    /// Duration of each timing, in seconds
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Write the JSON to this file; default: target/bench/bench.json in the workspace, or part.json there with --name or --quick,
    /// or against.json with --against
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the functions and lines in which ROW, a row of `rankle bench` as in c2f2-pgd-step/100, spends its time, sampled by perf on
    /// one thread for --seconds; the driver is built with names
    #[arg(long, value_name = "ROW", conflicts_with_all = ["against", "against_pytorch", "python", "name", "quick", "rounds", "json"])]
    profile: Option<String>,
    /// Time `cargo xtask reproduce` in a clean clone, from its start to its first cell, and nothing else; the result is written to
    /// target/bench/first-run.json
    #[arg(long, conflicts_with_all = ["against", "against_pytorch", "python", "name", "quick", "rounds", "seconds", "json", "profile"])]
    first_run: bool,
    /// Write the section of this processor in BENCHMARKS.md and the excerpt in README.md from the JSON of earlier runs; time nothing
    #[arg(long, conflicts_with_all = ["first_run", "profile", "against", "against_pytorch", "python", "name", "quick", "rounds", "seconds"])]
    markdown: bool,
}

/// Result of a run, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    command: String,
    machine: Machine,
    seconds: f64,
    /// Load of the machine before each round.
    loads: Vec<Option<f64>>,
    table: BenchTable,
    /// Timings behind the table.
    timings: Vec<Timing>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let file = self.file()?;
        if self.markdown {
            return write_pages(&file);
        }
        if let Some(id) = &self.profile {
            let known = rows::all();
            let Some(row) = known.iter().find(|row| row.id() == *id) else {
                let known: Vec<String> = known.iter().map(Row::id).collect();
                bail!("--profile {id}: there is no such row; known: {}", known.join(", "));
            };
            return profile::run(row, self.seconds);
        }
        if self.first_run {
            let run = FirstRun::measure()?;
            let file = first_run::file();
            files::write(&file, serde_json::to_string_pretty(&run)? + "\n")?;
            answer(&run)?;
            say(format_args!("written to {}", files::shown(&file)));
            return Ok(());
        }
        let machine = Machine::here();
        let rows = self.rows(&machine)?;
        let (seconds, rounds) = if self.quick { (0.3, 1) } else { (self.seconds, self.rounds.get()) };
        if let Some(older) = &self.against {
            let older = Driver::older(older).with_context(|| format!("--against {}", older.display()))?;
            let sides = Sides::without_python(Driver::release()?, seconds)?;
            return against::run(self.command(), machine, &sides, older, (&rows, seconds, rounds), &file);
        }
        let python = if self.against_pytorch { Some(sides::python(self.python.as_deref())?) } else { None };
        let sides = Sides::new(Driver::release()?, seconds, python)?;
        let mut report = Report {
            command: self.command(),
            machine,
            seconds,
            loads: Vec::new(),
            table: BenchTable::of(&[], &[]),
            timings: Vec::new(),
        };
        let mut failed: Vec<(String, &str)> = Vec::new();
        for round in 1..=rounds {
            report.loads.push(machine::load());
            for row in &rows {
                report.time(row, &sides, &mut failed, (round, rounds))?;
            }
            report.table = BenchTable::of(&rows, &report.timings);
            // Written after every round, so that an interrupt does not cost an hour.
            files::write(&file, serde_json::to_string_pretty(&report)? + "\n")?;
        }
        answer(&report.table)?;
        say(format_args!("written to {}", files::shown(&file)));
        let mismatches: Vec<&String> = report.table.mismatches().collect();
        mismatches.iter().for_each(|mismatch| say(format_args!("error: {mismatch}")));
        if !mismatches.is_empty() {
            bail!("both sides do not compute the same in {} places: see above", mismatches.len());
        }
        if self.against_pytorch && report.machine.pytorch.is_none() && rows.iter().any(|row| row.variants().next().is_some()) {
            bail!("PyTorch timed nothing: the reasons stand above");
        }
        Ok(())
    }

    fn file(&self) -> Result<PathBuf> {
        let name = match (&self.against, self.quick || !self.name.is_empty()) {
            (Some(_), _) => "against.json",
            (None, true) => "part.json",
            (None, false) => "bench.json",
        };
        let file = self.json.clone().unwrap_or_else(|| files::root().join("target/bench").join(name));
        std::path::absolute(&file).with_context(|| format!("{} is not a path", file.display()))
    }

    /// Rows with a matching name, and the peak, which every run times.
    fn rows(&self, machine: &Machine) -> Result<Vec<Row>> {
        // Python writes the ONNX files.
        let possible = |row: &Row| row.threads <= machine.cores && (self.against_pytorch || row.ours != Ours::OnnxStep);
        let named = |row: &Row| row.id().contains(&self.name) && possible(row);
        let rows: Vec<Row> = rows::all().into_iter().filter(|row| named(row) || row.name == rows::PEAK).collect();
        if !rows.iter().any(named) {
            let known: Vec<String> = rows::all().iter().map(Row::id).collect();
            bail!(
                "--name {}: no row is called so; known: {}; those of onnx- need --against-pytorch",
                self.name,
                known.join(", ")
            );
        }
        Ok(rows)
    }

    /// Command line without paths of this machine.
    fn command(&self) -> String {
        let mut command = "cargo xtask bench".to_owned();
        if self.against.is_some() {
            command += " --against DRIVER";
        }
        if self.against_pytorch {
            command += " --against-pytorch";
        }
        if !self.name.is_empty() {
            command += &format!(" --name {}", self.name);
        }
        match self.quick {
            true => command + " --quick",
            false => command + &format!(" --rounds {} --seconds {}", self.rounds, self.seconds),
        }
    }
}

impl Report {
    /// Times all sides of one row once, [`RESEARCH`] in the first round only. A variant that fails is reported and left out from
    /// then on.
    fn time(
        &mut self,
        row: &Row,
        sides: &Sides,
        failed: &mut Vec<(String, &str)>,
        (round, rounds): (usize, usize),
    ) -> Result<()> {
        let (id, once) = (row.id(), round > 1);
        let round = format!("round {round} of {rounds}");
        say(format_args!("{round}: {id}, rankle"));
        let (answer, timing) = match sides.ours(row) {
            // Python lacks what writes its file.
            Err(error) if row.ours == Ours::OnnxStep && rankle_cli::code(&error) != 130 => {
                say(format_args!("warning: {id} is left out; {}", rankle_cli::line(&error)));
                return Ok(());
            }
            outcome => outcome?,
        };
        if let Some(Answer { version, instruction_set, .. }) = answer {
            (self.machine.rankle, self.machine.instruction_set) = (version, instruction_set);
        }
        self.timings.push(Timing { row: id.clone(), ..timing });
        for variant in row.variants().filter(|&variant| sides.can(row, variant) && !(once && variant == RESEARCH)) {
            if failed.iter().any(|(row, other)| (row, *other) == (&id, variant)) {
                continue;
            }
            say(format_args!("{round}: {id}, {variant}"));
            match sides.other(row, variant) {
                Ok((answer, timing)) => {
                    match answer {
                        Some(Answer { version, .. }) if variant == ONNXRUNTIME => self.machine.onnxruntime = Some(version),
                        Some(Answer { version, instruction_set, .. }) => {
                            self.machine.pytorch = Some(format!("{version} ({instruction_set})"));
                        }
                        None => {}
                    }
                    self.timings.push(Timing { row: id.clone(), ..timing });
                }
                Err(error) if rankle_cli::code(&error) == 130 => return Err(error),
                Err(error) => {
                    say(format_args!("warning: {id}, {variant} is left out; {}", rankle_cli::line(&error)));
                    failed.push((id.clone(), variant));
                }
            }
        }
        Ok(())
    }
}

/// Writes the pages from the JSON of a run, of a first run, or of both.
fn write_pages(file: &Path) -> Result<()> {
    let (report, first_run) = (read::<Report>(file)?, read::<FirstRun>(&first_run::file())?);
    if report.is_none() && first_run.is_none() {
        bail!("there is no {}: `cargo xtask bench --against-pytorch` writes it", files::shown(file));
    }
    let (readme, benchmarks) = (files::root().join("README.md"), files::root().join("BENCHMARKS.md"));
    let old = std::fs::read_to_string(&readme).with_context(|| format!("{} cannot be read", files::shown(&readme)))?;
    let page = markdown::page(&std::fs::read_to_string(&benchmarks).unwrap_or_default(), report.as_ref(), first_run.as_ref());
    let new = markdown::into_readme(&old, &page)?;
    files::write(&benchmarks, page)?;
    files::write(&readme, new)?;
    say(format_args!("written: BENCHMARKS.md and the excerpt in README.md"));
    Ok(())
}

/// The JSON of an earlier run; `None` if there was none.
fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let shown = files::shown(file);
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => {
            let text = text.with_context(|| format!("{shown} cannot be read"))?;
            serde_json::from_str(&text).map(Some).with_context(|| format!("{shown} is not what this version writes"))
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if f64::is_finite(seconds) && seconds > 0.0 => Ok(seconds),
        _ => Err("a positive number of seconds is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_positive() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        assert!(["0", "-1", "inf", "NaN", "three"].into_iter().all(|text| seconds(text).is_err()));
    }

    #[test]
    fn a_report_survives_its_file() {
        let table = table::tests::example();
        let timings = vec![timing::sample("c2f2-forward/100", Some("eager"), 2.0)];
        let machine = Machine { cores: 2, ..Machine::default() };
        let report = Report { command: "c".into(), machine, seconds: 1.0, loads: vec![Some(1.5), None], table, timings };
        let back: Report = serde_json::from_str(&serde_json::to_string_pretty(&report).unwrap()).unwrap();
        assert_eq!((back.table, back.timings, back.machine), (report.table, report.timings, report.machine));
        assert_eq!(back.loads, [Some(1.5), None]);
    }
}
