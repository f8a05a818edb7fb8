//! Balls around clean images: projection, steps, random starts and 8-bit rounding.

use crate::Threat;
use candle_core::{D, DType, Device, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rankle_core::numbers::numbers;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Error, Place, Result};
use rankle_record::Norm;

/// The images that a threat allows around each clean image, with pixels in `[0, 1]`.
#[derive(Clone, Debug)]
pub struct Ball {
    clean: Tensor,
    threat: Threat,
    /// Compute backend of the steps.
    place: Place,
}

/// Clips a pixel: `min(x, x₀ + ε)`, `max(x, x₀ - ε)`, clamp (METHOD.md 6.4), all in f32. The sums round, so a pixel may be one
/// unit in the last place outside of the exact ball. A NaN pixel comes back inside.
#[inline]
fn clip(pixel: f32, clean: f32, epsilon: f32) -> f32 {
    pixel.min(clean + epsilon).max(clean - epsilon).clamp(0.0, 1.0)
}

/// Sign of a gradient. Neither `-0.0` nor NaN moves a pixel; `f32::signum` would answer ±1 and NaN.
#[inline]
pub(crate) fn sign(gradient: f32) -> f32 {
    f32::from(u8::from(gradient > 0.0)) - f32::from(u8::from(gradient < 0.0))
}

/// The Euclidean norm, summed in one fixed order.
pub(crate) fn length(numbers: impl Iterator<Item = f32>) -> f64 {
    numbers.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// Replaces a gradient by the unit vector of steepest ascent: its signs under L∞, its direction under L2, where numbers that are
/// not finite count as zero. A gradient of zero stays zero.
pub(crate) fn steepest(norm: Norm, gradient: &mut [f32]) {
    match norm {
        Norm::Linf => gradient.iter_mut().for_each(|g| *g = sign(*g)),
        Norm::L2 => {
            gradient.iter_mut().filter(|g| !g.is_finite()).for_each(|g| *g = 0.0);
            let length = length(gradient.iter().copied());
            let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
            gradient.iter_mut().for_each(|g| *g = (f64::from(*g) * scale) as f32);
        }
    }
}

/// Projects a perturbation onto the ball around zero: each number to the nearest one under L∞; under L2 it is shortened.
pub(crate) fn shorten(threat: Threat, perturbation: &mut [f32]) {
    let radius = threat.radius();
    match threat.norm() {
        Norm::Linf => perturbation.iter_mut().for_each(|p| *p = p.clamp(-radius as f32, radius as f32)),
        Norm::L2 => {
            let length = length(perturbation.iter().copied());
            let scale = if length > radius { (radius / length) as f32 } else { 1.0 };
            perturbation.iter_mut().for_each(|p| *p *= scale);
        }
    }
}

/// Projects one image onto the ball around its clean copy: to the nearest point under L∞. Under L2 the perturbation is shortened,
/// then pixels are clamped to `[0, 1]`, which only shortens it further.
fn project_image(threat: Threat, image: &mut [f32], clean: &[f32]) {
    let radius = threat.radius();
    match threat.norm() {
        Norm::Linf => image.iter_mut().zip(clean).for_each(|(pixel, &clean)| *pixel = clip(*pixel, clean, radius as f32)),
        Norm::L2 => {
            image.iter_mut().zip(clean).filter(|(pixel, _)| !pixel.is_finite()).for_each(|(pixel, &clean)| *pixel = clean);
            let length = length(image.iter().zip(clean).map(|(pixel, clean)| pixel - clean));
            let scale = if length > radius { (radius / length) as f32 } else { 1.0 };
            for (pixel, &clean) in image.iter_mut().zip(clean) {
                let moved = if scale < 1.0 { clean + scale * (*pixel - clean) } else { *pixel };
                *pixel = moved.clamp(0.0, 1.0);
            }
        }
    }
}

/// The Euclidean norm of each row, `(n, 1)`.
fn lengths(rows: &Tensor) -> candle_core::Result<Tensor> {
    // The largest number is taken out first: squares overflow early.
    let largest = rows.abs()?.max_keepdim(D::Minus1)?;
    let safe = largest.eq(0f64)?.where_cond(&largest.ones_like()?, &largest)?;
    rows.broadcast_div(&safe)?.sqr()?.sum_keepdim(D::Minus1)?.sqrt()? * safe
}

impl Ball {
    /// The ball around clean images `(n, …)`, pixels in `[0, 1]`.
    pub fn around(clean: &Tensor, threat: Threat) -> Self {
        Self { clean: clean.clone(), threat, place: Place::Kernels }
    }

    /// The same ball, with steps in another compute backend.
    pub(crate) fn at(self, place: &Place) -> Self {
        Self { place: place.clone(), ..self }
    }

    /// Projects images onto the ball: to the nearest point under L∞; under L2 along the line to the clean image, with pixels then
    /// clamped to `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the images do not have the shape of the clean ones.
    pub fn project(&self, images: &Tensor) -> Result<Tensor> {
        self.map(images, |image, clean| project_image(self.threat, image, clean))
    }

    /// As [`Ball::project`], in the compute backend of the steps.
    pub(crate) fn hold(&self, images: &Tensor) -> Result<Tensor> {
        match self.place {
            Place::Kernels => self.project(images),
            Place::Tensors(_) => self.project_tensors(images),
        }
    }

    /// Rounds every pixel to a multiple of 1/255, as a saved file would, inside the ball. A pixel that rounding would carry out
    /// of the ball goes to the next level toward the clean pixel; under L2 as few pixels as necessary do so, those first that
    /// shorten the perturbation most. Where the ball has no such level (clean pixels between two levels, a radius below half of
    /// one), the level nearest to the clean pixel is taken.
    ///
    /// # Errors
    /// [`Error::Shape`] when the images do not have the shape of the clean ones.
    pub fn eight_bit(&self, images: &Tensor) -> Result<Tensor> {
        let radius = self.threat.radius();
        self.map(images, |image, clean| match self.threat.norm() {
            Norm::Linf => {
                image.iter_mut().zip(clean).for_each(|(pixel, &clean)| *pixel = level_inside(*pixel, clean, radius as f32))
            }
            Norm::L2 => levels_inside(image, clean, radius),
        })
    }

    /// Takes one step of size `step`, measured in the norm of the ball, against the gradient, and projects onto the ball.
    pub(crate) fn step(&self, images: &Tensor, gradient: &Tensor, step: f64) -> Result<Tensor> {
        self.check(images)?;
        self.check(gradient)?;
        if let Place::Tensors(_) = self.place {
            return self.step_of_tensors(images, gradient, &Tensor::full(step as f32, images.dims()[0], images.device())?);
        }
        let (images, gradient, clean) = (numbers(images)?, numbers(gradient)?, numbers(&self.clean)?);
        let step = step as f32;
        let moved = match self.threat.norm() {
            // One pass over the three arrays.
            Norm::Linf => {
                let epsilon = self.threat.radius() as f32;
                let pixels = images.iter().zip(gradient.iter()).zip(clean.iter());
                pixels.map(|((&pixel, &g), &clean)| clip(pixel - step * sign(g), clean, epsilon)).collect()
            }
            Norm::L2 => {
                let mut moved = gradient.to_vec();
                let size = self.size();
                let rows = images.chunks_exact(size).zip(clean.chunks_exact(size));
                for (moved, (image, clean)) in moved.chunks_exact_mut(size).zip(rows) {
                    steepest(Norm::L2, moved);
                    moved.iter_mut().zip(image).for_each(|(moved, pixel)| *moved = pixel - step * *moved);
                    project_image(self.threat, moved, clean);
                }
                moved
            }
        };
        self.tensor(moved)
    }

    /// Does the same as [`Ball::step`] by candle's operations on the device of the images, with one step size for each image; under
    /// L∞ to the last bit.
    fn step_of_tensors(&self, images: &Tensor, gradient: &Tensor, steps: &Tensor) -> Result<Tensor> {
        let (gradient, steps) = (self.rows(gradient)?, steps.unsqueeze(1)?);
        let direction = match self.threat.norm() {
            Norm::Linf => (gradient.gt(0f64)?.to_dtype(DType::F32)? - gradient.lt(0f64)?.to_dtype(DType::F32)?)?,
            Norm::L2 => {
                let finite = gradient.abs()?.le(f64::from(f32::MAX))?;
                let gradient = finite.where_cond(&gradient, &gradient.zeros_like()?)?;
                let own = lengths(&gradient)?;
                gradient.broadcast_div(&own.eq(0f64)?.where_cond(&own.ones_like()?, &own)?)?
            }
        };
        self.project_tensors(&(self.rows(images)? - direction.broadcast_mul(&steps)?)?.reshape(images.shape())?)
    }

    /// Does the same as [`Ball::project`] by candle's operations, for finite pixels; under L∞ to the last bit.
    fn project_tensors(&self, images: &Tensor) -> Result<Tensor> {
        let (clean, radius) = (&self.clean, self.threat.radius());
        let held = match self.threat.norm() {
            Norm::Linf => images.minimum(&(clean + radius)?)?.maximum(&(clean - radius)?)?,
            Norm::L2 => {
                let clean = self.rows(clean)?;
                let added = (self.rows(images)? - &clean)?;
                let shorter = (lengths(&added)?.recip()? * radius)?.minimum(1f64)?;
                (clean + added.broadcast_mul(&shorter)?)?.reshape(images.shape())?
            }
        };
        Ok(held.clamp(0f32, 1f32)?)
    }

    /// One row for each image.
    fn rows(&self, images: &Tensor) -> Result<Tensor> {
        Ok(images.reshape((images.dims()[0], self.size()))?)
    }

    /// Takes a step against the gradient, of each image's own size in `steps`, then moves on by `momentum` times the last movement,
    /// from `previous` to `images`, and by the rest of the step. Both are projected onto the ball.
    pub(crate) fn glide(
        &self,
        images: &Tensor,
        previous: &Tensor,
        gradient: &Tensor,
        steps: &Tensor,
        momentum: f64,
    ) -> Result<Tensor> {
        [images, previous, gradient].into_iter().try_for_each(|images| self.check(images))?;
        if let Place::Tensors(_) = self.place {
            let stepped = self.step_of_tensors(images, gradient, steps)?;
            let moved = (images + ((stepped - images)? * (1.0 - momentum))?)?;
            return self.project_tensors(&(moved + ((images - previous)? * momentum)?)?);
        }
        let (images, previous, clean) = (numbers(images)?, numbers(previous)?, numbers(&self.clean)?);
        let (steps, size, momentum) = (numbers(steps)?, self.size(), momentum as f32);
        let mut moved = numbers(gradient)?.to_vec();
        let rows = images.chunks_exact(size).zip(previous.chunks_exact(size)).zip(clean.chunks_exact(size));
        for ((moved, ((image, previous), clean)), &step) in moved.chunks_exact_mut(size).zip(rows).zip(steps.iter()) {
            steepest(self.threat.norm(), moved);
            moved.iter_mut().zip(image).for_each(|(moved, pixel)| *moved = pixel - step * *moved);
            project_image(self.threat, moved, clean);
            for ((moved, pixel), previous) in moved.iter_mut().zip(image).zip(previous) {
                *moved = pixel + (1.0 - momentum) * (*moved - pixel) + momentum * (pixel - previous);
            }
            project_image(self.threat, moved, clean);
        }
        self.tensor(moved)
    }

    /// A uniform point of the ball for each image, keyed by image and restart (METHOD.md 6.6), clamped to `[0, 1]`.
    pub(crate) fn random(&self, seed: Seed, keys: &[u64], restart: u64) -> Result<Tensor> {
        if let Place::Tensors(_) = self.place {
            return self.random_of_tensors(seed, keys, restart);
        }
        let clean = numbers(&self.clean)?;
        let mut pixels = Vec::with_capacity(clean.len());
        for (&key, clean) in keys.iter().zip(clean.chunks_exact(self.size())) {
            let mut rng = seed.stream(Purpose::Start, [key, restart]);
            match self.threat.norm() {
                Norm::Linf => {
                    let epsilon = self.threat.radius() as f32;
                    pixels.extend(clean.iter().map(|&x| clip(x + 2.0 * epsilon * (0.5 - rng.random::<f32>()), x, epsilon)));
                }
                Norm::L2 => {
                    let mut image = within_sphere(&mut rng, clean.len(), self.threat.radius());
                    image.iter_mut().zip(clean).for_each(|(moved, clean)| *moved += clean);
                    project_image(self.threat, &mut image, clean);
                    pixels.append(&mut image);
                }
            }
        }
        self.tensor(pixels)
    }

    /// Does the same as [`Ball::random`] on the device of the images, which receives the draws; under L∞ to the last bit.
    fn random_of_tensors(&self, seed: Seed, keys: &[u64], restart: u64) -> Result<Tensor> {
        let (size, radius) = (self.size(), self.threat.radius());
        let mut moves = Vec::with_capacity(keys.len() * size);
        for &key in keys {
            let mut rng = seed.stream(Purpose::Start, [key, restart]);
            match self.threat.norm() {
                Norm::Linf => moves.extend((0..size).map(|_| 2.0 * radius as f32 * (0.5 - rng.random::<f32>()))),
                Norm::L2 => moves.extend(within_sphere(&mut rng, size, radius)),
            }
        }
        let moved = (&self.clean + self.tensor(moves)?)?;
        let held = match self.threat.norm() {
            Norm::Linf => moved.minimum(&(&self.clean + radius)?)?.maximum(&(&self.clean - radius)?)?,
            // Draws are inside the ball.
            Norm::L2 => moved,
        };
        Ok(held.clamp(0f32, 1f32)?)
    }

    fn map(&self, images: &Tensor, f: impl Fn(&mut [f32], &[f32])) -> Result<Tensor> {
        self.check(images)?;
        let (mut pixels, clean) = (numbers(images)?.to_vec(), numbers(&self.clean)?);
        let size = self.size();
        pixels.chunks_exact_mut(size).zip(clean.chunks_exact(size)).for_each(|(image, clean)| f(image, clean));
        self.tensor(pixels)
    }

    /// Number of values per image.
    fn size(&self) -> usize {
        self.clean.dims().iter().skip(1).product::<usize>().max(1)
    }

    fn check(&self, images: &Tensor) -> Result<()> {
        if images.dims() == self.clean.dims() {
            return Ok(());
        }
        let expected = format!("{:?}, that of the clean images", self.clean.dims());
        Err(Error::Shape { what: "the batch of perturbed images", actual: images.dims().to_vec(), expected })
    }
    /// A tensor of these pixels on the device of the clean images.
    fn tensor(&self, pixels: Vec<f32>) -> Result<Tensor> {
        Ok(Tensor::from_vec(pixels, self.clean.shape(), &Device::Cpu)?.to_device(self.clean.device())?)
    }
}

/// Tolerance: admits 8/255 to a ball whose radius was written 8/255 and rounded.
const ROUNDING: f32 = 1e-6;

fn level_inside(pixel: f32, clean: f32, epsilon: f32) -> f32 {
    let inside = |level: f32| (level / 255.0 - clean).abs() <= epsilon + ROUNDING;
    let level = (pixel * 255.0).round();
    let level = [level, inwards(level, clean)].into_iter().find(|&level| inside(level));
    level.unwrap_or_else(|| (clean * 255.0).round()) / 255.0
}

/// The next level toward the clean pixel.
fn inwards(level: f32, clean: f32) -> f32 {
    level + sign(clean * 255.0 - level)
}

fn levels_inside(image: &mut [f32], clean: &[f32], radius: f64) {
    let admitted = (radius + f64::from(ROUNDING)).powi(2);
    let square = |level: f32, clean: f32| f64::from(level / 255.0 - clean).powi(2);
    image.iter_mut().for_each(|pixel| *pixel = (*pixel * 255.0).round());
    let mut sum: f64 = image.iter().zip(clean).map(|(&level, &clean)| square(level, clean)).sum();
    if sum > admitted {
        // Decrease of the squared norm when a pixel goes to the next level inward.
        let freed = |(&level, &clean): (&f32, &f32)| square(level, clean) - square(inwards(level, clean), clean);
        let mut freed: Vec<(usize, f64)> =
            image.iter().zip(clean).map(freed).enumerate().filter(|(_, freed)| *freed > 0.0).collect();
        freed.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for (at, freed) in freed {
            image[at] = inwards(image[at], clean[at]);
            sum -= freed;
            if sum <= admitted {
                break;
            }
        }
    }
    if sum > admitted {
        image.iter_mut().zip(clean).for_each(|(level, &clean)| *level = (clean * 255.0).round());
    }
    image.iter_mut().for_each(|level| *level /= 255.0);
}

/// A uniform point of an L2 ball around zero: a random direction, and a length whose power of the dimension is uniform.
fn within_sphere(rng: &mut ChaCha8Rng, dim: usize, radius: f64) -> Vec<f32> {
    let direction: Vec<f64> = (0..dim).map(|_| StandardNormal.sample(rng)).collect();
    let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let scale = radius * rng.random::<f64>().powf(1.0 / dim as f64) / length;
    direction.into_iter().map(|x| (x * scale) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(pixels: &[f32]) -> Tensor {
        Tensor::from_slice(pixels, (1, pixels.len()), &Device::Cpu).unwrap()
    }
    fn ball(clean: &[f32], epsilon: f64) -> Ball {
        Ball::around(&images(clean), Threat::linf(epsilon).unwrap())
    }
    fn round(clean: &[f32], epsilon: f64) -> Ball {
        Ball::around(&images(clean), Threat::l2(epsilon).unwrap())
    }
    fn values(tensor: Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }
    fn near(found: Vec<f32>, expected: &[f32]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    }

    #[test]
    fn a_step_goes_against_the_gradient_and_stays_put_without_one() {
        let moved =
            ball(&[0.5; 6], 0.25).step(&images(&[0.5; 6]), &images(&[3.0, -1e-30, 0.0, -0.0, f32::NAN, f32::INFINITY]), 0.125);
        assert_eq!(values(moved.unwrap()), [0.375, 0.625, 0.5, 0.5, 0.5, 0.375]);
    }

    #[test]
    fn a_step_under_l2_has_its_length_whatever_that_of_the_gradient() {
        let start = [0.5, 0.5, 0.5];
        for scale in [1.0, 1e-30, 1e30] {
            let moved = round(&start, 1.0).step(&images(&start), &images(&[3.0 * scale, -4.0 * scale, 0.0]), 0.1);
            near(values(moved.unwrap()), &[0.44, 0.58, 0.5]);
        }
        let silent = round(&start, 1.0).step(&images(&start), &images(&[0.0, f32::NAN, f32::INFINITY]), 0.1);
        assert_eq!(values(silent.unwrap()), start);
        // Each image has a direction of its own.
        let two = Tensor::full(0.5f32, (2, 2), &Device::Cpu).unwrap();
        let gradient = Tensor::new(&[[1.0f32, 0.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let moved = Ball::around(&two, Threat::l2(1.0).unwrap()).step(&two, &gradient, 0.1).unwrap();
        near(values(moved), &[0.4, 0.5, 0.44, 0.42]);
    }

    #[test]
    fn steps_of_tensors_are_those_of_the_kernels() {
        let numbers = |seed: f32, scale: f32| -> Vec<f32> { (0..3 * 40).map(|at| (at as f32 * seed).sin() * scale).collect() };
        let tensor = |numbers: Vec<f32>| Tensor::from_vec(numbers, (3, 1, 5, 8), &Device::Cpu).unwrap();
        let clean = tensor(numbers(1.7, 1.0).iter().map(|x| x.abs()).collect());
        let moved = (&clean + tensor(numbers(2.3, 0.05))).unwrap();
        let mut gradient = numbers(3.1, 1e-9);
        (gradient[3], gradient[44], gradient[50]) = (0.0, f32::NAN, f32::INFINITY);
        gradient[80..].iter_mut().for_each(|g| *g = 0.0);
        let gradient = tensor(gradient);
        let elsewhere = Place::Tensors(Device::Cpu);
        for threat in [Threat::linf(0.06).unwrap(), Threat::l2(0.3).unwrap(), Threat::l2(30.0).unwrap()] {
            let ball = Ball::around(&clean, threat);
            // An infinite gradient has a sign, but no direction.
            let by_kernels = values(ball.step(&moved, &gradient, 0.03).unwrap());
            let by_tensors = values(ball.at(&elsewhere).step(&moved, &gradient, 0.03).unwrap());
            match threat.norm() {
                Norm::Linf => assert_eq!(by_kernels, by_tensors),
                Norm::L2 => near(by_kernels, &by_tensors),
            }
        }
    }

    #[test]
    fn the_ball_and_the_pixel_range_both_hold() {
        let ball = ball(&[0.5, 0.5, 0.0, 1.0, 0.5], 0.25);
        assert_eq!(values(ball.project(&images(&[0.9, 0.1, -0.3, 1.3, f32::NAN])).unwrap()), [0.75, 0.25, 0.0, 1.0, 0.75]);
        assert!(matches!(ball.project(&images(&[0.5])), Err(Error::Shape { .. })));
    }

    #[test]
    fn under_l2_perturbations_are_shortened_and_pixels_stay_pixels() {
        let ball = round(&[0.5, 0.5, 0.0], 0.5);
        near(values(ball.project(&images(&[0.8, 0.9, 0.0])).unwrap()), &[0.8, 0.9, 0.0]);
        near(values(ball.project(&images(&[1.1, 1.3, 0.0])).unwrap()), &[0.8, 0.9, 0.0]);
        near(values(ball.project(&images(&[0.5, 0.5, -9.0])).unwrap()), &[0.5, 0.5, 0.0]);
        near(values(ball.project(&images(&[f32::NAN, f32::INFINITY, 0.1])).unwrap()), &[0.5, 0.5, 0.1]);
        // A ball that covers the cube leaves every image as it is.
        near(values(round(&[0.0, 0.5, 1.0], 10.0).project(&images(&[1.0, 0.0, 0.0])).unwrap()), &[1.0, 0.0, 0.0]);
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
    fn under_l2_as_few_pixels_as_will_do_are_rounded_inwards() {
        let level = |k: f32| k / 255.0;
        // At the edge the nearest levels are 3 and 4 from the clean pixels, 5 in all. Just below 5 only the second goes back,
        // which frees more.
        let (clean, edge) = ([level(100.0); 2], [level(103.0), level(103.6)]);
        let of = |radius: f64| values(round(&clean, radius / 255.0).eight_bit(&images(&edge)).unwrap());
        assert_eq!(of(5.0), [level(103.0), level(104.0)]);
        assert_eq!(of(4.99), [level(103.0), level(103.0)]);
        assert_eq!(of(0.1), [level(102.0), level(102.0)].map(|_| level(100.0)));
        let between = round(&[level(100.4), level(100.6)], 0.001).eight_bit(&images(&[level(100.6), level(100.4)]));
        assert_eq!(values(between.unwrap()), [level(100.0), level(101.0)]);
    }

    /// A radius of whole levels admits a perturbation of as many levels, whatever the clean pixel.
    #[test]
    fn under_l2_a_level_at_the_edge_stays() {
        for (clean, radius) in [(123.0, 5.0), (31.0, 1.0), (200.0, 17.0)] {
            let (clean, edge) = (clean / 255.0, (clean + radius) / 255.0);
            let rounded = round(&[clean], f64::from(radius) / 255.0).eight_bit(&images(&[edge])).unwrap();
            assert_eq!(values(rounded), [edge]);
        }
    }

    fn starts(threat: Threat, keys: &[u64], restart: u64) -> Vec<Vec<f32>> {
        let clean = Tensor::full(0.5f32, (keys.len(), 1, 20, 20), &Device::Cpu).unwrap();
        let start = Ball::around(&clean, threat).random(Seed(1), keys, restart).unwrap();
        start.flatten_from(1).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn a_random_start_fills_the_ball_and_depends_on_the_key_alone() {
        for threat in [Threat::linf(0.2).unwrap(), Threat::l2(2.0).unwrap()] {
            let start = starts(threat, &[7, 8, 7], 0);
            assert_eq!(start[0], start[2]);
            assert_ne!(start[0], start[1]);
            assert_ne!(start[0], starts(threat, &[7, 8, 7], 1)[0]);
        }
        let start = &starts(Threat::linf(0.2).unwrap(), &[7], 0)[0];
        assert!(start.iter().all(|x| (x - 0.5).abs() <= 0.2 + 1e-6));
        assert!(start.iter().any(|x| *x > 0.69) && start.iter().any(|x| *x < 0.31));
    }

    /// In 400 dimensions a uniform point has a mean length of 400/401 of the radius, and no preferred direction.
    #[test]
    fn a_random_start_under_l2_is_uniform_in_the_ball() {
        let keys: Vec<u64> = (0..500).collect();
        let starts = starts(Threat::l2(2.0).unwrap(), &keys, 0);
        let lengths: Vec<f64> = starts.iter().map(|start| length(start.iter().map(|x| x - 0.5))).collect();
        assert!(lengths.iter().all(|&length| length <= 2.0 + 1e-6));
        let mean = lengths.iter().sum::<f64>() / 500.0;
        assert!((mean - 2.0 * 400.0 / 401.0).abs() < 0.001, "{mean}");
        let first: Vec<f64> = starts.iter().map(|start| f64::from(start[0]) - 0.5).collect();
        let (mean, square) = (first.iter().sum::<f64>() / 500.0, first.iter().map(|x| x * x).sum::<f64>() / 500.0);
        // A coordinate has variance 4/402; its standard error here is 0.0045, that of the variance 6 %.
        assert!(mean.abs() < 0.02 && (square * 402.0 / 4.0 - 1.0).abs() < 0.3, "{mean} {square}");
    }
}
