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
    /// Euclidean. A zero vector stays zero under cosine, at distance 1 from everything; [`Points::check`] refuses it.
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

/// A shorter embedding is the zero vector to the normalization, and as far from everything.
const SHORTEST: f64 = 1e-12;

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
    /// Whether every row can be ranked: all numbers finite, no distance beyond the largest f32, and under cosine distance a
    /// length that has a direction. `whose` names a row for the error.
    ///
    /// # Errors
    /// [`Error::Unrankable`] for the first row that cannot.
    pub fn check(&self, whose: impl Fn(usize) -> String) -> Result<()> {
        let fault = |index: usize| {
            let norm = match self.distance {
                Distance::Cosine => f64::from(self.norms[index]),
                Distance::Euclidean => self.row(index).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt(),
            };
            match () {
                () if norm.is_nan() || !self.row(index).iter().all(|x| x.is_finite()) => Some("holds NaN or infinity"),
                // Twice this is the distance of two of them, whose square must be a number, too.
                () if norm > f64::from(f32::MAX).sqrt() / 2.0 => Some("is so long that distances overflow"),
                () if self.distance == Distance::Cosine && norm < SHORTEST => {
                    Some("has no direction (it is shorter than 1e-12), which cosine distance needs")
                }
                () => None,
            }
        };
        match (0..self.len()).find_map(|index| fault(index).map(|why| (index, why))) {
            Some((index, why)) => Err(Error::Unrankable { whose: whose(index), why }),
            None => Ok(()),
        }
    }

    /// How far apart the rows are: the mean squared distance of two rows as a fraction of twice their mean squared length. The
    /// mean distance for cosine; about 1 for a round cloud around the origin, 0 where all are equal.
    pub fn relative_spread(&self) -> f64 {
        let mut mean = vec![0.0f64; self.dim];
        let mut squares = 0.0;
        for row in self.data.chunks_exact(self.dim.max(1)) {
            for (mean, &x) in mean.iter_mut().zip(row) {
                *mean += f64::from(x);
                squares += f64::from(x).powi(2);
            }
        }
        let rows = self.len() as f64;
        let mean = mean.iter().map(|sum| (sum / rows).powi(2)).sum::<f64>();
        if squares > 0.0 { (1.0 - mean / (squares / rows)).max(0.0) } else { 0.0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn points(distance: Distance, rows: &[[f32; 2]]) -> Points {
        distance.place(&Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn what_cannot_be_ranked_is_named() {
        let check = |distance, row: [f32; 2]| match points(distance, &[[1.0, 2.0], row]).check(|index| format!("row {index}")) {
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        for (row, cosine, euclidean) in [
            ([3.0, -4.0],             None,                       None),
            ([f32::NAN, 0.0],         Some("NaN or infinity"),    Some("NaN or infinity")),
            ([1.0, f32::INFINITY],    Some("NaN or infinity"),    Some("NaN or infinity")),
            ([1e19, 0.0],             Some("distances overflow"), Some("distances overflow")),
            ([-1e30, 1e30],           Some("distances overflow"), Some("distances overflow")),
            ([0.0, 0.0],              Some("no direction"),       None),
            ([1e-13, 0.0],            Some("no direction"),       None),
            ([1e-9, 0.0],             None,                       None),
            ([1e18, 0.0],             None,                       None),
        ] {
            for (distance, expected) in [(Distance::Cosine, cosine), (Distance::Euclidean, euclidean)] {
                let found = check(distance, row);
                let as_expected = match (&found, expected) {
                    (Some(found), Some(expected)) => found.starts_with("the embedding of row 1 ") && found.contains(expected),
                    (found, expected) => found.is_none() && expected.is_none(),
                };
                assert!(as_expected, "{distance} {row:?}: {found:?}");
            }
        }
    }

    #[test]
    fn spread_is_relative_to_the_length() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-7, "{a} {b}");
        for scale in [1.0, 1e4] {
            let cross = [[scale, 0.0], [-scale, 0.0], [0.0, scale], [0.0, -scale]];
            near(points(Distance::Euclidean, &cross).relative_spread(), 1.0);
            near(points(Distance::Euclidean, &[[scale, scale]; 3]).relative_spread(), 0.0);
        }
        // 1 - cos of the angle between the two, on average with their distances to themselves.
        near(points(Distance::Cosine, &[[1.0, 0.0], [1.0, 1.0]]).relative_spread(), (1.0 - 0.5f64.sqrt()) / 2.0);
        near(points(Distance::Cosine, &[[0.0, 0.0]]).relative_spread(), 0.0);
    }
}
