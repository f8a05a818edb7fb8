//! Pseudo-random numbers that the PyTorch side of the benchmark computes to the same bit, so that no large files are exchanged.

/// `len` numbers in `[-1, 1)`: 24 bits of a hash of the stream and the index. `crates/rankle-models/tests/fixtures/formula.py`
/// is the same in Python.
pub(super) fn unit(stream: u32, len: usize) -> impl Iterator<Item = f32> {
    let stream = mix(stream);
    (0..len as u32).map(move |place| ((mix(stream ^ place) >> 8) as f32 - 8_388_608.0) / 8_388_608.0)
}

/// The 32-bit finalizer of MurmurHash3.
fn mix(mut hash: u32) -> u32 {
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
    hash ^ (hash >> 16)
}

/// `each` gallery items for every image, row by row, spread over the gallery.
pub(super) fn some_items(images: usize, each: usize, items: usize) -> Vec<u32> {
    (0..images * each).map(|at| ((7919 * at + 13) % items) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of `formula.unit(25_001, 3)` and `formula.unit(7, 2)` in Python.
    #[test]
    fn python_computes_the_same() {
        assert_eq!(
            unit(25_001, 3).map(f64::from).collect::<Vec<_>>(),
            [0.9675871133804321, -0.39400577545166016, -0.030928611755371094]
        );
        assert_eq!(unit(7, 2).map(f64::from).collect::<Vec<_>>(), [-0.19289827346801758, 0.17388641834259033]);
        assert_eq!(some_items(2, 2, 10_000), [13, 7932, 5851, 3770]);
    }
}
