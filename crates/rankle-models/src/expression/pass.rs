//! A forward pass: the weights, and the mode of the layers that behave differently in training.

use super::frozen::Frozen;
use super::{RUNNING_MEAN, RUNNING_VARIANCE};
use crate::dropout::Dropout;
use crate::weights::Tensors;
use candle_core::{Result, Tensor};
use rankle_ops::{BatchStatistics, Conv2d, FrozenConv2d, FrozenLinear, clip};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Weights and mode of a forward pass of an [`Expression`](super::Expression).
pub struct Pass<'a> {
    weights: &'a Tensors,
    mode: Mode<'a>,
}

/// Mode of a pass.
pub(super) enum Mode<'a> {
    /// All weights stay the same, and layers of them are kept.
    Frozen(&'a Frozen),
    Training(Training<'a>),
}

/// What a pass of training needs and leaves behind.
pub(super) struct Training<'a> {
    pub(super) dropout: Dropout,
    /// Names of the trained parameters. A batch normalization without trained parameters is frozen.
    pub(super) trained: &'a BTreeSet<String>,
    /// Statistics of this batch, by the name of their normalization.
    pub(super) statistics: RefCell<Vec<(String, BatchStatistics)>>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(weights: &'a Tensors, mode: Mode<'a>) -> Self {
        Self { weights, mode }
    }

    pub(super) fn into_statistics(self) -> Vec<(String, BatchStatistics)> {
        match self.mode {
            Mode::Frozen(_) => Vec::new(),
            Mode::Training(training) => training.statistics.into_inner(),
        }
    }

    /// A parameter by its whole name.
    ///
    /// # Errors
    /// [`candle_core::Error::Msg`] naming it if the network does not list it.
    pub fn weight(&self, name: &str) -> Result<&Tensor> {
        self.weights.get(name).ok_or_else(|| candle_core::Error::Msg(format!("the network lists no parameter '{name}'")))
    }

    fn of(&self, layer: &str, what: &str) -> Result<&Tensor> {
        self.weight(&format!("{layer}.{what}"))
    }

    fn bias(&self, layer: &str) -> Option<&Tensor> {
        self.weights.get(&format!("{layer}.bias"))
    }

    /// Convolution by `LAYER.weight`, with `LAYER.bias` if there is one.
    ///
    /// # Errors
    /// As [`rankle_ops::conv2d`].
    pub fn conv2d(&self, layer: &str, x: &Tensor, options: &Conv2d) -> Result<Tensor> {
        let (weight, bias) = (self.of(layer, "weight")?, self.bias(layer));
        match &self.mode {
            Mode::Frozen(frozen) => frozen.convolutions.get(layer, || Ok(FrozenConv2d::new(weight, bias, *options)))?.forward(x),
            Mode::Training(_) => rankle_ops::conv2d(x, weight, bias, options),
        }
    }

    /// [`Pass::conv2d`] by `layer`, which has no bias, [`Pass::batch_norm`] by `norm`, and [`rankle_ops::clip`] between the bounds, if
    /// there are any. Frozen, they are one convolution.
    ///
    /// # Errors
    /// As these.
    pub fn conv2d_norm(
        &self,
        [layer, norm]: [&str; 2],
        x: &Tensor,
        options: &Conv2d,
        epsilon: f64,
        bounds: Option<[f64; 2]>,
    ) -> Result<Tensor> {
        let Mode::Frozen(frozen) = &self.mode else {
            let y = self.batch_norm(norm, &self.conv2d(layer, x, options)?, epsilon)?;
            return if let Some([low, high]) = bounds { clip(&y, low, high) } else { Ok(y) };
        };
        let folded = || {
            let (mean, variance) = (self.of(norm, RUNNING_MEAN)?, self.of(norm, RUNNING_VARIANCE)?);
            let factor = (self.of(norm, "weight")? / (variance + epsilon)?.sqrt()?)?;
            let shift = (self.of(norm, "bias")? - (mean * &factor)?)?;
            let weight = self.of(layer, "weight")?.broadcast_mul(&factor.reshape(((), 1, 1, 1))?)?;
            let conv = FrozenConv2d::new(&weight, Some(&shift), *options);
            Ok(if let Some([low, high]) = bounds { conv.clipped(low, high) } else { conv })
        };
        frozen.convolutions.get(layer, folded)?.forward(x)
    }

    /// Dense layer by `LAYER.weight`, with `LAYER.bias` if there is one.
    ///
    /// # Errors
    /// As [`rankle_ops::linear`].
    pub fn linear(&self, layer: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.of(layer, "weight")?, self.bias(layer));
        match &self.mode {
            Mode::Frozen(frozen) => frozen.products.get(layer, || Ok(FrozenLinear::new(weight, bias)))?.forward(x),
            Mode::Training(_) => rankle_ops::linear(x, weight, bias),
        }
    }

    /// Layer normalization over the last dimension.
    ///
    /// # Errors
    /// As [`rankle_ops::layer_norm`].
    pub fn layer_norm(&self, layer: &str, x: &Tensor, epsilon: f64) -> Result<Tensor> {
        rankle_ops::layer_norm(x, Some(self.of(layer, "weight")?), self.bias(layer), epsilon)
    }

    /// Batch normalization over the channels of `(n, c, h, w)` or `(n, c)`: by the statistics of the batch in training, which the
    /// running ones follow, else by the running ones.
    ///
    /// # Errors
    /// As [`rankle_ops::batch_norm`] and [`rankle_ops::batch_norm_training`].
    pub fn batch_norm(&self, layer: &str, x: &Tensor, epsilon: f64) -> Result<Tensor> {
        let (weight, bias) = (Some(self.of(layer, "weight")?), self.bias(layer));
        match &self.mode {
            Mode::Training(training) if training.trained.contains(&format!("{layer}.weight")) => {
                let (y, statistics) = rankle_ops::batch_norm_training(x, weight, bias, epsilon)?;
                training.statistics.borrow_mut().push((layer.to_owned(), statistics));
                Ok(y)
            }
            _ => {
                rankle_ops::batch_norm(x, self.of(layer, RUNNING_MEAN)?, self.of(layer, RUNNING_VARIANCE)?, weight, bias, epsilon)
            }
        }
    }

    /// Dropout of rows `(n, d)` in training, keyed by the seed, the step, `layer` and the position of the row; else the identity.
    ///
    /// # Errors
    /// [`candle_core::Error`] when `x` is no matrix.
    pub fn dropout(&self, layer: usize, x: &Tensor, probability: f32) -> Result<Tensor> {
        let Mode::Training(Training { dropout, .. }) = &self.mode else { return Ok(x.clone()) };
        if probability <= 0.0 {
            return Ok(x.clone());
        }
        let (n, width) = x.dims2()?;
        let mut mask = vec![1.0f32; n * width];
        dropout.apply(layer, probability, 0, &mut mask, width);
        x * Tensor::from_vec(mask, (n, width), x.device())?.to_dtype(x.dtype())?
    }
}
