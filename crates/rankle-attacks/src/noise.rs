//! Noise in the place of an attack.

use crate::{Aim, Ball, Solver};
use candle_core::Tensor;
use rankle_core::{Embedder, Epsilon, Result, Seed};

/// Moves every pixel up or down by the whole radius, a coin for each, and stays in `[0, 1]`: a random corner of the ball. It asks
/// neither the model nor the loss. As long a way as the one of a sign attack, so whatever an attack does beyond it is owed to
/// its direction.
///
/// # Source
/// Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv:1412.6572, section 4, for the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// The radius of the ball.
    pub epsilon: Epsilon,
}

impl Solver for Noise {
    fn epsilon(&self) -> Epsilon {
        self.epsilon
    }

    fn solve(&self, _: &dyn Embedder, images: &Tensor, keys: &[u64], _: &dyn Aim, seed: Seed) -> Result<Tensor> {
        let ball = Ball::around(images, self.epsilon);
        // A step goes against the slope: towards a random point, and as far beyond it as the ball reaches.
        ball.step(images, &(images - ball.random(seed, keys, 0)?)?, self.epsilon.value())
    }
}
