//! Products of matrices whose operands are packed anew in each call.
//!
//! For weights that never change, [`crate::dense`] packs once. Here the right operand is packed in blocks of at most
//! `INNER` inner elements, and the rows of the product are shared among threads.

pub use crate::finish::Finish;

use crate::aligned::Aligned;
use crate::simd::{Isa, Kernel, Vector};
use crate::size::{product, sum, whole};
use crate::tile::{Left, Right, Store, Stretches, split, tile, tile_finished};
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;

/// Inner elements per block: a panel of the right operand fits in the first-level cache.
const INNER: usize = 256;
/// Columns that are packed at a time.
const WIDTH: usize = 2048;
/// Most rows of a task: their part of a block stays in the second-level cache.
const ROWS: usize = 240;
/// Multiply-adds below which a second thread does not pay.
const SMALL: usize = 1 << 18;

/// A matrix that is read in place.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    /// Distance of neighboring rows, and of neighboring columns.
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// `rows x columns` numbers in row-major order.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(data.len() == product([rows, columns]), "a matrix has one number per row and column");
        Self { data, rows, columns, strides: [columns, 1] }
    }
    /// The matrix whose element `(row, column)` is `data[row * strides[0] + column * strides[1]]`.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, strides: [usize; 2]) -> Self {
        let empty = rows == 0 || columns == 0;
        let last = |strides: [usize; 2]| sum([product([rows - 1, strides[0]]), product([columns - 1, strides[1]])]);
        assert!(empty || last(strides) < data.len(), "the last number of the matrix is in the slice");
        Self { data, rows, columns, strides }
    }
    /// The transposed matrix.
    pub fn t(self) -> Self {
        let Self { data, rows, columns, strides: [row, column] } = self;
        Self { data, rows: columns, columns: rows, strides: [column, row] }
    }
    /// `count` columns from `first` on.
    pub(crate) fn columns_from(self, first: usize, count: usize) -> Self {
        Self::strided(&self.data[first * self.strides[1]..], self.rows, count, self.strides)
    }
    /// The slice from an element on.
    fn from(&self, row: usize, column: usize) -> &'a [f32] {
        &self.data[row * self.strides[0] + column * self.strides[1]..]
    }
}

/// `c = a · b`, in row-major order. A number of `c` depends on its row of `a` and its column of `b` alone: per block of inner
/// elements one chain of multiply-adds in ascending order, the blocks added up in order.
pub fn multiply(isa: Isa, a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    run(isa, a, b, c, Store::Overwrite, Finish::default());
}

/// `c = a · b` as [`multiply`], and the last step on it.
pub fn multiply_finished(isa: Isa, a: Matrix<'_>, b: Matrix<'_>, finish: Finish<'_>, c: &mut [f32]) {
    run(isa, a, b, c, Store::Overwrite, finish);
}

/// `c += a · b`, as [`multiply`].
pub fn multiply_add(isa: Isa, a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    run(isa, a, b, c, Store::Add, Finish::default());
}

fn run(isa: Isa, a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32], store: Store, finish: Finish<'_>) {
    assert!(a.columns == b.rows, "as many columns of the first matrix as rows of the second");
    let pack = |inner: Range<usize>, columns: Range<usize>, panel: &mut [f32]| isa.run(PackPanel { b, inner, columns, panel });
    multiply_packed(isa, a, b.columns, pack, c, store, finish);
}

/// `c (+)= a · b` and the last step on it, `b` given by a function: it packs the `inner` rows and some columns, at most a panel, as
/// `[inner][panel]`. It leaves numbers of other columns as they are.
pub(crate) fn multiply_packed(
    isa: Isa,
    a: Matrix<'_>,
    columns: usize,
    pack: impl Fn(Range<usize>, Range<usize>, &mut [f32]) + Sync,
    c: &mut [f32],
    store: Store,
    finish: Finish<'_>,
) {
    let panel = isa.panel();
    assert!(c.len() == product([a.rows, columns]), "one number per row and column of the product");
    assert!(finish.bias.is_none_or(|bias| bias.len() == a.rows), "one number for each row");
    if c.is_empty() {
        return;
    }
    if a.columns == 0 {
        if store == Store::Overwrite {
            c.fill(0.0);
        }
        finish.apply(isa, 0, columns, columns, c);
        return;
    }
    let threads = if product([a.rows, a.columns, columns]) < SMALL { 1 } else { rayon::current_num_threads() };
    let task = whole(a.rows.div_ceil(threads), isa.rows()).min(ROWS / isa.rows() * isa.rows());
    with_buffer(&RIGHT, product([INNER.min(a.columns), whole(columns.min(WIDTH), panel)]), |buffer| {
        for wide in (0..columns).step_by(WIDTH).map(|first| first..columns.min(first + WIDTH)) {
            for inner in split(a.columns, INNER) {
                let len = inner.len() * panel;
                let packed = &mut buffer[..wide.len().div_ceil(panel) * len];
                let fill = |(index, panel_of): (usize, &mut [f32])| {
                    let first = wide.start + index * panel;
                    pack(inner.clone(), first..wide.end.min(first + panel), panel_of);
                };
                let store = if inner.start == 0 { store } else { Store::Add };
                let finish = if inner.end == a.columns { finish } else { Finish::default() };
                let rows = |packed: &[f32], first: usize, c: &mut [f32]| {
                    let rows = first..first + c.len() / columns;
                    multiply_rows(isa, a, rows, inner.clone(), packed, wide.clone(), columns, c, store, finish);
                };
                if threads == 1 {
                    packed.chunks_exact_mut(len).enumerate().for_each(fill);
                    c.chunks_mut(task * columns).enumerate().for_each(|(index, c)| rows(packed, index * task, c));
                } else {
                    packed.par_chunks_exact_mut(len).enumerate().for_each(fill);
                    let packed = &*packed;
                    c.par_chunks_mut(task * columns).enumerate().for_each(|(index, c)| rows(packed, index * task, c));
                }
            }
        }
    });
}

/// Adds a block of inner elements to some rows and the `wide` columns of the product. `c` has these rows, all columns.
#[allow(clippy::too_many_arguments, reason = "the operands of a matrix product and the ranges of its three dimensions")]
fn multiply_rows(
    isa: Isa,
    a: Matrix<'_>,
    rows: Range<usize>,
    inner: Range<usize>,
    packed: &[f32],
    wide: Range<usize>,
    columns: usize,
    c: &mut [f32],
    store: Store,
    finish: Finish<'_>,
) {
    let (panel, len, count) = (isa.panel(), inner.len(), rows.len());
    // Packing pays when many panels read the rows, and for rows that are not side by side in memory.
    let pack = wide.len() >= 8 * panel || a.strides[1] != 1;
    with_buffer(&LEFT, if pack { product([count, len]) } else { 0 }, |buffer| {
        if pack {
            for piece in split(count, isa.rows()) {
                let packed = &mut buffer[piece.start * len..piece.end * len];
                pack_rows(a, rows.start + piece.start..rows.start + piece.end, inner.clone(), packed);
            }
        }
        let mut edge = [0.0; 14 * 32];
        for (first, data) in wide.clone().step_by(panel).zip(packed.chunks_exact(len * panel)) {
            let right = Right { data, stride: panel };
            let width = panel.min(wide.end - first);
            let lanes = if width <= isa.lanes() { isa.lanes() } else { panel };
            for piece in split(count, isa.rows()) {
                let left = if pack {
                    let data = &buffer[piece.start * len..piece.end * len];
                    Left { data, row: 1, step: piece.len(), stretches: Stretches::ONE, len }
                } else {
                    let data = a.from(rows.start + piece.start, inner.start);
                    Left { data, row: a.strides[0], step: 1, stretches: Stretches::ONE, len }
                };
                let out = &mut c[piece.start * columns + first..];
                let top = rows.start + piece.start;
                if width == lanes {
                    tile_finished(isa, piece.len(), lanes, left, right, out, columns, store, (&finish, top));
                } else {
                    tile(isa, piece.len(), lanes, left, right, &mut edge, lanes, Store::Overwrite);
                    for (row, sums) in edge.chunks_exact(lanes).take(piece.len()).enumerate() {
                        for (out, &sum) in out[row * columns..][..width].iter_mut().zip(sums) {
                            *out = if store == Store::Add { *out + sum } else { sum };
                        }
                    }
                    finish.apply(isa, top, columns, width, &mut out[..(piece.len() - 1) * columns + width]);
                }
            }
        }
    });
}

/// Packs rows as a tile reads them, `[inner][rows]`.
fn pack_rows(a: Matrix<'_>, rows: Range<usize>, inner: Range<usize>, packed: &mut [f32]) {
    let (count, [row, column]) = (rows.len(), a.strides);
    if row == 1 {
        for (step, packed) in packed.chunks_exact_mut(count).enumerate() {
            let source = &a.from(rows.start, inner.start + step)[..count];
            packed.iter_mut().zip(source).for_each(|(packed, &value)| *packed = value);
        }
        return;
    }
    for (m, at) in rows.enumerate() {
        let source = a.from(at, inner.start);
        let packed = packed[m..].iter_mut().step_by(count);
        if column == 1 {
            packed.zip(&source[..inner.len()]).for_each(|(packed, &value)| *packed = value);
        } else {
            packed.enumerate().for_each(|(step, packed)| *packed = source[step * column]);
        }
    }
}

/// Packs `inner` rows and a panel of columns of `b`.
struct PackPanel<'a, 'p> {
    b: Matrix<'a>,
    inner: Range<usize>,
    columns: Range<usize>,
    panel: &'p mut [f32],
}

impl Kernel for PackPanel<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { b, inner, columns, panel: packed } = self;
        let (panel, width, [row, column]) = (2 * V::LANES, columns.len(), b.strides);
        if column == 1 && width == panel {
            for (step, packed) in packed.chunks_exact_mut(panel).enumerate() {
                let source = &b.from(inner.start + step, columns.start)[..panel];
                // SAFETY: both slices have the length of a panel, two registers.
                unsafe {
                    V::load(source.as_ptr()).store(packed.as_mut_ptr());
                    V::load(source.as_ptr().add(V::LANES)).store(packed.as_mut_ptr().add(V::LANES));
                }
            }
            return;
        }
        for (n, at) in columns.enumerate() {
            let source = b.from(inner.start, at);
            let packed = packed[n..].iter_mut().step_by(panel);
            if row == 1 {
                packed.zip(&source[..inner.len()]).for_each(|(packed, &value)| *packed = value);
            } else {
                packed.enumerate().for_each(|(step, packed)| *packed = source[step * row]);
            }
        }
    }
}

type Buffer = std::thread::LocalKey<Cell<Option<Aligned>>>;

thread_local! {
    static RIGHT: Cell<Option<Aligned>> = const { Cell::new(None) };
    static LEFT: Cell<Option<Aligned>> = const { Cell::new(None) };
    pub(crate) static PLANES: Cell<Option<Aligned>> = const { Cell::new(None) };
}

/// Calls `work` with `len` numbers, whatever they are. The buffer is kept from call to call: fresh pages would cost more than
/// packing. It is taken while it is in use, since a thread that waits may start another product.
pub(crate) fn with_buffer<T>(buffer: &'static Buffer, len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut taken = buffer.take().filter(|kept| kept.len() >= len).unwrap_or_else(|| Aligned::zeros(len));
    let result = work(&mut taken[..len]);
    buffer.set(Some(taken));
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn transposed(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..rows * columns).map(|at| data[at % rows * columns + at / rows]).collect()
    }

    /// Compares products of every form with the definition in double precision, for shapes that fill no panel and no block.
    #[test]
    fn products_agree_with_their_definition() {
        for isa in Isa::available() {
            for (m, k, n) in [(1, 1, 1), (7, 300, 5), (29, 64, 8 * isa.panel() + 3), (250, 17, 40), (3, 20, WIDTH + 9)] {
                let (a, b, start) = (random(1, m * k), random(2, k * n), random(3, m * n));
                let (at, bt) = (transposed(&a, m, k), transposed(&b, k, n));
                // Rows of twice the length, of which every other number is left out.
                let spaced: Vec<f32> = a.iter().flat_map(|&x| [x, f32::NAN]).collect();
                let expected: Vec<f64> = (0..m * n)
                    .map(|at| (0..k).map(|i| f64::from(a[at / n * k + i]) * f64::from(b[i * n + at % n])).sum())
                    .collect();
                let (first, second) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
                let mut plain = vec![f32::NAN; m * n];
                multiply(isa, first, second, &mut plain);
                for (place, (c, expected)) in plain.iter().zip(&expected).enumerate() {
                    assert!((f64::from(*c) - expected).abs() < 1e-4, "{isa} {m} {k} {n}: {c} at {place}, not {expected}");
                }
                let forms = [Matrix::new(&at, k, m).t(), Matrix::strided(&spaced, m, k, [2 * k, 2])];
                for first in forms.into_iter().chain([first]) {
                    for second in [second, Matrix::new(&bt, n, k).t()] {
                        let mut c = vec![f32::NAN; m * n];
                        multiply(isa, first, second, &mut c);
                        assert_eq!(c, plain, "{isa} {m} {k} {n}");
                    }
                }
                let mut c = start.clone();
                multiply_add(isa, first, second, &mut c);
                let bias = random(4, m);
                for (bias, bounds) in
                    [(Some(&*bias), Some([-0.2, 0.3])), (None, Some([0.0, f32::INFINITY])), (Some(&*bias), None)]
                {
                    let mut c = vec![f32::NAN; m * n];
                    multiply_finished(isa, first, second, Finish { bias, bounds }, &mut c);
                    let finished = |(at, &sum): (usize, &f32)| {
                        let sum = sum + bias.map_or(0.0, |bias| bias[at / n]);
                        bounds.map_or(sum, |[low, high]| sum.clamp(low, high))
                    };
                    assert_eq!(c, plain.iter().enumerate().map(finished).collect::<Vec<_>>(), "{isa} {m} {k} {n} {bias:?}");
                }
                for ((c, start), expected) in c.iter().zip(&start).zip(&expected) {
                    assert!((f64::from(*c) - f64::from(*start) - expected).abs() < 1e-4, "{isa} {m} {k} {n}");
                }
            }
        }
    }

    #[test]
    fn bits_depend_on_neither_threads_nor_other_rows() {
        for isa in Isa::available() {
            let (m, k, n) = (131, 600, 70);
            let (a, b) = (random(1, m * k), random(2, k * n));
            let run = |threads: usize, rows: Range<usize>| {
                let mut c = vec![0.0; rows.len() * n];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let a = Matrix::new(&a[rows.start * k..rows.end * k], rows.len(), k);
                pool.install(|| multiply(isa, a, Matrix::new(&b, k, n), &mut c));
                c
            };
            let expected = run(1, 0..m);
            for threads in [2, 3, 8] {
                assert_eq!(run(threads, 0..m), expected, "{isa}, {threads} threads");
            }
            for rows in [0..1, 5..18, 100..131] {
                assert_eq!(run(2, rows.clone()), expected[rows.start * n..rows.end * n], "{isa}, rows {rows:?}");
            }
        }
    }

    #[test]
    fn empty_matrices_and_nan() {
        let isa = Isa::best();
        let mut c = [1.0; 4];
        multiply(isa, Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 2), &mut c);
        assert_eq!(c, [0.0; 4]);
        multiply(isa, Matrix::new(&[], 0, 3), Matrix::new(&[1.0; 6], 3, 2), &mut []);
        multiply(isa, Matrix::new(&[0.0, 1.0], 2, 1), Matrix::new(&[f32::NAN, f32::INFINITY], 1, 2), &mut c);
        let mut empty = [1.0; 4];
        let finish = Finish { bias: Some(&[2.0, -3.0]), bounds: Some([-1.0, 5.0]) };
        multiply_finished(isa, Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 2), finish, &mut empty);
        assert_eq!(empty, [2.0, 2.0, -1.0, -1.0]);
        assert!(c[0].is_nan() && c[1].is_nan() && c[2].is_nan() && c[3] == f32::INFINITY);
    }
}
