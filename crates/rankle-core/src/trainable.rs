//! The interface of a training loop to a model.

use crate::{Differentiable, Error, Result, Upstream};
use candle_core::Tensor;
pub use rankle_kernels::adam::AdamStep;
use std::collections::BTreeMap;

/// A model whose weights can be trained. It computes the weight gradients and stores the optimizer's moments itself, so that a
/// model with kernels can fuse gradient and update.
pub trait Trainable: Differentiable {
    /// Makes one optimizer step on one batch: embeds `images`, calls `upstream` for the gradient with respect to the raw
    /// embeddings, and updates the weights.
    ///
    /// # Errors
    /// As [`Differentiable::input_gradient`]; the weights are then unchanged.
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()>;

    /// Freezes all layers in front of a layer: their weights and the statistics of their normalization. To be called before the
    /// first step, and before [`Trainable::restore`].
    ///
    /// # Errors
    /// [`Error::Unknown`] for a layer that training cannot begin at; [`Error::Refused`] if it can begin at the first layer only.
    fn freeze_below(&mut self, layer: &str) -> Result<()> {
        Err(Error::Refused(format!("all layers of this model are trained or none: training cannot begin at '{layer}'")))
    }

    /// The weights, under the names of the public PyTorch checkpoints.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when a tensor operation fails.
    fn parameters(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Weights and Adam's moments (`adam.first.NAME`, `adam.second.NAME`): the state from which interrupted training resumes.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when a tensor operation fails.
    fn checkpoint(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Restores the state that [`Trainable::checkpoint`] returned.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] when a tensor is missing, unexpected, misshapen or not finite.
    fn restore(&mut self, state: BTreeMap<String, Tensor>) -> Result<()>;
}
