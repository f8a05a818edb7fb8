//! Products of matrices.

use super::{Build, Inputs, Operator, SCALE, broadcast, one};
use crate::differentiable as d;
use candle_core::{Result, Tensor, bail};
use rankle_ops::FrozenLinear;
use std::sync::OnceLock;

pub(crate) fn matmul(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| {
        let (a, b) = (inputs.floats(0)?, inputs.floats(1)?);
        // A vector is a row on the left and a column on the right, which the result does not have.
        let left = if a.rank() == 1 { d::reshape(a, &[1, a.elem_count()])? } else { a.clone() };
        let right = if b.rank() == 1 { d::reshape(b, &[b.elem_count(), 1])? } else { b.clone() };
        let product = product(inputs, &left, &right)?;
        let mut dims = product.dims().to_vec();
        let (row, column) = (dims.len() - 2, dims.len() - 1);
        if b.rank() == 1 {
            dims.remove(column);
        }
        if a.rank() == 1 {
            dims.remove(row);
        }
        d::reshape(&product, &dims)
    })
}

/// Products of the matrices in the last two dimensions; the others are broadcast.
pub(crate) fn product(inputs: &Inputs<'_>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ([batch_a @ .., m, k], [batch_b @ .., inner, n]) = (a.dims(), b.dims()) else {
        bail!("shapes {:?} and {:?}, where matrices are needed", a.shape(), b.shape())
    };
    if k != inner {
        bail!("shapes {:?} and {:?}, which do not fit", a.shape(), b.shape())
    }
    if batch_b.is_empty() {
        inputs.room(&[batch_a, &[*m, *n]].concat())?;
        return rankle_ops::matmul(a, b);
    }
    let batch = broadcast(batch_a, batch_b)?;
    inputs.room(&[batch.as_slice(), &[*m, *n]].concat())?;
    inputs.room(&[batch.as_slice(), &[*m, *k]].concat())?;
    inputs.room(&[batch.as_slice(), &[*k, *n]].concat())?;
    let (a, b) = (d::expand(a, &[batch.as_slice(), &[*m, *k]].concat())?, d::expand(b, &[batch.as_slice(), &[*k, *n]].concat())?);
    rankle_ops::matmul(&a, &b)
}

/// `alpha * a · b + beta * c`, with both matrices transposed where the node says so.
pub(crate) fn gemm(build: &Build<'_>) -> Result<Operator> {
    let node = build.node;
    let (alpha, beta) = (node.float("alpha")?.unwrap_or(1.0), node.float("beta")?.unwrap_or(1.0));
    let (transposed_a, transposed_b) = (node.flag("transA", false)?, node.flag("transB", false)?);
    one(move |inputs| {
        let matrix = |input: usize, transposed: bool| {
            let matrix = inputs.floats(input)?;
            matrix.dims2()?;
            if transposed { d::permute(matrix, &[1, 0]) } else { Ok(matrix.clone()) }
        };
        let mut result = product(inputs, &matrix(0, transposed_a)?, &matrix(1, transposed_b)?)?;
        if alpha != 1.0 {
            result = d::scale(&result, alpha)?;
        }
        let Some(c) = inputs.optional_floats(2)? else { return Ok(result) };
        let c = if beta == 1.0 { c.clone() } else { d::scale(c, beta)? };
        inputs.room(&broadcast(result.dims(), c.dims())?)?;
        d::add(&result, &c)
    })
}

/// The operator [`super::ATTENTION`].
pub(crate) fn attention(build: &Build<'_>) -> Result<Operator> {
    let scale = build.node.float(SCALE)?.unwrap_or(1.0);
    one(move |inputs| {
        let (query, key, value) = (inputs.floats(0)?, inputs.floats(1)?, inputs.floats(2)?);
        let (n, heads, tokens, _) = query.dims4()?;
        let others = key.dims4()?.3;
        inputs.room(&[n, heads, tokens, others])?;
        inputs.room(&[n, heads, tokens, value.dims4()?.3])?;
        let (query, key, value) = (tokens_first(query)?, d::permute(key, &[0, 3, 1, 2])?, tokens_first(value)?);
        tokens_first(&rankle_ops::attention(&query, &key, &value, scale)?)
    })
}

/// Exchanges heads and tokens.
fn tokens_first(x: &Tensor) -> Result<Tensor> {
    d::permute(x, &[0, 2, 1, 3])
}

/// `x · weightᵀ + bias`, without bias if there is no third input.
pub(crate) fn linear(_: &Build<'_>) -> Result<Operator> {
    // Nodes are fused to this operator with constants alone.
    let frozen = OnceLock::new();
    one(move |inputs| {
        let (x, weight, bias) = (inputs.floats(0)?, inputs.floats(1)?, inputs.optional_floats(2)?);
        let outputs = weight.dims().first().copied().unwrap_or(0);
        inputs.room(&[&x.dims()[..x.rank().saturating_sub(1)], &[outputs]].concat())?;
        frozen.get_or_init(|| FrozenLinear::new(weight, bias)).forward(x)
    })
}
