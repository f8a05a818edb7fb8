//! Projected gradient descent.

use crate::best::Best;
use crate::{Ball, Cost, Norm, Problem, Solver, Threat};
use candle_core::Tensor;
use rankle_core::{Differentiable, Evaluation, Result};

/// Choice of the iterate that a search returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iterate {
    /// The last one, as in the paper; of several restarts, for each image the one whose last iterate has the lowest loss.
    Last,
    /// The one with the lowest loss among all iterates of all restarts, for each image; the last ones are included.
    Best,
}

/// Projected gradient descent along the steepest direction: the signs of the gradient under L∞, its direction under L2.
///
/// # Source
/// Madry et al., arXiv:1706.06083; the schedules are [`Pgd::paper`] and [`Pgd::strict`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pgd {
    /// Norm and radius of the ball.
    pub threat: Threat,
    /// Distance that an image moves in one step, in the norm of the threat and in pixel units.
    pub step: f64,
    /// Number of steps.
    pub iterations: usize,
    /// True if a search starts at a uniform random point of the ball, false if at the clean image.
    pub random_start: bool,
    /// Number of searches, each from its own random start. Without a random start all would be alike, and one is made.
    pub restarts: usize,
    /// The iterate to return.
    pub keep: Iterate,
}

/// One level of an 8-bit image.
const LEVEL: f64 = 1.0 / 255.0;

impl Pgd {
    /// The schedule of the paper (METHOD.md 6.3): from the clean image, the last iterate. For radii of one 8-bit level and more
    /// the step is `ε/10` within `[1/255, 0.01]` and 10 to 30 steps are made; below, a single step of size ε. The original leaves
    /// `ε = 1/255` undefined; here it belongs to the first branch.
    ///
    /// The paper has no L2 attack; under L2 30 steps of `ε/12` are made, 2.5 radii in all.
    ///
    /// # Source
    /// Zhou et al., "Adversarial Ranking Attack and Defense", ECCV 2020, arXiv:2002.11293.
    pub fn paper(threat: Threat) -> Self {
        match threat.norm() {
            Norm::Linf if threat.radius() < LEVEL => Self::from_clean(threat, threat.radius(), 1),
            _ => Self::many_steps(threat),
        }
    }

    /// The schedule that [`Pgd::paper`] has for radii of one 8-bit level and more, for any radius.
    pub fn many_steps(threat: Threat) -> Self {
        let radius = threat.radius();
        match threat.norm() {
            Norm::Linf => {
                let step = (radius / 10.0).clamp(LEVEL, 0.01);
                Self::from_clean(threat, step, (2.0 * radius / step).clamp(10.0, 30.0).floor() as usize)
            }
            Norm::L2 => Self::from_clean(threat, radius / 12.0, 30),
        }
    }

    /// The search of the paper for universal perturbations (METHOD.md 10): 100 steps of 2/255. Under L2, which the paper does not
    /// have, 100 steps of `ε/40`.
    pub fn universal(threat: Threat) -> Self {
        let step = match threat.norm() {
            Norm::Linf => 2.0 * LEVEL,
            Norm::L2 => threat.radius() / 40.0,
        };
        Self::from_clean(threat, step, 100)
    }

    /// A search of `iterations` steps from the clean image, which returns the last iterate.
    pub fn from_clean(threat: Threat, step: f64, iterations: usize) -> Self {
        Self { threat, step, iterations, random_start: false, restarts: 1, keep: Iterate::Last }
    }

    /// A long search, which `--search pgd` is under the protocol `strict` (METHOD.md 6.3): 50 steps of `max(ε/10, 1/255)`, under L2 of `ε/10`, from each of 3 random starts, and
    /// the iterate with the lowest loss.
    pub fn strict(threat: Threat) -> Self {
        let step = match threat.norm() {
            Norm::Linf => (threat.radius() / 10.0).max(LEVEL),
            Norm::L2 => threat.radius() / 10.0,
        };
        Self { threat, step, iterations: 50, random_start: true, restarts: 3, keep: Iterate::Best }
    }

    /// Number of searches: one from the clean image, else one from each random start.
    fn searches(&self) -> usize {
        if self.random_start { self.restarts.max(1) } else { 1 }
    }

    /// Cost of the search for each image, at a radius above 0.
    pub fn cost(&self) -> Cost {
        let searches = self.searches() as u64;
        // Searches and iterates are compared by the loss, for which the end of each search is embedded.
        let compared = if self.keep == Iterate::Best || searches > 1 { searches } else { 0 };
        Cost { gradients: searches.saturating_mul(self.iterations as u64), queries: compared }
    }

    /// Largest distance of an image from the start of the search, in the norm of the threat: all steps in one direction.
    pub fn reach(&self) -> f64 {
        self.step * self.iterations as f64
    }

    /// True if no image gets from the clean image to the edge of the ball. Such a search overstates the robustness of a model.
    pub fn falls_short(&self) -> bool {
        self.reach() < self.threat.radius() * (1.0 - ROUNDING)
    }

    /// True if one step is longer than the radius: the search sees nothing but the edge of the ball.
    pub fn oversteps(&self) -> bool {
        self.threat.radius() > 0.0 && self.step > self.threat.radius() * (1.0 + ROUNDING)
    }
}

/// Relative error by which a product of decimals may miss the intended radius.
const ROUNDING: f64 = 1e-9;

impl<M: Differentiable + ?Sized> Solver<M> for Pgd {
    fn threat(&self) -> Threat {
        self.threat
    }

    fn solve(&self, model: &M, problem: &Problem<'_>) -> Result<Tensor> {
        problem.check()?;
        let Problem { images, keys, objective, seed, place } = *problem;
        if self.threat.radius() == 0.0 || keys.is_empty() {
            return Ok(images.clone());
        }
        let ball = Ball::around(images, self.threat).at(place);
        let searches = self.searches();
        let mut best = Best::new(place);
        for restart in 0..searches {
            let mut x = if self.random_start { ball.random(seed, keys, restart as u64)? } else { images.clone() };
            for iteration in 0..self.iterations {
                let at_clean = iteration == 0 && !self.random_start;
                let mut loss = None;
                let gradient = model.input_gradient(&x, &mut |raw| {
                    let first = if at_clean { objective.first_gradient(raw)? } else { None };
                    let gradient = match first {
                        // The loss at the clean image is needed only to compare iterates.
                        Some(gradient) if self.keep == Iterate::Last => gradient,
                        first => {
                            let Evaluation { loss: current, gradient, .. } = objective.evaluate(raw)?;
                            loss = Some(current);
                            first.unwrap_or(gradient)
                        }
                    };
                    Ok(gradient.to_device(raw.device())?)
                })?;
                if let (Iterate::Best, Some(loss)) = (self.keep, loss) {
                    best.offer(&x, loss)?;
                }
                x = ball.step(&x, &gradient, self.step)?;
            }
            if self.keep == Iterate::Last && searches == 1 {
                return Ok(x);
            }
            best.offer(&x, objective.evaluate(&model.embed(&x)?)?.loss)?;
        }
        Ok(best.into_images().unwrap_or_else(|| images.clone()))
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
            let pgd = Pgd::paper(Threat::linf(epsilon).unwrap());
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
            let search = Pgd { step, iterations, ..Pgd::paper(Threat::linf(epsilon).unwrap()) };
            assert_eq!((search.falls_short(), search.oversteps()), (short, over), "{epsilon} {step} {iterations}");
        }
    }

    /// Both schedules reach the edge up to the paper's largest radius, 0.3; above it the paper's 30 steps of 0.01 do not.
    #[test]
    fn what_the_protocols_prescribe_reaches_the_edge() {
        for hundredth in 0..=30 {
            let threat = Threat::linf(f64::from(hundredth) / 100.0).unwrap();
            for threat in [threat, Threat::l2(f64::from(hundredth)).unwrap()] {
                assert!(!Pgd::paper(threat).falls_short() && !Pgd::strict(threat).falls_short(), "{threat}");
                assert!(!Pgd::paper(threat).oversteps(), "{threat}");
            }
        }
        let beyond = Threat::linf(0.31).unwrap();
        assert!(Pgd::paper(beyond).falls_short() && !Pgd::strict(beyond).falls_short());
    }
}
