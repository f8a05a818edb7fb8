//! Untargeted misclassification of images.

use crate::Objective;
use crate::logits::margin;
use candle_core::Tensor;
use rankle_core::{Evaluation, Place, Result};

/// Untargeted misclassification: raises the cross-entropy of every image of a batch with its own label. The rank is the margin,
/// the logit of the label less the largest other one.
#[derive(Clone, Debug)]
pub struct Misclassification {
    /// One label per image of the batch.
    pub labels: Vec<u32>,
    /// Compute backend of the logits.
    pub place: Place,
}

impl Objective for Misclassification {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        let Evaluation { loss, gradient, .. } = self.place.cross_entropy(raw, &self.labels)?;
        Ok(Evaluation::new(loss.neg()?, gradient.neg()?))
    }

    fn rank(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(margin(raw, &self.labels)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use rankle_core::Error;

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let objective = Misclassification { labels: vec![1, 0], place: Place::Kernels };
        let at = |values: &[f32; 6]| objective.evaluate(&Tensor::from_slice(values, (2, 3), &Device::Cpu).unwrap()).unwrap();
        let values = [0.5, -1.0, 2.0, 0.1, 0.2, -0.7];
        let gradient = at(&values).gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (place, &gradient) in gradient.iter().enumerate() {
            let sum = |step: f32| {
                let mut values = values;
                values[place] += step;
                at(&values).losses().unwrap().iter().sum::<f64>()
            };
            let difference = (sum(1e-3) - sum(-1e-3)) / 2e-3;
            assert!((difference - f64::from(gradient)).abs() < 1e-4, "{place}: {difference} {gradient}");
        }
    }

    /// An image that is uncertain between three classes has the larger cross-entropy, one just out of its class the better rank.
    #[test]
    fn the_rank_is_whether_the_class_is_left() {
        let objective = Misclassification { labels: vec![0, 0], place: Place::Kernels };
        let logits = Tensor::new(&[[2f32, 1.9, 1.9], [2.0, 2.1, -5.0]], &Device::Cpu).unwrap();
        let losses = objective.evaluate(&logits).unwrap().losses().unwrap();
        let ranks = objective.rank(&logits).unwrap().unwrap().to_vec1::<f32>().unwrap();
        assert!(losses[0] < losses[1] && ranks[1] < 0.0 && ranks[0] > 0.0, "{losses:?} {ranks:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let of = |labels: Vec<u32>| Misclassification { labels, place: Place::Kernels };
        let logits = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(of(vec![0]).evaluate(&logits(&[2, 3])), Err(Error::Shape { .. })));
        assert!(matches!(of(vec![0]).evaluate(&logits(&[3])), Err(Error::Shape { .. })));
        assert!(matches!(of(vec![3]).evaluate(&logits(&[1, 3])), Err(Error::Index { .. })));
    }
}
