//! The distance-based objective.

use crate::{Batch, Direction, Evaluation};
use candle_core::Tensor;
use rankle_core::{Distance, Gallery, Result};
use rayon::prelude::*;

/// The distance-based objective at raw embeddings `(n, d)`: per image `± mean d(p, target) + xi · mean d(p, preserved)`, `+` to
/// raise the targets, with its slope. Distances are symmetric, so candidate and query attacks share it; `set` is that of the targets.
pub(crate) fn by_distance(
    batch: &Batch<'_>,
    set: &Gallery,
    direction: Direction,
    xi: f64,
    raw: &Tensor,
) -> Result<Evaluation> {
    let (gallery, targets) = (set, &batch.targets);
    let points = gallery.distance().place(raw)?;
    batch.check(&points)?;
    let sign = match direction {
        Direction::Raise => 1.0,
        Direction::Lower => -1.0,
    };
    let dim = points.dim();
    let mut loss = vec![0.0; points.len()];
    let mut slope = vec![0.0; points.len() * dim];
    let kept = targets.preserved().map(|(items, set)| (items, set, xi));
    for (items, set, weight) in [Some((targets.indices(), targets.set(), sign)), kept].into_iter().flatten() {
        let share = weight / set as f64;
        let distances = gallery.distances_to(&points, items)?;
        let rows = slope.par_chunks_exact_mut(dim).zip(&mut loss);
        let pairs = items.par_chunks_exact(set).zip(distances.par_chunks_exact(set));
        rows.zip(pairs).enumerate().for_each(|(image, ((slope, loss), (items, distances)))| {
            for (&item, &distance) in items.iter().zip(distances) {
                *loss += share * f64::from(distance);
                add_slope(gallery.distance(), slope, share, points.row(image), gallery.point(item as usize), distance);
            }
        });
    }
    Ok(Evaluation { loss, slope: points.pull_back(slope)? })
}

/// Adds `weight · ∇d(item, point)` with respect to the point, `d` apart; where the Euclidean distance is zero its slope counts
/// as zero.
pub(crate) fn add_slope(distance: Distance, slope: &mut [f32], weight: f64, point: &[f32], item: &[f32], d: f32) {
    match distance {
        Distance::Cosine => {
            let weight = weight as f32;
            slope.iter_mut().zip(item).for_each(|(s, &q)| *s -= weight * q);
        }
        Distance::Euclidean if d > 0.0 => {
            let weight = (weight / f64::from(d)) as f32;
            slope.iter_mut().zip(point.iter().zip(item)).for_each(|(s, (&c, &q))| *s += weight * (c - q));
        }
        Distance::Euclidean => {}
    }
}
