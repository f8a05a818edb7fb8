//! The contrastive loss of single pairs.

use crate::triplet::difference;
use rankle_core::{Distance, Embeddings, Error, Result};
use rankle_kernels::rows::dot;

/// The sum over pairs of images of `d` within a class and `[margin - d]₊` between classes (METHOD.md 4.1, Stanford Online
/// Products). For cosine distance and a margin of 0.5 that is PyTorch's cosine embedding loss of margin 0.5.
///
/// Under Euclidean distance every difference has PyTorch's offset of 1e-6, which also keeps the gradient of equal points finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairLoss {
    /// Least distance of images of two classes that has no loss, in units of the distance.
    pub margin: f64,
    /// True if pairs of two classes have the label of the original, which is neither of the two that PyTorch's losses know: under
    /// cosine distance they have no loss, under Euclidean distance they are pulled together beyond the margin (METHOD.md 4.1).
    pub mislabeled: bool,
}

impl PairLoss {
    /// The loss and its gradient with respect to the embeddings, `n x dim`. A pair is two positions among the embeddings, and
    /// `true` for two images of one class.
    ///
    /// # Errors
    /// [`Error::Empty`] without pairs, [`Error::Index`] when one points outside the batch.
    pub fn evaluate(&self, points: &Embeddings, pairs: &[(usize, usize, bool)]) -> Result<(f64, Vec<f32>)> {
        if pairs.is_empty() {
            return Err(Error::Empty("pairs: a batch needs images"));
        }
        let all: Vec<usize> = pairs.iter().flat_map(|&(first, second, _)| [first, second]).collect();
        rankle_core::dataset::check_indices("pair", &all, points.len())?;
        let (dim, rows) = (points.dim(), points.to_host()?);
        let (mut total, mut gradient) = (0.0, vec![0.0f32; points.len() * dim]);
        let mut add = |place: usize, scale: f32, direction: &[f32]| {
            gradient[place * dim..][..dim].iter_mut().zip(direction).for_each(|(sum, value)| *sum += scale * value);
        };
        for &(first, second, same) in pairs {
            let (a, b) = (rows.row(first), rows.row(second));
            match points.distance() {
                Distance::Cosine => {
                    let (loss, pull) = self.of(Distance::Cosine, 1.0 - f64::from(dot(a, b)), same);
                    total += loss;
                    add(first, -pull, b);
                    add(second, -pull, a);
                }
                Distance::Euclidean => {
                    let gap = difference(a, b);
                    let d = dot(&gap, &gap).sqrt();
                    let (loss, pull) = self.of(Distance::Euclidean, f64::from(d), same);
                    total += loss;
                    add(first, pull / d, &gap);
                    add(second, -pull / d, &gap);
                }
            }
        }
        Ok((total, gradient))
    }

    /// The loss of a pair at distance `d`, and its derivative with respect to `d`.
    fn of(&self, distance: Distance, d: f64, same: bool) -> (f64, f32) {
        let hinge = self.margin - d;
        match (same, self.mislabeled, distance) {
            (true, ..) => (d, 1.0),
            (false, false, _) if hinge <= 0.0 => (0.0, 0.0),
            (false, false, _) => (hinge, -1.0), // also for NaN, which the caller sees in the sum
            (false, true, Distance::Cosine) => (0.0, 0.0),
            // Both branches of PyTorch's loss are added: d + [margin - d]₊.
            (false, true, Distance::Euclidean) if hinge <= 0.0 => (d, 1.0),
            (false, true, Distance::Euclidean) => (d + hinge, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differences::{Bounds, assert_gradient, embedded};
    use rand::Rng;
    use rankle_core::seed::{Purpose, Seed};

    fn values(n: usize, dim: usize) -> Vec<f32> {
        let mut rng = Seed(6).stream(Purpose::Toy, [n as u64, dim as u64]);
        (0..n * dim).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let pairs: Vec<(usize, usize, bool)> = (0..12).map(|i| (i, (5 * i + 3) % 12, i % 3 == 0)).collect();
        for (distance, margin) in [(Distance::Cosine, 0.9), (Distance::Euclidean, 2.0)] {
            for mislabeled in [false, true] {
                let loss = PairLoss { margin, mislabeled };
                let bounds = Bounds { step: 1e-3, active: 1e-1, tolerance: 1e-2 };
                assert_gradient(distance, &values(12, 6), 6, bounds, |points| loss.evaluate(points, &pairs).unwrap());
            }
        }
    }

    #[test]
    #[rustfmt::skip] // keeps the columns aligned
    fn values_by_hand() {
        // Three points on a line: 0, 3 and 4 in Euclidean terms; the offset of 1e-6 is below the tolerance.
        let points = embedded(Distance::Euclidean, &[0.0, 3.0, 4.0], 1);
        let check = |margin, mislabeled, pair, wanted: f64| {
            let (loss, _) = PairLoss { margin, mislabeled }.evaluate(&points, &[pair]).unwrap();
            assert!((loss - wanted).abs() < 1e-5, "{margin} {mislabeled} {pair:?}: {loss} instead of {wanted}");
        };
        //    margin  mislabeled  pair            expected
        check(5.0,    false,       (0, 1, true),   3.0);
        check(5.0,    false,       (0, 1, false),  2.0);
        check(2.0,    false,       (0, 1, false),  0.0);
        check(5.0,    true,        (0, 1, true),   3.0);
        check(5.0,    true,        (0, 1, false),  5.0);
        check(2.0,    true,        (0, 1, false),  3.0);
        check(0.0,    true,        (1, 2, false),  1.0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let points = embedded(Distance::Cosine, &values(4, 2), 2);
        let loss = PairLoss { margin: 0.5, mislabeled: false };
        assert!(matches!(loss.evaluate(&points, &[]), Err(Error::Empty(_))));
        assert!(loss.evaluate(&points, &[(0, 4, true)]).is_err());
        let broken = embedded(Distance::Euclidean, &[f32::NAN, 0.0, 1.0, 1.0], 2);
        assert!(loss.evaluate(&broken, &[(0, 1, false)]).unwrap().0.is_nan());
    }
}
