//! The contrastive loss over all pairs of a batch.

use rankle_core::{Distance, Embeddings, Error, Result};
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use rankle_kernels::distance::{GalleryRows, Metric, distances};
use rayon::prelude::*;

/// The mean over all ordered pairs of a batch, an image with itself included, of `d(i, j)` within a class and
/// `[margin - d(i, j)]₊` between classes (METHOD.md 4.1).
///
/// The gradient of a Euclidean distance at zero is zero (METHOD.md 4.1): a pair of equal embeddings adds none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContrastiveLoss {
    /// Least distance of images of two classes that has no loss, in units of the distance.
    pub margin: f64,
}

/// Rows per task of the matrix product. Each row of the product depends on the same row of `pull` alone, not on the task.
const TASK: usize = 56;

impl ContrastiveLoss {
    /// The loss and its gradient with respect to the embeddings, `n x dim`: two matrix products, sums in the order of the pairs.
    ///
    /// # Errors
    /// [`Error::Empty`] without points, [`Error::Shape`] when there is not one label per point.
    pub fn evaluate(&self, points: &Embeddings, labels: &[u32]) -> Result<(f64, Vec<f32>)> {
        let n = points.len();
        if n == 0 {
            return Err(Error::Empty("points: a batch needs images"));
        }
        if labels.len() != n {
            return Err(Error::Shape { what: "the labels", actual: vec![labels.len()], expected: format!("({n})") });
        }
        let own = points.to_host()?;
        let (rows, metric) = match points.distance() {
            Distance::Cosine => (own.as_slice().to_vec(), Metric::Cosine),
            Distance::Euclidean => (centered(own.as_slice(), n), Metric::Euclidean),
        };
        let mut pull = distances(metric, own.as_slice(), &GalleryRows::new(own.as_slice(), points.dim()));
        let total = self.pulls(points.distance(), labels, &mut pull);
        let gradient = gradient(points.distance(), &rows, &pull, n);
        Ok((total / (n * n) as f64, gradient))
    }

    /// Replaces the distance of every pair by the derivative of its loss, `∂ℓ/∂d` (for Euclidean distance divided by `d`);
    /// returns the sum of the losses.
    fn pulls(&self, distance: Distance, labels: &[u32], pairs: &mut [f32]) -> f64 {
        let mut total = 0.0;
        for (i, row) in pairs.chunks_exact_mut(labels.len()).enumerate() {
            for (j, pair) in row.iter_mut().enumerate() {
                let d = *pair;
                let (loss, direction) = match labels[i] == labels[j] {
                    _ if i == j => (0.0, 0.0), // without the rounding of 1 - u·u
                    true => (f64::from(d), 1.0),
                    false => match self.margin - f64::from(d) {
                        hinge if hinge <= 0.0 => (0.0, 0.0),
                        hinge => (hinge, -1.0), // also for NaN, which the caller sees in the sum
                    },
                };
                total += loss;
                *pair = match distance {
                    Distance::Cosine => direction,
                    Distance::Euclidean if d == 0.0 => 0.0,
                    Distance::Euclidean => direction / d,
                };
            }
        }
        total
    }
}

/// The embeddings minus their mean: no distance changes, and the terms whose difference is the gradient stay small.
fn centered(points: &[f32], n: usize) -> Vec<f32> {
    let dim = points.len() / n;
    let mut mean = vec![0.0f64; dim];
    for row in points.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    mean.iter_mut().for_each(|sum| *sum /= n as f64);
    points.iter().zip(mean.iter().cycle()).map(|(&x, &mean)| (f64::from(x) - mean) as f32).collect()
}

/// The gradient `2/n² Σ_j pull(i, j) ∂d(i, j)/∂x_i`; the factor 2 counts both orders of a pair. The derivative is `-x_j` for
/// cosine and `x_i - x_j` for Euclidean distance, whose factor `1/d` is in `pull`.
fn gradient(distance: Distance, rows: &[f32], pull: &[f32], n: usize) -> Vec<f32> {
    let dim = rows.len() / n;
    let others = Panels::pack(Isa::best(), dim, n, |coordinate, row| rows[row * dim + coordinate]);
    let scale = 2.0 / (n * n) as f32;
    let mut gradient = vec![0.0f32; rows.len()];
    let tasks = gradient.par_chunks_mut(TASK * dim).zip(pull.par_chunks(TASK * n)).zip(rows.par_chunks(TASK * dim));
    tasks.for_each(|((gradient, pull), rows)| {
        others.multiply(pull, gradient);
        for ((gradient, pull), row) in gradient.chunks_exact_mut(dim).zip(pull.chunks_exact(n)).zip(rows.chunks_exact(dim)) {
            let own = match distance {
                Distance::Cosine => 0.0,
                Distance::Euclidean => pull.iter().map(|&pull| f64::from(pull)).sum::<f64>() as f32,
            };
            gradient.iter_mut().zip(row).for_each(|(gradient, &x)| *gradient = scale * (own * x - *gradient));
        }
    });
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differences::{Bounds, assert_gradient, embedded};
    use rand::Rng;
    use rankle_core::seed::{Purpose, Seed};

    fn labels(n: usize) -> Vec<u32> {
        (0..n as u32).map(|i| i % 3).collect()
    }

    fn values(n: usize, dim: usize) -> Vec<f32> {
        let mut rng = Seed(4).stream(Purpose::Toy, [n as u64, dim as u64]);
        (0..n * dim).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// The definition, pair by pair in double precision.
    fn by_definition(points: &Embeddings, labels: &[u32], margin: f64) -> (f64, Vec<f64>) {
        let (n, dim) = (points.len(), points.dim());
        let rows = points.to_host().unwrap();
        let row = |i: usize| rows.row(i).iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let (mut total, mut gradient) = (0.0, vec![0.0; n * dim]);
        for i in 0..n {
            for j in (0..n).filter(|&j| j != i) {
                let (a, b) = (row(i), row(j));
                let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
                let d = match points.distance() {
                    Distance::Cosine => 1.0 - a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>(),
                    Distance::Euclidean => difference.iter().map(|x| x * x).sum::<f64>().sqrt(),
                };
                let direction = if labels[i] == labels[j] {
                    total += d;
                    1.0
                } else if margin > d {
                    total += margin - d;
                    -1.0
                } else {
                    continue;
                };
                for k in 0..dim {
                    let (by_a, by_b) = match points.distance() {
                        Distance::Cosine => (-b[k], -a[k]),
                        Distance::Euclidean if d == 0.0 => (0.0, 0.0),
                        Distance::Euclidean => (difference[k] / d, -difference[k] / d),
                    };
                    gradient[i * dim + k] += direction * by_a;
                    gradient[j * dim + k] += direction * by_b;
                }
            }
        }
        let pairs = (n * n) as f64;
        (total / pairs, gradient.into_iter().map(|sum| sum / pairs).collect())
    }

    #[test]
    fn two_matrix_products_are_the_sum_over_all_pairs() {
        for (n, dim) in [(1, 3), (2, 1), (9, 5), (70, 40), (120, 33)] {
            for (distance, margin) in [(Distance::Cosine, 0.9), (Distance::Euclidean, 0.6 * (dim as f64).sqrt())] {
                let mut values = values(n, dim);
                if n > 8 {
                    values.copy_within(0..dim, 3 * dim); // equal, of one class
                    values.copy_within(0..dim, 4 * dim); // equal, of two classes
                }
                let points = embedded(distance, &values, dim);
                let (loss, gradient) = ContrastiveLoss { margin }.evaluate(&points, &labels(n)).unwrap();
                let (expected, expected_gradient) = by_definition(&points, &labels(n), margin);
                assert!((loss - expected).abs() <= 1e-6 * expected.max(1.0), "{distance} {n}x{dim}: {loss} not {expected}");
                let largest = expected_gradient.iter().fold(1e-9, |most: f64, x| most.max(x.abs()));
                for (at, (&ours, &theirs)) in gradient.iter().zip(&expected_gradient).enumerate() {
                    let error = (f64::from(ours) - theirs).abs();
                    assert!(error <= 2e-5 * largest, "{distance} {n}x{dim} at {at}: {ours} not {theirs}");
                }
            }
        }
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let (n, dim) = (12, 6);
        for (distance, margin) in [(Distance::Cosine, 0.8), (Distance::Euclidean, 2.0)] {
            let loss = ContrastiveLoss { margin };
            let bounds = Bounds { step: 1e-3, active: 1e-2, tolerance: 2e-3 };
            assert_gradient(distance, &values(n, dim), dim, bounds, |points| loss.evaluate(points, &labels(n)).unwrap());
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let values = values(150, 64);
        for distance in Distance::ALL {
            let points = embedded(distance, &values, 64);
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| ContrastiveLoss { margin: 1.0 }.evaluate(&points, &labels(150)).unwrap())
            };
            assert_eq!(run(1), run(2), "{distance}");
            assert_eq!(run(1), run(3), "{distance}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let points = embedded(Distance::Cosine, &values(4, 2), 2);
        let evaluate = |points: &Embeddings, labels: &[u32]| ContrastiveLoss { margin: 0.2 }.evaluate(points, labels);
        assert!(matches!(evaluate(&points, &[0, 1]), Err(Error::Shape { .. })));
        assert!(matches!(evaluate(&points.select(&[]).unwrap(), &[]), Err(Error::Empty(_))));
        let broken = embedded(Distance::Euclidean, &[f32::NAN, 0.0, 1.0, 1.0], 2);
        assert!(evaluate(&broken, &[0, 1]).unwrap().0.is_nan());
    }
}
