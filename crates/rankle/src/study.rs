//! Experiments: what a plan file describes, computed cell by cell, compared with published numbers and reported.
//!
//! A plan without a study is cells of tables ([`tables`]); what needs code besides is a study in a file of this folder, which a plan
//! names and gives its data. Weights are looked for in folders or trained ([`models`]), everything else is what the sub-commands do,
//! in this process.

mod ablations;
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

/// What is computed and reported of a plan.
trait Study {
    /// Whether published numbers stand beside ours.
    fn published(&self) -> Published {
        Published::None
    }

    /// The number of attacked cells of each system; missing weights are trained first. For the list.
    fn work(&self, scope: &Scope) -> Vec<(System, usize)>;

    /// The cells of a sweep, in the order of the report; none of a study without a sweep. `weights` answers the place of the
    /// weights of a system.
    ///
    /// # Errors
    /// Those of `weights`.
    fn plan(&self, _scope: &Scope, _weights: Weights<'_>) -> Result<Vec<Cell>> {
        Ok(Vec::new())
    }

    /// Computes what the session's folder does not hold yet, and writes the report into it.
    ///
    /// # Errors
    /// When data or weights cannot be read, or the folder cannot be written; an interrupt.
    fn run(&self, session: &Session<'_>) -> Result<Outcome>;
}

/// Answers the place of the weights of a system.
type Weights<'a> = &'a dyn Fn(&System) -> Result<String>;

/// How many of our numbers have a published one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// All.
    All,
    /// Some.
    Some,
    /// Only numbers of another system, for orientation.
    Similar,
    /// None.
    None,
}

/// The answer on standard output.
pub(crate) struct Outcome {
    /// For people.
    pub(crate) text: String,
    /// For programs: an array of one object per cell.
    pub(crate) json: String,
}

/// A path as messages and records name it.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).to_string_lossy().replace('\\', "/")
}
