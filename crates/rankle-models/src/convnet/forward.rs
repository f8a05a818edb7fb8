//! Forward pass, and the activations that it saves for the backward pass.

use super::Convnet;
use super::layers::Layers;
use super::workspace::{CHUNK, Workspace, with_workspace};
use crate::batch::{even, shares};
use crate::dropout::Dropout;
use rankle_kernels::Aligned;
use rankle_kernels::conv::Scratch;
use rayon::prelude::*;

/// Saved activations, image after image: the positions of the pooling maxima and the outputs of the dense layers. The outputs of
/// the last dense layer are the embeddings.
pub(super) struct Activations<W, A> {
    pub(super) winners: [W; 2],
    pub(super) answers: Vec<A>,
}

/// Saved activations of a batch.
pub(super) type Batch = Activations<Vec<u8>, Vec<f32>>;

impl Batch {
    fn new(layers: &Layers, n: usize) -> Self {
        Self {
            winners: [layers.first(), layers.second()].map(|shape| vec![0; n * shape.pooled_len()]),
            answers: layers.dense.iter().map(|dense| vec![0.0; n * dense.outputs]).collect(),
        }
    }
    /// Embeddings, one row per image.
    pub(super) fn embeddings(&self) -> &[f32] {
        self.answers.last().map_or(&[], Vec::as_slice)
    }
    /// Splits the activations into chunks of `chunk` images.
    pub(super) fn chunks(&self, layers: &Layers, chunk: usize) -> Vec<Activations<&[u8], &[f32]>> {
        let [first, second] = &self.winners;
        let winners = first.chunks(chunk * layers.first().pooled_len()).zip(second.chunks(chunk * layers.second().pooled_len()));
        let answers = self.answers.iter().zip(layers.dense);
        let mut answers: Vec<_> = answers.map(|(answers, dense)| answers.chunks(chunk * dense.outputs)).collect();
        winners
            .map(|(first, second)| Activations {
                winners: [first, second],
                answers: answers.iter_mut().filter_map(Iterator::next).collect(),
            })
            .collect()
    }
    /// Splits the activations as [`Batch::chunks`], mutable.
    fn chunks_mut(&mut self, layers: &Layers, chunk: usize) -> Vec<Activations<&mut [u8], &mut [f32]>> {
        let [first, second] = &mut self.winners;
        let winners =
            first.chunks_mut(chunk * layers.first().pooled_len()).zip(second.chunks_mut(chunk * layers.second().pooled_len()));
        let answers = self.answers.iter_mut().zip(layers.dense);
        let mut answers: Vec<_> = answers.map(|(answers, dense)| answers.chunks_mut(chunk * dense.outputs)).collect();
        winners
            .map(|(first, second)| Activations {
                winners: [first, second],
                answers: answers.iter_mut().filter_map(Iterator::next).collect(),
            })
            .collect()
    }
}

/// Saved state of a forward pass in training.
pub(super) struct Tape {
    pub(super) kept: Batch,
    pub(super) inputs: Inputs,
    /// True if dropout was applied to the outputs of the dense layers.
    pub(super) dropped: bool,
}

/// Padded inputs of both convolutions, and inputs of the first dense layer, image after image. Training reuses this memory in
/// each step: fresh pages took a twentieth of a step, when the allocator returned the old ones to the system.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) padded: Aligned,
    /// Padded output of the first block. Its borders are zero from the start and never written.
    pub(super) pooled: Aligned,
    pub(super) features: Aligned,
}

impl Inputs {
    /// Buffers for `n` images; reuses `spare` if it has the same lengths.
    fn new(layers: &Layers, n: usize, spare: Option<Self>) -> Self {
        let lens = [layers.first().padded_len(), layers.second().padded_len(), layers.features()].map(|len| n * len);
        let fits = |spare: &Self| [&spare.padded, &spare.pooled, &spare.features].map(|buffer| buffer.len()) == lens;
        spare.filter(fits).unwrap_or_else(|| {
            let [padded, pooled, features] = lens.map(Aligned::zeros);
            Self { padded, pooled, features }
        })
    }
}

/// Buffers for the activations of one image.
struct State<'a> {
    padded: &'a mut [f32],
    pooled: &'a mut [f32],
    winners: [&'a mut [u8]; 2],
    features: &'a mut [f32],
}

impl Convnet {
    /// Forward pass of a frozen model.
    pub(super) fn forward(&self, images: &[f32]) -> Batch {
        let (layers, pixels) = (&self.layers, self.layers.pixels());
        let n = images.len() / pixels;
        let mut batch = Batch::new(layers, n);
        let chunk = shares(n, CHUNK);
        images.par_chunks(chunk * pixels).zip(batch.chunks_mut(layers, chunk)).for_each(|(images, kept)| {
            with_workspace(layers, images.len() / pixels, |Workspace { padded, pooled, features, scratch }| {
                let [first, second] = kept.winners;
                let winners = first
                    .chunks_exact_mut(layers.first().pooled_len())
                    .zip(second.chunks_exact_mut(layers.second().pooled_len()));
                let outputs = features.chunks_exact_mut(layers.features());
                for ((image, features), (first, second)) in images.chunks_exact(pixels).zip(outputs).zip(winners) {
                    self.convolve(image, State { padded, pooled, winners: [first, second], features }, scratch);
                }
                self.answer(features, kept.answers, None);
            });
        });
        batch
    }

    /// Forward pass that saves the state for weight gradients. With `dropout: None` the embeddings are those that an attack sees.
    /// `spare` is memory of an earlier pass.
    pub(super) fn record(&self, images: &[f32], dropout: Option<Dropout>, spare: Option<Inputs>) -> Tape {
        let (layers, pixels) = (&self.layers, self.layers.pixels());
        let (first, second, features) = (layers.first(), layers.second(), layers.features());
        let n = images.len() / pixels;
        let mut tape = Tape { kept: Batch::new(layers, n), inputs: Inputs::new(layers, n, spare), dropped: dropout.is_some() };
        // Not `shares`, which helps the frozen pass: with it a step on two threads took a tenth longer.
        let chunk = even(n, CHUNK);
        images
            .par_chunks(chunk * pixels)
            .zip(tape.inputs.padded.par_chunks_mut(chunk * first.padded_len()))
            .zip(tape.inputs.pooled.par_chunks_mut(chunk * second.padded_len()))
            .zip(tape.inputs.features.par_chunks_mut(chunk * features))
            .zip(tape.kept.chunks_mut(layers, chunk))
            .enumerate()
            .for_each(|(piece, ((((images, padded), pooled), outputs), kept))| {
                with_workspace(layers, 0, |Workspace { scratch, .. }| {
                    let inputs = padded.chunks_exact_mut(first.padded_len()).zip(pooled.chunks_exact_mut(second.padded_len()));
                    let [winners1, winners2] = kept.winners;
                    let winners =
                        winners1.chunks_exact_mut(first.pooled_len()).zip(winners2.chunks_exact_mut(second.pooled_len()));
                    for (((image, (padded, pooled)), (first, second)), features) in
                        images.chunks_exact(pixels).zip(inputs).zip(winners).zip(outputs.chunks_exact_mut(features))
                    {
                        self.convolve(image, State { padded, pooled, winners: [first, second], features }, scratch);
                    }
                    self.answer(outputs, kept.answers, dropout.map(|dropout| (dropout, piece * chunk)));
                });
            });
        tape
    }

    /// Applies both convolutions to one image.
    fn convolve(&self, image: &[f32], state: State<'_>, scratch: &mut Scratch) {
        let State { padded, pooled, winners: [winners1, winners2], features } = state;
        let ([first, second], shape) = (&self.blocks, self.layers.first());
        padded.fill(0.0);
        for (y, row) in image.chunks_exact(shape.width).enumerate() {
            padded[shape.padded_origin() + y * shape.padded_row()..][..row.len()].copy_from_slice(row);
        }
        first.forward(padded, scratch, pooled, self.layers.pooled_first(), winners1);
        second.forward(pooled, scratch, features, self.layers.pooled_second(), winners2);
    }

    /// Applies the dense layers to a chunk of images. `dropout` comes with the position of the first image in its batch.
    fn answer<'a>(&self, features: &'a [f32], answers: Vec<&'a mut [f32]>, dropout: Option<(Dropout, usize)>) {
        let mut inputs = features;
        let layers = self.layers.dense.iter().zip(&self.weights.dense);
        for (layer, ((dense, packed), outputs)) in layers.zip(answers).enumerate() {
            packed.apply(inputs, outputs);
            if dense.relu {
                outputs.iter_mut().for_each(|sum| *sum = if *sum > 0.0 { *sum } else { 0.0 });
            }
            if let (Some((dropout, first)), true) = (dropout, dense.dropout > 0.0) {
                dropout.apply(layer, dense.dropout, first, outputs, dense.outputs);
            }
            inputs = outputs;
        }
    }
}
