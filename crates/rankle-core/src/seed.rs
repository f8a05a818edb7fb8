//! Keyed random numbers: a stream depends on seed, purpose and key, never on the draws before it.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Seed of a run: the same seed repeats the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// Purpose of a stream of random numbers. The discriminants are part of every recorded result: never renumber them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[non_exhaustive]
pub enum Purpose {
    /// Initial weights, keyed by the position of the parameter.
    Weights = 1,
    /// The order of the training images, keyed by the epoch.
    Order = 2,
    /// Triplets or pairs, keyed by the optimizer step; if drawn from the whole training set, keyed by epoch and image.
    Sampling = 3,
    /// The sample of images to attack.
    Images = 4,
    /// Targets of a candidate attack, plus direction, keyed by image.
    CandidateRaise = 5,
    /// Targets of a candidate attack, minus direction, keyed by image.
    CandidateLower = 6,
    /// Targets of a query attack, plus direction, keyed by image.
    QueryRaise = 7,
    /// Targets of a query attack, minus direction, keyed by image.
    QueryLower = 8,
    /// The random start of a search, keyed by image and restart.
    Start = 9,
    /// The sign of the first step of an embedding shift, keyed by image.
    FirstStep = 10,
    /// The sign of the first step of an embedding shift in adversarial training, keyed by epoch and image.
    TrainingFirstStep = 11,
    /// Toy data and toy models.
    Toy = 12,
    /// The target of a universal perturbation, keyed by the batch and the number of the perturbation.
    Universal = 30,
    /// The numbers that dropout sets to zero, keyed by the optimizer step and the layer with the image's position in the batch.
    Dropout = 40,
    /// The crop and the flip of a training image, keyed by epoch and image.
    Augmentation = 50,
    /// The squares of a random search, keyed by image and run.
    Square = 60,
    /// Seeds of the parts of the standard attack, keyed by the part.
    Parts = 61,
    /// Seeds of the searches of adversarial training, keyed by the epoch.
    TrainingSearch = 62,
    /// The directions along which the gradient of a loss is checked, keyed by image.
    Directions = 70,
}

impl Seed {
    /// The seed of a part of the work that has draws of its own.
    pub fn derived(self, purpose: Purpose, key: [u64; 2]) -> Self {
        Self(self.stream(purpose, key).next_u64())
    }

    /// An independent stream for `purpose` and `key`, the same on every machine.
    pub fn stream(self, purpose: Purpose, key: [u64; 2]) -> ChaCha8Rng {
        let mut bytes = [0; 32];
        for (slot, word) in bytes.chunks_exact_mut(8).zip([self.0, purpose as u64, key[0], key[1]]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha8Rng::from_seed(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_in_every_part_of_the_key_and_repeat() {
        let draw = |seed, purpose, key| Seed(seed).stream(purpose, key).next_u64();
        let base = draw(0, Purpose::Images, [0, 0]);
        assert_eq!(base, draw(0, Purpose::Images, [0, 0]));
        for other in [
            draw(1, Purpose::Images, [0, 0]),
            draw(0, Purpose::Order, [0, 0]),
            draw(0, Purpose::Images, [1, 0]),
            draw(0, Purpose::Images, [0, 1]),
        ] {
            assert_ne!(base, other);
        }
    }
}
