//! Transfer: images perturbed against one model, measured on another.

use crate::run::{Adversary, Ranker, run_on};
use crate::{AttackId, Direction, Outcome, RankingAttack, Setting, Solver, Targets};
use rankle_core::{Embedder, Ranking, Result, Sets};

/// A model that ranks images perturbed against another model, in its own gallery and by its own distance.
#[derive(Clone, Copy)]
pub struct Victim<'a> {
    /// The model.
    pub embedder: &'a dyn Embedder,
    /// All images of the same sets, embedded by this model.
    pub sets: Sets<&'a dyn Ranking>,
}

/// Outcomes of an attack on source and victim.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Outcome on the attacked model: white-box, exactly that of [`crate::run`].
    pub source: Outcome,
    /// Outcome on the victim, which the attack never saw. Its images are left out: they are those of the source.
    pub victim: Outcome,
}

/// The embeddings from which the targets of a transferred attack are drawn: the victim's for a minus attack, else the source's.
/// Targets of a minus attack must be near the top of the lists of the model on which the attack is measured. Targets are indices
/// of images, so one draw serves both models.
///
/// # Source
/// METHOD.md 9, step 2.
pub fn target_gallery<'a>(kind: AttackId, source: Sets<&'a dyn Ranking>, victim: Sets<&'a dyn Ranking>) -> Sets<&'a dyn Ranking> {
    match kind.direction() {
        Some(Direction::Lower) => victim,
        Some(Direction::Raise) | None => source,
    }
}

/// Attacks the images on the model of `setting`, and measures the same images with the same targets on this model and on the
/// victim, each in its own embedding space. A victim equal to the source has the same outcome, to the last bit.
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
    let adversary = Adversary { threat: solver.threat(), moved: &|model, problem, _| solver.solve(model, problem) };
    let mut outcomes = run_on(attack, adversary, setting, &[other], images, targets)?;
    let victim = outcomes.swap_remove(1);
    Ok(Transfer { source: outcomes.swap_remove(0), victim })
}
