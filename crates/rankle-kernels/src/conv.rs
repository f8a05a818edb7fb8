//! Convolution, bias, ReLU and 2×2 max pooling as one block, with both gradients.
//!
//! Images are padded and channel-last: a kernel row of `kernel * inputs` numbers is contiguous, so the convolution is a
//! [`tile`] of a matrix product on the image itself. Two rows of sums stay in the first-level cache until they are pooled;
//! what is kept is the pooled value and one byte: which of the four positions won.
//!
//! Behind a 2×2 pooling at most every fourth sum has a gradient, and ReLU silences more. The gradients therefore go through
//! lists of the live ones instead of through a dense convolution.

use crate::aligned::Aligned;
use crate::simd::{Isa, Kernel, Vector};
use crate::tile::{Left, Right, Store, split, tile};

/// The winner of a pooling window that ReLU silenced. Windows with a live winner hold 0 to 3: row by row, left to right; of
/// equal values the first wins, as in PyTorch.
pub const SILENT: u8 = 4;

/// A convolution of stride 1 whose output is as large as its input, followed by ReLU and a 2×2 max pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output: a multiple of 32.
    pub outputs: usize,
    /// Side of the kernel: odd; at most 7 when there is one input channel.
    pub kernel: usize,
    /// Rows of the input: even.
    pub height: usize,
    /// Columns of the input: even.
    pub width: usize,
}

impl ConvShape {
    /// Zeros on each side of the input.
    pub fn padding(&self) -> usize {
        self.kernel / 2
    }
    /// Numbers in one row of the padded input.
    pub fn padded_row(&self) -> usize {
        (self.width + 2 * self.padding()) * self.inputs
    }
    /// Numbers in the padded input.
    pub fn padded_len(&self) -> usize {
        (self.height + 2 * self.padding()) * self.padded_row()
    }
    /// Where the image starts in the padded input.
    pub fn padded_origin(&self) -> usize {
        self.padding() * (self.padded_row() + self.inputs)
    }
    /// Numbers in the pooled output.
    pub fn pooled_len(&self) -> usize {
        self.height / 2 * (self.width / 2) * self.outputs
    }
    /// Numbers in the weights.
    pub fn weights_len(&self) -> usize {
        self.outputs * self.inputs * self.kernel * self.kernel
    }
    /// Contiguous numbers under one row of the kernel.
    fn kernel_row(&self) -> usize {
        self.kernel * self.inputs
    }
    /// Position in PyTorch's weight layout `(outputs, inputs, kernel, kernel)`; `tap` counts along a kernel row,
    /// channel fastest.
    fn torch(&self, output: usize, ky: usize, tap: usize) -> usize {
        ((output * self.inputs + tap % self.inputs) * self.kernel + ky) * self.kernel + tap / self.inputs
    }
}

/// Where pooled rows lie in memory: the pooled output of one block is the inside of the padded input of the next.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Position of the first number.
    pub origin: usize,
    /// Numbers from one row to the next.
    pub stride: usize,
}

/// Working memory of one thread.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    sums: Vec<f32>,
    values: Vec<f32>,
    places: Vec<u32>,
    counts: Vec<usize>,
}

/// A [`ConvShape`] with weights, packed for both directions.
#[derive(Clone, Debug)]
pub struct ConvBlock {
    shape: ConvShape,
    isa: Isa,
    bias: Vec<f32>,
    /// `[outputs / panel][kernel * kernel * inputs][panel]`.
    forward: Aligned,
    /// Many input channels: `[kernel][outputs][kernel * inputs]`. One input channel: `[5 winners][outputs][PATCH]`, the kernel
    /// shifted to each of the four positions of a window, and zeros for the silent one.
    backward: Aligned,
}

/// The footprint of a pooling window on a one-channel image: up to 8 columns in each of `kernel + 1` rows.
const PATCH_ROW: usize = 8;

impl ConvBlock {
    /// Packs PyTorch's weights `(outputs, inputs, kernel, kernel)` and bias.
    pub fn new(isa: Isa, shape: ConvShape, weight: &[f32], bias: &[f32]) -> Self {
        let ConvShape { outputs, inputs, kernel, height, width } = shape;
        assert!(outputs % 32 == 0 && kernel % 2 == 1 && height % 2 == 0 && width % 2 == 0, "shape of a convolution block");
        assert!(weight.len() == shape.weights_len() && bias.len() == outputs, "sizes of a convolution's parameters");
        assert!(if inputs == 1 { kernel < PATCH_ROW } else { shape.kernel_row().is_multiple_of(16) }, "kernel rows");
        let (panel, row) = (isa.panel(), shape.kernel_row());
        let mut forward = Aligned::zeros(outputs * kernel * row);
        for output in 0..outputs {
            for ky in 0..kernel {
                for tap in 0..row {
                    let inner = ky * row + tap;
                    forward[(output / panel * kernel * row + inner) * panel + output % panel] = weight[shape.torch(output, ky, tap)];
                }
            }
        }
        let mut backward;
        if inputs == 1 {
            let patch = patch_len(kernel);
            backward = Aligned::zeros(5 * outputs * patch);
            for winner in 0..4 {
                for output in 0..outputs {
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let place = (ky + winner / 2) * PATCH_ROW + kx + winner % 2;
                            backward[(winner * outputs + output) * patch + place] = weight[shape.torch(output, ky, kx)];
                        }
                    }
                }
            }
        } else {
            backward = Aligned::zeros(kernel * outputs * row);
            for ky in 0..kernel {
                for output in 0..outputs {
                    for tap in 0..row {
                        backward[(ky * outputs + output) * row + tap] = weight[shape.torch(output, ky, tap)];
                    }
                }
            }
        }
        Self { shape, isa, bias: bias.to_vec(), forward, backward }
    }

    /// The shape.
    pub fn shape(&self) -> ConvShape {
        self.shape
    }

    /// One padded image in; its pooled rows and the winner of every window out.
    ///
    /// `winners` has [`ConvShape::pooled_len`] bytes, channel fastest.
    pub fn forward(&self, padded: &[f32], scratch: &mut Scratch, pooled: &mut [f32], rows: Rows, winners: &mut [u8]) {
        let ConvShape { outputs, inputs, kernel, height, width } = self.shape;
        let (panel, inner) = (self.isa.panel(), kernel * self.shape.kernel_row());
        let padded_row = self.shape.padded_row();
        assert!(padded.len() >= self.shape.padded_len() && winners.len() == self.shape.pooled_len());
        scratch.sums.resize(2 * width * outputs, 0.0);
        for (y, winners) in winners.chunks_exact_mut(width / 2 * outputs).enumerate() {
            debug_assert!(y < height / 2);
            for (line, sums) in scratch.sums.chunks_exact_mut(width * outputs).enumerate() {
                for columns in split(width, self.isa.rows()) {
                    let data = &padded[(2 * y + line) * padded_row + columns.start * inputs..];
                    let left =
                        Left { data, row: inputs, segment: padded_row, segments: kernel, step: 1, len: self.shape.kernel_row() };
                    for (first, weights) in self.forward.chunks_exact(inner * panel).enumerate() {
                        let out = &mut sums[columns.start * outputs + first * panel..];
                        tile(self.isa, columns.len(), panel, left, Right { data: weights, stride: panel }, out, outputs, Store::Overwrite);
                    }
                }
            }
            let (top, bottom) = scratch.sums.split_at(width * outputs);
            let pooled = &mut pooled[rows.origin + y * rows.stride..][..width / 2 * outputs];
            self.isa.run(Pool { top, bottom, bias: &self.bias, pooled, winners });
        }
    }

    /// The gradient of one padded image from that of its pooled output. `slope` holds pooled rows as `rows` says;
    /// `padded` is overwritten, its borders with numbers that belong to no pixel.
    pub fn input_gradient(&self, slope: &[f32], rows: Rows, winners: &[u8], scratch: &mut Scratch, padded: &mut [f32]) {
        let shape = self.shape;
        assert!(padded.len() == shape.padded_len() && winners.len() == shape.pooled_len());
        assert!(slope.len() >= rows.origin + (shape.height / 2 - 1) * rows.stride + shape.width / 2 * shape.outputs);
        padded.fill(0.0);
        if shape.inputs == 1 {
            self.isa.run(PatchGradient { block: self, slope, rows, winners, padded });
        } else {
            let stride = shape.outputs + SLACK;
            scratch.values.resize(winners.len() / shape.outputs * 4 * stride, 0.0);
            scratch.places.resize(winners.len() / shape.outputs * 4 * stride, 0);
            scratch.counts.resize(winners.len() / shape.outputs * 4, 0);
            self.isa.run(ListGradient { block: self, slope, rows, winners, scratch, padded });
        }
    }

    /// Adds one image's gradient to `weight` (PyTorch's order only after [`ConvBlock::unpack_gradient`]) and `bias`.
    pub fn weight_gradient(
        &self,
        padded: &[f32],
        slope: &[f32],
        rows: Rows,
        winners: &[u8],
        scratch: &mut Scratch,
        weight: &mut [f32],
        bias: &mut [f32],
    ) {
        let shape = self.shape;
        assert!(padded.len() == shape.padded_len() && winners.len() == shape.pooled_len());
        assert!(weight.len() == shape.weights_len() && bias.len() == shape.outputs);
        assert!(slope.len() >= rows.origin + (shape.height / 2 - 1) * rows.stride + shape.width / 2 * shape.outputs);
        if shape.inputs == 1 {
            self.isa.run(PatchWeightGradient { block: self, padded, slope, rows, winners, weight, bias });
            return;
        }
        let windows = winners.len() / shape.outputs;
        scratch.values.resize(shape.outputs * (windows + SLACK), 0.0);
        scratch.places.resize(shape.outputs * (windows + SLACK), 0);
        scratch.counts.clear();
        scratch.counts.resize(shape.outputs, 0);
        self.isa.run(WeightGradient { block: self, padded, slope, rows, winners, scratch, weight, bias });
    }

    /// From the order in which [`ConvBlock::weight_gradient`] sums into PyTorch's.
    pub fn unpack_gradient(&self, packed: &[f32]) -> Vec<f32> {
        let ConvShape { outputs, kernel, .. } = self.shape;
        let row = self.shape.kernel_row();
        let mut torch = vec![0.0; packed.len()];
        for ky in 0..kernel {
            for output in 0..outputs {
                for tap in 0..row {
                    let place = if self.shape.inputs == 1 { (ky * row + tap) * outputs + output } else { (ky * outputs + output) * row + tap };
                    torch[self.shape.torch(output, ky, tap)] = packed[place];
                }
            }
        }
        torch
    }
}

/// Room behind every list, for the last full register written to it.
const SLACK: usize = 16;

fn patch_len(kernel: usize) -> usize {
    (kernel + 1) * PATCH_ROW
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

/// `row[..] += Σ_i values[i] * table[places[i]..]`, ten registers at a time.
///
/// # Safety
/// `table[place + len]` exists for every place; `row` has `len` numbers, a multiple of `V::LANES`.
#[inline(always)]
unsafe fn add_rows<V: Vector>(row: *mut f32, len: usize, values: &[f32], places: &[u32], table: *const f32) {
    let mut done = 0;
    while done + 10 * V::LANES <= len {
        // SAFETY: `done + 10 * LANES <= len`.
        unsafe { add_rows_chunk::<V, 10>(row.add(done), values, places, table.add(done)) };
        done += 10 * V::LANES;
    }
    while done < len {
        // SAFETY: `len` is a multiple of `LANES`.
        unsafe { add_rows_chunk::<V, 1>(row.add(done), values, places, table.add(done)) };
        done += V::LANES;
    }
}

#[inline(always)]
unsafe fn add_rows_chunk<V: Vector, const N: usize>(row: *mut f32, values: &[f32], places: &[u32], table: *const f32) {
    let mut sums = [V::splat(0.0); N];
    // SAFETY: the caller's promise: N registers at `row` and at every place of the table.
    unsafe {
        for (n, sum) in sums.iter_mut().enumerate() {
            *sum = V::load(row.add(n * V::LANES));
        }
        for (&value, &place) in values.iter().zip(places) {
            let (value, source) = (V::splat(value), table.add(place as usize));
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = value.multiply_add(V::load(source.add(n * V::LANES)), *sum);
            }
        }
        for (n, sum) in sums.into_iter().enumerate() {
            sum.store(row.add(n * V::LANES));
        }
    }
}

/// Input gradient for many input channels: per window and position a list of the live channels, each of which adds a kernel
/// row to a stretch of the image.
struct ListGradient<'a> {
    block: &'a ConvBlock,
    slope: &'a [f32],
    rows: Rows,
    winners: &'a [u8],
    scratch: &'a mut Scratch,
    padded: &'a mut [f32],
}

impl Kernel for ListGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let shape = self.block.shape;
        let ConvShape { outputs, inputs, kernel, width, .. } = shape;
        let (row, stride) = (shape.kernel_row(), outputs + SLACK);
        let Scratch { values, places, counts, .. } = self.scratch;
        let half = width / 2;
        for (window, winners) in self.winners.chunks_exact(outputs).enumerate() {
            let slope = &self.slope[self.rows.origin + window / half * self.rows.stride + window % half * outputs..][..outputs];
            for corner in 0..4 {
                let list = window * 4 + corner;
                let (values, places) = (&mut values[list * stride..][..stride], &mut places[list * stride..][..stride]);
                let mut count = 0;
                for first in (0..outputs).step_by(V::LANES) {
                    // SAFETY: `outputs` is a multiple of every `LANES`, so a full register can be read at `first`; at most
                    // `first` entries were kept, and the list has `SLACK >= LANES` numbers of room behind its last one.
                    count += unsafe {
                        V::keep_equal(
                            winners.as_ptr().add(first),
                            corner as u8,
                            slope.as_ptr().add(first),
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
            let table = &self.block.backward[ky * outputs * row..][..outputs * row];
            for (list, &count) in counts.iter().enumerate() {
                if count == 0 {
                    continue;
                }
                let (window, corner) = (list / 4, list % 4);
                let (y, x) = (2 * (window / half) + corner / 2, 2 * (window % half) + corner % 2);
                let target = &mut self.padded[(y + ky) * shape.padded_row() + x * inputs..][..row];
                let (values, places) = (&values[list * stride..][..count], &places[list * stride..][..count]);
                // SAFETY: every place is `channel * row` with `channel < outputs`, and the table has `outputs * row` numbers.
                unsafe { add_rows::<V>(target.as_mut_ptr(), row, values, places, table.as_ptr()) };
            }
        }
    }
}

/// Input gradient for one input channel: every window adds one patch of `kernel + 1` rows.
struct PatchGradient<'a> {
    block: &'a ConvBlock,
    slope: &'a [f32],
    rows: Rows,
    winners: &'a [u8],
    padded: &'a mut [f32],
}

impl Kernel for PatchGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        // Registers per patch row: the patches of one window are summed in `(kernel + 1) * 8 / LANES` of them.
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
        let (outputs, half, patch_len) = (shape.outputs, shape.width / 2, patch_len(shape.kernel));
        let mut patch = [0.0f32; 16 * PATCH_ROW];
        for (window, winners) in self.winners.chunks_exact(outputs).enumerate() {
            let slope = &self.slope[self.rows.origin + window / half * self.rows.stride + window % half * outputs..][..outputs];
            // Two chains per register hide the latency of the additions.
            let mut sums = [[V::splat(0.0); N]; 2];
            for (pair, (winners, slope)) in winners.chunks_exact(2).zip(slope.chunks_exact(2)).enumerate() {
                for (half, sums) in sums.iter_mut().enumerate() {
                    let table = &self.block.backward[(usize::from(winners[half]) * outputs + 2 * pair + half) * patch_len..][..patch_len];
                    let value = V::splat(slope[half]);
                    for (n, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: `N * LANES == patch_len`.
                        *sum = value.multiply_add(unsafe { V::load(table.as_ptr().add(n * V::LANES)) }, *sum);
                    }
                }
            }
            for n in 0..N {
                let sum = sums[0][n].multiply_add(V::splat(1.0), sums[1][n]);
                // SAFETY: `N * LANES == patch_len <= 16 * PATCH_ROW`.
                unsafe { sum.store(patch.as_mut_ptr().add(n * V::LANES)) };
            }
            add_patch(shape, window, &patch, self.padded);
        }
    }

    #[inline(always)]
    fn compute_any<V: Vector>(self) {
        let shape = self.block.shape;
        let (outputs, half, patch_len) = (shape.outputs, shape.width / 2, patch_len(shape.kernel));
        let mut patch = [0.0f32; 16 * PATCH_ROW];
        for (window, winners) in self.winners.chunks_exact(outputs).enumerate() {
            let slope = &self.slope[self.rows.origin + window / half * self.rows.stride + window % half * outputs..][..outputs];
            patch[..patch_len].fill(0.0);
            for (output, (&winner, &value)) in winners.iter().zip(slope).enumerate() {
                let table = &self.block.backward[(usize::from(winner) * outputs + output) * patch_len..][..patch_len];
                patch.iter_mut().zip(table).for_each(|(sum, &weight)| *sum += value * weight);
            }
            add_patch(shape, window, &patch, self.padded);
        }
    }
}

#[inline(always)]
fn add_patch(shape: ConvShape, window: usize, patch: &[f32], padded: &mut [f32]) {
    let (half, reach) = (shape.width / 2, shape.kernel + 1);
    let corner = 2 * (window / half) * shape.padded_row() + 2 * (window % half);
    for (y, patch) in patch.chunks_exact(PATCH_ROW).take(reach).enumerate() {
        let row = &mut padded[corner + y * shape.padded_row()..][..reach];
        row.iter_mut().zip(patch).for_each(|(sum, &value)| *sum += value);
    }
}

/// Weight gradient: per output channel a list of the live windows, each of which adds a stretch of the image to a kernel row.
struct WeightGradient<'a> {
    block: &'a ConvBlock,
    padded: &'a [f32],
    slope: &'a [f32],
    rows: Rows,
    winners: &'a [u8],
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
        let stride = self.winners.len() / outputs + SLACK;
        let Scratch { values, places, counts, .. } = self.scratch;
        for (window, winners) in self.winners.chunks_exact(outputs).enumerate() {
            let slope = &self.slope[self.rows.origin + window / half * self.rows.stride + window % half * outputs..][..outputs];
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
                // SAFETY: a place is the corner of a window; `ky` rows below it, `row` numbers lie inside the padded image.
                unsafe { add_rows::<V>(target.as_mut_ptr(), row, values, places, self.padded[ky * padded_row..].as_ptr()) };
            }
        }
    }
}

/// Weight gradient for one input channel: kernel rows are too short for lists, so the output channels fill the registers and a
/// comparison silences those that did not win. Sums in `[kernel * kernel][outputs]`.
struct PatchWeightGradient<'a> {
    block: &'a ConvBlock,
    padded: &'a [f32],
    slope: &'a [f32],
    rows: Rows,
    winners: &'a [u8],
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
                for (window, winners) in self.winners.chunks_exact(outputs).enumerate() {
                    let at = self.rows.origin + window / half * self.rows.stride + window % half * outputs + first;
                    let slope = &self.slope[at..][..V::LANES];
                    let winners = &winners[first..][..V::LANES];
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
