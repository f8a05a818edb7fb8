//! ResNet-18 for images of any size: torchvision's for photographs, and the paper's for 28×28 grey images.
//!
//! | layer | 224×224 | 28×28 |
//! |---|---|---|
//! | convolution →64, 7×7, stride 2, padding 3; norm; ReLU | 112×112 | 14×14 |
//! | max pooling 3×3, stride 2, padding 1 | 56×56 | 7×7 |
//! | two blocks of 64 | 56×56 | 7×7 |
//! | two blocks of 128, 256, 512, the first of stride 2 | 28, 14, 7 | 4, 2, 1 |
//! | mean over the pixels | 512 | 512 |
//!
//! A block is convolution 3×3, norm, ReLU, convolution 3×3, norm, plus the shortcut (where the stride is 2 a convolution 1×1
//! and a norm), ReLU. There is no dense layer: an embedding has 512 numbers, none below zero.
//!
//! An attack sees the frozen network, its batch normalisations folded into the filters: images go through it in small chunks,
//! each on one thread, without a barrier between layers. Training uses the statistics of the batch, so it goes layer by layer.
//!
//! # Source
//! He et al., CVPR 2016, arXiv:1512.03385; parameter names of torchvision; Zhou et al., ECCV 2020, arXiv:2002.11293
//! (`method.md` 3.3, 3.4).

mod frozen;
mod network;
mod parameters;
mod training;

use crate::ImageFormat;
use crate::batch::{ask, check, finite, with_pixels};
use crate::weights::Tensors;
use candle_core::Tensor;
use frozen::Frozen;
use network::Network;
use parameters::{Layer, Trained};
use rankle_core::{AdamStep, Distance, Embedder, Error, Result, Seed, Trainable, Upstream};
use rankle_kernels::Isa;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Numbers in an embedding.
const DIM: usize = 512;

/// The network with its weights packed for the kernels.
#[derive(Debug)]
pub struct ResNet18 {
    isa: Isa,
    distance: Distance,
    format: ImageFormat,
    network: Network,
    /// One per convolution, in the order of [`Network::units`].
    layers: Vec<Layer>,
    /// The network as an attack sees it, made when first asked for: a training step leaves it stale.
    frozen: OnceLock<Frozen>,
    moments: Option<Box<[Vec<Trained>; 2]>>,
}

impl ResNet18 {
    /// Numbers in an embedding.
    pub const EMBEDDING_SIZE: usize = DIM;

    /// Random weights, uniform in `±1/√fan_in` (PyTorch's default), keyed by the seed; norms start as the identity.
    pub fn initialise(format: ImageFormat, distance: Distance, seed: Seed) -> Self {
        let network = Network::new(&format);
        let layers = Layer::initialise(&network, Isa::best(), seed);
        Self::assemble(format, distance, Isa::best(), network, layers)
    }

    /// Weights under torchvision's names, `conv1.weight` to `layer4.1.bn2.running_var`. A classifier (`fc.weight`, `fc.bias`)
    /// and the counters `num_batches_tracked` are no part of an embedding and are passed over.
    ///
    /// # Errors
    /// [`Error::Weights`] when a tensor is missing, left over, misshapen or not finite, or a variance is below zero.
    pub fn from_tensors(tensors: &BTreeMap<String, Tensor>, format: ImageFormat, distance: Distance) -> Result<Self> {
        Self::with_isa(tensors, format, distance, Isa::best())
    }

    /// As [`ResNet18::from_tensors`], on a chosen instruction set.
    ///
    /// # Errors
    /// The same.
    pub fn with_isa(tensors: &BTreeMap<String, Tensor>, format: ImageFormat, distance: Distance, isa: Isa) -> Result<Self> {
        let network = Network::new(&format);
        let mut tensors = tensors.clone();
        tensors.retain(|name, _| !name.ends_with(".num_batches_tracked") && name != "fc.weight" && name != "fc.bias");
        let layers = Layer::take_all(&network, isa, &mut tensors)?;
        crate::weights::none_left(&tensors)?;
        Ok(Self::assemble(format, distance, isa, network, layers))
    }

    fn assemble(format: ImageFormat, distance: Distance, isa: Isa, network: Network, layers: Vec<Layer>) -> Self {
        Self { isa, distance, format, network, layers, frozen: OnceLock::new(), moments: None }
    }

    /// Embeds with the statistics of the batch, asks for the slope, and returns the slopes of all weights, by name: what
    /// PyTorch leaves in `.grad` in training mode.
    ///
    /// # Errors
    /// As [`Embedder::input_gradient`]; [`Error::Empty`] when a batch has too few images for statistics.
    pub fn weight_gradients(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensors> {
        check(images, self.format.input())?;
        let tape = with_pixels(images, |pixels| training::record(&self.network, &self.layers, self.isa, pixels))??;
        let slope = ask(&tape.embeddings, DIM, upstream)?;
        let gradients = training::gradients(&self.network, &self.layers, &tape, &slope);
        parameters::trained_tensors(&self.network, &gradients, "")
    }

    fn frozen(&self) -> &Frozen {
        self.frozen.get_or_init(|| Frozen::new(&self.network, &self.layers))
    }
}

impl Embedder for ResNet18 {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let n = check(images, self.format.input())?;
        let embeddings = with_pixels(images, |pixels| self.frozen().embed(&self.network, pixels))?;
        Ok(Tensor::from_vec(embeddings, (n, DIM), images.device())?)
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        check(images, self.format.input())?;
        let (embeddings, kept) = with_pixels(images, |pixels| self.frozen().forward(&self.network, pixels))?;
        let slope = ask(&embeddings, DIM, upstream)?;
        Ok(Tensor::from_vec(self.frozen().backward(&self.network, &kept, &slope), images.shape(), images.device())?)
    }
}

impl Trainable for ResNet18 {
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()> {
        check(images, self.format.input())?;
        let tape = with_pixels(images, |pixels| training::record(&self.network, &self.layers, self.isa, pixels))??;
        let slope = ask(&tape.embeddings, DIM, upstream)?;
        if !finite(&slope) {
            return Err(Error::NotFinite("the slope of the loss".into()));
        }
        let gradients = training::gradients(&self.network, &self.layers, &tape, &slope);
        let zeros = || self.layers.iter().map(|layer| layer.trained.zeros_like()).collect();
        let [first, second] = &mut **self.moments.get_or_insert_with(|| Box::new([zeros(), zeros()]));
        for (((layer, first), second), gradient) in self.layers.iter_mut().zip(first).zip(second).zip(&gradients) {
            layer.trained.update(self.isa, adam, first, second, gradient);
        }
        for (layer, batch) in self.layers.iter_mut().zip(tape.statistics()) {
            layer.follow(batch);
        }
        self.frozen = OnceLock::new();
        Ok(())
    }

    fn parameters(&self) -> Result<Tensors> {
        parameters::layer_tensors(&self.network, &self.layers)
    }

    fn checkpoint(&self) -> Result<Tensors> {
        let mut state = self.parameters()?;
        if let Some([first, second]) = self.moments.as_deref() {
            state.append(&mut parameters::trained_tensors(&self.network, first, crate::weights::FIRST_MOMENT)?);
            state.append(&mut parameters::trained_tensors(&self.network, second, crate::weights::SECOND_MOMENT)?);
        }
        Ok(state)
    }

    fn restore(&mut self, mut state: Tensors) -> Result<()> {
        let layers = Layer::take_all(&self.network, self.isa, &mut state)?;
        let mut moments = None;
        if !state.is_empty() {
            let first = Trained::take_all(&self.network, self.isa, &mut state, crate::weights::FIRST_MOMENT)?;
            let second = Trained::take_all(&self.network, self.isa, &mut state, crate::weights::SECOND_MOMENT)?;
            moments = Some(Box::new([first, second]));
        }
        crate::weights::none_left(&state)?;
        (self.layers, self.moments, self.frozen) = (layers, moments, OnceLock::new());
        Ok(())
    }

    fn as_embedder(&self) -> &dyn Embedder {
        self
    }
}
