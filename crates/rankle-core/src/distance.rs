//! How far apart two embeddings are, and the space in which that is measured.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use rankle_kernels::distance::Metric;
use rankle_kernels::rows::{normalize_rows, normalize_rows_backward};
use std::{fmt, str::FromStr};

/// The distance of a ranking.
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

    /// Puts raw embeddings `(n, d)` where this distance is measured: on the unit sphere for cosine, where they are for
    /// Euclidean. A zero vector stays zero under cosine, at distance 1 from everything.
    ///
    /// # Errors
    /// [`Error::Shape`] when `raw` is not a matrix.
    pub fn place(self, raw: &Tensor) -> Result<Points> {
        let &[_, dim] = raw.dims() else {
            return Err(Error::Shape { what: "the embedding", actual: raw.dims().to_vec(), expected: "(n, d)".into() });
        };
        let mut data = raw.flatten_all()?.to_vec1::<f32>()?;
        let norms = match self {
            Self::Cosine => normalize_rows(&mut data, dim),
            Self::Euclidean => Vec::new(),
        };
        Ok(Points { data, dim, norms, distance: self })
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
        Self::ALL.into_iter().find(|distance| distance.to_string() == name).ok_or_else(|| Error::Unknown {
            what: "distance",
            name: name.into(),
            known: Self::ALL.map(|d| d.to_string()).join(", "),
        })
    }
}

/// Embeddings placed in the space of their distance: `len` rows of `dim` numbers.
#[derive(Clone, Debug)]
pub struct Points {
    data: Vec<f32>,
    dim: usize,
    /// `‖v‖` of every raw row, for cosine; empty for Euclidean.
    norms: Vec<f32>,
    distance: Distance,
}

impl Points {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim.max(1)
    }
    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
    /// Numbers per row.
    pub fn dim(&self) -> usize {
        self.dim
    }
    /// The distance of this space.
    pub fn distance(&self) -> Distance {
        self.distance
    }
    /// All rows, one after the other.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }
    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.dim..][..self.dim]
    }
    /// Only the given rows, in that order.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            data: rows.iter().flat_map(|&row| self.row(row)).copied().collect(),
            dim: self.dim,
            norms: if self.norms.is_empty() { Vec::new() } else { rows.iter().map(|&row| self.norms[row]).collect() },
            distance: self.distance,
        }
    }
    /// Turns the slope of a loss with respect to these points into its slope with respect to the raw embeddings, `(n, d)`:
    /// through the normalisation for cosine (`(g - (g·u)u) / ‖v‖`), unchanged for Euclidean.
    ///
    /// # Errors
    /// [`Error::Shape`] when `slope` does not have one number per coordinate.
    pub fn pull_back(&self, mut slope: Vec<f32>) -> Result<Tensor> {
        if slope.len() != self.data.len() {
            return Err(Error::Shape {
                what: "the slope",
                actual: vec![slope.len()],
                expected: format!("({})", self.data.len()),
            });
        }
        if self.distance == Distance::Cosine {
            normalize_rows_backward(&self.data, &self.norms, &mut slope, self.dim);
        }
        Ok(Tensor::from_vec(slope, (self.len(), self.dim), &Device::Cpu)?)
    }
    /// The points as a tensor `(n, d)`.
    ///
    /// # Errors
    /// [`Error::Tensor`] if candle refuses.
    pub fn to_tensor(&self) -> Result<Tensor> {
        Ok(Tensor::from_slice(&self.data, (self.len(), self.dim), &Device::Cpu)?)
    }
}
