//! SiLU and hard swish, which exporters write as two nodes.

use super::Draft;
use crate::operators::SILU;
use candle_core::Result;
use std::collections::BTreeMap;

/// `x * sigmoid(x)` and `x * hard_sigmoid(x)`.
pub(super) fn gated(draft: &mut Draft, at: usize) -> Result<bool> {
    if draft.operator(at) != "Mul" {
        return Ok(false);
    }
    for (x, gate) in draft.pairs(at) {
        let of_x = |node: &usize| draft.input(*node, 0) == Some(x);
        if draft.made_for_one(gate, "Sigmoid").filter(of_x).is_some() {
            draft.replace(at, SILU, vec![Some(x)], BTreeMap::new());
            return Ok(true);
        }
        if let Some(hard) = draft.made_for_one(gate, "HardSigmoid").filter(of_x) {
            let node = &draft.nodes[hard];
            let (alpha, beta) = (node.float("alpha")?.unwrap_or(0.2), node.float("beta")?.unwrap_or(0.5));
            if (alpha - 1.0 / 6.0).abs() < 1e-7 && beta == 0.5 {
                draft.replace(at, "HardSwish", vec![Some(x)], BTreeMap::new());
                return Ok(true);
            }
        }
    }
    Ok(false)
}
