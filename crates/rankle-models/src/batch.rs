//! Checks and splitting of batches, shared by the networks with kernels of their own.

use candle_core::{Device, Tensor};
use rankle_core::numbers::numbers;
use rankle_core::{Error, Result, Upstream, upstream_gradient};

/// Runs `work` on the pixels of a batch, all of which must be finite.
///
/// ReLU and pooling would hide a NaN: unchecked, a broken image would look like an ordinary one.
pub(crate) fn with_pixels<T>(images: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let pixels = numbers(images)?;
    if !finite(&pixels) {
        return Err(Error::NotFinite("a batch of images".into()));
    }
    Ok(work(&pixels))
}

/// Returns the number of images, if each has the shape `(channels, height, width)`.
pub(crate) fn check(images: &Tensor, (channels, height, width): (usize, usize, usize)) -> Result<usize> {
    match images.dims() {
        &[n, c, h, w] if (c, h, w) == (channels, height, width) => Ok(n),
        other => Err(Error::Shape {
            what: "a batch of images",
            actual: other.to_vec(),
            expected: format!("(n, {channels}, {height}, {width})"),
        }),
    }
}

/// Asks `upstream` for the gradient of embeddings of dimension `dim`, and checks its shape.
pub(crate) fn ask(embeddings: &[f32], dim: usize, upstream: &mut Upstream<'_>) -> Result<Vec<f32>> {
    let embeddings = Tensor::from_slice(embeddings, (embeddings.len() / dim, dim), &Device::Cpu)?;
    Ok(numbers(&upstream_gradient(&embeddings, upstream)?)?.to_vec())
}

/// True if no value is infinite or NaN.
pub(crate) fn finite(values: &[f32]) -> bool {
    !values.iter().fold(false, |broken, value| broken | !value.is_finite())
}

/// Size of the pieces that cut `n` images most evenly into pieces of at most `most` images.
pub(crate) fn even(n: usize, most: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).max(1)
}

/// Size of the pieces as [`even`], with about the same number of pieces for each thread of the current pool. For work on
/// independent images, whose results are the same in any pieces.
pub(crate) fn shares(n: usize, most: usize) -> usize {
    let pieces = n.div_ceil(most).next_multiple_of(rayon::current_num_threads());
    n.div_ceil(pieces.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_gets_as_many_pieces() {
        let pieces = |n: usize, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| n.div_ceil(shares(n, 56)))
        };
        for (n, threads, expected) in [(0, 2, 0), (1, 2, 1), (50, 1, 1), (50, 2, 2), (500, 1, 9), (500, 2, 10), (1000, 3, 18)] {
            assert_eq!(pieces(n, threads), expected, "{n} images, {threads} threads");
        }
    }
}
