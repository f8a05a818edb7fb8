//! The function of the gaps between distances that an objective sums.

use crate::{Batch, ObjectiveKind};
use rankle_core::{GapLoss, Result};

/// Temperature of the soft rank, in units of [`rankle_core::Gallery::spread_from`].
///
/// Each item on the wrong side of a target counts about 1 in a soft rank, as in the rank, while a hinge counts it by its distance:
/// the few items that are far off have no more weight than those that the target is about to pass.
const TEMPERATURE: f64 = 0.1;
/// In a collapsed gallery all distances are alike.
const SHORTEST: f32 = 1e-30;

/// The function that the ranking objectives sum; the distance-based one has none, and ranks are counted by the hinges.
pub(crate) fn gap_loss(objective: ObjectiveKind, batch: &Batch<'_>) -> Result<GapLoss> {
    if objective != ObjectiveKind::SoftRank {
        return Ok(GapLoss::Hinge);
    }
    let sets = batch.scene.sets;
    let spread = sets.gallery.exact().spread_from(sets.queries().exact())?;
    Ok(GapLoss::Sigmoid { temperature: ((TEMPERATURE * spread) as f32).max(SHORTEST) })
}
