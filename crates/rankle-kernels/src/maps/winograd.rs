//! 3x3 convolutions with fewer multiplications.
//!
//! Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray, arXiv 1509.09308): a tile of 2x2 outputs costs 16 multiplications
//! per pair of channels instead of 36. Additions transform the 4x4 inputs of a tile and (once, beforehand) the 3x3 weights to 16
//! points, at each point channels are multiplied as matrices, and additions transform the products to the outputs.
//!
//! The points of this smallest variant are 0, 1, -1 and infinity, so no number is scaled up and the rounding errors are those of
//! the plain sum (larger tiles save more and lose digits). A sum that cancels to zero may come out as a rounding error, though.

use super::ConvShape;
use super::finish::{Finish, FinishRows};
use crate::aligned::Aligned;
use crate::dense::Panels;
use crate::simd::{Kernel, Vector};
use crate::size::{product, sum};
use crate::tile::{Left, Right, Store, Stretches, split, tile};
use std::cell::RefCell;
use std::ops::Range;

/// Points at which the products are taken.
pub(super) const POINTS: usize = 16;

/// Approximate number of rows of a matrix product at a time: their points stay in the cache, and filters are read once per block.
const ROWS: usize = 30;

/// Transforms a line of four inputs to its points.
#[inline(always)]
fn spread<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
    [a.subtract(c), add(b, c), c.subtract(b), b.subtract(d)]
}

/// Transforms four points to the two outputs of a line.
#[inline(always)]
fn collect<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
    [add(add(a, b), c), b.subtract(c).subtract(d)]
}

#[inline(always)]
fn add<V: Vector>(a: V, b: V) -> V {
    a.multiply_add(V::splat(1.0), b)
}

#[inline(always)]
fn column<V: Vector, const N: usize>(lines: &[[V; N]; 4], x: usize) -> [V; 4] {
    [lines[0][x], lines[1][x], lines[2][x], lines[3][x]]
}

/// Transforms a line of three weights to its points.
fn spread_weights([a, b, c]: [f32; 3]) -> [f32; 4] {
    [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c]
}

/// The point at which a kernel rotated by 180° has the value that the kernel has at `point`.
pub(super) fn turned(point: usize) -> usize {
    let line = |point: usize| [3, 1, 2, 0][point];
    line(point / 4) * 4 + line(point % 4)
}

/// Size of a map on which Winograd's form is faster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winograd {
    height: usize,
    width: usize,
}

impl Winograd {
    /// Accepts 3x3 convolutions that keep the size of the map, unless it is so small that borders, where the plain sum leaves
    /// taps out, and incomplete tiles cost most of the gain.
    pub(super) fn of(shape: ConvShape) -> Option<Self> {
        let ConvShape { kernel: 3, stride: 1, before: 1, input: (height, width), .. } = shape else { return None };
        let plain = (3 * height - 2) * (3 * width - 2);
        let winograd = POINTS * height.div_ceil(2) * width.div_ceil(2);
        (shape.output == shape.input && 2 * plain >= 3 * winograd).then_some(Self { height, width })
    }

    /// Transforms plain filters to their points: columns are points, channels fastest. `None` if panels would be incomplete.
    pub(super) fn filters(filters: &Panels) -> Option<Panels> {
        let (isa, taps) = (filters.isa(), 9);
        let (inputs, outputs, panel) = (filters.inputs() / taps, filters.outputs(), isa.panel());
        if !inputs.is_multiple_of(panel) || !outputs.is_multiple_of(panel) {
            return None;
        }
        let mut points = Panels::zeros(isa, outputs, POINTS * inputs);
        let len = points.panel_len();
        for (points, filters) in points.as_mut_slice().chunks_exact_mut(len).zip(filters.panels()) {
            for at in 0..inputs * panel {
                let line = |y: usize| spread_weights([0, 1, 2].map(|x| filters[(y * 3 + x) * inputs * panel + at]));
                let lines = [line(0), line(1), line(2)];
                for x in 0..4 {
                    let column = spread_weights(lines.map(|line| line[x]));
                    (0..4).for_each(|y| points[(y * 4 + x) * inputs * panel + at] = column[y]);
                }
            }
        }
        Some(points)
    }

    /// Runs the convolution with transformed `filters`. Every number of the target depends on its image alone.
    pub(super) fn run(self, filters: &Panels, source: &[f32], images: usize, mut finish: Finish<'_>, target: &mut [f32]) {
        let (isa, inputs, outputs) = (filters.isa(), filters.inputs() / POINTS, filters.outputs());
        let panel = isa.panel();
        assert!(inputs.is_multiple_of(panel) && outputs.is_multiple_of(panel), "complete panels");
        finish.check(target.len(), outputs);
        // Rows a power of two apart would compete for the same cache lines.
        let stride = inputs + isa.lanes();
        let tiles = self.height.div_ceil(2) * self.width.div_ceil(2);
        let block = (ROWS / isa.rows() * isa.rows() / images).max(1);
        with_scratch(product([block, images]), stride, outputs, |Scratch { spread, products, zeros }| {
            for first in (0..tiles).step_by(block) {
                let tiles = first..tiles.min(first + block);
                let rows = tiles.len() * images;
                isa.run(InputTransform { map: self, tiles: tiles.clone(), source, zeros, images, inputs, stride, spread });
                for (point, spread) in spread.chunks_exact(rows * stride).take(POINTS).enumerate() {
                    let products = &mut products[point * rows * outputs..][..rows * outputs];
                    for (first, filters) in filters.panels().enumerate().map(|(index, filters)| (index * panel, filters)) {
                        let right = Right { data: &filters[point * inputs * panel..][..inputs * panel], stride: panel };
                        for piece in split(rows, isa.rows()) {
                            let data = &spread[piece.start * stride..];
                            let left = Left { data, row: stride, step: 1, stretches: Stretches::ONE, len: inputs };
                            let products = &mut products[piece.start * outputs + first..];
                            tile(isa, piece.len(), panel, left, right, products, outputs, Store::Overwrite);
                        }
                    }
                }
                for (row, tile) in tiles.enumerate().map(|(index, tile)| (index * images, tile)) {
                    let add_on = matches!(finish, Finish::Add);
                    isa.run(Collect { map: self, tile, products, row, rows, images, outputs, add_on, target });
                    for pixel in self.outputs_of(tile).into_iter().flatten() {
                        let (finish, target) = (&mut finish, &mut *target);
                        let (start, stride) = (pixel * images * outputs, outputs);
                        isa.run(FinishRows { finish, target, start, stride, rows: images, channel: 0, width: outputs });
                    }
                }
            }
        });
    }

    /// The pixel `(y, x)` of the 4x4 around a tile, if it is on the map.
    fn pixel(self, tile: usize, y: usize, x: usize) -> Option<usize> {
        let across = self.width.div_ceil(2);
        let y = (2 * (tile / across) + y).checked_sub(1).filter(|&y| y < self.height)?;
        let x = (2 * (tile % across) + x).checked_sub(1).filter(|&x| x < self.width)?;
        Some(y * self.width + x)
    }

    /// The four output pixels of a tile: the middle of its 4x4 inputs.
    fn outputs_of(self, tile: usize) -> [Option<usize>; 4] {
        [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(y, x)| self.pixel(tile, y, x))
    }
}

/// Transforms the inputs of some tiles to their points: `[points][tiles][images][stride]`.
struct InputTransform<'a, 's> {
    map: Winograd,
    tiles: Range<usize>,
    source: &'a [f32],
    /// Zeros, for a pixel of all images outside the map.
    zeros: &'a [f32],
    images: usize,
    inputs: usize,
    stride: usize,
    spread: &'s mut [f32],
}

impl Kernel for InputTransform<'_, '_> {
    type Output = ();

    // Loops instead of closures, which would be compiled without the instruction set.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { map, tiles, source, zeros, images, inputs, stride, spread: out } = self;
        let (len, rows) = (product([images, inputs]), product([tiles.len(), images]));
        let room = product([POINTS, rows, stride]);
        assert!(zeros.len() >= len && inputs <= stride && out.len() >= room, "room for the points");
        assert!(inputs.is_multiple_of(V::LANES), "channels fill registers");
        for (first, tile) in tiles.enumerate().map(|(index, tile)| (index * images, tile)) {
            let mut pixels = [[zeros; 4]; 4];
            for (y, line) in pixels.iter_mut().enumerate() {
                for (x, pixel) in line.iter_mut().enumerate() {
                    *pixel = map.pixel(tile, y, x).map_or(&zeros[..len], |pixel| &source[pixel * len..][..len]);
                }
            }
            for image in 0..images {
                let target = (first + image) * stride;
                for channel in (0..inputs).step_by(V::LANES) {
                    let mut values = [[V::splat(0.0); 4]; 4];
                    for (values, pixels) in values.iter_mut().zip(&pixels) {
                        for (value, pixel) in values.iter_mut().zip(pixels) {
                            // SAFETY: a pixel has `images * inputs` numbers, and channels fill registers.
                            *value = unsafe { V::load(pixel.as_ptr().add(image * inputs + channel)) };
                        }
                        *values = spread(*values);
                    }
                    for x in 0..4 {
                        for (y, value) in spread(column(&values, x)).into_iter().enumerate() {
                            // SAFETY: the largest position is `POINTS * rows * stride - stride + inputs - LANES`, checked above.
                            unsafe { value.store(out.as_mut_ptr().add((y * 4 + x) * rows * stride + target + channel)) };
                        }
                    }
                }
            }
        }
    }
}

/// Transforms the products of one tile to its output pixels.
struct Collect<'a, 't> {
    map: Winograd,
    tile: usize,
    /// `[points][rows][outputs]`.
    products: &'a [f32],
    /// The first row of the tile, which has one per image.
    row: usize,
    rows: usize,
    images: usize,
    outputs: usize,
    /// True if the results are added to the target.
    add_on: bool,
    target: &'t mut [f32],
}

impl Kernel for Collect<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { map, tile, products, row, rows, images, outputs, add_on, target } = self;
        let len = product([images, outputs]);
        assert!(sum([row, images]) <= rows && products.len() >= product([POINTS, rows, outputs]), "the products of every point");
        assert!(outputs.is_multiple_of(V::LANES), "channels fill registers");
        let pixels = map.outputs_of(tile);
        assert!(pixels.iter().flatten().all(|pixel| product([pixel + 1, len]) <= target.len()), "pixels of the target");
        for at in (0..len).step_by(V::LANES) {
            let mut lines = [[V::splat(0.0); 2]; 4];
            for (y, line) in lines.iter_mut().enumerate() {
                let mut values = [V::splat(0.0); 4];
                for (x, value) in values.iter_mut().enumerate() {
                    // SAFETY: `at + LANES <= images * outputs`, and there are `rows - row >= images` rows behind the first.
                    *value = unsafe { V::load(products.as_ptr().add(((y * 4 + x) * rows + row) * outputs + at)) };
                }
                *line = collect(values);
            }
            let (left, right) = (collect(column(&lines, 0)), collect(column(&lines, 1)));
            for (pixel, sum) in pixels.into_iter().zip([left[0], right[0], left[1], right[1]]) {
                let Some(pixel) = pixel else { continue };
                // SAFETY: the pixel is inside the target, checked above.
                unsafe {
                    let place = target.as_mut_ptr().add(pixel * len + at);
                    let sum = if add_on { add(sum, V::load(place)) } else { sum };
                    sum.store(place);
                }
            }
        }
    }
}

/// Buffers of one thread, kept from call to call: fresh pages would cost more than the additions.
struct Scratch {
    spread: Aligned,
    products: Aligned,
    /// Never written: always zero.
    zeros: Aligned,
}

/// Calls `work` with this thread's buffers, large enough for `rows` rows per point.
fn with_scratch<T>(rows: usize, stride: usize, outputs: usize, work: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
            spread: Aligned::zeros(0),
            products: Aligned::zeros(0),
            zeros: Aligned::zeros(0),
        });
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let grow = |buffer: &mut Aligned, len: usize| {
            if buffer.len() < len {
                *buffer = Aligned::zeros(len);
            }
        };
        grow(&mut scratch.spread, product([POINTS, rows, stride]));
        grow(&mut scratch.products, product([POINTS, rows, outputs]));
        grow(&mut scratch.zeros, product([rows, stride]));
        work(scratch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;

    #[test]
    fn a_turned_kernel_has_its_values_at_the_turned_points() {
        let kernel: [f32; 9] = std::array::from_fn(|at| (at * at + 3 * at) as f32);
        let points = |kernel: [f32; 9]| -> [f32; POINTS] {
            let lines = [0, 1, 2].map(|y| spread_weights([0, 1, 2].map(|x| kernel[y * 3 + x])));
            let columns = [0, 1, 2, 3].map(|x| spread_weights(lines.map(|line| line[x])));
            std::array::from_fn(|point| columns[point % 4][point / 4])
        };
        let (plain, turned_kernel) = (points(kernel), points(std::array::from_fn(|at| kernel[8 - at])));
        (0..POINTS).for_each(|point| assert_eq!(turned_kernel[turned(point)], plain[point]));
    }

    #[test]
    fn only_maps_on_which_it_pays() {
        let pays = |side: usize| Winograd::of(ConvShape::new((64, 64), 3, 1, 1, (side, side))).is_some();
        assert_eq!([1, 2, 4, 7, 14, 28, 56].map(pays), [false, false, true, false, true, true, true]);
        assert!(Winograd::of(ConvShape::new((64, 64), 3, 2, 1, (28, 28))).is_none());
        assert!(Winograd::of(ConvShape::new((64, 64), 3, 1, 0, (28, 28))).is_none());
        assert!(Winograd::of(ConvShape::new((64, 64), 5, 1, 1, (28, 28))).is_none());
    }

    #[test]
    fn incomplete_panels_stay_plain() {
        let isa = Isa::best();
        let panel = isa.panel();
        assert!(Winograd::filters(&Panels::zeros(isa, panel, 9 * (panel + 1))).is_none());
        assert!(Winograd::filters(&Panels::zeros(isa, panel + 1, 9 * panel)).is_none());
        assert!(Winograd::filters(&Panels::zeros(isa, panel, 9 * panel)).is_some());
    }
}
