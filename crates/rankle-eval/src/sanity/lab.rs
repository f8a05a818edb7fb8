//! The model of a sanity study, and the attacks on it with their targets and results.

use super::bounds::EFFORTS;
use super::{Memory, StoredSearch};
use crate::error::Result;
use crate::{Experiment, RankedSubject, percent};
use candle_core::Tensor;
use rankle_attacks::{
    AnySearch, Apgd, AttackId, AttackSpec, Direction, Estimate, Goal, Outcome, Part, PartOutcome, PartSearch, Pgd, Protocol,
    RankingAttack, Setting, Solver, Standard, Targets, Threat, losses,
};
use rankle_core::{Differentiable, Seed, Sets};
use serde::{Deserialize, Serialize};

/// The attacks of a study, on candidates and queries, plus and minus. Query attacks preserve no items: an attacker that preserves
/// items holds back by choice, and would not break a model even in a ball without bounds.
pub(super) const ATTACKS: [AttackId; 4] = [AttackId::CA_PLUS, AttackId::CA_MINUS, AttackId::QA_PLUS, AttackId::QA_MINUS];

/// The attacks that are searched by the standard attack, too: all of the tables but SP-QA-, whose ξ = 100 has it keep rather than move.
pub(super) const FAMILIES: [AttackId; 6] = [
    AttackId::CA_PLUS,
    AttackId::CA_MINUS,
    AttackId::QA_PLUS,
    AttackId::QA_MINUS,
    AttackId::SP_QA_PLUS,
    AttackId::EmbeddingShift,
];

/// The state of a sanity study.
pub(super) struct Lab<'m> {
    pub(super) memory: &'m dyn Memory,
    /// Name of the current check, which precedes every message to the monitor.
    pub(super) question: String,
    pub(super) ranked: RankedSubject,
    /// The attacked images of both sets.
    pub(super) images: Sets<Vec<usize>>,
    pub(super) threat: Threat,
    pub(super) seed: Seed,
    pub(super) attacks: Vec<Attacked>,
    pub(super) families: Vec<Family>,
}

/// One attack with one target per image, and the result of the search of the paper's tables (`usual`).
pub(super) struct Attacked {
    pub(super) kind: AttackId,
    pub(super) targets: Targets,
    pub(super) usual: SearchResult,
    /// Results of the searches of [`EFFORTS`].
    pub(super) longer: Vec<SearchResult>,
}

/// One attack by the search of the tables and by the standard attack. The number of an image is what the attack is after: the rank in
/// percent, with preserved items that and ξ times theirs, for the embedding shift the shift.
pub(super) struct Family {
    pub(super) kind: AttackId,
    /// The search of the tables.
    pub(super) usual: SearchResult,
    /// The standard attack.
    pub(super) standard: SearchResult,
    /// The strongest of its parts that follow nothing but gradients.
    pub(super) white_box: SearchResult,
    /// Its part that follows none.
    pub(super) gradient_free: SearchResult,
}

/// A search that may follow the gradient of a model.
pub(super) type WhiteBox<'a> = dyn Solver<dyn Differentiable + 'a>;

/// A search with the steps of [`Pgd::strict`] from random points of the ball, which returns the best iterate of all.
pub(super) fn longer(threat: Threat, (iterations, restarts): (usize, usize)) -> Pgd {
    Pgd { iterations, restarts, ..Pgd::strict(threat) }
}

/// Result of one search.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SearchResult {
    /// Rank of every target before the attack, in percent.
    pub before: Vec<f64>,
    /// Rank of every target after the attack, in percent.
    pub after: Vec<f64>,
    /// Mean of the attacker's loss on the returned images; NaN if it was not computed.
    pub loss: f64,
}

impl Lab<'_> {
    /// Draws the targets, and runs the search of the tables and the longer ones.
    ///
    /// # Errors
    /// Errors of the attack, or an interrupt.
    pub(super) fn attack(&mut self) -> Result<()> {
        let threat = self.threat;
        for kind in ATTACKS {
            let experiment = self.experiment(kind);
            let targets = experiment.choose(self.images_of(kind), self.ranked.sets())?;
            let usual = self.attempt("tables' search", kind, &targets, &Pgd::paper(threat))?;
            let longer = |&effort: &(usize, usize)| {
                self.attempt(&format!("{} × {} steps", effort.1, effort.0), kind, &targets, &longer(threat, effort))
            };
            let longer = EFFORTS.iter().map(longer).collect::<Result<_>>()?;
            self.attacks.push(Attacked { kind, targets, usual, longer });
        }
        Ok(())
    }

    /// Runs every family by the search of the tables and by the standard attack.
    ///
    /// # Errors
    /// Errors of the attack, or an interrupt.
    pub(super) fn attack_families(&mut self) -> Result<()> {
        for kind in FAMILIES {
            let experiment = self.experiment(kind);
            let images = self.images_of(kind);
            let targets = experiment.choose(images, self.ranked.sets())?;
            let [usual, standard, white_box, gradient_free] = self.remembered(format!("{kind}, standard attack"), || {
                let usual = experiment.run(&self.ranked, images, &targets, false)?;
                let search = Standard { threat: self.threat };
                let longer = Experiment { search: search.into(), ..experiment };
                let standard = longer.run(&self.ranked, images, &targets, false)?;
                Ok(family(&experiment.spec, &search, &usual, &standard))
            })?;
            self.families.push(Family { kind, usual, standard, white_box, gradient_free });
        }
        Ok(())
    }

    /// An attack as in the tables; checks replace its search.
    pub(super) fn experiment(&self, kind: AttackId) -> Experiment {
        Experiment::usual(kind, self.threat, Protocol::Paper, self.seed)
    }

    /// The images that an attack perturbs.
    pub(super) fn images_of(&self, kind: AttackId) -> &[usize] {
        self.images.of(self.experiment(kind).perturbs())
    }

    /// An attack and its setting.
    pub(super) fn scene(&self, kind: AttackId) -> Result<(Box<dyn RankingAttack>, Setting<'_>)> {
        let experiment = self.experiment(kind);
        Ok((experiment.attack(), experiment.setting(&self.ranked, true)?))
    }

    /// The stored result of the search of this name; computed and stored if there is none.
    ///
    /// # Errors
    /// Errors of the search.
    pub(super) fn remembered<const N: usize>(
        &self,
        name: String,
        search: impl FnOnce() -> Result<[SearchResult; N]>,
    ) -> Result<[SearchResult; N]> {
        let monitor = self.ranked.subject().monitor();
        if let Some((work, Ok(tried))) = self.memory.recall(&name).map(|kept| (kept.work, kept.tried.try_into())) {
            monitor.skip(work);
            return Ok(tried);
        }
        monitor.enter(&format!("{}: {name}", self.question));
        let before = monitor.done();
        let tried = search()?;
        self.memory.keep(&name, StoredSearch { work: monitor.done().saturating_sub(before), tried: tried.to_vec() });
        Ok(tried)
    }

    /// The ranks before and after an attack with `search` on any images, stored as `name`; without the loss.
    ///
    /// # Errors
    /// Errors of the attack, or an interrupt.
    pub(super) fn ranks_of<'a>(
        &'a self,
        name: &str,
        kind: AttackId,
        images: &[usize],
        targets: &Targets,
        search: &WhiteBox<'a>,
    ) -> Result<SearchResult> {
        let [tried] = self.remembered(format!("{kind}, {name}"), || {
            let (attack, setting) = self.scene(kind)?;
            let setting = Setting { keep_images: false, ..setting };
            Ok([ranks(&rankle_attacks::run(&*attack, search, &setting, images, targets)?)])
        })?;
        Ok(tried)
    }

    /// The result of an attack with `search` on the images of the study, stored as `name`.
    ///
    /// # Errors
    /// Errors of the attack, or an interrupt.
    pub(super) fn attempt<'a>(
        &'a self,
        name: &str,
        kind: AttackId,
        targets: &Targets,
        search: &WhiteBox<'a>,
    ) -> Result<SearchResult> {
        let [tried] = self.remembered(format!("{kind}, {name}"), || Ok([self.found(kind, targets, search)?.0]))?;
        Ok(tried)
    }

    /// As [`Lab::attempt`], but not stored, and with the images that the search returns.
    ///
    /// # Errors
    /// As [`Lab::attempt`].
    pub(super) fn found<'a>(
        &'a self,
        kind: AttackId,
        targets: &Targets,
        search: &WhiteBox<'a>,
    ) -> Result<(SearchResult, Tensor)> {
        let (attack, setting) = self.scene(kind)?;
        let outcome = rankle_attacks::run(&*attack, search, &setting, self.images_of(kind), targets)?;
        let tried = ranks(&outcome);
        let adversarial = outcome.adversarial.ok_or(rankle_core::Error::Empty("adversarial images"))?;
        let loss = mean(&losses(&*attack, &setting, self.images_of(kind), targets, &adversarial)?);
        Ok((SearchResult { loss, ..tried }, adversarial))
    }
}

/// The results of a [`Family`], in the order of its fields.
fn family(spec: &AttackSpec, search: &Standard, usual: &Outcome, standard: &Outcome) -> [SearchResult; 4] {
    let Some(goal) = Goal::of(spec) else { return Default::default() };
    // Ranks in percent, with the sign of the tables.
    let sign = if spec.attack.direction() == Some(Direction::Raise) { 1.0 } else { -1.0 };
    let scale = if spec.attack.has_targets() { percent(sign) } else { sign };
    let numbers = |rank: &[f64], preserved: &[f64], shift: &[f64]| -> Vec<f64> {
        (0..shift.len()).map(|image| scale * goal.number(image, (rank, preserved, shift))).collect()
    };
    let before = numbers(&usual.before.rank, &usual.before.preserved, &vec![0.0; usual.embedding_shift.len()]);
    let result = |after: Vec<f64>| SearchResult { before: before.clone(), after, loss: f64::NAN };
    let whole = |outcome: &Outcome| result(numbers(&outcome.after.rank, &outcome.after.preserved, &outcome.embedding_shift));
    let parts: Vec<(Part, &PartOutcome)> = search.parts_of(spec).into_iter().zip(&standard.parts).collect();
    let without = |search: PartSearch| matches!(search, PartSearch::Alone(AnySearch::Square(_)));
    let strongest = |is_one: &dyn Fn(PartSearch) -> bool| {
        let parts = parts.iter().filter(|(part, _)| is_one(part.search));
        let found = parts.map(|(_, part)| result(numbers(&part.rank, &part.preserved, &part.embedding_shift)));
        let effect = |result: &SearchResult| mean(&effects(spec.attack, &result.before, &result.after));
        found.max_by(|a, b| effect(a).total_cmp(&effect(b))).unwrap_or_else(|| result(before.clone()))
    };
    [whole(usual), whole(standard), strongest(&follows_gradients_alone), strongest(&without)]
}

/// True for the search of a part that shows what gradients find: from coarse to fine some starts are found by queries, and what goes on
/// from the result of another part has its start from there.
fn follows_gradients_alone(search: PartSearch) -> bool {
    matches!(search, PartSearch::Alone(AnySearch::Apgd(Apgd { coarse_to_fine: false, .. })))
}

/// The ranks of an attack in percent, without its loss.
pub(super) fn ranks(outcome: &Outcome) -> SearchResult {
    let percents = |ranks: &[f64]| ranks.iter().map(|&rank| percent(rank)).collect();
    SearchResult { before: percents(&outcome.before.rank), after: percents(&outcome.after.rank), loss: f64::NAN }
}

/// Change in rank of the target of every image, in percentage points, positive in the direction that the attack wants.
pub(super) fn effects(kind: AttackId, before: &[f64], after: &[f64]) -> Vec<f64> {
    let sign = if is_plus(kind) { -1.0 } else { 1.0 };
    before.iter().zip(after).map(|(before, after)| sign * (after - before)).collect()
}

/// True for a plus attack, which wants low ranks.
pub(super) fn is_plus(kind: AttackId) -> bool {
    kind.direction() == Some(Direction::Raise)
}

/// The mean; NaN without values.
pub(super) fn mean(values: &[f64]) -> f64 {
    Estimate::of(values).map_or(f64::NAN, |estimate| estimate.mean)
}

/// The standard error of the mean; NaN of a single value.
pub(super) fn error(values: &[f64]) -> f64 {
    Estimate::of(values).and_then(|estimate| estimate.standard_error).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gradients_find_owes_nothing_to_queries() {
        let standard = Standard { threat: Threat::linf(0.1).unwrap() };
        let names = |kind| -> Vec<&str> {
            let parts = standard.parts_of(&AttackSpec::new(kind, 0.1, Protocol::Strict, 0));
            parts.iter().filter(|part| follows_gradients_alone(part.search)).map(|part| part.name).collect()
        };
        assert_eq!(names(AttackId::CA_PLUS), ["apgd from the clean image"]);
        assert_eq!(names(AttackId::QA_PLUS), ["apgd from the clean image", "apgd on the soft rank, from the clean image"]);
        assert_eq!(names(AttackId::EmbeddingShift), ["apgd from the clean image"]);
    }
}
