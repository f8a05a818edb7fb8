//! A dataset: labels, and images by index.

use candle_core::{Device, Tensor};
use rand::Rng;
use rankle_core::dataset::check_indices;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Dataset, Result};
use std::f32::consts::{PI, TAU};

/// Gray images of 12×12 pixels with noisy stripes. The direction of the stripes is the class; their phase is random.
pub(crate) struct Gratings {
    labels: Vec<u32>,
    pixels: Vec<f32>,
}

const SIDE: usize = 12;
const DIRECTIONS: u32 = 6;

impl Gratings {
    /// Draws `len` images with a seed.
    pub(crate) fn new(len: usize, seed: Seed) -> Self {
        let labels: Vec<u32> = (0..len as u32).map(|image| image % DIRECTIONS).collect();
        let pixels = labels.iter().zip(0..).flat_map(|(&label, image)| grating(label, seed, image)).collect();
        Self { labels, pixels }
    }
}

fn grating(label: u32, seed: Seed, image: u64) -> Vec<f32> {
    let mut rng = seed.stream(Purpose::Toy, [image, 1]);
    let (sin, cos) = (PI * label as f32 / DIRECTIONS as f32).sin_cos();
    let start = rng.random_range(0.0..TAU);
    let places = (0..SIDE * SIDE).map(|pixel| cos * (pixel % SIDE) as f32 + sin * (pixel / SIDE) as f32);
    places.map(|along| 0.5 + 0.3 * (along + start).sin() + rng.random_range(-0.2..0.2)).collect()
}

impl Dataset for Gratings {
    fn name(&self) -> &str {
        "gratings"
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
        let pixels: Vec<f32> = indices.iter().flat_map(|&index| &self.pixels[index * size..][..size]).copied().collect();
        Ok(Tensor::from_vec(pixels, (indices.len(), 1, SIDE, SIDE), &Device::Cpu)?)
    }
}
