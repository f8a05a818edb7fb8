//! The images that a model takes, and how photographs are brought to their size.

use std::fmt;

/// How a photograph of any shape is resized before the model's square is cut out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resize {
    /// The shorter side to a given length, the shape kept: torchvision's `Resize(256)`.
    Shorter,
    /// Both sides to a given length, whatever the shape: torchvision's `Resize((256, 256))`.
    Square,
    /// Not at all: only photographs of the model's size can be used, and nothing is cut off.
    None,
}

/// How pixels are weighted in resizing, by Pillow's definitions: wider where the image shrinks, so that nothing is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// A triangle over two pixels of the coarser grid.
    Bilinear,
    /// A cubic over four, with a = -1/2.
    Bicubic,
}

/// The images that a model takes and, as far as its makers say so, how photographs become such images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InputSpec {
    /// `(channels, height, width)`.
    pub shape: (usize, usize, usize),
    /// How photographs are resized.
    pub resize: Option<Resize>,
    /// The side before the middle is cut out, in pixels.
    pub edge: Option<usize>,
    /// How pixels are weighted.
    pub filter: Option<Filter>,
}

impl InputSpec {
    /// A model that says nothing of photographs but the shape it takes.
    pub fn of_shape(shape: (usize, usize, usize)) -> Self {
        Self { shape, resize: None, edge: None, filter: None }
    }
}

impl Resize {
    /// All of them, for messages and menus.
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
    /// All of them, for messages and menus.
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
