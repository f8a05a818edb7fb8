//! Attention.

use crate::attach::attach;
use crate::check::{detached, detached_view, same_type};
use crate::cpu;
use candle_core::{D, Result, Tensor, bail};

/// Scaled dot-product attention of every head, `softmax(scale · q · kᵀ) · v`: `query` `(n, tokens, heads, d)`, `key`
/// `(n, others, heads, d)` and `value` `(n, others, heads, e)` give `(n, tokens, heads, e)`. On the CPU views of f32 are read in place. NaN
/// goes through, as in [`crate::softmax`].
///
/// # Errors
/// Shapes that do not fit or have a length of 0, tensors of different types, or anything but f32 and f64.
pub fn attention(query: &Tensor, key: &Tensor, value: &Tensor, scale: f64) -> Result<Tensor> {
    match (query.dims(), key.dims(), value.dims()) {
        (&[n, tokens, heads, d], &[key_n, others, key_heads, key_d], &[value_n, values, value_heads, e])
            if [n, heads, d] == [key_n, key_heads, key_d]
                && [n, others, heads] == [value_n, values, value_heads]
                && [n, tokens, others, heads, d, e].iter().all(|&len| len > 0) => {}
        _ => bail!(
            "attention: shapes {:?}, {:?} and {:?}, where (n, tokens, heads, d), (n, others, heads, d) and (n, others, heads, e) are needed",
            query.shape(),
            key.shape(),
            value.shape()
        ),
    }
    same_type("attention: key", key, query)?;
    same_type("attention: value", value, query)?;
    let parts = [query, key, value];
    if cpu::takes(query) {
        return cpu::attention(parts, scale);
    }
    let attended = Attended::new(parts.map(|part| detached_view("attention", part)), scale)?;
    attach(parts, attended.output()?, move |gradient, needed| {
        let mut gradients = attended.backward(gradient)?.map(Some);
        gradients.iter_mut().zip(needed).filter(|(_, needed)| !needed).for_each(|(gradient, _)| *gradient = None);
        Ok(gradients)
    })
}

/// [`attention`] of tokens to one another, from a projection `(n, tokens, 3 * heads * d)` that holds the queries of all heads, then
/// their keys, then their values, with the scale `1 / √d`: `(n, tokens, heads * d)`. The projections before and after it are
/// [`crate::linear`].
///
/// # Errors
/// `x` has other dimensions, its last one is no multiple of `3 * heads`, there are no tokens, or it is not f32 or f64.
pub fn self_attention(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (n, tokens, features) = match x.dims() {
        &[n, tokens, width]
            if tokens > 0 && width > 0 && heads.checked_mul(3).is_some_and(|parts| parts > 0 && width % parts == 0) =>
        {
            (n, tokens, width / 3 / heads)
        }
        _ => bail!("self_attention: shape {:?} for {heads} heads, where (n, tokens, 3 * heads * d) is needed", x.shape()),
    };
    let scale = 1.0 / (features as f64).sqrt();
    let input = detached("self_attention", x)?.reshape((n, tokens, 3, heads, features))?;
    let part = |part: usize| input.narrow(2, part, 1)?.squeeze(2);
    if cpu::takes(x) {
        return cpu::self_attention(x, [part(0)?, part(1)?, part(2)?], scale);
    }
    let attended = Attended::new([part(0), part(1), part(2)], scale)?;
    let output = attended.output()?.reshape((n, tokens, heads * features))?;
    attach([x], output, move |gradient, _| {
        let parts = attended.backward(&gradient.reshape((n, tokens, heads, features))?)?;
        Ok([Some(Tensor::stack(&parts, 2)?.reshape((n, tokens, 3 * heads * features))?)])
    })
}

/// The portable formulation: what the backward pass needs, heads before tokens, each contiguous.
struct Attended {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    /// `(n, heads, tokens, others)`: how much of each other token is in a token.
    shares: Tensor,
    scale: f64,
}

impl Attended {
    fn new(parts: [Result<Tensor>; 3], scale: f64) -> Result<Self> {
        let [query, key, value] = parts.map(|part| part?.transpose(1, 2)?.contiguous());
        let (query, key, value) = (query?, key?, value?);
        let scores = (query.matmul(&key.t()?)? * scale)?;
        let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        let shares = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
        Ok(Self { query, key, value, shares, scale })
    }

    fn output(&self) -> Result<Tensor> {
        self.shares.matmul(&self.value)?.transpose(1, 2)?.contiguous()
    }

    /// The gradients of query, key and value, for that of the output.
    fn backward(&self, gradient: &Tensor) -> Result<[Tensor; 3]> {
        let Self { query, key, value, shares, scale } = self;
        let gradient = gradient.transpose(1, 2)?.contiguous()?;
        let for_value = shares.t()?.matmul(&gradient)?;
        let weighted = (gradient.matmul(&value.t()?)? * shares)?;
        let along = shares.broadcast_mul(&weighted.sum_keepdim(D::Minus1)?)?;
        let for_scores = ((weighted - along)? * *scale)?;
        let tokens_first = |x: Tensor| x.transpose(1, 2)?.contiguous();
        Ok([tokens_first(for_scores.matmul(key)?)?, tokens_first(for_scores.t()?.matmul(query)?)?, tokens_first(for_value)?])
    }
}
