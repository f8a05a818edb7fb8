//! Dropout, in training only.

use rand::Rng;
use rankle_core::Seed;
use rankle_core::seed::Purpose;

/// The dropout of one optimizer step: which numbers are silenced is keyed by seed, step and the image's position in the batch,
/// so it depends neither on threads nor on interruptions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropout {
    pub(super) seed: Seed,
    /// The optimizer step, counted from 1.
    pub(super) step: u32,
}

/// What the numbers that stay are multiplied with, so that sums keep their expected size.
pub(super) fn scale(probability: f32) -> f32 {
    1.0 / (1.0 - probability)
}

impl Dropout {
    /// Silences each of a layer's numbers with this probability. `rows` are those of the images from `first` on.
    pub(super) fn apply(&self, layer: usize, probability: f32, first: usize, rows: &mut [f32], width: usize) {
        for (image, row) in (first..).zip(rows.chunks_exact_mut(width)) {
            let mut rng = self.seed.stream(Purpose::Dropout, [u64::from(self.step), (layer as u64) << 32 | image as u64]);
            for number in row {
                let kept = rng.random::<f32>() >= probability;
                *number = if kept { *number * scale(probability) } else { 0.0 };
            }
        }
    }
}
