//! Architectures from the configuration files beside public weights.

mod bounded;
mod preprocessor;
mod timm;
mod transformers;

use crate::{Architecture, Normalization, Vit};
use bounded::{parse, quoted};
use preprocessor::Preprocessor;
use rankle_core::{Error, InputSpec, Resize, Result};
use serde::Deserialize;

/// The part of `config.json` that tells the libraries apart.
#[derive(Deserialize)]
struct Origin {
    /// Of transformers.
    model_type: Option<String>,
    /// Of timm.
    architecture: Option<String>,
}

impl Architecture {
    /// The architecture of public weights and the preparation of photographs, from the texts of `config.json` of transformers or
    /// timm, and of `preprocessor_config.json`, which transformers writes beside it.
    ///
    /// The same architecture may recommend another preparation by its name alone ([`Architecture::input_spec`]).
    ///
    /// # Errors
    /// [`Error::Refused`], one line, for a text that is not such a file and for a network or a preparation that is not supported.
    ///
    /// ```
    /// use rankle_models::Architecture;
    ///
    /// let config = r#"{"model_type": "dinov2", "hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14}"#;
    /// let (architecture, input) = Architecture::from_config(config, None)?;
    /// assert_eq!((architecture.to_string().as_str(), input.edge), ("dinov2-small", Some(256)));
    /// # Ok::<(), rankle_core::Error>(())
    /// ```
    pub fn from_config(config: &str, preprocessor: Option<&str>) -> Result<(Self, InputSpec)> {
        let origin: Origin = parse(CONFIG, config)?;
        match (origin.model_type, origin.architecture) {
            (Some(model_type), _) => {
                let vit = transformers::vit(&model_type, config)?;
                let Some(preprocessor) = preprocessor else {
                    let architecture = Self::Vit(vit.checked()?);
                    return Ok((architecture, architecture.input_spec()));
                };
                let preprocessor: Preprocessor = parse(PREPROCESSOR, preprocessor)?;
                let (input, normalization) = preprocessor.input()?;
                let side = input.shape.1;
                match vit.with("size", &side.to_string()) {
                    Some(vit) => Ok((Self::Vit(Vit { normalization, ..vit }.checked()?), input)),
                    None => refuse(PREPROCESSOR, format!("images of {side} pixels are not supported{}", vit.arguments())),
                }
            }
            (None, Some(name)) => timm::architecture(&name, config),
            (None, None) => refuse(CONFIG, "it has neither 'model_type', as of transformers, nor 'architecture', as of timm"),
        }
    }
}

/// Names of the files in messages.
const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";

fn refuse<T>(file: &str, problem: impl std::fmt::Display) -> Result<T> {
    Err(Error::Refused(format!("{file}: {problem}")))
}

/// The normalization with these statistics.
fn normalization(file: &str, mean: &[f64], std: &[f64]) -> Result<Normalization> {
    match Normalization::of(mean, std) {
        Some(normalization) => Ok(normalization),
        None => {
            let known = Normalization::ALL.map(Normalization::as_str).join(", ");
            let (mean, std) = (quoted(format!("{mean:?}")), quoted(format!("{std:?}")));
            refuse(file, format!("mean {mean} and std {std} are those of no known normalization ({known})"))
        }
    }
}

/// Square color images of a side, cut from photographs that were resized to an edge.
fn input(side: usize, resize: Resize, edge: usize, filter: rankle_core::Filter) -> InputSpec {
    InputSpec { shape: (3, side, side), resize: Some(resize), edge: Some(edge), filter: Some(filter) }
}

#[cfg(test)]
mod tests;
