//! Random noise, the control of an attack.

use crate::{Ball, Problem, Solver, Threat};
use candle_core::Tensor;
use rankle_core::{Embedder, Result};

/// Moves every image by the whole radius in a random direction, then clamps pixels to `[0, 1]`: under L∞ every pixel goes up or
/// down at random. The model and the loss are not used. The perturbation is as large as that of an attack, so any further effect
/// of the attack is due to its direction.
///
/// # Source
/// Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv:1412.6572, section 4, for the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Norm and radius of the noise.
    pub threat: Threat,
}

impl<M: Embedder + ?Sized> Solver<M> for Noise {
    fn threat(&self) -> Threat {
        self.threat
    }

    fn solve(&self, _: &M, problem: &Problem<'_>) -> Result<Tensor> {
        problem.check()?;
        let Problem { images, keys, seed, .. } = *problem;
        let ball = Ball::around(images, self.threat);
        // A step goes against the gradient: here toward a random point and on to the edge of the ball.
        ball.step(images, &(images - ball.random(seed, keys, 0)?)?, self.threat.radius())
    }
}
