//! The forward pass: sums, bias, ReLU and pooling.

use super::{ConvBlock, ConvShape, Rows, SILENT, Scratch};
use crate::simd::{Kernel, Vector};
use crate::tile::{Left, Right, Store, split, tile};

impl ConvBlock {
    /// One padded image in; its pooled rows and the winner of every window out.
    ///
    /// `winners` has [`ConvShape::pooled_len`] bytes, channel fastest.
    pub fn forward(&self, padded: &[f32], scratch: &mut Scratch, pooled: &mut [f32], rows: Rows, winners: &mut [u8]) {
        let ConvShape { outputs, inputs, kernel, width, .. } = self.shape;
        let (panel, inner) = (self.isa.panel(), kernel * self.shape.kernel_row());
        let padded_row = self.shape.padded_row();
        assert!(padded.len() >= self.shape.padded_len(), "a padded image");
        assert!(winners.len() == self.shape.pooled_len(), "room for one winner per pooled number");
        scratch.sums.resize(2 * width * outputs, 0.0);
        for (y, winners) in winners.chunks_exact_mut(width / 2 * outputs).enumerate() {
            for (line, sums) in scratch.sums.chunks_exact_mut(width * outputs).enumerate() {
                for columns in split(width, self.isa.rows()) {
                    let data = &padded[(2 * y + line) * padded_row + columns.start * inputs..];
                    let left =
                        Left { data, row: inputs, segment: padded_row, segments: kernel, step: 1, len: self.shape.kernel_row() };
                    for (first, weights) in self.forward.chunks_exact(inner * panel).enumerate() {
                        let out = &mut sums[columns.start * outputs + first * panel..];
                        tile(
                            self.isa,
                            columns.len(),
                            panel,
                            left,
                            Right { data: weights, stride: panel },
                            out,
                            outputs,
                            Store::Overwrite,
                        );
                    }
                }
            }
            let (top, bottom) = scratch.sums.split_at(width * outputs);
            let pooled = &mut pooled[rows.origin + y * rows.stride..][..width / 2 * outputs];
            self.isa.run(Pool { top, bottom, bias: &self.bias, pooled, winners });
        }
    }
}

struct Pool<'a> {
    top: &'a [f32],
    bottom: &'a [f32],
    bias: &'a [f32],
    pooled: &'a mut [f32],
    winners: &'a mut [u8],
}

impl Kernel for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let outputs = self.bias.len();
        let windows = self.top.chunks_exact(2 * outputs).zip(self.bottom.chunks_exact(2 * outputs));
        let results = self.pooled.chunks_exact_mut(outputs).zip(self.winners.chunks_exact_mut(outputs));
        for ((top, bottom), (pooled, winners)) in windows.zip(results) {
            let ((a, b), (c, d)) = (top.split_at(outputs), bottom.split_at(outputs));
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
                *winner = if best > 0.0 { who } else { SILENT };
                *pooled = if best > 0.0 { best } else { 0.0 };
            }
        }
    }
}
