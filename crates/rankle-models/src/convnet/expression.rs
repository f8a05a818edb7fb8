//! The networks of [`Layers`] as expressions in operations on tensors.

use super::Layers;
use crate::expression::{Expression, Parameter, Pass};
use candle_core::{Result, Tensor};
use rankle_core::InputSpec;
use rankle_ops::{Conv2d, Padding, Pool, max_pool2d, relu};

impl Expression for Layers {
    fn input(&self) -> InputSpec {
        InputSpec::of_shape(Layers::input(self))
    }

    fn embedding_size(&self) -> usize {
        Layers::embedding_size(self)
    }

    fn parameters(&self) -> Vec<Parameter> {
        Layers::parameters(self).into_iter().map(|parameter| Parameter::trained(parameter.name, parameter.shape)).collect()
    }

    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> Result<Tensor> {
        let mut x = images.clone();
        for convolution in &self.convolutions {
            let options = Conv2d { padding: Padding::even(convolution.shape.padding), ..Conv2d::default() };
            x = pass.conv2d(convolution.name, &x, &options)?;
            x = if convolution.shape.relu { relu(&x)? } else { x };
            x = max_pool2d(&x, &Pool::new(2, 2, 0))?;
        }
        x = x.flatten_from(1)?;
        for (layer, dense) in self.dense.iter().enumerate() {
            x = pass.linear(dense.name, &x)?;
            x = if dense.relu { relu(&x)? } else { x };
            x = pass.dropout(layer, &x, dense.dropout)?;
        }
        Ok(x)
    }
}
