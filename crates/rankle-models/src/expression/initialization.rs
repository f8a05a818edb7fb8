//! Random weights of a new network.

use super::{Expression, Parameter, RUNNING_VARIANCE};
use crate::weights::Tensors;
use candle_core::{Device, Tensor};
use rand::Rng;
use rand_distr::StandardNormal;
use rankle_core::seed::Purpose;
use rankle_core::{Result, Seed};

/// Draws weights of two or more dimensions from a normal distribution ([`Expression::deviation`]), keyed by the seed and the
/// position of the parameter. Biases and running means start as 0; factors of normalizations and layer scales, and running
/// variances, as 1.
pub(super) fn initial_weights(expression: &dyn Expression, seed: Seed) -> Result<Tensors> {
    let draw = |(position, Parameter { name, shape, .. }): (usize, Parameter)| {
        let count = shape.iter().product();
        let values = if shape.len() > 1 {
            let (mut rng, deviation) = (seed.stream(Purpose::Weights, [position as u64, 0]), expression.deviation(&shape));
            (0..count).map(|_| (deviation * rng.sample::<f64, _>(StandardNormal)) as f32).collect()
        } else {
            let is_factor = ["weight", RUNNING_VARIANCE, "lambda1"].iter().any(|end| name.ends_with(end));
            vec![if is_factor { 1.0 } else { 0.0 }; count]
        };
        Ok((name, Tensor::from_vec(values, shape, &Device::Cpu)?))
    };
    expression.parameters().into_iter().enumerate().map(draw).collect()
}
