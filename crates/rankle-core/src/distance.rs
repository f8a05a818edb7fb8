//! The distances that define a ranking.

use crate::{Embeddings, Error, Place, Result};
use candle_core::Tensor;
use rankle_kernels::distance::Metric;
use std::{fmt, str::FromStr};

/// Distance of two embeddings, which defines a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distance {
    /// `1 - a·b` of unit vectors, in `[0, 2]`.
    Cosine,
    /// `‖a - b‖` of raw embeddings, in embedding units (not squared).
    Euclidean,
}

impl Distance {
    /// Every distance, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Cosine, Self::Euclidean];

    /// Maps raw embeddings `(n, d)` into the space of this distance, by [`Place::Kernels`].
    ///
    /// # Errors
    /// As [`Place::normalize`].
    pub fn normalize(self, raw: &Tensor) -> Result<Embeddings> {
        Place::Kernels.normalize(self, raw)
    }

    pub(crate) fn metric(self) -> Metric {
        match self {
            Self::Cosine => Metric::Cosine,
            Self::Euclidean => Metric::Euclidean,
        }
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Euclidean => "euclidean",
        })
    }
}

impl FromStr for Distance {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        let unknown = |known| Error::Unknown { what: "distance", name: name.into(), known };
        rankle_registry::named(name, Self::ALL.into_iter()).map_err(unknown)
    }
}
