//! The forward pass: sums, bias, optional ReLU, and pooling.

use super::{ConvBlock, ConvShape, PooledRows, SILENT, Scratch};
use crate::simd::{Kernel, Vector};
use crate::size::{product, whole};
use crate::tile::{Left, Right, Store, Stretches, split, tile};

impl ConvBlock {
    /// Computes the pooled rows of one padded image, whose padding is zero, and the winner of every window: `winners` has
    /// [`ConvShape::pooled_len`] bytes, channel fastest.
    pub fn forward(&self, padded: &[f32], scratch: &mut Scratch, pooled: &mut [f32], rows: PooledRows, winners: &mut [u8]) {
        let ConvShape { outputs, inputs, kernel, relu, .. } = self.shape;
        let (panel, kernel_row) = (self.isa.panel(), self.shape.kernel_row());
        let inner = kernel * kernel_row;
        let (padded_row, width, stride) = (self.shape.padded_row(), 2 * self.shape.pooled_width(), whole(outputs, panel));
        assert!(padded.len() >= self.shape.padded_len(), "a padded image");
        assert!(winners.len() == self.shape.pooled_len(), "room for one winner per pooled number");
        assert!(pooled.len() >= rows.end(self.shape), "room for the pooled rows");
        scratch.sums.resize(product([2, width, stride]), 0.0);
        for (y, winners) in winners.chunks_exact_mut(self.shape.pooled_row()).enumerate() {
            for (line, sums) in scratch.sums.chunks_exact_mut(width * stride).enumerate() {
                // Kernel rows on the padding are skipped: they would add zeros.
                let reach = self.shape.rows_on_image(2 * y + line);
                if reach.is_empty() {
                    sums.fill(0.0);
                    continue;
                }
                for columns in split(width, self.isa.rows()) {
                    let data = &padded[(2 * y + line + reach.start) * padded_row + columns.start * inputs..];
                    let left = Left {
                        data,
                        row: inputs,
                        step: 1,
                        stretches: Stretches::Even { count: reach.len(), apart: padded_row },
                        len: kernel_row,
                    };
                    for (first, weights) in self.forward.chunks_exact(inner * panel).enumerate() {
                        // A last panel with few channels needs only one register.
                        let few = outputs - first * panel <= self.isa.lanes();
                        let out = &mut sums[columns.start * stride + first * panel..];
                        tile(
                            self.isa,
                            columns.len(),
                            if few { self.isa.lanes() } else { panel },
                            left,
                            Right { data: &weights[reach.start * kernel_row * panel..], stride: panel },
                            out,
                            stride,
                            Store::Overwrite,
                        );
                    }
                }
            }
            let (top, bottom) = scratch.sums.split_at(width * stride);
            let pooled = &mut pooled[rows.origin + y * rows.stride..][..self.shape.pooled_row()];
            self.isa.run(Pool { top, bottom, stride, bias: &self.bias, relu, pooled, winners });
        }
    }
}

/// Pools two rows of sums, `stride` numbers per column, to one row.
struct Pool<'a> {
    top: &'a [f32],
    bottom: &'a [f32],
    stride: usize,
    bias: &'a [f32],
    relu: bool,
    pooled: &'a mut [f32],
    winners: &'a mut [u8],
}

impl Kernel for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        if self.relu { self.pool::<true>() } else { self.pool::<false>() }
    }
}

impl Pool<'_> {
    #[inline(always)]
    fn pool<const RELU: bool>(self) {
        let (outputs, stride) = (self.bias.len(), self.stride);
        let windows = self.top.chunks_exact(2 * stride).zip(self.bottom.chunks_exact(2 * stride));
        let results = self.pooled.chunks_exact_mut(outputs).zip(self.winners.chunks_exact_mut(outputs));
        for ((top, bottom), (pooled, winners)) in windows.zip(results) {
            let ((a, b), (c, d)) = (top.split_at(stride), bottom.split_at(stride));
            // The bias ends with the last channel, so the unused columns are skipped.
            let corners = a.iter().zip(b).zip(c.iter().zip(d));
            for ((((&a, &b), (&c, &d)), &bias), (pooled, winner)) in corners.zip(self.bias).zip(pooled.iter_mut().zip(winners)) {
                let (mut best, mut who) = (a + bias, 0u8);
                let mut challenge = |value: f32, index: u8| {
                    who = if value > best { index } else { who };
                    best = if value > best { value } else { best };
                };
                challenge(b + bias, 1);
                challenge(c + bias, 2);
                challenge(d + bias, 3);
                let live = !RELU || best > 0.0;
                *winner = if live { who } else { SILENT };
                *pooled = if live { best } else { 0.0 };
            }
        }
    }
}
