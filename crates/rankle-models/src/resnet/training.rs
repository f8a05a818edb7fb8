//! Network in training: batch normalizations use the statistics of the batch, so the batch passes layer by layer. If only the
//! last layers are trained, the layers before them are the frozen network.
//!
//! Images are cut into chunks of a fixed size, and the chunks are spread over threads. Sums over a batch are added chunk by
//! chunk in order, so no result depends on the number of threads.

use super::DIM;
use super::frozen::Frozen;
use super::network::Network;
use super::parameters::{Layer, Statistics, Trained};
use super::pass::{Map, Pass, Passed};
use super::stem::StemTape;
use crate::batch::even;
use rankle_core::{Error, Result};
use rankle_kernels::Isa;
use rankle_kernels::maps::{mean_of_pixels, mean_of_pixels_backward, norm};
use rayon::prelude::*;

/// Saved state of the forward pass, for the backward pass.
pub(super) struct Tape {
    /// Number of images in each chunk.
    chunks: Vec<usize>,
    /// State of the stem; `None` if it is frozen.
    stem: Option<StemTape>,
    /// Index of the first trained block.
    first_block: usize,
    /// Convolution outputs and statistics by unit, from the first trained unit on.
    passed: Vec<Passed>,
    /// Inputs of all trained blocks, and the output of the last block.
    states: Vec<Map>,
    pub features: Vec<f32>,
}

/// Frozen layers: all before the first trained block.
pub(super) struct Prefix<'a> {
    pub frozen: &'a Frozen,
    pub first_block: usize,
}

impl Tape {
    /// Batch statistics by unit, from the first trained unit on.
    pub(super) fn statistics(&self) -> impl Iterator<Item = &Statistics> {
        self.passed.iter().map(|passed| &passed.statistics)
    }
}

/// Runs the forward pass.
pub(super) fn record(network: &Network, layers: &[Layer], isa: Isa, prefix: Option<Prefix<'_>>, pixels: &[f32]) -> Result<Tape> {
    let image_len = network.shuffle.image_len();
    let images = pixels.len() / image_len;
    if images == 0 {
        return Err(Error::Empty("images in a batch"));
    }
    let chunk = even(images, network.chunk);
    let chunks: Vec<usize> = pixels.chunks(chunk * image_len).map(|pixels| pixels.len() / image_len).collect();
    let pass = Pass { network, layers, isa, chunks: &chunks };
    let (first_block, stem, mut passed, first) = match prefix {
        Some(Prefix { frozen, first_block }) => {
            (first_block, None, Vec::new(), frozen.states(network, &network.blocks[..first_block], pixels, chunk))
        }
        None => {
            let (stem, passed, pooled) = pass.stem(pixels, chunk)?;
            (0, Some(stem), vec![passed], pooled)
        }
    };
    let mut states = vec![first];
    for block in &network.blocks[first_block..] {
        let input = &states[states.len() - 1];
        let first = pass.convolve(block.first, input)?;
        let between = pass.normalize(block.first, &first, None, true);
        let second = pass.convolve(block.second, &between)?;
        let around = block.shortcut.map(|unit| pass.convolve(unit, input)).transpose()?;
        let shortcut = block.shortcut.zip(around.as_ref()).map(|(unit, around)| pass.normalize(unit, around, None, false));
        let output = pass.normalize(block.second, &second, Some(shortcut.as_ref().unwrap_or(input)), true);
        passed.extend([first, second].into_iter().chain(around));
        states.push(output);
    }
    let last = &states[states.len() - 1];
    let features = last.iter().zip(&chunks).flat_map(|(map, images)| mean_of_pixels(map, images * DIM)).collect();
    Ok(Tape { chunks, stem, first_block, passed, states, features })
}

/// Gradients of all trained weights, from the gradient of the features, by unit, from the first trained unit on.
pub(super) fn gradients(network: &Network, layers: &[Layer], tape: &Tape, upstream: &[f32]) -> Vec<Trained> {
    let isa = layers[0].trained.filters.isa();
    let pass = Pass { network, layers, isa, chunks: &tape.chunks };
    let mut gradients: Vec<Option<Trained>> = vec![None; layers.len()];
    let mut rest = upstream;
    let last = &tape.states[tape.states.len() - 1];
    let mut output: Map = (last.iter().zip(&tape.chunks))
        .map(|(map, images)| {
            let (own, others) = rest.split_at(images * DIM);
            rest = others;
            let mut upstream = vec![0.0; map.len()];
            mean_of_pixels_backward(own, &mut upstream);
            upstream
        })
        .collect();
    let before = network.units.len() - tape.passed.len();
    for (position, block) in network.blocks[tape.first_block..].iter().enumerate().rev() {
        // The layers before the first trained block need no gradient.
        let is_wanted = position > 0 || tape.stem.is_some();
        let input = &tape.states[position];
        relu_backward(&mut output, &tape.states[position + 1]);
        let mut around = block.shortcut.map(|unit| (unit, output.clone()));
        let below = match &mut around {
            Some((unit, upstream)) => {
                let upstream = pass.back(*unit, &tape.passed[*unit - before], upstream, input, &mut gradients);
                is_wanted.then(|| pass.input_gradient(*unit, upstream, None))
            }
            None => is_wanted.then(|| output.clone()),
        };
        // Computed again rather than saved: this saves an eighth of the memory and costs no measurable time.
        let inner = pass.normalize(block.first, &tape.passed[block.first - before], None, true);
        let between = pass.back(block.second, &tape.passed[block.second - before], &mut output, &inner, &mut gradients);
        let mut between = pass.input_gradient(block.second, between, None);
        relu_backward(&mut between, &inner);
        let first = pass.back(block.first, &tape.passed[block.first - before], &mut between, input, &mut gradients);
        if let Some(below) = below {
            output = pass.input_gradient(block.first, first, Some(below));
        }
    }
    if let Some(stem) = &tape.stem {
        pass.back_through_stem(&tape.passed[0], stem, &output, &mut gradients);
    }
    gradients.into_iter().flatten().collect()
}

/// Backward pass of a ReLU.
fn relu_backward(upstream: &mut Map, activation: &Map) {
    upstream.par_iter_mut().zip(activation).for_each(|(upstream, activation)| norm::relu_backward(upstream, activation));
}
