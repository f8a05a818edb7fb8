//! Square attack: random search by squares, which only embeds images.

use crate::apgd::scored;
use crate::best::{Best, choose, is_lower};
use crate::{Ball, Norm, Problem, Solver, Threat};
use candle_core::{D, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rankle_core::seed::Purpose;
use rankle_core::{Embedder, Result};

/// Square attack: a random search that changes square windows, smaller and smaller ones, and keeps what lowers the loss. It needs
/// embeddings alone, and reaches a model that hides its gradient. The iterate with the best measured rank is returned.
///
/// Unlike in the original, each image has its own windows, so that no result depends on its batch.
///
/// # Source
/// Andriushchenko, Croce, Flammarion and Hein, "Square Attack: a query-efficient black-box adversarial attack via random search",
/// ECCV 2020, arXiv:1912.00049, algorithms 1 to 3; share of the pixels 0.8 at first, as in AutoAttack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    /// Norm and radius of the ball.
    pub threat: Threat,
    /// Number of queries, at least 1: each image is embedded so many times, first as it is.
    pub queries: usize,
}

/// Share of an image that the first windows cover.
const FIRST_SHARE: f64 = 0.8;
/// The share is halved after each of these queries, of 10,000.
const HALVINGS: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];
/// Keeps a division by the norm of nothing finite.
const TINY: f64 = 1e-12;

impl Square {
    /// Default number of queries.
    pub const QUERIES: usize = 1000;

    /// Share of an image that the window of a query covers.
    fn share(&self, query: usize) -> f64 {
        let at = query * 10_000 / self.queries.max(1);
        FIRST_SHARE / f64::from(1u32 << HALVINGS.iter().filter(|&&halving| at > halving).count())
    }

    /// Makes the first `count` proposals of a run, which its number and the image key, and returns the images of the lowest loss, clean
    /// ones for no proposal. All are offered to `best`.
    pub(crate) fn run<M: Embedder + ?Sized>(
        &self,
        model: &M,
        problem: &Problem<'_>,
        ball: &Ball,
        run: u64,
        count: usize,
        best: &mut Best<'_>,
    ) -> Result<Tensor> {
        let Problem { images, keys, objective, seed, place } = *problem;
        let streams = keys.iter().map(|&key| seed.stream(Purpose::Square, [key, run])).collect();
        let mut draws = Draws { images, streams, radius: self.threat.radius() };
        let mut found: Option<(Tensor, Tensor)> = None;
        for query in 0..count {
            let proposed = match (self.threat.norm(), &found) {
                (Norm::Linf, None) => (images + draws.stripes()?)?,
                (Norm::Linf, Some((x, _))) => (x + draws.squares(self.share(query - 1))?)?,
                (Norm::L2, None) => (images + at_edge(&draws.tiles()?, self.threat.radius())?)?,
                (Norm::L2, Some((x, _))) => (images + draws.moved(x, self.share(query - 1))?)?,
            };
            let x = ball.hold(&proposed)?;
            let (loss, rank) = scored(objective, &model.embed(&x)?)?;
            best.offer(&x, rank)?;
            found = Some(match found {
                None => (x, loss),
                Some((kept, lowest)) => {
                    let wins = is_lower(&loss, &lowest)?;
                    (choose(place, &wins, &x, &kept)?, wins.where_cond(&loss, &lowest)?)
                }
            });
        }
        Ok(found.map_or_else(|| images.clone(), |(images, _)| images))
    }
}

impl<M: Embedder + ?Sized> Solver<M> for Square {
    fn threat(&self) -> Threat {
        self.threat
    }

    fn solve(&self, model: &M, problem: &Problem<'_>) -> Result<Tensor> {
        problem.check()?;
        let Problem { images, keys, objective, place, .. } = *problem;
        if self.threat.radius() == 0.0 || keys.is_empty() {
            return Ok(images.clone());
        }
        let ball = Ball::around(images, self.threat).at(place);
        let mut best = Best::new(place);
        // The first query: no result ranks as weaker than the clean image.
        best.offer(images, scored(objective, &model.embed(images)?)?.1)?;
        self.run(model, problem, &ball, 0, self.queries.saturating_sub(1), &mut best)?;
        Ok(best.into_images().unwrap_or_else(|| images.clone()))
    }
}

/// Random changes of a batch of images, each keyed by its image.
struct Draws<'a> {
    images: &'a Tensor,
    streams: Vec<ChaCha8Rng>,
    radius: f64,
}

/// A square window of an image.
#[derive(Clone, Copy)]
struct Window {
    top: usize,
    left: usize,
    side: usize,
}

impl Window {
    fn random(rng: &mut ChaCha8Rng, (height, width): (usize, usize), side: usize) -> Self {
        Self { top: rng.random_range(0..=height - side), left: rng.random_range(0..=width - side), side }
    }

    /// Writes a value for each pixel of the window, given by row and column, into a channel of the image.
    fn fill(self, channel: &mut [f32], width: usize, value: impl Fn(usize, usize) -> f32) {
        for row in 0..self.side {
            for column in 0..self.side {
                channel[(self.top + row) * width + self.left + column] = value(row, column);
            }
        }
    }
}

fn sign(rng: &mut ChaCha8Rng) -> f32 {
    if rng.random::<bool>() { 1.0 } else { -1.0 }
}

impl Draws<'_> {
    /// A tensor of the shape of the images, or of their first `channels`, filled image by image.
    fn fill(&mut self, channels: usize, mut of_image: impl FnMut(&mut ChaCha8Rng, &mut [f32])) -> Result<Tensor> {
        let (n, _, height, width) = self.images.dims4()?;
        let size = channels * height * width;
        let mut numbers = vec![0.0f32; n * size];
        self.streams.iter_mut().zip(numbers.chunks_exact_mut(size.max(1))).for_each(|(rng, image)| of_image(rng, image));
        Ok(Tensor::from_vec(numbers, (n, channels, height, width), self.images.device())?)
    }

    fn side(&self, share: f64, least: usize) -> Result<usize> {
        let (_, _, height, width) = self.images.dims4()?;
        let side = (share * (height * width) as f64).sqrt().round() as usize;
        Ok(side.max(least).min(height).min(width))
    }

    /// Vertical stripes of one pixel, up or down by the radius.
    fn stripes(&mut self) -> Result<Tensor> {
        let ((_, channels, height, width), radius) = (self.images.dims4()?, self.radius as f32);
        self.fill(channels, |rng, image| {
            for channel in image.chunks_exact_mut(height * width) {
                let stripes: Vec<f32> = (0..width).map(|_| radius * sign(rng)).collect();
                channel.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(&stripes));
            }
        })
    }

    /// One square for each image, up or down by the diameter of the ball in each channel.
    fn squares(&mut self, share: f64) -> Result<Tensor> {
        let ((_, channels, height, width), diameter) = (self.images.dims4()?, 2.0 * self.radius as f32);
        let side = self.side(share, 1)?;
        self.fill(channels, |rng, image| {
            let window = Window::random(rng, (height, width), side);
            for channel in image.chunks_exact_mut(height * width) {
                let value = diameter * sign(rng);
                window.fill(channel, width, |_, _| value);
            }
        })
    }

    /// Bumps in all tiles of an image, five in its height.
    fn tiles(&mut self) -> Result<Tensor> {
        let (_, channels, height, width) = self.images.dims4()?;
        let side = (height / 5).clamp(1, width);
        let starts = |len: usize| {
            let count = len / side;
            (0..count).map(move |tile| (len - count * side) / 2 + tile * side)
        };
        self.fill(channels, |rng, image| {
            for top in starts(height) {
                for left in starts(width) {
                    let bump = Bump::random(rng, side);
                    for channel in image.chunks_exact_mut(height * width) {
                        let sign = sign(rng);
                        Window { top, left, side }.fill(channel, width, |row, column| sign * bump.at(row, column));
                    }
                }
            }
        })
    }

    /// The perturbations of `x` after the change of one window for each image, at the edge of the ball: it gets the budget of a
    /// second window, which is cleared, and a new bump.
    fn moved(&mut self, x: &Tensor, share: f64) -> Result<Tensor> {
        let (_, channels, height, width) = self.images.dims4()?;
        let side = self.side(share, 3)?;
        let side = if side % 2 == 0 { (side + 1).min(height).min(width) } else { side };
        // The bumps, then the first windows, then both.
        let drawn = self.fill(channels + 2, |rng, image| {
            let [first, second] = [0, 1].map(|_| Window::random(rng, (height, width), side));
            let bump = Bump::random(rng, side);
            let (bumps, masks) = image.split_at_mut(channels * height * width);
            for channel in bumps.chunks_exact_mut(height * width) {
                let sign = sign(rng);
                first.fill(channel, width, |row, column| sign * bump.at(row, column));
            }
            let (own, both) = masks.split_at_mut(height * width);
            first.fill(own, width, |_, _| 1.0);
            [first, second].into_iter().for_each(|window| window.fill(both, width, |_, _| 1.0));
        })?;
        let [bumps, own, both] =
            [(0, channels), (channels, 1), (channels + 1, 1)].map(|(first, count)| drawn.narrow(1, first, count));
        let (own, both) = (own?, both?);
        let perturbation = (x - self.images)?;
        let norms = |x: &Tensor| x.sqr()?.sum_keepdim(D::Minus1)?.sum_keepdim(D::Minus2)?.sqrt();
        let squares = |x: &Tensor| x.sqr()?.flatten_from(1)?.sum_keepdim(1)?.unsqueeze(2)?.unsqueeze(3);

        let free = (squares(&perturbation)?.affine(-1.0, self.radius * self.radius)?.maximum(0f64)? * (1.0 / channels as f64))?;
        let budget = (free + squares(&perturbation.broadcast_mul(&both)?)?)?.sqrt()?;
        let old = perturbation.broadcast_mul(&own)?;
        let bump = (bumps? + old.broadcast_div(&(norms(&old)? + TINY)?)?)?;
        let bump = bump.broadcast_div(&(norms(&bump)? + TINY)?)?.broadcast_mul(&budget)?;
        at_edge(&(perturbation.broadcast_mul(&both.affine(-1.0, 1.0)?)? + bump)?, self.radius)
    }
}

/// Perturbations `(n, c, h, w)`, each brought to this Euclidean norm.
fn at_edge(perturbations: &Tensor, radius: f64) -> Result<Tensor> {
    let norms = perturbations.sqr()?.flatten_from(1)?.sum_keepdim(1)?.sqrt()?.unsqueeze(2)?.unsqueeze(3)?;
    Ok(perturbations.broadcast_div(&(norms + TINY)?)?.affine(radius, 0.0)?)
}

/// A square of Euclidean norm 1 whose halves, above and below or left and right of each other, have opposite signs and a peak each
/// (the original's η).
struct Bump {
    side: usize,
    values: Vec<f32>,
    transposed: bool,
}

impl Bump {
    fn random(rng: &mut ChaCha8Rng, side: usize) -> Self {
        let upper = side / 2;
        let mut values = half(upper, side);
        values.extend(half(side - upper, side).iter().map(|value| -value));
        let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let values = values.iter().map(|value| (value / norm) as f32).collect();
        Self { side, values, transposed: rng.random::<bool>() }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        let (row, column) = if self.transposed { (column, row) } else { (row, column) };
        self.values[row * self.side + column]
    }
}

/// A rectangle of norm 1: nested ones about its center, the k-th of weight `1/k²`.
fn half(rows: usize, columns: usize) -> Vec<f64> {
    let mut values = vec![0.0; rows * columns];
    let (middle_row, middle_column) = (rows / 2, columns / 2);
    for ring in 0..=middle_row.max(middle_column) {
        let weight = 1.0 / ((ring + 1) * (ring + 1)) as f64;
        for row in middle_row.saturating_sub(ring)..(middle_row + ring + 1).min(rows) {
            for column in middle_column.saturating_sub(ring)..(middle_column + ring + 1).min(columns) {
                values[row * columns + column] += weight;
            }
        }
    }
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    values.iter().map(|value| value / norm.max(TINY)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_core::Seed;

    /// The values of `eta` and `p_selection` in torchattacks 3.5.1.
    #[test]
    fn bumps_and_shares_are_those_of_torchattacks() {
        let three = [0.136083, 0.680414, 0.136083, -0.129099, -0.129099, -0.129099, -0.129099, -0.645497, -0.129099];
        let four = [0.049402, 0.160555, 0.160555, 0.160555, 0.049402, 0.160555, 0.605169, 0.160555];
        let four: Vec<f32> = four.iter().copied().chain(four.map(|x: f32| -x)).collect();
        let mut rng = Seed(0).stream(Purpose::Square, [0, 0]);
        let mut transposed = [0, 0];
        for _ in 0..50 {
            for (side, expected) in [(3, &three[..]), (4, &four[..])] {
                let bump = Bump::random(&mut rng, side);
                transposed[usize::from(bump.transposed)] += 1;
                for (at, expected) in expected.iter().enumerate() {
                    let (row, column) = (at / side, at % side);
                    let value = if bump.transposed { bump.at(column, row) } else { bump.at(row, column) };
                    assert!((value - expected).abs() < 1e-6, "{side} {at}: {value} {expected}");
                }
            }
        }
        assert!(transposed.iter().all(|&count| count > 20), "{transposed:?}");
        for (queries, query, halvings) in
            [(10_000, 10, 0), (10_000, 11, 1), (10_000, 500, 3), (10_000, 8001, 9), (1000, 5, 1), (1000, 999, 9)]
        {
            let share = Square { threat: Threat::linf(0.1).unwrap(), queries }.share(query);
            assert_eq!(share, 0.8 / f64::from(1 << halvings), "{queries} {query}");
        }
    }

    /// Each image has one square of the side that its share gives, up or down by the diameter in each channel.
    #[test]
    fn a_proposal_is_one_square() {
        let images = Tensor::zeros((6, 2, 9, 8), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let streams = (0..6).map(|key| Seed(1).stream(Purpose::Square, [key, 0])).collect();
        let squares = Draws { images: &images, streams, radius: 0.25 }.squares(0.2).unwrap();
        let channels = squares.flatten(0, 1).unwrap().flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        let places =
            |channel: &[f32]| channel.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(at, _)| at).collect::<Vec<_>>();
        for two in channels.chunks(2) {
            // The square root of 0.2 · 72 is 3.8.
            let square = places(&two[0]);
            let expected: Vec<usize> = (0..16).map(|at| square[0] + at / 4 * 8 + at % 4).collect();
            assert_eq!((&square, &places(&two[1])), (&expected, &expected));
            for channel in two {
                assert!(square.iter().all(|&at| channel[at] == channel[square[0]] && channel[at].abs() == 0.5));
            }
        }
        let distinct: std::collections::BTreeSet<usize> = channels.iter().map(|channel| places(channel)[0]).collect();
        assert!(distinct.len() > 2);
    }
}
