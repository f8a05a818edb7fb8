//! A model and a defense under watch: every pass is counted, an interrupt is obeyed before the next one, and a gradient that no test
//! proves is checked before it is first followed.

use crate::interrupt;
use candle_core::Tensor;
use indicatif::ProgressBar;
use rankle_attacks::GradientCheck;
use rankle_core::{Defense, Differentiable, Distance, Embedder, Error, InputSpec, Result, Seed, Upstream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What `--no-gradient-check` says.
static UNCHECKED: AtomicBool = AtomicBool::new(false);

/// Whether every model is taken for proven from here on.
pub(crate) fn leave_gradients_unchecked(unchecked: bool) {
    UNCHECKED.store(unchecked, Ordering::Relaxed);
}

/// How many images decide at least and at most, and what one of them costs in the units of a bar.
const FEWEST: usize = 2;
pub(crate) const MOST: usize = 8;
const UNITS: u64 = 18;

/// A gradient that no test proves: it is compared with differences before it is first followed.
pub(crate) struct Unproven {
    /// Where it is compared; where the gradient is asked for when there are none.
    images: Option<Tensor>,
    checked: OnceLock<GradientCheck>,
}

impl Unproven {
    /// None where gradients are left unchecked.
    pub(crate) fn at(images: Option<Tensor>) -> Option<Arc<Self>> {
        (!UNCHECKED.load(Ordering::Relaxed)).then(|| Arc::new(Self { images, checked: OnceLock::new() }))
    }

    /// Looks once. Two images decide as a rule; more are taken, one after the other, as long as nothing can be told and it takes no more than a
    /// second or a hundredth of a run of so many units.
    fn heed(&self, model: &dyn Differentiable, images: &Tensor, run: u64) {
        self.checked.get_or_init(|| {
            let (start, images) = (Instant::now(), self.images.as_ref().unwrap_or(images));
            let mut check = GradientCheck::default();
            for row in 0..images.dims().first().map_or(0, |&images| images.min(MOST)) {
                let image = images.narrow(0, row, 1).map_err(Error::from);
                // What the model cannot do the search will say.
                let Ok(one) = image.and_then(|image| GradientCheck::of(model, &image, Seed(0), row as u64)) else { break };
                check = check.and(one);
                let dear = start.elapsed() > Duration::from_secs(1) && 100 * (row as u64 + 1) * UNITS > run;
                if interrupt::asked() || (row + 1 >= FEWEST && (dear || check.holds().is_some())) {
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
         candle_nn::ops, detach, argmax, comparisons, a cast to integers, a custom operation with a wrong backward pass); records say so, \
         and --no-gradient-check leaves this check out",
        100.0 * error
    )
}

/// Passes through to the model, or answers [`Error::Interrupted`]: no search runs longer than one pass after Ctrl-C.
pub(crate) struct Watched<'a> {
    inner: Box<dyn Embedder + 'a>,
    bar: ProgressBar,
    /// What one image of an input gradient counts for; one embedding counts for one.
    gradient: AtomicU64,
    unproven: Option<Arc<Unproven>>,
}

impl<'a> Watched<'a> {
    /// Counts into `bar`.
    pub(crate) fn new(inner: Box<dyn Embedder + 'a>, bar: ProgressBar) -> Self {
        Self { inner, bar, gradient: AtomicU64::new(2), unproven: None }
    }
    /// The same, with a gradient that no test proves.
    pub(crate) fn unproven(self, unproven: Option<Arc<Unproven>>) -> Self {
        Self { unproven, ..self }
    }
    /// By how much of the slope the gradient misses it, as a fraction, where it was found to.
    pub(crate) fn gradient_error(&self) -> Option<f64> {
        self.unproven.as_ref()?.checked.get().filter(|check| check.holds() == Some(false))?.error()
    }
    /// From here on an input gradient counts for so much.
    pub(crate) fn gradient_counts(&self, units: u64) {
        self.gradient.store(units, Ordering::Relaxed);
    }

    fn pass(&self, images: &Tensor, units: u64) -> Result<()> {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        self.bar.inc(units * images.dims().first().map_or(0, |&n| n as u64));
        Ok(())
    }
}

impl Embedder for Watched<'_> {
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
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        self.inner.differentiable().map(|_| self as _)
    }
}

impl Differentiable for Watched<'_> {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        self.pass(images, self.gradient.load(Ordering::Relaxed))?;
        let model = self.inner.white_box()?;
        if let Some(unproven) = &self.unproven {
            unproven.heed(model, images, self.bar.length().unwrap_or(0));
        }
        model.input_gradient(images, upstream)
    }
}

/// Lets a defense see the model only under watch: its inner search can be interrupted between two passes.
pub(crate) struct WatchedDefense {
    pub(crate) defense: Box<dyn Defense>,
    /// Where the gradient of the model is one that no test proves.
    pub(crate) unproven: Option<Arc<Unproven>>,
}

impl Defense for WatchedDefense {
    fn perturb(&self, frozen: &dyn Differentiable, images: &Tensor, keys: &[u64], epoch: u64, seed: Seed) -> Result<Tensor> {
        let frozen: &dyn Embedder = frozen;
        let watched = Watched::new(Box::new(frozen), ProgressBar::hidden()).unproven(self.unproven.clone());
        self.defense.perturb(&watched, images, keys, epoch, seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use rankle_core::{Dataset, toy};

    /// A perceptron whose hidden numbers go through one operation.
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
        let watched = Watched::new(Box::new(Through(through)), ProgressBar::hidden()).unproven(Unproven::at(None));
        let images = toy::dataset(0).images(&[3, 4, 5]).unwrap();
        watched.input_gradient(&images, &mut |raw| Ok(raw.ones_like()?)).unwrap();
        watched.gradient_error()
    }

    /// The fused operations of candle drop a part of the gradient without a word.
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

    /// At images of its own, whatever batch the search begins with.
    #[test]
    fn what_is_found_does_not_depend_on_the_batch() {
        let lying = |hidden: &Tensor| hidden.detach() + (hidden * 0.5)?;
        let error = |batch: &[usize]| {
            let images = |indices: &[usize]| toy::dataset(0).images(indices).unwrap();
            let unproven = Unproven::at(Some(images(&[0, 1, 2, 3])));
            let watched = Watched::new(Box::new(Through(lying)), ProgressBar::hidden()).unproven(unproven);
            watched.input_gradient(&images(batch), &mut |raw| Ok(raw.ones_like()?)).unwrap();
            watched.gradient_error().unwrap()
        };
        assert_eq!(error(&[9]), error(&[4, 5, 6, 7, 8]));
    }

    #[test]
    fn a_proven_gradient_is_not_looked_at() {
        let lying = |hidden: &Tensor| hidden.detach() + (hidden * 0.5)?;
        assert!(error(lying).is_some());
        let watched = Watched::new(Box::new(Through(lying)), ProgressBar::hidden());
        let images = toy::dataset(0).images(&[3, 4]).unwrap();
        watched.input_gradient(&images, &mut |raw| Ok(raw.ones_like()?)).unwrap();
        assert_eq!(watched.gradient_error(), None);
    }
}
