//! Provenance of a measured number.

use rankle_data::Split;
use rankle_eval::experiment::MEASURES;
use rankle_eval::{Identity, Subject};
use rankle_record::Provenance;
use serde::Serialize;

/// Last fields of every result about a system: dataset, weights, machine and time.
#[derive(Serialize)]
pub(crate) struct Measured {
    dataset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_dataset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gallery_dataset: Option<String>,
    split: String,
    /// Preprocessing of photographs; not written for other images.
    #[serde(skip_serializing_if = "Option::is_none")]
    preprocessing: Option<String>,
    /// Number of broken images that were left out because the name of the dataset asks for it; not written if none were.
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
    /// Provenance of a number that was measured on the test split.
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
            provenance: subject.provenance(MEASURES),
            seconds,
            threads: rayon::current_num_threads(),
        }
    }
}
