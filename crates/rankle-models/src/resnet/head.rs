//! Head: an optional linear layer `fc` after the network.

use super::DIM;
use crate::dense::PackedDense;
use crate::weights::Tensors;
use rankle_core::{AdamStep, Result, Seed};
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use std::sync::OnceLock;

/// Name of the layer in torchvision.
const NAME: &str = "fc";

/// Linear layer from features to embeddings.
#[derive(Debug)]
pub(super) struct Head {
    pub layer: PackedDense,
    /// Weights packed for input gradients. Packed on first use, and cleared by a training step.
    transposed: OnceLock<Panels>,
}

impl Head {
    pub(super) fn new(layer: PackedDense) -> Self {
        Self { layer, transposed: OnceLock::new() }
    }

    /// Initializes weights at random; `position` is the position of its weights among the network's parameters.
    pub(super) fn initialize(isa: Isa, size: usize, seed: Seed, position: u64) -> Self {
        Self::new(PackedDense::initialize(isa, size, DIM, seed, position))
    }

    pub(super) fn size(&self) -> usize {
        self.layer.bias.len()
    }

    /// Embeddings `(n, size)` from features `(n, 512)`.
    pub(super) fn embed(&self, features: &[f32]) -> Vec<f32> {
        let mut embeddings = vec![0.0; features.len() / DIM * self.size()];
        self.layer.apply(features, &mut embeddings);
        embeddings
    }

    /// Takes one Adam step, from the features and the gradient of the embeddings.
    pub(super) fn update(
        &mut self,
        moments: [&mut PackedDense; 2],
        isa: Isa,
        features: &[f32],
        gradient: &[f32],
        adam: &AdamStep,
    ) {
        self.layer.update(moments, isa, features, gradient, adam);
        self.transposed = OnceLock::new();
    }

    /// Gradient of the features, from the gradient of the embeddings.
    pub(super) fn back(&self, gradient: &[f32]) -> Vec<f32> {
        let mut features = vec![0.0; gradient.len() / self.size() * DIM];
        self.transposed.get_or_init(|| self.layer.weights.transposed()).multiply(gradient, &mut features);
        features
    }
}

/// Takes a head, or its gradient or moment, out of tensors whose names have a prefix.
pub(super) fn take(isa: Isa, size: usize, tensors: &mut Tensors, prefix: &str) -> Result<PackedDense> {
    PackedDense::take(isa, size, DIM, tensors, &format!("{prefix}{NAME}"))
}

/// Tensors of a head, or of its gradient or moment, under torchvision's names with a prefix.
pub(super) fn tensors(layer: &PackedDense, prefix: &str) -> Result<Tensors> {
    layer.to_tensors(&format!("{prefix}{NAME}"))
}

/// True for the names of a head's tensors, which are those of the classifier in torchvision's files.
pub(super) fn owns(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|rest| rest == ".weight" || rest == ".bias")
}
