//! GELU, which exporters before version 20 write as six nodes.

use super::Draft;
use crate::node::Slot;
use candle_core::Result;
use std::collections::BTreeMap;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// `x * (erf(x / sqrt(2)) + 1) * 0.5`, the three factors in any order.
pub(super) fn decomposed(draft: &mut Draft, at: usize) -> Result<bool> {
    if draft.operator(at) != "Mul" {
        return Ok(false);
    }
    let found = draft.pairs(at).into_iter().find_map(|(product, third)| {
        let product = draft.made_by(product, "Mul")?;
        draft.pairs(product).into_iter().find_map(|(first, second)| gelu_of(draft, [first, second, third]))
    });
    let Some(x) = found else { return Ok(false) };
    draft.replace(at, "Gelu", vec![Some(x)], BTreeMap::new());
    Ok(true)
}

/// The `x` of GELU, if these are its factors.
fn gelu_of(draft: &Draft, factors: [Slot; 3]) -> Option<Slot> {
    let half = factors.into_iter().position(|factor| draft.is_number(factor, 0.5))?;
    let rest = [factors[(half + 1) % 3], factors[(half + 2) % 3]];
    [(rest[0], rest[1]), (rest[1], rest[0])].into_iter().find_map(|(x, sum)| {
        let sum = draft.made_by(sum, "Add")?;
        let erf = draft.pairs(sum).into_iter().find_map(|(erf, one)| draft.is_number(one, 1.0).then_some(erf))?;
        let erf = draft.made_by(erf, "Erf")?;
        let inner = draft.input(erf, 0)?;
        let scaled = match (draft.made_by(inner, "Div"), draft.made_by(inner, "Mul")) {
            (Some(div), _) => draft.input(div, 0) == Some(x) && draft.is_number(draft.input(div, 1)?, SQRT_2),
            (_, Some(mul)) => draft.pairs(mul).into_iter().any(|(a, b)| a == x && draft.is_number(b, FRAC_1_SQRT_2)),
            _ => false,
        };
        scaled.then_some(x)
    })
}
