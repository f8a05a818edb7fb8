//! Convolutions of maps in PyTorch's layout, `(images, channels, height, width)`: each channel of an image is one plane.
//!
//! Planes are copied to a padded buffer in which every tap of the kernel is a constant distance, over the borders of rows as well.
//! With a stride of `s`, a plane becomes `s x s` smaller ones, of which each holds every `s`th row and column: the distances stay
//! constant, and the stride is 1.
//!
//! - [`Windows::depthwise`], [`Windows::depthwise_input_gradient`]: one channel in, one or a few out;
//! - [`Windows::convolve`], [`Windows::input_gradient`]: any convolution, as a product of matrices;
//! - [`to_stack`], [`from_stack`]: conversion to and from the layout of [`crate::maps`].

mod columns;
mod correlate;
mod depthwise;
mod stack;
#[cfg(test)]
mod tests;

pub use stack::{from_stack, to_stack};

use crate::simd::{Kernel, Vector};
use crate::size::{product, sum};

/// Windows of a convolution over a plane. Pairs are rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Taps of a window.
    pub kernel: [usize; 2],
    /// Distance of neighboring windows, in pixels.
    pub stride: [usize; 2],
    /// Distance of neighboring taps, in pixels.
    pub dilation: [usize; 2],
    /// Zeros above and to the left of the plane. The zeros below and to the right follow from the sizes.
    pub before: [usize; 2],
    /// Height and width of the plane.
    pub input: [usize; 2],
    /// Number of windows along the height and the width.
    pub output: [usize; 2],
}

impl Windows {
    /// Number of taps.
    pub fn taps(&self) -> usize {
        product(self.kernel)
    }
    /// Pixels of a plane.
    pub fn input_len(&self) -> usize {
        product(self.input)
    }
    /// Windows of a plane.
    pub fn output_len(&self) -> usize {
        product(self.output)
    }
    /// Rows or columns that the windows cover, padding included.
    fn covered(&self, axis: usize) -> usize {
        let span = product([self.output[axis] - 1, self.stride[axis]]);
        sum([span, product([self.kernel[axis] - 1, self.dilation[axis]]), 1])
    }
    /// Rows or columns of the plane that the windows cover; those behind them are in no window.
    fn seen(&self, axis: usize) -> usize {
        self.input[axis].min(self.covered(axis).saturating_sub(self.before[axis]))
    }
    /// Panics on windows over no plane and on sizes beyond any memory. For others, positions are computed with plain arithmetic.
    fn check(&self) {
        let all = [self.kernel, self.stride, self.dilation, self.input, self.output];
        assert!(all.as_flattened().iter().all(|&size| size > 0), "windows with a zero: {self:?}");
        let padded = [0, 1].map(|axis| sum([self.covered(axis), self.before[axis], self.input[axis], self.stride[axis]]));
        assert!(product([4, padded[0], padded[1]]) <= u32::MAX as usize, "windows too large: {self:?}");
        assert!(self.taps() <= u32::MAX as usize, "windows too large: {self:?}");
    }
}

/// Copies of a plane, padded and taken apart by the stride.
#[derive(Clone, Copy)]
struct Phases {
    windows: Windows,
    /// Distance of neighboring rows.
    pitch: usize,
    /// Numbers of one phase.
    each: usize,
}

impl Phases {
    fn new(windows: Windows) -> Self {
        let [rows, pitch] = [0, 1].map(|axis| windows.covered(axis).div_ceil(windows.stride[axis]));
        Self { windows, pitch, each: rows * pitch }
    }
    /// Numbers of all phases of a plane.
    fn len(&self) -> usize {
        product([self.each, product(self.windows.stride)])
    }
    /// Distance of a tap from the window's place in the first phase.
    fn tap(&self, row: usize, column: usize) -> usize {
        let Windows { stride, dilation, .. } = self.windows;
        let [row, column] = [row * dilation[0], column * dilation[1]];
        let phase = row % stride[0] * stride[1] + column % stride[1];
        phase * self.each + row / stride[0] * self.pitch + column / stride[1]
    }
    /// Copies a plane to its phases, in `phases`, which are zero in the padding.
    #[inline(always)]
    fn fill<V: Vector>(&self, plane: &[f32], phases: &mut [f32]) {
        let Windows { stride, before, input, .. } = self.windows;
        let [rows, columns] = [0, 1].map(|axis| self.windows.seen(axis));
        for (y, row) in plane.chunks_exact(input[1]).take(rows).enumerate() {
            let place = y + before[0];
            let line = place % stride[0] * stride[1] * self.each + place / stride[0] * self.pitch;
            if stride[1] == 1 {
                copy::<V>(&row[..columns], &mut phases[line + before[1]..][..columns], UNLIMITED);
                continue;
            }
            for x in 0..stride[1].min(columns) {
                let place = x + before[1];
                let source = &row[x..columns];
                let target = &mut phases[line + place % stride[1] * self.each + place / stride[1]..];
                copy_every(source, stride[1], &mut target[..source.len().div_ceil(stride[1])]);
            }
        }
    }
}

struct Fill<'a, 'p>(Phases, &'a [f32], &'p mut [f32]);

impl Kernel for Fill<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self(phases, plane, target) = self;
        phases.fill::<V>(plane, target);
    }
}

/// Copies every number whose index is a multiple of `stride`.
#[inline(always)]
fn copy_every(source: &[f32], stride: usize, target: &mut [f32]) {
    if stride != 2 {
        target.iter_mut().zip(source.iter().step_by(stride)).for_each(|(target, &value)| *target = value);
        return;
    }
    // A distance that the compiler knows: it reads whole registers.
    let (pairs, rest) = source.as_chunks::<2>();
    target.iter_mut().zip(pairs).for_each(|(target, pair)| *target = pair[0]);
    if let (&[last], Some(target)) = (rest, target.last_mut()) {
        *target = last;
    }
}

/// No limits: [`copy`] leaves all numbers as they are.
const UNLIMITED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// Copies a row within limits. A call of `memcpy` would take longer than most rows.
#[inline(always)]
fn copy<V: Vector>(source: &[f32], target: &mut [f32], [low, high]: [f32; 2]) {
    let len = source.len();
    assert!(target.len() == len, "rows of one length");
    if len < V::LANES {
        target.iter_mut().zip(source).for_each(|(target, &value)| *target = V::between_one(value, low, high));
        return;
    }
    let (low, high) = (V::splat(low), V::splat(high));
    // The last register may overlap the one before it.
    for at in (0..len).step_by(V::LANES).map(|at| at.min(len - V::LANES)) {
        // SAFETY: `at + LANES <= len`, the length of both rows.
        unsafe { V::load(source.as_ptr().add(at)).between(low, high).store(target.as_mut_ptr().add(at)) };
    }
}
