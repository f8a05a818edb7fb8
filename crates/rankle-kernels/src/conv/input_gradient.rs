//! The input gradient: from the gradient of the pooled output to the gradient of the image.

use super::pooled::Windows;
use super::shape::REGISTER;
use super::{ConvBlock, ConvShape, PATCH_ROW, PooledUpstream, Scratch, paired, patch_len};
use crate::add_rows::add_rows;
use crate::simd::{Kernel, Vector};
use crate::size::product;

impl ConvBlock {
    /// Computes the gradient of one padded image from the gradient of its pooled output. `padded` is overwritten; the numbers on
    /// its borders belong to no pixel.
    pub fn input_gradient(&self, gradient: PooledUpstream<'_>, scratch: &mut Scratch, padded: &mut [f32]) {
        let (shape, block) = (self.shape, self);
        assert!(padded.len() == shape.padded_len(), "a padded image");
        padded.fill(0.0);
        let Scratch { values, places, counts, room, .. } = scratch;
        let windows = gradient.windows(shape, room);
        if shape.inputs == 1 {
            self.isa.run(PatchGradient { block, windows, padded });
        } else {
            let (lists, stride) = (4 * shape.pooled_height() * shape.pooled_width(), shape.outputs + REGISTER);
            let len = product([lists, stride]);
            values.resize(len, 0.0);
            places.resize(len, 0);
            counts.resize(lists, 0);
            self.isa.run(ListGradient { block, windows, values, places, counts, padded });
        }
    }
}

/// Input gradient for many input channels: per window and position a list of the live channels, each of which adds a kernel
/// row to a stretch of the image.
struct ListGradient<'a> {
    block: &'a ConvBlock,
    windows: Windows<'a>,
    values: &'a mut [f32],
    places: &'a mut [u32],
    counts: &'a mut [usize],
    padded: &'a mut [f32],
}

impl Kernel for ListGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { block, windows, values, places, counts, padded } = self;
        let shape = block.shape;
        let ConvShape { outputs, inputs, kernel, .. } = shape;
        let (row, stride) = (shape.table_row(), outputs + REGISTER);
        let (width, padded_row) = (shape.pooled_width(), shape.padded_row());
        for (window, (winners, gradient)) in windows.iter().enumerate() {
            for corner in 0..4 {
                let list = window * 4 + corner;
                let (values, places) = (&mut values[list * stride..][..stride], &mut places[list * stride..][..stride]);
                let mut count = 0;
                for first in (0..outputs).step_by(V::LANES) {
                    // SAFETY: both slices have a multiple of `REGISTER` and so of every `LANES` elements: a full register can be
                    // read at `first < outputs`. At most `first` entries were kept so far, and the list has room for `outputs`
                    // and a register: a full register can be written behind them.
                    count += unsafe {
                        V::keep_equal(
                            winners.as_ptr().add(first),
                            corner as u8,
                            gradient.as_ptr().add(first),
                            (first * row) as u32,
                            row as u32,
                            values.as_mut_ptr().add(count),
                            places.as_mut_ptr().add(count),
                        )
                    };
                }
                counts[list] = count;
            }
        }
        for ky in 0..kernel {
            let table = &block.backward[ky * outputs * row..][..outputs * row];
            for (list, &count) in counts.iter().enumerate() {
                let (window, corner) = (list / 4, list % 4);
                let (y, x) = (2 * (window / width) + corner / 2, 2 * (window % width) + corner % 2);
                // Gradients on the padding are not needed.
                if count == 0 || !shape.rows_on_image(y).contains(&ky) {
                    continue;
                }
                let target = &mut padded[(y + ky) * padded_row + x * inputs..][..row];
                let (values, places) = (&values[list * stride..][..count], &places[list * stride..][..count]);
                // SAFETY: every entry of `places` is `channel * row` with `channel < outputs`, since the channels behind are
                // silent; it fits in 32 bits (`ConvShape::check`). The table has `outputs * row` numbers; `row` is a multiple of
                // `REGISTER`, hence of every `LANES`. Behind the kernel row the table's zeros are added.
                unsafe { add_rows::<V>(target, values, places, table) };
            }
        }
    }
}

/// Input gradient for one input channel: every window adds one patch of `kernel + 1` rows.
struct PatchGradient<'a> {
    block: &'a ConvBlock,
    windows: Windows<'a>,
    padded: &'a mut [f32],
}

impl Kernel for PatchGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        // Registers per patch: the patches of one window are summed in `(kernel + 1) * 8 / LANES` registers.
        match (self.block.shape.kernel + 1) * PATCH_ROW / V::LANES {
            3 => self.compute::<V, 3>(),
            6 => self.compute::<V, 6>(),
            12 => self.compute::<V, 12>(),
            _ => self.compute_any::<V>(),
        }
    }
}

impl PatchGradient<'_> {
    #[inline(always)]
    fn compute<V: Vector, const N: usize>(self) {
        let shape = self.block.shape;
        let (outputs, patch_len) = (paired(shape.outputs), patch_len(shape.kernel));
        let (width, padded_row) = (shape.pooled_width(), shape.padded_row());
        let mut patch = [0.0f32; 16 * PATCH_ROW];
        for (window, (winners, gradient)) in self.windows.iter().enumerate() {
            let (winners, gradient) = (&winners[..outputs], &gradient[..outputs]);
            // Two chains per register hide the latency of the additions.
            let mut sums = [[V::splat(0.0); N]; 2];
            for (pair, (winners, gradient)) in winners.chunks_exact(2).zip(gradient.chunks_exact(2)).enumerate() {
                for (half, sums) in sums.iter_mut().enumerate() {
                    let table =
                        &self.block.backward[(usize::from(winners[half]) * outputs + 2 * pair + half) * patch_len..][..patch_len];
                    let value = V::splat(gradient[half]);
                    for (n, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: `N * LANES == patch_len`, as `run` chose `N`.
                        *sum = value.multiply_add(unsafe { V::load(table.as_ptr().add(n * V::LANES)) }, *sum);
                    }
                }
            }
            let [even, odd] = sums;
            for (n, (even, odd)) in even.into_iter().zip(odd).enumerate() {
                let sum = even.multiply_add(V::splat(1.0), odd);
                // SAFETY: `N * LANES == patch_len <= 16 * PATCH_ROW`.
                unsafe { sum.store(patch.as_mut_ptr().add(n * V::LANES)) };
            }
            let corner = 2 * (window / width) * padded_row + 2 * (window % width);
            add_patch(&patch, shape.kernel + 1, corner, padded_row, self.padded);
        }
    }

    #[inline(always)]
    fn compute_any<V: Vector>(self) {
        let shape = self.block.shape;
        let (outputs, patch_len) = (paired(shape.outputs), patch_len(shape.kernel));
        let (width, padded_row) = (shape.pooled_width(), shape.padded_row());
        let mut patch = [0.0f32; 16 * PATCH_ROW];
        for (window, (winners, gradient)) in self.windows.iter().enumerate() {
            patch[..patch_len].fill(0.0);
            for (output, (&winner, &value)) in winners.iter().zip(gradient).take(shape.outputs).enumerate() {
                let table = &self.block.backward[(usize::from(winner) * outputs + output) * patch_len..][..patch_len];
                patch.iter_mut().zip(table).for_each(|(sum, &weight)| *sum += value * weight);
            }
            let corner = 2 * (window / width) * padded_row + 2 * (window % width);
            add_patch(&patch, shape.kernel + 1, corner, padded_row, self.padded);
        }
    }
}

#[inline(always)]
fn add_patch(patch: &[f32], reach: usize, corner: usize, padded_row: usize, padded: &mut [f32]) {
    for (y, patch) in patch.chunks_exact(PATCH_ROW).take(reach).enumerate() {
        let row = &mut padded[corner + y * padded_row..][..reach];
        row.iter_mut().zip(patch).for_each(|(sum, &value)| *sum += value);
    }
}
