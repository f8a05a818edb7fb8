//! Random numbers for tests.

use rand::{Rng, SeedableRng};

/// Draws `len` numbers in `[-1, 1)`, always the same for a seed.
pub(crate) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}
