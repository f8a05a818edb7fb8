//! Logits, the outputs of a classifier: one number per class.

use crate::dataset::check_indices;
use crate::numbers::numbers;
use crate::{Error, Result};
use candle_core::Tensor;

/// The cross-entropy `-ln softmax(logits)[label]` of each row of logits `(n, classes)`, and its gradient with respect to them,
/// `softmax(logits)` less one at the label: `n x classes`, row by row.
///
/// Computed in double precision, with the label's gradient as a sum over the other classes, so that the gradient of a very
/// confident classifier does not vanish.
///
/// # Errors
/// [`Error::Shape`] when there is not one label per row, [`Error::Index`] for a label of no class. NaN logits give NaN losses.
pub fn cross_entropy(logits: &[f32], classes: usize, labels: &[u32]) -> Result<(Vec<f64>, Vec<f32>)> {
    let places = check_labels(logits.len(), classes, labels)?;
    let mut losses = Vec::with_capacity(labels.len());
    let mut gradient = Vec::with_capacity(logits.len());
    for (row, &label) in logits.chunks_exact(classes.max(1)).zip(&places) {
        // Relative to the largest logit no exponential overflows.
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weights: Vec<f64> = row.iter().map(|&logit| (f64::from(logit) - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        losses.push(total.ln() - (f64::from(row[label]) - largest));
        let others: f64 = weights.iter().enumerate().filter(|&(class, _)| class != label).map(|(_, weight)| weight).sum();
        gradient.extend(weights.iter().enumerate().map(|(class, weight)| {
            let share = if class == label { -others / total } else { weight / total };
            share as f32
        }));
    }
    Ok((losses, gradient))
}

/// Checks that there are logits for every label, and that every label is a class; returns the labels as indices.
pub(crate) fn check_labels(logits: usize, classes: usize, labels: &[u32]) -> Result<Vec<usize>> {
    if logits != labels.len() * classes {
        let expected = format!("({}, {classes}), one row per label", labels.len());
        return Err(Error::Shape { what: "the list of logits", actual: vec![logits], expected });
    }
    let places: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
    check_indices("class", &places, classes)?;
    Ok(places)
}

/// The class of the largest logit of each row `(n, classes)`; the first of equal ones.
///
/// # Errors
/// [`Error::Shape`] when the logits are not a matrix, [`Error::NotFinite`] when one is NaN or infinite.
pub fn predictions(logits: &Tensor) -> Result<Vec<u32>> {
    let &[_, classes] = logits.dims() else {
        return Err(Error::Shape { what: "the logits", actual: logits.dims().to_vec(), expected: "(n, classes)".into() });
    };
    let logits = numbers(logits)?;
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(Error::NotFinite("a row of logits".into()));
    }
    let largest = |row: &[f32]| (1..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
    Ok(logits.chunks_exact(classes.max(1)).map(|row| largest(row) as u32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};
    use candle_core::Device;
    use rand::Rng;

    #[test]
    fn worked_by_hand() {
        let (loss, gradient) = cross_entropy(&[0.0, 3f32.ln(), 0.0, 0.0], 2, &[1, 0]).unwrap();
        assert!((loss[0] - (4f64 / 3.0).ln()).abs() < 1e-6 && (loss[1] - 2f64.ln()).abs() < 1e-12, "{loss:?}");
        for (ours, expected) in gradient.iter().zip([0.25, -0.25, -0.5, 0.5]) {
            assert!((ours - expected).abs() < 1e-7, "{gradient:?}");
        }
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let mut rng = Seed(7).stream(Purpose::Toy, [3, 0]);
        let logits: Vec<f32> = (0..60).map(|_| rng.random_range(-4.0..4.0)).collect();
        let labels: Vec<u32> = (0..10).map(|row| row % 6).collect();
        let total = |logits: &[f32]| cross_entropy(logits, 6, &labels).unwrap().0.iter().sum::<f64>();
        let (_, gradient) = cross_entropy(&logits, 6, &labels).unwrap();
        for at in 0..logits.len() {
            let (mut up, mut down) = (logits.clone(), logits.clone());
            up[at] += 1e-3;
            down[at] -= 1e-3;
            let difference = (total(&up) - total(&down)) / f64::from(up[at] - down[at]);
            assert!((difference - f64::from(gradient[at])).abs() < 1e-6, "{at}: {difference} {}", gradient[at]);
        }
    }

    /// Single precision has no gradient left at a margin of 17 and overflows at one of 89.
    #[test]
    fn neither_certainty_nor_size_loses_the_gradient() {
        let (loss, gradient) = cross_entropy(&[60.0, 0.0, -1e4, 1e4], 2, &[0, 0]).unwrap();
        assert!(loss[0] > 0.0 || gradient[0] < 0.0, "{loss:?} {gradient:?}");
        assert!(gradient[0] < 0.0 && gradient[1] == -gradient[0]);
        assert_eq!((loss[1], &gradient[2..]), (2e4, &[-1.0, 1.0][..]));
    }

    #[test]
    fn the_first_of_the_largest_is_predicted() {
        let logits = Tensor::new(&[[0f32, 2., 2.], [-1., -3., -2.], [0., 0., 0.1]], &Device::Cpu).unwrap();
        assert_eq!(predictions(&logits).unwrap(), [1, 0, 2]);
        assert!(matches!(predictions(&logits.get(0).unwrap()), Err(Error::Shape { .. })));
        let broken = Tensor::new(&[[0f32, f32::NAN]], &Device::Cpu).unwrap();
        assert!(matches!(predictions(&broken), Err(Error::NotFinite(_))));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(matches!(cross_entropy(&[0.0; 6], 3, &[0]), Err(Error::Shape { .. })));
        let error = cross_entropy(&[0.0; 6], 3, &[0, 3]).unwrap_err().to_string();
        assert_eq!(error, "class index 3 is out of range: there are 3, counted from 0");
        assert!(cross_entropy(&[f32::NAN, 0.0], 2, &[0]).unwrap().0[0].is_nan());
        assert_eq!(cross_entropy(&[], 3, &[]).unwrap(), (vec![], vec![]));
    }
}
