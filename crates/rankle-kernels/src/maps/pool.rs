//! Pooling on stacks of maps.

use super::axis::{Reach, Run};
use crate::simd::{Isa, Kernel, Vector};

/// Max pooling of a map behind its ReLU: any window, stride and padding.
///
/// The map comes as it is in front of the ReLU: the largest number of a window, if it is above zero, else zero. What is kept is
/// which position won; of equal numbers the first, as in PyTorch. On the way back a window that ReLU silenced has no slope.
#[derive(Clone, Debug)]
pub struct MaxPool {
    input: (usize, usize),
    output: (usize, usize),
    kernel: usize,
    rows: Vec<Run>,
    columns: Vec<Run>,
}

/// The winner of a window that ReLU silenced.
const SILENT: u8 = u8::MAX;

impl MaxPool {
    /// PyTorch's `MaxPool2d(kernel, stride, padding)`.
    pub fn new(kernel: usize, stride: usize, padding: usize, input: (usize, usize)) -> Self {
        assert!((1..=15).contains(&kernel) && stride >= 1 && 2 * padding <= kernel, "a pooling window");
        assert!(input.0 + 2 * padding >= kernel && input.1 + 2 * padding >= kernel, "a pooling window larger than the input");
        let side = |side: usize| (side + 2 * padding - kernel) / stride + 1;
        let output = (side(input.0), side(input.1));
        let reach = |input, output| Reach { kernel, stride, before: padding, input, output }.forward();
        Self { input, output, kernel, rows: reach(input.0, output.0), columns: reach(input.1, output.1) }
    }

    /// Rows and columns of the output.
    pub fn output(&self) -> (usize, usize) {
        self.output
    }

    /// `row` is what one pixel holds: images times channels. `winners` gets one byte per number of the output.
    pub fn forward(&self, isa: Isa, input: &[f32], row: usize, output: &mut [f32], winners: &mut [u8]) {
        self.check(input.len(), row, output.len(), winners.len());
        self.windows(|place, taps| {
            let (output, winners) = (&mut output[place * row..][..row], &mut winners[place * row..][..row]);
            output.fill(f32::NEG_INFINITY);
            for (tap, source) in taps {
                isa.run(Challenge { source: &input[source * row..][..row], tap, output, winners });
            }
            isa.run(Settle { output, winners });
        });
    }

    /// The slope in front of the ReLU from that behind the pooling.
    pub fn backward(&self, slope: &[f32], winners: &[u8], row: usize, input: &mut [f32]) {
        self.check(input.len(), row, slope.len(), winners.len());
        input.fill(0.0);
        let mut sources = vec![0; self.kernel * self.kernel];
        self.windows(|place, taps| {
            taps.for_each(|(tap, source)| sources[usize::from(tap)] = source * row);
            let slopes = slope[place * row..][..row].iter().zip(&winners[place * row..][..row]);
            for (number, (&slope, &winner)) in slopes.enumerate() {
                if winner != SILENT {
                    input[sources[usize::from(winner)] + number] += slope;
                }
            }
        });
    }

    fn check(&self, input: usize, row: usize, output: usize, winners: usize) {
        assert!(row > 0 && input == self.input.0 * self.input.1 * row, "the input of this pooling");
        assert!(output == self.output.0 * self.output.1 * row && winners == output, "the output of this pooling");
    }

    /// Every window in order: its place, and its taps from top left to bottom right with the pixel under each.
    fn windows(&self, mut visit: impl FnMut(usize, &mut dyn Iterator<Item = (u8, usize)>)) {
        for (down, y) in self.rows.iter().flat_map(|down| (0..down.count).map(move |y| (down, y))) {
            for (across, x) in self.columns.iter().flat_map(|across| (0..across.count).map(move |x| (across, x))) {
                let place = (down.target + y) * self.output.1 + across.target + x;
                let mut taps = down.taps.iter().flat_map(|row| {
                    let pixels = (row.source + y * down.source_step) * self.input.1;
                    across.taps.iter().map(move |column| {
                        let tap = (row.index * self.kernel + column.index) as u8;
                        (tap, pixels + column.source + x * across.source_step)
                    })
                });
                visit(place, &mut taps);
            }
        }
    }
}

/// One position of the window against the best so far.
struct Challenge<'a> {
    source: &'a [f32],
    tap: u8,
    output: &'a mut [f32],
    winners: &'a mut [u8],
}

impl Kernel for Challenge<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        for ((&value, best), winner) in self.source.iter().zip(self.output).zip(self.winners) {
            // A NaN wins against everything and against it nothing: a broken model is noticed.
            let better = !(value <= *best) && *best == *best;
            *winner = if better { self.tap } else { *winner };
            *best = if better { value } else { *best };
        }
    }
}

/// ReLU.
struct Settle<'a> {
    output: &'a mut [f32],
    winners: &'a mut [u8],
}

impl Kernel for Settle<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        for (best, winner) in self.output.iter_mut().zip(self.winners) {
            let silent = *best <= 0.0;
            *winner = if silent { SILENT } else { *winner };
            *best = if silent { 0.0 } else { *best };
        }
    }
}

/// The mean over all pixels, `(images, channels)`: global average pooling. `row` is images times channels.
pub fn mean_of_pixels(map: &[f32], row: usize) -> Vec<f32> {
    let (mut sums, pixels) = (vec![0.0; row], (map.len() / row) as f32);
    for pixel in map.chunks_exact(row) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += value);
    }
    sums.iter_mut().for_each(|sum| *sum /= pixels);
    sums
}

/// The slope of the map from that of [`mean_of_pixels`]: an equal share for each pixel.
pub fn mean_of_pixels_backward(slope: &[f32], map: &mut [f32]) {
    let pixels = (map.len() / slope.len()) as f32;
    for pixel in map.chunks_exact_mut(slope.len()) {
        pixel.iter_mut().zip(slope).for_each(|(value, &slope)| *value = slope / pixels);
    }
}
