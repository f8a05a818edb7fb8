//! Experiments: the cells of a plan file, computed, compared with published numbers and reported.
//!
//! A plan without a study lists tables of cells ([`tables`]). A study is code in a file of this folder; a plan names it and holds
//! its data. Weights are found in folders or trained ([`models`]); all other work is done by the sub-commands, in this process.

mod ablations;
mod ask;
mod beyond;
mod checked;
mod classification;
mod cost;
#[cfg(test)]
mod kept;
mod lines;
mod list;
mod models;
mod pictures;
mod plan;
mod recipe;
mod report;
#[cfg(test)]
pub(crate) mod sample;
mod sanity;
mod scope;
mod session;
mod strength;
mod tables;
mod transfer;
mod universal;

pub(crate) use lines::compute as compute_lines;
pub(crate) use list::list;
pub(crate) use models::{Places, Training};
pub(crate) use plan::{Content, Experiment, content};
pub(crate) use scope::Scope;
pub(crate) use session::Session;

use anyhow::Result;
use rankle_report::{Cell, System};
use std::path::Path;

/// Computation and report of a plan.
trait Study {
    /// Extent to which published numbers exist for ours.
    fn published(&self) -> Published {
        Published::None
    }

    /// Number of attacked cells per system, for the list of experiments; missing weights are trained first.
    fn work(&self, scope: &Scope) -> Vec<(System, usize)>;

    /// Cells of the sweep, in the order of the report; empty without a sweep. `weights` returns the file of a system's weights.
    ///
    /// # Errors
    /// Those of `weights`.
    fn plan(&self, _scope: &Scope, _weights: Weights<'_>) -> Result<Vec<Cell>> {
        Ok(Vec::new())
    }

    /// Computes the cells that the session's folder does not hold yet, and writes the report into it.
    ///
    /// # Errors
    /// When data or weights cannot be read, or the folder cannot be written; an interrupt.
    fn run(&self, session: &Session<'_>) -> Result<Outcome>;
}

/// Returns the file of a system's weights.
type Weights<'a> = &'a dyn Fn(&System) -> Result<String>;

/// Share of our numbers that have a published counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    All,
    Some,
    /// Only numbers of another system, for orientation.
    Similar,
    None,
}

/// Result for standard output.
pub(crate) struct Outcome {
    /// Text for people.
    pub(crate) text: String,
    /// JSON for programs: an array with one object per cell.
    pub(crate) json: String,
}

/// A path in the form of messages and records.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).to_string_lossy().replace('\\', "/")
}
