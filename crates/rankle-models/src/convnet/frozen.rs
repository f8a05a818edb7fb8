//! Backward pass of a frozen model: input gradients without weight gradients.

use super::Convnet;
use super::forward::Batch;
use super::layers::Layers;
use super::workspace::{CHUNK, Workspace, with_workspace};
use crate::batch::shares;
use crate::dropout;
use rankle_kernels::conv::PooledUpstream;
use rayon::prelude::*;

impl Convnet {
    /// Gradient of the loss with respect to the pixels, from the gradient with respect to the embeddings.
    pub(super) fn backward(&self, batch: &Batch, upstream: &[f32]) -> Vec<f32> {
        let (layers, pixels, dim) = (&self.layers, self.layers.pixels(), self.layers.embedding_size());
        let (shape, second_shape) = (layers.first(), layers.second());
        let transposed = self.transposed.get_or_init(|| self.weights.dense.iter().map(|d| d.weights.transposed()).collect());
        let n = upstream.len() / dim;
        let mut gradient = vec![0.0; n * pixels];
        let chunk = shares(n, CHUNK);
        gradient.par_chunks_mut(chunk * pixels).zip(upstream.par_chunks(chunk * dim)).zip(batch.chunks(layers, chunk)).for_each(
            |((gradient, upstream), kept)| {
                with_workspace(layers, upstream.len() / dim, |Workspace { padded, pooled, features, scratch }| {
                    let back = |layer: usize, upstream: &[f32], inputs: &mut [f32]| transposed[layer].multiply(upstream, inputs);
                    back(0, &dense_gradients(layers, upstream, &kept.answers, false, back)[0], features);
                    let [first, second] = kept.winners;
                    let winners = first.chunks_exact(shape.pooled_len()).zip(second.chunks_exact(second_shape.pooled_len()));
                    let features = features.chunks_exact(layers.features());
                    for ((pixels, features), (first, second)) in gradient.chunks_exact_mut(pixels).zip(features).zip(winners) {
                        let upstream = PooledUpstream { values: features, rows: layers.pooled_second(), winners: second };
                        self.blocks[1].input_gradient(upstream, scratch, pooled);
                        let upstream = PooledUpstream { values: pooled, rows: layers.pooled_first(), winners: first };
                        self.blocks[0].input_gradient(upstream, scratch, padded);
                        for (y, row) in pixels.chunks_exact_mut(shape.width).enumerate() {
                            let inside = shape.padded_origin() + y * shape.padded_row();
                            row.copy_from_slice(&padded[inside..][..shape.width]);
                        }
                    }
                });
            },
        );
        gradient
    }
}

/// Gradients of the sums of each dense layer, before its ReLU, first layer first. `back` multiplies a layer's gradient with its
/// weights. ReLU has gradient zero at exactly zero, as in PyTorch. With `dropped`, outputs that dropout zeroed have gradient zero
/// as well, and the gradient of the others has the scale of dropout.
pub(super) fn dense_gradients<A: AsRef<[f32]>>(
    layers: &Layers,
    upstream: &[f32],
    answers: &[A],
    dropped: bool,
    back: impl Fn(usize, &[f32], &mut [f32]),
) -> Vec<Vec<f32>> {
    let n = upstream.len() / layers.embedding_size();
    let mut gradients = vec![Vec::new(); layers.dense.len()];
    let mut upstream = upstream.to_vec();
    for (layer, dense) in layers.dense.iter().enumerate().rev() {
        if dense.relu {
            let scale = if dropped { dropout::scale(dense.dropout) } else { 1.0 };
            for (upstream, &answer) in upstream.iter_mut().zip(answers[layer].as_ref()) {
                *upstream = if answer > 0.0 { scale * *upstream } else { 0.0 };
            }
        }
        if layer > 0 {
            let mut below = vec![0.0; n * layers.inputs(layer)];
            back(layer, &upstream, &mut below);
            gradients[layer] = std::mem::replace(&mut upstream, below);
        }
    }
    gradients[0] = upstream;
    gradients
}
