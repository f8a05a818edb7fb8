//! Pooling on stacks of maps.

use super::axis::{Reach, Run};
use crate::simd::{Isa, Kernel, Vector};
use crate::size::{product, sum};

/// ReLU and max pooling of a map: any window, stride and padding.
///
/// The input is the map before the ReLU: a window's output is its largest number if that is above zero, else zero. The position
/// that won is stored; the first of equal numbers wins, as in PyTorch. A window that ReLU silenced has no gradient.
#[derive(Clone, Debug)]
pub struct MaxPool {
    input: (usize, usize),
    output: (usize, usize),
    kernel: usize,
    rows: Vec<Run>,
    columns: Vec<Run>,
}

/// The winner of a window that ReLU silenced.
pub(super) const SILENT: u8 = u8::MAX;

impl MaxPool {
    /// PyTorch's `MaxPool2d(kernel, stride, padding)`.
    pub fn new(kernel: usize, stride: usize, padding: usize, input: (usize, usize)) -> Self {
        assert!((1..=15).contains(&kernel) && stride >= 1 && padding <= kernel / 2, "a pooling window");
        let padded = |side: usize| sum([side, 2 * padding]);
        assert!(padded(input.0) >= kernel && padded(input.1) >= kernel, "a pooling window larger than the input");
        assert!(padded(input.0).max(padded(input.1)) <= u32::MAX as usize, "a map too large to be pooled");
        let side = |side: usize| (padded(side) - kernel) / stride + 1;
        let output = (side(input.0), side(input.1));
        let reach = |input, output| Reach { kernel, stride, before: padding, input, output }.forward();
        Self { input, output, kernel, rows: reach(input.0, output.0), columns: reach(input.1, output.1) }
    }

    /// Rows and columns of the input.
    pub(super) fn input(&self) -> (usize, usize) {
        self.input
    }

    pub(super) fn kernel(&self) -> usize {
        self.kernel
    }

    /// Rows and columns of the output.
    pub fn output(&self) -> (usize, usize) {
        self.output
    }

    /// Pools the map of one image, `channels` numbers per pixel, into its position in a stack. `winners` has one byte per number
    /// of the stack.
    pub fn forward(&self, isa: Isa, input: &[f32], channels: usize, place: StackIndex, output: &mut [f32], winners: &mut [u8]) {
        self.check(input.len(), channels, place, output.len(), winners.len());
        let mut sources = Vec::with_capacity(self.kernel * self.kernel);
        self.windows(|pixel, taps| {
            sources.clear();
            sources.extend(taps.map(|(tap, source)| (tap, source * channels)));
            let at = place.of(pixel) * channels;
            let (output, winners) = (&mut output[at..][..channels], &mut winners[at..][..channels]);
            isa.run(Window { input, sources: &sources, output, winners });
        });
    }

    /// Computes the gradient of one image's map, before the ReLU, from the gradient of the stack of pooled maps.
    pub fn backward(&self, gradient: &[f32], winners: &[u8], channels: usize, place: StackIndex, input: &mut [f32]) {
        self.check(input.len(), channels, place, gradient.len(), winners.len());
        input.fill(0.0);
        let mut sources = vec![0; self.kernel * self.kernel];
        self.windows(|pixel, taps| {
            taps.for_each(|(tap, source)| sources[usize::from(tap)] = source * channels);
            let at = place.of(pixel) * channels;
            let gradients = gradient[at..][..channels].iter().zip(&winners[at..][..channels]);
            for (number, (&gradient, &winner)) in gradients.enumerate() {
                if winner != SILENT {
                    input[sources[usize::from(winner)] + number] += gradient;
                }
            }
        });
    }

    fn check(&self, input: usize, channels: usize, place: StackIndex, output: usize, winners: usize) {
        assert!(channels > 0 && input == product([self.input.0, self.input.1, channels]), "the input of this pooling");
        let stack = product([self.output.0, self.output.1, place.images, channels]);
        assert!(place.image < place.images && output == stack && winners == stack, "the output of this pooling");
    }

    /// Visits every window in order: its output pixel, and its taps from top left to bottom right with the input pixel of each.
    #[inline(always)]
    pub(super) fn windows(&self, mut visit: impl FnMut(usize, &mut dyn Iterator<Item = (u8, usize)>)) {
        for (down, y) in self.rows.iter().flat_map(|down| (0..down.count).map(move |y| (down, y))) {
            for (across, x) in self.columns.iter().flat_map(|across| (0..across.count).map(move |x| (across, x))) {
                let pixel = (down.target + y) * self.output.1 + across.target + x;
                let mut taps = down.taps.iter().flat_map(|row| {
                    let pixels = (row.source + y * down.source_step) * self.input.1;
                    across.taps.iter().map(move |column| {
                        let tap = (row.index * self.kernel + column.index) as u8;
                        (tap, pixels + column.source + x * across.source_step)
                    })
                });
                visit(pixel, &mut taps);
            }
        }
    }
}

/// One image of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackIndex {
    /// Index of the image.
    pub image: usize,
    /// Number of images of the stack.
    pub images: usize,
}

impl StackIndex {
    /// Position of the image's numbers of a pixel, in units of one pixel of one image.
    pub(super) fn of(self, pixel: usize) -> usize {
        pixel * self.images + self.image
    }
}

/// All channels of one window.
struct Window<'a> {
    input: &'a [f32],
    /// The taps inside the map: the index of each, and the start of its channels.
    sources: &'a [(u8, usize)],
    output: &'a mut [f32],
    winners: &'a mut [u8],
}

/// Channels at a time: one register of the widest set.
const STEP: usize = 16;

impl Kernel for Window<'_> {
    type Output = ();

    // Plain Rust: inside `Isa::run` the compiler vectorizes these loops for the instruction set.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let channels = self.output.len();
        let blocks = self.output.chunks_mut(STEP).zip(self.winners.chunks_mut(STEP)).zip((0..channels).step_by(STEP));
        for ((output, winners), first) in blocks {
            let (mut best, mut who) = ([f32::NEG_INFINITY; STEP], [0u32; STEP]);
            for &(tap, start) in self.sources {
                let values = &self.input[start + first..][..output.len()];
                match values.first_chunk::<STEP>() {
                    Some(values) => (0..STEP).for_each(|lane| challenge(&mut best[lane], &mut who[lane], values[lane], tap)),
                    None => values
                        .iter()
                        .enumerate()
                        .for_each(|(lane, &value)| challenge(&mut best[lane], &mut who[lane], value, tap)),
                }
            }
            for (((output, winner), best), who) in output.iter_mut().zip(winners).zip(best).zip(who) {
                let silent = best <= 0.0;
                *winner = if silent { SILENT } else { who as u8 };
                *output = if silent { 0.0 } else { best };
            }
        }
    }
}

/// Keeps the larger value; the first NaN wins and stays, so that a broken model is noticed.
#[inline(always)]
fn challenge(best: &mut f32, who: &mut u32, value: f32, tap: u8) {
    let stays = value <= *best || best.is_nan();
    *who = if stays { *who } else { u32::from(tap) };
    *best = if stays { *best } else { value };
}

/// The mean over all pixels, `(images, channels)`: global average pooling. `row` is images times channels.
pub fn mean_of_pixels(map: &[f32], row: usize) -> Vec<f32> {
    assert!(!map.is_empty() && map.len().is_multiple_of(row), "whole pixels");
    let (mut sums, pixels) = (vec![0.0; row], (map.len() / row) as f32);
    for pixel in map.chunks_exact(row) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += value);
    }
    sums.iter_mut().for_each(|sum| *sum /= pixels);
    sums
}

/// Computes the gradient of the map from the gradient of [`mean_of_pixels`]: an equal share for each pixel.
pub fn mean_of_pixels_backward(gradient: &[f32], map: &mut [f32]) {
    assert!(!gradient.is_empty() && map.len().is_multiple_of(gradient.len()), "whole pixels");
    let pixels = (map.len() / gradient.len()) as f32;
    for pixel in map.chunks_exact_mut(gradient.len()) {
        pixel.iter_mut().zip(gradient).for_each(|(value, &gradient)| *value = gradient / pixels);
    }
}
