//! Dense layer with its weights packed for the kernels: forward pass, gradient, optimizer step.

use crate::weights::{Tensors, take};
use candle_core::{Device, Tensor};
use rand::Rng as _;
use rankle_core::seed::Purpose;
use rankle_core::{AdamStep, Result, Seed};
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use rayon::prelude::*;

/// One value for each parameter of the layer: the weights, their gradient, or one of Adam's moments.
#[derive(Clone, Debug)]
pub(crate) struct PackedDense {
    pub(crate) weights: Panels,
    pub(crate) bias: Vec<f32>,
}

impl PackedDense {
    /// Packs weights in PyTorch's layout, `(outputs, inputs)`.
    fn pack(isa: Isa, inputs: usize, weights: &[f32], bias: Vec<f32>) -> Self {
        let element = |output: usize, input: usize| weights[output * inputs + input];
        Self { weights: Panels::pack(isa, bias.len(), inputs, element), bias }
    }

    /// Initializes uniformly in `±1/√inputs` (PyTorch's default), keyed by the seed and the position of the weights among a
    /// network's parameters. The bias has the next position.
    pub(crate) fn initialize(isa: Isa, outputs: usize, inputs: usize, seed: Seed, position: u64) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        let draw = |position: u64, len: usize| -> Vec<f32> {
            let mut rng = seed.stream(Purpose::Weights, [position, 0]);
            (0..len).map(|_| rng.random_range(-bound..bound)).collect()
        };
        Self::pack(isa, inputs, &draw(position, outputs * inputs), draw(position + 1, outputs))
    }

    /// Takes `NAME.weight` and `NAME.bias` out of `tensors`.
    pub(crate) fn take(isa: Isa, outputs: usize, inputs: usize, tensors: &mut Tensors, name: &str) -> Result<Self> {
        let weights = take(tensors, &format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Self::pack(isa, inputs, &weights, take(tensors, &format!("{name}.bias"), &[outputs])?))
    }

    /// Tensors `NAME.weight` and `NAME.bias`.
    pub(crate) fn to_tensors(&self, name: &str) -> Result<Tensors> {
        let (outputs, inputs) = (self.weights.outputs(), self.weights.inputs());
        let weights: Vec<f32> = (0..outputs * inputs).map(|at| self.weights.get(at / inputs, at % inputs)).collect();
        Ok(Tensors::from([
            (format!("{name}.weight"), Tensor::from_vec(weights, (outputs, inputs), &Device::Cpu)?),
            (format!("{name}.bias"), Tensor::from_slice(&self.bias, outputs, &Device::Cpu)?),
        ]))
    }

    /// Computes `inputs · Wᵀ + bias`. Each row of the outputs depends on its row of the inputs alone.
    pub(crate) fn apply(&self, inputs: &[f32], outputs: &mut [f32]) {
        self.weights.multiply(inputs, outputs);
        for row in outputs.chunks_exact_mut(self.bias.len()) {
            row.iter_mut().zip(&self.bias).for_each(|(sum, &bias)| *sum += bias);
        }
    }

    /// Zeros in the same shapes, the start of Adam's moments.
    pub(crate) fn zeros_like(&self) -> Self {
        Self { weights: self.weights.zeros_like(), bias: vec![0.0; self.bias.len()] }
    }

    /// Gradient of the parameters, from the layer's inputs and the gradient of its outputs.
    pub(crate) fn gradient(&self, inputs: &[f32], upstream: &[f32]) -> Self {
        let mut gradient = self.weights.zeros_like();
        let len = gradient.panel_len();
        gradient.as_mut_slice().par_chunks_mut(len).enumerate().for_each(|(panel, gradient)| {
            self.weights.shape().gradient(panel, inputs, upstream, |range, strip| gradient[range].copy_from_slice(strip));
        });
        Self { weights: gradient, bias: column_sums(upstream, self.weights.outputs()) }
    }

    /// Takes one Adam step with [`PackedDense::gradient`], strip by strip, while the gradient of a strip is in the cache.
    pub(crate) fn update(&mut self, moments: [&mut Self; 2], isa: Isa, inputs: &[f32], upstream: &[f32], adam: &AdamStep) {
        let [first, second] = moments;
        let (len, shape) = (self.weights.panel_len(), self.weights.shape());
        self.weights
            .as_mut_slice()
            .par_chunks_mut(len)
            .zip(first.weights.as_mut_slice().par_chunks_mut(len))
            .zip(second.weights.as_mut_slice().par_chunks_mut(len))
            .enumerate()
            .for_each(|(panel, ((weights, first), second))| {
                shape.gradient(panel, inputs, upstream, |range, gradient| {
                    adam.update(isa, &mut weights[range.clone()], &mut first[range.clone()], &mut second[range], gradient);
                });
            });
        let gradient = column_sums(upstream, self.bias.len());
        adam.update(isa, &mut self.bias, &mut first.bias, &mut second.bias, &gradient);
    }
}

fn column_sums(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in rows.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
    }
    sums
}
