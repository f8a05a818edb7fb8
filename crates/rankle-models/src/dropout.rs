//! Dropout in training.

use rand::Rng;
use rankle_core::Seed;
use rankle_core::seed::Purpose;

/// Dropout of one optimizer step. The dropped outputs are keyed by the seed, the step, the layer and the position of the image in
/// the batch, so they depend neither on threads nor on interruptions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    pub(crate) seed: Seed,
    /// The optimizer step, counted from 1.
    pub(crate) step: u32,
}

/// Factor of the outputs that are kept, so that the expected value of a sum stays the same.
pub(crate) fn scale(probability: f32) -> f32 {
    1.0 / (1.0 - probability)
}

impl Dropout {
    /// Drops each output of a layer with this probability. `rows` hold one image each, from position `first` of the batch on.
    pub(crate) fn apply(&self, layer: usize, probability: f32, first: usize, rows: &mut [f32], width: usize) {
        for (image, row) in (first..).zip(rows.chunks_exact_mut(width)) {
            let mut rng = self.seed.stream(Purpose::Dropout, [u64::from(self.step), (layer as u64) << 32 | image as u64]);
            for number in row {
                let kept = rng.random::<f32>() >= probability;
                *number = if kept { *number * scale(probability) } else { 0.0 };
            }
        }
    }
}
