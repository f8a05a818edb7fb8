//! The linear layer behind the network, `fc`, where there is one.

use super::DIM;
use crate::dense::PackedDense;
use crate::weights::Tensors;
use rankle_core::{AdamStep, Result, Seed};
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use std::sync::OnceLock;

/// torchvision's name.
const NAME: &str = "fc";

/// Features to embeddings.
#[derive(Debug)]
pub(super) struct Head {
    pub layer: PackedDense,
    /// Packed for input gradients, made when first asked for: a training step leaves it stale.
    transposed: OnceLock<Panels>,
}

impl Head {
    pub(super) fn new(layer: PackedDense) -> Self {
        Self { layer, transposed: OnceLock::new() }
    }

    /// Random weights; `position` is that of the first of its two parameters.
    pub(super) fn initialize(isa: Isa, size: usize, seed: Seed, position: u64) -> Self {
        Self::new(PackedDense::initialize(isa, size, DIM, seed, position))
    }

    /// Numbers in an embedding.
    pub(super) fn size(&self) -> usize {
        self.layer.bias.len()
    }

    /// `(n, 512)` to `(n, size)`.
    pub(super) fn embed(&self, features: &[f32]) -> Vec<f32> {
        let mut embeddings = vec![0.0; features.len() / DIM * self.size()];
        self.layer.apply(features, &mut embeddings);
        embeddings
    }

    /// One step of Adam, from what went in and the gradient of what came out.
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

    /// The gradient of the features from that of the embeddings.
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

/// A head, or its gradient or moment, under torchvision's names behind a prefix.
pub(super) fn tensors(layer: &PackedDense, prefix: &str) -> Result<Tensors> {
    layer.to_tensors(&format!("{prefix}{NAME}"))
}

/// Whether a tensor of this name belongs to a head, or to the classifier of torchvision's files.
pub(super) fn owns(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|rest| rest == ".weight" || rest == ".bias")
}
