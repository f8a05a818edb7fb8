//! Attention.

use crate::common::{check_gradient, close, numbers, refused};
use candle_core::{DType, Device, Result, Tensor};
use rankle_ops::{attention, matmul, self_attention, softmax};

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

/// The same for tokens and others of their own.
fn plain_attention([query, key, value]: [&Tensor; 3], scale: f64) -> Result<Tensor> {
    let results = (0..query.dims()[2]).map(|head| {
        let [query, key, value] = [query, key, value].map(|x| x.narrow(2, head, 1)?.squeeze(2)?.contiguous());
        let scores = (matmul(&query?, &key?.transpose(1, 2)?.contiguous()?)? * scale)?;
        matmul(&softmax(&scores)?, &value?)
    });
    Tensor::stack(&results.collect::<Result<Vec<_>>>()?, 2)
}

#[test]
fn tokens_attend_to_others() {
    // (n, heads), tokens and others, numbers of a key and of a value
    for ([n, heads], [tokens, others], [d, e]) in [([1, 1], [1, 1], [1, 1]), ([2, 3], [4, 5], [6, 2]), ([2, 1], [6, 2], [3, 7])] {
        let shapes = [[n, tokens, heads, d], [n, others, heads, d], [n, others, heads, e]];
        let parts = [0, 1, 2].map(|part| numbers(part as u64, &shapes[part]));
        let [query, key, value] = &parts;
        close(&attention(query, key, value, 0.8).unwrap(), &plain_attention([query, key, value], 0.8).unwrap(), 1e-12);
        check_gradient(&format!("attention of {shapes:?}"), |x| attention(&x[0], &x[1], &x[2], 0.8), &parts);
    }
}

#[test]
fn attention_to_oneself_is_the_same() {
    for dtype in [DType::F64, DType::F32] {
        let x = numbers(3, &[2, 5, 36]).to_dtype(dtype).unwrap();
        let parts = x.reshape((2, 5, 3, 3, 4)).unwrap();
        let [query, key, value] = [0, 1, 2].map(|part| parts.narrow(2, part, 1).unwrap().squeeze(2).unwrap());
        let apart = attention(&query, &key, &value, 0.5).unwrap().reshape((2, 5, 12)).unwrap();
        close(&apart, &self_attention(&x, 3).unwrap(), 0.0);
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

    let fits = [[2usize, 3, 4, 5], [2, 6, 4, 5], [2, 6, 4, 7]];
    let try_shapes = |[query, key, value]: [[usize; 4]; 3]| attention(&x(&query), &x(&key), &x(&value), 1.0);
    try_shapes(fits).unwrap();
    for (part, axis) in [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2)] {
        for len in [1, 0] {
            let mut shapes = fits;
            shapes[part][axis] = len;
            refused(try_shapes(shapes), &["attention", "(n, tokens, heads, d)"]);
        }
    }
    refused(attention(&x(&[3, 4, 5]), &x(&fits[1]), &x(&fits[2]), 1.0), &["attention", "[3, 4, 5]"]);
    for empty in
        [[[2, 0, 4, 5], fits[1], fits[2]], [fits[0], [2, 0, 4, 5], [2, 0, 4, 7]], [[0, 3, 4, 5], [0, 6, 4, 5], [0, 6, 4, 7]]]
    {
        refused(try_shapes(empty), &["attention", "(n, tokens, heads, d)"]);
    }
    let [query, key, value] = fits.map(|shape| x(&shape));
    refused(attention(&query, &key.to_dtype(DType::F64).unwrap(), &value, 1.0), &["attention: key", "F64"]);
    let [query, key, value] = [query, key, value].map(|x| x.to_dtype(DType::U32).unwrap());
    refused(attention(&query, &key, &value, 1.0), &["attention", "U32"]);
}
