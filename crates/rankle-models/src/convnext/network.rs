//! ConvNeXt as an `Embedder`.

use super::Scale;
use super::strict;
use crate::ImageFormat;
use crate::batch::{check, with_pixels};
use crate::weights::Tensors;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Func, Module};
use candle_transformers::models::convnext::{Config, convnext_no_final_layer};
use rankle_core::{Differentiable, Distance, Embedder, Error, InputSpec, Result, Upstream};
use rayon::prelude::*;

/// A ConvNeXt with its weights, frozen: for attacks and measurement, not for training.
#[derive(Debug)]
pub struct ConvNext {
    scale: Scale,
    distance: Distance,
    format: ImageFormat,
    dtype: DType,
    mean: Tensor,
    std: Tensor,
    /// Network up to the mean over the pixels of the last map.
    trunk: Func<'static>,
    /// Weight and bias of the last layer normalization.
    norm: [Tensor; 2],
}

/// ε of every layer normalization.
const EPSILON: f32 = 1e-6;
/// Name of a part of ConvNeXt V2 that candle's builder looks for in V1, too.
const SECOND_VERSION: &str = ".grn.";

impl ConvNext {
    /// Loads weights under timm's names, `stem.0.weight` to `head.norm.bias`. A classifier (`head.fc.weight`, `head.fc.bias`) is
    /// not part of an embedding and is ignored.
    ///
    /// # Errors
    /// [`Error::Refused`] when a tensor is missing, left over, misshapen or not finite; [`Error::Shape`] for a format without
    /// three channels, with sides that are not multiples of 32, or so small that the last map would have one pixel.
    pub fn from_tensors(scale: Scale, tensors: &Tensors, format: ImageFormat, distance: Distance) -> Result<Self> {
        Self::with_dtype(scale, tensors, format, distance, DType::F32)
    }

    /// Loads weights as [`ConvNext::from_tensors`], for computations in `f32`, or in `f64` to check the error of `f32`.
    ///
    /// # Errors
    /// As [`ConvNext::from_tensors`].
    pub fn with_dtype(scale: Scale, tensors: &Tensors, format: ImageFormat, distance: Distance, dtype: DType) -> Result<Self> {
        let (height, width) = format.size;
        let whole = height.is_multiple_of(Scale::STEP) && width.is_multiple_of(Scale::STEP);
        if (format.mean.len(), format.std.len()) != (3, 3) || !whole || height * width <= Scale::STEP.pow(2) {
            return Err(Error::Shape {
                what: "an image for ConvNeXt",
                actual: vec![format.mean.len(), height, width],
                expected: "(3, height, width), sides multiples of 32, one of them at least 64".into(),
            });
        }
        let mut tensors = tensors.clone();
        tensors.retain(|name, _| name != "head.fc.weight" && name != "head.fc.bias");
        let (trunk, norm) = strict::build(tensors, dtype, SECOND_VERSION, |weights| {
            let config = match scale {
                Scale::Atto => Config::atto(),
                Scale::Tiny => Config::tiny(),
            };
            let norm = weights.pp("head.norm");
            let norm = ["weight", "bias"].map(|name| norm.get(scale.embedding_size(), name));
            Ok((convnext_no_final_layer(&config, weights)?, norm))
        })?;
        let [weight, bias] = norm;
        let channels = |values: &[f32]| Tensor::from_slice(values, (1, 3, 1, 1), &Device::Cpu)?.to_dtype(dtype);
        let (mean, std) = (channels(&format.mean)?, channels(&format.std)?);
        Ok(Self { scale, distance, format, dtype, mean, std, trunk, norm: [weight?, bias?] })
    }

    /// Embeds one image, `(1, 3, height, width)`, as `(1, d)`.
    fn forward(&self, image: &Tensor) -> candle_core::Result<Tensor> {
        let pixels = image.broadcast_sub(&self.mean)?.broadcast_div(&self.std)?;
        let [weight, bias] = &self.norm;
        // `candle_nn::LayerNorm` would take its fused path here, which has no gradient.
        candle_nn::ops::layer_norm_slow(&self.trunk.forward(&pixels)?, weight, bias, EPSILON)
    }

    /// Runs `work` on each image alone, as many at a time as there are threads, and stacks the results as `(n, …)`.
    fn each(&self, images: &Tensor, work: impl Fn(usize, Tensor) -> Result<Tensor> + Sync) -> Result<Option<Tensor>> {
        let n = check(images, self.format.input())?;
        with_pixels(&images.to_dtype(DType::F32)?, |_| ())?;
        let images = images.detach().to_dtype(self.dtype)?;
        let mut results = Vec::with_capacity(n);
        let places: Vec<usize> = (0..n).collect();
        for places in places.chunks(rayon::current_num_threads()) {
            let part = places.par_iter().map(|&place| work(place, images.narrow(0, place, 1)?.force_contiguous()?));
            results.extend(part.collect::<Result<Vec<_>>>()?);
        }
        Ok(if results.is_empty() { None } else { Some(Tensor::cat(&results, 0)?) })
    }
}

impl Embedder for ConvNext {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        match self.each(images, |_, image| Ok(self.forward(&image)?))? {
            Some(embeddings) => Ok(embeddings),
            None => Ok(Tensor::zeros((0, self.scale.embedding_size()), self.dtype, images.device())?),
        }
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn input(&self) -> InputSpec {
        Scale::input(self.format.input())
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for ConvNext {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let embeddings = self.embed(images)?;
        let upstream = upstream(&embeddings)?;
        if upstream.dims() != embeddings.dims() {
            let expected = format!("{:?}", embeddings.dims());
            return Err(Error::Shape { what: "the upstream gradient", actual: upstream.dims().to_vec(), expected });
        }
        let upstream = upstream.detach().to_dtype(self.dtype)?;
        let gradient = self.each(images, |place, image| {
            let image = Var::from_tensor(&image)?;
            let loss = (self.forward(&image)? * upstream.narrow(0, place, 1)?)?.sum_all()?;
            loss.backward()?.remove(&image).ok_or(Error::NoGradient)
        })?;
        Ok(gradient.map_or_else(|| images.zeros_like(), Ok)?)
    }
}
