//! Names of the model and the data under attack.

use serde::{Deserialize, Serialize};

/// Data and model of an image search, in the words of plans, records and cards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The dataset, as in `mnist`.
    pub dataset: String,
    /// Dataset whose test images are the queries, if it is not [`Subject::dataset`]. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_dataset: Option<String>,
    /// Dataset that is ranked, if it is not [`Subject::dataset`]. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gallery_dataset: Option<String>,
    /// The architecture, as in `c2f2`, or the kind of a foreign model, as in `exec` and `onnx,size=224`.
    pub model: String,
    /// Path or model id of the weights; an ONNX file, or the command of a program. A relative path starts at the working directory
    /// of the process that runs a plan. In a record it is display only: the hash identifies the weights.
    pub weights: String,
    /// The distance that ranks, as in `cosine`.
    pub distance: String,
    /// The loss the weights were trained with, as in `triplet`; `None` if unknown.
    #[serde(default)]
    pub loss: Option<String>,
    /// The defense the weights were trained with, `none` or `embedding-shift`; `None` if unknown.
    #[serde(default)]
    pub defense: Option<String>,
}

impl Subject {
    /// The data in words: see [`data_in_words`].
    pub fn data(&self) -> String {
        data_in_words(&self.dataset, self.query_dataset.as_deref(), self.gallery_dataset.as_deref())
    }
}

/// A dataset, and its separate queries and gallery if there are any, in words.
pub fn data_in_words(dataset: &str, queries: Option<&str>, gallery: Option<&str>) -> String {
    let other = |what: &str, other: Option<&str>| other.map_or_else(String::new, |other| format!(", {what} {other}"));
    format!("{dataset}{}{}", other("queries", queries), other("gallery", gallery))
}
