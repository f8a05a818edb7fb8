//! Frozen network, as an attack sees it: batch normalizations folded into the filters.

use super::DIM;
use super::network::{Block, Network};
use super::parameters::Layer;
use crate::batch::shares;
use crate::conv_norm::EPSILON;
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use rankle_kernels::maps::{Finish, PooledGradient, StackIndex, mean_of_pixels, mean_of_pixels_backward, relu_backward};
use rayon::prelude::*;
use std::cell::RefCell;
use std::sync::OnceLock;

/// Filters and biases with the batch normalizations folded in.
#[derive(Debug)]
pub(super) struct Frozen {
    isa: Isa,
    forward: Vec<Panels>,
    bias: Vec<Vec<f32>>,
    /// Filters packed for input gradients. Packed on first use: embedding does not need them.
    backward: OnceLock<Backward>,
}

/// Filters packed for input gradients.
#[derive(Debug)]
struct Backward {
    stem: PooledGradient,
    /// Filters by unit; those of the stem are not used.
    filters: Vec<Panels>,
}

/// State of a chunk that the backward pass needs: positions of the pooling maxima, and a mark for each live ReLU output.
pub(super) struct SavedForBackward {
    images: usize,
    winners: Vec<u8>,
    live: Vec<[Vec<u8>; 2]>,
}

impl Frozen {
    /// Folds the batch normalizations of `layers` into their filters. `layers` may cover only the first units.
    pub(super) fn new(network: &Network, layers: &[Layer]) -> Self {
        let isa = layers[0].trained.filters.isa();
        let folded = network.units.par_iter().zip(layers).map(|(unit, layer)| {
            let scale: Vec<f32> = (layer.trained.scale.iter().zip(&layer.variance))
                .map(|(&scale, &variance)| (f64::from(scale) / (f64::from(variance) + EPSILON).sqrt()) as f32)
                .collect();
            let bias = layer.trained.shift.iter().zip(&layer.mean).zip(&scale);
            let bias = bias.map(|((shift, mean), scale)| shift - mean * scale).collect();
            debug_assert_eq!(scale.len(), unit.outputs());
            let filters = layer.trained.filters.scaled(|output| scale[output]);
            (unit.conv.winograd(&filters).unwrap_or(filters), bias)
        });
        let (forward, bias) = folded.unzip();
        Self { isa, forward, bias, backward: OnceLock::new() }
    }

    /// Features of `n` images, `(n, 512)`.
    pub(super) fn embed(&self, network: &Network, pixels: &[f32]) -> Vec<f32> {
        let chunk = chunk_len(network, pixels.len() / network.shuffle.image_len());
        let mut embeddings = vec![0.0; pixels.len() / network.shuffle.image_len() * DIM];
        let chunks = pixels.par_chunks(chunk * network.shuffle.image_len()).zip(embeddings.par_chunks_mut(chunk * DIM));
        chunks.for_each(|(pixels, embeddings)| embeddings.copy_from_slice(&self.forward_chunk(network, pixels, None)));
        embeddings
    }

    /// Features, and the state of each chunk for [`Frozen::backward`].
    pub(super) fn forward(&self, network: &Network, pixels: &[f32]) -> (Vec<f32>, Vec<SavedForBackward>) {
        let chunk = chunk_len(network, pixels.len() / network.shuffle.image_len());
        let chunks = pixels.par_chunks(chunk * network.shuffle.image_len()).map(|pixels| {
            let mut kept = SavedForBackward::new(network, pixels.len() / network.shuffle.image_len());
            (self.forward_chunk(network, pixels, Some(&mut kept)), kept)
        });
        let (embeddings, kept): (Vec<_>, Vec<_>) = chunks.unzip();
        (embeddings.concat(), kept)
    }

    /// Gradient of the pixels, from the gradient of the features.
    pub(super) fn backward(&self, network: &Network, kept: &[SavedForBackward], upstream: &[f32]) -> Vec<f32> {
        let backward = self.backward.get_or_init(|| {
            let filters = network.units.par_iter().zip(&self.forward).map(|(unit, filters)| unit.conv.transpose(filters));
            Backward {
                stem: PooledGradient::new(&network.stem().conv, &network.pool, &self.forward[0]),
                filters: filters.collect(),
            }
        });
        let mut gradient = vec![0.0; upstream.len() / DIM * network.shuffle.image_len()];
        let chunk = kept.first().map_or(1, |kept| kept.images);
        gradient
            .par_chunks_mut(chunk * network.shuffle.image_len())
            .zip(upstream.par_chunks(chunk * DIM))
            .zip(kept)
            .for_each(|((pixels, upstream), kept)| backward_chunk(network, backward, kept, upstream, pixels));
        gradient
    }

    /// Outputs of the last of `blocks`, for every chunk of `chunk` images.
    pub(super) fn states(&self, network: &Network, blocks: &[Block], pixels: &[f32], chunk: usize) -> Vec<Vec<f32>> {
        let chunks = pixels.par_chunks(chunk * network.shuffle.image_len());
        chunks.map(|pixels| self.run_chunk(network, blocks, pixels, None, <[f32]>::to_vec)).collect()
    }

    fn forward_chunk(&self, network: &Network, pixels: &[f32], kept: Option<&mut SavedForBackward>) -> Vec<f32> {
        let numbers = pixels.len() / network.shuffle.image_len() * DIM;
        self.run_chunk(network, &network.blocks, pixels, kept, |last| mean_of_pixels(last, numbers))
    }

    /// Runs a chunk of images through the stem and `blocks`, and returns the result of `end` for the last maps.
    fn run_chunk<T>(
        &self,
        network: &Network,
        blocks: &[Block],
        pixels: &[f32],
        mut kept: Option<&mut SavedForBackward>,
        end: impl FnOnce(&[f32]) -> T,
    ) -> T {
        let images = pixels.len() / network.shuffle.image_len();
        with_maps(|Maps { x, inner, around, y, winners }| {
            let (height, width) = network.pool.output();
            let pooled = room(y, height * width * images * network.stem().outputs());
            let winners = match &mut kept {
                Some(kept) => &mut kept.winners[..],
                None => {
                    winners.resize(pooled.len(), 0);
                    winners
                }
            };
            for (image, pixels) in pixels.chunks_exact(network.shuffle.image_len()).enumerate() {
                let (map, stem) = (room(x, network.shuffle.map_len()), room(inner, network.stem().conv.shape().output_len()));
                network.shuffle.forward(pixels, map);
                network.stem().conv.forward(&self.forward[0], map, 1, Finish::Bias(&self.bias[0]), stem);
                network.pool.forward(self.isa, stem, network.stem().outputs(), StackIndex { image, images }, pooled, winners);
            }
            std::mem::swap(x, y);
            for (position, block) in blocks.iter().enumerate() {
                let (live, mut live_y) = match &mut kept {
                    Some(kept) => {
                        let [inner, y] = &mut kept.live[position];
                        (Some(&mut inner[..]), Some(&mut y[..]))
                    }
                    None => (None, None),
                };
                let len = |unit: usize| images * network.units[unit].conv.shape().output_len();
                let input = &x[..images * network.units[block.first].conv.shape().input_len()];
                let run = |unit: usize, input: &[f32], finish: Finish<'_>, output: &mut [f32]| {
                    network.units[unit].conv.forward(&self.forward[unit], input, images, finish, output);
                };
                let inner = room(inner, len(block.first));
                run(block.first, input, Finish::Relu { bias: &self.bias[block.first], shortcut: None, live }, inner);
                let shortcut = match block.shortcut {
                    Some(unit) => {
                        let around = room(around, len(unit));
                        run(unit, input, Finish::Bias(&self.bias[unit]), around);
                        &*around
                    }
                    None => input,
                };
                let finish = Finish::Relu { bias: &self.bias[block.second], shortcut: Some(shortcut), live: live_y.take() };
                run(block.second, inner, finish, room(y, len(block.second)));
                std::mem::swap(x, y);
            }
            let last = blocks
                .last()
                .map_or(height * width * network.stem().outputs(), |block| network.units[block.second].conv.shape().output_len());
            end(&x[..images * last])
        })
    }
}

impl SavedForBackward {
    fn new(network: &Network, images: usize) -> Self {
        let (height, width) = network.pool.output();
        let bytes = |unit: usize| vec![0; images * network.units[unit].conv.shape().output_len()];
        Self {
            images,
            winners: vec![0; height * width * images * network.stem().outputs()],
            live: network.blocks.iter().map(|block| [bytes(block.first), bytes(block.second)]).collect(),
        }
    }
}

fn backward_chunk(network: &Network, backward: &Backward, kept: &SavedForBackward, upstream: &[f32], pixels: &mut [f32]) {
    let images = kept.images;
    with_maps(|Maps { x, inner, around, y, .. }| {
        let shape = |unit: usize| network.units[unit].conv.shape();
        let output_len = |block: &Block| images * shape(block.second).output_len();
        let last = room(y, network.blocks.last().map_or(0, output_len));
        mean_of_pixels_backward(upstream, last);
        if let Some([_, live]) = kept.live.last() {
            relu_backward(last, live);
        }
        for (position, block) in network.blocks.iter().enumerate().rev() {
            let upstream = &y[..output_len(block)];
            let run = |unit: usize, upstream: &[f32], finish: Finish<'_>, input: &mut [f32]| {
                network.units[unit].conv.input_gradient(&backward.filters[unit], upstream, images, finish, input);
            };
            let live = &kept.live[position][0];
            let inner = room(inner, live.len());
            run(block.second, upstream, Finish::ReluBackward(live), inner);
            let input_len = images * shape(block.first).input_len();
            let other = match block.shortcut {
                Some(unit) => {
                    let around = room(around, input_len);
                    run(unit, upstream, Finish::Sums, around);
                    &*around
                }
                None => upstream,
            };
            // Before the first block is the pooling, whose backward pass masks the dead outputs itself.
            let live = position.checked_sub(1).map(|below| &kept.live[below][1][..]);
            run(block.first, inner, Finish::AddBranch { other, live }, room(x, input_len));
            std::mem::swap(x, y);
        }
        for (image, pixels) in pixels.chunks_exact_mut(network.shuffle.image_len()).enumerate() {
            let map = room(x, network.shuffle.map_len());
            backward.stem.run(&y[..kept.winners.len()], &kept.winners, StackIndex { image, images }, map);
            network.shuffle.backward(map, pixels);
        }
    });
}

fn chunk_len(network: &Network, images: usize) -> usize {
    shares(images, network.chunk)
}

/// Feature maps of one thread, reused for every chunk because fresh pages would cost more than some layers.
#[derive(Default)]
struct Maps {
    x: Vec<f32>,
    inner: Vec<f32>,
    around: Vec<f32>,
    y: Vec<f32>,
    winners: Vec<u8>,
}

fn with_maps<T>(work: impl FnOnce(&mut Maps) -> T) -> T {
    thread_local! {
        static MAPS: RefCell<Maps> = RefCell::default();
    }
    MAPS.with_borrow_mut(work)
}

/// First `len` values of a buffer, which grows if it is shorter.
fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
