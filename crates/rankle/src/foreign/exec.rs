//! A program as a model, and its identity.

use super::open::Open;
use crate::network::Loaded;
use crate::{files, interrupt};
use anyhow::{Context, Result, bail};
use rankle_core::{Distance, Embedder};
use rankle_exec::{Program, Settings, probe_distances};
use rankle_record::ProbeDistances;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A running program.
pub(crate) struct Exec {
    pub(crate) program: Arc<Program>,
    /// Identity by each distance, as it was first measured.
    probes: Mutex<Vec<(Distance, ProbeDistances)>>,
}

static RUNNING: Open<Exec> = Open::new();

/// The distances between the probe images, by which a model is known. An error that does not name the model gets its name.
///
/// # Errors
/// Those of the model.
pub(super) fn measured(model: &dyn Embedder, name: impl Fn() -> String) -> Result<ProbeDistances> {
    let measured = probe_distances(model).map_err(|error| match error {
        // It names its model itself.
        rankle_core::Error::Refused(_) | rankle_core::Error::Interrupted => anyhow::Error::new(error),
        error => anyhow::Error::new(error).context(name()),
    })?;
    ProbeDistances::new(measured).with_context(|| format!("{} has embeddings too far apart for f64", name()))
}

impl Exec {
    /// Starts a program, or takes the one that runs by this command.
    ///
    /// # Errors
    /// As [`Program::start`].
    pub(super) fn open(command: &str, timeout: Duration, processes: usize) -> Result<Arc<Self>> {
        RUNNING.get(command, || {
            let program = Program::start(command, Settings { timeout, processes, interrupted: interrupt::asked })?;
            Ok(Self { program: Arc::new(program), probes: Mutex::default() })
        })
    }

    /// The model for a distance. Its identity is that of the first time, unless it has become another model since.
    ///
    /// # Errors
    /// One line that names the command.
    pub(super) fn load(&self, distance: Distance) -> Result<Loaded> {
        let (model, name) = (self.program.model(distance), || format!("exec:{}", self.program.command()));
        let measured = measured(&model, name)?;
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
