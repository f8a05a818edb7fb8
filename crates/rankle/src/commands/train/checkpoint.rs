//! What a training run leaves behind while it lasts: one file, so its parts can never disagree.

use super::plan::Plan;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use rankle_core::Trainable;
use rankle_models::weights::{self, Tensors};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where a run stands; beside it in the file, the weights and the optimiser's moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// What is computed.
    pub(crate) plan: Plan,
    /// Optimiser steps made so far.
    pub(crate) step: usize,
    /// Wall-clock seconds of all parts of the run.
    pub(crate) seconds: f64,
    /// The paths of the kernels that took part.
    pub(crate) instruction_sets: Vec<String>,
}

/// The tensor that holds the above as JSON, in bytes.
const KEY: &str = "rankle.training";

impl Checkpoint {
    /// Of a run that has not begun.
    pub(crate) fn new(plan: Plan, instruction_set: String) -> Self {
        Self { plan, step: 0, seconds: 0.0, instruction_sets: vec![instruction_set] }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, path: &Path, model: &dyn Trainable) -> Result<()> {
        let mut tensors = model.checkpoint()?;
        let text = serde_json::to_vec(self).context("the checkpoint is no JSON")?;
        tensors.insert(KEY.to_owned(), Tensor::from_slice(&text, text.len(), &Device::Cpu)?);
        Ok(weights::write(path, &tensors)?)
    }

    /// Reads the file, if it is there.
    ///
    /// # Errors
    /// When it is no checkpoint of a training run.
    pub(crate) fn read(path: &Path) -> Result<Option<(Self, Tensors)>> {
        if !path.exists() {
            return Ok(None);
        }
        let mut tensors = weights::read(path)?;
        let Some(text) = tensors.remove(KEY) else {
            bail!(
                "{} is no checkpoint of `rankle train`: it has no tensor '{KEY}'; delete it or choose another folder",
                path.display()
            )
        };
        let checkpoint = text.to_vec1::<u8>().ok().and_then(|text| serde_json::from_slice(&text).ok());
        let checkpoint = checkpoint.with_context(|| {
            format!("{}: the tensor '{KEY}' is not of this version; delete the file to start anew", path.display())
        })?;
        Ok(Some((checkpoint, tensors)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;
    use rankle_core::{Distance, Seed};
    use rankle_models::Architecture;

    #[test]
    fn what_is_written_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        assert!(Checkpoint::read(&path).unwrap().is_none());
        let model = Architecture::C2f2.initialise(Distance::Cosine, Seed(1)).unwrap();
        let checkpoint = Checkpoint { step: 7, seconds: 0.1 + 0.2, ..Checkpoint::new(plan(), "avx2".into()) };
        checkpoint.write(&path, &*model).unwrap();
        let (read, state) = Checkpoint::read(&path).unwrap().unwrap();
        assert_eq!(read, checkpoint);
        Architecture::C2f2.resume(Distance::Cosine, Seed(1), state).unwrap();

        weights::write(&path, &model.parameters().unwrap()).unwrap();
        let message = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(message.contains("is no checkpoint of `rankle train`"), "{message}");
    }
}
