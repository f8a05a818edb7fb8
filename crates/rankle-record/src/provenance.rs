//! Provenance of a number.

use crate::ProbeDistances;
use serde::{Deserialize, Serialize};

/// The weights, the code and the machine behind a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// SHA-256 of the weights or the ONNX file, in hexadecimal; for a program, of its `probe_distances`.
    pub weights_sha256: String,
    /// Identity of a model that is not one file. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_distances: Option<ProbeDistances>,
    /// Version of the method, which rises whenever the same inputs give another number.
    #[serde(default = "first")]
    pub method_version: u32,
    /// Compute device, as in `cpu`.
    #[serde(default = "cpu")]
    pub device: String,
    /// Instruction set of the kernels, as in `avx512`; results are bit-identical within one.
    pub instruction_set: String,
    /// Version of the code.
    pub code_version: String,
}

impl Provenance {
    /// Device and instruction set, as in `cpu (avx512)`.
    pub fn machine(&self) -> String {
        format!("{} ({})", self.device, self.instruction_set)
    }
}

/// Version of records that were written before the column existed.
fn first() -> u32 {
    1
}

fn cpu() -> String {
    "cpu".to_owned()
}
