//! The card of a model: how it was made, how good it is, whose it is.

use super::checkpoint::Checkpoint;
use super::plan::Plan;
use super::quality::Quality;
use crate::card::LONGEST;
use crate::device::Device;
use crate::system::CODE_VERSION;
use anyhow::{Context, Result};
use rankle_data::Credits;
use rankle_record::Provenance;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Rises whenever the same recipe makes other weights.
const METHOD_VERSION: u32 = 1;

/// `card.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Card {
    /// The command that makes these weights, bit for bit on the same instruction set.
    pub(crate) command: String,
    /// The file beside the card.
    pub(crate) weights: String,
    /// Its hash, the code and the machine; the instruction sets of all parts of the training.
    #[serde(flatten)]
    pub(crate) provenance: Provenance,
    /// `recall_at_1` or, of a classifier, `accuracy`: in percent, on the clean test images.
    #[serde(flatten)]
    pub(crate) quality: Quality,
    pub(crate) test_images: usize,
    /// How many broken images were left out of those for training and for testing, as the name of the dataset asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<[usize; 2]>,
    /// The license of the weights, where whoever trained them gave one: it is not for this program to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) license: Option<String>,
    /// The license of the images it was trained on, and whose they are.
    pub(crate) data_license: String,
    pub(crate) data_attribution: String,
    /// Wall-clock seconds of training, and with how many threads at the end.
    pub(crate) seconds: f64,
    pub(crate) threads: usize,
    /// The mean loss per image of every epoch; cards of before have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) epoch_losses: Vec<f64>,
    /// The arguments, spelled out.
    pub(crate) training: Plan,
}

impl Card {
    /// Of a finished run, without a license. The output folder and a folder of photographs are told as they were named, but of an absolute path
    /// only the end: a card tells nothing of the machine.
    ///
    /// # Errors
    /// When the plan names no known dataset.
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
                method_version: METHOD_VERSION,
                device: Device::Cpu.to_string(),
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

    /// The file.
    ///
    /// # Errors
    /// None that a checked plan can cause.
    pub(crate) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("the card is no TOML")
    }

    /// Reads a card.
    ///
    /// # Errors
    /// When it cannot be read or is no card.
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
        let checkpoint = Checkpoint::new(plan(), Vec::new(), "avx2".into());
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
