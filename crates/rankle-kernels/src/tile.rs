//! The inner loop of all matrix products: a small tile, held in registers.
//!
//! Convolutions, dense layers, their dense gradients and the gallery's distances are all sums of this tile. Every number is one
//! chain of multiply-adds in ascending order of the inner index, so it does not depend on the batch, the number of threads or the
//! shape of the tile.

use crate::finish::Finish;
use crate::simd::{Isa, Kernel, Vector};
use crate::size::{product, sum};

/// The left operand of a tile: element `(m, k)` of a stretch is `m * row + k * step` after the stretch's start.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub step: usize,
    /// Stretches of the inner dimension, each of `len` elements.
    pub stretches: Stretches<'a>,
    pub len: usize,
}

/// The right operand: rows `stride` apart, one per inner element, of which the first one or two registers are used.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

/// Layout of the inner dimension in memory.
#[derive(Clone, Copy)]
pub(crate) enum Stretches<'a> {
    /// Even stretches: starts are `apart` elements apart on the left; on the right the stretches are contiguous.
    Even { count: usize, apart: usize },
    /// Stretches at listed starts.
    Listed(&'a [Stretch]),
    /// Single elements; `len` is 1.
    Picked(&'a Picks),
}

/// The inner elements at which the left operand is not zero in every row: all others add zeros, and the sums stay the same to
/// the last bit without them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picks {
    /// Start in the left and in the right operand.
    places: Vec<[u32; 2]>,
    /// The largest starts.
    last: Stretch,
}

impl Picks {
    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.last = Stretch::default();
    }

    /// Adds an element by its start in both operands, which have less than 2³² elements.
    #[inline(always)]
    pub(crate) fn push(&mut self, left: usize, right: usize) {
        self.places.push([left as u32, right as u32]);
        self.last = Stretch { left: self.last.left.max(left), right: self.last.right.max(right) };
    }

    /// The left operand without its zeros, unless they are too few for the look-up of the places to pay.
    pub(crate) fn left<'a>(&'a self, all: Left<'a>) -> Left<'a> {
        let len = all.stretches.count() * all.len;
        let few = !self.places.is_empty() && self.places.len() < len - len / 16;
        if few { Left { stretches: Stretches::Picked(self), len: 1, ..all } } else { all }
    }
}

/// Start of a stretch, relative to the start of each operand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stretch {
    pub left: usize,
    pub right: usize,
}

impl Stretches<'_> {
    /// The whole inner dimension in one piece.
    pub(crate) const ONE: Self = Self::Even { count: 1, apart: 0 };

    #[inline(always)]
    fn count(self) -> usize {
        match self {
            Self::Even { count, .. } => count,
            Self::Listed(list) => list.len(),
            Self::Picked(picks) => picks.places.len(),
        }
    }
    /// Start of stretch `s`; `right_len` is the length of a stretch on the right.
    #[inline(always)]
    fn at(self, s: usize, right_len: usize) -> Stretch {
        match self {
            Self::Even { apart, .. } => Stretch { left: s * apart, right: s * right_len },
            Self::Listed(list) => list[s],
            Self::Picked(picks) => {
                let [left, right] = picks.places[s];
                Stretch { left: left as usize, right: right as usize }
            }
        }
    }
    /// The largest start in each operand.
    fn last(self, right_len: usize) -> Stretch {
        match self {
            Self::Even { count, apart } => Stretch { left: product([count - 1, apart]), right: product([count - 1, right_len]) },
            Self::Listed(list) => list.iter().fold(Stretch { left: 0, right: 0 }, |last, stretch| Stretch {
                left: last.left.max(stretch.left),
                right: last.right.max(stretch.right),
            }),
            Self::Picked(picks) => picks.last,
        }
    }
}

/// Overwrites the output with the sums, or adds them to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Overwrite,
    Add,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    /// `left * right`.
    Product,
    /// `(left - right)²`.
    SquaredDifference,
}

/// `out[m * out_stride ..][.. columns] (+)= Σ left(m, ·) * right(·, ..)` for `m < rows`.
///
/// `rows <= isa.rows()`; `columns` is one or two registers.
#[allow(clippy::too_many_arguments, reason = "the operands of a matrix product, and no two calls share them")]
pub(crate) fn tile(
    isa: Isa,
    rows: usize,
    columns: usize,
    left: Left<'_>,
    right: Right<'_>,
    out: &mut [f32],
    out_stride: usize,
    store: Store,
) {
    Tile { rows, left, right, out, out_stride, store, finish: None }.run(Term::Product, isa, columns);
}

/// As [`tile`], and the last step on the sums, whose rows begin with row `first` of `finish`.
#[allow(clippy::too_many_arguments, reason = "as for `tile`")]
pub(crate) fn tile_finished(
    isa: Isa,
    rows: usize,
    columns: usize,
    left: Left<'_>,
    right: Right<'_>,
    out: &mut [f32],
    out_stride: usize,
    store: Store,
    (finish, first): (&Finish<'_>, usize),
) {
    let finish = (!finish.is_nothing()).then_some((finish, first));
    Tile { rows, left, right, out, out_stride, store, finish }.run(Term::Product, isa, columns);
}

/// As [`tile`], for sums of `term`.
#[allow(clippy::too_many_arguments, reason = "as for `tile`")]
pub(crate) fn tile_of(
    term: Term,
    isa: Isa,
    rows: usize,
    columns: usize,
    left: Left<'_>,
    right: Right<'_>,
    out: &mut [f32],
    out_stride: usize,
    store: Store,
) {
    Tile { rows, left, right, out, out_stride, store, finish: None }.run(term, isa, columns);
}

struct Tile<'a, 'o> {
    rows: usize,
    left: Left<'a>,
    right: Right<'a>,
    out: &'o mut [f32],
    out_stride: usize,
    store: Store,
    /// With the row of the first sum. A reference: to copy what was just written in parts would stall.
    finish: Option<(&'a Finish<'a>, usize)>,
}

/// A tile of one or, with the flag, two registers.
struct Products<'a, 'o>(Tile<'a, 'o>, bool);
struct SquaredDifferences<'a, 'o>(Tile<'a, 'o>, bool);

impl Kernel for Products<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        self.0.by_rows::<V, false>(self.1);
    }
}

impl Kernel for SquaredDifferences<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        self.0.by_rows::<V, true>(self.1);
    }
}

impl Tile<'_, '_> {
    fn run(self, term: Term, isa: Isa, columns: usize) {
        let Self { rows, left, right, out_stride, .. } = self;
        // The bounds that make the raw pointers below sound, checked once per tile.
        assert!(rows >= 1 && rows <= isa.rows() && left.len >= 1 && left.stretches.count() >= 1);
        assert!(left.len == 1 || !matches!(left.stretches, Stretches::Picked(_)), "picks are single elements");
        assert!(columns == isa.lanes() || columns == isa.panel());
        let last = left.stretches.last(product([left.len, right.stride]));
        let last_left = sum([last.left, product([rows - 1, left.row]), product([left.len - 1, left.step])]);
        let right_end = sum([last.right, product([left.len - 1, right.stride]), columns]);
        assert!(last_left < left.data.len(), "left operand too short");
        assert!(right_end <= right.data.len(), "right operand too short");
        assert!(sum([product([rows - 1, out_stride]), columns]) <= self.out.len(), "output too short");
        let two = columns == isa.panel();
        match term {
            Term::Product => isa.run(Products(self, two)),
            Term::SquaredDifference => isa.run(SquaredDifferences(self, two)),
        }
    }

    #[inline(always)]
    fn by_rows<V: Vector, const DIFFERENCE: bool>(self, two: bool) {
        macro_rules! rows {
            ($($m:literal)*) => {
                match (self.rows, two) {
                    // The comparison is between constants: tiles that do not fit the registers are never compiled.
                    $(($m, true) if $m <= V::ROWS => self.compute::<V, DIFFERENCE, $m, 2>(), ($m, false) if $m <= V::ROWS => self.compute::<V, DIFFERENCE, $m, 1>(),)*
                    _ => unreachable!("checked by the caller"),
                }
            };
        }
        rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    }

    #[inline(always)]
    fn compute<V: Vector, const DIFFERENCE: bool, const M: usize, const N: usize>(self) {
        let Left { data, row, step, stretches, len } = self.left;
        let right_len = len * self.right.stride;
        let mut sums = [[V::splat(0.0); N]; M];
        if let Stretches::Picked(picks) = stretches {
            for &[left, right] in &picks.places {
                let (left, right) =
                    (data.as_ptr().wrapping_add(left as usize), self.right.data.as_ptr().wrapping_add(right as usize));
                // SAFETY: `Tile::run` checked that the last element of every operand is inside its slice.
                unsafe { add_products::<V, DIFFERENCE, M, N>(&mut sums, (left, row), right) };
            }
        } else {
            for s in 0..stretches.count() {
                let start = stretches.at(s, right_len);
                let (mut left, mut right) = (data[start.left..].as_ptr(), self.right.data[start.right..].as_ptr());
                for _ in 0..len {
                    // SAFETY: as above.
                    unsafe { add_products::<V, DIFFERENCE, M, N>(&mut sums, (left, row), right) };
                    left = left.wrapping_add(step);
                    right = right.wrapping_add(self.right.stride);
                }
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            let out = self.out[m * self.out_stride..][..N * V::LANES].as_mut_ptr();
            for (n, sum) in sums.into_iter().enumerate() {
                // SAFETY: the slice above has `N * LANES` elements.
                unsafe {
                    let out = out.add(n * V::LANES);
                    let sum = match self.store {
                        Store::Overwrite => sum,
                        Store::Add => sum.multiply_add(V::splat(1.0), V::load(out)),
                    };
                    let sum = match self.finish {
                        None => sum,
                        Some((finish, first)) => {
                            let [low, high] = finish.limits().map(V::splat);
                            sum.multiply_add(V::splat(1.0), V::splat(finish.bias_of(first + m))).between(low, high)
                        }
                    };
                    sum.store(out);
                }
            }
        }
    }
}

/// Adds the terms of one inner element.
///
/// # Safety
/// M numbers, `row` apart, can be read at `left`, and N registers at `right`.
#[inline(always)]
unsafe fn add_products<V: Vector, const DIFFERENCE: bool, const M: usize, const N: usize>(
    sums: &mut [[V; N]; M],
    (left, row): (*const f32, usize),
    right: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut columns = [V::splat(0.0); N];
        for (n, column) in columns.iter_mut().enumerate() {
            *column = V::load(right.add(n * V::LANES));
        }
        for (m, sums) in sums.iter_mut().enumerate() {
            let factor = V::splat(*left.add(m * row));
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = if DIFFERENCE {
                    let difference = factor.subtract(column);
                    difference.multiply_add(difference, *sum)
                } else {
                    factor.multiply_add(column, *sum)
                };
            }
        }
    }
}

/// Cuts `0..len` into the fewest pieces of at most `most`, as even as possible: piece `i` starts at `len * i / pieces`.
pub(crate) fn split(len: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> + Clone {
    let pieces = len.div_ceil(most).max(1);
    let (least, rest) = (len / pieces, len % pieces);
    // Fractions are added up instead of multiplied: `len * pieces` may overflow.
    let (mut end, mut fraction) = (0, 0);
    (0..pieces).map(move |_| {
        let start = end;
        fraction += rest;
        let carry = fraction >= pieces;
        fraction -= if carry { pieces } else { 0 };
        end += least + usize::from(carry);
        start..end
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    /// Compares every tile shape of every instruction set with the definition in double precision.
    #[test]
    fn every_tile_is_the_sum_of_products() {
        for isa in Isa::available() {
            for rows in 1..=isa.rows() {
                for columns in [isa.lanes(), isa.panel()] {
                    let (count, len, row, apart, step, stride) = (3, 5, 2, 17, 3, columns + 4);
                    let left = random(1, rows * row + count * apart + len * step);
                    let right = random(2, count * len * stride);
                    let right = Right { data: &right, stride };
                    // Even stretches, and listed ones in reverse order on the right.
                    let listed: Vec<Stretch> =
                        (0..count).map(|s| Stretch { left: s * apart, right: (count - 1 - s) * len * stride }).collect();
                    for stretches in [Stretches::Even { count, apart }, Stretches::Listed(&listed)] {
                        let mut out = vec![1.0; rows * columns];
                        let operand = Left { data: &left, row, step, stretches, len };
                        tile(isa, rows, columns, operand, right, &mut out, columns, Store::Add);
                        for (at, &out) in out.iter().enumerate() {
                            let (m, n, mut sum) = (at / columns, at % columns, 1.0f64);
                            for s in 0..count {
                                let start = stretches.at(s, len * stride);
                                for k in 0..len {
                                    let factor = f64::from(left[start.left + m * row + k * step]);
                                    sum += factor * f64::from(right.data[start.right + k * stride + n]);
                                }
                            }
                            assert!((f64::from(out) - sum).abs() < 1e-5, "{isa} {rows}x{columns} at ({m}, {n})");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn pieces_are_even_and_cover_everything() {
        let sizes = |len, most| split(len, most).map(|piece| piece.len()).collect::<Vec<_>>();
        assert_eq!(sizes(28, 14), [14, 14]);
        assert_eq!(sizes(28, 6), [5, 6, 5, 6, 6]);
        assert_eq!(sizes(1, 14), [1]);
        for (len, most) in (0..100usize).flat_map(|len| (1..20).map(move |most| (len, most))) {
            let pieces = len.div_ceil(most).max(1);
            let expected = (0..pieces).map(|piece| len * piece / pieces..len * (piece + 1) / pieces);
            assert!(split(len, most).eq(expected), "{len} by {most}");
        }
        // A product of length and pieces would wrap.
        let large = usize::MAX / 2;
        assert_eq!(split(large, 6).take(3).map(|piece| piece.len()).collect::<Vec<_>>(), [5, 6, 6]);
    }

    /// Strides and starts whose products wrap to small numbers are refused, one at a time.
    #[test]
    fn no_place_outside_of_a_slice_is_taken_for_one_inside() {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        for isa in Isa::available() {
            let columns = isa.lanes();
            let run = |row, step, apart, listed: Option<Stretch>, stride, out_stride| {
                let (data, mut out) = (vec![1.0; 64 * columns], vec![0.0; 4 * columns]);
                let listed = listed.map(|stretch| [Stretch { left: 0, right: 0 }, stretch]);
                let stretches = listed.as_ref().map_or(Stretches::Even { count: 4, apart }, |list| Stretches::Listed(list));
                let left = Left { data: &data, row, step, stretches, len: 4 };
                let right = Right { data: &data, stride };
                let tile = || tile(isa, 4, columns, left, right, &mut out, out_stride, Store::Overwrite);
                catch_unwind(AssertUnwindSafe(tile)).is_ok()
            };
            assert!(run(1, 1, 1, None, columns, columns));
            // Three times one of the first numbers, or four times the last one, wraps to a small number.
            for wrong in (1..=3).map(|more| usize::MAX / 3 + more).chain([usize::MAX, usize::MAX / 2 + 1, usize::MAX / 4 + 1]) {
                assert!(!run(wrong, 1, 1, None, columns, columns), "{isa}: rows {wrong} apart");
                assert!(!run(1, wrong, 1, None, columns, columns), "{isa}: inner elements {wrong} apart");
                assert!(!run(1, 1, wrong, None, columns, columns), "{isa}: stretches {wrong} apart");
                assert!(!run(1, 1, 1, None, wrong, columns), "{isa}: a stride of {wrong}");
                assert!(!run(1, 1, 1, None, columns, wrong), "{isa}: results {wrong} apart");
                for stretch in [Stretch { left: wrong, right: 0 }, Stretch { left: 0, right: wrong }] {
                    assert!(!run(1, 1, 1, Some(stretch), columns, columns), "{isa}: {stretch:?}");
                }
            }
        }
    }
}
