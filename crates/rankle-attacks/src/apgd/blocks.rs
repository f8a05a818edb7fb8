//! Means of an image's numbers over blocks.

use candle_core::Tensor;
use rankle_core::Result;

/// Replaces each number of images `(n, c, h, w)` by the mean over its block of `side` × `side`, counted from the upper left. What a block
/// has beyond the edge counts as 0.
pub(super) fn mean_of_blocks(images: Tensor, side: usize) -> Result<Tensor> {
    if side <= 1 {
        return Ok(images);
    }
    let (n, channels, height, width) = images.dims4()?;
    let [down, across] = [height, width].map(|len| len.div_ceil(side));
    let whole = images.pad_with_zeros(2, 0, down * side - height)?.pad_with_zeros(3, 0, across * side - width)?;
    let means = whole.avg_pool2d(side)?.reshape((n, channels, down, 1, across, 1))?;
    let spread = means.broadcast_as((n, channels, down, side, across, side))?;
    let whole = spread.reshape((n, channels, down * side, across * side))?;
    Ok(whole.narrow(2, 0, height)?.narrow(3, 0, width)?.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_block_has_its_mean_and_zeros_beyond_the_edge() {
        let images = Tensor::arange(0f32, 15.0, &Device::Cpu).unwrap().reshape((1, 1, 3, 5)).unwrap();
        let values = |side: usize| {
            let means = mean_of_blocks(images.clone(), side).unwrap();
            assert_eq!(means.dims(), images.dims());
            means.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(values(1), (0..15).map(|at| at as f32).collect::<Vec<_>>());
        let (upper, lower) = ([3.0, 3.0, 5.0, 5.0, 3.25], [5.25, 5.25, 6.25, 6.25, 3.5]);
        assert_eq!(values(2), [upper, upper, lower].concat());
    }
}
