//! Where an adversarial image may be.

use candle_core::{Device, Tensor};
use rand::Rng;
use rankle_core::numbers::numbers;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Epsilon, Error, Result};

/// The images within epsilon of the clean ones in every pixel, and within `[0, 1]`.
#[derive(Clone, Debug)]
pub struct Ball {
    clean: Tensor,
    epsilon: Epsilon,
}

/// `min(x, x₀ + ε)`, `max(x, x₀ - ε)`, clamp (`method.md` 6.4), all in f32: the sums round, so a pixel may be one unit in the
/// last place outside of the exact ball. A pixel that is not a number comes back inside.
#[inline]
fn hold(pixel: f32, clean: f32, epsilon: f32) -> f32 {
    pixel.min(clean + epsilon).max(clean - epsilon).clamp(0.0, 1.0)
}

/// Neither `-0.0` nor NaN moves a pixel; `f32::signum` would answer ±1 and NaN.
#[inline]
pub(crate) fn sign(slope: f32) -> f32 {
    f32::from(u8::from(slope > 0.0)) - f32::from(u8::from(slope < 0.0))
}

impl Ball {
    /// The ball around clean images of any shape, pixels in `[0, 1]`.
    pub fn around(clean: &Tensor, epsilon: Epsilon) -> Self {
        Self { clean: clean.clone(), epsilon }
    }

    /// The nearest images inside the ball.
    ///
    /// # Errors
    /// [`Error::Shape`] when the images do not have the shape of the clean ones.
    pub fn project(&self, images: &Tensor) -> Result<Tensor> {
        self.map(images, hold)
    }

    /// Rounds every pixel to a multiple of 1/255, as a saved file would. A pixel that rounding would carry out of the ball
    /// goes to the next level towards the clean one instead: the attacker saves a file that keeps its promise. Only where no
    /// level lies in the ball (clean pixels between two levels, epsilon below half of one) is it the level nearest to the
    /// clean pixel.
    ///
    /// # Errors
    /// [`Error::Shape`] when the images do not have the shape of the clean ones.
    pub fn eight_bit(&self, images: &Tensor) -> Result<Tensor> {
        self.map(images, |pixel, clean, epsilon| {
            // The tolerance admits 8/255 to a ball whose radius was written 8/255 and rounded.
            let inside = |level: f32| (level / 255.0 - clean).abs() <= epsilon + 1e-6;
            let level = (pixel * 255.0).round();
            let inwards = level + sign(clean * 255.0 - level);
            let level = [level, inwards].into_iter().find(|&level| inside(level));
            level.unwrap_or_else(|| (clean * 255.0).round()) / 255.0
        })
    }

    /// One step of size `step` against the slope's sign, back inside the ball. One pass over the three arrays.
    pub(crate) fn step(&self, images: &Tensor, slope: &Tensor, step: f64) -> Result<Tensor> {
        self.check(images)?;
        self.check(slope)?;
        let (step, epsilon) = (step as f32, self.epsilon.value() as f32);
        let (pixels, slopes, clean) = (numbers(images)?, numbers(slope)?, numbers(&self.clean)?);
        let moved: Vec<f32> = pixels
            .iter()
            .zip(slopes.iter())
            .zip(clean.iter())
            .map(|((&pixel, &slope), &clean)| hold(pixel - step * sign(slope), clean, epsilon))
            .collect();
        self.tensor(moved)
    }

    /// A uniform point of the ball for each image, drawn with its key and the number of the restart (`method.md` 6.6).
    pub(crate) fn random(&self, seed: Seed, keys: &[u64], restart: u64) -> Result<Tensor> {
        let epsilon = self.epsilon.value() as f32;
        let clean = numbers(&self.clean)?;
        let size = clean.len() / keys.len().max(1);
        let mut pixels = Vec::with_capacity(clean.len());
        for (&key, image) in keys.iter().zip(clean.chunks_exact(size.max(1))) {
            let mut rng = seed.stream(Purpose::Start, [key, restart]);
            pixels.extend(image.iter().map(|&x| hold(x + 2.0 * epsilon * (0.5 - rng.random::<f32>()), x, epsilon)));
        }
        self.tensor(pixels)
    }

    fn map(&self, images: &Tensor, f: impl Fn(f32, f32, f32) -> f32) -> Result<Tensor> {
        self.check(images)?;
        let epsilon = self.epsilon.value() as f32;
        let (pixels, clean) = (numbers(images)?, numbers(&self.clean)?);
        self.tensor(pixels.iter().zip(clean.iter()).map(|(&pixel, &clean)| f(pixel, clean, epsilon)).collect())
    }
    fn check(&self, images: &Tensor) -> Result<()> {
        if images.dims() == self.clean.dims() {
            return Ok(());
        }
        let expected = format!("{:?}, that of the clean images", self.clean.dims());
        Err(Error::Shape { what: "the batch of moved images", actual: images.dims().to_vec(), expected })
    }
    /// Back to where the clean images are.
    fn tensor(&self, pixels: Vec<f32>) -> Result<Tensor> {
        Ok(Tensor::from_vec(pixels, self.clean.shape(), &Device::Cpu)?.to_device(self.clean.device())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(pixels: &[f32]) -> Tensor {
        Tensor::from_slice(pixels, pixels.len(), &Device::Cpu).unwrap()
    }
    fn ball(clean: &[f32], epsilon: f64) -> Ball {
        Ball::around(&images(clean), Epsilon::new(epsilon).unwrap())
    }
    fn values(tensor: Tensor) -> Vec<f32> {
        tensor.to_vec1().unwrap()
    }

    #[test]
    fn a_step_goes_against_the_slope_and_stays_put_without_one() {
        let moved =
            ball(&[0.5; 6], 0.25).step(&images(&[0.5; 6]), &images(&[3.0, -1e-30, 0.0, -0.0, f32::NAN, f32::INFINITY]), 0.125);
        assert_eq!(values(moved.unwrap()), [0.375, 0.625, 0.5, 0.5, 0.5, 0.375]);
    }

    #[test]
    fn the_ball_and_the_pixel_range_both_hold() {
        let ball = ball(&[0.5, 0.5, 0.0, 1.0, 0.5], 0.25);
        assert_eq!(values(ball.project(&images(&[0.9, 0.1, -0.3, 1.3, f32::NAN])).unwrap()), [0.75, 0.25, 0.0, 1.0, 0.75]);
        assert!(matches!(ball.project(&images(&[0.5])), Err(Error::Shape { .. })));
    }

    #[test]
    fn eight_bits_never_leave_the_ball() {
        let level = |k: f32| k / 255.0;
        // 0.01 is 2.55 levels: rounding alone would carry the first pixel to 3.
        let rounded = ball(&[level(100.0); 3], 0.01).eight_bit(&images(&[level(102.55), level(101.4), level(97.45)]));
        assert_eq!(values(rounded.unwrap()), [level(102.0), level(101.0), level(98.0)]);
        let rounded = ball(&[level(100.0)], 8.0 / 255.0).eight_bit(&images(&[level(108.0)]));
        assert_eq!(values(rounded.unwrap()), [level(108.0)]);
        let rounded = ball(&[level(100.4), level(100.6)], 0.001).eight_bit(&images(&[level(100.6), level(100.4)]));
        assert_eq!(values(rounded.unwrap()), [level(100.0), level(101.0)]);
    }

    #[test]
    fn a_random_start_fills_the_ball_and_depends_on_the_key_alone() {
        let clean = Tensor::full(0.5f32, (3, 1, 20, 20), &Device::Cpu).unwrap();
        let ball = Ball::around(&clean, Epsilon::new(0.2).unwrap());
        let start = ball.random(Seed(1), &[7, 8, 7], 0).unwrap().flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(start[0], start[2]);
        assert_ne!(start[0], start[1]);
        assert!(start[0].iter().all(|x| (x - 0.5).abs() <= 0.2 + 1e-6));
        assert!(start[0].iter().any(|x| *x > 0.69) && start[0].iter().any(|x| *x < 0.31));
        let restart = ball.random(Seed(1), &[7, 8, 7], 1).unwrap().flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        assert_ne!(start[0], restart[0]);
    }
}
