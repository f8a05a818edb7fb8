//! `cargo xtask bench --first-run`: time from a clean clone to the first printed cell of `cargo xtask reproduce`.

use super::machine::{Machine, load};
use crate::{files, process};
use anyhow::{Context, Result, bail};
use rankle_cli::say;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Seconds from the start of the command behind each stage, in a fresh clone with no build folder; crates of the registry are
/// downloaded already.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FirstRun {
    pub(super) machine: Machine,
    pub(super) load: Option<f64>,
    /// xtask is compiled, and so is what the driver shares with it.
    pub(super) xtask: f64,
    /// The driver is compiled.
    pub(super) driver: f64,
    /// The first cell is printed.
    pub(super) first_cell: f64,
}

/// File of the result.
pub(super) fn file() -> PathBuf {
    files::root().join("target/bench/first-run.json")
}

impl FirstRun {
    /// Clones the commit at hand into a temporary folder, and runs the command there until its first cell is printed.
    ///
    /// # Errors
    /// When the clone or the command fails; an interrupt.
    pub(super) fn measure() -> Result<Self> {
        let folder = tempfile::tempdir().context("there is no temporary folder")?;
        let clone = folder.path().join("rankle");
        let mut git = Command::new("git");
        git.args(["clone", "--quiet"]).arg(files::root()).arg(&clone);
        if !process::run(&mut git, "nothing was written")?.success() {
            bail!("git could not clone this repository");
        }
        let (machine, load, start) = (Machine::here(), load(), Instant::now());
        let (mut xtask, mut driver, mut first_cell) = (None, None, 0.0);
        let mut command = Command::new("cargo");
        // The cargo that runs this program names its own folder and toolchain to its children.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO")) {
            if name != "CARGO_HOME" {
                command.env_remove(name);
            }
        }
        command.args(["xtask", "reproduce"]).current_dir(&clone);
        process::run_until(&mut command, "nothing was written", |line| {
            let now = start.elapsed().as_secs_f64();
            let line = line.trim_start();
            if xtask.is_none() && line.starts_with("Compiling ") {
                xtask = Some(now);
                say(format_args!("{now:.0} s: xtask is compiled"));
            }
            if driver.is_none() && line.starts_with("Finished ") {
                driver = Some(now);
                say(format_args!("{now:.0} s: the driver is compiled"));
            }
            first_cell = now;
            is_cell(line)
        })
        .context("cargo xtask reproduce, in a clone")?;
        let driver = driver.context("cargo did not say that the driver is compiled")?;
        Ok(Self { machine, load, xtask: xtask.unwrap_or(driver), driver, first_cell })
    }
}

/// True of a line that reports a finished cell.
fn is_cell(line: &str) -> bool {
    line.ends_with(" left") && line.contains(" s; ") && line.contains("cell")
}

impl fmt::Display for FirstRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, xtask, driver, first_cell, .. } = self;
        let processor = machine.processor.as_deref().unwrap_or("unknown processor");
        write!(
            f,
            "{processor}, {} cores: {} to the first cell ({} for xtask, {} more for the driver)",
            machine.cores,
            minutes(*first_cell),
            minutes(*xtask),
            minutes(driver - xtask)
        )
    }
}

/// Minutes and seconds.
pub(super) fn minutes(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02} min", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_cell_is_known_by_its_line() {
        assert!(is_cell("mnist-ct ca+ w=1 ε=0.01: rank 51.10 % -> 44.38 % 1.9 s; 159 cells left"));
        for other in ["160 of 160 cells are to be computed", "Compiling rankle v0.1.0", "about 8 min left"] {
            assert!(!is_cell(other), "{other}");
        }
        assert_eq!([59.4, 60.0, 359.6].map(minutes), ["0:59 min", "1:00 min", "6:00 min"]);
    }
}
