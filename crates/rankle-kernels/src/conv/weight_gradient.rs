//! The weight gradient: from the gradient of the pooled output to the gradients of weights and bias.

use super::pooled::Windows;
use super::shape::REGISTER;
use super::{ConvBlock, ConvShape, PooledUpstream, SILENT, Scratch};
use crate::add_rows::add_rows;
use crate::simd::{Kernel, Vector};
use crate::size::{product, whole};

impl ConvBlock {
    /// Adds one image's gradient to `weight` (in packed order, see [`ConvBlock::unpack_gradient`]) and `bias`.
    pub fn weight_gradient(
        &self,
        padded: &[f32],
        gradient: PooledUpstream<'_>,
        scratch: &mut Scratch,
        weight: &mut [f32],
        bias: &mut [f32],
    ) {
        let (shape, block) = (self.shape, self);
        assert!(padded.len() == shape.padded_len(), "a padded image");
        assert!(weight.len() == shape.gradient_len() && bias.len() == shape.outputs, "one sum per parameter");
        let Scratch { values, places, counts, room, .. } = scratch;
        let windows = gradient.windows(shape, room);
        if shape.inputs == 1 {
            self.isa.run(PatchWeightGradient { block, padded, windows, weight, bias });
            return;
        }
        // One list per channel; the silent channels that fill up the last register have lists, too, which stay empty.
        let (lists, stride) = (whole(shape.outputs, REGISTER), shape.pooled_height() * shape.pooled_width() + REGISTER);
        let len = product([lists, stride]);
        values.resize(len, 0.0);
        places.resize(len, 0);
        counts.clear();
        counts.resize(lists, 0);
        self.isa.run(WeightGradient { block, padded, windows, values, places, counts, weight, bias });
    }

    /// Brings the packed sums of [`ConvBlock::weight_gradient`] into PyTorch's order.
    pub fn unpack_gradient(&self, packed: &[f32]) -> Vec<f32> {
        let ConvShape { outputs, kernel, .. } = self.shape;
        let row = self.shape.table_row();
        assert!(packed.len() == self.shape.gradient_len(), "one sum per weight");
        let mut torch = vec![0.0; self.shape.weights_len()];
        for ky in 0..kernel {
            for output in 0..outputs {
                for tap in 0..self.shape.kernel_row() {
                    let place = if self.shape.inputs == 1 {
                        (ky * row + tap) * outputs + output
                    } else {
                        (ky * outputs + output) * row + tap
                    };
                    torch[self.shape.torch(output, ky, tap)] = packed[place];
                }
            }
        }
        torch
    }
}

/// Weight gradient for many input channels: per output channel a list of the live windows, each of which adds a stretch of the
/// image to a kernel row.
struct WeightGradient<'a> {
    block: &'a ConvBlock,
    padded: &'a [f32],
    windows: Windows<'a>,
    values: &'a mut [f32],
    places: &'a mut [u32],
    counts: &'a mut [usize],
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { block, padded, windows, values, places, counts, weight, bias } = self;
        let shape = block.shape;
        let ConvShape { outputs, inputs, kernel, .. } = shape;
        let (row, width, padded_row) = (shape.table_row(), shape.pooled_width(), shape.padded_row());
        let stride = shape.pooled_height() * width + REGISTER;
        for (window, (winners, gradient)) in windows.iter().enumerate() {
            let corner = 2 * (window / width) * padded_row + 2 * (window % width) * inputs;
            let places_of = [0, inputs, padded_row, padded_row + inputs, 0].map(|offset| (corner + offset) as u32);
            for (channel, ((&winner, &value), count)) in winners.iter().zip(gradient).zip(counts.iter_mut()).enumerate() {
                // Written in any case, kept only when live: no branch to mispredict.
                let at = channel * stride + *count;
                values[at] = value;
                places[at] = places_of[usize::from(winner.min(SILENT))];
                *count += usize::from(winner < SILENT);
            }
        }
        for (channel, (&count, bias)) in counts.iter().zip(bias).enumerate() {
            *bias += values[channel * stride..][..count].iter().sum::<f32>();
        }
        for ky in 0..kernel {
            for (channel, &count) in counts.iter().take(outputs).enumerate() {
                let (values, places) = (&values[channel * stride..][..count], &places[channel * stride..][..count]);
                let target = &mut weight[(ky * outputs + channel) * row..][..row];
                // SAFETY: there are as many windows as winners, `pooled_len`, so `places` holds positions of the kernel, which
                // fit in 32 bits, since `padded_len` does (`ConvShape::check`). `ky` rows below, where the slice starts, a kernel
                // row is inside the padded image, and the rest of the `row` numbers at most in the room behind it: the image has
                // exactly
                // `padded_len` numbers. `row` is a multiple of `REGISTER`, hence of every `LANES`.
                unsafe { add_rows::<V>(target, values, places, &padded[ky * padded_row..]) };
            }
        }
    }
}

/// Weight gradient for one input channel: kernel rows are too short for lists, so the output channels fill the registers, and a
/// comparison silences the channels in which another position won. Sums in `[kernel * kernel][outputs]`.
struct PatchWeightGradient<'a> {
    block: &'a ConvBlock,
    padded: &'a [f32],
    windows: Windows<'a>,
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

impl Kernel for PatchWeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        match self.block.shape.kernel {
            1 => self.compute::<V, 1>(),
            3 => self.compute::<V, 3>(),
            5 => self.compute::<V, 5>(),
            7 => self.compute::<V, 7>(),
            _ => unreachable!("ConvBlock::new allows no other kernel"),
        }
    }
}

impl PatchWeightGradient<'_> {
    #[inline(always)]
    fn compute<V: Vector, const K: usize>(self) {
        let shape = self.block.shape;
        let (outputs, width, padded_row) = (shape.outputs, shape.pooled_width(), shape.padded_row());
        for first in (0..outputs).step_by(V::LANES) {
            for ky in 0..K {
                let mut sums = [V::splat(0.0); K];
                let mut bias = V::splat(0.0);
                for (window, (winners, gradient)) in self.windows.iter().enumerate() {
                    let (winners, gradient) = (&winners[first..][..V::LANES], &gradient[first..][..V::LANES]);
                    for corner in 0..4 {
                        // SAFETY: both slices have `LANES` elements.
                        let live = unsafe { V::select_equal(winners.as_ptr(), corner as u8, gradient.as_ptr()) };
                        bias = live.multiply_add(V::splat(1.0), bias);
                        let pixels = (2 * (window / width) + corner / 2 + ky) * padded_row + 2 * (window % width) + corner % 2;
                        for (sum, &pixel) in sums.iter_mut().zip(&self.padded[pixels..][..K]) {
                            *sum = live.multiply_add(V::splat(pixel), *sum);
                        }
                    }
                }
                let channels = first..outputs.min(first + V::LANES);
                for (kx, sum) in sums.into_iter().enumerate() {
                    let row = &mut self.weight[(ky * K + kx) * outputs..][..outputs];
                    add_lanes(&mut row[channels.clone()], sum);
                }
                if ky == 0 {
                    add_lanes(&mut self.bias[channels], bias);
                }
            }
        }
    }
}

/// Adds the first lanes of a register to `target`, as many as it holds.
#[inline(always)]
fn add_lanes<V: Vector>(target: &mut [f32], sum: V) {
    let mut lanes = [0.0f32; REGISTER];
    // SAFETY: no register has more than `REGISTER` lanes.
    unsafe { sum.store(lanes.as_mut_ptr()) };
    target.iter_mut().zip(lanes).for_each(|(target, lane)| *target += lane);
}
