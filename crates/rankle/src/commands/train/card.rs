//! The card of a trained model: training, quality, license.

use super::checkpoint::Checkpoint;
use super::plan::Plan;
use super::quality::Quality;
use crate::card::LONGEST;
use crate::system::CODE_VERSION;
use anyhow::{Context, Result};
use rankle_data::Credits;
use rankle_record::Provenance;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the training code. It rises whenever the same recipe makes other weights.
const METHOD_VERSION: u32 = 1;

/// Content of `card.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Card {
    /// Command that makes these weights, bit for bit on the same instruction set.
    pub(crate) command: String,
    /// File name of the weights beside the card.
    pub(crate) weights: String,
    /// Hash of the weights, version of the code, and machine, with the instruction sets of all parts of the training.
    #[serde(flatten)]
    pub(crate) provenance: Provenance,
    /// Quality on the clean test images, in percent: `recall_at_1`, for a classifier `accuracy`.
    #[serde(flatten)]
    pub(crate) quality: Quality,
    pub(crate) test_images: usize,
    /// Numbers of broken training and test images that `skip-broken` left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<[usize; 2]>,
    /// License of the weights, from `--license`. It is the choice of whoever trains, so there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) license: Option<String>,
    /// License and attribution of the training images.
    pub(crate) data_license: String,
    pub(crate) data_attribution: String,
    /// Wall-clock seconds of the training; `threads` is the number of threads at its end.
    pub(crate) seconds: f64,
    pub(crate) threads: usize,
    /// Mean loss per image of every epoch; missing in older cards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) epoch_losses: Vec<f64>,
    /// All arguments, with the defaults filled in.
    pub(crate) training: Plan,
}

impl Card {
    /// The card of a finished run, without a license. Of an absolute path of the output or of a folder of photographs it has only
    /// the last part, so that it tells nothing of the machine; relative paths are kept.
    ///
    /// # Errors
    /// A plan that names no known dataset.
    pub(crate) fn new(
        plan: &Plan,
        credits: Credits,
        checkpoint: &Checkpoint,
        weights_sha256: String,
        quality: Quality,
        test_images: usize,
        output: &Path,
    ) -> Result<Self> {
        let training = plan.portable()?;
        let whole = output.is_relative().then_some(output.as_os_str());
        let folder = whole.or(output.file_name()).map_or("model".into(), |name| name.to_string_lossy());
        Ok(Self {
            command: training.command(&folder),
            weights: "model.safetensors".to_owned(),
            provenance: Provenance {
                weights_sha256,
                probe_distances: None,
                method_version: METHOD_VERSION,
                device: checkpoint.devices.join(", "),
                instruction_set: checkpoint.instruction_sets.join(", "),
                code_version: CODE_VERSION.to_owned(),
            },
            quality,
            test_images,
            left_out: None,
            license: None,
            data_license: credits.license,
            data_attribution: credits.attribution,
            seconds: checkpoint.seconds.round(),
            threads: rayon::current_num_threads(),
            epoch_losses: checkpoint.epoch_losses(),
            training,
        })
    }

    /// The card as text of the file.
    ///
    /// # Errors
    /// None that a checked plan can cause.
    pub(crate) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("the card is no TOML")
    }

    /// Reads a card.
    ///
    /// # Errors
    /// A file that cannot be read or is not a card.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = rankle_files::read_text(path, LONGEST).with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is no card of `rankle train`", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn a_card_comes_back_as_it_was_written_and_tells_nothing_of_the_machine() {
        let checkpoint = Checkpoint::new(plan(), Vec::new(), ("cpu".into(), "avx2".into()));
        let credits = || Credits { license: "CC0".into(), attribution: "me".into() };
        let new = |output| {
            Card::new(&plan(), credits(), &checkpoint, "5f".repeat(32), Quality::RecallAt1(98.3), 10_000, Path::new(output))
                .unwrap()
        };
        assert!(new("models/mnist-est").command.ends_with(" --output models/mnist-est"));
        let card = new("/models/mine/mnist-est");
        let text = card.to_toml().unwrap();
        assert!(text.contains("--output mnist-est\"") && !text.contains("/models/mine"), "{text}");
        let photos = Plan { dataset: "folder,images=20%:/photos/mine/shoes".into(), ..plan() };
        let (quality, output) = (Quality::RecallAt1(98.3), Path::new("shoes"));
        let photos = Card::new(&photos, credits(), &checkpoint, "5f".repeat(32), quality, 10, output).unwrap().to_toml().unwrap();
        assert!(photos.contains("--dataset folder,images=20%:shoes ") && !photos.contains("mine"), "{photos}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        assert_eq!(Card::read(file.path()).unwrap(), card);
        assert!(text.contains("\nrecall_at_1 = 98.3\n") && !text.contains("\nlicense"), "{text}");
        let ours = Card { license: Some("CC BY 4.0".into()), ..card.clone() };
        assert_eq!(ours.to_toml().unwrap(), text.replace("\ndata_license", "\nlicense = \"CC BY 4.0\"\ndata_license"));
        let classifier = Card { quality: Quality::Accuracy(98.3), ..card };
        assert_eq!(classifier.to_toml().unwrap(), text.replace("recall_at_1", "accuracy"));
    }
}
