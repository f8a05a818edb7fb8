//! The last step of a sum.

use crate::simd::{Isa, Kernel, Vector};

/// The last step on the rows of a product, while its tiles are in registers or in the cache: what is added, then the bounds. NaN
/// stays NaN.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// A number for each row.
    pub bias: Option<&'a [f32]>,
    /// The smallest and the largest result.
    pub bounds: Option<[f32; 2]>,
}

impl Finish<'_> {
    /// Finishes rows `width` wide and `stride` apart, from row `first` on.
    ///
    /// # Panics
    /// A `stride` of 0 or below `width`, a last row shorter than `width`, and fewer biases than rows.
    pub fn apply(self, isa: Isa, first: usize, stride: usize, width: usize, rows: &mut [f32]) {
        if !self.is_nothing() {
            isa.run(FinishRows { finish: self, first, stride, width, rows });
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.bias.is_none() && self.bounds.is_none()
    }

    /// What is added to a row.
    #[inline(always)]
    pub(crate) fn bias_of(&self, row: usize) -> f32 {
        self.bias.map_or(0.0, |bias| bias[row])
    }

    /// The bounds, infinite where there are none.
    pub(crate) fn limits(&self) -> [f32; 2] {
        self.bounds.unwrap_or([f32::NEG_INFINITY, f32::INFINITY])
    }
}

struct FinishRows<'a, 'r> {
    finish: Finish<'a>,
    first: usize,
    stride: usize,
    width: usize,
    rows: &'r mut [f32],
}

impl Kernel for FinishRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { finish, first, stride, width, rows } = self;
        let [low, high] = finish.limits();
        for (row, numbers) in rows.chunks_mut(stride).enumerate() {
            let bias = finish.bias_of(first + row);
            numbers[..width].iter_mut().for_each(|x| *x = V::between_one(*x + bias, low, high));
        }
    }
}
