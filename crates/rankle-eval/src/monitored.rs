//! A model and a defense under a monitor: every pass is counted, an interrupt takes effect before the next pass, and a gradient
//! that no test proves is checked before its first use.

use crate::Monitor;
use candle_core::Tensor;
use rankle_attacks::GradientCheck;
use rankle_core::{Defense, Differentiable, Distance, Embedder, Error, InputSpec, Place, Result, Seed, Upstream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Least number of images that decide a check, and the units that one of them costs.
const FEWEST: usize = 2;
const UNITS: u64 = 18;

/// A gradient that no test proves: it is compared with difference quotients before its first use.
pub struct UncheckedGradient {
    /// Images of the check; `None` for the batch of the first gradient.
    images: Option<Tensor>,
    checked: OnceLock<GradientCheck>,
}

impl UncheckedGradient {
    /// Number of images checked, at most.
    pub const IMAGES: usize = 8;

    /// A gradient to be checked at these images, or at the batch of the first gradient if `None`.
    pub fn at(images: Option<Tensor>) -> Arc<Self> {
        Arc::new(Self { images, checked: OnceLock::new() })
    }

    /// Checks once. Two images usually decide. As long as the check is undecided, more images follow one by one, until it takes
    /// more than a second and more than a hundredth of the units of the run.
    fn heed(&self, model: &dyn Differentiable, images: &Tensor, monitor: &dyn Monitor) {
        self.checked.get_or_init(|| {
            let (start, images) = (Instant::now(), self.images.as_ref().unwrap_or(images));
            let mut check = GradientCheck::default();
            for row in 0..images.dims().first().map_or(0, |&images| images.min(Self::IMAGES)) {
                let image = images.narrow(0, row, 1).map_err(Error::from);
                // An error of the model here is left to the search to report.
                let Ok(one) = image.and_then(|image| GradientCheck::of(model, &image, Seed(0), row as u64)) else { break };
                check = check.and(one);
                let dear = start.elapsed() > Duration::from_secs(1) && 100 * (row as u64 + 1) * UNITS > monitor.total();
                if monitor.advance(0).is_break() || (row + 1 >= FEWEST && (dear || check.holds().is_some())) {
                    break;
                }
            }
            if let (Some(false), Some(error)) = (check.holds(), check.error()) {
                tracing::warn!("{}", warning(error, check.directions));
            }
            check
        });
    }
}

fn warning(error: f64, directions: usize) -> String {
    format!(
        "the input gradient of this model misses {:.0} % of the slope of its embedding ({directions} random directions), so that what follows it \
         looks weaker than it is: an operation may drop its part of the gradient (in candle the fused layer norm and softmax of \
         candle_nn::ops, detach, argmax, comparisons, a cast to integers, a custom operation with a wrong backward pass); records say so",
        100.0 * error
    )
}

/// A model that forwards to another one, or returns [`Error::Interrupted`]: a search ends within one pass of an interrupt.
pub struct Monitored<'a> {
    inner: Box<dyn Embedder + 'a>,
    monitor: Arc<dyn Monitor>,
    /// Cost of an input gradient of one image, in forward passes.
    gradient: AtomicU64,
    unproven: Option<Arc<UncheckedGradient>>,
}

impl<'a> Monitored<'a> {
    /// Puts a model under a monitor; an input gradient counts as two passes.
    pub fn new(inner: Box<dyn Embedder + 'a>, monitor: Arc<dyn Monitor>) -> Self {
        Self { inner, monitor, gradient: AtomicU64::new(2), unproven: None }
    }
    /// Marks the gradient as one that no test proves.
    pub fn unproven(self, unproven: Option<Arc<UncheckedGradient>>) -> Self {
        Self { unproven, ..self }
    }
    /// Relative error of the gradient against difference quotients, as a fraction; `None` unless the check found it wrong.
    pub fn gradient_error(&self) -> Option<f64> {
        self.unproven.as_ref()?.checked.get().filter(|check| check.holds() == Some(false))?.error()
    }
    /// Sets the cost of an input gradient, in forward passes.
    pub(crate) fn gradient_counts(&self, units: u64) {
        self.gradient.store(units, Ordering::Relaxed);
    }

    fn pass(&self, images: &Tensor, units: u64) -> Result<()> {
        match self.monitor.advance(units * images.dims().first().map_or(0, |&n| n as u64)).is_break() {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

impl Embedder for Monitored<'_> {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        self.pass(images, 1)?;
        self.inner.embed(images)
    }
    fn distance(&self) -> Distance {
        self.inner.distance()
    }
    fn input(&self) -> InputSpec {
        self.inner.input()
    }
    fn place(&self) -> Place {
        self.inner.place()
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        self.inner.differentiable().map(|_| self as _)
    }
}

impl Differentiable for Monitored<'_> {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        self.pass(images, self.gradient.load(Ordering::Relaxed))?;
        let model = self.inner.white_box()?;
        if let Some(unproven) = &self.unproven {
            unproven.heed(model, images, &*self.monitor);
        }
        model.input_gradient(images, upstream)
    }
}

/// A defense that sees the model only under a monitor: its inner search can be ended between two passes.
pub struct MonitoredDefense {
    /// The defense.
    pub defense: Box<dyn Defense>,
    /// The monitor of the passes of the inner search.
    pub monitor: Arc<dyn Monitor>,
    /// The check of the model's gradient; `None` if tests prove it.
    pub unproven: Option<Arc<UncheckedGradient>>,
}

impl Defense for MonitoredDefense {
    fn perturb(&self, frozen: &dyn Differentiable, images: &Tensor, keys: &[u64], epoch: u64, seed: Seed) -> Result<Tensor> {
        let frozen: &dyn Embedder = frozen;
        let watched = Monitored::new(Box::new(frozen), self.monitor.clone()).unproven(self.unproven.clone());
        self.defense.perturb(&watched, images, keys, epoch, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unwatched;
    use candle_core::{DType, Device};
    use rankle_core::{Dataset, toy};

    /// A perceptron whose hidden layer goes through one operation.
    struct Through(fn(&Tensor) -> candle_core::Result<Tensor>);

    impl Embedder for Through {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            let flat = images.flatten_from(1)?;
            let weights = |rows: usize, columns: usize| {
                let values: Vec<f32> = (0..rows * columns).map(|at| ((at * 7919 % 1009) as f32 / 504.5 - 1.0) / 3.0).collect();
                Tensor::from_vec(values, (rows, columns), &Device::Cpu)
            };
            let hidden = flat.matmul(&weights(flat.dim(1)?, 12)?)?;
            Ok((self.0)(&hidden)?.matmul(&weights(12, 5)?)?)
        }
        fn distance(&self) -> Distance {
            Distance::Euclidean
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape((1, 8, 8))
        }
        fn differentiable(&self) -> Option<&dyn Differentiable> {
            Some(self)
        }
    }

    impl Differentiable for Through {}

    fn error(through: fn(&Tensor) -> candle_core::Result<Tensor>) -> Option<f64> {
        let watched = Monitored::new(Box::new(Through(through)), Arc::new(Unwatched)).unproven(Some(UncheckedGradient::at(None)));
        let images = toy::dataset(0).images(&[3, 4, 5]).unwrap();
        watched.input_gradient(&images, &mut |raw| Ok(raw.ones_like()?)).unwrap();
        watched.gradient_error()
    }

    /// Fused operations of candle drop a part of the gradient without an error.
    #[test]
    fn operations_that_drop_gradients_are_found_out() {
        assert_eq!(error(|hidden| hidden.tanh()), None);
        assert_eq!(error(|hidden| hidden.relu()), None);
        assert_eq!(error(|hidden| candle_nn::ops::softmax(hidden, 1)), None);
        let fused = error(|hidden| (hidden * 0.25)? + candle_nn::ops::softmax_last_dim(hidden)?);
        assert!(fused.is_some_and(|error| error > 0.1), "{fused:?}");
        let norm = error(|hidden| {
            let (scale, shift) = (Tensor::ones(12, DType::F32, &Device::Cpu)?, Tensor::zeros(12, DType::F32, &Device::Cpu)?);
            (hidden * 0.25)? + candle_nn::ops::layer_norm(hidden, &scale, &shift, 1e-5)?
        });
        assert!(norm.is_some_and(|error| error > 0.1), "{norm:?}");
    }

    #[test]
    fn the_warning_is_one_line() {
        let line = warning(0.234, 8);
        assert!(line.contains("misses 23 % of the slope") && !line.contains("  ") && !line.contains('\n'), "{line}");
    }

    /// The check has images of its own, whatever the batch of the search.
    #[test]
    fn what_is_found_does_not_depend_on_the_batch() {
        let lying = |hidden: &Tensor| hidden.detach() + (hidden * 0.5)?;
        let error = |batch: &[usize]| {
            let images = |indices: &[usize]| toy::dataset(0).images(indices).unwrap();
            let unproven = Some(UncheckedGradient::at(Some(images(&[0, 1, 2, 3]))));
            let watched = Monitored::new(Box::new(Through(lying)), Arc::new(Unwatched)).unproven(unproven);
            watched.input_gradient(&images(batch), &mut |raw| Ok(raw.ones_like()?)).unwrap();
            watched.gradient_error().unwrap()
        };
        assert_eq!(error(&[9]), error(&[4, 5, 6, 7, 8]));
    }

    #[test]
    fn a_proven_gradient_is_not_looked_at() {
        let lying = |hidden: &Tensor| hidden.detach() + (hidden * 0.5)?;
        assert!(error(lying).is_some());
        let watched = Monitored::new(Box::new(Through(lying)), Arc::new(Unwatched));
        let images = toy::dataset(0).images(&[3, 4]).unwrap();
        watched.input_gradient(&images, &mut |raw| Ok(raw.ones_like()?)).unwrap();
        assert_eq!(watched.gradient_error(), None);
    }
}
