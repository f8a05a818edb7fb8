//! Operations of candle on numbers with a gradient, each with a backward function that leaves constants alone.
//!
//! candle's own gradients of these are right, but it computes those of constants, too, and adds each gradient to zeros.

use candle_core::{D, Result, Tensor};
use rankle_ops::{record, record_view};

/// Sums a gradient over the dimensions along which a tensor of shape `dims` was broadcast.
fn summed(gradient: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let mut sum = gradient.clone();
    while sum.rank() > dims.len() {
        sum = sum.sum(0)?;
    }
    for (axis, &len) in dims.iter().enumerate() {
        if len == 1 && sum.dims()[axis] != 1 {
            sum = sum.sum_keepdim(axis)?;
        }
    }
    Ok(sum)
}

/// An operation on two tensors that are broadcast, with the gradients of both before they are summed.
fn binary(
    [a, b]: [&Tensor; 2],
    output: Tensor,
    for_a: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
    for_b: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Tensor {
    let [dims_a, dims_b] = [a.dims().to_vec(), b.dims().to_vec()];
    record(&[a, b], output, move |gradient, needed| {
        let for_a = needed[0].then(|| summed(&for_a(gradient)?, &dims_a)).transpose()?;
        let for_b = needed[1].then(|| summed(&for_b(gradient)?, &dims_b)).transpose()?;
        Ok(vec![for_a, for_b])
    })
}

pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(binary([a, b], a.broadcast_add(b)?, |gradient| Ok(gradient.clone()), |gradient| Ok(gradient.clone())))
}

pub(crate) fn sub(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(binary([a, b], a.broadcast_sub(b)?, |gradient| Ok(gradient.clone()), Tensor::neg))
}

pub(crate) fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (first, second) = (a.detach(), b.detach());
    let for_a = move |gradient: &Tensor| gradient.broadcast_mul(&second);
    Ok(binary([a, b], a.broadcast_mul(b)?, for_a, move |gradient| gradient.broadcast_mul(&first)))
}

pub(crate) fn div(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (first, second, divisor) = (a.detach(), b.detach(), b.detach());
    let for_b = move |gradient: &Tensor| gradient.broadcast_mul(&first)?.broadcast_div(&second.sqr()?.neg()?);
    Ok(binary([a, b], a.broadcast_div(b)?, move |gradient| gradient.broadcast_div(&divisor), for_b))
}

/// `a` to the power of `b`. The gradient of `b` is NaN where `a` is below 0.
pub(crate) fn pow(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let output = a.detach().broadcast_pow(&b.detach())?;
    let [dims_a, dims_b] = [a.dims().to_vec(), b.dims().to_vec()];
    let (first, second) = (a.detach(), b.detach());
    rankle_ops::attach([a, b], output, move |gradient, [for_a, for_b]| {
        let for_a = for_a.then(|| {
            let factor = first.broadcast_pow(&(&second - 1.0)?)?.broadcast_mul(&second)?;
            summed(&gradient.mul(&factor)?, &dims_a)
        });
        let for_b = for_b.then(|| {
            let factor = first.broadcast_pow(&second)?.broadcast_mul(&first.log()?)?;
            summed(&gradient.mul(&factor)?, &dims_b)
        });
        Ok([for_a.transpose()?, for_b.transpose()?])
    })
}

/// The larger of two, or with `smaller` the smaller. Equal ones share the gradient, as in PyTorch.
pub(crate) fn extreme(a: &Tensor, b: &Tensor, smaller: bool) -> Result<Tensor> {
    let (first, second) = (a.detach(), b.detach());
    let output = if smaller { first.broadcast_minimum(&second)? } else { first.broadcast_maximum(&second)? };
    let [dims_a, dims_b] = [a.dims().to_vec(), b.dims().to_vec()];
    rankle_ops::attach([a, b], output, move |gradient, [for_a, for_b]| {
        let share = |a: &Tensor, b: &Tensor, dims: &[usize]| {
            let wins = if smaller { a.broadcast_lt(b)? } else { a.broadcast_gt(b)? };
            let ties = (a.broadcast_eq(b)?.to_dtype(gradient.dtype())? * 0.5)?;
            summed(&gradient.mul(&(wins.to_dtype(gradient.dtype())? + ties)?)?, dims)
        };
        let for_a = for_a.then(|| share(&first, &second, &dims_a));
        let for_b = for_b.then(|| share(&second, &first, &dims_b));
        Ok([for_a.transpose()?, for_b.transpose()?])
    })
}

/// `yes` where `condition` (u8) is not 0, and `no` elsewhere.
pub(crate) fn choose(condition: &Tensor, yes: &Tensor, no: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let condition = condition.broadcast_as(dims)?.contiguous()?;
    let output = condition.where_cond(&yes.broadcast_as(dims)?.contiguous()?, &no.broadcast_as(dims)?.contiguous()?)?;
    let inverse = condition.eq(0u8)?;
    let part = |condition: Tensor| move |gradient: &Tensor| condition.where_cond(gradient, &gradient.zeros_like()?);
    Ok(binary([yes, no], output, part(condition), part(inverse)))
}

/// A function of single numbers. `derivative` gets the inputs and the outputs.
pub(crate) fn unary(
    x: &Tensor,
    function: impl Fn(&Tensor) -> Result<Tensor>,
    derivative: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    let input = x.detach();
    let output = function(&input)?;
    let result = output.clone();
    rankle_ops::attach([x], output, move |gradient, _| Ok([Some((gradient * derivative(&input, &result)?)?)]))
}

pub(crate) fn scale(x: &Tensor, factor: f64) -> Result<Tensor> {
    affine(x, factor, 0.0)
}

/// `factor * x + offset`
pub(crate) fn affine(x: &Tensor, factor: f64, offset: f64) -> Result<Tensor> {
    Ok(record(&[x], x.affine(factor, offset)?, move |gradient, _| Ok(vec![Some((gradient * factor)?)])))
}

pub(crate) fn reshape(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if x.dims() == dims {
        return Ok(x.clone());
    }
    let before = x.dims().to_vec();
    Ok(record_view(x, x.reshape(dims)?, move |gradient| gradient.reshape(before.as_slice())))
}

pub(crate) fn permute(x: &Tensor, order: &[usize]) -> Result<Tensor> {
    if order.is_sorted() {
        return Ok(x.clone());
    }
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
    Ok(record_view(x, x.permute(order)?, move |gradient| gradient.permute(inverse.as_slice())))
}

/// Moves an axis to the end.
pub(crate) fn to_last(x: &Tensor, axis: usize) -> Result<Tensor> {
    let order = (0..x.rank()).filter(|&other| other != axis).chain([axis]).collect::<Vec<_>>();
    permute(x, &order)
}

/// Undoes [`to_last`].
pub(crate) fn from_last(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.rank() - 1;
    let order = (0..axis).chain([last]).chain(axis..last).collect::<Vec<_>>();
    permute(x, &order)
}

pub(crate) fn narrow(x: &Tensor, axis: usize, start: usize, len: usize) -> Result<Tensor> {
    if (start, len) == (0, x.dims()[axis]) { Ok(x.clone()) } else { rankle_ops::narrow(x, axis, start, len) }
}

pub(crate) fn pad_with_zeros(x: &Tensor, axis: usize, before: usize, after: usize) -> Result<Tensor> {
    let len = x.dims()[axis];
    if before == 0 && after == 0 {
        return Ok(x.clone());
    }
    Ok(record_view(x, x.pad_with_zeros(axis, before, after)?, move |gradient| gradient.narrow(axis, before, len)))
}

/// What stands at `indices` along an axis.
pub(crate) fn select(x: &Tensor, axis: usize, indices: &[u32]) -> Result<Tensor> {
    let indices = Tensor::new(indices, x.device())?;
    let dims = x.dims().to_vec();
    let output = x.contiguous()?.index_select(&indices, axis)?;
    Ok(record(&[x], output, move |gradient, _| {
        let zeros = Tensor::zeros(dims.as_slice(), gradient.dtype(), gradient.device())?;
        Ok(vec![Some(zeros.index_add(&indices, gradient, axis)?)])
    }))
}

pub(crate) fn expand(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if x.dims() == dims {
        return Ok(x.clone());
    }
    let before = x.dims().to_vec();
    Ok(record_view(x, x.broadcast_as(dims)?, move |gradient| summed(gradient, &before)))
}

pub(crate) fn concat(parts: &[&Tensor], axis: usize) -> Result<Tensor> {
    let lens = parts.iter().map(|part| part.dim(axis)).collect::<Result<Vec<_>>>()?;
    let output = Tensor::cat(parts, axis)?;
    Ok(record(parts, output, move |gradient, needed| {
        let mut start = 0;
        let parts = lens.iter().zip(needed).map(|(&len, needed)| {
            start += len;
            needed.then(|| gradient.narrow(axis, start - len, len)).transpose()
        });
        parts.collect()
    }))
}

/// Sums over the last dimension, which stays with a length of 1.
pub(crate) fn sum_last(x: &Tensor) -> Result<Tensor> {
    let dims = x.dims().to_vec();
    let output = x.sum_keepdim(D::Minus1)?;
    Ok(record(&[x], output, move |gradient, _| Ok(vec![Some(gradient.broadcast_as(dims.as_slice())?)])))
}

/// The largest number of the last dimension, or with `smaller` the smallest. Equal ones share the gradient, as in PyTorch's `amax`.
pub(crate) fn extreme_last(x: &Tensor, smaller: bool) -> Result<Tensor> {
    let input = x.detach().contiguous()?;
    let output = if smaller { input.min_keepdim(D::Minus1)? } else { input.max_keepdim(D::Minus1)? };
    let found = output.clone();
    rankle_ops::attach([x], output, move |gradient, _| {
        let winners = input.broadcast_eq(&found)?.to_dtype(gradient.dtype())?;
        let share = (gradient / winners.sum_keepdim(D::Minus1)?)?;
        Ok([Some(winners.broadcast_mul(&share)?)])
    })
}
