//! Embeddings in the space of their distance.

use crate::numbers::numbers;
use crate::{Distance, Error, Evaluation, Place, Result, kernels, tensors};
use candle_core::Tensor;
use std::ops::Deref;

/// Norm below which an embedding counts as the zero vector, which has no direction, as in PyTorch's normalization.
const SHORTEST: f64 = 1e-12;

/// Embeddings in the space of their distance, on the device where they were computed: `len` rows of `dim` numbers.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// `(n, d)`: unit vectors for cosine distance, raw embeddings for Euclidean.
    rows: Tensor,
    /// `(n)`: the norm of every raw row; `None` for Euclidean distance.
    norms: Option<Tensor>,
    distance: Distance,
    place: Place,
}

impl Embeddings {
    pub(crate) fn new(rows: Tensor, norms: Option<Tensor>, distance: Distance, place: Place) -> Result<Self> {
        match rows.dims() {
            [_, _] => Ok(Self { rows, norms, distance, place }),
            dims => Err(Error::Shape { what: "the embedding", actual: dims.to_vec(), expected: "(n, d)".into() }),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.dims()[0]
    }
    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Numbers per row.
    pub fn dim(&self) -> usize {
        self.rows.dims()[1]
    }
    /// The distance of this space.
    pub fn distance(&self) -> Distance {
        self.distance
    }
    /// The compute backend of the embeddings.
    pub fn place(&self) -> &Place {
        &self.place
    }
    /// The rows as a tensor `(n, d)`, on their device.
    pub fn tensor(&self) -> &Tensor {
        &self.rows
    }
    /// The rows on the host: borrowed if [`Place::Kernels`] computed them, else copied from the device.
    ///
    /// # Errors
    /// [`Error::Tensor`] when they cannot be copied.
    pub fn to_host(&self) -> Result<HostRows<impl Deref<Target = [f32]>>> {
        Ok(HostRows { numbers: numbers(&self.rows)?, dim: self.dim() })
    }

    /// Checks that there is one row per image and that every row can be ranked: all numbers are finite, no distance overflows
    /// f32, and under cosine distance the norm is at least 1e-12. `whose` names a row for the error.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of rows, [`Error::Unrankable`] for the first row that cannot be ranked.
    pub fn check(&self, images: usize, whose: impl Fn(usize) -> String) -> Result<()> {
        if self.len() != images {
            let expected = format!("({images}, d), one row per image");
            return Err(Error::Shape { what: "the embedding", actual: self.rows.dims().to_vec(), expected });
        }
        let rows = self.to_host()?;
        let norms = self.norms.as_ref().map(numbers).transpose()?;
        let fault = |index: usize| {
            let row = rows.row(index);
            let norm = match &norms {
                Some(norms) => f64::from(norms[index]),
                None => row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt(),
            };
            match () {
                () if norm.is_nan() || !row.iter().all(|x| x.is_finite()) => Some("holds NaN or infinity"),
                // Two rows are at most twice this norm apart, and the square of their distance must be finite, too.
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

    /// The relative spread of the rows: the mean squared distance of two rows as a fraction of twice their mean squared norm. For
    /// cosine this is the mean distance. About 1 for a round cloud around the origin, 0 if all rows are equal.
    ///
    /// # Errors
    /// As [`Embeddings::to_host`].
    pub fn relative_spread(&self) -> Result<f64> {
        let rows = self.to_host()?;
        let mut mean = vec![0.0f64; self.dim()];
        let mut squares = 0.0;
        for row in rows.as_slice().chunks_exact(self.dim().max(1)) {
            for (mean, &x) in mean.iter_mut().zip(row) {
                *mean += f64::from(x);
                squares += f64::from(x).powi(2);
            }
        }
        let count = self.len() as f64;
        let mean = mean.iter().map(|sum| (sum / count).powi(2)).sum::<f64>();
        Ok(if squares > 0.0 { (1.0 - mean / (squares / count)).max(0.0) } else { 0.0 })
    }

    /// The rows at the given indices, in their order.
    ///
    /// # Errors
    /// [`Error::Index`] for an index out of range.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        crate::dataset::check_indices("embedding", rows, self.len())?;
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let rows = Tensor::new(rows, self.rows.device())?;
        let of = |tensor: &Tensor| tensor.index_select(&rows, 0);
        Ok(Self {
            rows: of(&self.rows)?,
            norms: self.norms.as_ref().map(of).transpose()?,
            distance: self.distance,
            place: self.place.clone(),
        })
    }

    /// Converts numbers on the host, one per coordinate, to a tensor with the shape and the device of the rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one number per coordinate.
    pub fn like_rows(&self, numbers: Vec<f32>) -> Result<Tensor> {
        if numbers.len() != self.rows.elem_count() {
            let expected = format!("({})", self.rows.elem_count());
            return Err(Error::Shape { what: "the gradient", actual: vec![numbers.len()], expected });
        }
        Ok(Tensor::from_vec(numbers, self.rows.shape(), self.rows.device())?)
    }

    /// The gradient with respect to the raw embeddings `(n, d)`, from the gradient with respect to these rows:
    /// `(g - (g·u)u) / ‖v‖` for cosine distance (back through the normalization), unchanged for Euclidean.
    ///
    /// # Errors
    /// [`Error::Shape`] when `gradient` does not have one number per coordinate.
    pub fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        if gradient.dims() != self.rows.dims() {
            let expected = format!("{:?}", self.rows.dims());
            return Err(Error::Shape { what: "the gradient", actual: gradient.dims().to_vec(), expected });
        }
        match (&self.norms, &self.place) {
            (None, _) => Ok(gradient.clone()),
            (Some(norms), Place::Kernels) => kernels::backward(&self.rows, norms, gradient),
            (Some(norms), Place::Tensors(_)) => tensors::backward(&self.rows, norms, gradient),
        }
    }

    /// The distance of each row to the row of `clean` at the same index, and its gradient with respect to these rows. As in
    /// PyTorch, a Euclidean difference has an offset of 1e-6 in every coordinate.
    ///
    /// # Errors
    /// [`Error::Shape`] when the two do not have the same shape or distance.
    pub fn shift_from(&self, clean: &Self) -> Result<Evaluation> {
        if (clean.len(), clean.dim(), clean.distance) != (self.len(), self.dim(), self.distance) {
            let expected = format!("({}, {}) under {} distance", clean.len(), clean.dim(), clean.distance);
            return Err(Error::Shape { what: "the embedding", actual: vec![self.len(), self.dim()], expected });
        }
        match &self.place {
            Place::Kernels => kernels::shift(self.distance, &clean.rows, &self.rows),
            Place::Tensors(_) => tensors::shift(self.distance, &clean.rows, &self.rows),
        }
    }
}

/// Rows of numbers on the host.
pub struct HostRows<D> {
    numbers: D,
    dim: usize,
}

impl<D: Deref<Target = [f32]>> HostRows<D> {
    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.numbers[index * self.dim..][..self.dim]
    }
    /// All rows, one after the other.
    pub fn as_slice(&self) -> &[f32] {
        &self.numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn embeddings(distance: Distance, rows: &[[f32; 2]]) -> Embeddings {
        distance.normalize(&Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    #[rustfmt::skip] // aligned columns
    fn what_cannot_be_ranked_is_named() {
        let check = |distance, row: [f32; 2]| match embeddings(distance, &[[1.0, 2.0], row]).check(2, |index| format!("row {index}")) {
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
            near(embeddings(Distance::Euclidean, &cross).relative_spread().unwrap(), 1.0);
            near(embeddings(Distance::Euclidean, &[[scale, scale]; 3]).relative_spread().unwrap(), 0.0);
        }
        // 1 - cos of the angle between the two rows, averaged with their distances of 0 to themselves.
        near(embeddings(Distance::Cosine, &[[1.0, 0.0], [1.0, 1.0]]).relative_spread().unwrap(), (1.0 - 0.5f64.sqrt()) / 2.0);
        near(embeddings(Distance::Cosine, &[[0.0, 0.0]]).relative_spread().unwrap(), 0.0);
    }
}
