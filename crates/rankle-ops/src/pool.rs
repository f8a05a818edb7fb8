//! Pooling over windows and over whole images.

use crate::attach::attach;
use crate::check::detached;
use crate::padding::{Padding, Windows};
use crate::resize::{coefficients, separable};
use candle_core::{Result, Tensor, bail};
use std::ops::Range;

/// Windows of a pooling. Pairs are rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Pixels in a window.
    pub kernel: [usize; 2],
    /// Distance of neighboring windows, in pixels.
    pub stride: [usize; 2],
    /// Padding of the images. Each window has a pixel that is not padding.
    pub padding: Padding,
}

impl Pool {
    /// Square windows, and as much padding on every side.
    pub const fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: Padding::even(padding) }
    }

    fn windows(&self, operation: &str, x: &Tensor) -> Result<Windows> {
        let windows = Windows::new(operation, x, [self.kernel, self.stride, [1, 1]], self.padding)?;
        let beyond = |axis: usize| {
            let ([before, _], last) = (self.padding.along(axis), (windows.output[axis] - 1) * windows.stride[axis]);
            before >= self.kernel[axis] || last >= before + windows.input[axis]
        };
        if beyond(0) || beyond(1) {
            let (kernel, shape) = (self.kernel, x.shape());
            bail!("{operation}: a window of {kernel:?} within the padding alone, for images of shape {shape:?}")
        }
        Ok(windows)
    }
}

/// The largest pixel in each window: images `(n, c, h, w)` give `(n, c, rows, columns)`, with
/// `rows = (h + top + bottom - kernel rows) / stride + 1`, rounded down, and `columns` alike. Padding is never the largest.
///
/// The first of equal maxima in row-major order gets the whole gradient. A NaN counts as the largest, and the last of several NaN
/// gets the gradient. All this is as in PyTorch.
///
/// # Errors
/// Images of another shape or without a pixel, a zero among the options, no room for a window, a window within the
/// padding alone, or anything but f32 and f64.
pub fn max_pool2d(x: &Tensor, pool: &Pool) -> Result<Tensor> {
    let windows = pool.windows("max_pool2d", x)?;
    let (n, c, h, w) = x.dims4()?;
    let images = detached("max_pool2d", x)?;
    // A nearest pixel is in the window already: its copies change neither the maximum nor which of equal pixels comes first.
    let mut best = windows.padding.with_edges(&images)?;
    let mut best_at = None;
    if x.track_op() {
        // The index of each pixel in its image.
        let first_of_row = Tensor::arange_step(0, (h * w) as u32, w as u32, x.device())?.reshape((1, 1, h, 1))?;
        let at = first_of_row.broadcast_add(&Tensor::arange(0, w as u32, x.device())?)?;
        best_at = Some(windows.padding.with_edges(&at)?.broadcast_as(best.shape())?);
    }
    // First within each row of a window, then among its rows: the first maximum is the same.
    for axis in [1, 0] {
        (best, best_at) = maxima(&windows, axis, &best, best_at.as_ref())?;
    }
    let best = best.contiguous()?;
    let Some(best_at) = best_at else { return Ok(best) };

    let [rows, columns] = windows.output;
    let best_at = best_at.reshape((n * c, rows * columns))?;
    attach([x], best, move |gradient, _| {
        let sum = Tensor::zeros((n * c, h * w), gradient.dtype(), gradient.device())?;
        sum.scatter_add_set(&best_at, &gradient.reshape((n * c, rows * columns))?, 1)?;
        Ok([Some(sum.reshape((n, c, h, w))?)])
    })
}

/// The largest pixel of each window within a column, axis 0, or a row, axis 1, and which of `positions` it has.
fn maxima(windows: &Windows, axis: usize, pixels: &Tensor, positions: Option<&Tensor>) -> Result<(Tensor, Option<Tensor>)> {
    let mut best = windows.tap_along(axis, pixels, 0)?;
    let mut best_at = positions.map(|positions| windows.tap_along(axis, positions, 0)).transpose()?;
    for tap in 1..windows.kernel[axis] {
        let pixels = windows.tap_along(axis, pixels, tap)?;
        // Larger, or NaN.
        let wins = (pixels.gt(&best)? + pixels.ne(&pixels)?)?;
        best = wins.where_cond(&pixels, &best)?;
        if let (Some(positions), Some(at)) = (positions, &best_at) {
            best_at = Some(wins.where_cond(&windows.tap_along(axis, positions, tap)?, at)?);
        }
    }
    Ok((best, best_at))
}

/// The mean of the pixels in each window: images `(n, c, h, w)` give `(n, c, rows, columns)`, with
/// `rows = (h + top + bottom - kernel rows) / stride + 1`, rounded down, and `columns` alike. Padding counts as pixels of value 0
/// with `count_padding`, and not at all without: PyTorch's `count_include_pad`.
///
/// A gradient that is not finite turns that of its whole image into NaN.
///
/// # Errors
/// Images of another shape or without a pixel, a zero among the options, no room for a window, a window within the
/// padding alone, or anything but f32 and f64.
pub fn avg_pool2d(x: &Tensor, pool: &Pool, count_padding: bool) -> Result<Tensor> {
    let windows = pool.windows("avg_pool2d", x)?;
    let padded = windows.padding.with_zeros(&detached("avg_pool2d", x)?)?;
    let ([kernel_rows, kernel_columns], [stride_rows, stride_columns]) = (windows.kernel, windows.stride);
    let mut means = padded.avg_pool2d_with_stride((kernel_rows, kernel_columns), (stride_rows, stride_columns))?;

    // How many pixels each window averages over, along one dimension.
    let counts = [0, 1].map(|axis| {
        let count = |window: usize| if count_padding { windows.kernel[axis] } else { covered(&windows, axis, window).len() };
        (0..windows.output[axis]).map(count).collect::<Vec<_>>()
    });
    let fully = |axis: usize| counts[axis].iter().all(|count| *count == windows.kernel[axis]);
    if !(fully(0) && fully(1)) {
        let factors = |axis: usize| counts[axis].iter().map(|count| windows.kernel[axis] as f64 / *count as f64).collect();
        let [rows, columns] = windows.output;
        let (rows, columns) = (coefficients(factors(0), (rows, 1), x)?, coefficients(factors(1), (1, columns), x)?);
        means = means.broadcast_mul(&rows.broadcast_mul(&columns)?)?;
    }
    let like = x.detach();
    attach([x], means, move |gradient, _| {
        // What each pixel, a row, adds to each window, a column.
        let shares = |axis: usize| {
            let (pixels, count) = (windows.input[axis], windows.output[axis]);
            let mut shares = vec![0.0; pixels * count];
            for window in 0..count {
                covered(&windows, axis, window)
                    .for_each(|pixel| shares[pixel * count + window] = 1.0 / counts[axis][window] as f64);
            }
            coefficients(shares, (pixels, count), &like)
        };
        Ok([Some(separable(gradient, Some(&shares(0)?), Some(&shares(1)?))?)])
    })
}

/// The pixels in a window along one dimension.
fn covered(windows: &Windows, axis: usize, window: usize) -> Range<usize> {
    let ([before, _], start) = (windows.padding.along(axis), window * windows.stride[axis]);
    start.saturating_sub(before)..(start + windows.kernel[axis] - before).min(windows.input[axis])
}

/// The mean of each channel: images `(n, c, h, w)` give `(n, c)`.
///
/// # Errors
/// Images of another shape or without a pixel, or anything but f32 and f64.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = match *x.dims() {
        [n, c, h, w] if x.elem_count() > 0 => (n, c, h, w),
        _ => bail!("global_avg_pool: images of shape {:?}, where (n, c, h, w) without a zero is needed", x.shape()),
    };
    let means = detached("global_avg_pool", x)?.flatten_from(2)?.mean(2)?;
    attach([x], means, move |gradient, _| {
        let share = (gradient / (h * w) as f64)?.reshape((n, c, 1, 1))?;
        Ok([Some(share.broadcast_as((n, c, h, w))?.contiguous()?)])
    })
}
