//! Checkpoints of a training run. A checkpoint is one file, so that its parts cannot be of different steps.

use super::plan::Plan;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use rankle_core::Trainable;
use rankle_models::weights::{self, Tensors};
use rankle_train::{EpochLoss, Moment, Progress};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Progress of a training run. The file also holds the weights and the moments of the optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Plan of the run.
    pub(crate) plan: Plan,
    /// Names of the training images, if they have names; missing in older checkpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) images: Vec<String>,
    /// Number of optimizer steps made so far.
    step: usize,
    /// Loss of the epoch of the last step: the sum, and the number of images.
    loss: (Exact, usize),
    /// Mean loss per image of every finished epoch.
    epoch_losses: Vec<Exact>,
    /// Wall-clock seconds of all parts of the run.
    pub(crate) seconds: f64,
    /// Devices on which parts of the run were computed; missing in older checkpoints, which knew only one.
    #[serde(default = "processor")]
    pub(crate) devices: Vec<String>,
    /// Instruction sets on which parts of the run were computed.
    pub(crate) instruction_sets: Vec<String>,
}

fn processor() -> Vec<String> {
    vec![crate::device::Device::default().to_string()]
}

/// A number that is stored to the last bit, which decimal numbers in JSON need not be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
struct Exact(f64);

impl From<u64> for Exact {
    fn from(bits: u64) -> Self {
        Self(f64::from_bits(bits))
    }
}

impl From<Exact> for u64 {
    fn from(number: Exact) -> Self {
        number.0.to_bits()
    }
}

/// Name of the tensor with the bytes of the [`Checkpoint`] as JSON, and of the tensor with the SHA-256 of a file of all others.
const KEY: &str = "rankle.training";
const HASH: &str = "rankle.sha256";

impl Checkpoint {
    /// The checkpoint of a run that has not begun.
    pub(crate) fn new(plan: Plan, images: Vec<String>, (device, instruction_set): (String, String)) -> Self {
        let (loss, epoch_losses) = ((Exact(0.0), 0), Vec::new());
        Self {
            plan,
            images,
            step: 0,
            loss,
            epoch_losses,
            seconds: 0.0,
            devices: vec![device],
            instruction_sets: vec![instruction_set],
        }
    }

    /// Number of optimizer steps made so far.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// Progress from which training goes on.
    pub(crate) fn progress(&self) -> Progress {
        let (Exact(sum), images) = self.loss;
        Progress { step: self.step, loss: EpochLoss { sum, images } }
    }

    /// Updates step and losses after a step.
    pub(crate) fn follow(&mut self, Moment { progress: Progress { step, loss }, epoch_ended, .. }: Moment) {
        self.step = step;
        self.loss = (Exact(loss.sum), loss.images);
        self.epoch_losses.extend(loss.mean().filter(|_| epoch_ended).map(Exact));
    }

    /// The mean loss per image of every epoch that has ended.
    pub(crate) fn epoch_losses(&self) -> Vec<f64> {
        self.epoch_losses.iter().map(|&Exact(loss)| loss).collect()
    }

    /// Checks that a run of `steps` steps can have this progress.
    ///
    /// # Errors
    /// Progress that the run cannot have.
    pub(crate) fn check_progress(&self, steps: usize, per_epoch: usize) -> Result<()> {
        let (step, epochs) = (self.step, self.epoch_losses.len());
        if !(1..=steps).contains(&step) {
            bail!("it is at step {step} of {steps}");
        }
        if epochs > step / per_epoch.max(1) {
            bail!("it has the losses of {epochs} epochs at step {step}, and an epoch has {per_epoch} steps");
        }
        Ok(())
    }

    /// Writes the file, completely or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, path: &Path, model: &dyn Trainable) -> Result<()> {
        let mut tensors = model.checkpoint()?;
        let text = serde_json::to_vec(self).context("the checkpoint is no JSON")?;
        tensors.insert(KEY.to_owned(), Tensor::from_slice(&text, text.len(), &Device::Cpu)?);
        let hash = hash(&tensors)?;
        tensors.insert(HASH.to_owned(), hash);
        Ok(weights::write(path, &tensors)?)
    }

    /// Reads the file; `None` if it does not exist.
    ///
    /// # Errors
    /// A file that is not a checkpoint of a training run, or that has changed since it was written.
    pub(crate) fn read(path: &Path) -> Result<Option<(Self, Tensors)>> {
        if !path.exists() {
            return Ok(None);
        }
        let mut tensors = weights::read(path).context("delete that file to start the training anew")?;
        let written = tensors.remove(HASH);
        let whole = hash(&tensors)?;
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
        let Some(written) = written else {
            bail!("{} is of a version without a hash of its content; delete it to start anew", path.display());
        };
        if written.to_vec1::<u8>().ok() != whole.to_vec1::<u8>().ok() {
            bail!("{} is not as it was written: its hash is of another content; delete it to start anew", path.display());
        }
        Ok(Some((checkpoint, tensors)))
    }
}

/// SHA-256 of a file of these tensors.
fn hash(tensors: &Tensors) -> Result<Tensor> {
    Ok(Tensor::from_slice(&Sha256::digest(weights::serialize(tensors)?), 32, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;
    use rankle_core::{Distance, Seed};
    use rankle_models::Architecture;

    #[test]
    fn a_step_that_no_run_has_is_found() {
        let at = |step, losses: usize| Checkpoint {
            step,
            epoch_losses: vec![Exact(0.5); losses],
            ..Checkpoint::new(plan(), Vec::new(), ("cpu".into(), "avx2".into()))
        };
        let said = |checkpoint: Checkpoint| checkpoint.check_progress(2000, 100).map_err(|error| error.to_string());
        assert_eq!([at(1, 0), at(2000, 20), at(150, 1)].map(said), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(said(at(9999, 20)).unwrap_err(), "it is at step 9999 of 2000");
        assert!(said(at(0, 0)).unwrap_err().ends_with("step 0 of 2000") && said(at(150, 2)).unwrap_err().contains("2 epochs"));
    }

    #[test]
    fn what_is_written_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        assert!(Checkpoint::read(&path).unwrap().is_none());
        let model = Architecture::C2f2.initialize(Distance::Cosine, Seed(1), &rankle_core::Place::Kernels).unwrap();
        let mut checkpoint =
            Checkpoint { seconds: 0.1 + 0.2, ..Checkpoint::new(plan(), vec!["a/1.png".into()], ("cpu".into(), "avx2".into())) };
        let moment = |step: usize, sum: f64, epoch_ended: bool| {
            let progress = Progress { step, loss: EpochLoss { sum, images: 3 } };
            Moment { progress, steps: 9, epoch_ended }
        };
        // Numbers that a JSON reader may round to a neighbor.
        checkpoint.follow(moment(3, 0.1 + 0.2, true));
        checkpoint.follow(moment(4, 1.0 / 3.0, false));
        checkpoint.write(&path, &*model).unwrap();
        let (read, state) = Checkpoint::read(&path).unwrap().unwrap();
        assert_eq!(read, checkpoint);
        assert_eq!((read.progress(), read.epoch_losses()), (moment(4, 1.0 / 3.0, false).progress, vec![(0.1 + 0.2) / 3.0]));
        Architecture::C2f2.resume(Distance::Cosine, Seed(1), state, &rankle_core::Place::Kernels).unwrap();

        // Only the hash reveals a flipped bit in a weight or a moment.
        let whole = std::fs::read(&path).unwrap();
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        for place in [header, header + (whole.len() - header) / 2, whole.len() - 1] {
            let mut spoiled = whole.clone();
            spoiled[place] ^= 1;
            std::fs::write(&path, spoiled).unwrap();
            let message = Checkpoint::read(&path).unwrap_err().to_string();
            assert!(message.ends_with("delete it to start anew") || message.contains("is not of this version"), "{message}");
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(Checkpoint::read(&path).unwrap_err().to_string().contains("delete that file"));

        // A checkpoint of a version without the loss of the current epoch.
        let mut old = serde_json::to_value(&checkpoint).unwrap();
        old.as_object_mut().unwrap().remove("loss").unwrap();
        let mut tensors = model.checkpoint().unwrap();
        let text = serde_json::to_vec(&old).unwrap();
        tensors.insert(KEY.to_owned(), Tensor::from_slice(&text, text.len(), &Device::Cpu).unwrap());
        weights::write(&path, &tensors).unwrap();
        let message = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("is not of this version; delete the file to start anew"), "{message}");

        weights::write(&path, &model.parameters().unwrap()).unwrap();
        let message = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(message.contains("is no checkpoint of `rankle train`"), "{message}");
    }
}
