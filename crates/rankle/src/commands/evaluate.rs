//! `rankle evaluate`: retrieval metrics of a model on clean images.

use crate::arguments::{FormatArgument, SubjectArguments};
use crate::data::check_pairs;
use crate::device::Device;
use crate::names::Format;
use crate::provenance::Measured;
use crate::system::Key;
use crate::{interrupt, progress};
use anyhow::{Context, Result};
use clap::Args;
use rankle_core::{Embedder as _, Role, Waiting};
use rankle_eval::{Subject, percent, seconds_since, warn_of_ties};
use rankle_metrics::Retrieval;
use serde::Serialize;
use std::time::Instant;

/// Measure how good the rankings of a model are: recall at k, mean average precision and more
///
/// Every test image is a query that ranks all other test images by the distance of their
/// embeddings, unless --queries or --gallery name another dataset. A query has to find the R
/// other images of its class; a query without any is skipped. All numbers are means over the
/// queries, in percent; for items at exactly the same distance they are means over all orders.
/// `rankle classify` measures the accuracy of a classifier.
///
///   recall at k             queries with an item of their class among the k nearest; shown if the list is longer than k
///   mean average precision  the precision at the position of each of the R items, averaged over them
///     at R                  the same, where items behind the first R positions count as not found
///     at 10                 the same behind the first 10 positions, averaged over min(10, R) items
///     at 10, robrank's      the same, always averaged over 10 items: published as "mAP@R" with robrank
///   R-precision             the share of the first R items that are of the class
///   mean reciprocal rank    1 / the position of the first item of the class, counted from 1
///   mean normalized rank    the position of the R items as a share of the list; 50 % by chance
///   tied                    (query, item to find) pairs with another item at exactly the same distance
///   below resolution        comparisons of an item to find with another that f32 decided by rounding. Close ones are
///                           decided in f64, except in lists with more than 3 % (and 1,024) of them
#[derive(Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example:\n  rankle evaluate --dataset mnist --model models/mnist-c2f2-cosine-triplet"
)]
pub(crate) struct Evaluate {
    #[command(flatten)]
    system: SubjectArguments,
    #[command(flatten)]
    answer: FormatArgument,
}

/// The JSON object, in percent.
#[derive(Serialize)]
struct Evaluation {
    #[serde(skip_serializing_if = "Option::is_none")]
    recall_at_1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall_at_10: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall_at_100: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall_at_1000: Option<f64>,
    mean_average_precision: f64,
    mean_average_precision_at_r: f64,
    mean_average_precision_at_10: f64,
    robrank_mean_average_precision_at_10: f64,
    r_precision: f64,
    mean_reciprocal_rank: f64,
    mean_normalized_rank: f64,
    /// Share of the (query, item to find) pairs with a tie.
    tie_share: f64,
    /// Share of the comparisons that rounding decided.
    undecided_share: f64,
    images: usize,
    /// Number of gallery images; `None` if queries and gallery are the same images.
    #[serde(skip_serializing_if = "Option::is_none")]
    gallery: Option<usize>,
    /// Number of queries that are skipped because the gallery has no other image of their class.
    skipped: usize,
    distance: String,
    /// Speed of the embedding, without the ranking.
    images_per_second: f64,
    /// Share of the embedding time in which the model waited for images, in percent.
    waiting_share: f64,
    #[serde(flatten)]
    provenance: Measured,
}

impl Evaluate {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let bar = progress::bar(0);
        let subject = Key::try_from(self.system)?.open(device, &bar)?;
        let labels = subject.datasets().map(|set| set.labels());
        check_pairs(&subject.identity.shown, labels)?;
        let start = Instant::now();
        let (images, queries) = (subject.len(), labels.queries().len());
        bar.set_length((images + queries) as u64);
        let (embedded, waiting) = subject.embed_all()?;
        let sets = embedded.as_ref().map(|set| set.exact());
        let everything: Vec<usize> = (0..queries).collect();
        let retrieval = rankle_metrics::retrieve(sets, labels, &everything, &mut |done| {
            bar.set_position((images + done) as u64);
            interrupt::flow()
        })?;
        warn_of_ties(&subject.to_string(), retrieval.tie_share(), retrieval.resolution);
        let evaluation = Evaluation::of(&subject, &retrieval, waiting, seconds_since(start));
        progress::clear();
        match self.answer.format {
            Format::Json => progress::answer(serde_json::to_string(&evaluation).context("the result is no JSON")?),
            Format::Human => progress::answer(evaluation.table(&subject)),
        }
    }
}

impl Evaluation {
    fn of(subject: &Subject, retrieval: &Retrieval, waiting: Waiting, seconds: f64) -> Self {
        // A recall at the length of the list is 100 % for any model.
        let recall = |k: usize| (k < retrieval.list_len).then(|| percent(retrieval.recall_at(k)));
        Self {
            recall_at_1: recall(1),
            recall_at_10: recall(10),
            recall_at_100: recall(100),
            recall_at_1000: recall(1000),
            mean_average_precision: percent(retrieval.mean_average_precision()),
            mean_average_precision_at_r: percent(retrieval.mean_average_precision_at_r()),
            mean_average_precision_at_10: percent(retrieval.mean_average_precision_at_10()),
            robrank_mean_average_precision_at_10: percent(retrieval.robrank_mean_average_precision()),
            r_precision: percent(retrieval.mean_r_precision()),
            mean_reciprocal_rank: percent(retrieval.mean_reciprocal_rank()),
            mean_normalized_rank: percent(retrieval.mean_normalized_rank()),
            tie_share: percent(retrieval.tie_share()),
            undecided_share: percent(retrieval.resolution.undecided_share()),
            images: subject.dataset(Role::Query).len(),
            gallery: subject.datasets().queries.map(|_| subject.dataset(Role::Candidate).len()),
            skipped: retrieval.skipped,
            distance: subject.embedder().distance().to_string(),
            images_per_second: subject.len() as f64 / waiting.total.as_secs_f64(),
            waiting_share: percent(waiting.share()),
            provenance: Measured::of(subject, seconds),
        }
    }

    fn table(&self, subject: &Subject) -> String {
        let rows = [
            ("recall at 1", self.recall_at_1),
            ("recall at 10", self.recall_at_10),
            ("recall at 100", self.recall_at_100),
            ("recall at 1000", self.recall_at_1000),
            ("mean average precision", Some(self.mean_average_precision)),
            ("  at R", Some(self.mean_average_precision_at_r)),
            ("  at 10", Some(self.mean_average_precision_at_10)),
            ("  at 10, robrank's", Some(self.robrank_mean_average_precision_at_10)),
            ("R-precision", Some(self.r_precision)),
            ("mean reciprocal rank", Some(self.mean_reciprocal_rank)),
            ("mean normalized rank", Some(self.mean_normalized_rank)),
            ("tied", Some(self.tie_share)),
            ("below resolution", Some(self.undecided_share)),
        ];
        let row = |(name, value): (&str, Option<f64>)| Some(format!("  {name:<30}{:>8.2} %", value?));
        let rows: Vec<String> = rows.into_iter().filter_map(row).collect();
        let Self { images, gallery, skipped, images_per_second, waiting_share, provenance, .. } = self;
        let skipped = match (skipped, gallery) {
            (0, _) => String::new(),
            (skipped, None) => format!(", {skipped} of them alone in their class and skipped as queries"),
            (skipped, Some(_)) => format!(", {skipped} of them of no class of these and skipped as queries"),
        };
        let against = gallery.map_or_else(String::new, |gallery| format!(" against {gallery} gallery images"));
        format!(
            "{}, {images} test images{against}{skipped}, {:.1} s ({images_per_second:.1} embedded a second, {waiting_share:.1} % of the time waiting \
             for them)\n{}",
            subject,
            provenance.seconds,
            rows.join("\n")
        )
    }
}
