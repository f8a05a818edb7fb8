//! Whether a gradient is the slope of its loss: central differences along random directions.

use crate::differences::{dot, quotients, sides};
use crate::probe::{gradients, losses};
use crate::{RankingAttack, Setting, Targets};
use candle_core::{Device, Tensor};
use rand::Rng;
use rankle_core::numbers::numbers;
use rankle_core::seed::Purpose;
use rankle_core::{Error, Result, Seed};

/// Random directions `(count, c, h, w)` for one image of the shape `(c, h, w)`: every pixel goes up or down by one, a coin for
/// each, keyed by seed and image; the first ones do not depend on how many there are.
///
/// All pixels at once, because the loss is rounded: a single pixel of a robust model moves it by less than that.
///
/// # Errors
/// [`Error::Tensor`] if candle refuses.
pub fn directions(seed: Seed, image: usize, count: usize, shape: (usize, usize, usize)) -> Result<Tensor> {
    let (c, h, w) = shape;
    let mut coins = seed.stream(Purpose::Directions, [image as u64, 0]);
    let values: Vec<f32> = (0..count * c * h * w).map(|_| if coins.random::<bool>() { 1.0 } else { -1.0 }).collect();
    Ok(Tensor::from_vec(values, (count, c, h, w), &Device::Cpu)?)
}

/// How steep the loss is along one direction: what its gradient says, and what the loss itself says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The product of gradient and direction.
    pub gradient: f64,
    /// For each of [`Slope::STEPS`] the central difference quotient: the loss so far ahead less the loss so far behind, over twice
    /// the step.
    pub quotients: [f64; Slope::STEPS.len()],
}

impl Slope {
    /// How far every pixel is moved. A network of ReLUs and maxima is straight only between its decisions: a step crosses the more
    /// of them the wider it is, which on C2F2 moves quotients by 2 to 6 % at these steps. The loss, made of f32 distances near one,
    /// is rounded to about 1e-7, which is 3e-3 of a quotient at the narrow step and more at every narrower one; the slopes of the
    /// attacks on C2F2 are between 0.03 (defended) and 0.8.
    pub const STEPS: [f32; 2] = [1.0 / 16384.0, 1.0 / 32768.0];
}

/// The slopes of one image along `directions`, `(k, c, h, w)`. `at`, `(1, c, h, w)`, is what the image looks like; `targets` are
/// its own. Pixels on both sides are taken as they come, also outside of `[0, 1]`.
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

/// How far a gradient is from the slopes of its loss.
///
/// The quotients of both steps are measured apart from one another, so the rounding of the losses in the one is independent of that
/// in the other: it has no part in the mean product of what is left of both when the gradient is taken away. That product over the
/// mean product of the quotients themselves is the square of [`Agreement::error`]: 1 for a gradient of zeros, 0.2² for one that
/// is a fifth too large or lacks the pixels with a twenty-fifth of its squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// How many directions were looked at.
    pub directions: usize,
    /// Of both quotients, summed over the directions: the product, its square, the product of what the gradient leaves, its square.
    sums: [f64; 4],
}

impl Agreement {
    /// How far a gradient may be from the slopes: what a step crosses of the decisions of a network stays well below.
    pub const TOLERANCE: f64 = 0.1;

    /// The slopes of one image.
    pub fn of(slopes: &[Slope]) -> Self {
        let mut sums = [0.0; 4];
        for &Slope { gradient, quotients: [wide, narrow] } in slopes {
            let (steepness, rest) = (wide * narrow, (wide - gradient) * (narrow - gradient));
            sums.iter_mut().zip([steepness, steepness * steepness, rest, rest * rest]).for_each(|(sum, value)| *sum += value);
        }
        Self { directions: slopes.len(), sums }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        let sums = std::array::from_fn(|at| self.sums[at] + other.sums[at]);
        Self { directions: self.directions + other.directions, sums }
    }

    /// The root mean square of the slopes; 0 where rounding is all there is.
    pub fn steepness(&self) -> f64 {
        (self.sums[0] / self.directions as f64).max(0.0).sqrt()
    }

    /// The root mean square of what gradient and slopes differ by, as a part of [`Agreement::steepness`]: the estimate, and what it is
    /// at least and at most within two standard errors. None where the slopes are not steep enough to tell: their own mean square
    /// is less than four standard errors above zero.
    pub fn error(&self) -> Option<[f64; 3]> {
        let n = self.directions as f64;
        let mean = |at: usize| self.sums[at] / n;
        let standard_error = |at: usize| ((mean(at + 1) - mean(at).powi(2)).max(0.0) / n).sqrt();
        let (square, rest) = (mean(0), mean(2));
        let steep = self.directions > 1 && square > 4.0 * standard_error(0);
        let part = |rest: f64| (rest / square).max(0.0).sqrt();
        steep.then(|| [part(rest), part(rest - 2.0 * standard_error(2)), part(rest + 2.0 * standard_error(2))])
    }

    /// Whether the gradient is the slope of the loss; none where that cannot be told.
    pub fn holds(&self) -> Option<bool> {
        let [_, least, most] = self.error()?;
        match (least > Self::TOLERANCE, most <= Self::TOLERANCE) {
            (true, _) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        }
    }
}
