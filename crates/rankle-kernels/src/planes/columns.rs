//! Any convolution as a product of matrices: the weights, and a matrix with one column per window.

use super::{Fill, Phases, Windows};
use crate::matmul::{Finish, Matrix, PLANES, multiply, multiply_packed, with_buffer};
use crate::simd::Isa;
use crate::size::{product, sum};
use crate::tile::Store;
use std::ops::Range;

impl Windows {
    /// Convolution of the planes of one image, `(inputs, height, width)`, with `weight` `(outputs, inputs, taps)`. `output` is
    /// `(outputs, rows, columns)`. Every number is a chain of multiply-adds: inputs ascending, taps from top left to bottom right.
    pub fn convolve(&self, isa: Isa, weight: &[f32], finish: Finish<'_>, planes: &[f32], output: &mut [f32]) {
        let (inputs, outputs) = self.check_planes(weight, planes, output);
        let (phases, taps) = (Phases::new(*self), self.taps());
        let (len, rows) = (phases.len(), self.output[0] * phases.pitch);
        let weight = Matrix::new(weight, outputs, inputs * taps);
        let offsets: Vec<usize> = (0..taps).map(|tap| phases.tap(tap / self.kernel[1], tap % self.kernel[1])).collect();
        with_buffer(&PLANES, sum([product([inputs, len]), rows]), |padded| {
            padded.fill(0.0);
            for (plane, padded) in planes.chunks_exact(self.input_len()).zip(padded.chunks_exact_mut(len)) {
                isa.run(Fill(phases, plane, padded));
            }
            let padded = &*padded;
            let width = self.output[1];
            let pack = |inner: Range<usize>, columns: Range<usize>, packed: &mut [f32]| {
                let panel = isa.panel();
                let (first, count) = (columns.start, columns.len());
                let start = first / width * phases.pitch + first % width;
                // Windows of one row are side by side.
                let together = first % width + count <= width;
                let mut places = [0usize; 32];
                for (place, at) in places.iter_mut().zip(columns) {
                    *place = at / width * phases.pitch + at % width;
                }
                for (k, packed) in inner.zip(packed.chunks_exact_mut(panel)) {
                    let base = k / taps * len + offsets[k % taps];
                    if together && count == panel {
                        copy_panel(&padded[base + start..][..panel], packed);
                    } else {
                        let source = &padded[base..];
                        places[..count].iter().zip(packed).for_each(|(&place, packed)| *packed = source[place]);
                    }
                }
            };
            multiply_packed(isa, weight, self.output_len(), pack, output, Store::Overwrite, finish);
        });
    }

    /// The gradient of the planes of one image, `input`, from that of the results, `gradient`, as [`Windows::convolve`].
    pub fn input_gradient(&self, isa: Isa, weight: &[f32], gradient: &[f32], input: &mut [f32]) {
        let (inputs, outputs) = self.check_planes(weight, input, gradient);
        let (taps, output_len) = (self.taps(), self.output_len());
        let weight = Matrix::new(weight, outputs, inputs * taps);
        let [rows, columns] = [0, 1].map(|axis| self.seen(axis));
        with_buffer(&PLANES, product([taps, output_len]), |products| {
            for (channel, plane) in input.chunks_exact_mut(self.input_len()).enumerate() {
                plane.fill(0.0);
                // The product is small enough for the cache, and every pixel gets its sum in the order of the taps.
                let weight = weight.columns_from(channel * taps, taps);
                multiply(isa, weight.t(), Matrix::new(gradient, outputs, output_len), products);
                for (tap, products) in products.chunks_exact(output_len).enumerate() {
                    let at = [tap / self.kernel[1] * self.dilation[0], tap % self.kernel[1] * self.dilation[1]];
                    // The first window in which a pixel of the plane lies under the tap.
                    let first = [0, 1].map(|axis| self.before[axis].saturating_sub(at[axis]).div_ceil(self.stride[axis]));
                    for (row, products) in products.chunks_exact(self.output[1]).enumerate().skip(first[0]) {
                        let y = row * self.stride[0] + at[0] - self.before[0];
                        if y >= rows {
                            break;
                        }
                        let x = first[1] * self.stride[1] + at[1] - self.before[1];
                        if first[1] < products.len() && x < columns {
                            let target = plane[y * self.input[1] + x..y * self.input[1] + columns].iter_mut();
                            let products = &products[first[1]..];
                            if self.stride[1] == 1 {
                                target.zip(products).for_each(|(target, product)| *target += product);
                            } else {
                                target.step_by(self.stride[1]).zip(products).for_each(|(target, product)| *target += product);
                            }
                        }
                    }
                }
            }
        });
    }

    /// Panics on sizes that do not fit; returns the numbers of inputs and outputs.
    fn check_planes(&self, weight: &[f32], planes: &[f32], output: &[f32]) -> (usize, usize) {
        self.check();
        let (inputs, outputs) = (planes.len() / self.input_len(), output.len() / self.output_len());
        assert!(inputs > 0 && planes.len() == inputs * self.input_len(), "planes of every input");
        assert!(outputs > 0 && output.len() == outputs * self.output_len(), "planes of every output");
        assert!(weight.len() == product([outputs, inputs, self.taps()]), "one weight per output, input and tap");
        (inputs, outputs)
    }
}

/// Copies a panel, in steps of one of the shortest panels: fewer instructions than a call of `memcpy`.
#[inline(always)]
fn copy_panel(source: &[f32], target: &mut [f32]) {
    let (source, _) = source.as_chunks::<8>();
    let (target, _) = target.as_chunks_mut::<8>();
    target.iter_mut().zip(source).for_each(|(target, source)| *target = *source);
}
