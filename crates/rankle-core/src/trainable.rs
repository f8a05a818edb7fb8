//! What a training loop needs of a model.

use crate::{Differentiable, Error, Result, Upstream};
use candle_core::Tensor;
pub use rankle_kernels::adam::AdamStep;
use std::collections::BTreeMap;

/// A model whose weights can be trained. How the weight gradients come about, and where the optimizer's moments live, is
/// the model's own affair: a model with kernels fuses both.
pub trait Trainable: Differentiable {
    /// One optimizer step on one batch: embeds `images`, asks `upstream` for the gradient with respect to the raw embeddings, and
    /// moves the weights.
    ///
    /// # Errors
    /// As [`Differentiable::input_gradient`]; the weights are then unchanged.
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()>;

    /// Leaves everything in front of a layer alone from now on: its weights, and the statistics that its norms have. To be called
    /// before the first step, and before [`Trainable::restore`].
    ///
    /// # Errors
    /// [`Error::Unknown`] for a layer that training cannot begin at; [`Error::Refused`] where there is none but the first.
    fn freeze_below(&mut self, layer: &str) -> Result<()> {
        Err(Error::Refused(format!("all layers of this model are trained or none: training cannot begin at '{layer}'")))
    }

    /// The weights, under the names of the public PyTorch checkpoints.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] if candle refuses.
    fn parameters(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Weights and Adam's moments (`adam.first.NAME`, `adam.second.NAME`): everything that goes on after an interruption.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] if candle refuses.
    fn checkpoint(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Takes the state of [`Trainable::checkpoint`] back.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] when a tensor is missing, left over, misshapen or not finite.
    fn restore(&mut self, state: BTreeMap<String, Tensor>) -> Result<()>;
}
