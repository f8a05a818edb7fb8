//! Options in the name of a dataset that change how photographs are read and prepared.

use super::Preparation;
use super::decode::Exif;
use crate::Result;
use crate::options::Part;
use rankle_core::{Filter, Resize};
use std::fmt;

/// Options of the preparation in the name of a dataset, as in `sop,resize=square,edge=224`. They have precedence over the model's
/// input, which has precedence over the defaults of the dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Overrides {
    /// `resize=shorter`, `square` or `none`: the resize of photographs.
    pub resize: Option<Resize>,
    /// `edge=N`: the side before the crop, in pixels.
    pub edge: Option<usize>,
    /// `filter=bilinear` or `bicubic`: the interpolation.
    pub filter: Option<Filter>,
    /// `exif=rotate` or `ignore`: the treatment of the EXIF orientation.
    pub exif: Option<Exif>,
    /// True for `skip-broken`: photographs that cannot be decoded are left out of the dataset.
    pub skip_broken: bool,
}

impl Overrides {
    /// The keys of these options.
    pub(crate) const KEYS: [&str; 5] = ["resize", "edge", "filter", "exif", "skip-broken"];

    /// Reads these options from the options of a name; others are ignored.
    ///
    /// # Errors
    /// [`crate::Error::DatasetOption`] for an invalid value, and for options that exclude each other.
    pub(crate) fn parse(parts: &[Part<'_>]) -> Result<Self> {
        let mut said = Self::default();
        for part in parts {
            match part.key {
                "resize" => said.resize = Some(part.one_of(&Resize::ALL, Resize::as_str)?),
                "edge" => said.edge = Some(edge(part)?),
                "filter" => said.filter = Some(part.one_of(&Filter::ALL, Filter::as_str)?),
                "exif" => said.exif = Some(part.one_of(&Exif::ALL, Exif::as_str)?),
                "skip-broken" => said.skip_broken = part.alone()?,
                _ => {}
            }
        }
        match parts.iter().find(|part| ["edge", "filter"].contains(&part.key)) {
            Some(part) if said.resize == Some(Resize::None) => {
                part.refuse("resize=none resizes nothing, leave out one of the two")
            }
            _ => Ok(said),
        }
    }
}

fn edge(part: &Part<'_>) -> Result<usize> {
    match part.value.parse() {
        Ok(edge @ 1..=Preparation::LARGEST_EDGE) => Ok(edge),
        _ => part.refuse(format!("write edge=N, of 1 to {} pixels", Preparation::LARGEST_EDGE)),
    }
}

/// Writes the options as they follow the name of a dataset: each with a comma in front.
impl fmt::Display for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resize, edge, filter, exif, skip_broken } = self;
        resize.map_or(Ok(()), |resize| write!(f, ",resize={resize}"))?;
        edge.map_or(Ok(()), |edge| write!(f, ",edge={edge}"))?;
        filter.map_or(Ok(()), |filter| write!(f, ",filter={filter}"))?;
        exif.map_or(Ok(()), |exif| write!(f, ",exif={exif}"))?;
        f.write_str(if *skip_broken { ",skip-broken" } else { "" })
    }
}
