//! C2F2, its classifier and LeNet: small networks for 28×28 gray images, on kernels of their own.
//!
//! [`Layers`] describes a network, [`Convnet`] is a network with weights. Each small chunk of images passes through the whole
//! network on one thread: there is no barrier between layers, and the activations of a chunk stay in the cache.

mod expression;
mod forward;
mod frozen;
mod layers;
mod packed;
mod training;
mod workspace;

pub use layers::Layers;

use crate::batch::{ask, check, finite, with_pixels};
use crate::dropout::Dropout;
use crate::weights::{FIRST_MOMENT, SECOND_MOMENT, Tensors, have_moments, none_left};
use candle_core::Tensor;
use forward::{Inputs, Tape};
use packed::Packed;
use rand::Rng as _;
use rankle_core::seed::Purpose;
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Error, InputSpec, Result, Seed, Trainable, Upstream};
use rankle_kernels::Isa;
use rankle_kernels::conv::ConvBlock;
use rankle_kernels::dense::Panels;
use std::sync::OnceLock;

/// A network of [`Layers`] with its weights packed for the kernels.
#[derive(Debug)]
pub struct Convnet {
    layers: Layers,
    isa: Isa,
    distance: Distance,
    weights: Packed,
    blocks: [ConvBlock; 2],
    /// Dense layers packed for input gradients. Packed on first use, and cleared by a training step.
    transposed: OnceLock<Vec<Panels>>,
    moments: Option<Box<[Packed; 2]>>,
    /// Memory of the last training step, for the next one.
    spare: Option<Inputs>,
    /// Key of the dropout of every training step.
    seed: Seed,
}

impl Convnet {
    /// Initializes weights uniformly in `±1/√fan_in` (PyTorch's default), keyed by the seed, as is dropout in training.
    pub fn initialize(layers: Layers, distance: Distance, seed: Seed) -> Self {
        let parameters: Vec<Vec<f32>> = layers
            .parameters()
            .iter()
            .enumerate()
            .map(|(position, parameter)| {
                let mut rng = seed.stream(Purpose::Weights, [position as u64, 0]);
                let bound = 1.0 / (parameter.fan_in as f32).sqrt();
                (0..parameter.shape.iter().product()).map(|_| rng.random_range(-bound..bound)).collect()
            })
            .collect();
        let isa = Isa::best();
        Self { seed, ..Self::assemble(layers, isa, distance, Packed::pack(&layers, isa, &parameters)) }
    }

    /// Loads weights under the names of the public PyTorch checkpoints, such as `conv1.weight`.
    ///
    /// # Errors
    /// [`Error::Refused`] when a tensor is missing, left over, misshapen or not finite.
    pub fn from_tensors(layers: Layers, tensors: &Tensors, distance: Distance) -> Result<Self> {
        Self::with_isa(layers, tensors, distance, Isa::best())
    }

    /// Loads weights as [`Convnet::from_tensors`], for a chosen instruction set.
    ///
    /// # Errors
    /// As [`Convnet::from_tensors`].
    pub fn with_isa(layers: Layers, tensors: &Tensors, distance: Distance, isa: Isa) -> Result<Self> {
        let mut tensors = tensors.clone();
        let weights = Packed::take(&layers, isa, &mut tensors, "")?;
        none_left(&tensors)?;
        Ok(Self::assemble(layers, isa, distance, weights))
    }

    fn assemble(layers: Layers, isa: Isa, distance: Distance, weights: Packed) -> Self {
        let blocks = weights.blocks(&layers, isa);
        Self { layers, isa, distance, weights, blocks, transposed: OnceLock::new(), moments: None, spare: None, seed: Seed(0) }
    }

    /// Computes the gradients of all weights, by name: PyTorch's `.grad` in evaluation mode, without dropout.
    ///
    /// # Errors
    /// As [`Differentiable::input_gradient`]; [`Error::Empty`] for an empty batch.
    pub fn weight_gradients(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensors> {
        let (tape, upstream) = self.learn(images, upstream, None, None)?;
        self.gradients(&tape, self.layer_gradients(&tape, &upstream)).to_tensors(&self.layers, "")
    }

    /// Runs the forward pass of training, and asks for the gradient of the loss with respect to the embeddings.
    fn learn(
        &self,
        images: &Tensor,
        upstream: &mut Upstream<'_>,
        dropout: Option<Dropout>,
        spare: Option<Inputs>,
    ) -> Result<(Tape, Vec<f32>)> {
        if check(images, self.layers.input())? == 0 {
            return Err(Error::Empty("images in a batch"));
        }
        let tape = with_pixels(images, |pixels| self.record(pixels, dropout, spare))?;
        let upstream = ask(tape.kept.embeddings(), self.layers.embedding_size(), upstream)?;
        if !finite(&upstream) {
            return Err(Error::NotFinite("the gradient of the loss".into()));
        }
        Ok((tape, upstream))
    }
}

impl Embedder for Convnet {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let n = check(images, self.layers.input())?;
        let mut batch = with_pixels(images, |pixels| self.forward(pixels))?;
        let embeddings = batch.answers.pop().unwrap_or_default();
        Ok(Tensor::from_vec(embeddings, (n, self.layers.embedding_size()), images.device())?)
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn input(&self) -> InputSpec {
        InputSpec::of_shape(self.layers.input())
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for Convnet {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        check(images, self.layers.input())?;
        let batch = with_pixels(images, |pixels| self.forward(pixels))?;
        let upstream = ask(batch.embeddings(), self.layers.embedding_size(), upstream)?;
        Ok(Tensor::from_vec(self.backward(&batch, &upstream), images.shape(), images.device())?)
    }
}

impl Trainable for Convnet {
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()> {
        let dropout = Dropout { seed: self.seed, step: adam.step };
        let spare = self.spare.take();
        let (tape, upstream) = self.learn(images, upstream, Some(dropout), spare)?;
        let gradients = self.layer_gradients(&tape, &upstream);
        self.update(&tape, &gradients, adam);
        self.spare = Some(tape.inputs);
        Ok(())
    }

    fn parameters(&self) -> Result<Tensors> {
        self.weights.to_tensors(&self.layers, "")
    }

    fn checkpoint(&self) -> Result<Tensors> {
        let mut state = self.parameters()?;
        if let Some([first, second]) = self.moments.as_deref() {
            state.append(&mut first.to_tensors(&self.layers, FIRST_MOMENT)?);
            state.append(&mut second.to_tensors(&self.layers, SECOND_MOMENT)?);
        }
        Ok(state)
    }

    fn restore(&mut self, mut state: Tensors) -> Result<()> {
        let take = |prefix: &str, state: &mut Tensors| Packed::take(&self.layers, self.isa, state, prefix);
        let weights = take("", &mut state)?;
        let mut restored = Self { seed: self.seed, ..Self::assemble(self.layers, self.isa, self.distance, weights) };
        if have_moments(&state) {
            restored.moments = Some(Box::new([take(FIRST_MOMENT, &mut state)?, take(SECOND_MOMENT, &mut state)?]));
        }
        none_left(&state)?;
        *self = restored;
        Ok(())
    }
}
