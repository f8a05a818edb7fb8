//! Where the targets of plus attacks are drawn from.

use crate::Protocol;
use crate::draw::{check_set, distinct, neighbours};
use crate::kind::find;
use rand::Rng;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Error, Gallery, Result};
use std::{fmt, str::FromStr};

/// The part of an image's own list that the targets of a plus attack are drawn from. Those of minus attacks are always near
/// the top, or they could not sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Band {
    /// All of it, as in the paper: a target may be anywhere, on average in the middle.
    #[default]
    Global,
    /// From 1 % to 5 % of the gallery: targets that are near, but not yet on the first page. They depend on the model.
    Local,
}

impl Band {
    /// Both, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Global, Self::Local];

    /// `set` targets for each image, with replacement under [`Protocol::Paper`], distinct and never the image under
    /// [`Protocol::Strict`]. `purpose` names family and direction.
    ///
    /// # Source
    /// `method.md` 7.1; the band is in integers, so that no rounding moves it.
    pub(crate) fn draw(
        self,
        purpose: Purpose,
        set: usize,
        images: &[usize],
        gallery: &Gallery,
        protocol: Protocol,
        seed: Seed,
    ) -> Result<Vec<Vec<u32>>> {
        let len = gallery.len();
        let rng = |image: usize| seed.stream(purpose, [image as u64, 0]);
        match self {
            Self::Global => anywhere(set, images, len, protocol, rng),
            Self::Local => {
                let (first, end) = (len / 100, len / 20);
                let available = match protocol {
                    Protocol::Paper if first < end => len,
                    _ => end - first,
                };
                check_set(set, available)?;
                let draw = |(list, &image): (Vec<u32>, &usize)| {
                    let (mut rng, band) = (rng(image), &list[first..]);
                    match protocol {
                        Protocol::Paper => (0..set).map(|_| band[rng.random_range(0..band.len() as u32) as usize]).collect(),
                        Protocol::Strict => distinct(&mut rng, band.len(), set).into_iter().map(|at| band[at as usize]).collect(),
                    }
                };
                Ok(neighbours(gallery, images, end)?.into_iter().zip(images).map(draw).collect())
            }
        }
    }
}

fn anywhere<R: Rng>(
    set: usize,
    images: &[usize],
    len: usize,
    protocol: Protocol,
    rng: impl Fn(usize) -> R,
) -> Result<Vec<Vec<u32>>> {
    let available = match protocol {
        Protocol::Paper => len,
        Protocol::Strict => len - 1,
    };
    check_set(set, available)?;
    let draw = |&image: &usize| {
        let mut rng = rng(image);
        match protocol {
            Protocol::Paper => (0..set).map(|_| rng.random_range(0..len as u32)).collect(),
            // The numbers from the image's own upwards stand for the items behind it.
            Protocol::Strict => {
                let skip = |number| number + u32::from(number as usize >= image);
                distinct(&mut rng, available, set).into_iter().map(skip).collect()
            }
        }
    };
    Ok(images.iter().map(draw).collect())
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Local => "local",
        })
    }
}

impl FromStr for Band {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        find("target band", name, &Self::ALL)
    }
}
