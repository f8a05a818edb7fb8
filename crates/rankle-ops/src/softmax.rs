//! Softmax.

use crate::attach::attach_with_output;
use crate::check::detached;
use crate::cpu;
use candle_core::{D, Result, Tensor, bail};

/// `exp(x) / Σ exp(x)` over the last dimension: `(.., d)` to `(.., d)`. The maximum of a row is subtracted first, so nothing
/// overflows. A row that holds NaN or infinity, or only minus infinity, is NaN.
///
/// # Errors
/// `x` has no last dimension, or an empty one, or is not f32 or f64.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if x.dims().last().is_none_or(|&len| len == 0) {
        bail!("softmax: shape {:?}, where a last dimension of at least 1 is needed", x.shape())
    }
    if cpu::takes(x) {
        return cpu::softmax(x);
    }
    let input = detached("softmax", x)?;
    let powers = input.broadcast_sub(&input.max_keepdim(D::Minus1)?)?.exp()?;
    let output = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
    attach_with_output([x], output, |output, gradient, _| {
        let weighted = (gradient * output)?;
        let along = output.broadcast_mul(&weighted.sum_keepdim(D::Minus1)?)?;
        Ok([Some((weighted - along)?)])
    })
}
