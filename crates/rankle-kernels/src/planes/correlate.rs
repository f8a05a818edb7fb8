//! The sum over the taps of shifted numbers.

use crate::simd::{Kernel, Vector};
use crate::size::sum;

/// A weight, and the distance of the number that it multiplies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    pub offset: usize,
    pub weight: f32,
}

/// Registers that are summed at a time.
const BLOCK: usize = 8;

/// `output[i] = start + Σ weight * input[i + offset]`: one chain of multiply-adds in the order of the taps. The output is a
/// multiple of [`PAD`] long.
pub(super) struct Correlate<'a, 'o> {
    pub input: &'a [f32],
    pub taps: &'a [Tap],
    pub start: f32,
    pub output: &'o mut [f32],
}

/// Lanes of the longest register.
pub(super) const PAD: usize = 16;

impl Kernel for Correlate<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { input, taps, start, output } = self;
        let len = output.len();
        let last = taps.iter().map(|tap| tap.offset).max().unwrap_or(0);
        assert!(len.is_multiple_of(V::LANES) && sum([last, len]) <= input.len(), "room for every tap");
        let whole = len / (BLOCK * V::LANES) * (BLOCK * V::LANES);
        for at in (0..whole).step_by(BLOCK * V::LANES) {
            // SAFETY: `at + BLOCK * LANES <= len`, and `offset + len <= input.len()` for every tap.
            unsafe { block::<V, BLOCK>(input, taps, start, at, output) };
        }
        for at in (whole..len).step_by(V::LANES) {
            // SAFETY: `len` is a multiple of `LANES`; as above.
            unsafe { block::<V, 1>(input, taps, start, at, output) };
        }
    }
}

/// Computes N registers from `at` on.
///
/// # Safety
/// N registers can be written at `at`, and read at `at + offset` for every tap.
#[inline(always)]
unsafe fn block<V: Vector, const N: usize>(input: &[f32], taps: &[Tap], start: f32, at: usize, output: &mut [f32]) {
    let mut sums = [V::splat(start); N];
    for tap in taps {
        let weight = V::splat(tap.weight);
        for (n, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *sum = weight.multiply_add(unsafe { V::load(input.as_ptr().add(at + tap.offset + n * V::LANES)) }, *sum);
        }
    }
    for (n, sum) in sums.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { sum.store(output.as_mut_ptr().add(at + n * V::LANES)) };
    }
}
