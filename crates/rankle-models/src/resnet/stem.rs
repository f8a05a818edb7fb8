//! Stem in training: the first convolution with its batch normalization and pooling.

use super::parameters::Trained;
use super::pass::{Map, Pass, Passed};
use rankle_core::Result;
use rankle_kernels::maps::StackIndex;
use rayon::prelude::*;

/// Saved state of the stem for the backward pass.
pub(super) struct StemTape {
    /// Chunk sizes of the stem, all 1.
    one_by_one: Vec<usize>,
    /// Shuffled images, the input of the convolution.
    shuffled: Map,
    winners: Vec<Vec<u8>>,
}

impl Pass<'_> {
    /// Runs the stem and its pooling. The pooled maps are in chunks of `chunk` images.
    pub(super) fn stem(self, pixels: &[f32], chunk: usize) -> Result<(StemTape, Passed, Map)> {
        let Self { network, isa, .. } = self;
        let image_len = network.shuffle.image_len();
        let shuffled: Map = pixels
            .par_chunks(image_len)
            .map(|pixels| {
                let mut map = vec![0.0; network.shuffle.map_len()];
                network.shuffle.forward(pixels, &mut map);
                map
            })
            .collect();
        let one_by_one = vec![1; shuffled.len()];
        let stem = Pass { chunks: &one_by_one, ..self };
        let passed = stem.convolve(0, &shuffled)?;
        let normalized = stem.normalize(0, &passed, None, false);
        let (height, width) = network.pool.output();
        let (pooled, winners): (Map, Vec<Vec<u8>>) = normalized
            .par_chunks(chunk)
            .map(|maps| {
                let (images, channels) = (maps.len(), network.stem().outputs());
                let len = height * width * images * channels;
                let (mut pooled, mut winners) = (vec![0.0; len], vec![0; len]);
                for (image, map) in maps.iter().enumerate() {
                    network.pool.forward(isa, map, channels, StackIndex { image, images }, &mut pooled, &mut winners);
                }
                (pooled, winners)
            })
            .unzip();
        Ok((StemTape { one_by_one, shuffled, winners }, passed, pooled))
    }

    /// Backward pass of the pooling and the stem, down to the gradients of its weights.
    pub(super) fn back_through_stem(self, passed: &Passed, tape: &StemTape, upstream: &Map, gradients: &mut [Option<Trained>]) {
        let Self { network, .. } = self;
        let stem = network.stem();
        let mut maps: Map = (upstream.par_iter().zip(&tape.winners).zip(self.chunks))
            .flat_map_iter(|((upstream, winners), &images)| {
                (0..images).map(move |image| {
                    let mut map = vec![0.0; stem.conv.shape().output_len()];
                    network.pool.backward(upstream, winners, stem.outputs(), StackIndex { image, images }, &mut map);
                    map
                })
            })
            .collect();
        Pass { chunks: &tape.one_by_one, ..self }.back(0, passed, &mut maps, &tape.shuffled, gradients);
    }
}
