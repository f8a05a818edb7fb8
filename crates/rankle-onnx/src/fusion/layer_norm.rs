//! Layer normalization, which exporters before version 17 write as nine nodes.

use super::Draft;
use crate::node::{Attribute, Slot};
use candle_core::Result;
use std::collections::BTreeMap;

const LAYER_NORM: &str = "LayerNormalization";

/// `(x - mean) / sqrt(variance + epsilon)` over the last dimension; then its product with a vector, then the sum with another.
pub(super) fn decomposed(draft: &mut Draft, at: usize) -> Result<bool> {
    match draft.operator(at) {
        "Div" => {
            let Some((x, epsilon)) = normalized(draft, at) else { return Ok(false) };
            let attributes = BTreeMap::from([("epsilon".to_owned(), Attribute::Float(epsilon as f32))]);
            draft.replace(at, LAYER_NORM, vec![Some(x)], attributes);
            Ok(true)
        }
        "Mul" => extended(draft, at, 1),
        "Add" => extended(draft, at, 2),
        _ => Ok(false),
    }
}

/// Takes in a vector as input number `input` of the normalization before.
fn extended(draft: &mut Draft, at: usize, input: usize) -> Result<bool> {
    for (before, vector) in draft.pairs(at) {
        let Some(norm) = draft.made_for_one(before, LAYER_NORM) else { continue };
        let over_last = matches!(draft.nodes[norm].int("axis")?, None | Some(-1));
        let len = draft.dims(before).and_then(|dims| dims.last().copied()).unwrap_or(0);
        if draft.nodes[norm].inputs.len() != input || !over_last {
            continue;
        }
        let Some(vector) = draft.vector(vector, len)? else { continue };
        let mut inputs = draft.nodes[norm].inputs.clone();
        inputs.push(Some(draft.add_constant(vector)));
        let attributes = draft.nodes[norm].attributes.clone();
        draft.replace(at, LAYER_NORM, inputs, attributes);
        return Ok(true);
    }
    Ok(false)
}

/// The `x` and the epsilon of a normalization that ends in this division.
fn normalized(draft: &Draft, at: usize) -> Option<(Slot, f64)> {
    let (centered, deviation) = (draft.input(at, 0)?, draft.input(at, 1)?);
    let (x, mean) = {
        let sub = draft.made_by(centered, "Sub")?;
        (draft.input(sub, 0)?, draft.input(sub, 1)?)
    };
    let sum = draft.input(draft.made_by(deviation, "Sqrt")?, 0)?;
    let (variance, epsilon) =
        draft.pairs(draft.made_by(sum, "Add")?).into_iter().find_map(|(a, b)| Some((a, draft.number(b)?)))?;
    let squares = mean_of(draft, variance)?;
    let square = match (draft.made_by(squares, "Pow"), draft.made_by(squares, "Mul")) {
        (Some(pow), _) => draft.is_number(draft.input(pow, 1)?, 2.0).then(|| draft.input(pow, 0))??,
        (_, Some(mul)) => draft.input(mul, 0).filter(|&a| draft.input(mul, 1) == Some(a))?,
        _ => return None,
    };
    // Some exporters subtract the mean twice.
    let same = |slot: Slot| {
        let sub = draft.made_by(slot, "Sub")?;
        (draft.input(sub, 0)? == x && mean_of(draft, draft.input(sub, 1)?)? == x).then_some(())
    };
    (mean_of(draft, mean)? == x && (square == centered || same(square).is_some())).then_some((x, epsilon))
}

/// What a value is the mean of, over the last dimension, which stays.
fn mean_of(draft: &Draft, slot: Slot) -> Option<Slot> {
    let mean = draft.made_by(slot, "ReduceMean")?;
    let x = draft.input(mean, 0)?;
    let (before, after) = (draft.dims(x)?, draft.dims(slot)?);
    let (last, rest) = after.split_last()?;
    let over_last = *last == 1 && before.len() == after.len() && before.starts_with(rest);
    // Where the dimensions before are 1, shapes do not tell along which the mean was taken.
    let axes = match draft.nodes[mean].ints("axes").ok()? {
        Some(axes) => axes.to_vec(),
        None => draft.constant(draft.input(mean, 1)?)?.to_vec1::<i64>().ok()?,
    };
    (over_last && matches!(*axes.as_slice(), [axis] if axis == -1 || axis == before.len() as i64 - 1)).then_some(x)
}
