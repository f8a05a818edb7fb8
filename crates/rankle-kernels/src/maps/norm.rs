//! Batch normalization in training: statistics of the batch, and the gradient through them.
//!
//! Rows are summed in blocks, and the blocks in double precision. The caller adds the sums of its chunks in order, so the
//! statistics depend on how the images are cut into chunks, not on the number of threads.

use crate::simd::{Isa, Kernel, Vector};
use crate::size::product;

/// Number of rows that are summed in single precision before they are added in double precision.
const BLOCK: usize = 64;

/// Sum of a term over all rows, per channel.
fn sums(isa: Isa, channels: usize, term: Term<'_>) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    isa.run(Sums { term, sums: &mut sums });
    sums
}

#[derive(Clone, Copy)]
enum Term<'a> {
    Value(&'a [f32]),
    SquaredDeviation(&'a [f32], &'a [f32]),
    /// Gradient times the deviation from the mean.
    GradientDeviation(&'a [f32], &'a [f32], &'a [f32]),
}

struct Sums<'a, 's> {
    term: Term<'a>,
    sums: &'s mut [f64],
}

impl Kernel for Sums<'_, '_> {
    type Output = ();
    // Plain Rust: inside `Isa::run` the compiler vectorizes these loops for the instruction set.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let channels = self.sums.len();
        let rows = product([BLOCK, channels]);
        let mut block = vec![0.0f32; channels];
        let mut settle = |block: &mut [f32]| {
            self.sums.iter_mut().zip(block).for_each(|(sum, block)| {
                *sum += f64::from(*block);
                *block = 0.0;
            });
        };
        match self.term {
            Term::Value(x) => {
                for x in x.chunks(rows) {
                    for x in x.chunks_exact(channels) {
                        block.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
                    }
                    settle(&mut block);
                }
            }
            Term::SquaredDeviation(x, mean) => {
                for x in x.chunks(rows) {
                    for x in x.chunks_exact(channels) {
                        block.iter_mut().zip(x).zip(mean).for_each(|((sum, x), mean)| *sum += (x - mean) * (x - mean));
                    }
                    settle(&mut block);
                }
            }
            Term::GradientDeviation(gradient, x, mean) => {
                for (gradient, x) in gradient.chunks(rows).zip(x.chunks(rows)) {
                    for (gradient, x) in gradient.chunks_exact(channels).zip(x.chunks_exact(channels)) {
                        let terms = gradient.iter().zip(x).zip(mean);
                        block.iter_mut().zip(terms).for_each(|(sum, ((gradient, x), mean))| *sum += gradient * (x - mean));
                    }
                    settle(&mut block);
                }
            }
        }
    }
}

/// Σ x, per channel.
pub fn sum(isa: Isa, x: &[f32], channels: usize) -> Vec<f64> {
    assert!(!x.is_empty() && x.len().is_multiple_of(channels), "whole rows");
    sums(isa, channels, Term::Value(x))
}

/// Σ (x - mean)², per channel.
pub fn sum_of_squares(isa: Isa, x: &[f32], mean: &[f32]) -> Vec<f64> {
    assert!(x.len().is_multiple_of(mean.len()), "whole rows");
    sums(isa, mean.len(), Term::SquaredDeviation(x, mean))
}

/// Σ gradient · (x - mean), per channel.
pub fn sum_of_products(isa: Isa, gradient: &[f32], x: &[f32], mean: &[f32]) -> Vec<f64> {
    assert!(x.len().is_multiple_of(mean.len()) && gradient.len() == x.len(), "whole rows and as many gradients");
    sums(isa, mean.len(), Term::GradientDeviation(gradient, x, mean))
}

/// Computes `y = scale · x + shift` per channel, adds the shortcut if there is one, and applies ReLU if `relu` is set.
pub fn apply(isa: Isa, x: &[f32], scale: &[f32], shift: &[f32], shortcut: Option<&[f32]>, relu: bool, y: &mut [f32]) {
    assert!(scale.len() == shift.len() && x.len() == y.len() && x.len().is_multiple_of(scale.len()), "rows of the channels");
    assert!(shortcut.is_none_or(|shortcut| shortcut.len() == x.len()), "a shortcut of the same shape");
    isa.run(Apply { x, scale, shift, shortcut, relu, y });
}

struct Apply<'a> {
    x: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    shortcut: Option<&'a [f32]>,
    relu: bool,
    y: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        let channels = self.scale.len();
        for (row, (x, y)) in self.x.chunks_exact(channels).zip(self.y.chunks_exact_mut(channels)).enumerate() {
            let parameters = self.scale.iter().zip(self.shift);
            y.iter_mut().zip(x).zip(parameters).for_each(|((y, x), (scale, shift))| *y = scale * x + shift);
            if let Some(shortcut) = self.shortcut {
                y.iter_mut().zip(&shortcut[row * channels..][..channels]).for_each(|(y, shortcut)| *y += shortcut);
            }
            if self.relu {
                y.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
            }
        }
    }
}

/// Computes `gradient = a · gradient + b · x + c` per channel, in place: the gradient through the statistics.
pub fn backward(isa: Isa, gradient: &mut [f32], x: &[f32], a: &[f32], b: &[f32], c: &[f32]) {
    assert!(gradient.len() == x.len() && x.len().is_multiple_of(a.len()) && a.len() == b.len() && a.len() == c.len(), "rows");
    isa.run(Backward { gradient, x, a, b, c });
}

struct Backward<'a> {
    gradient: &'a mut [f32],
    x: &'a [f32],
    a: &'a [f32],
    b: &'a [f32],
    c: &'a [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        let channels = self.a.len();
        for (gradient, x) in self.gradient.chunks_exact_mut(channels).zip(self.x.chunks_exact(channels)) {
            let parameters = self.a.iter().zip(self.b).zip(self.c);
            gradient
                .iter_mut()
                .zip(x)
                .zip(parameters)
                .for_each(|((gradient, x), ((a, b), c))| *gradient = a * *gradient + b * x + c);
        }
    }
}

/// Sets the gradient to zero where the activation is not above zero: the backward pass of a ReLU.
pub fn relu_backward(gradient: &mut [f32], activation: &[f32]) {
    assert!(gradient.len() == activation.len(), "one activation per gradient");
    gradient
        .iter_mut()
        .zip(activation)
        .for_each(|(gradient, &activation)| *gradient = if activation > 0.0 { *gradient } else { 0.0 });
}
