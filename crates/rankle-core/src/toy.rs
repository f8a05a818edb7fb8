//! A dataset and an embedder small enough for examples and tests: they need no file and run in milliseconds.

use crate::dataset::check_indices;
use crate::seed::{Purpose, Seed};
use crate::{Dataset, Differentiable, Distance, Embedder, InputSpec, Result};
use candle_core::{Device, Tensor};
use rand::Rng;

/// 8×8 gray images of four classes, 50 of each: a bright blob in one of the four quarters, with noise.
#[derive(Clone, Debug)]
pub struct ToyDataset {
    pixels: Vec<f32>,
    labels: Vec<u32>,
}

const SIDE: usize = 8;
const IMAGES: usize = 200;

/// The toy dataset drawn with `seed`.
pub fn dataset(seed: u64) -> ToyDataset {
    let mut rng = Seed(seed).stream(Purpose::Toy, [0, 0]);
    let labels: Vec<u32> = (0..IMAGES).map(|image| (image % 4) as u32).collect();
    let mut pixels = Vec::with_capacity(IMAGES * SIDE * SIDE);
    for &label in &labels {
        let (top, left) = (label / 2 * 4, label % 2 * 4);
        for y in 0..SIDE as u32 {
            for x in 0..SIDE as u32 {
                let inside = (top..top + 4).contains(&y) && (left..left + 4).contains(&x);
                pixels.push(if inside { rng.random_range(0.4..1.0) } else { rng.random_range(0.0..0.3) });
            }
        }
    }
    ToyDataset { pixels, labels }
}

impl Dataset for ToyDataset {
    fn name(&self) -> &str {
        "toy"
    }
    fn shape(&self) -> (usize, usize, usize) {
        (1, SIDE, SIDE)
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn images(&self, indices: &[usize]) -> Result<Tensor> {
        check_indices("image", indices, self.len())?;
        let size = SIDE * SIDE;
        let pixels: Vec<f32> = indices.iter().flat_map(|&i| &self.pixels[i * size..][..size]).copied().collect();
        Ok(Tensor::from_vec(pixels, (indices.len(), 1, SIDE, SIDE), &Device::Cpu)?)
    }
}

/// A random linear map from 64 pixels to an embedding of 16 numbers.
#[derive(Clone, Debug)]
pub struct ToyEmbedder {
    weight: Tensor,
    distance: Distance,
}

/// The toy embedder drawn with `seed`.
///
/// # Errors
/// [`crate::Error::Tensor`] when a tensor operation fails.
pub fn embedder(seed: u64, distance: Distance) -> Result<ToyEmbedder> {
    let mut rng = Seed(seed).stream(Purpose::Toy, [1, 0]);
    let weight: Vec<f32> = (0..SIDE * SIDE * 16).map(|_| rng.random_range(-1.0..1.0)).collect();
    Ok(ToyEmbedder { weight: Tensor::from_vec(weight, (SIDE * SIDE, 16), &Device::Cpu)?, distance })
}

impl Embedder for ToyEmbedder {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        Ok(images.flatten_from(1)?.matmul(&self.weight)?)
    }
    fn distance(&self) -> Distance {
        self.distance
    }
    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, SIDE, SIDE))
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for ToyEmbedder {}
