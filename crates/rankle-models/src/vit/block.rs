//! A block of a vision transformer: self-attention, then two dense layers on every token.

use super::names::Projection;
use super::{Activation, Vit};
use crate::expression::{Parameter, Pass};
use candle_core::{D, Result, Tensor};
use rankle_ops::{add, attach, gelu, gelu_tanh, self_attention, silu};

impl Activation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        /// Factor in `x * sigmoid(1.702 * x)`.
        const QUICK: f64 = 1.702;
        match self {
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_tanh(x),
            Self::QuickGelu => silu(&(x * QUICK)?)? / QUICK,
        }
    }
}

impl Vit {
    pub(super) fn block_parameters(&self, name: &str) -> Vec<Parameter> {
        let (names, width) = (self.kind.names(), self.width);
        let inside = |part: &str| format!("{name}.{part}");
        let scale = |part: Option<&str>| part.map(|part| Parameter::trained(inside(part), [width]));
        let mut parameters = Vec::new();
        parameters.extend(Parameter::layer(&inside(names.norms[0]), [width]));
        match names.projection {
            Projection::Fused(layer) => parameters.extend(Parameter::layer(&inside(layer), [3 * width, width])),
            Projection::Separate(layers) => {
                parameters.extend(layers.iter().flat_map(|layer| Parameter::layer(&inside(layer), [width, width])));
            }
        }
        parameters.extend(Parameter::layer(&inside(names.output), [width, width]));
        parameters.extend(scale(names.scales[0]));
        parameters.extend(Parameter::layer(&inside(names.norms[1]), [width]));
        parameters.extend(self.dense_parameters(name));
        parameters.extend(scale(names.scales[1]));
        parameters
    }

    /// `(n, tokens, width)` to `(n, tokens, width)`.
    pub(super) fn block(&self, pass: &Pass<'_>, name: &str, x: &Tensor) -> Result<Tensor> {
        let names = self.kind.names();
        let norm = |part: &str, x: &Tensor| pass.layer_norm(&format!("{name}.{part}"), x, self.kind.epsilon());
        let scaled = |part: Option<&str>, y: Tensor| match part {
            Some(part) => y.broadcast_mul(pass.weight(&format!("{name}.{part}"))?),
            None => Ok(y),
        };
        let y = self.attention(pass, name, &norm(names.norms[0], x)?)?;
        let x = add(x, &scaled(names.scales[0], y)?)?;
        let y = self.dense(pass, name, &norm(names.norms[1], &x)?)?;
        add(&x, &scaled(names.scales[1], y)?)
    }

    fn attention(&self, pass: &Pass<'_>, name: &str, x: &Tensor) -> Result<Tensor> {
        let names = self.kind.names();
        let linear = |layer: &str, x: &Tensor| pass.linear(&format!("{name}.{layer}"), x);
        let projection = match names.projection {
            Projection::Fused(layer) => linear(layer, x)?,
            Projection::Separate([query, key, value]) => joined([&linear(query, x)?, &linear(key, x)?, &linear(value, x)?])?,
        };
        linear(names.output, &self_attention(&projection, self.heads)?)
    }

    pub(super) fn dense_parameters(&self, name: &str) -> impl Iterator<Item = Parameter> + use<> {
        let (width, inside) = (self.width, self.dense_width);
        let layers = [("fc1", [inside, width]), ("fc2", [width, inside])];
        let name = name.to_owned();
        layers.into_iter().flat_map(move |(layer, shape)| Parameter::layer(&format!("{name}.mlp.{layer}"), shape))
    }

    /// Two dense layers with an activation between them.
    pub(super) fn dense(&self, pass: &Pass<'_>, name: &str, x: &Tensor) -> Result<Tensor> {
        let x = self.activation.apply(&pass.linear(&format!("{name}.mlp.fc1"), x)?)?;
        pass.linear(&format!("{name}.mlp.fc2"), &x)
    }
}

/// Joins queries, keys and values in the last dimension. Not by candle's operation alone, whose gradient adds zeros to each part.
fn joined(parts: [&Tensor; 3]) -> Result<Tensor> {
    let width = parts[0].dim(D::Minus1)?;
    let whole = Tensor::cat(&parts.map(Tensor::detach), D::Minus1)?;
    attach(parts, whole, move |gradient, _| {
        let [query, key, value] = [0, 1, 2].map(|part| gradient.narrow(D::Minus1, part * width, width));
        Ok([Some(query?), Some(key?), Some(value?)])
    })
}
