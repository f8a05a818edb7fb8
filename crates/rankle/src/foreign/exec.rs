//! A program as a model, and its identity.

use crate::network::Loaded;
use crate::{files, interrupt};
use anyhow::{Context, Result, bail};
use rankle_core::Distance;
use rankle_exec::{Program, Settings, probe_distances};
use rankle_record::ProbeDistances;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// A running program.
pub(crate) struct Exec {
    pub(crate) program: Arc<Program>,
    /// Identity by each distance, as it was first measured.
    probes: Mutex<Vec<(Distance, ProbeDistances)>>,
}

/// Programs that run: the lines of a plan that name one command share it.
static RUNNING: Mutex<Vec<Weak<Exec>>> = Mutex::new(Vec::new());

impl Exec {
    /// Starts a program, or takes the one that runs by this command.
    ///
    /// # Errors
    /// As [`Program::start`].
    pub(super) fn open(command: &str, timeout: Duration, processes: usize) -> Result<Arc<Self>> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|exec| exec.strong_count() > 0);
        let known = running.iter().filter_map(Weak::upgrade).find(|exec| exec.program.command() == command);
        if let Some(known) = known {
            return Ok(known);
        }
        let program = Program::start(command, Settings { timeout, processes, interrupted: interrupt::asked })?;
        let exec = Arc::new(Self { program: Arc::new(program), probes: Mutex::default() });
        running.push(Arc::downgrade(&exec));
        Ok(exec)
    }

    /// The model for a distance. Its identity is that of the first time, unless it has become another model since.
    ///
    /// # Errors
    /// One line that names the command.
    pub(super) fn load(&self, distance: Distance) -> Result<Loaded> {
        let (model, name) = (self.program.model(distance), || format!("exec:{}", self.program.command()));
        let measured = probe_distances(&model).map_err(|error| match error {
            // It names its command itself.
            rankle_core::Error::Refused(_) | rankle_core::Error::Interrupted => anyhow::Error::new(error),
            error => anyhow::Error::new(error).context(name()),
        })?;
        let measured =
            ProbeDistances::new(measured).with_context(|| format!("{} has embeddings too far apart for f64", name()))?;
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match probes.iter().find(|(known, _)| *known == distance) {
            Some((_, first)) => first.clone(),
            None => {
                probes.push((distance, measured.clone()));
                measured.clone()
            }
        };
        if !first.are_of_one_model(&measured) {
            bail!(
                "{} has become another model while this command ran: the distances of its probe images moved by {:.2} %; embeddings must depend on their image alone",
                name(),
                100.0 * first.difference(&measured)
            );
        }
        Ok(Loaded {
            embedder: Box::new(model),
            weights_sha256: files::hash(first.text().as_bytes()),
            probe_distances: Some(first),
        })
    }
}
