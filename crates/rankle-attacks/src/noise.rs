//! Noise in the place of an attack.

use crate::{Ball, Problem, Solver, Threat};
use candle_core::Tensor;
use rankle_core::{Embedder, Result};

/// Goes the whole radius in a random direction, and stays in `[0, 1]`: under L∞ every pixel moves up or down, a coin for each. It
/// asks neither the model nor the loss. As long a way as the one of an attack, so whatever an attack does beyond it is owed to its
/// direction.
///
/// # Source
/// Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv:1412.6572, section 4, for the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// What it may do to an image.
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
        // A step goes against the gradient: toward a random point, and as far beyond it as the ball reaches.
        ball.step(images, &(images - ball.random(seed, keys, 0)?)?, self.threat.radius())
    }
}
