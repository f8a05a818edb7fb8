//! Weights: initialization, conversion from and to tensors, optimizer step.

use super::network::{Network, Unit};
use crate::weights::{Tensors, take};
use candle_core::{Device, Tensor};
use rand::Rng;
use rand_distr::StandardNormal;
use rankle_core::seed::Purpose;
use rankle_core::{AdamStep, Error, Result, Seed};
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use rayon::prelude::*;

/// Momentum of the running statistics (PyTorch's default).
const MOMENTUM: f32 = 0.1;

/// Distribution of the filters of a new network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Initialization {
    /// Uniform in `±1/√fan_in`: PyTorch's default, used for the paper's network for 28×28 gray images (METHOD.md 3).
    UniformByFanIn,
    /// Normal with a variance of `2/fan_out`: Kaiming initialization for ReLU, as in torchvision's ResNets.
    NormalByFanOut,
}

impl Initialization {
    /// Draws the weight of a convolution, in PyTorch's layout `(outputs, inputs, height, width)`.
    fn draw(self, [outputs, inputs, height, width]: [usize; 4], rng: &mut impl Rng) -> Vec<f32> {
        let count = outputs * inputs * height * width;
        match self {
            Self::UniformByFanIn => {
                let bound = 1.0 / ((inputs * height * width) as f32).sqrt();
                (0..count).map(|_| rng.random_range(-bound..bound)).collect()
            }
            Self::NormalByFanOut => {
                let deviation = (2.0 / (outputs * height * width) as f64).sqrt();
                (0..count).map(|_| (deviation * rng.sample::<f64, _>(StandardNormal)) as f32).collect()
            }
        }
    }
}

/// Trained parameters of a [`Unit`], their gradient, or one of Adam's moments.
#[derive(Clone, Debug)]
pub(super) struct Trained {
    pub filters: Panels,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

/// Trained parameters and running statistics of a [`Unit`].
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub trained: Trained,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// Batch statistics of the input of a batch normalization, per channel.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    pub mean: Vec<f32>,
    /// `1 / √(variance + ε)`, with the biased variance.
    pub inverse: Vec<f32>,
    /// Unbiased variance, which the running variance follows.
    pub unbiased: Vec<f32>,
}

impl Trained {
    /// Name, shape and values in PyTorch's layout of each tensor.
    fn named(&self, unit: &Unit, prefix: &str) -> [(String, Vec<usize>, Vec<f32>); 3] {
        let (conv, norm) = (&unit.conv_name, &unit.norm_name);
        [
            (format!("{prefix}{conv}.weight"), unit.weight.to_vec(), unit.unpack(&self.filters)),
            (format!("{prefix}{norm}.weight"), vec![unit.outputs()], self.scale.clone()),
            (format!("{prefix}{norm}.bias"), vec![unit.outputs()], self.shift.clone()),
        ]
    }

    fn take(unit: &Unit, isa: Isa, tensors: &mut Tensors, prefix: &str) -> Result<Self> {
        let (conv, norm) = (&unit.conv_name, &unit.norm_name);
        Ok(Self {
            filters: unit.pack(isa, &take(tensors, &format!("{prefix}{conv}.weight"), &unit.weight)?),
            scale: take(tensors, &format!("{prefix}{norm}.weight"), &[unit.outputs()])?,
            shift: take(tensors, &format!("{prefix}{norm}.bias"), &[unit.outputs()])?,
        })
    }

    /// Takes the parameters of each unit out of tensors.
    pub(super) fn take_all(units: &[Unit], isa: Isa, tensors: &mut Tensors, prefix: &str) -> Result<Vec<Self>> {
        units.iter().map(|unit| Self::take(unit, isa, tensors, prefix)).collect()
    }

    pub(super) fn zeros_like(&self) -> Self {
        let zeros = |values: &[f32]| vec![0.0; values.len()];
        Self { filters: self.filters.zeros_like(), scale: zeros(&self.scale), shift: zeros(&self.shift) }
    }

    pub(super) fn update(&mut self, isa: Isa, adam: &AdamStep, first: &mut Self, second: &mut Self, gradient: &Self) {
        /// Number of values that one thread updates at a time.
        const PIECE: usize = 1 << 14;
        self.filters
            .as_mut_slice()
            .par_chunks_mut(PIECE)
            .zip(first.filters.as_mut_slice().par_chunks_mut(PIECE))
            .zip(second.filters.as_mut_slice().par_chunks_mut(PIECE))
            .zip(gradient.filters.as_slice().par_chunks(PIECE))
            .for_each(|(((weights, first), second), gradient)| adam.update(isa, weights, first, second, gradient));
        adam.update(isa, &mut self.scale, &mut first.scale, &mut second.scale, &gradient.scale);
        adam.update(isa, &mut self.shift, &mut first.shift, &mut second.shift, &gradient.shift);
    }
}

impl Layer {
    /// Draws random filters. Batch normalizations start as the identity.
    pub(super) fn initialize(network: &Network, isa: Isa, how: Initialization, seed: Seed) -> Vec<Self> {
        let layer = |(position, unit): (usize, &Unit)| {
            let mut rng = seed.stream(Purpose::Weights, [position as u64, 0]);
            let weight = how.draw(unit.weight, &mut rng);
            let each = |value: f32| vec![value; unit.outputs()];
            let trained = Trained { filters: unit.pack(isa, &weight), scale: each(1.0), shift: each(0.0) };
            Self { trained, mean: each(0.0), variance: each(1.0) }
        };
        network.units.iter().enumerate().map(layer).collect()
    }

    /// Takes the parameters and running statistics of each unit out of tensors.
    pub(super) fn take_all(network: &Network, isa: Isa, tensors: &mut Tensors) -> Result<Vec<Self>> {
        let layer = |unit: &Unit| {
            let norm = &unit.norm_name;
            let trained = Trained::take(unit, isa, tensors, "")?;
            let mean = take(tensors, &format!("{norm}.running_mean"), &[unit.outputs()])?;
            let variance = take(tensors, &format!("{norm}.running_var"), &[unit.outputs()])?;
            match variance.iter().find(|&&variance| variance < 0.0) {
                Some(variance) => {
                    Err(Error::Refused(format!("tensor '{norm}.running_var' holds {variance}; a variance is not below zero")))
                }
                None => Ok(Self { trained, mean, variance }),
            }
        };
        network.units.iter().map(layer).collect()
    }

    /// Moves the running statistics toward those of a batch.
    pub(super) fn follow(&mut self, batch: &Statistics) {
        let toward = |running: &mut [f32], batch: &[f32]| {
            running.iter_mut().zip(batch).for_each(|(running, batch)| *running += MOMENTUM * (batch - *running));
        };
        toward(&mut self.mean, &batch.mean);
        toward(&mut self.variance, &batch.unbiased);
    }
}

fn tensors(parts: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>) -> Result<Tensors> {
    parts.into_iter().map(|(name, shape, values)| Ok((name, Tensor::from_vec(values, shape, &Device::Cpu)?))).collect()
}

/// Trained parameters, or their gradient or moment, under PyTorch's names with a prefix.
pub(super) fn trained_tensors(units: &[Unit], trained: &[Trained], prefix: &str) -> Result<Tensors> {
    tensors(units.iter().zip(trained).flat_map(|(unit, trained)| trained.named(unit, prefix)))
}

/// All parameters and running statistics, under PyTorch's names.
pub(super) fn layer_tensors(network: &Network, layers: &[Layer]) -> Result<Tensors> {
    tensors(network.units.iter().zip(layers).flat_map(|(unit, layer)| {
        let running = |name: &str, values: &[f32]| (format!("{}.{name}", unit.norm_name), vec![values.len()], values.to_vec());
        let statistics = [running("running_mean", &layer.mean), running("running_var", &layer.variance)];
        layer.trained.named(unit, "").into_iter().chain(statistics)
    }))
}
