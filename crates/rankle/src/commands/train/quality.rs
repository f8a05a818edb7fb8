//! How good a model is on the clean test images.

use crate::experiment::{self, percent};
use crate::watched::Watched;
use crate::{collapse, interrupt, progress, system};
use anyhow::Result;
use rankle_attacks::{Classification, Estimate};
use rankle_core::{Dataset, Embedder, Gallery, Seed};
use rankle_models::Architecture;
use serde::{Deserialize, Serialize};
use std::fmt;

/// In percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Quality {
    /// Of the test images whose nearest other test image is of their class.
    #[serde(rename = "recall_at_1")]
    RecallAt1(f64),
    /// Of the test images whose class has the largest logit.
    #[serde(rename = "accuracy")]
    Accuracy(f64),
}

impl Quality {
    /// Measures on all test images: a classifier's accuracy, the recall of what ranks.
    ///
    /// # Errors
    /// What the model reports, or an interrupt.
    pub(crate) fn of(architecture: Architecture, model: &dyn Embedder, test: &dyn Dataset) -> Result<Self> {
        let everything: Vec<usize> = (0..test.len()).collect();
        let bar = progress::bar(if architecture.is_classifier() { 1 } else { 2 } * test.len() as u64);
        bar.set_message("the test images");
        let watched = Watched::new(Box::new(model), bar.clone());
        if architecture.is_classifier() {
            let setting = Classification { classifier: &watched, dataset: test, batch_size: experiment::BATCH };
            let hits = setting.run(None, &everything, Seed(0), &mut |_| interrupt::flow())?;
            return Ok(Self::Accuracy(Estimate::of(&hits.before).map_or(0.0, |estimate| percent(estimate.mean))));
        }
        let gallery = Gallery::new(&system::embed(&watched, test, &everything)?.0)?;
        let retrieval = rankle_metrics::leave_one_out(&gallery, test.labels(), &mut |done| {
            bar.set_position((test.len() + done) as u64);
            interrupt::flow()
        })?;
        collapse::warn_of_ties(test.name(), retrieval.tie_share(), retrieval.resolution);
        Ok(Self::RecallAt1(percent(retrieval.recall_at(1))))
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecallAt1(recall) => write!(f, "recall at 1 {recall:.2} %"),
            Self::Accuracy(accuracy) => write!(f, "accuracy {accuracy:.2} %"),
        }
    }
}
