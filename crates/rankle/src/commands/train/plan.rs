//! Everything that the weights of a training run depend on.

use crate::names::Defense;
use anyhow::Result;
use rankle_data::Source;
use rankle_train::{Loss, Recipe, Sampling};
use serde::{Deserialize, Serialize};

/// The arguments of a run, checked and complete. A checkpoint is gone on with only by a run with equal ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) dataset: String,
    /// How many of the training images: the first ones.
    pub(crate) images: usize,
    pub(crate) model: String,
    /// The name of the file whose weights it started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pretrained: Option<String>,
    /// The hash of that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pretrained_sha256: Option<String>,
    /// The first layer that is trained, where not all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) train_layers: Option<String>,
    /// None of a classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distance: Option<String>,
    pub(crate) loss: String,
    /// Of photographs: how those are drawn that an image is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<String>,
    pub(crate) defense: Defense,
    /// Of the defense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epsilon: Option<f64>,
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    /// Of a ranking loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) margin: Option<f64>,
    pub(crate) seed: u64,
}

/// What no option is for: it says what a file held.
const PRETRAINED_SHA256: &str = "pretrained-sha256";

impl Plan {
    /// The numbers, for the loss of that name and the sampling of that protocol.
    pub(crate) fn recipe(&self, loss: Loss, sampling: Sampling) -> Recipe {
        let Self { epochs, batch_size, learning_rate, weight_decay, margin, .. } = *self;
        Recipe { epochs, batch_size, learning_rate, weight_decay, loss, margin: margin.unwrap_or(0.0), sampling }
    }

    /// As a card tells it: nothing of the machine.
    ///
    /// # Errors
    /// When it names no known dataset.
    pub(crate) fn portable(&self) -> Result<Self> {
        Ok(Self { dataset: self.dataset.parse::<Source>()?.portable().to_string(), ..self.clone() })
    }

    /// In which arguments `other` differs, in words; `None` where it does not.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let pairs = self.words().into_iter().zip(other.words()).filter(|(mine, its)| mine != its);
        let differences: Vec<String> = pairs.map(|((name, mine), (_, its))| format!("{name} {its} instead of {mine}")).collect();
        (!differences.is_empty()).then(|| differences.join(", "))
    }

    /// The command that makes these weights.
    pub(crate) fn command(&self, output: &str) -> String {
        let mut command = "rankle train".to_owned();
        let optional = ["pretrained", "train-layers", "distance", "protocol", "epsilon", "margin"];
        let is_written = |name: &str, value: &str| name != PRETRAINED_SHA256 && (value != "none" || !optional.contains(&name));
        for (name, value) in self.words().into_iter().filter(|(name, value)| is_written(name, value)) {
            command += &format!(" --{name} {value}");
        }
        format!("{command} --output {output}")
    }

    /// The arguments as they are written on the command line, and the hash of a file among them.
    fn words(&self) -> [(&'static str, String); 17] {
        let none = || "none".to_owned();
        let text = |text: &Option<String>| text.clone().unwrap_or_else(none);
        [
            ("dataset", self.dataset.clone()),
            ("images", self.images.to_string()),
            ("model", self.model.clone()),
            ("pretrained", text(&self.pretrained)),
            (PRETRAINED_SHA256, text(&self.pretrained_sha256)),
            ("train-layers", text(&self.train_layers)),
            ("distance", text(&self.distance)),
            ("loss", self.loss.clone()),
            ("protocol", self.protocol.clone().unwrap_or_else(none)),
            ("defense", self.defense.to_string()),
            ("epsilon", self.epsilon.map_or_else(none, |epsilon| epsilon.to_string())),
            ("epochs", self.epochs.to_string()),
            ("batch-size", self.batch_size.to_string()),
            ("lr", self.learning_rate.to_string()),
            ("weight-decay", self.weight_decay.to_string()),
            ("margin", self.margin.map_or_else(none, |margin| margin.to_string())),
            ("seed", self.seed.to_string()),
        ]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn plan() -> Plan {
        Plan {
            dataset: "mnist".into(),
            images: 60_000,
            model: "c2f2".into(),
            pretrained: None,
            pretrained_sha256: None,
            train_layers: None,
            distance: Some("cosine".into()),
            loss: "triplet".into(),
            protocol: Some("strict".into()),
            defense: Defense::EmbeddingShift,
            epsilon: Some(0.3),
            epochs: 30,
            batch_size: 1000,
            learning_rate: 1e-3,
            weight_decay: 1e-7,
            margin: Some(0.2),
            seed: 0,
        }
    }

    #[test]
    fn differences_are_named() {
        let other = Plan { epochs: 2, defense: Defense::None, epsilon: None, ..plan() };
        assert_eq!(
            plan().difference(&other).unwrap(),
            "defense none instead of embedding-shift, epsilon none instead of 0.3, epochs 2 instead of 30"
        );
        assert_eq!(plan().difference(&plan()), None);
    }

    #[test]
    fn the_command_is_complete() {
        assert_eq!(
            plan().command("models/x"),
            "rankle train --dataset mnist --images 60000 --model c2f2 --distance cosine --loss triplet --protocol strict \
             --defense embedding-shift --epsilon 0.3 --epochs 30 --batch-size 1000 --lr 0.001 --weight-decay 0.0000001 --margin 0.2 --seed 0 --output models/x"
        );
        let plain = Plan { defense: Defense::None, epsilon: None, protocol: None, ..plan() };
        assert!(!plain.command("x").contains("--epsilon") && !plain.command("x").contains("--protocol"));
        let classifier = Plan { model: "softmax".into(), distance: None, loss: "cross-entropy".into(), margin: None, ..plain };
        assert_eq!(
            classifier.command("x"),
            "rankle train --dataset mnist --images 60000 --model softmax --loss cross-entropy --defense none --epochs 30 \
             --batch-size 1000 --lr 0.001 --weight-decay 0.0000001 --seed 0 --output x"
        );
    }

    fn continued() -> Plan {
        Plan {
            model: "resnet18,embedding-size=128".into(),
            pretrained: Some("resnet18.safetensors".into()),
            pretrained_sha256: Some("5f".repeat(32)),
            train_layers: Some("layer4".into()),
            ..plan()
        }
    }

    #[test]
    fn a_start_is_told_by_name_and_compared_by_content() {
        let command = continued().command("x");
        let part =
            " --model resnet18,embedding-size=128 --pretrained resnet18.safetensors --train-layers layer4 --distance cosine ";
        assert!(command.contains(part) && !command.contains("5f5f"), "{command}");
        let other = Plan { pretrained_sha256: Some("60".repeat(32)), train_layers: None, ..continued() };
        let difference = continued().difference(&other).unwrap();
        assert!(
            difference.starts_with("pretrained-sha256 6060") && difference.ends_with(", train-layers none instead of layer4")
        );
    }

    /// Every field has a word, so a field added later is told as a difference as well.
    #[test]
    fn every_field_is_compared() {
        assert_eq!(serde_json::to_value(continued()).unwrap().as_object().unwrap().len(), plan().words().len());
    }
}
