//! Warnings of rankings that say little: embeddings that coincide, ranks that are tied or a matter of rounding.

use rankle_core::rank::Resolution;
use rankle_core::{Distance, Embeddings};

/// Below this [`Embeddings::relative_spread`] embeddings are called nearly equal: a cone of half a degree for cosine, and for Euclidean
/// distance, to which an offset that all share is nothing, the resolution of f32.
fn least_spread(distance: Distance) -> f64 {
    match distance {
        Distance::Cosine => 1e-4,
        Distance::Euclidean => 1e-12,
    }
}
/// What is left of no spread at all by rounding.
const NOTHING: f64 = 1e-14;

/// Warns where all embeddings are equal, or nearly: any number of such a ranking says little.
///
/// # Errors
/// When the embeddings cannot be copied to the host.
pub(crate) fn warn_of_collapse(dataset: &str, points: &Embeddings) -> rankle_core::Result<()> {
    let spread = points.relative_spread()?;
    if points.len() > 1 && spread < least_spread(points.distance()) {
        let how = if spread < NOTHING { "equal" } else { "nearly equal" };
        tracing::warn!(
            "the embeddings of {dataset} are {how} (mean squared distance {spread:.1e} of that of unrelated ones): the model has \
             collapsed, or was not trained, and its ranks say little"
        );
    }
    Ok(())
}

/// Above this share, ties or comparisons below the resolution are worth a warning.
const NOTICEABLE: f64 = 0.01;

/// Warns where many ranks are a matter of ties, or of rounding.
pub fn warn_of_ties(whose: &str, tie_share: f64, resolution: Resolution) {
    if tie_share > NOTICEABLE {
        tracing::warn!(
            "{whose}: {:.1} % of the ranks are tied with another item: embeddings coincide, because the model has collapsed or images \
             are there twice",
            100.0 * tie_share
        );
    }
    let undecided = resolution.undecided_share();
    if undecided > NOTICEABLE {
        tracing::warn!(
            "{whose}: {:.1} % of the comparisons are below the resolution of f32, so rounding decided them: the embeddings are too close",
            100.0 * undecided
        );
    }
}
