//! Self-attention.

mod common;

use candle_core::{DType, Device, Result, Tensor};
use common::{check_gradient, close, numbers, refused};
use rankle_ops::{matmul, self_attention, softmax};

/// Head by head, in the operations that it is made of.
fn plain(x: &Tensor, heads: usize) -> Result<Tensor> {
    let d = x.dims()[2] / (3 * heads);
    let results = (0..heads).map(|head| {
        let [query, key, value] = [0, 1, 2].map(|part| x.narrow(2, (part * heads + head) * d, d)?.contiguous());
        let scores = (matmul(&query?, &key?.transpose(1, 2)?.contiguous()?)? / (d as f64).sqrt())?;
        matmul(&softmax(&scores)?, &value?)
    });
    Tensor::cat(&results.collect::<Result<Vec<_>>>()?, 2)
}

#[test]
fn every_head_is_its_definition_and_gradients_are_slopes() {
    for (shape, heads) in [([1, 1, 3], 1), ([2, 5, 12], 2), ([3, 4, 27], 3), ([2, 7, 12], 1)] {
        let x = (numbers(1, &shape) * 2.0).unwrap();
        close(&self_attention(&x, heads).unwrap(), &plain(&x, heads).unwrap(), 1e-12);
        check_gradient(&format!("self_attention of {shape:?} with {heads} heads"), |x| self_attention(&x[0], heads), &[x]);
    }
}

#[test]
fn views_give_what_their_copies_give() {
    let view = numbers(2, &[5, 2, 12]).transpose(0, 1).unwrap();
    for dtype in [DType::F64, DType::F32] {
        let view = view.to_dtype(dtype).unwrap();
        close(&self_attention(&view, 2).unwrap(), &self_attention(&view.force_contiguous().unwrap(), 2).unwrap(), 0.0);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for (shape, heads) in [
        (&[2usize, 3, 12][..], 5),
        (&[2, 3, 12], 0),
        (&[2, 0, 12], 1),
        (&[2, 3, 0], 1),
        (&[3, 12], 1),
        (&[2, 3, 12], usize::MAX / 3 + 1),
    ] {
        refused(self_attention(&x(shape), heads), &["self_attention", "heads"]);
    }
    refused(self_attention(&x(&[1, 2, 3]).to_dtype(DType::U32).unwrap(), 1), &["self_attention"]);
}
