//! Convolution, and the batch normalization or the bounds behind it.

use super::{Draft, exact, rounded};
use crate::node::Attribute;
use crate::operators::{BOUNDS, CLIPPED_CONV};
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

/// A `Relu` or `Clip` after a convolution by constants.
pub(super) fn with_clip(draft: &mut Draft, at: usize) -> Result<bool> {
    let Some([low, high]) = bounds(draft, at)? else { return Ok(false) };
    let Some(conv) = draft.input(at, 0).and_then(|x| draft.made_for_one(x, "Conv")) else { return Ok(false) };
    let constant = draft.nodes[conv].inputs[1..].iter().flatten().all(|&slot| draft.constant(slot).is_some());
    if low.is_nan() || high.is_nan() || low > high || !constant {
        return Ok(false);
    }
    let mut attributes = draft.nodes[conv].attributes.clone();
    attributes.extend(BOUNDS.map(str::to_owned).into_iter().zip([low, high].map(|bound| Attribute::Float(bound as f32))));
    draft.replace(at, CLIPPED_CONV, draft.nodes[conv].inputs.clone(), attributes);
    Ok(true)
}

/// The bounds of a `Relu`, or of a `Clip` by constants.
fn bounds(draft: &Draft, at: usize) -> Result<Option<[f64; 2]>> {
    match draft.operator(at) {
        "Relu" => Ok(Some([0.0, f64::INFINITY])),
        "Clip" => {
            let node = &draft.nodes[at];
            let bound = |name: &str, input: usize, usual: f64| match (node.float(name)?, draft.input(at, input)) {
                (Some(bound), _) => Ok(Some(bound)),
                (None, Some(slot)) => Ok(draft.number(slot)),
                (None, None) => Ok(Some(usual)),
            };
            let low: Result<_> = bound("min", 1, f64::NEG_INFINITY);
            Ok(low?.zip(bound("max", 2, f64::INFINITY)?).map(<[f64; 2]>::from))
        }
        _ => Ok(None),
    }
}
