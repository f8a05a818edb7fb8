//! Backward pass of a model in training, and the optimizer step.

use super::Convnet;
use super::forward::Tape;
use super::frozen::dense_gradients;
use super::packed::Packed;
use super::workspace::{GROUP, Workspace, with_workspace};
use crate::batch::even;
use rankle_core::AdamStep;
use rankle_kernels::conv::PooledUpstream;
use rayon::prelude::*;
use std::sync::OnceLock;

/// Gradients of a loss with respect to the sums of the dense layers, before ReLU, and to the parameters of the convolutions. The
/// gradients of the dense weights are computed later, strip by strip where they are used.
pub(super) struct LayerGradients {
    dense: Vec<Vec<f32>>,
    convolutions: [Vec<f32>; 4],
}

impl Convnet {
    /// Computes the layer gradients from the gradient with respect to the embeddings.
    pub(super) fn layer_gradients(&self, tape: &Tape, upstream: &[f32]) -> LayerGradients {
        let (layers, n) = (&self.layers, upstream.len() / self.layers.embedding_size());
        let group = even(n, GROUP);
        let back = |layer: usize, upstream: &[f32], inputs: &mut [f32]| {
            let weights = &self.weights.dense[layer].weights;
            let pieces = upstream.par_chunks(group * weights.outputs()).zip(inputs.par_chunks_mut(group * weights.inputs()));
            pieces.for_each(|(upstream, inputs)| weights.multiply_transposed(upstream, inputs));
        };
        let dense = dense_gradients(layers, upstream, &tape.kept.answers, tape.dropped, back);
        let convolutions = self.convolution_gradients(tape, &dense[0]);
        LayerGradients { dense, convolutions }
    }

    /// Gradients of both convolutions, in PyTorch's layout. Images are summed in fixed groups and the groups in order, so that
    /// the sum does not depend on the number of threads. `upstream` is the gradient of the first dense layer's sums.
    fn convolution_gradients(&self, tape: &Tape, upstream: &[f32]) -> [Vec<f32>; 4] {
        let (layers, dense) = (&self.layers, &self.weights.dense[0].weights);
        let (shape1, shape2) = (layers.first(), layers.second());
        let lens = [shape1.gradient_len(), shape1.outputs, shape2.gradient_len(), shape2.outputs];
        let group_size = even(upstream.len() / dense.outputs(), GROUP);
        let groups: Vec<[Vec<f32>; 4]> = upstream
            .par_chunks(group_size * dense.outputs())
            .enumerate()
            .map(|(group, upstream)| {
                let mut sums = lens.map(|len| vec![0.0; len]);
                let images = upstream.len() / dense.outputs();
                with_workspace(layers, images, |Workspace { pooled, features, scratch, .. }| {
                    dense.multiply_transposed(upstream, features);
                    let [weight1, bias1, weight2, bias2] = &mut sums;
                    for (image, features) in (group * group_size..).zip(features.chunks_exact(layers.features())) {
                        let [winners1, winners2] = &tape.kept.winners;
                        let winners1 = &winners1[image * shape1.pooled_len()..][..shape1.pooled_len()];
                        let winners2 = &winners2[image * shape2.pooled_len()..][..shape2.pooled_len()];
                        let inner = &tape.inputs.pooled[image * shape2.padded_len()..][..shape2.padded_len()];
                        let upstream = PooledUpstream { values: features, rows: layers.pooled_second(), winners: winners2 };
                        self.blocks[1].weight_gradient(inner, upstream, scratch, weight2, bias2);
                        self.blocks[1].input_gradient(upstream, scratch, pooled);
                        let image = &tape.inputs.padded[image * shape1.padded_len()..][..shape1.padded_len()];
                        let upstream = PooledUpstream { values: pooled, rows: layers.pooled_first(), winners: winners1 };
                        self.blocks[0].weight_gradient(image, upstream, scratch, weight1, bias1);
                    }
                });
                sums
            })
            .collect();
        let mut total = lens.map(|len| vec![0.0; len]);
        for group in groups {
            for (total, sums) in total.iter_mut().zip(group) {
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
        }
        let [weight1, bias1, weight2, bias2] = total;
        [self.blocks[0].unpack_gradient(&weight1), bias1, self.blocks[1].unpack_gradient(&weight2), bias2]
    }

    pub(super) fn gradients(&self, tape: &Tape, gradients: LayerGradients) -> Packed {
        let layers = self.weights.dense.iter().zip(&gradients.dense).enumerate();
        let dense = layers.map(|(layer, (dense, upstream))| dense.gradient(tape.dense_inputs(layer), upstream));
        Packed { dense: dense.collect(), convolutions: gradients.convolutions }
    }

    /// Takes one Adam step with all parameters.
    pub(super) fn update(&mut self, tape: &Tape, gradients: &LayerGradients, adam: &AdamStep) {
        let (isa, weights) = (self.isa, &mut self.weights);
        let start = || [weights.zeros_like(), weights.zeros_like()];
        let [first, second] = &mut **self.moments.get_or_insert_with(|| Box::new(start()));
        let moments = first.dense.iter_mut().zip(&mut second.dense);
        for (layer, (dense, (first, second))) in weights.dense.iter_mut().zip(moments).enumerate() {
            dense.update([first, second], isa, tape.dense_inputs(layer), &gradients.dense[layer], adam);
        }
        let moments = first.convolutions.iter_mut().zip(&mut second.convolutions);
        for ((weights, (first, second)), gradient) in weights.convolutions.iter_mut().zip(moments).zip(&gradients.convolutions) {
            adam.update(isa, weights, first, second, gradient);
        }
        self.blocks = self.weights.blocks(&self.layers, isa);
        self.transposed = OnceLock::new();
    }
}

impl Tape {
    /// Inputs of a dense layer.
    fn dense_inputs(&self, layer: usize) -> &[f32] {
        if layer == 0 { &self.inputs.features } else { &self.kept.answers[layer - 1] }
    }
}
