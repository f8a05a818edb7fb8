//! The distance-based objective.

use crate::{Batch, Direction};
use candle_core::Tensor;
use rankle_core::{DistanceTerm, Evaluation, Ranking, Result};

/// The distance-based objective at raw embeddings `(n, d)`, with its gradient: per image
/// `± mean d(target) + xi · mean d(preserved)`, `+` to raise. Distances are symmetric, so candidate and query attacks share it.
/// `set` holds the targets.
pub(crate) fn by_distance(
    batch: &Batch<'_>,
    set: &dyn Ranking,
    direction: Direction,
    xi: f64,
    raw: &Tensor,
) -> Result<Evaluation> {
    let targets = &batch.targets;
    let embeddings = set.normalize(raw)?;
    batch.check(&embeddings)?;
    let sign = match direction {
        Direction::Raise => 1.0,
        Direction::Lower => -1.0,
    };
    let kept = targets.preserved().map(|(items, count)| (items, xi / count as f64));
    let parts: Vec<(&[u32], f64)> =
        [Some((targets.indices(), sign / targets.targets_per_image() as f64)), kept].into_iter().flatten().collect();
    let distances = parts.iter().map(|(items, _)| set.distances_to(&embeddings, items)).collect::<Result<Vec<_>>>()?;
    let term = |(&(targets, scale), distances)| DistanceTerm { targets, distances, weights: None, scale };
    let terms: Vec<DistanceTerm<'_>> = parts.iter().zip(&distances).map(term).collect();
    let Evaluation { loss, gradient, .. } = set.weighted_distances(&embeddings, &terms)?;
    Ok(Evaluation::new(loss, embeddings.backward(&gradient)?))
}
