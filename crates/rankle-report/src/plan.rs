//! What is asked for, before anybody has opened a model.

use crate::published::Table;
use crate::{Attack, Cell, Error, Result, Source, System, Universal, finite};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// Bytes of a plan; a pipe may have no end.
const LONGEST: u64 = 256 << 20;

/// One line of a plan: the inputs of a cell as far as they are a matter of choice.
///
/// Whoever runs it adds the rest: the hash of the weights, the size of the gallery, and the steps, starts and weights that the
/// protocol prescribes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The table the cell stands in, as in `mnist-ct`.
    pub table: String,
    /// The dataset, as in `mnist`.
    pub dataset: String,
    /// The architecture, as in `c2f2`.
    pub model: String,
    /// The weights file; a relative path starts at the working directory of whoever runs the plan.
    pub weights: String,
    /// The distance, as in `cosine`.
    pub distance: String,
    /// The loss the weights were trained with.
    pub loss: String,
    /// The defense the weights were trained with.
    pub defense: String,
    /// What the attack wants to move.
    pub attack: Attack,
    /// How many queries or candidates are attacked at once.
    pub targets: usize,
    /// The radius of the ball in pixel units.
    #[serde(serialize_with = "finite::number")]
    pub epsilon: f64,
    /// `paper` or `strict`.
    pub protocol: String,
    /// Whether the image is ranked after rounding to 1/255.
    pub eight_bit: bool,
    /// How many images are attacked.
    pub images: usize,
    /// The seed of the sample, the targets and the starts.
    pub seed: u64,
    /// As [`Cell::objective`]: written only where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// As [`Cell::target_band`]: written only where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_band: Option<String>,
    /// As [`Cell::xi`]: written only where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "finite::optional")]
    pub xi: Option<f64>,
    /// As [`Cell::step`]: written only where it is not what the protocol prescribes, as the three after it.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "finite::optional")]
    pub step: Option<f64>,
    /// As [`Cell::iterations`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<usize>,
    /// As [`Cell::random_start`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_start: Option<bool>,
    /// As [`Cell::restarts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<usize>,
    /// As [`Cell::from`], without the hash; the other fields are those of the model on which is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Source>,
    /// As [`Cell::universal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universal: Option<Universal>,
}

/// What all cells of one run share, whatever the table and the attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `paper` or `strict`.
    pub protocol: String,
    /// Whether the images are ranked after rounding to 1/255.
    pub eight_bit: bool,
    /// How many images are attacked.
    pub images: usize,
    /// The seed of the sample, the targets and the starts.
    pub seed: u64,
}

impl Setting {
    /// The setting that a cell was measured in.
    pub fn of(cell: &Cell) -> Self {
        Self { protocol: cell.protocol.clone(), eight_bit: cell.eight_bit, images: cell.images, seed: cell.seed }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = if self.eight_bit { ", rounded to 1/255" } else { "" };
        write!(f, "{} images, seed {}, protocol {}{rounded}", self.images, self.seed, self.protocol)
    }
}

impl Planned {
    /// A cell of a table, or between two of them; `weights` is the path of our weights for it.
    pub fn new(table: &Table, weights: &str, attack: Attack, targets: usize, epsilon: f64, setting: &Setting) -> Self {
        Self { targets, ..Self::of_system(&table.id, &table.system, weights, attack, epsilon, setting) }
    }

    /// A cell of a system that need not stand in a published table, with one target; `table` names what it is for.
    pub fn of_system(table: &str, system: &System, weights: &str, attack: Attack, epsilon: f64, setting: &Setting) -> Self {
        Self {
            table: table.to_owned(),
            dataset: system.dataset.clone(),
            model: system.model.clone(),
            weights: weights.to_owned(),
            distance: system.distance.clone(),
            loss: system.loss.clone(),
            defense: system.defense.clone(),
            attack,
            targets: 1,
            epsilon,
            protocol: setting.protocol.clone(),
            eight_bit: setting.eight_bit,
            images: setting.images,
            seed: setting.seed,
            objective: None,
            target_band: None,
            xi: None,
            step: None,
            iterations: None,
            random_start: None,
            restarts: None,
            from: None,
            universal: None,
        }
    }

    /// Whether `cell` is what is asked for here, in every input but the place of the weights. What is not written here may be
    /// anything where the protocol prescribes it: the step, the number of steps, the starts and the weight of what is preserved.
    pub fn asks_for(&self, cell: &Cell) -> bool {
        let asked = Cell {
            table: Some(self.table.clone()),
            dataset: self.dataset.clone(),
            model: self.model.clone(),
            distance: self.distance.clone(),
            loss: Some(self.loss.clone()),
            defense: Some(self.defense.clone()),
            attack: self.attack,
            targets: self.targets,
            epsilon: self.epsilon,
            protocol: self.protocol.clone(),
            eight_bit: self.eight_bit,
            images: self.images,
            seed: self.seed,
            objective: self.objective.clone(),
            target_band: self.target_band.clone(),
            xi: self.xi.or(cell.xi),
            step: self.step.unwrap_or(cell.step),
            iterations: self.iterations.unwrap_or(cell.iterations),
            random_start: self.random_start.unwrap_or(cell.random_start),
            restarts: self.restarts.unwrap_or(cell.restarts),
            universal: self.universal,
            chosen: None,
            ..cell.clone()
        };
        let named = |source: &Source| (source.model.clone(), source.distance.clone());
        asked == *cell && self.from.as_ref().map(named) == cell.from.as_ref().map(named)
    }

    /// A plan as text: one JSON object a line.
    ///
    /// # Errors
    /// [`Error::Make`] when an epsilon is not finite.
    pub fn to_lines(plan: &[Self]) -> Result<String> {
        let mut lines = String::new();
        for planned in plan {
            lines += &serde_json::to_string(planned).map_err(Error::make("the plan"))?;
            lines.push('\n');
        }
        Ok(lines)
    }

    /// Reads a plan file.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read and [`Error::Line`] for the first line that is not a planned cell.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        Self::parse(path, &rankle_files::read_text_or_pipe(path, LONGEST).map_err(Error::file("read", path))?)
    }

    /// Parses the text of a plan file.
    ///
    /// # Errors
    /// [`Error::Line`] for the first line that is not a planned cell.
    pub fn parse(path: &Path, text: &str) -> Result<Vec<Self>> {
        let parse = |(number, line)| {
            serde_json::from_str(line).map_err(|reason| Error::Line {
                path: path.to_owned(),
                line: number + 1,
                what: "planned cell",
                reason: reason.to_string(),
            })
        };
        text.lines().enumerate().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{published, synthetic};

    fn planned(epsilon: f64) -> Planned {
        let table = published::table("mnist-ct").unwrap();
        Planned::new(table, "model.safetensors", Attack::CandidateRaise, 1, epsilon, &synthetic::setting())
    }

    #[test]
    fn a_plan_comes_back_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let plan = [planned(0.0), planned(0.1 + 0.2)];
        std::fs::write(file.path(), Planned::to_lines(&plan).unwrap()).unwrap();
        assert_eq!(Planned::read(file.path()).unwrap(), plan);
    }

    /// Every field of a planned cell but the weights is changed in turn, so a field added later is tested as well.
    #[test]
    fn a_cell_is_asked_for_by_all_its_inputs() {
        use serde_json::{Value, json};
        let cell = synthetic::record("mnist-ct", Attack::CandidateRaise, 1, 0.3, 2.0).cell;
        let asked = planned(0.3);
        assert!(Planned { weights: "elsewhere".into(), ..asked.clone() }.asks_for(&cell));
        assert!(!asked.asks_for(&Cell { chosen: Some("by hand".into()), ..cell.clone() }));
        assert!(!asked.asks_for(&Cell { table: None, ..cell.clone() }));
        assert_eq!(Setting::of(&cell).to_string(), "1000 images, seed 0, protocol paper");

        let cell = synthetic::ablation("mnist-ct", Attack::CandidateRaise, 1, 0.3, 2.0).cell;
        assert!(!asked.asks_for(&cell));
        let asked = Planned {
            objective: cell.objective.clone(),
            target_band: cell.target_band.clone(),
            step: Some(cell.step),
            iterations: Some(cell.iterations),
            random_start: Some(cell.random_start),
            restarts: Some(cell.restarts),
            ..asked
        };
        assert!(asked.asks_for(&cell));
        let Value::Object(fields) = serde_json::to_value(&asked).unwrap() else { panic!("a planned cell is an object") };
        for (name, value) in fields.iter().filter(|(name, _)| *name != "weights") {
            let mut changed = fields.clone();
            changed[name] = match value {
                Value::Bool(value) => json!(!value),
                Value::Number(value) if value.is_f64() => json!(0.1),
                Value::Number(value) => json!(value.as_u64().unwrap() + 1),
                _ if name == "attack" => json!("ca-"),
                _ => json!("another"),
            };
            let changed: Planned = serde_json::from_value(Value::Object(changed)).unwrap();
            assert!(!changed.asks_for(&cell), "{name}");
        }
    }

    #[test]
    fn transfers_and_universal_perturbations_are_asked_for_as_such() {
        let source = |model: &str, hash: &str| {
            let [model, weights_sha256] = [model, hash].map(str::to_owned);
            Some(Source { model, weights: "a".into(), weights_sha256, distance: "cosine".into() })
        };
        let universal = Some(Universal { batches: 1, perturbations: 10 });
        let plain = synthetic::record("mnist-ct", Attack::CandidateRaise, 1, 0.3, 2.0).cell;
        let cell = Cell { from: source("lenet", "5f"), universal, ..plain.clone() };
        let asked = Planned { from: source("lenet", ""), universal, ..planned(0.3) };
        assert!(asked.asks_for(&cell) && !asked.asks_for(&plain) && !planned(0.3).asks_for(&cell));
        assert!(!Planned { from: source("c2f2", ""), ..asked.clone() }.asks_for(&cell));
        assert!(!Planned { universal: None, ..asked.clone() }.asks_for(&cell));
        let line = Planned::to_lines(&[asked]).unwrap();
        assert!(
            line.contains(r#""from":{"model":"lenet","weights":"a","distance":"cosine"},"universal":{"batches":1"#),
            "{line}"
        );
    }

    #[test]
    fn a_wrong_line_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = Planned::to_lines(&[planned(0.1), planned(0.2)]).unwrap();
        std::fs::write(file.path(), text.replacen("\"seed\":0", "\"sead\":0", 2).replacen("sead", "seed", 1)).unwrap();
        let message = Planned::read(file.path()).unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains("sead"), "{message}");
        assert!(Planned::to_lines(&[planned(f64::NAN)]).is_err());
    }
}
