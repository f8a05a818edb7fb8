//! Projected gradient descent.

use crate::{Aim, Ball, Evaluation, Solver};
use candle_core::{Device, Tensor};
use rankle_core::numbers::numbers;
use rankle_core::{Embedder, Epsilon, Error, Result, Seed};

/// Which iterate a search returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last one, as in the paper; of several restarts the one whose last iterate has the lowest loss.
    Last,
    /// For each image the one with the lowest loss among all iterates of all restarts, the last ones included.
    Best,
}

/// Projected gradient descent on the sign of the slope, in an L∞ ball.
///
/// # Source
/// Madry et al., arXiv:1706.06083; the schedules are [`Pgd::paper`] and [`Pgd::strict`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pgd {
    /// The radius of the ball.
    pub epsilon: Epsilon,
    /// How far each pixel moves in one step, in pixel units.
    pub step: f64,
    /// How many steps.
    pub iterations: usize,
    /// Whether a search starts at a uniform random point of the ball rather than at the clean image.
    pub random_start: bool,
    /// How many searches, each from its own random start. Without a random start they would be alike, and one is made.
    pub restarts: usize,
    /// Which iterate is returned.
    pub keep: Keep,
}

/// One level of an 8-bit image.
const LEVEL: f64 = 1.0 / 255.0;

impl Pgd {
    /// The schedule of the paper (`method.md` 6.3): from the clean image, the last iterate. From one 8-bit level upwards the
    /// step is `ε/10` within `[1/255, 0.01]` and 10 to 30 steps are made; below, a single step of size ε. The original
    /// leaves `ε = 1/255` undefined; here it belongs to the first branch.
    ///
    /// # Source
    /// Zhou et al., "Adversarial Ranking Attack and Defense", ECCV 2020, arXiv:2002.11293.
    pub fn paper(epsilon: Epsilon) -> Self {
        let radius = epsilon.value();
        let (step, iterations) = if radius >= LEVEL {
            let step = (radius / 10.0).clamp(LEVEL, 0.01);
            (step, (2.0 * radius / step).clamp(10.0, 30.0).floor() as usize)
        } else {
            (radius, 1)
        };
        Self { epsilon, step, iterations, random_start: false, restarts: 1, keep: Keep::Last }
    }

    /// A search that gives an attack its due: 3 random starts, 50 steps of `max(ε/10, 1/255)`, the best iterate by the
    /// attacker's own loss.
    pub fn strict(epsilon: Epsilon) -> Self {
        let step = (epsilon.value() / 10.0).max(LEVEL);
        Self { epsilon, step, iterations: 50, random_start: true, restarts: 3, keep: Keep::Best }
    }

    /// How far a pixel gets from where the search starts, in pixel units: all steps in one direction.
    pub fn reach(&self) -> f64 {
        self.step * self.iterations as f64
    }

    /// Whether no pixel gets from the clean image to the edge of the ball. A model looks more robust to such a search than it is.
    pub fn falls_short(&self) -> bool {
        self.reach() < self.epsilon.value() * (1.0 - ROUNDING)
    }

    /// Whether every step leads out of the ball: the search sees nothing but its corners.
    pub fn oversteps(&self) -> bool {
        self.epsilon.value() > 0.0 && self.step > self.epsilon.value() * (1.0 + ROUNDING)
    }
}

/// By what share a product of decimals may miss the radius that it is meant to be.
const ROUNDING: f64 = 1e-9;

impl Solver for Pgd {
    fn epsilon(&self) -> Epsilon {
        self.epsilon
    }

    fn solve(&self, embedder: &dyn Embedder, images: &Tensor, keys: &[u64], aim: &dyn Aim, seed: Seed) -> Result<Tensor> {
        if images.dims().first() != Some(&keys.len()) {
            let expected = format!("({}, c, h, w), one image per key", keys.len());
            return Err(Error::Shape { what: "the batch of images", actual: images.dims().to_vec(), expected });
        }
        if self.epsilon.value() == 0.0 || keys.is_empty() {
            return Ok(images.clone());
        }
        let ball = Ball::around(images, self.epsilon);
        let searches = if self.random_start { self.restarts.max(1) } else { 1 };
        let mut best = None;
        for restart in 0..searches {
            let mut x = if self.random_start { ball.random(seed, keys, restart as u64)? } else { images.clone() };
            for iteration in 0..self.iterations {
                let at_clean = iteration == 0 && !self.random_start;
                let mut loss = Vec::new();
                let slope = embedder.input_gradient(&x, &mut |raw| {
                    let first = if at_clean { aim.first_slope(raw)? } else { None };
                    let slope = match first {
                        // The loss at the clean image is of use only to whoever compares iterates.
                        Some(slope) if self.keep == Keep::Last => slope,
                        first => {
                            let Evaluation { loss: current, slope } = aim.evaluate(raw)?;
                            loss = current;
                            first.unwrap_or(slope)
                        }
                    };
                    Ok(slope.to_device(raw.device())?)
                })?;
                if self.keep == Keep::Best {
                    Best::offer(&mut best, &x, &loss)?;
                }
                x = ball.step(&x, &slope, self.step)?;
            }
            if self.keep == Keep::Last && searches == 1 {
                return Ok(x);
            }
            Best::offer(&mut best, &x, &aim.evaluate(&embedder.embed(&x)?)?.loss)?;
        }
        best.map_or_else(|| Ok(images.clone()), |best| best.into_images(images))
    }
}

/// For each image of a batch, the best of what was offered so far.
struct Best {
    pixels: Vec<f32>,
    loss: Vec<f64>,
}

impl Best {
    /// Of equal losses the earlier wins; a loss that is not a number never does.
    fn offer(best: &mut Option<Self>, images: &Tensor, loss: &[f64]) -> Result<()> {
        let pixels = numbers(images)?;
        let Some(best) = best else {
            *best = Some(Self { pixels: pixels.to_vec(), loss: loss.to_vec() });
            return Ok(());
        };
        let size = pixels.len() / loss.len();
        for (image, (&new, old)) in loss.iter().zip(&mut best.loss).enumerate() {
            if new < *old || (old.is_nan() && !new.is_nan()) {
                *old = new;
                best.pixels[image * size..][..size].copy_from_slice(&pixels[image * size..][..size]);
            }
        }
        Ok(())
    }
    fn into_images(self, like: &Tensor) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.pixels, like.shape(), &Device::Cpu)?.to_device(like.device())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn the_schedule_is_that_of_the_paper() {
        //                  epsilon      step       iterations
        for (epsilon, step, iterations) in [
            (0.0,         0.0,         1),
            (0.003,       0.003,       1),
            (1.0 / 255.0, 1.0 / 255.0, 10),
            (0.01,        1.0 / 255.0, 10),
            (0.03,        1.0 / 255.0, 15),
            (0.06,        0.006,       20),
            (0.1,         0.01,        20),
            (0.2,         0.01,        30),
            (0.3,         0.01,        30),
        ] {
            let pgd = Pgd::paper(Epsilon::new(epsilon).unwrap());
            assert_eq!((pgd.step, pgd.iterations), (step, iterations), "{epsilon}");
        }
    }

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn a_search_must_be_able_to_reach_the_edge() {
        //                                   epsilon      step         iterations  short  over
        for (epsilon, step, iterations, short, over) in [
            (0.3,         0.01,        5,  true,  false),
            (0.3,         0.01,        29, true,  false),
            (0.3,         0.01,        30, false, false),
            (0.3,         0.1 + 0.2,   1,  false, false), // a little more than 0.3
            (0.7,         0.1,         7,  false, false), // 0.7000000000000001 or less
            (0.3,         0.5,         1,  false, true),
            (8.0 / 255.0, 2.0 / 255.0, 4,  false, false),
            (8.0 / 255.0, 2.0 / 255.0, 3,  true,  false),
            (0.0,         0.01,        1,  false, false),
            (0.0,         0.0,         0,  false, false),
        ] {
            let search = Pgd { step, iterations, ..Pgd::paper(Epsilon::new(epsilon).unwrap()) };
            assert_eq!((search.falls_short(), search.oversteps()), (short, over), "{epsilon} {step} {iterations}");
        }
    }

    /// Up to the radii of the paper, its own schedule and the strict one reach the edge; above 0.3 the paper's 30 steps of 0.01
    /// do not.
    #[test]
    fn what_the_protocols_prescribe_reaches_the_edge() {
        for hundredth in 0..=30 {
            let epsilon = Epsilon::new(f64::from(hundredth) / 100.0).unwrap();
            assert!(!Pgd::paper(epsilon).falls_short() && !Pgd::strict(epsilon).falls_short(), "{hundredth}");
            assert!(!Pgd::paper(epsilon).oversteps(), "{hundredth}");
        }
        let beyond = Epsilon::new(0.31).unwrap();
        assert!(Pgd::paper(beyond).falls_short() && !Pgd::strict(beyond).falls_short());
    }
}
