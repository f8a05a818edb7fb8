//! Targeted misclassification by the difference of logits ratio.

use crate::Objective;
use crate::logits::{margin, one_hot, only};
use candle_core::{DType, Tensor};
use rankle_core::{Evaluation, Result};

/// Targeted difference of logits ratio (DLR): lowers `(z_y - z_t) / (z_π1 - (z_π3 + z_π4) / 2)` of every image of a batch, where
/// `z` are its logits, `y` its label, `t` its target class, and `π` orders the logits from the largest to the smallest, equal ones
/// by index. Unlike the gradient of the cross-entropy, that of the DLR does not vanish where a classifier is very confident. Of
/// fewer than four classes, which have no `z_π4`, the denominator is 1. The rank is the margin, the logit of the label less the
/// largest other one.
///
/// Computed by candle's operations in both compute backends.
///
/// # Source
/// Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks", ICML 2020,
/// arXiv:2003.01690, whose loss is raised and is the negative of this.
#[derive(Clone, Debug)]
pub struct TargetedDlr {
    /// One label per image of the batch.
    pub labels: Vec<u32>,
    /// One target class per image of the batch.
    pub targets: Vec<u32>,
}

/// Weights of the four largest logits in the denominator.
const WEIGHTS: [f64; 4] = [1.0, 0.0, -0.5, -0.5];
/// Added to the denominator, as in AutoAttack: four equal logits would make it zero.
const OFFSET: f64 = 1e-12;

impl Objective for TargetedDlr {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        let class = |classes: &[u32]| -> Result<Tensor> { Ok(one_hot(classes, raw)?.to_dtype(DType::F32)?) };
        let numerator = (class(&self.labels)? - class(&self.targets)?)?;
        // Near zero fewer digits of the differences cancel.
        let logits = raw.broadcast_sub(&raw.max_keepdim(1)?)?;
        let weighted = |weights: &Tensor| (&logits * weights)?.sum_keepdim(1);
        let gap = weighted(&numerator)?;
        if raw.dim(1)? < WEIGHTS.len() {
            return Ok(Evaluation::new(gap.squeeze(1)?, numerator));
        }
        let denominator = weights(&logits)?;
        let spread = (weighted(&denominator)? + OFFSET)?;
        let loss = (gap / &spread)?;
        let gradient = (numerator - denominator.broadcast_mul(&loss)?)?.broadcast_div(&spread)?;
        Ok(Evaluation::new(loss.squeeze(1)?, gradient))
    }

    fn rank(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(margin(raw, &self.labels)?))
    }
}

/// [`WEIGHTS`] at the largest logits of each row, 0 elsewhere. Devices sort equal numbers in any order, so the first of the
/// largest is taken out four times.
fn weights(logits: &Tensor) -> Result<Tensor> {
    let (n, classes) = logits.dims2()?;
    let indices = Tensor::arange(0f32, classes as f32, logits.device())?.unsqueeze(0)?.broadcast_as((n, classes))?;
    let behind = Tensor::full(classes as f32, (n, classes), logits.device())?;
    let (mut rest, mut weights) = (logits.clone(), logits.zeros_like()?);
    for weight in WEIGHTS {
        let is_largest = rest.broadcast_eq(&rest.max_keepdim(1)?)?;
        let first = indices.broadcast_eq(&is_largest.where_cond(&indices, &behind)?.min_keepdim(1)?)?;
        weights = (weights + (first.to_dtype(DType::F32)? * weight)?)?;
        rest = only(&first.eq(0u8)?, &rest)?;
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, safetensors};
    use rand::Rng;
    use rankle_core::Error;
    use rankle_core::seed::{Purpose, Seed};

    /// The loss of one row and its gradient, in f64 from the definition.
    fn expected(logits: &[f64], label: usize, target: usize) -> (f64, Vec<f64>) {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let mut gradient = vec![0.0; logits.len()];
        let (gap, mut spread) = (logits[label] - logits[target], 1.0);
        if let &[first, _, third, fourth, ..] = &order[..] {
            spread = logits[first] - (logits[third] + logits[fourth]) / 2.0;
            for (class, weight) in [(first, 1.0), (third, -0.5), (fourth, -0.5)] {
                gradient[class] -= weight * gap / spread.powi(2);
            }
        }
        gradient[label] += 1.0 / spread;
        gradient[target] -= 1.0 / spread;
        (gap / spread, gradient)
    }

    fn evaluate(logits: &[f32], labels: &[u32], targets: &[u32]) -> (Vec<f64>, Vec<f32>) {
        let raw = Tensor::from_slice(logits, (labels.len(), logits.len() / labels.len()), &Device::Cpu).unwrap();
        let found = TargetedDlr { labels: labels.to_vec(), targets: targets.to_vec() }.evaluate(&raw).unwrap();
        (found.losses().unwrap(), found.gradient.flatten_all().unwrap().to_vec1().unwrap())
    }

    fn check(logits: &[f32], label: u32, target: u32) {
        let (loss, gradient) = evaluate(logits, &[label], &[target]);
        let doubles: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        let (expected_loss, expected_gradient) = expected(&doubles, label as usize, target as usize);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs().max(1.0);
        assert!(near(loss[0], expected_loss), "{logits:?}: {loss:?} {expected_loss}");
        for (&ours, &theirs) in gradient.iter().zip(&expected_gradient) {
            assert!(near(f64::from(ours), theirs), "{logits:?}: {gradient:?} {expected_gradient:?}");
        }
    }

    #[test]
    fn loss_and_gradient_are_those_of_the_definition() {
        let mut rng = Seed(3).stream(Purpose::Toy, [12, 0]);
        for classes in [2, 3, 4, 5, 10] {
            for _ in 0..20 {
                let logits: Vec<f32> = (0..classes).map(|_| rng.random_range(-4.0..4.0)).collect();
                let label = rng.random_range(0..classes as u32);
                check(&logits, label, (label + rng.random_range(1..classes as u32)) % classes as u32);
            }
        }
    }

    /// Of equal logits the first counts as the larger one.
    #[test]
    fn ties_go_by_index() {
        check(&[1.0, 2.0, 2.0, 2.0, 0.0], 1, 2);
        check(&[2.0, 1.0, 0.0, 0.0, 0.0], 0, 4);
        check(&[0.0, 0.0, 3.0, 0.0, 0.0], 2, 0);
        check(&[1.0, 1.0, 1.0, 1.0, 5.0], 4, 3);
        check(&[1e6, 1e6 - 1.0, 1e6 - 2.0, 1e6 - 2.0, 1e6 - 2.0], 1, 3);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let logits = [0.3, -1.2, 2.0, 0.9, -0.4, 1.1];
        let (_, gradient) = expected(&logits, 2, 3);
        for (place, gradient) in gradient.iter().enumerate() {
            let at = |step: f64| {
                let mut logits = logits;
                logits[place] += step;
                expected(&logits, 2, 3).0
            };
            let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((difference - gradient).abs() < 1e-8, "{place}: {difference} {gradient}");
        }
    }

    #[test]
    fn equal_logits_divide_by_no_zero() {
        let (loss, gradient) = evaluate(&[2.0; 5], &[1], &[3]);
        assert!(loss[0] == 0.0 && gradient.iter().all(|gradient| gradient.is_finite()), "{loss:?} {gradient:?}");
        assert!(gradient[1] > 0.0 && gradient[3] < 0.0);
        let (loss, gradient) = evaluate(&[2.0, 2.0, 2.0, 2.0, -1.0], &[4], &[0]);
        assert!(loss[0].is_finite() && gradient.iter().all(|gradient| gradient.is_finite()), "{loss:?} {gradient:?}");
    }

    /// `tests/fixtures/README.md`.
    #[test]
    fn loss_and_gradient_are_those_of_torchattacks() {
        let path = format!("{}/tests/fixtures/dlr.safetensors", env!("CARGO_MANIFEST_DIR"));
        let given = safetensors::load(path, &Device::Cpu).unwrap();
        let classes = |name: &str| given[name].to_vec1::<u32>().unwrap();
        let objective = TargetedDlr { labels: classes("labels"), targets: classes("targets") };
        let found = objective.evaluate(&given["logits"]).unwrap();
        for (ours, theirs) in [(found.loss, &given["loss"]), (found.gradient, &given["gradient"])] {
            // Theirs is raised.
            let off = (ours + theirs).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(off < 1e-5, "{off}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let logits = Tensor::zeros((2, 5), DType::F32, &Device::Cpu).unwrap();
        let of = |labels: &[u32], targets: &[u32]| {
            TargetedDlr { labels: labels.to_vec(), targets: targets.to_vec() }.evaluate(&logits)
        };
        assert!(matches!(of(&[0], &[1]), Err(Error::Shape { .. })));
        assert!(matches!(of(&[0, 1], &[1]), Err(Error::Shape { .. })));
        assert!(matches!(of(&[0, 1], &[1, 5]), Err(Error::Index { .. })));
    }
}
