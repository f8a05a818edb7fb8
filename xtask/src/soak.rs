//! `cargo xtask soak`: robustness against kills, full disks, closed pipes and broken files.

use crate::driver::cargo;
use crate::process;
use anyhow::{Result, bail};
use clap::Args;

/// Kill the driver, fill its disk, close its pipes and feed it broken files, and check that nothing is lost.
///
/// Runs the tests behind the feature `soak`: kills at random moments and at each system call that writes, full and broken disks,
/// readers that close their pipe, and hostile files by class. The counts are printed on standard output. Faults at system calls
/// need Linux and the program strace.
#[derive(Args)]
pub(crate) struct Soak {
    /// Run the short form of a few minutes, which is for every change
    #[arg(long)]
    short: bool,
    /// Run only tests whose name contains NAME, as in dead_pipes
    #[arg(value_name = "NAME", default_value = "")]
    name: String,
}

impl Soak {
    pub(crate) fn run(self) -> Result<()> {
        let mut command = cargo();
        command.args(self.arguments());
        let status = process::run(&mut command, "no verdict")?;
        if !status.success() {
            bail!("soak failed: the test above says what was not kept");
        }
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let form = if self.short { "short" } else { "long" };
        let command = ["test", "--workspace", "--features", SOAK, "--test", "soak", "--", "--nocapture"];
        command.into_iter().map(str::to_owned).chain([format!("{form}::{}", self.name)]).collect()
    }
}

/// Feature that enables the tests.
pub(crate) const SOAK: &str = "rankle/soak";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_is_run() {
        let line = |short, name: &str| Soak { short, name: name.into() }.arguments().join(" ");
        assert!(line(true, "").ends_with("--features rankle/soak --test soak -- --nocapture short::"));
        assert!(line(false, "dead_pipes").ends_with(" long::dead_pipes"));
    }
}
