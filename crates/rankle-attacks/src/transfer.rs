//! Images made to fool one model, shown to another.

use crate::run::{Ranker, run_on};
use crate::{AttackId, Direction, Outcome, RankingAttack, Setting, Solver, Targets};
use rankle_core::{Embedder, Ranking, Result, Sets};

/// A model that is shown images which were perturbed against another one. It ranks its own gallery by its own distance.
#[derive(Clone, Copy)]
pub struct Victim<'a> {
    /// The model.
    pub embedder: &'a dyn Embedder,
    /// All images of the same sets, embedded by it.
    pub sets: Sets<&'a dyn Ranking>,
}

/// What came of an attack on both sides.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// On the model it was computed on: white-box, exactly what [`crate::run`] answers.
    pub source: Outcome,
    /// On the victim, which the attack never saw. Without the images: they are those of the source.
    pub victim: Outcome,
}

/// The embeddings from which the targets of a transferred attack are drawn: those of a minus attack must be near the top before, and
/// that is a matter of the model on which the attack is measured, so they come from the victim's lists; all others from the
/// source's. Targets are indices of images: one draw serves both models.
///
/// # Source
/// METHOD.md 9, step 2.
pub fn target_gallery<'a>(kind: AttackId, source: Sets<&'a dyn Ranking>, victim: Sets<&'a dyn Ranking>) -> Sets<&'a dyn Ranking> {
    match kind.direction() {
        Some(Direction::Lower) => victim,
        Some(Direction::Raise) | None => source,
    }
}

/// Attacks the images on the model of `setting`, and measures what came of it there and on the victim: the same images, the
/// same targets, each side in its own embedding space. A victim that is the source has its outcome, to the last bit.
///
/// # Source
/// Zhou et al., ECCV 2020, arXiv:2002.11293, section 4.4; METHOD.md 9.
///
/// # Errors
/// As [`crate::run`], for either side.
pub fn transfer<M: Embedder + ?Sized>(
    attack: &dyn RankingAttack,
    solver: &dyn Solver<M>,
    setting: &Setting<'_, M>,
    victim: Victim<'_>,
    images: &[usize],
    targets: &Targets,
) -> Result<Transfer> {
    let other = Ranker { embedder: victim.embedder, sets: victim.sets };
    let mut outcomes = run_on(attack, solver, setting, &[other], images, targets)?;
    let victim = outcomes.swap_remove(1);
    Ok(Transfer { source: outcomes.swap_remove(0), victim })
}
