//! A check of a model's input gradient against differences of its embedding.

use crate::differences::{dot, quotients, sides};
use crate::slope::directions;
use candle_core::{Device, Tensor};
use rand::Rng;
use rankle_core::numbers::numbers;
use rankle_core::seed::Purpose;
use rankle_core::{Differentiable, Error, Result, Seed};

/// Comparison of input gradients with central differences of a random linear function of the embedding.
///
/// The function is as smooth as the model, independent of any attack, so a few directions are enough. Every difference is taken
/// with two steps. The two quotients differ by rounding and by the kinks of ReLUs; that difference is no error of the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GradientCheck {
    /// Number of directions.
    pub directions: usize,
    /// Sums of squares over the directions: of the slope, of the slope less the gradient, of the difference of the two quotients.
    sums: [f64; 3],
}

/// Number of directions per image.
const WAYS: usize = 4;
/// Share of random noise in the image at which gradients are checked.
const BESIDE: f32 = 1.0 / 16.0;
/// Distances by which every pixel moves.
const STEPS: [f32; 2] = [1.0 / 2048.0, 1.0 / 4096.0];

impl GradientCheck {
    /// Largest relative error of a correct gradient: kinks of a network within a step cause less.
    pub const TOLERANCE: f64 = 0.1;

    /// Checks four directions near one image `(1, c, h, w)`, keyed by seed and `key`: every pixel moves up or down at random.
    /// Costs 16 embeddings and one gradient.
    ///
    /// # Errors
    /// [`Error::Shape`] for anything but one image, and the errors of the embedder.
    pub fn of(embedder: &dyn Differentiable, image: &Tensor, seed: Seed, key: u64) -> Result<Self> {
        let &[1, channels, height, width] = image.dims() else {
            let expected = "(1, c, h, w)".to_owned();
            return Err(Error::Shape { what: "the image", actual: image.dims().to_vec(), expected });
        };
        let mut random = seed.stream(Purpose::Directions, [key, 1]);
        // Not at the image itself: on flat backgrounds the inputs of maxima and ReLUs tie, and the gradient is one-sided.
        let here: Vec<f32> = numbers(image)?.iter().map(|x| x + BESIDE * (random.random::<f32>() - x)).collect();
        let ways = directions(seed, key as usize, WAYS, (channels, height, width))?;
        let ways = numbers(&ways)?;
        let ways = || ways.chunks_exact(here.len());
        let place = |pixels: &[f32], copies: usize| -> Result<Tensor> {
            Ok(Tensor::from_slice(pixels, (copies, channels, height, width), &Device::Cpu)?.to_device(image.device())?)
        };
        let mut weights = Vec::new();
        let gradient = embedder.input_gradient(&place(&here, 1)?, &mut |raw| {
            weights = (0..raw.elem_count()).map(|_| if random.random() { 1.0f32 } else { -1.0 }).collect();
            Ok(Tensor::from_slice(&weights, raw.shape(), &Device::Cpu)?.to_device(raw.device())?)
        })?;
        // Values that are not finite count as zero: a search does not follow NaN.
        let gradient: Vec<f32> = numbers(&gradient)?.iter().map(|g| if g.is_finite() { *g } else { 0.0 }).collect();

        let moved = sides(&here, ways(), STEPS);
        let embeddings = embedder.embed(&place(&moved, WAYS * 2 * STEPS.len())?)?;
        let values: Vec<f64> = numbers(&embeddings)?.chunks_exact(weights.len().max(1)).map(|row| dot(row, &weights)).collect();
        let mut check = Self::default();
        for (way, [wide, narrow]) in ways().zip(quotients(&values, STEPS)) {
            let (slope, own) = ((wide + narrow) / 2.0, dot(&gradient, way));
            let sums = [slope * slope, (slope - own).powi(2), (wide - narrow).powi(2)];
            // Without a finite embedding there is nothing to compare.
            if sums.iter().all(|sum| sum.is_finite()) {
                check = check.and(Self { directions: 1, sums });
            }
        }
        Ok(check)
    }

    /// Both checks as one, over all their directions.
    pub fn and(self, other: Self) -> Self {
        let sums = std::array::from_fn(|at| self.sums[at] + other.sums[at]);
        Self { directions: self.directions + other.directions, sums }
    }

    /// Root mean square error of the gradient, relative to that of the slope; `None` if the slope is zero.
    pub fn error(&self) -> Option<f64> {
        let [slope, missed, _] = self.sums;
        let error = (missed / slope).sqrt();
        error.is_finite().then_some(error)
    }

    /// True if the gradient is that of the embedding; `None` if the quotients of the two steps differ too much to tell, or
    /// without a slope.
    pub fn holds(&self) -> Option<bool> {
        let [slope, _, differ] = self.sums;
        let (error, noise) = (self.error()?, (differ / slope).sqrt());
        match (error <= Self::TOLERANCE, error > Self::TOLERANCE + 2.0 * noise) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_core::{Dataset, Distance, Embedder, InputSpec, toy};

    /// A model whose gradient is multiplied by a factor.
    struct Off<'a>(&'a dyn Differentiable, f64);

    impl Embedder for Off<'_> {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            self.0.embed(images)
        }
        fn distance(&self) -> Distance {
            self.0.distance()
        }
        fn input(&self) -> InputSpec {
            self.0.input()
        }
    }

    impl Differentiable for Off<'_> {
        fn input_gradient(&self, images: &Tensor, upstream: &mut rankle_core::Upstream<'_>) -> Result<Tensor> {
            Ok((self.0.input_gradient(images, upstream)? * self.1)?)
        }
    }

    fn check(embedder: &dyn Differentiable) -> GradientCheck {
        let dataset = toy::dataset(0);
        let of = |image: usize| GradientCheck::of(embedder, &dataset.images(&[image]).unwrap(), Seed(0), image as u64).unwrap();
        of(3).and(of(4))
    }

    #[test]
    fn a_right_gradient_passes_and_others_are_found_out_by_how_much() {
        for distance in Distance::ALL {
            let toy = toy::embedder(0, distance).unwrap();
            let right = check(&toy);
            assert_eq!((right.holds(), right.directions), (Some(true), 8));
            for (factor, error) in [(0.0, 1.0), (0.77, 0.23), (1.53, 0.53), (-1.0, 2.0)] {
                let wrong = check(&Off(&toy, factor));
                assert_eq!(wrong.holds(), Some(false), "{factor}");
                assert!((wrong.error().unwrap() - error).abs() < 0.02, "{factor}: {:?}", wrong.error());
            }
        }
    }

    /// A NaN gradient counts as a gradient of zero, since no search can follow it.
    #[test]
    fn a_gradient_that_is_no_number_is_none() {
        let toy = toy::embedder(0, Distance::Cosine).unwrap();
        let wrong = check(&Off(&toy, f64::NAN));
        assert_eq!((wrong.holds(), wrong.error()), (Some(false), Some(1.0)));
    }

    /// A model with a gradient of zero, whose embedding is constant (`false`) or noise (`true`).
    struct Without(bool);

    impl Embedder for Without {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            let n = images.dims()[0];
            let noise = numbers(images)?.iter().map(|x| (x * 1e7).sin()).collect::<Vec<f32>>();
            let row = noise.len() / n;
            let first: Vec<f32> = noise.chunks_exact(row).map(|row| if self.0 { row.iter().sum() } else { 1.0 }).collect();
            Ok(Tensor::from_vec(first, (n, 1), &Device::Cpu)?)
        }
        fn distance(&self) -> Distance {
            Distance::Euclidean
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape((1, 8, 8))
        }
    }

    impl Differentiable for Without {
        fn input_gradient(&self, images: &Tensor, upstream: &mut rankle_core::Upstream<'_>) -> Result<Tensor> {
            upstream(&self.embed(images)?)?;
            Ok(images.zeros_like()?)
        }
    }

    #[test]
    fn where_nothing_can_be_told_nothing_is() {
        assert_eq!(check(&Without(false)).holds(), None);
        assert_eq!(check(&Without(true)).holds(), None);
    }
}
