//! A convolution and its batch normalization.

use crate::expression::{Parameter, Pass};
use candle_core::{Result, Tensor};
use rankle_ops::{Conv2d, Padding};

/// ε of batch normalization, added to the variance (PyTorch's default).
pub(crate) const EPSILON: f64 = 1e-5;

/// Bounds of the activations ReLU and ReLU6.
pub(crate) const RELU: [f64; 2] = [0.0, f64::INFINITY];
pub(crate) const RELU6: [f64; 2] = [0.0, 6.0];

/// A square convolution without bias, padded to keep the side at stride 1, and a batch normalization.
pub(crate) struct ConvNorm {
    /// Name of the convolution.
    pub(crate) convolution: String,
    /// Name of the batch normalization.
    pub(crate) norm: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Side of the kernels; odd.
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// 1, or `inputs` for a depthwise convolution.
    pub(crate) groups: usize,
}

impl ConvNorm {
    pub(crate) fn parameters(&self) -> impl Iterator<Item = Parameter> + use<> {
        let shape = [self.outputs, self.inputs / self.groups, self.kernel, self.kernel];
        let weight = Parameter::trained(format!("{}.weight", self.convolution), shape);
        std::iter::once(weight).chain(Parameter::batch_norm(&self.norm, self.outputs))
    }

    /// The results within `bounds`, if there are any: an activation.
    pub(crate) fn forward(&self, pass: &Pass<'_>, x: &Tensor, bounds: Option<[f64; 2]>) -> Result<Tensor> {
        let options = Conv2d {
            stride: [self.stride; 2],
            padding: Padding::even(self.kernel / 2),
            groups: self.groups,
            ..Conv2d::default()
        };
        pass.conv2d_norm([&self.convolution, &self.norm], x, &options, EPSILON, bounds)
    }
}
