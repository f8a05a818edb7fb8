//! Attention pooling, SigLIP's head: one learned query attends to all tokens.

use super::Vit;
use crate::expression::{Parameter, Pass};
use candle_core::{Result, Tensor};
use rankle_ops::{add, linear, matmul, softmax};

const HEAD: &str = "vision_model.head";

impl Vit {
    pub(super) fn pooling_parameters(&self) -> Vec<Parameter> {
        let width = self.width;
        let attention = |part: &str, shape: &[usize]| Parameter::trained(format!("{HEAD}.attention.{part}"), shape);
        let mut parameters = vec![Parameter::trained(format!("{HEAD}.probe"), [1, 1, width])];
        parameters.push(attention("in_proj_weight", &[3 * width, width]));
        parameters.push(attention("in_proj_bias", &[3 * width]));
        parameters.extend(Parameter::layer(&format!("{HEAD}.attention.out_proj"), [width, width]));
        parameters.extend(Parameter::layer(&format!("{HEAD}.layernorm"), [width]));
        parameters.extend(self.dense_parameters(HEAD));
        parameters
    }

    /// `(n, tokens, width)` to `(n, width)`.
    pub(super) fn attention_pooling(&self, pass: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
        let (n, tokens, width) = x.dims3()?;
        let (heads, features) = (self.heads, width / self.heads);
        let weight = pass.weight(&format!("{HEAD}.attention.in_proj_weight"))?;
        let bias = pass.weight(&format!("{HEAD}.attention.in_proj_bias"))?;
        let projection = |part: usize, x: &Tensor| {
            linear(x, &weight.narrow(0, part * width, width)?, Some(&bias.narrow(0, part * width, width)?))
        };
        let query = projection(0, &pass.weight(&format!("{HEAD}.probe"))?.reshape((1, width))?)?;
        let query = query.reshape((1, heads, 1, features))?.broadcast_as((n, heads, 1, features))?.contiguous()?;
        let by_heads = |x: Tensor| x.reshape((n, tokens, heads, features))?.transpose(1, 2);
        let (key, value) = (by_heads(projection(1, x)?)?, by_heads(projection(2, x)?)?);
        let shares = softmax(&(matmul(&query, &key.transpose(2, 3)?)? / (features as f64).sqrt())?)?;
        let y = pass.linear(&format!("{HEAD}.attention.out_proj"), &matmul(&shares, &value)?.reshape((n, width))?)?;
        let dense = self.dense(pass, HEAD, &pass.layer_norm(&format!("{HEAD}.layernorm"), &y, self.kind.epsilon())?)?;
        add(&y, &dense)
    }
}
