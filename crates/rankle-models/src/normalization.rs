//! Normalizations of pixels, by name.

use rankle_core::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Means and standard deviations that normalize the color channels before the first layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Normalization {
    /// Statistics of ImageNet: torchvision, most of timm, DINOv2.
    ImageNet,
    /// Statistics of CLIP's training images.
    Clip,
    /// 1/2 and 1/2, from [0, 1] to [-1, 1]: SigLIP, some of timm's vision transformers.
    Half,
}

/// Largest accepted difference of a mean or standard deviation, which files round differently.
const TOLERANCE: f64 = 1e-4;

impl Normalization {
    /// Every normalization.
    pub const ALL: [Self; 3] = [Self::ImageNet, Self::Clip, Self::Half];

    /// The name in arguments of architectures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageNet => "imagenet",
            Self::Clip => "clip",
            Self::Half => "half",
        }
    }

    /// Mean of each channel.
    pub fn mean(self) -> [f32; 3] {
        match self {
            Self::ImageNet => [0.485, 0.456, 0.406],
            Self::Clip => [0.481_454_66, 0.457_827_5, 0.408_210_73],
            Self::Half => [0.5; 3],
        }
    }

    /// Standard deviation of each channel.
    pub fn std(self) -> [f32; 3] {
        match self {
            Self::ImageNet => [0.229, 0.224, 0.225],
            Self::Clip => [0.268_629_54, 0.261_302_6, 0.275_777_1],
            Self::Half => [0.5; 3],
        }
    }

    /// The normalization with these statistics; `None` if no name stands for them.
    pub fn of(mean: &[f64], std: &[f64]) -> Option<Self> {
        let equal = |ours: [f32; 3], theirs: &[f64]| {
            theirs.len() == 3 && ours.iter().zip(theirs).all(|(ours, theirs)| (f64::from(*ours) - theirs).abs() <= TOLERANCE)
        };
        Self::ALL.into_iter().find(|known| equal(known.mean(), mean) && equal(known.std(), std))
    }
}

impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Normalization {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| Error::Unknown {
            what: "normalization",
            name: name.into(),
            known: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}
