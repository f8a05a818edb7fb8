//! Scaled dot-product attention, which exporters write as two products and a softmax.

use super::Draft;
use crate::node::{Attribute, Slot};
use crate::operators::{ATTENTION, SCALE};
use candle_core::Result;
use std::collections::BTreeMap;

/// `softmax(scale * q · kᵀ) · v` of `(n, heads, tokens, d)`. Constants may scale `q`, `kᵀ` and their product.
pub(super) fn attention(draft: &mut Draft, at: usize) -> Result<bool> {
    let Some((query, key, value, scale)) = parts(draft, at) else { return Ok(false) };
    let attributes = BTreeMap::from([(SCALE.to_owned(), Attribute::Float(scale as f32))]);
    draft.replace(at, ATTENTION, [query, key, value].map(Some).into(), attributes);
    Ok(true)
}

/// The queries, the transposed keys, the values and the scale, of a product with the values.
fn parts(draft: &Draft, at: usize) -> Option<(Slot, Slot, Slot, f64)> {
    let (shares, value) = factors(draft, at)?;
    let softmax = draft.made_for_one(shares, "Softmax")?;
    // Versions differ in the axis that is meant where none is named.
    if !matches!(draft.nodes[softmax].int("axis"), Ok(Some(-1 | 3))) {
        return None;
    }
    let (scores, behind) = unscaled(draft, draft.input(softmax, 0)?);
    let (query, key) = factors(draft, draft.made_for_one(scores, "MatMul")?)?;
    let ((query, before_query), (key, before_key)) = (unscaled(draft, query), unscaled(draft, key));
    let (&[n, heads, tokens, d], &[key_n, key_heads, key_d, others]) = (draft.dims(query)?, draft.dims(key)?) else {
        return None;
    };
    let (&[value_n, value_heads, values, e], result) = (draft.dims(value)?, draft.nodes[at].outputs.first().copied()??) else {
        return None;
    };
    // Broadcasting anywhere between would show in the result.
    let fits = [n, heads, d] == [key_n, key_heads, key_d]
        && [n, heads, others] == [value_n, value_heads, values]
        && draft.dims(result)? == [n, heads, tokens, e]
        && [n, heads, tokens, others, d, e].iter().all(|&len| len > 0);
    fits.then_some((query, key, value, behind * before_query * before_key))
}

/// Both factors of a product of matrices.
fn factors(draft: &Draft, at: usize) -> Option<(Slot, Slot)> {
    (draft.operator(at) == "MatMul").then_some(())?;
    draft.input(at, 0).zip(draft.input(at, 1))
}

/// A value before it is multiplied with a constant or divided by one, as often as it is, and the product of those.
fn unscaled(draft: &Draft, mut slot: Slot) -> (Slot, f64) {
    let mut scale = 1.0;
    while let Some((before, factor)) = multiplied(draft, slot) {
        (slot, scale) = (before, scale * factor);
    }
    (slot, scale)
}

fn multiplied(draft: &Draft, slot: Slot) -> Option<(Slot, f64)> {
    if let Some(mul) = draft.made_for_one(slot, "Mul") {
        return draft.pairs(mul).into_iter().find_map(|(before, factor)| Some((before, draft.number(factor)?)));
    }
    let div = draft.made_for_one(slot, "Div")?;
    Some((draft.input(div, 0)?, draft.number(draft.input(div, 1)?)?.recip()))
}
