//! `rankle evaluate`: how good a model is when nobody attacks it.

use crate::arguments::SystemArguments;
use crate::device::Device;
use crate::experiment::{describe, percent, seconds_since};
use crate::names::{self, Format};
use crate::provenance::Provenance;
use crate::system::{System, check_pairs};
use crate::{interrupt, progress};
use anyhow::{Context, Result};
use clap::Args;
use rankle_core::Waiting;
use rankle_metrics::Retrieval;
use serde::Serialize;
use std::time::Instant;

/// Measure a model: every test image is a query against all others.
///
/// Recall at k is the share of images with one of their class among the k nearest; the image itself is left out by its
/// index. All numbers are in percent. For the accuracy of a classifier there is `rankle classify`.
#[derive(Args)]
#[command(after_help = "Example:\n  rankle evaluate --dataset mnist --model c2f2 --weights model.safetensors --distance cosine")]
pub(crate) struct Evaluate {
    #[command(flatten)]
    system: SystemArguments,
    /// On standard output: a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
}

/// The JSON object, in percent.
#[derive(Serialize)]
struct Evaluation {
    recall_at_1: f64,
    recall_at_10: f64,
    recall_at_100: f64,
    recall_at_1000: f64,
    mean_average_precision: f64,
    mean_average_precision_at_r: f64,
    mean_average_precision_at_10: f64,
    mean_normalized_rank: f64,
    images: usize,
    /// Images alone in their class: they have nothing to find.
    skipped: usize,
    distance: String,
    /// Of the embedding, without the ranking.
    images_per_second: f64,
    /// The share of the embedding's time that the model waited for images, in percent.
    waiting_share: f64,
    #[serde(flatten)]
    provenance: Provenance,
}

impl Evaluate {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let bar = progress::bar(0);
        let system = System::open(self.system.try_into()?, device, bar.clone())?;
        check_pairs(&system.key.dataset, system.dataset.labels())?;
        let start = Instant::now();
        let images = system.dataset.len();
        bar.set_length(2 * images as u64);
        let (gallery, waiting) = system.gallery()?;
        let retrieval = rankle_metrics::leave_one_out(&gallery, system.dataset.labels(), &mut |done| {
            bar.set_position((images + done) as u64);
            interrupt::flow()
        })?;
        let evaluation = Evaluation::of(&system, &retrieval, waiting, seconds_since(start));
        progress::clear();
        match self.format {
            Format::Json => progress::answer(&serde_json::to_string(&evaluation).context("the result is no JSON")?),
            Format::Human => progress::answer(&evaluation.table(&system)),
        }
    }
}

impl Evaluation {
    fn of(system: &System, retrieval: &Retrieval, waiting: Waiting, seconds: f64) -> Self {
        Self {
            recall_at_1: percent(retrieval.recall_at(1)),
            recall_at_10: percent(retrieval.recall_at(10)),
            recall_at_100: percent(retrieval.recall_at(100)),
            recall_at_1000: percent(retrieval.recall_at(1000)),
            mean_average_precision: percent(retrieval.mean_average_precision()),
            mean_average_precision_at_r: percent(retrieval.mean_average_precision_at_r()),
            mean_average_precision_at_10: percent(retrieval.mean_average_precision_at_10()),
            mean_normalized_rank: percent(retrieval.mean_normalized_rank()),
            images: system.dataset.len(),
            skipped: retrieval.skipped,
            distance: system.key.distance.to_string(),
            images_per_second: system.dataset.len() as f64 / waiting.total.as_secs_f64(),
            waiting_share: percent(waiting.share()),
            provenance: Provenance::of(system, seconds),
        }
    }

    fn table(&self, system: &System) -> String {
        let rows = [
            ("recall at 1", self.recall_at_1),
            ("recall at 10", self.recall_at_10),
            ("recall at 100", self.recall_at_100),
            ("recall at 1000", self.recall_at_1000),
            ("mean average precision", self.mean_average_precision),
            ("mean average precision at R", self.mean_average_precision_at_r),
            ("mean average precision at 10", self.mean_average_precision_at_10),
            ("mean normalized rank", self.mean_normalized_rank),
        ];
        let rows = rows.map(|(name, value)| format!("  {name:<30}{value:>8.2} %"));
        let Self { images, images_per_second, waiting_share, provenance, .. } = self;
        format!(
            "{}, {images} test images, {:.1} s ({images_per_second:.1} embedded a second, {waiting_share:.1} % of the time waiting \
             for them)\n{}",
            describe(system),
            provenance.seconds,
            rows.join("\n")
        )
    }
}
