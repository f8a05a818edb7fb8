//! Networks in `config.json` of timm.

use super::bounded::{parse, quoted};
use super::{CONFIG, input, normalization, refuse};
use crate::{Architecture, Normalization, Vit, VitKind};
use rankle_core::{Filter, InputSpec, Resize, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// `config.json`; older files have the preparation of photographs beside the name of the network.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    model_args: BTreeMap<String, IgnoredAny>,
    global_pool: Option<String>,
    pretrained_cfg: Option<Preparation>,
}

/// Preparation of photographs. What is missing has its default in timm.
#[derive(Deserialize)]
struct Preparation {
    input_size: Option<[usize; 3]>,
    crop_pct: Option<f64>,
    crop_mode: Option<String>,
    interpolation: Option<String>,
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
}

/// timm's default of `crop_pct`.
const CROP: f64 = 0.875;
/// Smallest accepted share of a photograph.
const LEAST: f64 = 0.1;

/// The architecture `name`, and the preparation of photographs.
pub(super) fn architecture(name: &str, config: &str) -> Result<(Architecture, InputSpec)> {
    let Config { model_args, global_pool, pretrained_cfg } = parse(CONFIG, config)?;
    if let Some(argument) = model_args.keys().next() {
        return refuse(CONFIG, format!("the argument '{}' of {} is not supported", quoted(argument), quoted(name)));
    }
    let preparation = match pretrained_cfg {
        Some(preparation) => preparation,
        None => parse(CONFIG, config)?,
    };
    let Some(architecture) = named(name) else {
        let known = "resnet18, resnet50, mobilenetv2_100, convnext_atto, convnext_tiny and vit_SCALE_patchN_SIDE";
        return refuse(CONFIG, format!("architecture '{}' is not supported; supported are {known}", quoted(name)));
    };
    let pool = if let Architecture::Vit(_) = architecture { "token" } else { "avg" };
    if let Some(other) = global_pool.filter(|other| other != pool) {
        return refuse(CONFIG, format!("global_pool '{}' is not supported; {} has '{pool}' here", quoted(other), quoted(name)));
    }
    preparation.apply(architecture)
}

/// A network of this crate by its name in timm.
fn named(name: &str) -> Option<Architecture> {
    match name {
        "resnet18" => Some(Architecture::RESNET18),
        "resnet50" => Some(Architecture::RESNET50),
        "mobilenetv2_100" => Some(Architecture::MOBILENETV2_100),
        "convnext_atto" => Some(Architecture::CONVNEXT_ATTO),
        "convnext_tiny" => Some(Architecture::CONVNEXT_TINY),
        _ => {
            let (shape, side) = name.rsplit_once('_')?;
            let preset = format!("{}-224", shape.replace('_', "-"));
            let (_, vit) = Vit::PRESETS.into_iter().find(|(name, vit)| *name == preset && vit.kind == VitKind::Timm)?;
            vit.with("pretrained-size", side).map(Architecture::Vit)
        }
    }
}

impl Preparation {
    /// The architecture for images of this size and normalization, and the preparation.
    fn apply(&self, architecture: Architecture) -> Result<(Architecture, InputSpec)> {
        let side = match self.input_size {
            Some([3, height, width]) if height == width => height,
            None => match architecture {
                Architecture::Vit(vit) => vit.trained_side,
                other => other.input().1,
            },
            Some(size) => return refuse(CONFIG, format!("images of shape {size:?} are not square and of three colors")),
        };
        let imagenet = Normalization::ImageNet;
        let normalized = match (&self.mean, &self.std) {
            (Some(mean), Some(std)) => normalization(CONFIG, mean, std)?,
            _ => imagenet,
        };
        let sized = architecture.with(&format!("size={side}")).or_else(|error| refuse(CONFIG, error))?;
        let architecture = match sized {
            Architecture::Vit(vit) => Architecture::Vit(Vit { normalization: normalized, ..vit }.checked()?),
            other if normalized == imagenet => other,
            other => return refuse(CONFIG, format!("{other} is normalized by '{imagenet}' here, not by '{normalized}'")),
        };
        let crop = self.crop_pct.unwrap_or(CROP);
        if !(LEAST..=1.0).contains(&crop) {
            return refuse(CONFIG, format!("a crop_pct of {crop} is not supported"));
        }
        let resize = match self.crop_mode.as_deref() {
            None | Some("center") => Resize::Shorter,
            Some("squash") => Resize::Square,
            Some(other) => return refuse(CONFIG, format!("crop_mode '{}' is not supported", quoted(other))),
        };
        let filter = match self.interpolation.as_deref() {
            Some("bilinear") => Filter::Bilinear,
            None | Some("bicubic") => Filter::Bicubic,
            Some(other) => return refuse(CONFIG, format!("interpolation '{}' is not supported", quoted(other))),
        };
        Ok((architecture, input(side, resize, (side as f64 / crop).floor() as usize, filter)))
    }
}
