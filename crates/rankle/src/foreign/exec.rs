//! A program as a model, and its identity.

use super::measured;
use super::open::Open;
use crate::network::Loaded;
use crate::stop::Stop;
use crate::{files, interrupt};
use anyhow::{Result, bail};
use rankle_core::Distance;
use rankle_exec::{Program, Settings};
use rankle_record::ProbeDistances;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A running program.
pub(crate) struct Exec {
    pub(crate) program: Arc<Program>,
    /// Identity by each distance, as it was first measured.
    probes: Mutex<Vec<(Distance, ProbeDistances)>>,
}

static RUNNING: Open<String, Exec> = Open::new();

impl Exec {
    /// Starts a program, or takes the one that runs by this command.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments for a line that is no command; as [`Program::start`].
    pub(super) fn open(command: &str, timeout: Duration, processes: usize) -> Result<Arc<Self>> {
        RUNNING.get(command.to_owned(), || {
            Program::check(command).map_err(|error| Stop::usage(error.to_string()))?;
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
