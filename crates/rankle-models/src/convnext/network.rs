//! The network behind the trait.

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

/// A ConvNeXt with its weights: frozen, to be attacked and measured.
#[derive(Debug)]
pub struct ConvNext {
    scale: Scale,
    distance: Distance,
    format: ImageFormat,
    dtype: DType,
    mean: Tensor,
    std: Tensor,
    /// Up to the mean over the pixels of the last map.
    trunk: Func<'static>,
    /// Weight and bias of the last norm.
    norm: [Tensor; 2],
}

/// Of every norm.
const EPSILON: f32 = 1e-6;
/// A part of the second version of ConvNeXt that candle's builder looks for in the first.
const SECOND_VERSION: &str = ".grn.";

impl ConvNext {
    /// Weights under timm's names, `stem.0.weight` to `head.norm.bias`. A classifier (`head.fc.weight`, `head.fc.bias`) is no
    /// part of an embedding and is passed over.
    ///
    /// # Errors
    /// [`Error::Refused`] when a tensor is missing, left over, misshapen or not finite; [`Error::Shape`] for a format without
    /// three channels or with sides that are no multiples of 32, or of which nothing but a pixel would be left.
    pub fn from_tensors(scale: Scale, tensors: &Tensors, format: ImageFormat, distance: Distance) -> Result<Self> {
        Self::with_dtype(scale, tensors, format, distance, DType::F32)
    }

    /// As [`ConvNext::from_tensors`], with embeddings and gradients in `f32` or `f64`: the second shows how exact the first is.
    ///
    /// # Errors
    /// The same.
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

    /// One image, `(1, 3, height, width)`, to `(1, d)`.
    fn forward(&self, image: &Tensor) -> candle_core::Result<Tensor> {
        let pixels = image.broadcast_sub(&self.mean)?.broadcast_div(&self.std)?;
        let [weight, bias] = &self.norm;
        // candle's own norm would take the path without a gradient here.
        candle_nn::ops::layer_norm_slow(&self.trunk.forward(&pixels)?, weight, bias, EPSILON)
    }

    /// What `work` makes of each of the images, `(n, …)`. As many at a time as there are threads, each of them alone.
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
