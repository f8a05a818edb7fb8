//! Parameter names of the four kinds of vision transformers.

use super::VitKind;
use crate::numbered::numbered;

/// Parameter names of a kind, as in its files of weights. Names of parts of a block come after the name of the block.
pub(super) struct Names {
    /// Convolution that embeds the patches.
    pub(super) patches: &'static str,
    pub(super) class_token: Option<&'static str>,
    /// Position embeddings, that of the class token first.
    pub(super) positions: &'static str,
    /// True if tokens and position embeddings have leading dimensions of size 1.
    pub(super) padded: bool,
    /// Layer normalization in front of the blocks.
    pub(super) before: Option<&'static str>,
    pub(super) blocks: &'static [&'static str],
    /// Layer normalizations in front of the attention and of the dense layers.
    pub(super) norms: [&'static str; 2],
    pub(super) projection: Projection,
    /// Dense layer after the attention.
    pub(super) output: &'static str,
    /// Layer scales after the attention and after the dense layers.
    pub(super) scales: [Option<&'static str>; 2],
    /// Layer normalization after the blocks.
    pub(super) after: &'static str,
    /// Beginnings of the names of tensors that have no part in the embedding of images.
    pub(super) ignored: &'static [&'static str],
}

/// Dense layers in front of the attention.
pub(super) enum Projection {
    /// One, whose outputs are queries, keys and values.
    Fused(&'static str),
    /// One each for queries, keys and values.
    Separate([&'static str; 3]),
}

/// Name of the register tokens of DINOv2.
pub(super) const REGISTERS: &str = "embeddings.register_tokens";
/// Name of the dense layer after CLIP's vision tower, which has no bias.
pub(super) const VISUAL_PROJECTION: &str = "visual_projection";

/// Names of all blocks, of which a network has the first ones.
macro_rules! blocks {
    ($prefix:literal) => {
        numbered!($prefix, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39)
    };
}

/// Largest number of blocks.
pub(super) const DEEPEST: usize = DINOV2.blocks.len();

const DINOV2: Names = Names {
    patches: "embeddings.patch_embeddings.projection",
    class_token: Some("embeddings.cls_token"),
    positions: "embeddings.position_embeddings",
    padded: true,
    before: None,
    blocks: blocks!("encoder.layer."),
    norms: ["norm1", "norm2"],
    projection: Projection::Separate(["attention.attention.query", "attention.attention.key", "attention.attention.value"]),
    output: "attention.output.dense",
    scales: [Some("layer_scale1.lambda1"), Some("layer_scale2.lambda1")],
    after: "layernorm",
    ignored: &["embeddings.mask_token"],
};

const SIGLIP: Names = Names {
    patches: "vision_model.embeddings.patch_embedding",
    class_token: None,
    positions: "vision_model.embeddings.position_embedding.weight",
    padded: false,
    before: None,
    blocks: blocks!("vision_model.encoder.layers."),
    norms: ["layer_norm1", "layer_norm2"],
    projection: Projection::Separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    output: "self_attn.out_proj",
    scales: [None, None],
    after: "vision_model.post_layernorm",
    ignored: &["text_model.", "text_projection.", "logit_", "vision_model.embeddings.position_ids"],
};

const CLIP: Names = Names {
    class_token: Some("vision_model.embeddings.class_embedding"),
    before: Some("vision_model.pre_layrnorm"), // spelled so
    ..SIGLIP
};

const TIMM: Names = Names {
    patches: "patch_embed.proj",
    class_token: Some("cls_token"),
    positions: "pos_embed",
    padded: true,
    before: None,
    blocks: blocks!("blocks."),
    norms: ["norm1", "norm2"],
    projection: Projection::Fused("attn.qkv"),
    output: "attn.proj",
    scales: [None, None],
    after: "norm",
    ignored: &["head."],
};

impl VitKind {
    pub(super) fn names(self) -> &'static Names {
        match self {
            Self::Dinov2 { .. } => &DINOV2,
            Self::Clip { .. } => &CLIP,
            Self::Siglip => &SIGLIP,
            Self::Timm => &TIMM,
        }
    }
}
