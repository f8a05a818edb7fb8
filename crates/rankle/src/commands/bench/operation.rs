//! Rows of single operations on tensors: each call computes the results and the gradient of the input, with frozen weights.

use super::formula::unit;
use super::lab::{Answer, Call};
use anyhow::{Context, Result};
use candle_core::{Device, Tensor, Var};
use rankle_ops::{Conv2d, Padding, Recorded, conv2d, layer_norm, linear, self_attention};

/// An operation of `rankle-ops`, with the shape that `xtask/bench/operations.py` gives it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// 64 to 64 channels, 56x56 pixels.
    Conv3x3,
    /// 256 to 64 channels, 56x56 pixels.
    Conv1x1,
    /// 144 channels, 56x56 pixels.
    Depthwise3x3,
    /// 240 channels, 28x28 pixels.
    Depthwise5x5,
    /// Self-attention with six heads on 197 tokens of 384 features, its projections included.
    Attention,
    /// 197 tokens of 384 features.
    LayerNorm,
}

const TOKENS: usize = 197;
const FEATURES: usize = 384;
const HEADS: usize = 6;

impl Operation {
    pub(super) const ALL: [Self; 6] =
        [Self::Conv3x3, Self::Conv1x1, Self::Depthwise3x3, Self::Depthwise5x5, Self::Attention, Self::LayerNorm];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Conv3x3 => "op-conv3x3",
            Self::Conv1x1 => "op-conv1x1",
            Self::Depthwise3x3 => "op-depthwise3x3",
            Self::Depthwise5x5 => "op-depthwise5x5",
            Self::Attention => "op-attention",
            Self::LayerNorm => "op-layer-norm",
        }
    }

    /// Prepares the operation on `n` images. The upstream gradient is 1 everywhere.
    pub(super) fn prepare(self, n: usize) -> Result<Call> {
        match self {
            Self::Conv3x3 => convolution([n, 64, 56, 56], [64, 64, 3, 3], 1),
            Self::Conv1x1 => convolution([n, 256, 56, 56], [64, 256, 1, 1], 1),
            Self::Depthwise3x3 => convolution([n, 144, 56, 56], [144, 1, 3, 3], 144),
            Self::Depthwise5x5 => convolution([n, 240, 28, 28], [240, 1, 5, 5], 240),
            Self::Attention => {
                let (expand, expand_bias) = (numbers(1, &[3 * FEATURES, FEATURES])?, numbers(2, &[3 * FEATURES])?);
                let (project, project_bias) = (numbers(3, &[FEATURES, FEATURES])?, numbers(4, &[FEATURES])?);
                call(&[n, TOKENS, FEATURES], move |x| {
                    let heads = self_attention(&linear(x, &expand, Some(&expand_bias))?, HEADS)?;
                    linear(&heads, &project, Some(&project_bias))
                })
            }
            Self::LayerNorm => {
                let (weight, bias) = (numbers(1, &[FEATURES])?, numbers(2, &[FEATURES])?);
                call(&[n, TOKENS, FEATURES], move |x| layer_norm(x, Some(&weight), Some(&bias), 1e-6))
            }
        }
    }
}

/// Stream 0 is the input, the others are weights, which are small: no softmax is saturated.
fn numbers(stream: u32, shape: &[usize]) -> Result<Tensor> {
    let scale = if stream == 0 { 1.0 } else { 0.0625 };
    let numbers: Vec<f32> = unit(55_000 + stream, shape.iter().product()).map(|x| x * scale).collect();
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}

/// A convolution with as much padding as keeps the size of the maps.
fn convolution(images: [usize; 4], weight: [usize; 4], groups: usize) -> Result<Call> {
    let options = Conv2d { padding: Padding::even(weight[2] / 2), groups, ..Conv2d::default() };
    let weight = numbers(1, &weight)?;
    call(&images, move |x| conv2d(x, &weight, None, &options))
}

fn call(shape: &[usize], operation: impl Fn(&Tensor) -> candle_core::Result<Tensor> + 'static) -> Result<Call> {
    let x = Var::from_tensor(&numbers(0, shape)?)?;
    let upstream = operation(&x.as_detached_tensor())?.ones_like()?;
    Ok(Box::new(move || {
        let gradient = Recorded::new(|| operation(&x))?.gradients(&upstream, &[&x])?.remove(0);
        Ok(Answer::Tensor(gradient.context("the input has no gradient")?))
    }))
}
