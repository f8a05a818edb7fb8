//! From the gradient of the pooled output to those of weights and bias.

use super::add_rows::{SLACK, add_rows};
use super::{ConvBlock, ConvShape, PooledSlope, SILENT, Scratch};
use crate::simd::{Kernel, Vector};

impl ConvBlock {
    /// Adds one image's gradient to `weight` (PyTorch's order only after [`ConvBlock::unpack_gradient`]) and `bias`.
    pub fn weight_gradient(
        &self,
        padded: &[f32],
        slope: PooledSlope<'_>,
        scratch: &mut Scratch,
        weight: &mut [f32],
        bias: &mut [f32],
    ) {
        let shape = self.shape;
        slope.check(shape);
        assert!(padded.len() == shape.padded_len(), "a padded image");
        assert!(weight.len() == shape.weights_len() && bias.len() == shape.outputs, "one sum per parameter");
        if shape.inputs == 1 {
            self.isa.run(PatchWeightGradient { block: self, padded, slope, weight, bias });
            return;
        }
        let windows = shape.height / 2 * (shape.width / 2);
        scratch.values.resize(shape.outputs * (windows + SLACK), 0.0);
        scratch.places.resize(shape.outputs * (windows + SLACK), 0);
        scratch.counts.clear();
        scratch.counts.resize(shape.outputs, 0);
        self.isa.run(WeightGradient { block: self, padded, slope, scratch, weight, bias });
    }

    /// From the order in which [`ConvBlock::weight_gradient`] sums into PyTorch's.
    pub fn unpack_gradient(&self, packed: &[f32]) -> Vec<f32> {
        let ConvShape { outputs, kernel, .. } = self.shape;
        let row = self.shape.kernel_row();
        assert!(packed.len() == self.shape.weights_len(), "one sum per weight");
        let mut torch = vec![0.0; packed.len()];
        for ky in 0..kernel {
            for output in 0..outputs {
                for tap in 0..row {
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

/// Weight gradient: per output channel a list of the live windows, each of which adds a stretch of the image to a kernel row.
struct WeightGradient<'a> {
    block: &'a ConvBlock,
    padded: &'a [f32],
    slope: PooledSlope<'a>,
    scratch: &'a mut Scratch,
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let shape = self.block.shape;
        let ConvShape { outputs, inputs, kernel, width, .. } = shape;
        let (row, half, padded_row) = (shape.kernel_row(), width / 2, shape.padded_row());
        let stride = shape.height / 2 * half + SLACK;
        let Scratch { values, places, counts, .. } = self.scratch;
        for (window, (winners, slope)) in self.slope.windows(shape).enumerate() {
            let corner = 2 * (window / half) * padded_row + 2 * (window % half) * inputs;
            let places_of = [0, inputs, padded_row, padded_row + inputs, 0].map(|offset| (corner + offset) as u32);
            for (channel, ((&winner, &value), count)) in winners.iter().zip(slope).zip(counts.iter_mut()).enumerate() {
                // Written in any case, kept only when live: no branch to mispredict.
                let at = channel * stride + *count;
                values[at] = value;
                places[at] = places_of[usize::from(winner.min(SILENT))];
                *count += usize::from(winner < SILENT);
            }
        }
        for (channel, (&count, bias)) in counts.iter().zip(self.bias).enumerate() {
            *bias += values[channel * stride..][..count].iter().sum::<f32>();
        }
        for ky in 0..kernel {
            for (channel, &count) in counts.iter().enumerate() {
                let (values, places) = (&values[channel * stride..][..count], &places[channel * stride..][..count]);
                let target = &mut self.weight[(ky * outputs + channel) * row..][..row];
                // SAFETY: a place is a pixel of the unpadded size; `ky` rows below it, where the slice starts, the kernel row's
                // `row` numbers lie inside the padded image. `ConvBlock::new` made `row` a multiple of 16, hence of `LANES`.
                unsafe { add_rows::<V>(target, values, places, &self.padded[ky * padded_row..]) };
            }
        }
    }
}

/// Weight gradient for one input channel: kernel rows are too short for lists, so the output channels fill the registers and a
/// comparison silences those that did not win. Sums in `[kernel * kernel][outputs]`.
struct PatchWeightGradient<'a> {
    block: &'a ConvBlock,
    padded: &'a [f32],
    slope: PooledSlope<'a>,
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
        let (outputs, half, padded_row) = (shape.outputs, shape.width / 2, shape.padded_row());
        for first in (0..outputs).step_by(V::LANES) {
            for ky in 0..K {
                let mut sums = [V::splat(0.0); K];
                let mut bias = V::splat(0.0);
                for (window, (winners, slope)) in self.slope.windows(shape).enumerate() {
                    let (winners, slope) = (&winners[first..][..V::LANES], &slope[first..][..V::LANES]);
                    for corner in 0..4 {
                        // SAFETY: both slices have `LANES` elements.
                        let live = unsafe { V::select_equal(winners.as_ptr(), corner as u8, slope.as_ptr()) };
                        bias = live.multiply_add(V::splat(1.0), bias);
                        let pixels = (2 * (window / half) + corner / 2 + ky) * padded_row + 2 * (window % half) + corner % 2;
                        for (sum, &pixel) in sums.iter_mut().zip(&self.padded[pixels..][..K]) {
                            *sum = live.multiply_add(V::splat(pixel), *sum);
                        }
                    }
                }
                for (kx, sum) in sums.into_iter().enumerate() {
                    let target = &mut self.weight[(ky * K + kx) * outputs + first..][..V::LANES];
                    // SAFETY: the slice has `LANES` elements.
                    unsafe { sum.multiply_add(V::splat(1.0), V::load(target.as_ptr())).store(target.as_mut_ptr()) };
                }
                if ky == 0 {
                    let target = &mut self.bias[first..][..V::LANES];
                    // SAFETY: the slice has `LANES` elements.
                    unsafe { bias.multiply_add(V::splat(1.0), V::load(target.as_ptr())).store(target.as_mut_ptr()) };
                }
            }
        }
    }
}
