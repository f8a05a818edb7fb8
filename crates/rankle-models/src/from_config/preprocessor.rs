//! Preparation of photographs in `preprocessor_config.json` of transformers.

use super::{PREPROCESSOR, input, normalization, refuse};
use crate::Normalization;
use rankle_core::{Filter, InputSpec, Resize, Result};
use serde::Deserialize;

/// The fields of `preprocessor_config.json` that are understood.
#[derive(Deserialize)]
pub(super) struct Preprocessor {
    do_resize: Option<bool>,
    size: Option<Size>,
    do_center_crop: Option<bool>,
    crop_size: Option<Size>,
    /// Number of Pillow's filter.
    resample: Option<u32>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<Vec<f64>>,
    image_std: Option<Vec<f64>>,
}

/// A size in one of its spellings.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(super) enum Size {
    One(usize),
    Two([usize; 2]),
    Named { height: usize, width: usize },
    Shortest { shortest_edge: usize },
}

impl Size {
    /// The side of a square; `None` for another shape.
    pub(super) fn side(self) -> Option<usize> {
        match self {
            Self::One(side) => Some(side),
            Self::Two([height, width]) | Self::Named { height, width } => (height == width).then_some(height),
            Self::Shortest { .. } => None,
        }
    }
}

/// Largest accepted side of a photograph before the center crop, in pixels.
const LONGEST: usize = 1 << 14;

impl Preprocessor {
    /// The images that the preparation ends with, and their normalization.
    pub(super) fn input(&self) -> Result<(InputSpec, Normalization)> {
        let rescales = (self.rescale_factor.unwrap_or(1.0 / 255.0) * 255.0 - 1.0).abs() < 1e-4;
        if self.do_rescale == Some(false) || !rescales {
            return refuse(PREPROCESSOR, "pixels are not divided by 255");
        }
        if self.do_normalize == Some(false) {
            return refuse(PREPROCESSOR, "pixels are not normalized");
        }
        let (Some(mean), Some(std)) = (&self.image_mean, &self.image_std) else {
            return refuse(PREPROCESSOR, "'image_mean' or 'image_std' is missing");
        };
        let filter = match self.resample {
            Some(2) => Filter::Bilinear,
            Some(3) | None => Filter::Bicubic,
            Some(other) => return refuse(PREPROCESSOR, format!("resample {other} is neither 2, bilinear, nor 3, bicubic")),
        };
        Ok((self.sizes(filter)?, normalization(PREPROCESSOR, mean, std)?))
    }

    fn sizes(&self, filter: Filter) -> Result<InputSpec> {
        let crop = match (self.do_center_crop, self.crop_size) {
            (Some(false), _) | (None, None) => None,
            (_, crop) => Some(crop.and_then(Size::side)),
        };
        let squeezed = match self.size {
            Some(size @ (Size::Two(_) | Size::Named { .. })) => size.side(),
            _ => None,
        };
        let (resize, edge, side) = match (self.size, squeezed, crop) {
            (Some(Size::Shortest { shortest_edge: edge } | Size::One(edge)), _, Some(Some(side))) => {
                (Resize::Shorter, edge, side)
            }
            (_, Some(edge), Some(Some(side))) => (Resize::Square, edge, side),
            (_, Some(side), None) => (Resize::Square, side, side),
            _ => return refuse(PREPROCESSOR, "'size' and 'crop_size' make no images of one square size"),
        };
        if self.do_resize == Some(false) {
            return refuse(PREPROCESSOR, "photographs are not resized");
        }
        if !(1..=LONGEST).contains(&side) || !(side..=LONGEST).contains(&edge) {
            return refuse(PREPROCESSOR, format!("images of {side} pixels from photographs of {edge} are not supported"));
        }
        Ok(input(side, resize, edge, filter))
    }
}
