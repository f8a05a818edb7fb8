//! Vision transformers of four kinds: DINOv2, CLIP's and SigLIP's vision towers, timm's ViT.
//!
//! | | DINOv2 | CLIP | SigLIP | timm |
//! |---|---|---|---|---|
//! | tokens besides the patches | class, registers | class | | class |
//! | layer norm in front of the blocks | | yes | | |
//! | queries, keys and values | three layers | three layers | three layers | one layer |
//! | layer scale | yes | | | |
//! | activation | GELU | `x·σ(1.702x)` | GELU by tanh | GELU |
//! | ε of layer norms | 1e-6 | 1e-5 | 1e-6 | 1e-6 |
//! | embedding | class token | class token, projected | attention pooling | class token |
//! | in PyTorch | `pooler_output` | `image_embeds` | `pooler_output` | `num_classes=0` |
//!
//! A block is layer norm, self-attention, plus its input; layer norm, two dense layers, plus their input. Another layer norm
//! follows the last block. For images of another size than that of the weights, the position embeddings are interpolated as
//! transformers and timm do it.
//!
//! # Source
//! Dosovitskiy et al., ICLR 2021, arXiv:2010.11929; Oquab et al., TMLR 2024, arXiv:2304.07193 (DINOv2); Darcet et al., ICLR 2024,
//! arXiv:2309.16588 (registers); Radford et al., ICML 2021, arXiv:2103.00020 (CLIP); Zhai et al., ICCV 2023, arXiv:2303.15343
//! (SigLIP).

mod arguments;
mod attention_pooling;
mod block;
mod names;
mod presets;
mod tokens;

use crate::Normalization;
use crate::expression::{Expression, Parameter, Pass};
use candle_core::{Result, Tensor};
use names::VISUAL_PROJECTION;
use rankle_core::{Filter, InputSpec, Resize};
use rankle_ops::normalize_pixels;

/// A vision transformer for square color images, by its kind and shape. Parsed from a name, as an
/// [`Architecture`](crate::Architecture): a checkpoint's, `dinov2-small`, or the kind's and the shape,
/// `dinov2,width=48,depth=2,heads=3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vit {
    pub(crate) kind: VitKind,
    /// Features of a token.
    pub(crate) width: usize,
    /// Number of blocks.
    pub(crate) depth: usize,
    /// Heads of the attention.
    pub(crate) heads: usize,
    /// Features between the dense layers of a block.
    pub(crate) dense_width: usize,
    /// Side of a patch in pixels.
    pub(crate) patch: usize,
    /// Side of the images whose patches have a position embedding in the weights, in pixels.
    pub(crate) trained_side: usize,
    /// Side of the images in pixels.
    pub(crate) side: usize,
    pub(crate) activation: Activation,
    pub(crate) normalization: Normalization,
}

/// Kind of a vision transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VitKind {
    /// `Dinov2Model` of transformers, and `Dinov2WithRegistersModel`.
    Dinov2 {
        /// Number of register tokens.
        registers: usize,
    },
    /// The vision tower of `CLIPModel` of transformers, with its projection.
    Clip {
        /// Dimension of the embeddings.
        projection: usize,
    },
    /// The vision tower of `SiglipModel` of transformers.
    Siglip,
    /// `VisionTransformer` of timm.
    Timm,
}

/// Activation between the dense layers of a vision transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x * Φ(x)`.
    Gelu,
    /// GELU by its approximation with tanh.
    GeluTanh,
    /// `x * sigmoid(1.702 * x)`.
    QuickGelu,
}

impl VitKind {
    /// ε of every layer normalization.
    pub(crate) fn epsilon(self) -> f64 {
        if let Self::Clip { .. } = self { 1e-5 } else { 1e-6 }
    }

    fn has_patch_bias(self) -> bool {
        !matches!(self, Self::Clip { .. })
    }

    /// Whether interpolated position embeddings are antialiased where the grid shrinks.
    fn antialiases_positions(self) -> bool {
        matches!(self, Self::Timm | Self::Dinov2 { registers: 1.. })
    }
}

impl Vit {
    /// Preparation of photographs in the processors of the public checkpoints: SigLIP squeezes photographs to a square, the
    /// others show the middle.
    fn recommended(&self) -> (Resize, usize) {
        match self.kind {
            VitKind::Dinov2 { .. } => (Resize::Shorter, self.side * 8 / 7),
            VitKind::Clip { .. } => (Resize::Shorter, self.side),
            VitKind::Siglip => (Resize::Square, self.side),
            VitKind::Timm => (Resize::Shorter, self.side * 10 / 9), // timm rounds down
        }
    }

    fn blocks(&self) -> &'static [&'static str] {
        &self.kind.names().blocks[..self.depth]
    }
}

impl Expression for Vit {
    fn input(&self) -> InputSpec {
        let (resize, edge) = self.recommended();
        let filter = Some(Filter::Bicubic);
        InputSpec { shape: (3, self.side, self.side), resize: Some(resize), edge: Some(edge), filter }
    }

    fn embedding_size(&self) -> usize {
        if let VitKind::Clip { projection } = self.kind { projection } else { self.width }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let (names, width) = (self.kind.names(), self.width);
        let mut parameters = self.token_parameters();
        parameters.extend(names.before.into_iter().flat_map(|name| Parameter::layer(name, [width])));
        parameters.extend(self.blocks().iter().flat_map(|name| self.block_parameters(name)));
        parameters.extend(Parameter::layer(names.after, [width]));
        match self.kind {
            VitKind::Clip { projection } => {
                parameters.push(Parameter::trained(format!("{VISUAL_PROJECTION}.weight"), [projection, width]));
            }
            VitKind::Siglip => parameters.extend(self.pooling_parameters()),
            VitKind::Dinov2 { .. } | VitKind::Timm => {}
        }
        parameters
    }

    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> Result<Tensor> {
        let (names, epsilon) = (self.kind.names(), self.kind.epsilon());
        let images = normalize_pixels(images, &self.normalization.mean(), &self.normalization.std())?;
        let mut x = self.tokens(pass, &images)?;
        if let Some(name) = names.before {
            x = pass.layer_norm(name, &x, epsilon)?;
        }
        let x = self.blocks().iter().try_fold(x, |x, name| self.block(pass, name, &x))?;
        let class_token = || pass.layer_norm(names.after, &x.narrow(1, 0, 1)?.squeeze(1)?, epsilon);
        match self.kind {
            VitKind::Siglip => self.attention_pooling(pass, &pass.layer_norm(names.after, &x, epsilon)?),
            VitKind::Clip { .. } => pass.linear(VISUAL_PROJECTION, &class_token()?),
            VitKind::Dinov2 { .. } | VitKind::Timm => class_token(),
        }
    }

    fn ignores(&self, name: &str) -> bool {
        self.kind.names().ignored.iter().any(|beginning| name.starts_with(beginning))
    }

    fn stages(&self) -> &'static [&'static str] {
        self.blocks()
    }

    /// That of the originals' initialization, without its truncation.
    fn deviation(&self, _: &[usize]) -> f64 {
        0.02
    }
}
