//! A loss: its value and gradient from the labels and normalized embeddings of a batch.

use rankle_core::{Embeddings, Error, Result};

/// Neighborhood components: every image picks another one, with a probability that falls with distance; the loss is the negative
/// log probability of its own class, `mean_i -ln Σ_{j of the class} exp(u_i·u_j / T) / Σ_{j ≠ i} exp(u_i·u_j / T)`, for unit
/// vectors `u`. An image alone in its class adds 0.
///
/// # Source
/// Goldberger et al., "Neighborhood Components Analysis", NIPS 2004.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NeighborhoodLoss {
    /// Temperature `T`: the smaller, the more the nearest images dominate.
    pub(crate) temperature: f64,
}

impl NeighborhoodLoss {
    /// Loss, and its gradient with respect to the embeddings, `n x dim`.
    pub(crate) fn evaluate(&self, points: &Embeddings, labels: &[u32]) -> Result<(f64, Vec<f32>)> {
        let (n, rows) = (points.len(), points.to_host()?);
        if labels.len() != n {
            return Err(Error::Shape { what: "the labels", actual: vec![labels.len()], expected: format!("({n})") });
        }
        let dot = |i, j| -> f64 { rows.row(i).iter().zip(rows.row(j)).map(|(a, b)| f64::from(a * b)).sum() };
        let (mut loss, mut gradient) = (0.0, vec![0.0; n * points.dim()]);
        for i in 0..n {
            let weights: Vec<f64> =
                (0..n).map(|j| if j == i { 0.0 } else { ((dot(i, j) - 1.0) / self.temperature).exp() }).collect();
            let same = |j: usize| labels[j] == labels[i];
            let (all, own): (f64, f64) = (weights.iter().sum(), (0..n).filter(|&j| same(j)).map(|j| weights[j]).sum());
            if own == 0.0 {
                continue;
            }
            loss += (all / own).ln() / n as f64;
            for (j, weight) in weights.iter().enumerate() {
                let share = weight / all - if same(j) { weight / own } else { 0.0 };
                let pull = (share / (self.temperature * n as f64)) as f32;
                for (to, from) in [(i, j), (j, i)] {
                    let row = &mut gradient[to * points.dim()..][..points.dim()];
                    row.iter_mut().zip(rows.row(from)).for_each(|(gradient, x)| *gradient += pull * x);
                }
            }
        }
        Ok((loss, gradient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rankle_core::Distance;

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let raw: Vec<f32> = (0..24).map(|x| (x as f32 * 1.7).sin()).collect();
        let loss = |raw: &[f32]| {
            let points = Distance::Cosine.normalize(&Tensor::from_slice(raw, (6, 4), &Device::Cpu).unwrap()).unwrap();
            let (loss, gradient) = NeighborhoodLoss { temperature: 0.5 }.evaluate(&points, &[0, 1, 0, 1, 2, 0]).unwrap();
            (
                loss,
                points.backward(&points.like_rows(gradient).unwrap()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            )
        };
        for (at, gradient) in loss(&raw).1.into_iter().enumerate() {
            let moved = |step: f32| {
                let mut raw = raw.clone();
                raw[at] += step;
                loss(&raw).0
            };
            let quotient = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((quotient - f64::from(gradient)).abs() < 1e-3, "{at}: {quotient} {gradient}");
        }
    }
}
