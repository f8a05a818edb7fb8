//! Forward and backward pass of single layers, over all chunks of a batch in training.

use super::network::Network;
use super::parameters::{Layer, Statistics, Trained};
use crate::conv_norm::EPSILON;
use rankle_core::{Error, Result};
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use rankle_kernels::maps::{Finish, Stack, norm};
use rayon::prelude::*;
use std::borrow::Cow;

/// Feature maps of the whole batch, one vector per chunk.
pub(super) type Map = Vec<Vec<f32>>;

/// Saved output of a convolution, and its batch statistics.
pub(super) struct Passed {
    /// Output of the convolution.
    pub(super) sums: Map,
    pub(super) statistics: Statistics,
}

/// A network and the chunks of a batch. Its methods run one layer over all chunks.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub network: &'a Network,
    pub layers: &'a [Layer],
    pub isa: Isa,
    pub chunks: &'a [usize],
}

impl Pass<'_> {
    /// Runs a convolution, and computes the statistics of its output over the batch.
    pub(super) fn convolve(&self, unit: usize, input: &Map) -> Result<Passed> {
        let (conv, filters) = (&self.network.units[unit].conv, self.filters(unit));
        let chunks = input.par_iter().zip(self.chunks);
        let sums: Map = chunks
            .map(|(input, &images)| {
                let mut sums = vec![0.0; images * conv.shape().output_len()];
                conv.forward(&filters, input, images, Finish::Sums, &mut sums);
                sums
            })
            .collect();
        let statistics = self.statistics(&sums, conv.shape().outputs)?;
        Ok(Passed { sums, statistics })
    }

    /// Filters of a unit, in Winograd's form where that is faster.
    fn filters(&self, unit: usize) -> Cow<'_, Panels> {
        let filters = &self.layers[unit].trained.filters;
        self.network.units[unit].conv.winograd(filters).map_or(Cow::Borrowed(filters), Cow::Owned)
    }

    fn statistics(&self, sums: &Map, channels: usize) -> Result<Statistics> {
        let count = rows(sums, channels);
        if count < 2.0 {
            return Err(Error::Empty("images beside the one of the batch: batch normalization needs two in training"));
        }
        let mean: Vec<f32> = (self.total(channels, |chunk| norm::sum(self.isa, &sums[chunk], channels)).into_iter())
            .map(|sum| (sum / count) as f32)
            .collect();
        let squares = self.total(channels, |chunk| norm::sum_of_squares(self.isa, &sums[chunk], &mean));
        Ok(Statistics {
            inverse: squares.iter().map(|square| (1.0 / (square / count + EPSILON).sqrt()) as f32).collect(),
            unbiased: squares.iter().map(|square| (square / (count - 1.0)) as f32).collect(),
            mean,
        })
    }

    /// Adds the sums of all chunks, in order.
    fn total(&self, channels: usize, sums: impl Fn(usize) -> Vec<f64> + Send + Sync) -> Vec<f64> {
        let parts: Vec<Vec<f64>> = (0..self.chunks.len()).into_par_iter().map(sums).collect();
        let mut total = vec![0.0; channels];
        parts.iter().for_each(|part| total.iter_mut().zip(part).for_each(|(total, sum)| *total += sum));
        total
    }

    /// Normalizes with the statistics of the batch, adds the shortcut if there is one, and applies ReLU if `relu` is set.
    pub(super) fn normalize(&self, unit: usize, passed: &Passed, shortcut: Option<&Map>, relu: bool) -> Map {
        let Trained { scale, shift, .. } = &self.layers[unit].trained;
        let Statistics { mean, inverse, .. } = &passed.statistics;
        let scale: Vec<f32> = scale.iter().zip(inverse).map(|(scale, inverse)| scale * inverse).collect();
        let shift: Vec<f32> = shift.iter().zip(mean).zip(&scale).map(|((shift, mean), scale)| shift - mean * scale).collect();
        let chunk = |(chunk, sums): (usize, &Vec<f32>)| {
            let mut output = vec![0.0; sums.len()];
            let shortcut = shortcut.map(|map| &map[chunk][..]);
            norm::apply(self.isa, sums, &scale, &shift, shortcut, relu, &mut output);
            output
        };
        passed.sums.par_iter().enumerate().map(chunk).collect()
    }

    /// Backward pass of a unit: turns `upstream` from the gradient of the norm's output into the gradient of the convolution's
    /// output, and stores the gradients of the unit's parameters.
    pub(super) fn back<'s>(
        &self,
        unit: usize,
        passed: &Passed,
        upstream: &'s mut Map,
        input: &Map,
        gradients: &mut [Option<Trained>],
    ) -> &'s Map {
        let Statistics { mean, inverse, .. } = &passed.statistics;
        let (conv, channels) = (&self.network.units[unit].conv, mean.len());
        let count = rows(&passed.sums, channels);
        let shift = self.total(channels, |chunk| norm::sum(self.isa, &upstream[chunk], channels));
        let products = self.total(channels, |chunk| norm::sum_of_products(self.isa, &upstream[chunk], &passed.sums[chunk], mean));

        // y = s·(z - m)·i: the gradient of z is s·i·(g - mean(g) - (z - m)·i²·mean(g·(z - m))).
        let (mut a, mut b, mut c) = (vec![0.0; channels], vec![0.0; channels], vec![0.0; channels]);
        for channel in 0..channels {
            let (inverse, mean) = (f64::from(inverse[channel]), f64::from(mean[channel]));
            let scale = f64::from(self.layers[unit].trained.scale[channel]) * inverse;
            let along = -scale * inverse * inverse * products[channel] / count;
            (a[channel], b[channel]) = (scale as f32, along as f32);
            c[channel] = (-scale * shift[channel] / count - along * mean) as f32;
        }
        upstream
            .par_iter_mut()
            .zip(&passed.sums)
            .for_each(|(upstream, sums)| norm::backward(self.isa, upstream, sums, &a, &b, &c));

        let stacks: Vec<Stack<'_>> = (input.iter().zip(&*upstream).zip(self.chunks))
            .map(|((input, upstream), &images)| Stack { input, upstream, images })
            .collect();
        let mut filters = self.layers[unit].trained.filters.zeros_like();
        filters
            .as_mut_slice()
            .par_chunks_mut(conv.weight_gradient_part_len(self.isa))
            .enumerate()
            .for_each(|(part, gradient)| conv.weight_gradient(self.isa, part, &stacks, gradient));
        gradients[unit] = Some(Trained {
            filters: self.network.units[unit].only_weights(filters),
            scale: products.iter().zip(inverse).map(|(product, &inverse)| (product * f64::from(inverse)) as f32).collect(),
            shift: shift.into_iter().map(|sum| sum as f32).collect(),
        });
        upstream
    }

    /// Gradient of a convolution's input, added to `onto` if given.
    pub(super) fn input_gradient(&self, unit: usize, upstream: &Map, onto: Option<Map>) -> Map {
        let conv = &self.network.units[unit].conv;
        let filters = conv.transpose(&self.filters(unit));
        let run = |(upstream, &images): (&Vec<f32>, &usize), finish: Finish<'_>, mut input: Vec<f32>| {
            conv.input_gradient(&filters, upstream, images, finish, &mut input);
            input
        };
        let chunks = upstream.par_iter().zip(self.chunks);
        match onto {
            Some(onto) => chunks.zip(onto).map(|(chunk, onto)| run(chunk, Finish::Add, onto)).collect(),
            None => chunks.map(|chunk| run(chunk, Finish::Sums, vec![0.0; chunk.1 * conv.shape().input_len()])).collect(),
        }
    }
}

/// Number of values per channel.
fn rows(map: &Map, channels: usize) -> f64 {
    (map.iter().map(Vec::len).sum::<usize>() / channels) as f64
}
