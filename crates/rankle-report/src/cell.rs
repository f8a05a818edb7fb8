//! Everything that a number in a table depends on.

use crate::{Attack, Error, Result, System, finite};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// All inputs of one table cell: whoever has these, the code and the weights can compute the number again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The table the cell stands in, as in `mnist-ct`; none for a single run.
    pub table: Option<String>,
    /// The dataset, as in `mnist`.
    pub dataset: String,
    /// How photographs became the model's images, as in `resize=shorter,edge=256,crop=224,filter=bilinear,exif=rotate`. Of other images
    /// the field is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<String>,
    /// The architecture, as in `c2f2`.
    pub model: String,
    /// Where the weights came from: a path or a model id. Display only, the hash tells weights apart.
    pub weights: String,
    /// SHA-256 of the weights file, in hexadecimal.
    pub weights_sha256: String,
    /// The distance, as in `cosine`.
    pub distance: String,
    /// The loss the weights were trained with, as in `triplet`, where it is known.
    pub loss: Option<String>,
    /// The defense the weights were trained with, `none` or `embedding-shift`, where it is known.
    pub defense: Option<String>,
    /// What the attack wants to move.
    pub attack: Attack,
    /// How many queries or candidates are attacked at once; 0 for `es`, which has no target.
    pub targets: usize,
    /// The radius of the ball in pixel units, `[0, 1]`.
    #[serde(serialize_with = "finite::number")]
    pub epsilon: f64,
    /// The step size in pixel units.
    #[serde(serialize_with = "finite::number")]
    pub step: f64,
    /// How many steps.
    pub iterations: usize,
    /// Whether the first iterate is drawn from the ball.
    pub random_start: bool,
    /// How many starts per image.
    pub restarts: usize,
    /// The weight of the semantics-preserving term; none for the attacks without it.
    #[serde(serialize_with = "finite::optional")]
    pub xi: Option<f64>,
    /// What the attack lowers, where it is not the ranking-based objective: `distance`. Otherwise the field is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// Where targets are drawn from, where it is not the usual place: `local`. Otherwise the field is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_band: Option<String>,
    /// `paper` or `strict`.
    pub protocol: String,
    /// Whether the image is ranked after rounding to 1/255.
    pub eight_bit: bool,
    /// The seed of the sample, the targets and the starts.
    pub seed: u64,
    /// How many images are attacked.
    pub images: usize,
    /// How many items are ranked.
    pub gallery: usize,
    /// How many broken images were left out of them, as the name of the dataset asks for. Of none the field is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<usize>,
    /// The explicit choice of images, targets and preserved items, in words; none where the seed chose.
    #[serde(default)]
    pub chosen: Option<String>,
    /// The model that images were perturbed against, where they are measured on another one: a transfer. Otherwise the field is
    /// not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Source>,
    /// How perturbations are shared, where one is made for many images. Otherwise the field is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universal: Option<Universal>,
    /// Rises whenever the same inputs give another number.
    pub method_version: u32,
}

/// The model behind a transferred attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The architecture, as in `c2f2`.
    pub model: String,
    /// Where the weights came from. Display only, the hash tells weights apart.
    pub weights: String,
    /// SHA-256 of the weights file, in hexadecimal; empty in a plan, which names a file nobody has opened yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub weights_sha256: String,
    /// The distance, as in `cosine`.
    pub distance: String,
}

/// How many perturbations are made, and for how many images each. One half of a batch is what a perturbation is computed on, the
/// other half tells what it is worth elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Universal {
    /// Into how many batches the attacked images are split.
    pub batches: usize,
    /// How many perturbations each batch gets, each for a target of its own.
    pub perturbations: usize,
}

impl Source {
    /// The attacked model of a plan, with weights in a file that nobody has opened yet.
    pub fn planned(system: &System, weights: &str) -> Self {
        let System { model, distance, .. } = system.clone();
        Self { model, weights: weights.to_owned(), weights_sha256: String::new(), distance }
    }
}

impl Cell {
    /// A text that two cells share exactly when they must have the same outcome: all inputs, the hash of the weights and the
    /// method version. The place of the weights is not part of it, nor is the version of the code.
    ///
    /// It is for comparison within one process, never to be stored.
    pub fn identity(&self) -> String {
        let from = self.from.clone().map(|from| Source { weights: String::new(), ..from });
        format!("{:?}", Self { weights: String::new(), from, ..self.clone() })
    }
}

impl Cell {
    /// A short name for the inputs that stays the same: the first 16 hexadecimal digits of the SHA-256 of their JSON, with its keys
    /// sorted, without blanks, and without fields that are null and the places of weights.
    ///
    /// # Errors
    /// [`Error::Record`] for a number that is not finite.
    pub fn key(&self) -> Result<String> {
        let refused = |reason: serde_json::Error| Error::Record { cell: self.to_string(), reason: reason.to_string() };
        let mut inputs = serde_json::to_value(self).map_err(refused)?;
        inputs["weights"].take();
        if self.from.is_some() {
            inputs["from"]["weights"].take();
        }
        let hash = Sha256::digest(canonical(&inputs));
        Ok(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// JSON with sorted keys, without blanks and without fields that are null.
fn canonical(value: &Value) -> String {
    let Value::Object(fields) = value else { return value.to_string() };
    let fields: BTreeMap<&String, &Value> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
    let fields: Vec<String> =
        fields.into_iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value))).collect();
    format!("{{{}}}", fields.join(","))
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attack, targets, epsilon, .. } = self;
        let place = self.table.as_deref().unwrap_or(&self.dataset);
        write!(f, "{place} {attack} {letter}={targets} ε={epsilon}", letter = attack.set_letter())?;
        for (what, unusual) in [("objective", &self.objective), ("band", &self.target_band)] {
            if let Some(unusual) = unusual {
                write!(f, " {what}={unusual}")?;
            }
        }
        if self.universal.is_some() {
            write!(f, " universal")?;
        }
        self.from.as_ref().map_or(Ok(()), |from| write!(f, " from {} ({})", from.model, from.distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn the_place_of_the_weights_is_no_input() {
        let cell = synthetic::record("mnist-ct", crate::Attack::CandidateRaise, 1, 0.3, 2.0).cell;
        let elsewhere = crate::Cell { weights: "/elsewhere/model.safetensors".into(), ..cell.clone() };
        assert_eq!(cell.identity(), elsewhere.identity());
        assert_eq!(cell.to_string(), "mnist-ct ca+ w=1 ε=0.3");
    }

    /// Files that are committed have these names in them.
    #[test]
    fn a_key_stays_the_same() {
        let cell = synthetic::record("mnist-ct", crate::Attack::CandidateRaise, 1, 0.3, 2.0).cell;
        let text = concat!(
            r#"{"attack":"ca+","dataset":"mnist","defense":"none","distance":"cosine","eight_bit":false,"epsilon":0.3,"gallery":10000,"#,
            r#""images":1000,"iterations":24,"loss":"triplet","method_version":1,"model":"c2f2","protocol":"paper","random_start":false,"#,
            r#""restarts":1,"seed":0,"step":0.01,"table":"mnist-ct","targets":1,"weights_sha256":"5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"}"#
        );
        let mut inputs = serde_json::to_value(&cell).unwrap();
        inputs["weights"].take();
        assert_eq!(canonical(&inputs), text);
        assert_eq!(cell.key().unwrap(), "6fa3f6b6e56159e1");
        let source =
            Source { model: "lenet".into(), weights: "here".into(), weights_sha256: "ab".into(), distance: "cosine".into() };
        let from = |weights: &str| Cell { from: Some(Source { weights: weights.into(), ..source.clone() }), ..cell.clone() };
        assert_eq!(from("here").key().unwrap(), from("there").key().unwrap());
        assert_ne!(from("here").key().unwrap(), cell.key().unwrap());
        assert_eq!(Cell { weights: "there".into(), ..cell.clone() }.key().unwrap(), cell.key().unwrap());
        assert_ne!(Cell { gallery: 9, ..cell.clone() }.key().unwrap(), cell.key().unwrap());
        assert!(Cell { epsilon: f64::NAN, ..cell }.key().is_err());
    }

    /// Transfers and universal perturbations are told apart by everything but the place of the source's weights, and what is
    /// neither is written as it always was.
    #[test]
    fn transfers_and_universal_perturbations_are_other_cells() {
        let plain = synthetic::record("mnist-ct", crate::Attack::CandidateRaise, 1, 0.3, 2.0).cell;
        let line = serde_json::to_string(&plain).unwrap();
        assert!(!line.contains("from") && !line.contains("universal"), "{line}");
        let source = Source {
            model: "lenet".into(),
            weights: "here".into(),
            weights_sha256: "ab".repeat(32),
            distance: "euclidean".into(),
        };
        let from = |source: Source| Cell { from: Some(source), ..plain.clone() };
        let elsewhere = from(Source { weights: "elsewhere".into(), ..source.clone() });
        assert_eq!(from(source.clone()).identity(), elsewhere.identity());
        let shared = |batches, perturbations| Cell { universal: Some(Universal { batches, perturbations }), ..plain.clone() };
        let cells = [
            plain.clone(),
            from(source.clone()),
            from(Source { model: "c2f2".into(), ..source.clone() }),
            from(Source { weights_sha256: "cd".repeat(32), ..source.clone() }),
            from(Source { distance: "cosine".into(), ..source.clone() }),
            shared(1, 10),
            shared(2, 10),
            shared(1, 11),
            Cell { universal: Some(Universal { batches: 1, perturbations: 10 }), ..from(source) },
        ];
        for (n, cell) in cells.iter().enumerate() {
            assert!(cells[..n].iter().all(|other| other.identity() != cell.identity()), "{cell}");
            let line = serde_json::to_string(cell).unwrap();
            assert_eq!(serde_json::from_str::<Cell>(&line).unwrap(), *cell);
        }
        assert_eq!(cells[1].to_string(), "mnist-ct ca+ w=1 ε=0.3 from lenet (euclidean)");
        assert_eq!(cells[5].to_string(), "mnist-ct ca+ w=1 ε=0.3 universal");
    }

    /// Each field of a cell is changed in turn, through its JSON, so a field added later is tested as well.
    #[test]
    fn every_other_field_is_an_input() {
        use serde_json::{Value, json};
        let cell = synthetic::ablation("mnist-ct", crate::Attack::CandidateRaise, 1, 0.3, 2.0).cell;
        assert_eq!(cell.to_string(), "mnist-ct ca+ w=1 ε=0.3 objective=distance band=local");
        let Value::Object(fields) = serde_json::to_value(&cell).unwrap() else { panic!("a cell is an object") };
        for (name, value) in fields.iter().filter(|(name, _)| *name != "weights") {
            let mut changed = fields.clone();
            changed[name] = match value {
                Value::Bool(value) => json!(!value),
                Value::Number(value) if value.is_f64() => json!(value.as_f64().unwrap() + 0.001),
                Value::Number(value) => json!(value.as_u64().unwrap() + 1),
                Value::String(_) if name == "attack" => json!("qa-"),
                Value::String(value) => json!(format!("{value}'")),
                _ if name == "xi" => json!(10.0),
                _ => json!("something"),
            };
            let changed: crate::Cell = serde_json::from_value(Value::Object(changed)).unwrap();
            assert_ne!(changed.identity(), cell.identity(), "{name}");
        }
    }
}
