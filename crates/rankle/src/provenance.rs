//! What made a number.

use rankle_data::Split;
use rankle_eval::experiment::method_version;
use rankle_eval::{Identity, Subject};
use rankle_record::{Protocol, Provenance};
use serde::Serialize;

/// The end of every answer about a system: what was measured, with which weights, where and for how long.
#[derive(Serialize)]
pub(crate) struct Measured {
    dataset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_dataset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gallery_dataset: Option<String>,
    split: String,
    /// How photographs became the model's images; of other images the field is not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    preprocessing: Option<String>,
    /// How many broken images were left out, as the name of the dataset asks for; of none the field is not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<usize>,
    model: String,
    weights: String,
    #[serde(flatten)]
    provenance: Provenance,
    pub(crate) seconds: f64,
    threads: usize,
}

impl Measured {
    /// Of a number that was measured on the test split.
    pub(crate) fn of(subject: &Subject, seconds: f64) -> Self {
        let Identity { subject: named, preprocessing, .. } = subject.identity.clone();
        let rankle_record::Subject { dataset, query_dataset, gallery_dataset, model, weights, .. } = named;
        Self {
            dataset,
            query_dataset,
            gallery_dataset,
            split: Split::Test.to_string(),
            preprocessing,
            left_out: subject.left_out(),
            model,
            weights,
            provenance: subject.provenance(method_version(Protocol::Strict)),
            seconds,
            threads: rayon::current_num_threads(),
        }
    }
}
