//! A check of a loss gradient against central differences along random directions.

use crate::differences::{dot, quotients, sides};
use crate::probe::{gradients, losses};
use crate::{RankingAttack, Setting, Targets};
use candle_core::{Device, Tensor};
use rand::Rng;
use rankle_core::numbers::numbers;
use rankle_core::seed::Purpose;
use rankle_core::{Error, Result, Seed};

/// Random directions `(count, c, h, w)` for one image of the shape `(c, h, w)`. Every pixel is ±1 at random, keyed by seed and
/// image; fewer directions are a prefix of more.
///
/// All pixels move at once, because the loss is rounded: one pixel of a robust model changes it by less than the rounding error.
///
/// # Errors
/// [`Error::Tensor`] if candle refuses.
pub fn directions(seed: Seed, image: usize, count: usize, shape: (usize, usize, usize)) -> Result<Tensor> {
    let (c, h, w) = shape;
    let mut coins = seed.stream(Purpose::Directions, [image as u64, 0]);
    let values: Vec<f32> = (0..count * c * h * w).map(|_| if coins.random::<bool>() { 1.0 } else { -1.0 }).collect();
    Ok(Tensor::from_vec(values, (count, c, h, w), &Device::Cpu)?)
}

/// The derivative of the loss along one direction, from the gradient and from differences of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// Dot product of gradient and direction.
    pub gradient: f64,
    /// Central difference quotient for each of [`Slope::STEPS`]: the loss at the step ahead less the loss at the step behind,
    /// over twice the step.
    pub quotients: [f64; Slope::STEPS.len()],
}

impl Slope {
    /// Distances by which every pixel moves. A network of ReLUs and maxima is linear only between its kinks, and a wider step
    /// crosses more of them: on C2F2 this changes quotients by 2 to 6 % at these steps. The loss, made of f32 distances near one,
    /// is rounded to about 1e-7, which changes a quotient by 3e-3 at the narrow step, and by more at narrower ones. Slopes of the
    /// attacks on C2F2 are between 0.03 (defended) and 0.8.
    pub const STEPS: [f32; 2] = [1.0 / 16384.0, 1.0 / 32768.0];
}

/// Slopes of the loss of one image along `directions`, `(k, c, h, w)`. `at`, `(1, c, h, w)`, holds the pixels of the image,
/// `targets` its own targets. Moved pixels are not clamped to `[0, 1]`.
///
/// # Errors
/// As [`losses`], and [`Error::Shape`] for directions of another shape than the image.
pub fn slopes(
    attack: &dyn RankingAttack,
    setting: &Setting<'_>,
    image: usize,
    targets: &Targets,
    at: &Tensor,
    directions: &Tensor,
) -> Result<Vec<Slope>> {
    let gradient = gradients(attack, setting, &[image], targets, at)?;
    let shape = at.dims();
    if directions.dims().get(1..) != shape.get(1..) {
        let expected = format!("(k, {:?}), that of the image", &shape[1..]);
        return Err(Error::Shape { what: "the directions", actual: directions.dims().to_vec(), expected });
    }
    let (gradient, here, directions) = (numbers(&gradient)?, numbers(at)?, numbers(directions)?);
    let directions = || directions.chunks_exact(here.len());
    let moved = sides(&here, directions(), Slope::STEPS);
    let copies = moved.len() / here.len();
    let moved = Tensor::from_vec(moved, [&[copies], &shape[1..]].concat(), &Device::Cpu)?;
    let losses = losses(attack, setting, &vec![image; copies], &targets.repeated(copies), &moved)?;
    let slope = |(direction, quotients): (&[f32], [f64; 2])| Slope { gradient: dot(&gradient, direction), quotients };
    Ok(directions().zip(quotients(&losses, Slope::STEPS)).map(slope).collect())
}

/// Agreement of a gradient with the slopes of its loss.
///
/// The quotients of the two steps come from separate losses, so their rounding errors are independent and average out of the mean
/// product of the two residuals, quotient less gradient. This mean over the mean product of the quotients is the square of
/// [`Agreement::error`]: 1 for a gradient of zeros, 0.2² for a gradient that is a fifth too large or lacks the pixels with a
/// twenty-fifth of its squared norm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Number of directions.
    pub directions: usize,
    /// Sums over the directions: the product of both quotients, its square, the product of both residuals, its square.
    sums: [f64; 4],
}

impl Agreement {
    /// Largest relative error of a correct gradient: kinks of a network within a step cause much less.
    pub const TOLERANCE: f64 = 0.1;

    /// Sums over the slopes of one image.
    pub fn of(slopes: &[Slope]) -> Self {
        let mut sums = [0.0; 4];
        for &Slope { gradient, quotients: [wide, narrow] } in slopes {
            let (steepness, rest) = (wide * narrow, (wide - gradient) * (narrow - gradient));
            sums.iter_mut().zip([steepness, steepness * steepness, rest, rest * rest]).for_each(|(sum, value)| *sum += value);
        }
        Self { directions: slopes.len(), sums }
    }

    /// Both as one, over all their directions.
    pub fn and(self, other: Self) -> Self {
        let sums = std::array::from_fn(|at| self.sums[at] + other.sums[at]);
        Self { directions: self.directions + other.directions, sums }
    }

    /// Root mean square of the slopes; 0 if rounding makes their mean product negative.
    pub fn steepness(&self) -> f64 {
        (self.sums[0] / self.directions as f64).max(0.0).sqrt()
    }

    /// Root mean square of the residuals, relative to [`Agreement::steepness`]: the estimate, then its bounds at two standard
    /// errors. `None` if the slopes are too small to tell: their mean square is less than four standard errors above zero.
    pub fn error(&self) -> Option<[f64; 3]> {
        let n = self.directions as f64;
        let mean = |at: usize| self.sums[at] / n;
        let standard_error = |at: usize| ((mean(at + 1) - mean(at).powi(2)).max(0.0) / n).sqrt();
        let (square, rest) = (mean(0), mean(2));
        let steep = self.directions > 1 && square > 4.0 * standard_error(0);
        let part = |rest: f64| (rest / square).max(0.0).sqrt();
        steep.then(|| [part(rest), part(rest - 2.0 * standard_error(2)), part(rest + 2.0 * standard_error(2))])
    }

    /// True if the gradient agrees with the slopes of the loss; `None` if undecided.
    pub fn holds(&self) -> Option<bool> {
        let [_, least, most] = self.error()?;
        match (least > Self::TOLERANCE, most <= Self::TOLERANCE) {
            (true, _) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        }
    }
}
