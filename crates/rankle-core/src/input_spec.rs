//! Input shape of a model, and the resizing of photographs to it.

use std::fmt;

/// Resizing of a photograph before the model's input is cropped from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resize {
    /// Scales the shorter side to a given length and keeps the aspect ratio: torchvision's `Resize(256)`.
    Shorter,
    /// Scales both sides to a given length and ignores the aspect ratio: torchvision's `Resize((256, 256))`.
    Square,
    /// No resizing and no cropping: photographs must have the model's size.
    None,
}

/// Interpolation filter of the resizing, as Pillow defines it: widened where the image shrinks, so that no pixel is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// A triangle, two pixels of the coarser grid wide.
    Bilinear,
    /// A cubic with a = -1/2, four pixels of the coarser grid wide.
    Bicubic,
}

/// Input shape of a model and the preparation of photographs, as far as the model's authors specify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InputSpec {
    /// `(channels, height, width)`.
    pub shape: (usize, usize, usize),
    /// Resizing of photographs; `None` if not specified.
    pub resize: Option<Resize>,
    /// Side after resizing and before the center crop, in pixels; `None` if not specified.
    pub edge: Option<usize>,
    /// Interpolation filter; `None` if not specified.
    pub filter: Option<Filter>,
}

impl InputSpec {
    /// An input shape without a preparation of photographs.
    pub fn of_shape(shape: (usize, usize, usize)) -> Self {
        Self { shape, resize: None, edge: None, filter: None }
    }
}

impl Resize {
    /// Every resizing, for messages and menus.
    pub const ALL: [Self; 3] = [Self::Shorter, Self::Square, Self::None];

    /// The name on the command line and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shorter => "shorter",
            Self::Square => "square",
            Self::None => "none",
        }
    }
}

impl Filter {
    /// Every filter, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Bilinear, Self::Bicubic];

    /// The name on the command line and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
        }
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
