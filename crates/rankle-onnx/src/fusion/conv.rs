//! Convolution and batch normalization.

use super::{Draft, exact, rounded};
use candle_core::Result;

/// A batch normalization after a convolution with constant kernels goes into these.
pub(super) fn with_batch_norm(draft: &mut Draft, at: usize) -> Result<bool> {
    if draft.operator(at) != "BatchNormalization" || draft.nodes[at].flag("training_mode", false)? {
        return Ok(false);
    }
    let Some(conv) = draft.input(at, 0).and_then(|x| draft.made_for_one(x, "Conv")) else { return Ok(false) };
    let constant = |at: usize, input: usize| draft.input(at, input).and_then(|slot| draft.constant(slot));
    let parameters = [1, 2, 3, 4].map(|input| constant(at, input));
    let (Some(weight), [Some(scale), Some(shift), Some(mean), Some(variance)]) = (constant(conv, 1), parameters) else {
        return Ok(false);
    };
    let bias = match draft.input(conv, 2) {
        Some(slot) => match draft.constant(slot) {
            Some(bias) => Some(exact(bias)?),
            None => return Ok(false),
        },
        None => None,
    };
    let outputs = weight.dims().first().copied().unwrap_or(0);
    if weight.rank() != 4 || [scale, shift, mean, variance].iter().any(|parameter| parameter.dims() != [outputs]) {
        return Ok(false);
    }
    let epsilon = draft.nodes[at].float("epsilon")?.unwrap_or(1e-5);
    let factor = (exact(scale)? / (exact(variance)? + epsilon)?.sqrt()?)?;
    let centered = match bias {
        Some(bias) => (bias - exact(mean)?)?,
        None => exact(mean)?.neg()?,
    };
    let device = weight.device().clone();
    let bias = rounded(&((centered * &factor)? + exact(shift)?)?, &device)?;
    let weight = rounded(&exact(weight)?.broadcast_mul(&factor.reshape((outputs, 1, 1, 1))?)?, &device)?;
    let (weight, bias) = (draft.add_constant(weight), draft.add_constant(bias));
    let (x, attributes) = (draft.input(conv, 0), draft.nodes[conv].attributes.clone());
    draft.replace(at, "Conv", vec![x, Some(weight), Some(bias)], attributes);
    Ok(true)
}
