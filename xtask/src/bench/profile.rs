//! `cargo xtask bench --profile ROW`: the functions and lines in which a row spends its time, sampled by `perf`.

use super::rows::{Ours, Row};
use crate::driver::Driver;
use crate::{files, process};
use anyhow::{Context, Result, bail};
use rankle_cli::say;
use std::process::Command;

/// Samples a second: no multiple of a timer's rate.
const FREQUENCY: &str = "1999";
/// Smallest share in percent of a line of the report.
const LEAST: &str = "0.5";

/// Samples one row of `rankle bench`, built with names and line numbers, and prints the report of `perf`, largest share first.
///
/// The clock of the processor is sampled, which virtual machines have, too; counters of caches need the machine itself.
///
/// # Errors
/// When the row is a whole command or of an ONNX file, and when `perf` is missing or fails.
pub(super) fn run(row: &Row, seconds: f64) -> Result<()> {
    if !matches!(row.ours, Ours::Step) {
        bail!(
            "--profile {}: `rankle bench` has no such row; run its command under a profiler, built with `--profile profiling`",
            row.id()
        );
    }
    let missing = "perf cannot be run: install it (on Debian: linux-perf)";
    if !process::run_capturing(Command::new("perf").arg("--version"), "nothing was sampled").context(missing)?.0.success() {
        bail!(missing);
    }
    let driver = Driver::profiling()?;
    let data = files::root().join("target/bench/profile.data");
    files::write(&data, "")?;
    let mut record = Command::new("perf");
    record.args(["record", "--quiet", "-e", "cpu-clock", "-F", FREQUENCY, "-o"]).arg(&data).arg("--").arg(driver.program());
    record.args(["bench", "--threads", "1", "--name", &row.step_id(), "--seconds", &seconds.to_string()]);
    if !process::run(record.current_dir(files::root()), "nothing was sampled")?.success() {
        bail!("perf record failed: the reason stands above");
    }
    let mut report = Command::new("perf");
    report.args(["report", "--stdio", "--no-children", "--sort", "symbol,srcline", "--percent-limit", LEAST, "-i"]).arg(&data);
    if !process::run(&mut report, "the samples are kept")?.success() {
        bail!("perf report failed: the reason stands above");
    }
    say(format_args!("the samples are in {}; `perf annotate -i` shows instructions", files::shown(&data)));
    Ok(())
}
