//! Depthwise convolutions: every output sees one input.

use super::correlate::{Correlate, PAD, Tap};
use super::{Fill, Phases, UNLIMITED, Windows, copy};
use crate::matmul::{Finish, PLANES, with_buffer};
use crate::simd::{Isa, Kernel, Vector};
use crate::size::{product, sum, whole};
use rayon::prelude::*;

/// Planes of a task: clearing the buffer takes a small part of its time.
const TASK: usize = 16;

impl Windows {
    /// Depthwise convolution of planes, image by image and channel by channel. `weight` is `(channels, outputs, taps)` and the bias
    /// `(channels, outputs)`, `outputs` those of a channel; so are the planes of `output`. Every number is the bias and then one
    /// chain of multiply-adds, taps from top left to bottom right, within the bounds.
    pub fn depthwise(&self, isa: Isa, channels: usize, weight: &[f32], finish: Finish<'_>, planes: &[f32], output: &mut [f32]) {
        let outputs = self.check_depthwise(channels, weight, planes, output);
        let (bias, limits) = (finish.bias, finish.limits());
        assert!(bias.is_none_or(|bias| bias.len() == channels * outputs), "one bias for each output");
        let (phases, input_len, output_len, taps) = (Phases::new(*self), self.input_len(), self.output_len(), self.taps());
        let rows = self.output[0] * phases.pitch;
        let (padded, sums) = (sum([phases.len(), rows, PAD]), whole(rows, PAD));
        let offsets: Vec<usize> = (0..taps).map(|tap| phases.tap(tap / self.kernel[1], tap % self.kernel[1])).collect();
        let tasks = output.par_chunks_mut(TASK * outputs * output_len).zip(planes.par_chunks(TASK * input_len));
        tasks.enumerate().for_each(|(task, (output, planes))| {
            with_buffer(&PLANES, padded + sums, |buffer| {
                let (padded, sums) = buffer.split_at_mut(padded);
                padded.fill(0.0);
                let mut taps = Vec::with_capacity(taps);
                let targets = output.chunks_exact_mut(outputs * output_len);
                for ((index, plane), target) in planes.chunks_exact(input_len).enumerate().zip(targets) {
                    let channel = (task * TASK + index) % channels;
                    isa.run(Fill(phases, plane, padded));
                    for (output, target) in target.chunks_exact_mut(output_len).enumerate() {
                        let weights = &weight[(channel * outputs + output) * offsets.len()..][..offsets.len()];
                        taps.clear();
                        taps.extend(offsets.iter().zip(weights).map(|(&offset, &weight)| Tap { offset, weight }));
                        let start = bias.map_or(0.0, |bias| bias[channel * outputs + output]);
                        isa.run(Correlate { input: padded, taps: &taps, start, output: sums });
                        isa.run(Rows { source: sums, pitch: phases.pitch, width: self.output[1], limits, target });
                    }
                }
            });
        });
    }

    /// The gradient of the planes, `input`, from that of the results, `gradient`, as [`Windows::depthwise`].
    pub fn depthwise_input_gradient(&self, isa: Isa, channels: usize, weight: &[f32], gradient: &[f32], input: &mut [f32]) {
        let outputs = self.check_depthwise(channels, weight, input, gradient);
        let (input_len, output_len, taps) = (self.input_len(), self.output_len(), self.taps());
        // A window starts at most so many strides before a pixel in it.
        let most = [0, 1].map(|axis| (self.kernel[axis] - 1) * self.dilation[axis] / self.stride[axis]);
        // Zeros around the gradient; those on the left of a row are also on the right of the one before.
        let [rows, pitch] = [0, 1].map(|axis| sum([self.output[axis], most[axis]]));
        let each = product([rows + most[0], pitch]);
        // Rows of a phase that hold a pixel of the plane.
        let seen = [0, 1].map(|axis| self.seen(axis));
        if seen.contains(&0) {
            input.fill(0.0);
            return;
        }
        let first = self.before[0] / self.stride[0];
        let count = (self.before[0] + seen[0] - 1) / self.stride[0] + 1 - first;
        let len = whole(count * pitch, PAD);
        let padded = sum([product([outputs, each]), pitch, PAD]);
        let phases: Vec<[usize; 2]> =
            (0..self.stride[0]).flat_map(|row| (0..self.stride[1]).map(move |column| [row, column])).collect();
        // The taps under which the pixels of a phase lie, and the distances of the windows.
        let met: Vec<Vec<(usize, usize)>> = (phases.iter())
            .map(|phase| {
                let all = (0..taps)
                    .map(|tap| (tap, [tap / self.kernel[1] * self.dilation[0], tap % self.kernel[1] * self.dilation[1]]));
                let met = all.filter(|(_, at)| (0..2).all(|axis| at[axis] % self.stride[axis] == phase[axis]));
                met.map(|(tap, at)| (tap, (most[0] - at[0] / self.stride[0]) * pitch + most[1] - at[1] / self.stride[1]))
                    .collect()
            })
            .collect();
        let tasks = input.par_chunks_mut(TASK * input_len).zip(gradient.par_chunks(TASK * outputs * output_len));
        tasks.enumerate().for_each(|(task, (input, gradient))| {
            with_buffer(&PLANES, padded + len, |buffer| {
                let (padded, sums) = buffer.split_at_mut(padded);
                padded.fill(0.0);
                let mut list = Vec::with_capacity(taps * outputs);
                let sources = gradient.chunks_exact(outputs * output_len);
                for ((index, plane), sources) in input.chunks_exact_mut(input_len).enumerate().zip(sources) {
                    let channel = (task * TASK + index) % channels;
                    for (output, source) in sources.chunks_exact(output_len).enumerate() {
                        let target = &mut padded[output * each + most[0] * pitch + most[1]..];
                        isa.run(Spread { source, width: self.output[1], target, pitch });
                    }
                    if seen != self.input {
                        plane.fill(0.0);
                    }
                    for (phase, met) in phases.iter().zip(&met) {
                        list.clear();
                        list.extend((0..outputs).flat_map(|output| {
                            met.iter().map(move |&(tap, offset)| Tap {
                                offset: output * each + first * pitch + offset,
                                weight: weight[(channel * outputs + output) * taps + tap],
                            })
                        }));
                        isa.run(Correlate { input: padded, taps: &list, start: 0.0, output: sums });
                        isa.run(Join { windows: self, seen, phase: *phase, source: sums, first, pitch, plane });
                    }
                }
            });
        });
    }

    /// Panics on sizes that do not fit; returns the number of outputs of a channel.
    fn check_depthwise(&self, channels: usize, weight: &[f32], planes: &[f32], output: &[f32]) -> usize {
        self.check();
        let (each, len) = (product([channels, self.taps()]), product([channels, self.input_len()]));
        assert!(channels > 0 && each <= weight.len() && weight.len().is_multiple_of(each), "weights of every channel");
        let (outputs, images) = (weight.len() / each, planes.len() / len);
        assert!(planes.len() == product([images, len]), "planes of every channel");
        assert!(output.len() == product([images, channels, outputs, self.output_len()]), "planes of every output");
        outputs
    }
}

/// Copies rows of `width` numbers, `pitch` apart, to rows side by side, within limits.
struct Rows<'a, 't> {
    source: &'a [f32],
    pitch: usize,
    width: usize,
    limits: [f32; 2],
    target: &'t mut [f32],
}

impl Kernel for Rows<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        for (row, target) in self.target.chunks_exact_mut(self.width).enumerate() {
            copy::<V>(&self.source[row * self.pitch..][..self.width], target, self.limits);
        }
    }
}

/// Copies rows of `width` numbers, side by side, to rows `pitch` apart.
struct Spread<'a, 't> {
    source: &'a [f32],
    width: usize,
    target: &'t mut [f32],
    pitch: usize,
}

impl Kernel for Spread<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        for (row, source) in self.source.chunks_exact(self.width).enumerate() {
            copy::<V>(source, &mut self.target[row * self.pitch..][..self.width], UNLIMITED);
        }
    }
}

/// Copies a phase to its pixels of the plane.
struct Join<'a, 'p> {
    windows: &'a Windows,
    seen: [usize; 2],
    phase: [usize; 2],
    source: &'a [f32],
    /// Row of the phase that is the first one of `source`.
    first: usize,
    pitch: usize,
    plane: &'p mut [f32],
}

impl Kernel for Join<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { windows: &Windows { stride, before, input, .. }, seen: [rows, columns], phase, source, first, pitch, plane } =
            self;
        // The first pixel of the phase on the plane.
        let start = [0, 1].map(|axis| (phase[axis] + stride[axis] - before[axis] % stride[axis]) % stride[axis]);
        for y in (start[0]..rows).step_by(stride[0]) {
            let source = &source[((y + before[0]) / stride[0] - first) * pitch..][..pitch];
            let target = &mut plane[y * input[1]..][..columns];
            if stride[1] == 1 {
                copy::<V>(&source[before[1]..][..columns], target, UNLIMITED);
            } else if start[1] < columns {
                let source = &source[(start[1] + before[1]) / stride[1]..];
                target[start[1]..].iter_mut().step_by(stride[1]).zip(source).for_each(|(target, &value)| *target = value);
            }
        }
    }
}
