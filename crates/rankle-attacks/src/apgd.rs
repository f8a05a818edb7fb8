//! Auto-PGD: projected gradient descent with momentum, in which each image halves its own step size.

mod blocks;

use crate::best::{Best, choose, is_lower};
use crate::{Ball, Cost, Objective, Problem, Solver, Square, Threat};
use candle_core::{DType, Tensor};
use rankle_core::{Differentiable, Evaluation, Place, Result, Score};

/// Auto-PGD (APGD). The first step is twice the radius. At checkpoints, which become more frequent, an image whose loss fell in
/// at most three of four steps, or not at all, halves its step and goes on from its iterate of the lowest loss. The iterate
/// with the best measured rank is returned ([`Evaluation::rank`]), for a loss without ranks that of the lowest loss.
///
/// From coarse to fine it gets further on models whose gradients lead astray: there a search ends in the poor minimum next to its start,
/// out of which a change of a whole block leads, and another start (METHOD.md 6.7).
///
/// # Source
/// Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks", ICML 2020,
/// arXiv:2003.01690, algorithm 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apgd {
    /// Norm and radius of the ball.
    pub threat: Threat,
    /// Number of steps of each search, which is its number of gradients.
    pub iterations: usize,
    /// True if a search starts at a uniform random point of the ball, false if at the clean image; `coarse_to_fine` has further starts.
    pub random_start: bool,
    /// Number of searches, each from its own random start. Without a random start one is made.
    pub restarts: usize,
    /// True if a search goes from coarse to fine. It follows means of the gradient over blocks of a seventh of the image's side, a 25th of
    /// its steps from its own start and as many from where each of three short runs of [`Square`] gets; then a tenth of its steps over
    /// blocks of half that side; then the gradient. Each stage begins anew from the best iterate of the one before. Not the source's.
    pub coarse_to_fine: bool,
}

/// Share of a step that is new; the rest repeats the step before.
const MOMENTUM: f64 = 0.75;
/// Share of the steps between two checkpoints that must lower the loss.
const ENOUGH: f64 = 0.75;
/// Length of the first stretch between checkpoints, by how much each stretch is shorter than the one before, and the shortest
/// one, in shares of all steps.
const STRETCHES: [f64; 3] = [0.22, 0.03, 0.06];
/// Number of blocks along the shorter side of an image in each coarse stage.
const BLOCKS: [usize; 2] = [7, 14];
/// Shares of the steps that a descent of each coarse stage takes, as divisors.
const COARSE: [usize; 2] = [25, 10];
/// Runs of Square attack that give the first stage a start each, and the proposals of a run: the first ones of a budget of ten times as many.
const RUNS: usize = 3;
const RUN: usize = 50;

/// Steps that follow the gradient at one resolution.
#[derive(Clone, Copy)]
struct Stage {
    iterations: usize,
    /// Side of the blocks that share a gradient, in pixels.
    block: usize,
}

impl Apgd {
    /// Default number of steps, that of AutoAttack.
    pub const ITERATIONS: usize = 100;

    /// The search of the protocol `strict` (METHOD.md 6.3): 200 steps, from coarse to fine.
    pub fn strict(threat: Threat) -> Self {
        Self { coarse_to_fine: true, ..Self::from_clean(threat, 2 * Self::ITERATIONS) }
    }

    /// A search of `iterations` steps from the clean image, as in the source.
    pub fn from_clean(threat: Threat, iterations: usize) -> Self {
        Self { threat, iterations, random_start: false, restarts: 1, coarse_to_fine: false }
    }

    /// Number of searches: one from the clean image, else one from each random start.
    fn searches(&self) -> usize {
        if self.random_start { self.restarts.max(1) } else { 1 }
    }

    /// Cost of the search for each image, at a radius above 0.
    pub fn cost(&self) -> Cost {
        // Every descent embeds its last iterate.
        let queries = if self.stages(1).len() > 1 { RUNS * (RUN + 1) + BLOCKS.len() + 1 } else { 1 };
        let searches = self.searches() as u64;
        Cost { gradients: searches.saturating_mul(self.iterations as u64), queries: searches.saturating_mul(queries as u64) }
    }

    /// The stages of each search on images of this shorter side, all of them or the last alone: that depends on the number of steps.
    fn stages(&self, side: usize) -> Vec<Stage> {
        let fine = |iterations| Stage { iterations, block: 1 };
        let [first, second] = COARSE.map(|share| self.iterations / share);
        if !self.coarse_to_fine || first == 0 {
            return vec![fine(self.iterations)];
        }
        let [first, second] = [(first, BLOCKS[0]), (second, BLOCKS[1])]
            .map(|(iterations, count)| Stage { iterations, block: (side / count).max(1) });
        let rest = self.iterations - (1 + RUNS) * first.iterations - second.iterations;
        vec![first, second, fine(rest)]
    }

    /// Does as [`Solver::solve`], but where there are `starts`, images in the ball, the search begins there.
    pub(crate) fn solve_from<M: Differentiable + ?Sized>(
        &self,
        model: &M,
        problem: &Problem<'_>,
        starts: Option<&Tensor>,
    ) -> Result<Tensor> {
        problem.check()?;
        let Problem { images, keys, seed, place, .. } = *problem;
        if self.threat.radius() == 0.0 || keys.is_empty() {
            return Ok(images.clone());
        }
        let ball = Ball::around(images, self.threat).at(place);
        let (_, _, height, width) = images.dims4()?;
        let mut best = Best::new(place);
        for restart in 0..self.searches() {
            let mut at_clean = false;
            let mut start = match starts {
                Some(starts) => starts.clone(),
                None if self.random_start => ball.random(seed, keys, restart as u64)?,
                None => {
                    at_clean = true;
                    images.clone()
                }
            };
            let stages = self.stages(height.min(width));
            for (at, &stage) in stages.iter().enumerate() {
                let mut found = Best::new(place);
                self.descend(model, problem, &ball, (start.clone(), at_clean), stage, &mut found)?;
                if at == 0 && stages.len() > 1 {
                    self.descend_from_squares(model, problem, &ball, restart, stage, &mut found)?;
                }
                at_clean = false;
                if let Some((images, rank)) = found.into_kept() {
                    best.offer(&images, rank)?;
                    start = images;
                }
            }
        }
        Ok(best.into_images().unwrap_or_else(|| images.clone()))
    }

    /// Searches from the results of short runs of Square attack, which differ from restart to restart, and offers all iterates to `best`.
    fn descend_from_squares<M: Differentiable + ?Sized>(
        &self,
        model: &M,
        problem: &Problem<'_>,
        ball: &Ball,
        restart: usize,
        stage: Stage,
        best: &mut Best<'_>,
    ) -> Result<()> {
        let square = Square { threat: self.threat, queries: 10 * RUN };
        for run in 1..=RUNS {
            let start = square.run(model, problem, ball, restart as u64 * RUNS as u64 + run as u64, RUN, best)?;
            self.descend(model, problem, ball, (start, false), stage, best)?;
        }
        Ok(())
    }

    /// Searches from one start, true if that is the clean image, and offers all iterates to `best`.
    fn descend<M: Differentiable + ?Sized>(
        &self,
        model: &M,
        problem: &Problem<'_>,
        ball: &Ball,
        (start, at_clean): (Tensor, bool),
        stage: Stage,
        best: &mut Best<'_>,
    ) -> Result<()> {
        let (place, objective) = (problem.place, problem.objective);
        let mut stretches = Stretches::of(stage.iterations);
        let (mut x, mut previous) = (start.clone(), start);
        let mut descent: Option<Descent> = None;
        for iteration in 0..stage.iterations {
            let mut found = None;
            let mut gradient = model.input_gradient(&x, &mut |raw| {
                let first = if at_clean && iteration == 0 { objective.first_gradient(raw)? } else { None };
                let (Evaluation { loss, gradient, .. }, rank) = ranked(objective, raw)?;
                found = Some((loss, rank));
                Ok(first.unwrap_or(gradient).to_device(raw.device())?)
            })?;
            let Some((loss, rank)) = found else { break };
            best.offer(&x, rank)?;
            gradient = blocks::mean_of_blocks(gradient, stage.block)?;
            match &mut descent {
                None => descent = Some(Descent::new(&x, &gradient, loss, 2.0 * self.threat.radius())?),
                Some(descent) => {
                    descent.follow(place, &x, &gradient, loss)?;
                    if let Some(len) = stretches.step() {
                        (x, gradient) = descent.check(place, (x, gradient), len)?;
                    }
                }
            }
            let Some(Descent { steps, .. }) = &descent else { break };
            let momentum = if iteration == 0 { 0.0 } else { 1.0 - MOMENTUM };
            let next = ball.glide(&x, &previous, &gradient, steps, momentum)?;
            previous = x;
            x = next;
        }
        best.offer(&x, scored(objective, &model.embed(&x)?)?.1)
    }
}

/// The loss, its gradient, and the number by which iterates are kept: the rank that the attack is after, or else the loss.
pub(crate) fn ranked(objective: &dyn Objective, raw: &Tensor) -> Result<(Evaluation, Tensor)> {
    let evaluation = objective.evaluate(raw)?;
    let rank = kept_by(objective, raw, &evaluation.loss, evaluation.rank.as_ref())?;
    Ok((evaluation, rank))
}

/// The loss, and the number by which iterates are kept.
pub(crate) fn scored(objective: &dyn Objective, raw: &Tensor) -> Result<(Tensor, Tensor)> {
    let Score { loss, rank } = objective.score(raw)?;
    let rank = kept_by(objective, raw, &loss, rank.as_ref())?;
    Ok((loss, rank))
}

fn kept_by(objective: &dyn Objective, raw: &Tensor, loss: &Tensor, rank: Option<&Tensor>) -> Result<Tensor> {
    let rank = match rank {
        Some(rank) => Some(rank.clone()),
        None => objective.rank(raw)?,
    };
    Ok(rank.unwrap_or_else(|| loss.clone()))
}

impl<M: Differentiable + ?Sized> Solver<M> for Apgd {
    fn threat(&self) -> Threat {
        self.threat
    }

    fn solve(&self, model: &M, problem: &Problem<'_>) -> Result<Tensor> {
        self.solve_from(model, problem, None)
    }
}

/// The stretches between checkpoints.
struct Stretches {
    len: usize,
    shortest: usize,
    shorter_by: usize,
    /// Steps of the current stretch.
    taken: usize,
}

impl Stretches {
    fn of(iterations: usize) -> Self {
        let [first, shorter_by, shortest] = STRETCHES.map(|share| ((share * iterations as f64) as usize).max(1));
        Self { len: first, shortest, shorter_by, taken: 0 }
    }

    /// Counts a step; the length of the stretch that it ends, if it ends one.
    fn step(&mut self) -> Option<usize> {
        self.taken += 1;
        if self.taken < self.len {
            return None;
        }
        let ended = self.len;
        self.taken = 0;
        self.len = self.len.saturating_sub(self.shorter_by).max(self.shortest);
        Some(ended)
    }
}

/// The state of each image, as tensors of one number per image.
struct Descent {
    /// Step sizes.
    steps: Tensor,
    /// The loss before the last step.
    loss: Tensor,
    /// Number of steps of this stretch that lowered the loss.
    fell: Tensor,
    /// The iterate of the lowest loss, its gradient and its loss.
    lowest: (Tensor, Tensor, Tensor),
    /// The lowest loss at the last checkpoint, and 1 if the step was halved there; before the first one it counts as halved.
    before: (Tensor, Tensor),
}

impl Descent {
    fn new(x: &Tensor, gradient: &Tensor, loss: Tensor, step: f64) -> Result<Self> {
        let zeros = loss.zeros_like()?;
        Ok(Self {
            steps: Tensor::full(step as f32, loss.dims(), loss.device())?,
            fell: zeros.to_dtype(DType::U32)?,
            lowest: (x.clone(), gradient.clone(), loss.clone()),
            before: (loss.clone(), zeros.eq(&zeros)?),
            loss,
        })
    }

    /// Sees the loss after a step, and its gradient.
    fn follow(&mut self, place: &Place, x: &Tensor, gradient: &Tensor, loss: Tensor) -> Result<()> {
        self.fell = (&self.fell + loss.lt(&self.loss)?.to_dtype(DType::U32)?)?;
        let (lowest_x, lowest_gradient, lowest) = &mut self.lowest;
        let wins = is_lower(&loss, lowest)?;
        *lowest_x = choose(place, &wins, x, lowest_x)?;
        *lowest_gradient = choose(place, &wins, gradient, lowest_gradient)?;
        *lowest = wins.where_cond(&loss, lowest)?;
        self.loss = loss;
        Ok(())
    }

    /// Halves the steps of the images that need it after a stretch of `len` steps, and returns the iterates and gradients to go on
    /// from.
    fn check(&mut self, place: &Place, (x, gradient): (Tensor, Tensor), len: usize) -> Result<(Tensor, Tensor)> {
        let ((lowest_x, lowest_gradient, lowest), (before, halved)) = (&self.lowest, &self.before);
        let few = self.fell.le((ENOUGH * len as f64) as u32)?;
        let is_stuck = (halved.eq(0u8)? * lowest.ge(before)?)?;
        let halve = (few + is_stuck)?.gt(0u8)?;
        self.steps = halve.where_cond(&(&self.steps * 0.5)?, &self.steps)?;
        let from = (choose(place, &halve, lowest_x, &x)?, choose(place, &halve, lowest_gradient, &gradient)?);
        self.fell = self.fell.zeros_like()?;
        self.before = (lowest.clone(), halve);
        Ok(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Misclassification;
    use candle_core::{Device, safetensors};
    use rankle_core::{Distance, Embedder, InputSpec, Seed};

    /// Checkpoints of 100 steps: those of the paper.
    #[test]
    fn checkpoints_become_more_frequent() {
        let checkpoints = |iterations: usize| {
            let mut stretches = Stretches::of(iterations);
            (1..iterations).filter(|_| stretches.step().is_some()).collect::<Vec<_>>()
        };
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(10), [2, 3, 4, 5, 6, 7, 8, 9]);
    }

    /// A classifier whose logits are a linear map of `tanh` of a linear map.
    struct Classifier {
        first: Tensor,
        second: Tensor,
    }

    impl Embedder for Classifier {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            Ok(images.flatten_from(1)?.matmul(&self.first)?.tanh()?.matmul(&self.second)?)
        }
        fn distance(&self) -> Distance {
            Distance::Euclidean
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape((1, 5, 5))
        }
    }

    impl Differentiable for Classifier {}

    /// Cross-entropy without a rank, so that iterates are kept by the loss, as in torchattacks.
    struct ByLoss(Misclassification);

    impl Objective for ByLoss {
        fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
            self.0.evaluate(raw)
        }
    }

    /// From the same starts, on the same loss: `tests/fixtures/README.md`.
    #[test]
    fn images_are_those_of_torchattacks() {
        let load = |name: &str| {
            let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
            safetensors::load(path, &Device::Cpu).unwrap()
        };
        let (given, fixture) = (load("pgd_l2"), load("apgd"));
        let classifier = Classifier { first: given["first"].clone(), second: given["second"].clone() };
        let images = &given["images"];
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for place in [Place::Kernels, Place::Tensors(Device::Cpu)] {
            let labels: Vec<u32> = given["labels"].to_vec1().unwrap();
            let keys: Vec<u64> = (0..labels.len() as u64).collect();
            let objective = ByLoss(Misclassification { labels, place: place.clone() });
            let problem = Problem { images, keys: &keys, objective: &objective, seed: Seed(0), place: &place };
            for (name, threat, iterations) in [
                ("linf", Threat::linf(0.15), 8),
                ("linf-long", Threat::linf(0.3), 15),
                ("l2", Threat::l2(0.8), 12),
                ("covers", Threat::l2(6.0), 9),
            ] {
                let search = Apgd::from_clean(threat.unwrap(), iterations);
                let ball = Ball::around(images, search.threat).at(&place);
                let mut best = Best::new(&place);
                let start = (fixture[&format!("{name}.start")].clone(), true);
                search.descend(&classifier, &problem, &ball, start, Stage { iterations, block: 1 }, &mut best).unwrap();
                let (ours, theirs) = (values(&best.into_images().unwrap()), values(&fixture[&format!("{name}.found")]));
                let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 2e-5, "{name} {place:?}: {apart}");
                assert!(ours.iter().zip(values(images)).any(|(a, b)| (a - b).abs() > 0.1), "{name}: nothing moved");
            }
        }
    }

    #[test]
    fn coarse_stages_take_a_quarter_of_the_steps() {
        let threat = Threat::linf(0.1).unwrap();
        let stages = |search: Apgd, side: usize| {
            search.stages(side).into_iter().map(|stage| (stage.iterations, stage.block)).collect::<Vec<_>>()
        };
        let strict = Apgd::strict(threat);
        assert_eq!(stages(strict, 28), [(8, 4), (20, 2), (148, 1)]);
        assert_eq!(stages(strict, 224), [(8, 32), (20, 16), (148, 1)]);
        assert_eq!(stages(strict, 20), [(8, 2), (20, 1), (148, 1)]);
        assert_eq!(stages(strict, 5), [(8, 1), (20, 1), (148, 1)]);
        assert_eq!(stages(Apgd { iterations: 25, ..strict }, 28), [(1, 4), (2, 2), (19, 1)]);
        assert_eq!(stages(Apgd { iterations: 24, ..strict }, 28), [(24, 1)]);
        assert_eq!(stages(Apgd::from_clean(threat, 200), 28), [(200, 1)]);
    }

    /// The lower the brighter, but each pixel has waves of its own that are steeper.
    struct Waves;

    impl Waves {
        const SHAPE: (usize, usize, usize) = (2, 28, 31);
    }

    impl Embedder for Waves {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            let images = images.flatten_from(1)?;
            let phases: Vec<f32> = (0..images.dims()[1]).map(|pixel| (pixel * pixel % 97) as f32).collect();
            let phases = Tensor::from_vec(phases, (1, images.dims()[1]), images.device())?;
            let waves = (images.affine(40.0, 0.0)?.broadcast_add(&phases)?.sin()? * 0.05)?;
            Ok((waves - images)?.mean_keepdim(1)?)
        }
        fn distance(&self) -> Distance {
            Distance::Euclidean
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape(Self::SHAPE)
        }
    }

    impl Differentiable for Waves {}

    /// The embedding is the loss.
    struct Lowest;

    impl Objective for Lowest {
        fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
            Ok(Evaluation { loss: raw.flatten_all()?, gradient: raw.ones_like()?, rank: None })
        }
    }

    fn gray(n: usize) -> Tensor {
        let (channels, height, width) = Waves::SHAPE;
        let gray: Vec<f32> = (0..n * channels * height * width).map(|at| 0.4 + 0.2 * ((at * 31 % 101) as f32 / 101.0)).collect();
        Tensor::from_vec(gray, (n, channels, height, width), &Device::Cpu).unwrap()
    }

    #[test]
    fn from_coarse_to_fine_it_crosses_what_leads_astray() {
        let (images, keys) = (gray(3), [4u64, 9, 2]);
        for threat in [Threat::linf(0.3), Threat::l2(8.0)].map(|threat| threat.unwrap()) {
            for place in [Place::Kernels, Place::Tensors(Device::Cpu)] {
                let found = |search: Apgd, first: usize, count: usize| {
                    let (images, keys) = (images.narrow(0, first, count).unwrap(), &keys[first..first + count]);
                    let problem = Problem { images: &images, keys, objective: &Lowest, seed: Seed(0), place: &place };
                    search.solve(&Waves, &problem).unwrap()
                };
                let [fine, coarse] = [false, true].map(|coarse_to_fine| {
                    let found = found(Apgd { coarse_to_fine, ..Apgd::from_clean(threat, 80) }, 0, 3);
                    Waves.embed(&found).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
                });
                // Steps under L2 are in proportion to the gradient, so that waves cancel in the fine search as well.
                let gain = if threat.norm() == crate::Norm::Linf { 0.03 } else { -0.01 };
                for (fine, coarse) in fine.iter().zip(&coarse) {
                    assert!(*coarse < fine - gain, "{threat} {place:?}: {fine} {coarse}");
                }
                // Blocks alone, from the same start.
                if threat.norm() == crate::Norm::Linf {
                    let ball = Ball::around(&images, threat).at(&place);
                    let problem = Problem { images: &images, keys: &keys, objective: &Lowest, seed: Seed(0), place: &place };
                    let [fine, blocks] = [1, 4].map(|block| {
                        let (search, mut best) = (Apgd::from_clean(threat, 30), Best::new(&place));
                        search
                            .descend(&Waves, &problem, &ball, (images.clone(), true), Stage { iterations: 30, block }, &mut best)
                            .unwrap();
                        Waves.embed(&best.into_images().unwrap()).unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap()
                    });
                    assert!(blocks < fine - 0.03, "{place:?}: {fine} {blocks}");
                }
                // Each image as if it were alone.
                let random = Apgd { random_start: true, restarts: 2, coarse_to_fine: true, ..Apgd::from_clean(threat, 26) };
                let pixels = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let alone: Vec<f32> = (0..3).flat_map(|image| pixels(found(random, image, 1))).collect();
                assert!(pixels(found(random, 0, 3)) == alone, "{threat} {place:?}");
            }
        }
    }

    /// Keeps what it embeds.
    struct Seen(std::sync::Mutex<Vec<Vec<f32>>>);

    impl Embedder for Seen {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            let rows = images.flatten_from(1)?;
            self.0.lock().unwrap().extend(rows.to_vec2::<f32>()?);
            Ok(rows.mean_keepdim(1)?)
        }
        fn distance(&self) -> Distance {
            Distance::Euclidean
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape(Waves::SHAPE)
        }
    }

    impl Differentiable for Seen {}

    /// Each run of Square attack begins with stripes of its own, as does the search by squares alone.
    #[test]
    fn no_two_starts_are_alike() {
        let (images, threat) = (gray(1), Threat::linf(0.3).unwrap());
        let problem = Problem { images: &images, keys: &[7], objective: &Lowest, seed: Seed(0), place: &Place::Kernels };
        let seen = Seen(std::sync::Mutex::default());
        let search = Apgd { random_start: true, restarts: 2, coarse_to_fine: true, ..Apgd::from_clean(threat, 25) };
        search.solve(&seen, &problem).unwrap();
        Square { threat, queries: 2 }.solve(&seen, &problem).unwrap();
        let clean = images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (channels, height, width) = Waves::SHAPE;
        let signs_of_stripes = |image: &Vec<f32>| {
            let changes: Vec<f32> = image.iter().zip(&clean).map(|(a, b)| a - b).collect();
            let is_stripes = changes.iter().all(|change| (change.abs() - 0.3).abs() < 1e-5)
                && (0..changes.len()).all(|at| changes[at] * changes[at / (height * width) * height * width + at % width] > 0.0)
                && (1..width).any(|column| changes[column] * changes[0] < 0.0);
            is_stripes.then(|| changes.iter().map(|change| *change > 0.0).collect::<Vec<bool>>())
        };
        assert_eq!(clean.len(), channels * height * width);
        let stripes: std::collections::BTreeSet<_> = seen.0.into_inner().unwrap().iter().filter_map(signs_of_stripes).collect();
        assert_eq!(stripes.len(), 2 * RUNS + 1);
    }

    #[test]
    fn without_a_step_the_starts_come_back() {
        let images = gray(2);
        let starts = (&images + 0.1).unwrap();
        let problem = Problem { images: &images, keys: &[0, 1], objective: &Lowest, seed: Seed(0), place: &Place::Kernels };
        let search = Apgd::from_clean(Threat::linf(0.3).unwrap(), 0);
        let found = search.solve_from(&Waves, &problem, Some(&starts)).unwrap();
        let pixels = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(pixels(&found), pixels(&starts));
    }
}
