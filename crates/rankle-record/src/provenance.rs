//! What a number was computed with.

use serde::{Deserialize, Serialize};

/// The weights, the code and the machine behind a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// SHA-256 of the weights file, in hexadecimal.
    pub weights_sha256: String,
    /// Rises whenever the same inputs give another number.
    #[serde(default = "first")]
    pub method_version: u32,
    /// Where it was computed, as in `cpu`.
    #[serde(default = "cpu")]
    pub device: String,
    /// The path of the kernels, as in `avx512`: results are bit-identical within one.
    pub instruction_set: String,
    /// The version of the code.
    pub code_version: String,
}

impl Provenance {
    /// Where it was computed, as in `cpu (avx512)`.
    pub fn machine(&self) -> String {
        format!("{} ({})", self.device, self.instruction_set)
    }
}

/// Of what was written before the column was.
fn first() -> u32 {
    1
}

fn cpu() -> String {
    "cpu".to_owned()
}
