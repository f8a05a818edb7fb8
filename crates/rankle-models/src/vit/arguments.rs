//! Names of vision transformers: a checkpoint's, or the kind's and the shape, and arguments.

use super::names::DEEPEST;
use super::{Activation, Vit, VitKind};
use rankle_core::{Error, Result};
use std::fmt;
use std::ops::RangeInclusive;

/// An argument that is a number.
struct Argument {
    name: &'static str,
    numbers: RangeInclusive<usize>,
    /// True if the name of a checkpoint stands for it.
    is_shape: bool,
    /// The field; `None` for a kind without it.
    field: fn(&mut Vit) -> Option<&mut usize>,
}

/// Largest side of an image in pixels.
const LONGEST: usize = 1024;

const ARGUMENTS: [Argument; 9] = [
    Argument { name: "width", numbers: 4..=4096, is_shape: true, field: |vit| Some(&mut vit.width) },
    Argument { name: "depth", numbers: 1..=DEEPEST, is_shape: true, field: |vit| Some(&mut vit.depth) },
    Argument { name: "heads", numbers: 1..=64, is_shape: true, field: |vit| Some(&mut vit.heads) },
    Argument { name: DENSE_WIDTH, numbers: 4..=16384, is_shape: true, field: |vit| Some(&mut vit.dense_width) },
    Argument { name: "patch", numbers: 4..=64, is_shape: true, field: |vit| Some(&mut vit.patch) },
    Argument {
        name: "registers",
        numbers: 0..=64,
        is_shape: false,
        field: |vit| if let VitKind::Dinov2 { registers } = &mut vit.kind { Some(registers) } else { None },
    },
    Argument {
        name: "embedding-size",
        numbers: 1..=4096,
        is_shape: false,
        field: |vit| if let VitKind::Clip { projection } = &mut vit.kind { Some(projection) } else { None },
    },
    Argument { name: "pretrained-size", numbers: 4..=LONGEST, is_shape: false, field: |vit| Some(&mut vit.trained_side) },
    Argument { name: "size", numbers: 4..=LONGEST, is_shape: false, field: |vit| Some(&mut vit.side) },
];

/// Features between the dense layers; by default four times the width.
const DENSE_WIDTH: &str = "dense-width";

impl Argument {
    fn of(&self, vit: &Vit) -> Option<usize> {
        (self.field)(&mut vit.clone()).copied()
    }
}

impl Activation {
    const ALL: [Self; 3] = [Self::Gelu, Self::GeluTanh, Self::QuickGelu];

    fn as_str(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
            Self::QuickGelu => "quick-gelu",
        }
    }
}

impl VitKind {
    /// Name of all networks of this kind.
    fn family(self) -> &'static str {
        match self {
            Self::Dinov2 { .. } => "dinov2",
            Self::Clip { .. } => "clip-vit",
            Self::Siglip => "siglip",
            Self::Timm => "vit",
        }
    }
}

impl Vit {
    /// The first checkpoint of a kind, by the name of the kind, for a shape in arguments.
    pub(crate) fn of_family(name: &str) -> Option<Self> {
        Self::PRESETS.into_iter().map(|(_, vit)| vit).find(|vit| vit.kind.family() == name)
    }

    /// Adds an argument; `None` if there is no such argument, or not of this value.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Option<Self> {
        match key {
            "activation" => self.activation = Activation::ALL.into_iter().find(|known| known.as_str() == value)?,
            "normalization" => self.normalization = value.parse().ok()?,
            _ => {
                let argument = ARGUMENTS.iter().find(|argument| argument.name == key)?;
                let number = value.parse().ok().filter(|number| argument.numbers.contains(number))?;
                let follows = key == "width" && self.dense_width == 4 * self.width;
                *(argument.field)(&mut self)? = number;
                if follows {
                    self.dense_width = 4 * number;
                }
            }
        }
        Some(self)
    }

    /// Arguments that [`Vit::with`] takes, as the end of an error message.
    pub(crate) fn arguments(&self) -> String {
        let numbers = ARGUMENTS.iter().filter(|argument| argument.of(self).is_some()).map(|argument| {
            let (least, most) = (argument.numbers.start(), argument.numbers.end());
            format!("{}=N, of {least} to {most}", argument.name)
        });
        let numbers = numbers.collect::<Vec<_>>().join(", ");
        format!("; it takes {numbers}, activation=gelu, gelu-tanh or quick-gelu, and normalization=imagenet, clip or half")
    }

    /// Checks arguments that depend on each other.
    ///
    /// # Errors
    /// [`Error::Refused`] for heads that do not divide the width, and for patches larger than the images.
    pub(crate) fn checked(self) -> Result<Self> {
        let Self { width, heads, patch, side, trained_side, .. } = self;
        let problem = if !width.is_multiple_of(heads) {
            format!("a width of {width} is no multiple of {heads} heads")
        } else if patch > side.min(trained_side) {
            format!("images of {} pixels are smaller than a patch of {patch}", side.min(trained_side))
        } else {
            return Ok(self);
        };
        Err(Error::Refused(format!("model '{self}': {problem}")))
    }

    /// True if the name of `other`, a checkpoint, stands for the shape of this network.
    fn is_shaped_as(&self, other: &Self) -> bool {
        let of = |vit| ARGUMENTS.iter().filter(|argument| argument.is_shape).map(move |argument| argument.of(vit));
        self.kind.family() == other.kind.family() && of(self).eq(of(other))
    }
}

impl fmt::Display for Vit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let preset = Self::PRESETS.into_iter().find(|(_, vit)| self.is_shaped_as(vit));
        let family = self.kind.family();
        let (name, base) = preset.or_else(|| Some((family, Self::of_family(family)?))).unwrap_or((family, *self));
        f.write_str(name)?;
        for argument in &ARGUMENTS {
            let Some(value) = argument.of(self) else { continue };
            let is_written = match (argument.name, preset) {
                (DENSE_WIDTH, None) => value != 4 * self.width,
                (_, None) if argument.is_shape => true,
                _ => argument.of(&base) != Some(value),
            };
            if is_written {
                write!(f, ",{}={value}", argument.name)?;
            }
        }
        if self.activation != base.activation {
            write!(f, ",activation={}", self.activation.as_str())?;
        }
        if self.normalization != base.normalization {
            write!(f, ",normalization={}", self.normalization)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture;

    fn parsed(name: &str) -> Result<Architecture> {
        name.parse()
    }

    #[test]
    fn names_go_both_ways() {
        for (name, vit) in Vit::PRESETS {
            assert_eq!(vit.to_string(), name);
        }
        for name in [
            "dinov2-base,registers=4,size=518",
            "dinov2,width=48,depth=2,heads=3,patch=14,pretrained-size=70,size=56",
            "clip-vit-large-patch14,pretrained-size=336,size=336",
            "clip-vit,width=48,depth=2,heads=3,patch=16,embedding-size=32,activation=gelu",
            "siglip-base-patch16-224,activation=gelu,normalization=imagenet",
            "siglip,width=64,depth=3,heads=2,dense-width=100,patch=8",
            "vit-base-patch16-224,normalization=imagenet",
        ] {
            assert_eq!(parsed(name).unwrap().to_string(), name);
        }
    }

    #[test]
    #[rustfmt::skip] // keeps the columns aligned
    fn other_spellings_are_understood() {
        for (spelled, name) in [
            ("vit_small_patch16_224.augreg_in21k", "vit-small-patch16-224"),
            ("clip-vit-base-patch32,size=224",     "clip-vit-base-patch32"),
            ("dinov2",                             "dinov2-small"),
            ("dinov2,width=768,heads=12",          "dinov2-base"),
            ("vit,dense-width=100,width=64,heads=2", "vit,width=64,depth=12,heads=2,dense-width=100,patch=16"),
            ("vit,width=64,dense-width=100,heads=2", "vit,width=64,depth=12,heads=2,dense-width=100,patch=16"),
        ] {
            assert_eq!(parsed(spelled).unwrap().to_string(), name, "{spelled}");
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_named() {
        let says = |name: &str| parsed(name).unwrap_err().to_string();
        let takes = says("dinov2-small,size=2000");
        assert!(
            takes.starts_with("model 'dinov2-small' takes no 'size=2000'; it takes width=N, of 4 to 4096, depth="),
            "{takes}"
        );
        assert!(takes.contains("registers=N") && !takes.contains("embedding-size"), "{takes}");
        for (name, argument) in [
            ("clip-vit-base-patch32,registers=4", "registers=4"),
            ("siglip-base-patch16-224,embedding-size=9", "embedding-size=9"),
            ("vit-tiny-patch16-224,normalization=mine", "normalization=mine"),
            ("vit-tiny-patch16-224,depth=41", "depth=41"),
            ("vit-tiny-patch16-224,depth", "depth"),
        ] {
            assert!(says(name).contains(&format!("takes no '{argument}'; ")), "{}", says(name));
        }
        assert!(says("vit-tiny-patch16-224,heads=5").ends_with(": a width of 192 is no multiple of 5 heads"));
        assert!(says("clip-vit-base-patch32,size=31").ends_with(": images of 31 pixels are smaller than a patch of 32"));
    }
}
