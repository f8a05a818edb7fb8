//! What an experiment has at hand while it runs.

use super::Scope;
use super::models::{Models, Training};
use crate::driver::Driver;
use anyhow::Result;
use rankle_report::{Planned, Record, System};
use std::num::NonZero;
use std::path::PathBuf;

/// One run of one experiment: how much, where, and with what.
pub(crate) struct Session<'a> {
    pub(crate) driver: &'a Driver,
    pub(crate) scope: Scope,
    /// How many threads; all cores when none.
    pub(crate) threads: Option<NonZero<usize>>,
    /// The folder of the run, absolute.
    pub(crate) output: PathBuf,
    /// Where the driver works: records and cards name files as seen from here, so that no path of this machine gets into them.
    pub(crate) base: PathBuf,
    /// Where weights come from.
    pub(crate) training: Training,
}

impl Session<'_> {
    /// The weights of the systems, in their order; what is missing is trained now.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn weights(&self, systems: &[System]) -> Result<Models> {
        Models::get(self, systems)
    }

    /// Runs every cell of a plan that records.jsonl in the folder of the run does not hold yet; returns the records of the plan,
    /// in its order.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn sweep(&self, plan: &[Planned]) -> Result<Vec<Record>> {
        self.driver.sweep(plan, &self.base, &self.output, self.threads)
    }
}
