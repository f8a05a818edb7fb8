//! Arithmetic on embeddings by rankle's kernels, on the CPU.

use crate::exact::sum;
use crate::numbers::numbers;
use crate::{Distance, Evaluation, Result};
use candle_core::{Device, Tensor};
use rankle_kernels::rows::{normalize_rows, normalize_rows_backward};

/// The offset that PyTorch's paired distance adds to each difference.
pub(crate) const OFFSET: f32 = 1e-6;

/// As [`crate::Place::normalize`]: the rows, and for cosine distance their norms.
pub(crate) fn normalize(distance: Distance, raw: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
    let (mut rows, dim) = (numbers(raw)?.to_vec(), raw.dims().last().copied().unwrap_or(0));
    let norms = match distance {
        Distance::Cosine => Some(normalize_rows(&mut rows, dim)),
        Distance::Euclidean => None,
    };
    let norms = norms.map(|norms| Tensor::new(norms, &Device::Cpu)).transpose()?;
    Ok((Tensor::from_vec(rows, raw.shape(), &Device::Cpu)?, norms))
}

/// As [`crate::Embeddings::backward`], under cosine distance.
pub(crate) fn backward(rows: &Tensor, norms: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let mut pulled = numbers(gradient)?.to_vec();
    normalize_rows_backward(&numbers(rows)?, &numbers(norms)?, &mut pulled, rows.dims()[1]);
    Ok(Tensor::from_vec(pulled, rows.shape(), &Device::Cpu)?)
}

/// As [`crate::Embeddings::shift_from`].
pub(crate) fn shift(distance: Distance, clean: &Tensor, moved: &Tensor) -> Result<Evaluation> {
    let dim = clean.dims()[1].max(1);
    let (clean_rows, moved_rows) = (numbers(clean)?, numbers(moved)?);
    let pairs = || clean_rows.chunks_exact(dim).zip(moved_rows.chunks_exact(dim));
    let (distances, gradient): (Vec<f64>, Vec<f32>) = match distance {
        Distance::Cosine => {
            let distances = pairs().map(|(u, v)| 1.0 - sum(u, v, |u, v| f64::from(u) * f64::from(v)));
            (distances.collect(), clean_rows.iter().map(|u| -u).collect())
        }
        Distance::Euclidean => {
            let distances: Vec<f64> = pairs().map(|(u, v)| sum(u, v, |u, v| f64::from(v - u + OFFSET).powi(2)).sqrt()).collect();
            let gradient = pairs().zip(&distances).flat_map(|((u, v), &distance)| {
                let scale = if distance > 0.0 { (1.0 / distance) as f32 } else { 0.0 };
                u.iter().zip(v).map(move |(&u, &v)| scale * (v - u + OFFSET))
            });
            let gradient = gradient.collect();
            (distances, gradient)
        }
    };
    let gradient = Tensor::from_vec(gradient, moved.shape(), &Device::Cpu)?;
    Ok(Evaluation::new(Tensor::new(distances, &Device::Cpu)?, gradient))
}
