//! Shapes of public checkpoints, by name.

use super::{Activation, Vit, VitKind};
use crate::Normalization;

impl Vit {
    /// timm's `vit_small_patch16_224`.
    pub const SMALL: Self = Self::timm(384, 12, 6, 16);

    /// Public checkpoints that have a name of their own, each kind's smallest or best known first.
    pub(crate) const PRESETS: [(&str, Self); 14] = [
        ("dinov2-small", Self::dinov2(384, 12, 6)),
        ("dinov2-base", Self::dinov2(768, 12, 12)),
        ("dinov2-large", Self::dinov2(1024, 24, 16)),
        ("clip-vit-base-patch32", Self::clip(768, 12, 12, 32, 512)),
        ("clip-vit-base-patch16", Self::clip(768, 12, 12, 16, 512)),
        ("clip-vit-large-patch14", Self::clip(1024, 24, 16, 14, 768)),
        ("siglip-base-patch16-224", Self::siglip(768, 12, 12, 16, 224)),
        ("siglip-large-patch16-256", Self::siglip(1024, 24, 16, 16, 256)),
        ("siglip-so400m-patch14-384", Self { dense_width: 4304, ..Self::siglip(1152, 27, 16, 14, 384) }),
        ("vit-small-patch16-224", Self::SMALL),
        ("vit-tiny-patch16-224", Self::timm(192, 12, 3, 16)),
        ("vit-base-patch16-224", Self::timm(768, 12, 12, 16)),
        ("vit-base-patch32-224", Self::timm(768, 12, 12, 32)),
        ("vit-large-patch16-224", Self::timm(1024, 24, 16, 16)),
    ];

    /// Trained at last on 518×518 pixels, used at 224×224.
    pub(crate) const fn dinov2(width: usize, depth: usize, heads: usize) -> Self {
        Self {
            kind: VitKind::Dinov2 { registers: 0 },
            width,
            depth,
            heads,
            dense_width: 4 * width,
            patch: 14,
            trained_side: 518,
            side: 224,
            activation: Activation::Gelu,
            normalization: Normalization::ImageNet,
        }
    }

    pub(crate) const fn clip(width: usize, depth: usize, heads: usize, patch: usize, projection: usize) -> Self {
        Self {
            kind: VitKind::Clip { projection },
            patch,
            trained_side: 224,
            activation: Activation::QuickGelu,
            normalization: Normalization::Clip,
            ..Self::dinov2(width, depth, heads)
        }
    }

    pub(crate) const fn siglip(width: usize, depth: usize, heads: usize, patch: usize, side: usize) -> Self {
        Self {
            kind: VitKind::Siglip,
            patch,
            trained_side: side,
            side,
            activation: Activation::GeluTanh,
            normalization: Normalization::Half,
            ..Self::dinov2(width, depth, heads)
        }
    }

    /// Normalized as the checkpoints of "How to train your ViT?", which timm takes by default.
    pub(crate) const fn timm(width: usize, depth: usize, heads: usize, patch: usize) -> Self {
        Self {
            kind: VitKind::Timm,
            patch,
            trained_side: 224,
            normalization: Normalization::Half,
            ..Self::dinov2(width, depth, heads)
        }
    }
}
