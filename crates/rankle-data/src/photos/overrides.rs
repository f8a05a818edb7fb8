//! How photographs are read and prepared, as far as the name of a dataset says so.

use super::Preparation;
use super::decode::Exif;
use crate::Result;
use crate::options::Part;
use rankle_core::{Filter, Resize};
use std::fmt;

/// What the name of a dataset says of its preparation, as in `sop,resize=square,edge=224`. It counts more than what the model's
/// input says, and that more than what is usual for the dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Overrides {
    /// `resize=shorter`, `square` or `none`: how photographs are resized.
    pub resize: Option<Resize>,
    /// `edge=N`: the side before the cut, in pixels.
    pub edge: Option<usize>,
    /// `filter=bilinear` or `bicubic`: how pixels are weighted.
    pub filter: Option<Filter>,
    /// `exif=rotate` or `ignore`: whether a photograph is turned as its EXIF orientation says.
    pub exif: Option<Exif>,
    /// `skip-broken`: photographs that cannot be decoded are left out of the dataset.
    pub skip_broken: bool,
}

impl Overrides {
    /// The keys of these options.
    pub(crate) const KEYS: [&str; 5] = ["resize", "edge", "filter", "exif", "skip-broken"];

    /// What is said of it in the parts of a name; others are passed over.
    ///
    /// # Errors
    /// [`crate::Error::DatasetOption`] for a value that cannot be, and for options that do not go together.
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

/// As it is written behind the name of a dataset: each part with a comma in front.
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
