//! What is attacked, by name.

use serde::{Deserialize, Serialize};

/// Data and a model: what a plan, a record and a card say of an image search, in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The dataset, as in `mnist`.
    pub dataset: String,
    /// The architecture, as in `c2f2`.
    pub model: String,
    /// Where the weights are: a path or a model id. A relative path starts at the working directory of whoever runs a plan. Of a
    /// record it is display only, the hash tells weights apart.
    pub weights: String,
    /// The distance that ranks, as in `cosine`.
    pub distance: String,
    /// The loss the weights were trained with, as in `triplet`, where it is known.
    #[serde(default)]
    pub loss: Option<String>,
    /// The defense the weights were trained with, `none` or `embedding-shift`, where it is known.
    #[serde(default)]
    pub defense: Option<String>,
}
