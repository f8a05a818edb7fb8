//! The cross-entropy loss of classifiers.

use rankle_core::classes::cross_entropy;
use rankle_core::{Embeddings, Error, Result};

/// The mean of `-ln softmax(logits)[label]` over a batch, and its gradient. `points` holds raw logits, its distance is Euclidean.
///
/// # Errors
/// [`Error::Empty`] without points, [`Error::Shape`] unless each point has a label, [`Error::Index`] for a label of no class.
pub fn cross_entropy_loss(points: &Embeddings, labels: &[u32]) -> Result<(f64, Vec<f32>)> {
    if labels.is_empty() {
        return Err(Error::Empty("points: a batch needs images"));
    }
    let (losses, mut gradient) = cross_entropy(points.to_host()?.as_slice(), points.dim(), labels)?;
    let share = 1.0 / labels.len() as f32;
    gradient.iter_mut().for_each(|gradient| *gradient *= share);
    Ok((losses.iter().sum::<f64>() / labels.len() as f64, gradient))
}
