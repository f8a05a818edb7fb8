//! A model under questioning: the attacks on it, each with its targets and what it does by itself.

use super::bounds::EFFORTS;
use super::{Memory, Remembered};
use crate::error::Result;
use crate::{Experiment, RankedSubject, percent};
use candle_core::Tensor;
use rankle_attacks::{
    AttackId, Direction, Estimate, Outcome, Pgd, Protocol, RankingAttack, Setting, Solver, Targets, Threat, losses,
};
use rankle_core::{Differentiable, Seed, Sets};
use serde::{Deserialize, Serialize};

/// Candidates and queries, up and down. Query attacks without the preserved items: with them an attacker holds back by choice, and
/// would not break a model even in a ball without bounds.
pub(super) const KINDS: [AttackId; 4] = [AttackId::CA_PLUS, AttackId::CA_MINUS, AttackId::QA_PLUS, AttackId::QA_MINUS];

/// The model, and what is asked of it.
pub(super) struct Lab<'m> {
    pub(super) memory: &'m dyn Memory,
    /// What is asked now, in front of what the monitor says.
    pub(super) question: String,
    pub(super) ranked: RankedSubject,
    /// The attacked images of both sets.
    pub(super) images: Sets<Vec<usize>>,
    pub(super) threat: Threat,
    pub(super) seed: Seed,
    pub(super) attacks: Vec<Attacked>,
}

/// One attack with one target per image, and what the search of the paper's tables makes of it.
pub(super) struct Attacked {
    pub(super) kind: AttackId,
    pub(super) targets: Targets,
    pub(super) usual: Tried,
    /// What each of [`EFFORTS`] does.
    pub(super) longer: Vec<Tried>,
}

/// A search that may follow the gradient of a model.
pub(super) type WhiteBox<'a> = dyn Solver<dyn Differentiable + 'a>;

/// Steps of a tenth of the radius from random places of the ball, the best place of all kept.
pub(super) fn longer(threat: Threat, (iterations, restarts): (usize, usize)) -> Pgd {
    Pgd { iterations, restarts, ..Pgd::strict(threat) }
}

/// What came of one search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// The rank of every target before, in percent.
    pub before: Vec<f64>,
    /// The rank of every target after, in percent.
    pub after: Vec<f64>,
    /// The attacker's loss at what the search returned, on average; NaN where nobody asks for it.
    pub loss: f64,
}

impl Lab<'_> {
    /// Draws the targets, attacks as the tables do, and with more effort.
    ///
    /// # Errors
    /// What the libraries report, or an interrupt.
    pub(super) fn attack(&mut self) -> Result<()> {
        let threat = self.threat;
        for kind in KINDS {
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

    /// An attack as the tables have it, but for the search.
    pub(super) fn experiment(&self, kind: AttackId) -> Experiment {
        Experiment::usual(kind, self.threat, Protocol::Paper, self.seed)
    }

    /// The images that an attack perturbs.
    pub(super) fn images_of(&self, kind: AttackId) -> &[usize] {
        self.images.of(self.experiment(kind).perturbs())
    }

    /// An attack, and where it takes place.
    pub(super) fn scene(&self, kind: AttackId) -> Result<(Box<dyn RankingAttack>, Setting<'_>)> {
        let experiment = self.experiment(kind);
        Ok((experiment.attack(), experiment.setting(&self.ranked, true)?))
    }

    /// What a search of this name has found, or finds now.
    ///
    /// # Errors
    /// Those of the search.
    pub(super) fn remembered<const N: usize>(
        &self,
        name: String,
        search: impl FnOnce() -> Result<[Tried; N]>,
    ) -> Result<[Tried; N]> {
        let monitor = self.ranked.subject().monitor();
        if let Some((work, Ok(tried))) = self.memory.recall(&name).map(|kept| (kept.work, kept.tried.try_into())) {
            monitor.skip(work);
            return Ok(tried);
        }
        monitor.enter(&format!("{}: {name}", self.question));
        let before = monitor.done();
        let tried = search()?;
        self.memory.keep(&name, Remembered { work: monitor.done().saturating_sub(before), tried: tried.to_vec() });
        Ok(tried)
    }

    /// The ranks that `search`, which is called `name`, makes of an attack on any images, before and after.
    ///
    /// # Errors
    /// What the libraries report, or an interrupt.
    pub(super) fn ranks_of<'a>(
        &'a self,
        name: &str,
        kind: AttackId,
        images: &[usize],
        targets: &Targets,
        search: &WhiteBox<'a>,
    ) -> Result<Tried> {
        let [tried] = self.remembered(format!("{kind}, {name}"), || {
            let (attack, setting) = self.scene(kind)?;
            let setting = Setting { keep_images: false, ..setting };
            Ok([ranks(&rankle_attacks::run(&*attack, search, &setting, images, targets)?)])
        })?;
        Ok(tried)
    }

    /// What `search`, which is called `name`, makes of an attack.
    ///
    /// # Errors
    /// What the libraries report, or an interrupt.
    pub(super) fn attempt<'a>(&'a self, name: &str, kind: AttackId, targets: &Targets, search: &WhiteBox<'a>) -> Result<Tried> {
        let [tried] = self.remembered(format!("{kind}, {name}"), || Ok([self.found(kind, targets, search)?.0]))?;
        Ok(tried)
    }

    /// The same of a search that is not remembered, and the images that it returns.
    ///
    /// # Errors
    /// As [`Lab::attempt`].
    pub(super) fn found<'a>(&'a self, kind: AttackId, targets: &Targets, search: &WhiteBox<'a>) -> Result<(Tried, Tensor)> {
        let (attack, setting) = self.scene(kind)?;
        let outcome = rankle_attacks::run(&*attack, search, &setting, self.images_of(kind), targets)?;
        let tried = ranks(&outcome);
        let adversarial = outcome.adversarial.ok_or(rankle_core::Error::Empty("adversarial images"))?;
        let loss = mean(&losses(&*attack, &setting, self.images_of(kind), targets, &adversarial)?);
        Ok((Tried { loss, ..tried }, adversarial))
    }
}

/// The ranks of an attack, without its loss.
pub(super) fn ranks(outcome: &Outcome) -> Tried {
    let percents = |ranks: &[f64]| ranks.iter().map(|&rank| percent(rank)).collect();
    Tried { before: percents(&outcome.before.rank), after: percents(&outcome.after.rank), loss: f64::NAN }
}

/// How far the target of every image moved in the direction that the attack wants, in points of rank.
pub(super) fn effects(kind: AttackId, before: &[f64], after: &[f64]) -> Vec<f64> {
    let sign = if is_plus(kind) { -1.0 } else { 1.0 };
    before.iter().zip(after).map(|(before, after)| sign * (after - before)).collect()
}

/// Whether an attack wants low ranks.
pub(super) fn is_plus(kind: AttackId) -> bool {
    kind.direction() == Some(Direction::Raise)
}

/// NaN of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    Estimate::of(values).map_or(f64::NAN, |estimate| estimate.mean)
}

/// The standard error of the mean; NaN of a single value.
pub(super) fn error(values: &[f64]) -> f64 {
    Estimate::of(values).and_then(|estimate| estimate.standard_error).unwrap_or(f64::NAN)
}
