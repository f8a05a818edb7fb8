//! Resizing, to the same bytes as Pillow's `Image.resize` and so as torchvision's `Resize` of an image from a file.
//!
//! Own code, for two reasons. Libraries round elsewhere than Pillow, so that with `fast_image_resize` 22 % of the bytes differ by
//! one. And only the part that is cut out is computed: a needle of 30×16384 pixels, its shorter side brought to 256, has 107 MB.
//!
//! The definition is that of Pillow 13 for images of 8 bits: each of two passes rounds to 8 bits, and weights are integers, multiples
//! of 2^-22. The horizontal pass comes first, but not where much more height is lost than width; until Pillow 12 it always did.
//! Every machine has the same bytes.

use image::RgbImage;
use multiversion::multiversion;
use rankle_core::Filter;
use std::ops::Range;

/// The weights are multiples of 2 to the minus this: the sum of a pass has 8 bits more, a sign, and one to spare.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);
/// The horizontal pass takes so many rows at once: their pixels of one column are what the vector instructions work on.
const ROWS: usize = 16;
/// So many columns are gathered at once, for they stay in the nearest cache while rows are added.
const TILE: usize = 64;

/// Resizes an image to `width` by `height` pixels, and returns those in `columns` and `rows` of the result: RGB, row by row.
pub(super) fn resample(
    image: &RgbImage,
    (width, height): (u32, u32),
    (columns, rows): (Range<u32>, Range<u32>),
    filter: Filter,
) -> Vec<u8> {
    let across = Axis::new(image.width(), width, columns, filter);
    let down = Axis::new(image.height(), height, rows, filter);
    let stride = 3 * image.width() as usize;
    let bytes = &image.as_raw()[down.source.start * stride..down.source.end * stride];
    let source = RgbRows { bytes, stride, part: 3 * across.source.start..3 * across.source.end };
    let lost = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (less_wide, less_high) = (lost(image.width(), width), lost(image.height(), height));
    if less_high > 0 && less_high > 2 * less_wide {
        let low = down_columns(&down, &source);
        along_rows(&across, &RgbRows::whole(&low, 3 * across.source.len()))
    } else {
        let narrow = along_rows(&across, &source);
        down_columns(&down, &RgbRows::whole(&narrow, 3 * across.taps.len()))
    }
}

/// Rows of RGB, or a part of each.
struct RgbRows<'a> {
    bytes: &'a [u8],
    /// From one to the next, in bytes.
    stride: usize,
    /// Of each, in bytes.
    part: Range<usize>,
}

impl<'a> RgbRows<'a> {
    fn whole(bytes: &'a [u8], stride: usize) -> Self {
        Self { bytes, stride, part: 0..stride }
    }

    #[inline(always)]
    fn get(&self, y: usize) -> &[u8] {
        &self.bytes[y * self.stride..][self.part.clone()]
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.stride
    }
}

/// The horizontal pass. Its loops, as those of the vertical one, are compiled for the instruction sets that machines have; they are
/// of integers, so all of them have the same bytes.
#[multiversion(targets("x86_64+avx2", "aarch64+neon"))]
fn along_rows(axis: &Axis, from: &RgbRows) -> Vec<u8> {
    let row = 3 * axis.taps.len();
    let mut to = vec![0; from.len() * row];
    let mut columns: Vec<[u32; ROWS]> = vec![[0; ROWS]; from.part.len() / 3];
    let mut narrow: Vec<[u8; 4 * ROWS]> = vec![[0; 4 * ROWS]; axis.taps.len()];
    let mut sums = [0; 4 * ROWS];
    for (block, to) in to.chunks_mut(ROWS * row).enumerate() {
        gather(from, ROWS * block..ROWS * block + to.len() / row, &mut columns);
        for (column, taps) in narrow.iter_mut().zip(&axis.taps) {
            sums.fill(HALF);
            for (from, &weight) in columns[taps.start..].iter().zip(axis.weights(taps)) {
                let from = from.map(u32::to_le_bytes);
                sums.iter_mut().zip(from.as_flattened()).for_each(|(sum, &value)| *sum += i32::from(value) * weight);
            }
            column.iter_mut().zip(&sums).for_each(|(value, &sum)| *value = rounded(sum));
        }
        for (y, to) in to.chunks_exact_mut(row).enumerate() {
            for (pixel, column) in to.chunks_exact_mut(3).zip(&narrow) {
                pixel.copy_from_slice(&column[4 * y..4 * y + 3]);
            }
        }
    }
    to
}

/// Turns some rows into columns, each pixel filled up to four bytes.
#[inline(always)]
fn gather(from: &RgbRows<'_>, rows: Range<usize>, columns: &mut [[u32; ROWS]]) {
    for (tile, columns) in columns.chunks_mut(TILE).enumerate() {
        for (y, row) in rows.clone().enumerate() {
            for (column, pixel) in columns.iter_mut().zip(from.get(row)[3 * TILE * tile..].chunks_exact(3)) {
                column[y] = u32::from_le_bytes([pixel[0], pixel[1], pixel[2], 0]);
            }
        }
    }
}

/// The vertical pass.
#[multiversion(targets("x86_64+avx2", "aarch64+neon"))]
fn down_columns(axis: &Axis, from: &RgbRows) -> Vec<u8> {
    let mut to = vec![0; axis.taps.len() * from.part.len()];
    let mut sums = vec![0; from.part.len()];
    for (to, taps) in to.chunks_exact_mut(from.part.len()).zip(&axis.taps) {
        sums.fill(HALF);
        for (row, &weight) in axis.weights(taps).iter().enumerate() {
            let from = from.get(taps.start + row);
            sums.iter_mut().zip(from).for_each(|(sum, &value)| *sum += i32::from(value) * weight);
        }
        to.iter_mut().zip(&sums).for_each(|(value, &sum)| *value = rounded(sum));
    }
    to
}

/// What the pixels of one axis are made of.
struct Axis {
    /// The pixels of the source that are needed at all.
    source: Range<usize>,
    /// One a pixel of the result.
    taps: Vec<Taps>,
    /// The weights of all of them, one behind the other.
    weights: Vec<i32>,
}

/// The pixels that one of the result is made of, from `start` on in [`Axis::source`], and where their weights are.
struct Taps {
    start: usize,
    weights: Range<usize>,
}

impl Axis {
    /// The pixels in `range` of an axis that is brought from `from` to `to` pixels.
    fn new(from: u32, to: u32, range: Range<u32>, filter: Filter) -> Self {
        let scale = f64::from(from) / f64::from(to);
        let stretch = scale.max(1.0);
        let support = reach(filter) * stretch;
        let mut axis = Self { source: 0..0, taps: Vec::with_capacity(range.len()), weights: Vec::new() };
        let mut exact = Vec::new();
        for pixel in range {
            let center = (f64::from(pixel) + 0.5) * scale;
            // Conversions cut toward zero, and stop at it.
            let start = (center - support + 0.5) as u32;
            let end = ((center + support + 0.5) as u32).min(from);
            exact.clear();
            exact.extend((start..end).map(|place| weight(filter, (f64::from(place) - center + 0.5) * (1.0 / stretch))));
            let sum: f64 = exact.iter().sum();
            if axis.taps.is_empty() {
                axis.source.start = start as usize;
            }
            axis.source.end = end as usize;
            let first = axis.weights.len();
            axis.weights.extend(exact.iter().map(|weight| (weight / sum * f64::from(1 << PRECISION)).round() as i32));
            axis.taps.push(Taps { start: start as usize - axis.source.start, weights: first..axis.weights.len() });
        }
        axis
    }

    #[inline(always)]
    fn weights(&self, taps: &Taps) -> &[i32] {
        &self.weights[taps.weights.clone()]
    }
}

/// How far a filter reaches to either side, in pixels of the coarser grid.
fn reach(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    }
}

/// The height of a filter so far from its middle. Term by term as Pillow has it, for the same last bits.
fn weight(filter: Filter, place: f64) -> f64 {
    let x = place.abs();
    match filter {
        Filter::Bilinear if x < 1.0 => 1.0 - x,
        Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
        _ => 0.0,
    }
}

#[inline(always)]
fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
