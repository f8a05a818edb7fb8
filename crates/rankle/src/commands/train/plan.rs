//! Plan of a training run: everything that its weights depend on.

use crate::files;
use crate::names::Defense;
use anyhow::Result;
use rankle_data::Source;
use rankle_record::Search;
use rankle_train::{Loss, Recipe, Sampling};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The arguments of a run, checked and complete. Only a run with an equal plan may go on from a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) dataset: String,
    /// Hash of the whole name of the dataset; `None` unless `dataset` has only the last part of a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dataset_sha256: Option<String>,
    /// Preprocessing of the test photographs; with the name of the dataset it determines that of the training photographs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preprocessing: Option<String>,
    /// Number of training images, the first ones of the dataset.
    pub(crate) images: usize,
    pub(crate) model: String,
    /// Name of the file of weights that the training started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pretrained: Option<String>,
    /// Hash of the `pretrained` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pretrained_sha256: Option<String>,
    /// Prefix that was removed from the tensor names of the `pretrained` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) strip_prefix: Option<String>,
    /// First layer that is trained; `None` if all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) train_layers: Option<String>,
    /// Distance of a model that ranks; `None` for a classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distance: Option<String>,
    pub(crate) loss: String,
    /// Rule that draws the images a photograph is compared with; `None` for other images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<String>,
    pub(crate) defense: Defense,
    /// Radius of the defense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epsilon: Option<f64>,
    /// Inner search of the defense; all `None` for that of the paper.
    #[serde(flatten)]
    pub(crate) search: Search,
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    /// Margin of a ranking loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) margin: Option<f64>,
    pub(crate) seed: u64,
}

/// Fields without an option: the hash of a file, the hash of a folder's name, and the preprocessing, which follows from the
/// dataset and the model.
const UNWRITTEN: [&str; 3] = ["pretrained-sha256", "dataset-sha256", "preprocessing"];

impl Plan {
    /// The recipe with the numbers of the plan; `loss` and `sampling` must be those that the plan names.
    pub(crate) fn recipe(&self, loss: Loss, sampling: Sampling) -> Recipe {
        let Self { epochs, batch_size, learning_rate, weight_decay, margin, .. } = *self;
        Recipe { epochs, batch_size, learning_rate, weight_decay, loss, margin: margin.unwrap_or(0.0), sampling }
    }

    /// The plan for a card, without paths of the machine.
    ///
    /// # Errors
    /// A plan that names no known dataset.
    pub(crate) fn portable(&self) -> Result<Self> {
        let dataset = self.dataset.parse::<Source>()?.portable().to_string();
        let hash = (dataset != self.dataset).then(|| files::hex(&Sha256::digest(&self.dataset)));
        Ok(Self { dataset, dataset_sha256: hash.or(self.dataset_sha256.clone()), ..self.clone() })
    }

    /// Arguments in which `other` differs, in words; `None` if it does not differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let pairs = self.words().into_iter().zip(other.words()).filter(|(mine, its)| mine != its);
        let differences: Vec<String> = pairs.map(|((name, mine), (_, its))| format!("{name} {its} instead of {mine}")).collect();
        (!differences.is_empty()).then(|| differences.join(", "))
    }

    /// Command that makes these weights.
    pub(crate) fn command(&self, output: &str) -> String {
        let mut command = "rankle train".to_owned();
        // A defense may be none.
        let is_written = |name: &str, value: &str| !UNWRITTEN.contains(&name) && (value != "none" || name == "defense");
        for (name, value) in self.words().into_iter().filter(|(name, value)| is_written(name, value)) {
            command += &format!(" --{name}{}{value}", if name == "random-start" { "=" } else { " " });
        }
        format!("{command} --output {output}")
    }

    /// All fields as names and words: the options as written on the command line, and the fields without an option.
    fn words(&self) -> [(&'static str, String); 26] {
        let none = || "none".to_owned();
        let text = |text: &Option<String>| text.clone().unwrap_or_else(none);
        let count = |count: Option<usize>| count.map_or_else(none, |count| count.to_string());
        let Search { kind, step, iterations, random_start, restarts, query_budget } = self.search;
        [
            ("dataset", self.dataset.clone()),
            (UNWRITTEN[1], text(&self.dataset_sha256)),
            (UNWRITTEN[2], text(&self.preprocessing)),
            ("images", self.images.to_string()),
            ("model", self.model.clone()),
            ("pretrained", text(&self.pretrained)),
            (UNWRITTEN[0], text(&self.pretrained_sha256)),
            ("strip-prefix", text(&self.strip_prefix)),
            ("train-layers", text(&self.train_layers)),
            ("distance", text(&self.distance)),
            ("loss", self.loss.clone()),
            ("protocol", self.protocol.clone().unwrap_or_else(none)),
            ("defense", self.defense.to_string()),
            ("epsilon", self.epsilon.map_or_else(none, |epsilon| epsilon.to_string())),
            ("search", kind.map_or_else(none, |kind| kind.to_string())),
            ("step", step.map_or_else(none, |step| step.to_string())),
            ("iterations", count(iterations)),
            ("random-start", random_start.map_or_else(none, |random| random.to_string())),
            ("restarts", count(restarts)),
            ("query-budget", count(query_budget)),
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
    use rankle_record::SearchKind;

    pub(in super::super) fn plan() -> Plan {
        Plan {
            dataset: "mnist".into(),
            dataset_sha256: None,
            preprocessing: None,
            images: 60_000,
            model: "c2f2".into(),
            pretrained: None,
            pretrained_sha256: None,
            strip_prefix: None,
            train_layers: None,
            distance: Some("cosine".into()),
            loss: "triplet".into(),
            protocol: Some("strict".into()),
            defense: Defense::EmbeddingShift,
            epsilon: Some(0.3),
            search: Search::default(),
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
            strip_prefix: Some("model.".into()),
            dataset_sha256: Some("6a".repeat(32)),
            preprocessing: Some("resize=square".into()),
            train_layers: Some("layer4".into()),
            search: Search {
                kind: Some(SearchKind::Apgd),
                step: Some(0.1),
                iterations: Some(20),
                random_start: Some(false),
                restarts: Some(1),
                query_budget: Some(7),
            },
            ..plan()
        }
    }

    #[test]
    fn a_start_is_told_by_name_and_compared_by_content() {
        let command = continued().command("x");
        let part = " --model resnet18,embedding-size=128 --pretrained resnet18.safetensors --strip-prefix model. --train-layers layer4 --distance cosine ";
        assert!(command.contains(part) && !command.contains("5f5f") && !command.contains("resize"), "{command}");
        let part = " --search apgd --step 0.1 --iterations 20 --random-start=false --restarts 1 --query-budget 7 --epochs";
        assert!(command.contains(part), "{command}");
        let other = Plan { pretrained_sha256: Some("60".repeat(32)), strip_prefix: None, train_layers: None, ..continued() };
        let difference = continued().difference(&other).unwrap();
        assert!(
            difference.starts_with("pretrained-sha256 6060") && difference.ends_with(", train-layers none instead of layer4")
        );
    }

    #[test]
    fn folders_of_one_name_are_told_apart() {
        let of = |dataset: &str| Plan { dataset: dataset.into(), ..plan() }.portable().unwrap();
        let (one, other) = (of("folder:/a/shoes"), of("folder:/b/shoes"));
        assert_eq!((one.dataset.as_str(), &one.portable().unwrap()), ("folder:shoes", &one));
        assert!(one.difference(&other).unwrap().starts_with("dataset-sha256 "));
        assert_eq!(plan().portable().unwrap(), plan());
    }

    /// Every field has a word, so a field that is added later is compared as well.
    #[test]
    fn every_field_is_compared() {
        assert_eq!(serde_json::to_value(continued()).unwrap().as_object().unwrap().len(), plan().words().len());
    }
}
