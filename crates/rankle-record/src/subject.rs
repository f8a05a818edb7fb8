//! What is attacked, by name.

use serde::{Deserialize, Serialize};

/// Data and a model: what a plan, a record and a card say of an image search, in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The dataset, as in `mnist`.
    pub dataset: String,
    /// Another dataset whose test images are the queries. Of those of [`Subject::dataset`] the field is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_dataset: Option<String>,
    /// Another dataset that is ranked. Of [`Subject::dataset`] the field is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gallery_dataset: Option<String>,
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

impl Subject {
    /// The data in words, as [`data_in_words`].
    pub fn data(&self) -> String {
        data_in_words(&self.dataset, self.query_dataset.as_deref(), self.gallery_dataset.as_deref())
    }
}

/// A dataset, and other queries and another gallery where there are, in words.
pub fn data_in_words(dataset: &str, queries: Option<&str>, gallery: Option<&str>) -> String {
    let other = |what: &str, other: Option<&str>| other.map_or_else(String::new, |other| format!(", {what} {other}"));
    format!("{dataset}{}{}", other("queries", queries), other("gallery", gallery))
}
