//! Warnings about rankings that say little: coinciding embeddings, tied ranks, ranks decided by rounding.

use rankle_core::rank::Resolution;
use rankle_core::{Distance, Embeddings};

/// The [`Embeddings::relative_spread`] below which embeddings are called nearly equal. Cosine: a cone of half a degree. Euclidean
/// distance, which does not change with a common offset: the resolution of f32.
fn least_spread(distance: Distance) -> f64 {
    match distance {
        Distance::Cosine => 1e-4,
        Distance::Euclidean => 1e-12,
    }
}
/// Relative spread that rounding leaves of equal embeddings.
const NOTHING: f64 = 1e-14;

/// Warns if all embeddings are equal or nearly equal: no number of such a ranking says much.
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

/// Share of ties, or of comparisons below the resolution of f32, above which a warning is given.
const NOTICEABLE: f64 = 0.01;
/// Largest distance between two embeddings that is put down to rounding.
const ROUNDING: f64 = 1e-6;

/// Warns if an attack moved no embedding at all.
pub(crate) fn warn_of_a_flat_loss(whose: &str, epsilon: f64, embedding_shift: &[f64]) {
    if is_flat(epsilon, embedding_shift) {
        tracing::warn!(
            "{whose}: no embedding moved: the loss is flat, because the model hides its gradients or gives the same answer to all images, or \
             because every target is where the attack wants it; `rankle sanity` tells which"
        );
    }
}

fn is_flat(epsilon: f64, embedding_shift: &[f64]) -> bool {
    epsilon > 0.0 && !embedding_shift.is_empty() && embedding_shift.iter().all(|shift| shift.abs() < ROUNDING)
}

/// Warns if many ranks are tied or were decided by rounding.
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

#[cfg(test)]
mod tests {
    use super::is_flat;

    #[test]
    fn a_loss_is_flat_where_nothing_moved_although_it_could() {
        assert!(is_flat(0.1, &[0.0, -1e-7]));
        assert!(!is_flat(0.1, &[0.0, 1e-3]) && !is_flat(0.0, &[0.0]) && !is_flat(0.1, &[]));
    }
}
