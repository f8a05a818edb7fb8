//! Quality of a model on the clean test images.

use crate::interrupt;
use crate::progress::{self, Bar};
use anyhow::Result;
use rankle_attacks::{Classification, Estimate};
use rankle_core::{Dataset, Embedder, Seed, Sets};
use rankle_eval::{Monitored, embed_sets, experiment, percent, warn_of_ties};
use rankle_models::Architecture;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Recall at 1 or accuracy, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Quality {
    /// Percentage of queries whose nearest gallery image, other than themselves, is of their class.
    #[serde(rename = "recall_at_1")]
    RecallAt1(f64),
    /// Percentage of test images whose class has the largest logit.
    #[serde(rename = "accuracy")]
    Accuracy(f64),
}

impl Quality {
    /// Measures a model on all test images: the accuracy of a classifier, else the recall at 1.
    ///
    /// # Errors
    /// Those of the model and the images, and an interrupt.
    pub(crate) fn of(architecture: Architecture, model: &dyn Embedder, test: Sets<&dyn Dataset>) -> Result<Self> {
        let (queries, all) = (*test.queries(), test.iter().map(|set| set.len()).sum::<usize>());
        let everything: Vec<usize> = (0..queries.len()).collect();
        let bar = progress::bar((all + if architecture.is_classifier() { 0 } else { queries.len() }) as u64);
        bar.set_message("the test images");
        let watched = Monitored::new(Box::new(model), Bar::monitor(&bar));
        if architecture.is_classifier() {
            let setting = Classification { classifier: &watched, dataset: queries, batch_size: experiment::BATCH };
            let hits = setting.run(&[], &everything, Seed(0))?;
            return Ok(Self::Accuracy(Estimate::of(&hits.before).map_or(0.0, |estimate| percent(estimate.mean))));
        }
        let (embedded, _) = embed_sets(&watched, test)?;
        let labels = test.map(|set| set.labels());
        let retrieval = rankle_metrics::retrieve(embedded.as_ref().map(|set| set.exact()), labels, &everything, &mut |done| {
            bar.set_position((all + done) as u64);
            interrupt::flow()
        })?;
        warn_of_ties(queries.name(), retrieval.tie_share(), retrieval.resolution);
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
