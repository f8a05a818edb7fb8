//! Attacked systems by name: a dataset and a model that was trained on it.

use crate::{AttackId, AttackSpec, Cell, RunSetting, Subject};
use serde::Deserialize;

/// A dataset and a model for it, by the names of the command line and of the records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// The dataset, as in `mnist`.
    pub dataset: String,
    /// The architecture, as in `c2f2`.
    pub model: String,
    /// The distance that ranks, as in `cosine`; [`System::NO_DISTANCE`] for a classifier.
    pub distance: String,
    /// The loss the weights were trained with, as in `triplet`.
    pub loss: String,
    /// The defense the weights were trained with: `none`, `embedding-shift`, or `pgd` for a classifier.
    pub defense: String,
    /// Seed of our training run; not set for published numbers.
    #[serde(default)]
    pub seed: u64,
}

impl System {
    /// An undefended model.
    pub fn plain(dataset: &str, model: &str, distance: &str, loss: &str) -> Self {
        let [dataset, model, distance, loss, defense] = [dataset, model, distance, loss, "none"].map(str::to_owned);
        Self { dataset, model, distance, loss, defense, seed: 0 }
    }

    /// Value of [`System::distance`] for a classifier, which ranks nothing.
    pub const NO_DISTANCE: &str = "none";

    /// A classifier.
    pub fn classifier(dataset: &str, model: &str) -> Self {
        Self::plain(dataset, model, Self::NO_DISTANCE, "cross-entropy")
    }

    /// The same system after adversarial training: on shifted embeddings or, for a classifier, on misclassified images.
    pub fn defended(self) -> Self {
        let defense = if self.is_classifier() { "pgd" } else { "embedding-shift" };
        Self { defense: defense.to_owned(), ..self }
    }

    /// The same system, trained with another seed.
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// True if the system is a classifier, which ranks nothing.
    pub fn is_classifier(&self) -> bool {
        self.distance == Self::NO_DISTANCE
    }

    /// True if the weights were trained with a defense.
    pub fn is_defended(&self) -> bool {
        self.defense != "none"
    }

    /// The system as the subject of an attack, with weights at the path `weights`.
    pub fn subject(&self, weights: &str) -> Subject {
        let Self { dataset, model, distance, loss, defense, .. } = self.clone();
        Subject {
            dataset,
            query_dataset: None,
            gallery_dataset: None,
            model,
            weights: weights.to_owned(),
            distance,
            loss: Some(loss),
            defense: Some(defense),
        }
    }

    /// An attack with one target on these weights, as its protocol prescribes it, for the table `table`.
    pub fn cell(&self, table: &str, weights: &str, attack: AttackId, epsilon: f64, setting: &RunSetting) -> Cell {
        let RunSetting { protocol, eight_bit, images, seed } = *setting;
        let spec = AttackSpec { eight_bit, ..AttackSpec::new(attack, epsilon, protocol, seed) };
        Cell { table: Some(table.to_owned()), subject: self.subject(weights), spec, images, from: None }
    }

    /// Name of the folder with the weights, as in `mnist-c2f2-cosine-triplet-est`; a seed other than 0 is appended.
    pub fn id(&self) -> String {
        let Self { dataset, model, distance, loss, defense, seed } = self;
        let distance = if self.is_classifier() { String::new() } else { format!("-{distance}") };
        let suffix = match defense.as_str() {
            "none" => String::new(),
            "embedding-shift" => "-est".to_owned(), // as the literature calls it
            other => format!("-{other}"),
        };
        let seed = if *seed == 0 { String::new() } else { format!("-seed-{seed}") };
        format!("{dataset}-{model}{distance}-{loss}{suffix}{seed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_every_name() {
        let plain = System::plain("fashion-mnist", "lenet", "euclidean", "contrastive");
        assert_eq!(plain.id(), "fashion-mnist-lenet-euclidean-contrastive");
        assert_eq!(plain.clone().defended().id(), "fashion-mnist-lenet-euclidean-contrastive-est");
        let classifier = System::classifier("mnist", "softmax");
        assert_eq!(classifier.id(), "mnist-softmax-cross-entropy");
        assert_eq!(classifier.defended().id(), "mnist-softmax-cross-entropy-pgd");
        assert!(!plain.is_defended() && plain.clone().defended().is_defended());
        assert_eq!(plain.clone().defended().seeded(3).id(), "fashion-mnist-lenet-euclidean-contrastive-est-seed-3");
        assert_eq!(System { defense: "other".into(), ..plain }.id(), "fashion-mnist-lenet-euclidean-contrastive-other");
    }
}
