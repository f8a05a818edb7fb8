//! Self-attention.

use crate::attach::attach;
use crate::check::detached;
use crate::cpu;
use candle_core::{D, Result, Tensor, bail};

/// Scaled dot-product self-attention of every head, from a projection `(n, tokens, 3 * heads * d)` that holds the queries of all
/// heads, then their keys, then their values: `softmax(q · kᵀ / √d) · v`, `(n, tokens, heads * d)`. The projections before and after
/// it are [`crate::linear`]. NaN goes through, as in [`crate::softmax`].
///
/// # Errors
/// `x` has other dimensions, its last one is no multiple of `3 * heads`, there are no tokens, or it is not f32 or f64.
pub fn self_attention(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (n, tokens, width) = match x.dims() {
        &[n, tokens, width]
            if tokens > 0 && width > 0 && heads.checked_mul(3).is_some_and(|parts| parts > 0 && width % parts == 0) =>
        {
            (n, tokens, width / 3)
        }
        _ => bail!("self_attention: shape {:?} for {heads} heads, where (n, tokens, 3 * heads * d) is needed", x.shape()),
    };
    let layout = Layout { n, tokens, heads, features: width / heads };
    if cpu::takes(x) {
        return cpu::attention(x, layout);
    }
    let input = detached("self_attention", x)?;
    let [query, key, value] = layout.split(&input)?;
    let scale = layout.scale();
    let scores = (query.matmul(&key.t()?)? * scale)?;
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let shares = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
    let output = layout.join(&shares.matmul(&value)?)?;
    attach([x], output, move |gradient, _| {
        let gradient = layout.heads_of(gradient)?;
        let for_value = shares.t()?.matmul(&gradient)?;
        let for_shares = gradient.matmul(&value.t()?)?;
        let weighted = (&for_shares * &shares)?;
        let along = shares.broadcast_mul(&weighted.sum_keepdim(D::Minus1)?)?;
        let for_scores = ((weighted - along)? * scale)?;
        let parts = [for_scores.matmul(&key)?, for_scores.t()?.matmul(&query)?, for_value];
        let [query, key, value] = parts.map(|part| layout.join(&part));
        Ok([Some(Tensor::cat(&[query?, key?, value?], D::Minus1)?)])
    })
}

/// Sizes of a self-attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) n: usize,
    pub(crate) tokens: usize,
    pub(crate) heads: usize,
    /// Per head.
    pub(crate) features: usize,
}

impl Layout {
    pub(crate) fn scale(self) -> f64 {
        1.0 / (self.features as f64).sqrt()
    }

    /// `(n, tokens, heads * d)` as `(n * heads, tokens, d)`, contiguous.
    fn heads_of(self, x: &Tensor) -> Result<Tensor> {
        let Self { n, tokens, heads, features } = self;
        x.reshape((n, tokens, heads, features))?.transpose(1, 2)?.contiguous()?.reshape((n * heads, tokens, features))
    }

    /// Queries, keys and values of a projection.
    fn split(self, x: &Tensor) -> Result<[Tensor; 3]> {
        let width = self.heads * self.features;
        let [query, key, value] = [0, 1, 2].map(|part| self.heads_of(&x.narrow(2, part * width, width)?));
        Ok([query?, key?, value?])
    }

    /// Undoes [`Layout::heads_of`].
    fn join(self, x: &Tensor) -> Result<Tensor> {
        let Self { n, tokens, heads, features } = self;
        x.reshape((n, heads, tokens, features))?.transpose(1, 2)?.contiguous()?.reshape((n, tokens, heads * features))
    }
}
