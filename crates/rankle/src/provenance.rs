//! What made a number.

use crate::system::{self, System};
use rankle_data::Split;
use serde::Serialize;

/// The end of every answer about a system: what was measured, with which weights, where and for how long.
#[derive(Serialize)]
pub(crate) struct Provenance {
    dataset: String,
    split: String,
    /// How photographs became the model's images; of other images the field is not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    preprocessing: Option<String>,
    /// How many broken images were left out, as the name of the dataset asks for; of none the field is not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<usize>,
    model: String,
    weights: String,
    weights_sha256: String,
    pub(crate) seconds: f64,
    device: String,
    instruction_set: String,
    code_version: &'static str,
    threads: usize,
}

impl Provenance {
    /// Of a number that was measured on the test split.
    pub(crate) fn of(system: &System, seconds: f64) -> Self {
        Self {
            dataset: system.key.dataset.to_string(),
            split: Split::Test.to_string(),
            preprocessing: system.preprocessing.clone(),
            left_out: system.left_out(),
            model: system.key.model.to_string(),
            weights: system.key.weights.display().to_string(),
            weights_sha256: system.weights_sha256.clone(),
            seconds,
            device: system.device.to_string(),
            instruction_set: system::instruction_set(),
            code_version: system::CODE_VERSION,
            threads: rayon::current_num_threads(),
        }
    }
}
