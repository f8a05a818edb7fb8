//! Randomness as an argument: every draw is keyed by what it is for, never by how many draws came before it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The one number a run is repeated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// What a stream of random numbers is for. The numbers are part of every recorded result: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[non_exhaustive]
pub enum Purpose {
    /// Initial weights, keyed by the position of the parameter.
    Weights = 1,
    /// The order of the training images, keyed by the epoch.
    Order = 2,
    /// Triplets or pairs, keyed by the optimizer step; those drawn from the whole training set by epoch and image.
    Sampling = 3,
    /// Which test images are attacked.
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
    /// The same sign inside adversarial training, keyed by epoch and image.
    TrainingFirstStep = 11,
    /// Toy data and toy models.
    Toy = 12,
    /// The target of a universal perturbation, keyed by batch and number.
    Universal = 30,
    /// What dropout silences, keyed by the optimizer step and the layer with the image's position in the batch.
    Dropout = 40,
    /// The crop and the flip of a training image, keyed by epoch and image.
    Augmentation = 50,
    /// The directions in which the gradient of a loss is measured, keyed by image.
    Directions = 70,
}

impl Seed {
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
    use rand::RngCore;

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
