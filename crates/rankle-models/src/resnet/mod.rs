//! ResNet-18 for images of any size: torchvision's for photographs, and the paper's for 28×28 gray images.
//!
//! | layer | 224×224 | 28×28 |
//! |---|---|---|
//! | convolution →64, 7×7, stride 2, padding 3; norm; ReLU | 112×112 | 14×14 |
//! | max pooling 3×3, stride 2, padding 1 | 56×56 | 7×7 |
//! | two blocks of 64 | 56×56 | 7×7 |
//! | two blocks of 128, 256, 512, the first of stride 2 | 28, 14, 7 | 4, 2, 1 |
//! | mean over the pixels | 512 | 512 |
//!
//! "Norm" is batch normalization. A block is convolution 3×3, norm, ReLU, convolution 3×3, norm, plus the shortcut (with
//! stride 2 a convolution 1×1 and a norm), ReLU. Without a dense layer, embeddings have 512 nonnegative values; with the
//! optional linear layer `fc`, the head, they have any dimension.
//!
//! An attack sees the frozen network, with the norms folded into the filters: images pass through it in small chunks, each on
//! one thread, without a barrier between layers. Training uses the statistics of the batch, so it goes layer by layer.
//!
//! Training may begin at one of the four stages, `layer1` to `layer4`. The layers before it are then frozen: their norms use
//! the running statistics, which do not change, and their weights get no gradient. The paper, too, trains `layer4` alone, but
//! updates the running statistics of the layers before it with every batch (METHOD.md 3.4). There, the frozen layers embed an
//! image differently after every step, and differently in training than under attack.
//!
//! # Source
//! He et al., CVPR 2016, arXiv:1512.03385; parameter names of torchvision; Zhou et al., ECCV 2020, arXiv:2002.11293
//! (METHOD.md 3.3, 3.4).

mod expression;
mod frozen;
mod head;
mod network;
mod parameters;
mod pass;
mod stem;
mod training;

use crate::ImageFormat;
use crate::batch::{ask, check, finite, with_pixels};
use crate::dense::PackedDense;
use crate::weights::{FIRST_MOMENT, SECOND_MOMENT, Tensors, have_moments, none_left};
use candle_core::Tensor;
pub(crate) use expression::{Depth, ResNetExpression};
use frozen::Frozen;
use head::Head;
use network::{Network, Unit};
use parameters::{Initialization, Layer, Trained};
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Error, InputSpec, Result, Seed, Trainable, Upstream};
use rankle_kernels::Isa;
use std::sync::OnceLock;
use training::{Prefix, Tape};

/// Dimension of the features: the mean over the pixels of the last maps.
const DIM: usize = 512;

/// ResNet-18 with its weights packed for the kernels.
#[derive(Debug)]
pub struct ResNet18 {
    isa: Isa,
    distance: Distance,
    format: ImageFormat,
    network: Network,
    /// One per convolution, in the order of [`Network::units`].
    layers: Vec<Layer>,
    head: Option<Head>,
    /// Frozen network, as an attack sees it. Built on first use, and cleared by a training step.
    frozen: OnceLock<Frozen>,
    /// Index of the first trained block; `None` if all layers are trained.
    first_block: Option<usize>,
    /// Frozen layers before `first_block`. Built on first use.
    prefix: OnceLock<Frozen>,
    moments: Option<Box<Moments>>,
}

/// Adam's moments of the trained layers.
#[derive(Debug)]
struct Moments {
    layers: [Vec<Trained>; 2],
    head: Option<[PackedDense; 2]>,
}

impl ResNet18 {
    /// Dimension of the embeddings without a head.
    pub const EMBEDDING_SIZE: usize = DIM;
    /// Layers at which training can begin: the stages, of two blocks each.
    pub const STAGES: [&str; 4] = ["layer1", "layer2", "layer3", "layer4"];

    /// Initializes weights at random, keyed by the seed. For color images, filters are normal with a variance of `2/fan_out`, as
    /// in torchvision's `resnet18()`. For gray images they are uniform in `±1/√fan_in`, PyTorch's default, as in the paper's
    /// network for 28×28. Batch normalizations start as the identity. `head` is the output dimension of a linear layer after the
    /// network, uniform in `±1/√fan_in`.
    pub fn initialize(format: ImageFormat, head: Option<usize>, distance: Distance, seed: Seed) -> Self {
        let (network, isa) = (Network::new(&format), Isa::best());
        let is_gray = format.mean.len() == 1;
        let how = if is_gray { Initialization::UniformByFanIn } else { Initialization::NormalByFanOut };
        let layers = Layer::initialize(&network, isa, how, seed);
        let head = head.map(|size| Head::initialize(isa, size, seed, network.units.len() as u64));
        Self::assemble(format, distance, isa, network, layers, head)
    }

    /// Loads weights under torchvision's names, `conv1.weight` to `layer4.1.bn2.running_var`. With `head`, the output dimension
    /// of a linear layer after the network, also loads `fc.weight` and `fc.bias`. Without it, `fc` is a classifier, not part of
    /// an embedding, and is ignored. The counters `num_batches_tracked` are always ignored.
    ///
    /// # Errors
    /// [`Error::Refused`] when a tensor is missing, left over, misshapen or not finite, or a variance is below zero.
    pub fn from_tensors(tensors: &Tensors, format: ImageFormat, head: Option<usize>, distance: Distance) -> Result<Self> {
        Self::with_isa(tensors, format, head, distance, Isa::best())
    }

    /// Loads weights as [`ResNet18::from_tensors`], for a chosen instruction set.
    ///
    /// # Errors
    /// As [`ResNet18::from_tensors`].
    pub fn with_isa(tensors: &Tensors, format: ImageFormat, head: Option<usize>, distance: Distance, isa: Isa) -> Result<Self> {
        let network = Network::new(&format);
        let mut tensors = without_extras(tensors, head.is_none());
        let layers = Layer::take_all(&network, isa, &mut tensors)?;
        let head = head.map(|size| head::take(isa, size, &mut tensors, "")).transpose()?.map(Head::new);
        none_left(&tensors)?;
        Ok(Self::assemble(format, distance, isa, network, layers, head))
    }

    /// Loads weights for further training, as [`ResNet18::from_tensors`]. If the file has no linear layer of the size of `head`
    /// (for example, only a classifier for 1000 classes), the head starts with random weights keyed by the seed.
    ///
    /// # Errors
    /// As [`ResNet18::from_tensors`].
    pub fn pretrained(
        tensors: &Tensors,
        format: ImageFormat,
        head: Option<usize>,
        distance: Distance,
        seed: Seed,
    ) -> Result<Self> {
        let mut fresh = Self::initialize(format, head, distance, seed);
        let mut tensors = without_extras(tensors, head.is_none());
        if let Some(head) = &fresh.head {
            let new = head::tensors(&head.layer, "")?;
            if new.iter().any(|(name, new)| tensors.get(name).is_none_or(|old| old.dims() != new.dims())) {
                tensors.extend(new);
            }
        }
        fresh.restore(tensors)?;
        Ok(fresh)
    }

    fn assemble(
        format: ImageFormat,
        distance: Distance,
        isa: Isa,
        network: Network,
        layers: Vec<Layer>,
        head: Option<Head>,
    ) -> Self {
        let (frozen, prefix) = (OnceLock::new(), OnceLock::new());
        Self { isa, distance, format, network, layers, head, frozen, first_block: None, prefix, moments: None }
    }

    /// Computes the gradients of all trained weights, by name, with the batch statistics of training: PyTorch's `.grad`.
    ///
    /// # Errors
    /// As [`Differentiable::input_gradient`]; [`Error::Empty`] when a batch has too few images for statistics.
    pub fn weight_gradients(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensors> {
        let (tape, upstream) = self.learn(images, upstream)?;
        let layers = self.layer_gradients(&tape, &upstream);
        let mut gradients = parameters::trained_tensors(self.trained_units(), &layers, "")?;
        if let Some(head) = &self.head {
            gradients.append(&mut head::tensors(&head.layer.gradient(&tape.features, &upstream), "")?);
        }
        Ok(gradients)
    }

    /// Runs the forward pass of training, and asks for the gradient of the loss with respect to the embeddings.
    fn learn(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<(Tape, Vec<f32>)> {
        check(images, self.format.input())?;
        let prefix = self.first_block.map(|first_block| {
            let frozen = self.prefix.get_or_init(|| Frozen::new(&self.network, &self.layers[..self.first_unit()]));
            Prefix { frozen, first_block }
        });
        let record = |pixels: &[f32]| training::record(&self.network, &self.layers, self.isa, prefix, pixels);
        let tape = with_pixels(images, record)??;
        let upstream = self.ask(&tape.features, upstream)?;
        if !finite(&upstream) {
            return Err(Error::NotFinite("the gradient of the loss".into()));
        }
        Ok((tape, upstream))
    }

    /// Embeds the features and asks for the gradient of the embeddings.
    fn ask(&self, features: &[f32], upstream: &mut Upstream<'_>) -> Result<Vec<f32>> {
        match &self.head {
            Some(head) => ask(&head.embed(features), head.size(), upstream),
            None => ask(features, DIM, upstream),
        }
    }

    /// Gradients of the trained layers, from the gradient of the embeddings.
    fn layer_gradients(&self, tape: &Tape, upstream: &[f32]) -> Vec<Trained> {
        let below = self.head.as_ref().map(|head| head.back(upstream));
        training::gradients(&self.network, &self.layers, tape, below.as_deref().unwrap_or(upstream))
    }

    /// Index of the first trained convolution.
    fn first_unit(&self) -> usize {
        self.first_block.map_or(0, |block| self.network.blocks[block].first)
    }

    fn trained_units(&self) -> &[Unit] {
        &self.network.units[self.first_unit()..]
    }

    fn frozen(&self) -> &Frozen {
        self.frozen.get_or_init(|| Frozen::new(&self.network, &self.layers))
    }
}

impl Embedder for ResNet18 {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let n = check(images, self.format.input())?;
        let features = with_pixels(images, |pixels| self.frozen().embed(&self.network, pixels))?;
        let (embeddings, size) = match &self.head {
            Some(head) => (head.embed(&features), head.size()),
            None => (features, DIM),
        };
        Ok(Tensor::from_vec(embeddings, (n, size), images.device())?)
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn input(&self) -> InputSpec {
        InputSpec::of_shape(self.format.input())
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for ResNet18 {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        check(images, self.format.input())?;
        let (features, kept) = with_pixels(images, |pixels| self.frozen().forward(&self.network, pixels))?;
        let upstream = self.ask(&features, upstream)?;
        let upstream = match &self.head {
            Some(head) => head.back(&upstream),
            None => upstream,
        };
        Ok(Tensor::from_vec(self.frozen().backward(&self.network, &kept, &upstream), images.shape(), images.device())?)
    }
}

impl Trainable for ResNet18 {
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()> {
        let (tape, upstream) = self.learn(images, upstream)?;
        let gradients = self.layer_gradients(&tape, &upstream);
        let first_unit = self.first_unit();
        let trained = &mut self.layers[first_unit..];
        let zeros = || trained.iter().map(|layer| layer.trained.zeros_like()).collect();
        let head = || self.head.as_ref().map(|head| [head.layer.zeros_like(), head.layer.zeros_like()]);
        let start = || Box::new(Moments { layers: [zeros(), zeros()], head: head() });
        let Moments { layers: [first, second], head: moments } = &mut **self.moments.get_or_insert_with(start);
        for (((layer, first), second), gradient) in trained.iter_mut().zip(first).zip(second).zip(&gradients) {
            layer.trained.update(self.isa, adam, first, second, gradient);
        }
        for (layer, batch) in trained.iter_mut().zip(tape.statistics()) {
            layer.follow(batch);
        }
        if let (Some(head), Some([first, second])) = (&mut self.head, moments) {
            head.update([first, second], self.isa, &tape.features, &upstream, adam);
        }
        self.frozen = OnceLock::new();
        Ok(())
    }

    /// Freezes the stem and the stages before `layer`, which is one of `layer1` to `layer4`.
    fn freeze_below(&mut self, layer: &str) -> Result<()> {
        let stage = Self::STAGES.iter().position(|stage| *stage == layer);
        let stage = stage.ok_or_else(|| Error::Unknown { what: "layer", name: layer.into(), known: Self::STAGES.join(", ") })?;
        (self.first_block, self.prefix, self.moments) = (Some(2 * stage), OnceLock::new(), None);
        Ok(())
    }

    fn parameters(&self) -> Result<Tensors> {
        let mut tensors = parameters::layer_tensors(&self.network, &self.layers)?;
        if let Some(head) = &self.head {
            tensors.append(&mut head::tensors(&head.layer, "")?);
        }
        Ok(tensors)
    }

    fn checkpoint(&self) -> Result<Tensors> {
        let mut state = self.parameters()?;
        if let Some(Moments { layers, head }) = self.moments.as_deref() {
            for (moment, prefix) in [FIRST_MOMENT, SECOND_MOMENT].into_iter().enumerate() {
                state.append(&mut parameters::trained_tensors(self.trained_units(), &layers[moment], prefix)?);
                if let Some(head) = head {
                    state.append(&mut head::tensors(&head[moment], prefix)?);
                }
            }
        }
        Ok(state)
    }

    fn restore(&mut self, mut state: Tensors) -> Result<()> {
        let layers = Layer::take_all(&self.network, self.isa, &mut state)?;
        let size = self.head.as_ref().map(Head::size);
        let take_head =
            |state: &mut Tensors, prefix: &str| size.map(|size| head::take(self.isa, size, state, prefix)).transpose();
        let head = take_head(&mut state, "")?;
        let mut moments = None;
        if have_moments(&state) {
            let mut take = |prefix| Trained::take_all(self.trained_units(), self.isa, &mut state, prefix);
            let layers = [take(FIRST_MOMENT)?, take(SECOND_MOMENT)?];
            let head = [take_head(&mut state, FIRST_MOMENT)?, take_head(&mut state, SECOND_MOMENT)?];
            let head = if let [Some(first), Some(second)] = head { Some([first, second]) } else { None };
            moments = Some(Box::new(Moments { layers, head }));
        }
        none_left(&state)?;
        (self.layers, self.head, self.moments) = (layers, head.map(Head::new), moments);
        (self.frozen, self.prefix) = (OnceLock::new(), OnceLock::new());
        Ok(())
    }
}

/// Removes the counters of torchvision's files, and with `and_classifier` their classifier.
fn without_extras(tensors: &Tensors, and_classifier: bool) -> Tensors {
    let mut tensors = tensors.clone();
    tensors.retain(|name, _| !is_extra(name, and_classifier));
    tensors
}

/// True for a counter of torchvision's files, and with `and_classifier` for their classifier.
fn is_extra(name: &str, and_classifier: bool) -> bool {
    name.ends_with(".num_batches_tracked") || and_classifier && head::owns(name)
}
