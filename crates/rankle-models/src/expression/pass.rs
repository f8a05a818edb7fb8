//! A forward pass: the weights, and the mode of the layers that behave differently in training.

use super::{RUNNING_MEAN, RUNNING_VARIANCE};
use crate::dropout::Dropout;
use crate::weights::Tensors;
use candle_core::{Result, Tensor};
use rankle_ops::{BatchStatistics, Conv2d};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Weights and mode of a forward pass of an [`Expression`](super::Expression).
pub struct Pass<'a> {
    weights: &'a Tensors,
    training: Option<Training<'a>>,
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
    pub(super) fn new(weights: &'a Tensors, training: Option<Training<'a>>) -> Self {
        Self { weights, training }
    }

    pub(super) fn into_statistics(self) -> Vec<(String, BatchStatistics)> {
        self.training.map_or_else(Vec::new, |training| training.statistics.into_inner())
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
        rankle_ops::conv2d(x, self.of(layer, "weight")?, self.bias(layer), options)
    }

    /// Dense layer by `LAYER.weight`, with `LAYER.bias` if there is one.
    ///
    /// # Errors
    /// As [`rankle_ops::linear`].
    pub fn linear(&self, layer: &str, x: &Tensor) -> Result<Tensor> {
        rankle_ops::linear(x, self.of(layer, "weight")?, self.bias(layer))
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
        match &self.training {
            Some(training) if training.trained.contains(&format!("{layer}.weight")) => {
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
        let Some(Training { dropout, .. }) = self.training.as_ref().filter(|_| probability > 0.0) else { return Ok(x.clone()) };
        let (n, width) = x.dims2()?;
        let mut mask = vec![1.0f32; n * width];
        dropout.apply(layer, probability, 0, &mut mask, width);
        x * Tensor::from_vec(mask, (n, width), x.device())?.to_dtype(x.dtype())?
    }
}
