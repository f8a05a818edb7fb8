//! Products with constant matrices.

use super::Draft;
use crate::operators::LINEAR;
use candle_core::{DType, Result, Tensor};
use std::collections::BTreeMap;

/// A product with a constant matrix, and the sum of such a product and a constant vector.
pub(super) fn linear(draft: &mut Draft, at: usize) -> Result<bool> {
    match draft.operator(at) {
        "MatMul" => product(draft, at),
        "Gemm" => gemm(draft, at),
        "Add" => with_bias(draft, at),
        _ => Ok(false),
    }
}

fn product(draft: &mut Draft, at: usize) -> Result<bool> {
    let Some(weight) = matrix(draft, at) else { return Ok(false) };
    // Every backend takes one row for each output.
    let weight = draft.add_constant(weight.t()?.contiguous()?);
    let x = draft.input(at, 0);
    draft.replace(at, LINEAR, vec![x, Some(weight)], BTreeMap::new());
    Ok(true)
}

/// The constant matrix that a node multiplies its first input with.
fn matrix(draft: &Draft, at: usize) -> Option<Tensor> {
    let x = draft.input(at, 0).and_then(|x| draft.dims(x))?;
    let weight = draft.input(at, 1).and_then(|slot| draft.constant(slot))?;
    (x.len() >= 2 && weight.rank() == 2 && weight.dtype() == DType::F32).then(|| weight.clone())
}

fn gemm(draft: &mut Draft, at: usize) -> Result<bool> {
    let node = &draft.nodes[at];
    let plain = node.float("alpha")?.unwrap_or(1.0) == 1.0 && node.float("beta")?.unwrap_or(1.0) == 1.0;
    let transposed = node.flag("transB", false)?;
    if !plain || node.flag("transA", false)? {
        return Ok(false);
    }
    let Some(weight) = matrix(draft, at) else { return Ok(false) };
    let weight = if transposed { weight } else { weight.t()?.contiguous()? };
    let bias = match draft.input(at, 2) {
        Some(bias) => match draft.vector(bias, weight.dims()[0])? {
            Some(bias) => Some(bias),
            None => return Ok(false),
        },
        None => None,
    };
    let mut inputs = vec![draft.input(at, 0), Some(draft.add_constant(weight))];
    if let Some(bias) = bias {
        inputs.push(Some(draft.add_constant(bias)));
    }
    draft.replace(at, LINEAR, inputs, BTreeMap::new());
    Ok(true)
}

fn with_bias(draft: &mut Draft, at: usize) -> Result<bool> {
    for (product, bias) in draft.pairs(at) {
        let Some(linear) = draft.made_for_one(product, LINEAR) else { continue };
        let outputs = draft.dims(product).and_then(|dims| dims.last().copied()).unwrap_or(0);
        let rank = draft.dims(product).map_or(0, <[usize]>::len);
        let fits = draft.constant(bias).is_some_and(|bias| bias.rank() <= rank);
        if draft.nodes[linear].inputs.len() != 2 || !fits {
            continue;
        }
        let Some(bias) = draft.vector(bias, outputs)? else { continue };
        let mut inputs = draft.nodes[linear].inputs.clone();
        inputs.push(Some(draft.add_constant(bias)));
        draft.replace(at, LINEAR, inputs, BTreeMap::new());
        return Ok(true);
    }
    Ok(false)
}
