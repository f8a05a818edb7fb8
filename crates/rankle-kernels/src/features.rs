//! Layers on rows of features: layer normalization and softmax, forward and backward; and activation functions of single numbers.
//!
//! Sums run in `LANES` chains, which are then added up in order: always the same bits for the same row.

use crate::simd::{Isa, Kernel, Vector};
use crate::size::product;
use rayon::prelude::*;

/// Chains of a sum: two registers of the widest set.
const LANES: usize = 32;
/// Numbers of a task, approximately.
const TASK: usize = 1 << 14;

/// Rows of a task.
fn task(features: usize) -> usize {
    (TASK / features).max(1)
}

/// Layer normalization of rows: `(x - mean) / sqrt(variance + epsilon) * weight + bias`, one weight and bias per feature, 1 and 0
/// where they are left out.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// Numbers of a row.
    pub features: usize,
    /// Factor of each feature.
    pub weight: Option<&'a [f32]>,
    /// Summand of each feature.
    pub bias: Option<&'a [f32]>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl LayerNorm<'_> {
    /// Normalizes the rows of `x`. `statistics` gets the mean of each row and `1 / sqrt(variance + epsilon)`.
    pub fn forward(&self, isa: Isa, x: &[f32], y: &mut [f32], statistics: &mut [[f32; 2]]) {
        self.check(x, y, statistics);
        let (norm, rows) = (*self, task(self.features));
        let tasks = y.par_chunks_mut(rows * self.features).zip(x.par_chunks(rows * self.features));
        tasks.zip(statistics.par_chunks_mut(rows)).for_each(|((y, x), statistics)| isa.run(Normalize { norm, x, y, statistics }));
    }

    /// Turns the gradient of the results into that of `x`, from the statistics of [`LayerNorm::forward`].
    pub fn backward(&self, isa: Isa, x: &[f32], statistics: &[[f32; 2]], gradient: &[f32], dx: &mut [f32]) {
        self.check(x, dx, statistics);
        assert!(gradient.len() == x.len(), "as many gradients as numbers");
        let (norm, len) = (*self, task(self.features) * self.features);
        let tasks = dx.par_chunks_mut(len).zip(x.par_chunks(len)).zip(gradient.par_chunks(len));
        tasks
            .zip(statistics.par_chunks(task(self.features)))
            .for_each(|(((dx, x), gradient), statistics)| isa.run(NormalizeBack { norm, x, statistics, gradient, dx }));
    }

    fn check(&self, x: &[f32], y: &[f32], statistics: &[[f32; 2]]) {
        let fits = |numbers: Option<&[f32]>| numbers.is_none_or(|numbers| numbers.len() == self.features);
        assert!(self.features > 0 && fits(self.weight) && fits(self.bias), "one weight and bias per feature");
        assert!(x.len() == product([statistics.len(), self.features]) && y.len() == x.len(), "whole rows");
    }
}

struct Normalize<'a> {
    norm: LayerNorm<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
    statistics: &'a mut [[f32; 2]],
}

/// The sum of the chains, and then of the rest.
#[inline(always)]
fn total(chains: [f32; LANES], rest: f32) -> f32 {
    let mut sum = 0.0;
    for chain in chains {
        sum += chain;
    }
    sum + rest
}

impl Kernel for Normalize<'_> {
    type Output = ();

    // Plain loops, here and below: inside `Isa::run` the compiler vectorizes them. Closures might not get the instruction set.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { norm: LayerNorm { features, weight, bias, epsilon }, x, y, statistics } = self;
        for ((x, y), statistics) in x.chunks_exact(features).zip(y.chunks_exact_mut(features)).zip(statistics) {
            let (blocks, tail) = x.as_chunks::<LANES>();
            let (mut sums, mut rest) = ([0.0; LANES], 0.0);
            for block in blocks {
                for lane in 0..LANES {
                    sums[lane] += block[lane];
                }
            }
            for &x in tail {
                rest += x;
            }
            let mean = total(sums, rest) / features as f32;
            (sums, rest) = ([0.0; LANES], 0.0);
            for block in blocks {
                for lane in 0..LANES {
                    let centered = block[lane] - mean;
                    sums[lane] = V::multiply_add_one(centered, centered, sums[lane]);
                }
            }
            for &x in tail {
                rest = V::multiply_add_one(x - mean, x - mean, rest);
            }
            let variance = total(sums, rest) / features as f32;
            let inverse = (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32;
            *statistics = [mean, inverse];
            match (weight, bias) {
                (Some(weight), Some(bias)) => {
                    for (((y, &x), &weight), &bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                        *y = V::multiply_add_one((x - mean) * inverse, weight, bias);
                    }
                }
                (Some(weight), None) => {
                    for ((y, &x), &weight) in y.iter_mut().zip(x).zip(weight) {
                        *y = (x - mean) * inverse * weight;
                    }
                }
                (None, Some(bias)) => {
                    for ((y, &x), &bias) in y.iter_mut().zip(x).zip(bias) {
                        *y = (x - mean) * inverse + bias;
                    }
                }
                (None, None) => {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = (x - mean) * inverse;
                    }
                }
            }
        }
    }
}

struct NormalizeBack<'a> {
    norm: LayerNorm<'a>,
    x: &'a [f32],
    statistics: &'a [[f32; 2]],
    gradient: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for NormalizeBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { norm: LayerNorm { features, weight, .. }, x, statistics, gradient, dx } = self;
        let rows = x.chunks_exact(features).zip(gradient.chunks_exact(features)).zip(dx.chunks_exact_mut(features));
        for (((x, gradient), dx), &[mean, inverse]) in rows.zip(statistics) {
            // The gradient of the normalized row is in `dx` first.
            match weight {
                Some(weight) => {
                    for ((dx, &gradient), &weight) in dx.iter_mut().zip(gradient).zip(weight) {
                        *dx = gradient * weight;
                    }
                }
                None => dx.copy_from_slice(gradient),
            }
            let ((blocks, tail), (from, from_tail)) = (dx.as_chunks::<LANES>(), x.as_chunks::<LANES>());
            let (mut sums, mut along) = ([0.0; LANES], [0.0; LANES]);
            let (mut rest, mut rest_along) = (0.0, 0.0);
            for (block, x) in blocks.iter().zip(from) {
                for lane in 0..LANES {
                    sums[lane] += block[lane];
                    along[lane] = V::multiply_add_one(block[lane], (x[lane] - mean) * inverse, along[lane]);
                }
            }
            for (&dx, &x) in tail.iter().zip(from_tail) {
                rest += dx;
                rest_along = V::multiply_add_one(dx, (x - mean) * inverse, rest_along);
            }
            let constant = total(sums, rest) / features as f32;
            let along = total(along, rest_along) / features as f32;
            for (dx, &x) in dx.iter_mut().zip(x) {
                *dx = (*dx - constant - (x - mean) * inverse * along) * inverse;
            }
        }
    }
}

/// Softmax of rows of `features` numbers. A row that holds NaN or infinity, or only minus infinity, is NaN.
pub fn softmax(isa: Isa, features: usize, x: &[f32], y: &mut [f32]) {
    assert!(features > 0 && x.len().is_multiple_of(features) && y.len() == x.len(), "whole rows");
    let len = task(features) * features;
    y.par_chunks_mut(len).zip(x.par_chunks(len)).for_each(|(y, x)| isa.run(Softmax { features, x, y }));
}

/// Turns the gradient of the results `y` of [`softmax`] into that of its inputs.
pub fn softmax_backward(isa: Isa, features: usize, y: &[f32], gradient: &[f32], dx: &mut [f32]) {
    let whole = features > 0 && y.len().is_multiple_of(features);
    assert!(whole && gradient.len() == y.len() && dx.len() == y.len(), "whole rows and as many gradients");
    let len = task(features) * features;
    let tasks = dx.par_chunks_mut(len).zip(y.par_chunks(len)).zip(gradient.par_chunks(len));
    tasks.for_each(|((dx, y), gradient)| isa.run(SoftmaxBack { features, y, gradient, dx }));
}

struct Softmax<'a> {
    features: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { features, x, y } = self;
        for (x, y) in x.chunks_exact(features).zip(y.chunks_exact_mut(features)) {
            let (blocks, tail) = x.as_chunks::<LANES>();
            let (mut most, mut largest) = ([f32::NEG_INFINITY; LANES], f32::NEG_INFINITY);
            for block in blocks {
                for lane in 0..LANES {
                    most[lane] = if block[lane] > most[lane] { block[lane] } else { most[lane] };
                }
            }
            for &x in most.iter().chain(tail) {
                largest = if x > largest { x } else { largest };
            }
            for (y, &x) in y.iter_mut().zip(x) {
                *y = exp::<V>(x - largest);
            }
            let (blocks, tail) = y.as_chunks::<LANES>();
            let (mut sums, mut rest) = ([0.0; LANES], 0.0);
            for block in blocks {
                for lane in 0..LANES {
                    sums[lane] += block[lane];
                }
            }
            for &y in tail {
                rest += y;
            }
            let sum = total(sums, rest);
            for y in y.iter_mut() {
                *y /= sum;
            }
        }
    }
}

struct SoftmaxBack<'a> {
    features: usize,
    y: &'a [f32],
    gradient: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for SoftmaxBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { features, y, gradient, dx } = self;
        let rows = y.chunks_exact(features).zip(gradient.chunks_exact(features));
        for ((y, gradient), dx) in rows.zip(dx.chunks_exact_mut(features)) {
            let ((blocks, tail), (from, from_tail)) = (y.as_chunks::<LANES>(), gradient.as_chunks::<LANES>());
            let (mut sums, mut rest) = ([0.0; LANES], 0.0);
            for (block, gradient) in blocks.iter().zip(from) {
                for lane in 0..LANES {
                    sums[lane] = V::multiply_add_one(block[lane], gradient[lane], sums[lane]);
                }
            }
            for (&y, &gradient) in tail.iter().zip(from_tail) {
                rest = V::multiply_add_one(y, gradient, rest);
            }
            let along = total(sums, rest);
            for ((dx, &y), &gradient) in dx.iter_mut().zip(y).zip(gradient) {
                *dx = y * gradient - y * along;
            }
        }
    }
}

/// `exp(x)` for `x <= 0`, within 2 units in the last place; below -87, where numbers lose digits, 0.
#[inline(always)]
pub(crate) fn exp<V: Vector>(x: f32) -> f32 {
    /// 1.5 * 2²³: added to a small number it leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln(2) in two parts, the first one with few digits: its multiples are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let shifted = V::multiply_add_one(x, std::f32::consts::LOG2_E, ROUND);
    let power = shifted - ROUND;
    let rest = V::multiply_add_one(power, -LN_2[0], x);
    let rest = V::multiply_add_one(power, -LN_2[1], rest);
    // The minimax polynomial of Cephes.
    let mut series = 1.987_569_2e-4;
    series = V::multiply_add_one(series, rest, 1.398_199_9e-3);
    series = V::multiply_add_one(series, rest, 8.333_452e-3);
    series = V::multiply_add_one(series, rest, 4.166_579_6e-2);
    series = V::multiply_add_one(series, rest, 1.666_666_5e-1);
    series = V::multiply_add_one(series, rest, 0.5);
    series = V::multiply_add_one(series, rest * rest, rest) + 1.0;
    let scaled = series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.0 { 0.0 } else { scaled }
}

/// The error function, to about 3e-7.
#[inline(always)]
fn erf<V: Vector>(x: f32) -> f32 {
    // A rational function of x, as in Eigen; beyond 4 the result is ±1 in single precision.
    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    let square = x * x;
    let mut above = -2.726_142_3e-10;
    above = V::multiply_add_one(above, square, 2.770_681_4e-8);
    above = V::multiply_add_one(above, square, -2.101_024e-6);
    above = V::multiply_add_one(above, square, -5.692_506_5e-5);
    above = V::multiply_add_one(above, square, -7.349_906_3e-4);
    above = V::multiply_add_one(above, square, -2.954_6e-3);
    above = V::multiply_add_one(above, square, -1.609_603_3e-2);
    let mut below = -1.456_607_2e-5;
    below = V::multiply_add_one(below, square, -2.133_740_5e-4);
    below = V::multiply_add_one(below, square, -1.682_827e-3);
    below = V::multiply_add_one(below, square, -7.373_329_2e-3);
    below = V::multiply_add_one(below, square, -1.426_473_9e-2);
    let ratio = x * above / below;
    let ratio = if x >= 4.0 { 1.0 } else { ratio };
    if x <= -4.0 { -1.0 } else { ratio }
}

/// A function of single numbers, with its derivative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `min(max(x, low), high)`, with a gradient of 0 at the bounds and beyond. NaN stays NaN and passes the gradient. ReLU is
    /// the one between 0 and infinity.
    Clip {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// `x * Φ(x)`, `Φ` the distribution function of the standard normal distribution.
    Gelu,
}

impl Activation {
    /// `max(x, 0)`.
    pub const RELU: Self = Self::Clip { low: 0.0, high: f32::INFINITY };

    /// Applies the function to each number of `x`.
    pub fn forward(self, isa: Isa, x: &[f32], y: &mut [f32]) {
        assert!(x.len() == y.len(), "one result for each number");
        let tasks = y.par_chunks_mut(TASK).zip(x.par_chunks(TASK));
        tasks.for_each(|(y, x)| isa.run(Activate { activation: self, x, y }));
    }

    /// Turns the gradient of the results into that of `x`.
    pub fn backward(self, isa: Isa, x: &[f32], gradient: &[f32], dx: &mut [f32]) {
        assert!(x.len() == gradient.len() && x.len() == dx.len(), "one gradient for each number");
        let tasks = dx.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).zip(gradient.par_chunks(TASK));
        tasks.for_each(|((dx, x), gradient)| isa.run(ActivateBack { activation: self, x, gradient, dx }));
    }
}

struct Activate<'a> {
    activation: Activation,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let numbers = self.y.iter_mut().zip(self.x);
        match self.activation {
            Activation::Clip { low, high } => {
                for (y, &x) in numbers {
                    let raised = if x <= low { low } else { x };
                    *y = if x >= high { high } else { raised };
                }
            }
            Activation::Gelu => {
                for (y, &x) in numbers {
                    *y = 0.5 * x * (1.0 + erf::<V>(x * std::f32::consts::FRAC_1_SQRT_2));
                }
            }
        }
    }
}

struct ActivateBack<'a> {
    activation: Activation,
    x: &'a [f32],
    gradient: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for ActivateBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        /// `1 / sqrt(2π)`
        const DENSITY: f32 = 0.398_942_3;
        let numbers = self.dx.iter_mut().zip(self.x).zip(self.gradient);
        match self.activation {
            Activation::Clip { low, high } => {
                for ((dx, &x), &gradient) in numbers {
                    let inner = if x <= low { 0.0 } else { gradient };
                    *dx = if x >= high { 0.0 } else { inner };
                }
            }
            Activation::Gelu => {
                for ((dx, &x), &gradient) in numbers {
                    let distribution = 0.5 * (1.0 + erf::<V>(x * std::f32::consts::FRAC_1_SQRT_2));
                    let density = DENSITY * exp::<V>(-0.5 * x * x);
                    *dx = gradient * V::multiply_add_one(x, density, distribution);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    #[track_caller]
    fn close(what: &str, actual: &[f32], expected: &[f64]) {
        assert_eq!(actual.len(), expected.len());
        let largest = expected.iter().fold(1e-3f64, |largest, x| largest.max(x.abs()));
        for (at, (&actual, expected)) in actual.iter().zip(expected).enumerate() {
            assert!((f64::from(actual) - expected).abs() < 1e-6 * largest, "{what}: {actual} at {at}, not {expected}");
        }
    }

    fn wide(numbers: &[f32]) -> Vec<f64> {
        numbers.iter().copied().map(f64::from).collect()
    }

    /// `work` in pools of different sizes: the same bits.
    fn on_any_threads<T: PartialEq + std::fmt::Debug + Send>(work: impl Fn() -> T + Sync) -> T {
        let run = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&work);
        let result = run(1);
        assert_eq!(run(3), result);
        result
    }

    #[test]
    fn layer_normalization_agrees_with_double_precision() {
        for (isa, features) in Isa::available().into_iter().flat_map(|isa| [1, 7, 32, 100, 384, 20_000].map(|d| (isa, d))) {
            let rows = if features == 384 { 100 } else { 3 };
            let x: Vec<f32> = random(1, rows * features).iter().map(|x| 3.0 * x + 1.0).collect();
            let (gradient, weight, bias) = (random(2, x.len()), random(3, features), random(4, features));
            for (weight, bias) in [(None, None), (Some(&weight), None), (None, Some(&bias)), (Some(&weight), Some(&bias))] {
                let (weight, bias) = (weight.map(|w| &w[..]), bias.map(|b| &b[..]));
                let norm = LayerNorm { features, weight, bias, epsilon: 1e-5 };
                let (y, dx) = on_any_threads(|| {
                    let (mut y, mut dx, mut statistics) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![[0.0; 2]; rows]);
                    norm.forward(isa, &x, &mut y, &mut statistics);
                    norm.backward(isa, &x, &statistics, &gradient, &mut dx);
                    (y, dx)
                });
                let (mut expected, mut expected_dx) = (Vec::new(), Vec::new());
                for (x, gradient) in wide(&x).chunks(features).zip(wide(&gradient).chunks(features)) {
                    let mean = |numbers: &mut dyn Iterator<Item = f64>| numbers.sum::<f64>() / features as f64;
                    let center = mean(&mut x.iter().copied());
                    let inverse = (mean(&mut x.iter().map(|x| (x - center).powi(2))) + 1e-5).sqrt().recip();
                    let unit: Vec<f64> = x.iter().map(|x| (x - center) * inverse).collect();
                    let at = |numbers: Option<&[f32]>, index: usize, or: f64| numbers.map_or(or, |n| f64::from(n[index]));
                    expected.extend(unit.iter().enumerate().map(|(i, u)| u * at(weight, i, 1.0) + at(bias, i, 0.0)));
                    let upstream: Vec<f64> = gradient.iter().enumerate().map(|(i, g)| g * at(weight, i, 1.0)).collect();
                    let constant = mean(&mut upstream.iter().copied());
                    let along = mean(&mut upstream.iter().zip(&unit).map(|(g, u)| g * u));
                    expected_dx.extend(upstream.iter().zip(&unit).map(|(g, u)| (g - constant - u * along) * inverse));
                }
                close(&format!("{isa} {features}"), &y, &expected);
                if features > 1 {
                    close(&format!("{isa} {features} gradient"), &dx, &expected_dx);
                }
            }
        }
    }

    #[test]
    fn softmax_agrees_with_double_precision() {
        for (isa, features) in Isa::available().into_iter().flat_map(|isa| [1, 5, 32, 197, 9000].map(|d| (isa, d))) {
            let (rows, scale) = (if features == 197 { 200 } else { 3 }, 3.0);
            let x: Vec<f32> = random(1, rows * features).iter().map(|x| scale * x).collect();
            let gradient = random(2, x.len());
            let (y, dx) = on_any_threads(|| {
                let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                softmax(isa, features, &x, &mut y);
                softmax_backward(isa, features, &y, &gradient, &mut dx);
                (y, dx)
            });
            let (mut expected, mut expected_dx) = (Vec::new(), Vec::new());
            for (x, gradient) in wide(&x).chunks(features).zip(wide(&gradient).chunks(features)) {
                let largest = x.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = x.iter().map(|x| (x - largest).exp()).sum();
                let y: Vec<f64> = x.iter().map(|x| (x - largest).exp() / sum).collect();
                let along: f64 = y.iter().zip(gradient).map(|(y, g)| y * g).sum();
                expected_dx.extend(y.iter().zip(gradient).map(|(y, g)| y * (g - along)));
                expected.extend(y);
            }
            close(&format!("{isa} {features}"), &y, &expected);
            close(&format!("{isa} {features} gradient"), &dx, &expected_dx);
        }
    }

    #[test]
    fn softmax_of_no_numbers_is_none() {
        for isa in Isa::available() {
            let of = |x: &[f32]| {
                let mut y = vec![0.0; x.len()];
                softmax(isa, x.len(), x, &mut y);
                y
            };
            for bad in [f32::NAN, f32::INFINITY] {
                for at in [0, 39] {
                    let mut x = vec![1.0; 40];
                    x[at] = bad;
                    assert!(of(&x).iter().all(|y| y.is_nan()), "{isa}: {bad} at {at}");
                }
            }
            assert!(of(&[f32::NEG_INFINITY; 3]).iter().all(|y| y.is_nan()));
            assert_eq!(of(&[f32::NEG_INFINITY, 0.0, -200.0, -f32::MAX]), [0.0, 1.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn the_exponential_function_is_right_in_every_digit_but_the_last() {
        struct Exp<'a>(&'a mut [f32]);
        impl Kernel for Exp<'_> {
            type Output = ();
            #[inline(always)]
            fn run<V: Vector>(self) {
                for x in self.0 {
                    *x = exp::<V>(*x);
                }
            }
        }
        for isa in Isa::available() {
            let x: Vec<f32> = (0..87_000).map(|at| at as f32 * -1e-3).collect();
            let mut y = x.clone();
            isa.run(Exp(&mut y));
            for (x, y) in x.iter().zip(y) {
                let expected = f64::from(*x).exp();
                assert!((f64::from(y) / expected - 1.0).abs() < 2.5e-7, "{isa}: exp({x}) = {y}, not {expected}");
            }
        }
    }

    /// Φ by the series of its density in double precision.
    fn distribution(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..400 {
            term *= x * x / (2 * n + 1) as f64;
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
    }

    #[test]
    fn activations_agree_with_double_precision() {
        // More numbers than a task.
        let x: Vec<f32> = (-8000..=12_000).map(|at| at as f32 * 1e-3).collect();
        let gradient = random(1, x.len());
        for isa in Isa::available() {
            let run = |activation: Activation| {
                on_any_threads(|| {
                    let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                    activation.forward(isa, &x, &mut y);
                    activation.backward(isa, &x, &gradient, &mut dx);
                    (y, dx)
                })
            };
            let (y, dx) = run(Activation::RELU);
            for ((&x, &gradient), (y, dx)) in x.iter().zip(&gradient).zip(y.into_iter().zip(dx)) {
                assert_eq!((y, dx), if x > 0.0 { (x, gradient) } else { (0.0, 0.0) }, "{isa}");
            }
            let (y, dx) = run(Activation::Clip { low: -1.0, high: 6.0 });
            for ((&x, &gradient), (y, dx)) in x.iter().zip(&gradient).zip(y.into_iter().zip(dx)) {
                assert_eq!((y, dx), (x.clamp(-1.0, 6.0), if x > -1.0 && x < 6.0 { gradient } else { 0.0 }), "{isa}");
            }
            let (y, dx) = run(Activation::Gelu);
            let part: Vec<usize> = (0..x.len()).filter(|&at| x[at].abs() < 6.0).collect();
            let of = |numbers: &[f32]| part.iter().map(|&at| numbers[at]).collect::<Vec<f32>>();
            let at = wide(&of(&x));
            close(&format!("{isa} gelu"), &of(&y), &at.iter().map(|&x| x * distribution(x)).collect::<Vec<_>>());
            let slope = |x: f64| distribution(x) + x * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            let expected: Vec<f64> = at.iter().zip(wide(&of(&gradient))).map(|(&x, g)| g * slope(x)).collect();
            close(&format!("{isa} gelu gradient"), &of(&dx), &expected);
            let mut y = [0.0; 5];
            Activation::Gelu.forward(isa, &[f32::NAN, 1e30, -1e30, f32::INFINITY, 0.0], &mut y);
            assert!(y[0].is_nan() && y[1..] == [1e30, 0.0, f32::INFINITY, 0.0], "{y:?}");
            Activation::RELU.forward(isa, &[f32::NAN, -0.0, f32::INFINITY, f32::NEG_INFINITY, 2.0], &mut y);
            assert!(y[0].is_nan() && y[1..] == [0.0, f32::INFINITY, 0.0, 2.0] && y[1].is_sign_positive());
        }
    }
}
