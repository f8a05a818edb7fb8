//! What is asked for, before anybody has opened a model.

use crate::{Attack, Error, Result, finite};
use serde::{Deserialize, Serialize};
use std::path::Path;

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
}

impl Planned {
    /// A plan as text: one JSON object a line.
    ///
    /// # Errors
    /// [`Error::Draw`] when an epsilon is not finite.
    pub fn to_lines(plan: &[Self]) -> Result<String> {
        let mut lines = String::new();
        for planned in plan {
            lines += &serde_json::to_string(planned).map_err(Error::draw("the plan"))?;
            lines.push('\n');
        }
        Ok(lines)
    }

    /// Reads a plan file.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read and [`Error::Line`] for the first line that is not a planned cell.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
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

    fn planned(epsilon: f64) -> Planned {
        Planned {
            table: "mnist-ct".into(),
            dataset: "mnist".into(),
            model: "c2f2".into(),
            weights: "models/mnist-c2f2-cosine-triplet/model.safetensors".into(),
            distance: "cosine".into(),
            loss: "triplet".into(),
            defense: "none".into(),
            attack: Attack::CandidateRaise,
            targets: 1,
            epsilon,
            protocol: "paper".into(),
            eight_bit: false,
            images: 1000,
            seed: 0,
        }
    }

    #[test]
    fn a_plan_comes_back_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let plan = [planned(0.0), planned(0.1 + 0.2)];
        std::fs::write(file.path(), Planned::to_lines(&plan).unwrap()).unwrap();
        assert_eq!(Planned::read(file.path()).unwrap(), plan);
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
