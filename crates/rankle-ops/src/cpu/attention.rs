//! Attention, head by head.

use super::{tensor, with_numbers, with_storage};
use crate::attach::attach_numbers;
use candle_core::{Result, Tensor};
use rankle_kernels::Isa;
use rankle_kernels::features::{softmax as softmax_rows, softmax_backward};
use rankle_kernels::matmul::{Matrix, multiply};
use rayon::prelude::*;

/// [`crate::attention`] of `(n, tokens, heads, d)`, `(n, others, heads, d)` and `(n, others, heads, e)`.
pub(crate) fn attention(inputs: [&Tensor; 3], scale: f64) -> Result<Tensor> {
    let parts = inputs.map(Tensor::detach);
    let heads = Heads::new(&parts, scale)?;
    let (y, shares) = with_parts(&parts, |numbers| Ok(heads.forward(numbers)))?;
    let shape = [heads.n, heads.tokens, heads.count, heads.features[2]];
    attach_numbers(inputs, y, &shape, move |_, gradient, needed| {
        let mut into = [0, 1, 2].map(|part| vec![0.0; parts[part].elem_count()]);
        let len = |part: usize| parts[part].elem_count() / heads.n;
        let (queries, rest) = into.split_at_mut(1);
        let (keys, values) = rest.split_at_mut(1);
        let images = queries[0].par_chunks_exact_mut(len(0)).zip(keys[0].par_chunks_exact_mut(len(1)));
        let images = images.zip(values[0].par_chunks_exact_mut(len(2))).enumerate();
        with_parts(&parts, |numbers| {
            with_numbers(gradient, |gradient| {
                images.for_each(|(image, ((queries, keys), values))| {
                    let mut into = [queries, keys, values];
                    heads.back(image, numbers, &shares, gradient, |part, head, rows| {
                        let features = heads.features[part];
                        write(rows, features, into[part], heads.count * features, head * features);
                    });
                });
                Ok(())
            })
        })?;
        let mut gradients = [None, None, None];
        for (part, numbers) in into.into_iter().enumerate().filter(|(part, _)| needed[*part]) {
            gradients[part] = Some(tensor(numbers, parts[part].shape())?);
        }
        Ok(gradients)
    })
}

/// [`crate::self_attention`] of `x` `(n, tokens, 3 * heads * d)`, whose queries, keys and values are `parts`, `(n, tokens, heads, d)`.
pub(crate) fn self_attention(x: &Tensor, parts: [Tensor; 3], scale: f64) -> Result<Tensor> {
    let heads = Heads::new(&parts, scale)?;
    let (y, shares) = with_parts(&parts, |numbers| Ok(heads.forward(numbers)))?;
    let Heads { n, tokens, count, features: [features, ..], .. } = heads;
    let (width, shape) = (count * features, x.shape().clone());
    attach_numbers([x], y, (n, tokens, width), move |_, gradient, _| {
        let mut dx = vec![0.0; shape.elem_count()];
        with_parts(&parts, |numbers| {
            with_numbers(gradient, |gradient| {
                dx.par_chunks_exact_mut(tokens * 3 * width).enumerate().for_each(|(image, dx)| {
                    heads.back(image, numbers, &shares, gradient, |part, head, rows| {
                        write(rows, features, dx, 3 * width, part * width + head * features);
                    });
                });
                Ok(())
            })
        })?;
        Ok([Some(tensor(dx, &shape)?)])
    })
}

/// Calls `work` with the numbers of queries, keys and values, each from its first one on.
fn with_parts<T>([query, key, value]: &[Tensor; 3], work: impl FnOnce([&[f32]; 3]) -> Result<T>) -> Result<T> {
    with_storage(query, |query| with_storage(key, |key| with_storage(value, |value| work([query, key, value]))))
}

/// Writes rows of `len` numbers into rows of `stride` numbers from `first` on.
fn write(rows: &[f32], len: usize, into: &mut [f32], stride: usize, first: usize) {
    for (row, into) in rows.chunks_exact(len).zip(into.chunks_exact_mut(stride)) {
        into[first..first + len].copy_from_slice(row);
    }
}

/// Sizes and strides of an attention.
#[derive(Clone, Copy)]
struct Heads {
    n: usize,
    tokens: usize,
    others: usize,
    /// Number of heads.
    count: usize,
    /// Of a query, a key and a value.
    features: [usize; 3],
    /// Of queries, keys and values, in each of their dimensions.
    strides: [[usize; 4]; 3],
    scale: f32,
}

impl Heads {
    fn new(parts: &[Tensor; 3], scale: f64) -> Result<Self> {
        let (n, tokens, count, _) = parts[0].dims4()?;
        let mut heads =
            Self { n, tokens, others: parts[1].dim(1)?, count, features: [0; 3], strides: [[0; 4]; 3], scale: scale as f32 };
        for (part, tensor) in parts.iter().enumerate() {
            heads.features[part] = tensor.dim(3)?;
            heads.strides[part].copy_from_slice(tensor.stride());
        }
        Ok(heads)
    }

    /// Queries, keys and values of a head of an image.
    fn matrices<'a>(&self, numbers: [&'a [f32]; 3], image: usize, head: usize) -> [Matrix<'a>; 3] {
        [0, 1, 2].map(|part| {
            let [images, rows, heads, columns] = self.strides[part];
            let count = if part == 0 { self.tokens } else { self.others };
            Matrix::strided(&numbers[part][image * images + head * heads..], count, self.features[part], [rows, columns])
        })
    }

    /// The results, and the shares of all other tokens in each token, per image and head.
    fn forward(&self, numbers: [&[f32]; 3]) -> (Vec<f32>, Vec<f32>) {
        let Self { n, tokens, others, count, features: [.., features], scale, .. } = *self;
        let (width, square) = (count * features, tokens * others);
        let mut y = vec![0.0; n * tokens * width];
        let mut shares = vec![0.0; n * count * square];
        let images = y.par_chunks_exact_mut(tokens * width).zip(shares.par_chunks_exact_mut(count * square));
        images.enumerate().for_each(|(image, (y, shares))| {
            let (mut result, mut scores) = (vec![0.0; tokens * features], vec![0.0; square]);
            for (head, shares) in shares.chunks_exact_mut(square).enumerate() {
                let [query, key, value] = self.matrices(numbers, image, head);
                multiply(Isa::best(), query, key.t(), &mut scores);
                scores.iter_mut().for_each(|score| *score *= scale);
                softmax_rows(Isa::best(), others, &scores, shares);
                multiply(Isa::best(), Matrix::new(shares, tokens, others), value, &mut result);
                write(&result, features, y, width, head * features);
            }
        });
        (y, shares)
    }

    /// Gives `write` the gradients of one image: 0 for queries, 1 for keys or 2 for values, the head, and a row for each token.
    fn back(
        &self,
        image: usize,
        numbers: [&[f32]; 3],
        shares: &[f32],
        gradient: &[f32],
        mut write: impl FnMut(usize, usize, &[f32]),
    ) {
        let (Self { tokens, others, count, features, .. }, isa) = (*self, Isa::best());
        let (width, square) = (count * features[2], tokens * others);
        let gradient = &gradient[image * tokens * width..][..tokens * width];
        let (mut for_shares, mut for_scores) = (vec![0.0; square], vec![0.0; square]);
        let mut result = vec![0.0; tokens.max(others) * features[0].max(features[2])];
        for (head, shares) in shares[image * count * square..][..count * square].chunks_exact(square).enumerate() {
            let [query, key, value] = self.matrices(numbers, image, head);
            let upstream = Matrix::strided(&gradient[head * features[2]..], tokens, features[2], [width, 1]);
            multiply(isa, upstream, value.t(), &mut for_shares);
            softmax_backward(isa, others, shares, &for_shares, &mut for_scores);
            for_scores.iter_mut().for_each(|score| *score *= self.scale);
            let (shares, scores) = (Matrix::new(shares, tokens, others), Matrix::new(&for_scores, tokens, others));
            let products = [(tokens, scores, key), (others, scores.t(), query), (others, shares.t(), upstream)];
            for (part, (rows, a, b)) in products.into_iter().enumerate() {
                let result = &mut result[..rows * features[part]];
                multiply(isa, a, b, result);
                write(part, head, result);
            }
        }
    }
}
