//! Resizing with the same bytes as Pillow's `Image.resize`, and so as torchvision's `Resize` of an image from a file.
//!
//! Implemented here for two reasons. Libraries round differently from Pillow: with `fast_image_resize` 22 % of the bytes differ
//! by one. And only the cropped part is computed: a needle of 30×16384 pixels, its shorter side enlarged to 256, has 107 MB.
//!
//! The definition is that of Pillow 13 for 8-bit images. Each of two passes rounds to 8 bits, and weights are integers, multiples
//! of 2^-22. The horizontal pass comes first, unless the height loses more than twice as many pixels as the width; until Pillow
//! 12 it always came first. The bytes are the same on every machine.

use image::RgbImage;
use multiversion::multiversion;
use rankle_core::Filter;
use std::ops::Range;

/// Bits after the point of a weight. The sum of a pass has 8 more bits, a sign, and one bit to spare.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);
/// Number of rows that the horizontal pass handles at once: vector instructions work on their pixels of one column.
const ROWS: usize = 16;
/// Number of columns gathered at once: they stay in the nearest cache while rows are added.
const TILE: usize = 64;

/// Resizes an image to `width` by `height` pixels and returns the part in `columns` and `rows` of the result: RGB, row by row.
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
        let low = vertical_pass(&down, &source);
        horizontal_pass(&across, &RgbRows::whole(&low, 3 * across.source.len()))
    } else {
        let narrow = horizontal_pass(&across, &source);
        vertical_pass(&down, &RgbRows::whole(&narrow, 3 * across.taps.len()))
    }
}

/// Rows of RGB pixels, or a part of each row.
struct RgbRows<'a> {
    bytes: &'a [u8],
    /// Distance from one row to the next, in bytes.
    stride: usize,
    /// The part of each row that is used, in bytes.
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

/// The horizontal pass. The loops of both passes are compiled for several instruction sets; their arithmetic is of integers, so
/// all versions return the same bytes.
#[multiversion(targets("x86_64+avx2", "aarch64+neon"))]
fn horizontal_pass(axis: &Axis, from: &RgbRows) -> Vec<u8> {
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

/// Transposes some rows into columns, each pixel padded to four bytes.
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
fn vertical_pass(axis: &Axis, from: &RgbRows) -> Vec<u8> {
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

/// Source pixels and weights of the result along one axis.
struct Axis {
    /// The range of source pixels that are used.
    source: Range<usize>,
    /// One entry per pixel of the result.
    taps: Vec<Taps>,
    /// The weights of all pixels of the result, concatenated.
    weights: Vec<i32>,
}

/// The source pixels of one pixel of the result, from `start` on, relative to [`Axis::source`], and the range of their weights.
struct Taps {
    start: usize,
    weights: Range<usize>,
}

impl Axis {
    /// The pixels in `range` of an axis that is resized from `from` to `to` pixels.
    fn new(from: u32, to: u32, range: Range<u32>, filter: Filter) -> Self {
        let scale = f64::from(from) / f64::from(to);
        let stretch = scale.max(1.0);
        let support = reach(filter) * stretch;
        let mut axis = Self { source: 0..0, taps: Vec::with_capacity(range.len()), weights: Vec::new() };
        let mut exact = Vec::new();
        for pixel in range {
            let center = (f64::from(pixel) + 0.5) * scale;
            // Conversions to u32 round toward zero and saturate at zero.
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

/// Radius of a filter, in pixels of the coarser grid.
fn reach(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    }
}

/// The value of a filter at a distance from its center. Written term by term as in Pillow, for the same last bits.
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
