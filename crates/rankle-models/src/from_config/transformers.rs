//! Vision transformers in `config.json` of transformers.

use super::bounded::{parse, quoted};
use super::preprocessor::Size;
use super::{CONFIG, refuse};
use crate::vit::{Activation, Vit, VitKind};
use rankle_core::Result;
use serde::Deserialize;

/// `config.json` of a model with a vision tower.
#[derive(Deserialize)]
struct Towers {
    #[serde(default)]
    vision_config: Vision,
    projection_dim: Option<usize>,
}

/// Configuration of a vision transformer. What is missing has its default in transformers.
#[derive(Default, Deserialize)]
struct Vision {
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    mlp_ratio: Option<f64>,
    hidden_act: Option<String>,
    image_size: Option<Size>,
    patch_size: Option<Size>,
    projection_dim: Option<usize>,
    num_register_tokens: Option<usize>,
    num_channels: Option<usize>,
    layer_norm_eps: Option<f64>,
    qkv_bias: Option<bool>,
    use_swiglu_ffn: Option<bool>,
    vision_use_head: Option<bool>,
}

/// Defaults of transformers.
const DINOV2: Vit = Vit { trained_side: 224, ..Vit::dinov2(WIDTH, 12, 12) };
const WITH_REGISTERS: Vit = Vit { kind: VitKind::Dinov2 { registers: 4 }, patch: 16, ..DINOV2 };
const CLIP: Vit = Vit::clip(WIDTH, 12, 12, 32, 512);
const SIGLIP: Vit = Vit::siglip(WIDTH, 12, 12, 16, 224);
const WIDTH: usize = 768;
const DENSE_WIDTH: usize = 3072;
const DENSE_RATIO: f64 = 4.0;

/// The vision transformer of a `model_type`, for images of the size of its position embeddings; DINOv2 for 224×224.
pub(super) fn vit(model_type: &str, config: &str) -> Result<Vit> {
    match model_type {
        "dinov2" => parse::<Vision>(CONFIG, config)?.shape(DINOV2),
        "dinov2_with_registers" => parse::<Vision>(CONFIG, config)?.shape(WITH_REGISTERS),
        "clip_vision_model" => parse::<Vision>(CONFIG, config)?.shape(CLIP),
        "siglip_vision_model" => parse::<Vision>(CONFIG, config)?.shape(SIGLIP),
        "clip" => {
            let Towers { vision_config, projection_dim } = parse(CONFIG, config)?;
            Vision { projection_dim, ..vision_config }.shape(CLIP)
        }
        "siglip" => parse::<Towers>(CONFIG, config)?.vision_config.shape(SIGLIP),
        other => {
            let known = "dinov2, dinov2_with_registers, clip, clip_vision_model, siglip and siglip_vision_model";
            refuse(
                CONFIG,
                format!("model_type '{}' is not supported; supported are {known}, and image models of timm", quoted(other)),
            )
        }
    }
}

impl Vision {
    /// The network, from what is given here and from the defaults of its kind.
    fn shape(&self, default: Vit) -> Result<Vit> {
        self.check(default.kind)?;
        let side = |name: &str, size: Option<Size>| match size.map(Size::side) {
            Some(None) => refuse(CONFIG, format!("'{name}' is no square")),
            side => Ok(side.flatten()),
        };
        let dense_width = match default.kind {
            VitKind::Dinov2 { .. } => (self.mlp_ratio.unwrap_or(DENSE_RATIO) * self.hidden_size.unwrap_or(WIDTH) as f64) as usize,
            _ => self.intermediate_size.unwrap_or(DENSE_WIDTH),
        };
        let is_clip = matches!(default.kind, VitKind::Clip { .. });
        let arguments = [
            ("width", self.hidden_size),
            ("depth", self.num_hidden_layers),
            ("heads", self.num_attention_heads),
            ("dense-width", Some(dense_width)),
            ("patch", side("patch_size", self.patch_size)?),
            ("registers", self.num_register_tokens),
            ("embedding-size", self.projection_dim.filter(|_| is_clip)),
            ("pretrained-size", side("image_size", self.image_size)?),
        ];
        let given = arguments.into_iter().filter_map(|(name, number)| Some((name, number?)));
        let vit = given.into_iter().try_fold(default, |vit, (name, number)| {
            let refused = || refuse(CONFIG, format!("a {name} of {number} is not supported{}", vit.arguments()));
            vit.with(name, &number.to_string()).map_or_else(refused, Ok)
        })?;
        let activation = match self.hidden_act.as_deref() {
            None => vit.activation,
            Some("gelu") => Activation::Gelu,
            Some("gelu_pytorch_tanh" | "gelu_new") => Activation::GeluTanh,
            Some("quick_gelu") => Activation::QuickGelu,
            Some(other) => return refuse(CONFIG, format!("hidden_act '{}' is not supported", quoted(other))),
        };
        let side = if let VitKind::Dinov2 { .. } = vit.kind { vit.side } else { vit.trained_side };
        Ok(Vit { activation, side, ..vit })
    }

    /// Refuses what the networks here have not.
    fn check(&self, kind: VitKind) -> Result<()> {
        for (problem, is_so) in [
            ("images have other than 3 channels", self.num_channels.is_some_and(|channels| channels != 3)),
            ("queries, keys and values have no bias", self.qkv_bias == Some(false)),
            ("SwiGLU is not supported", self.use_swiglu_ffn == Some(true)),
            ("another layer_norm_eps is not supported", self.layer_norm_eps.is_some_and(|epsilon| epsilon != kind.epsilon())),
            ("the vision tower has no head", self.vision_use_head == Some(false)),
        ] {
            if is_so {
                return refuse(CONFIG, problem);
            }
        }
        Ok(())
    }
}
