//! The check `collapse`.

use super::bounds::{CONTRAST, DEVIATION, DIRECTIONS, ITEMS, MEAN, TIES};
use super::lab::Lab;
use super::wording;
use crate::error::Result;
use crate::percent;
use rankle_attacks::sample_images;
use rankle_core::Gallery;
use rankle_metrics::{EmbeddingSpread, retrieve, spread};
use rankle_report::sanity::{Answer, Check, Verdict};

/// Checks by distances that the embedding has not collapsed; also returns the recall at 1 of the sampled queries, in percent.
pub(super) fn collapse(lab: &Lab) -> Result<(Check, f64)> {
    let (sets, labels) = (lab.ranked.exact(), lab.ranked.subject().datasets().map(|set| set.labels()));
    let sample = |set: &Gallery| sample_images(lab.seed, set.len(), ITEMS);
    let recall =
        retrieve(sets, labels, &sample(sets.queries()), &mut |_| lab.ranked.subject().monitor().advance(0))?.recall_at(1);
    let EmbeddingSpread { mean, deviation, within, between, orthogonal, tied, dimension } =
        spread(sets.gallery, labels.gallery, &sample(sets.gallery))?;
    // NaN stands for a number that could not be measured.
    let answer = |of: &str, number: f64, bound: f64, passed: bool| {
        let verdict = match (number.is_nan(), passed) {
            (true, _) => Verdict::NoAnswer,
            (false, true) => Verdict::Pass,
            (false, false) => Verdict::Fail,
        };
        Answer::new(of, &[number, bound], verdict)
    };
    let at_least = |of: &str, number: f64, bound: f64| answer(of, number, bound, number >= bound);
    let answers = vec![
        at_least("mean distance, % of that of orthogonal items: at least", 100.0 * mean / orthogonal, 100.0 * MEAN),
        at_least("standard deviation, % of the mean distance: at least", 100.0 * deviation / mean, 100.0 * DEVIATION),
        at_least("mean distance between classes / within one: at least", between / within, CONTRAST),
        answer("ties, % of the items of a list: at most", 100.0 * tied, 100.0 * TIES, tied <= TIES),
        at_least("directions: at least", dimension, DIRECTIONS),
    ];
    Ok((wording::collapse().answered(answers), percent(recall)))
}
