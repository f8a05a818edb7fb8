//! Softmax regression, the simplest classifier: one dense layer from pixels to logits (METHOD.md 3.6).

use crate::batch::{ask, check, finite, shares, with_pixels};
use crate::dense::PackedDense;
use crate::expression::{Expression, Parameter, Pass};
use crate::weights::{FIRST_MOMENT, SECOND_MOMENT, Tensors, have_moments, none_left};
use candle_core::Tensor;
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Error, InputSpec, Result, Seed, Trainable, Upstream};
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use rayon::prelude::*;
use std::sync::OnceLock;

/// Softmax regression of 28×28 gray images. [`Embedder::embed`] returns ten logits, one per class.
#[derive(Debug)]
pub struct SoftmaxRegression {
    isa: Isa,
    layer: PackedDense,
    /// Weights packed for input gradients. Packed on first use, and cleared by a training step.
    transposed: OnceLock<Panels>,
    moments: Option<Box<[PackedDense; 2]>>,
}

const PIXELS: usize = 28 * 28;
/// Name of the layer in the public PyTorch code.
const LAYER: &str = "fc1";
/// Maximum number of images per task. No result depends on it.
const CHUNK: usize = 56;

impl SoftmaxRegression {
    /// `(channels, height, width)` of the images.
    pub const INPUT: (usize, usize, usize) = (1, 28, 28);
    /// Number of classes.
    pub const CLASSES: usize = 10;

    /// Initializes weights uniformly in `±1/√784` (PyTorch's default), keyed by the seed.
    pub fn initialize(seed: Seed) -> Self {
        let isa = Isa::best();
        Self::assemble(isa, PackedDense::initialize(isa, Self::CLASSES, PIXELS, seed, 0))
    }

    /// Loads weights under the names of the public PyTorch code, `fc1.weight` and `fc1.bias`.
    ///
    /// # Errors
    /// [`Error::Refused`] when a tensor is missing, left over, misshapen or not finite.
    pub fn from_tensors(tensors: &Tensors) -> Result<Self> {
        Self::with_isa(tensors, Isa::best())
    }

    /// Loads weights as [`SoftmaxRegression::from_tensors`], for a chosen instruction set.
    ///
    /// # Errors
    /// As [`SoftmaxRegression::from_tensors`].
    pub fn with_isa(tensors: &Tensors, isa: Isa) -> Result<Self> {
        let mut tensors = tensors.clone();
        let layer = take(isa, &mut tensors, "")?;
        none_left(&tensors)?;
        Ok(Self::assemble(isa, layer))
    }

    fn assemble(isa: Isa, layer: PackedDense) -> Self {
        Self { isa, layer, transposed: OnceLock::new(), moments: None }
    }

    fn logits(&self, pixels: &[f32]) -> Vec<f32> {
        let n = pixels.len() / PIXELS;
        let mut logits = vec![0.0; n * Self::CLASSES];
        let chunk = shares(n, CHUNK);
        let pieces = pixels.par_chunks(chunk * PIXELS).zip(logits.par_chunks_mut(chunk * Self::CLASSES));
        pieces.for_each(|(pixels, logits)| self.layer.apply(pixels, logits));
        logits
    }
}

fn take(isa: Isa, tensors: &mut Tensors, prefix: &str) -> Result<PackedDense> {
    PackedDense::take(isa, SoftmaxRegression::CLASSES, PIXELS, tensors, &format!("{prefix}{LAYER}"))
}

impl Embedder for SoftmaxRegression {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let n = check(images, Self::INPUT)?;
        let logits = with_pixels(images, |pixels| self.logits(pixels))?;
        Ok(Tensor::from_vec(logits, (n, Self::CLASSES), images.device())?)
    }

    /// Euclidean distance, which does not normalize logits. A classifier ranks nothing.
    fn distance(&self) -> Distance {
        Distance::Euclidean
    }

    fn input(&self) -> InputSpec {
        InputSpec::of_shape(Self::INPUT)
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for SoftmaxRegression {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let n = check(images, Self::INPUT)?;
        let logits = with_pixels(images, |pixels| self.logits(pixels))?;
        let upstream = ask(&logits, Self::CLASSES, upstream)?;
        let transposed = self.transposed.get_or_init(|| self.layer.weights.transposed());
        let mut gradient = vec![0.0; n * PIXELS];
        let chunk = shares(n, CHUNK);
        let pieces = upstream.par_chunks(chunk * Self::CLASSES).zip(gradient.par_chunks_mut(chunk * PIXELS));
        pieces.for_each(|(upstream, gradient)| transposed.multiply(upstream, gradient));
        Ok(Tensor::from_vec(gradient, images.shape(), images.device())?)
    }
}

impl Trainable for SoftmaxRegression {
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()> {
        if check(images, Self::INPUT)? == 0 {
            return Err(Error::Empty("images in a batch"));
        }
        let (pixels, logits) = with_pixels(images, |pixels| (pixels.to_vec(), self.logits(pixels)))?;
        let upstream = ask(&logits, Self::CLASSES, upstream)?;
        if !finite(&upstream) {
            return Err(Error::NotFinite("the gradient of the loss".into()));
        }
        let start = || [self.layer.zeros_like(), self.layer.zeros_like()];
        let [first, second] = &mut **self.moments.get_or_insert_with(|| Box::new(start()));
        self.layer.update([first, second], self.isa, &pixels, &upstream, adam);
        self.transposed = OnceLock::new();
        Ok(())
    }

    fn parameters(&self) -> Result<Tensors> {
        self.layer.to_tensors(LAYER)
    }

    fn checkpoint(&self) -> Result<Tensors> {
        let mut state = self.parameters()?;
        if let Some([first, second]) = self.moments.as_deref() {
            state.append(&mut first.to_tensors(&format!("{FIRST_MOMENT}{LAYER}"))?);
            state.append(&mut second.to_tensors(&format!("{SECOND_MOMENT}{LAYER}"))?);
        }
        Ok(state)
    }

    fn restore(&mut self, mut state: Tensors) -> Result<()> {
        let mut restored = Self::assemble(self.isa, take(self.isa, &mut state, "")?);
        if have_moments(&state) {
            let mut moment = |prefix| take(self.isa, &mut state, prefix);
            restored.moments = Some(Box::new([moment(FIRST_MOMENT)?, moment(SECOND_MOMENT)?]));
        }
        none_left(&state)?;
        *self = restored;
        Ok(())
    }
}

/// The expression of [`SoftmaxRegression`].
pub(crate) struct SoftmaxExpression;

impl Expression for SoftmaxExpression {
    fn input(&self) -> InputSpec {
        InputSpec::of_shape(SoftmaxRegression::INPUT)
    }

    fn embedding_size(&self) -> usize {
        SoftmaxRegression::CLASSES
    }

    fn parameters(&self) -> Vec<Parameter> {
        Parameter::layer(LAYER, [SoftmaxRegression::CLASSES, PIXELS]).into()
    }

    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> candle_core::Result<Tensor> {
        pass.linear(LAYER, &images.flatten_from(1)?)
    }
}
