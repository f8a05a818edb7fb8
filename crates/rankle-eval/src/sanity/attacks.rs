//! What noise, effort, room and another model's images do.

use super::bounds::{BROKEN, EFFORTS, ENOUGH, NOISE};
use super::lab::{Attacked, KINDS, Lab, Tried, WhiteBox, effects, error, is_plus, longer, mean, ranks};
use super::wording;
use crate::error::Result;
use crate::{Experiment, RankedSubject, transfer};
use rankle_attacks::{AttackId, Noise, Pgd, Protocol, Threat, sample_images};
use rankle_core::{Seed, Sets};
use rankle_report::sanity::{Answer, Check, Verdict};

/// On how many times as many images noise is measured: its effect is small beside those of attacks.
const MORE: usize = 10;
/// A loss may rise by so much in relation to the loss of the clean images before that counts: the rounding of sums.
const ROUNDING: f64 = 1e-9;

/// How much work all of it is, in the units of the progress bar.
pub fn work(threat: Threat, images: usize, lens: Sets<usize>, with_other: bool) -> u64 {
    let cost = |kind| {
        let usual = Experiment::usual(kind, threat, Protocol::Paper, Seed(0));
        let noisy = more(images, *lens.of(usual.perturbs()));
        let searches = EFFORTS.iter().map(|&effort| longer(threat, effort)).chain([limitless()]);
        let searched: u64 = searches.map(|search| Experiment { search, ..usual }.cost(images)).sum();
        searched + usual.cost(images) * if with_other { 2 } else { 1 } + usual.cost(noisy) + 2 * noisy as u64
    };
    KINDS.into_iter().map(cost).sum()
}

/// How many searches are worth remembering: with noise and the attack beside it, of every effort, without bounds, and transferred.
pub fn searches(with_other: bool) -> usize {
    KINDS.len() * (2 + 1 + EFFORTS.len() + 1 + usize::from(with_other))
}

/// How many images noise is measured on.
fn more(images: usize, len: usize) -> usize {
    (MORE * images).min(len)
}

/// One search among all images there are.
fn limitless() -> Pgd {
    Pgd { restarts: 1, ..Pgd::strict(Threat::linf(1.0).expect("one is a radius")) }
}

fn verdict(passed: bool) -> Verdict {
    if passed { Verdict::Pass } else { Verdict::Fail }
}

/// One answer for each attack.
fn each(lab: &Lab, mut answer: impl FnMut(&Attacked) -> Result<Answer>) -> Result<Vec<Answer>> {
    lab.attacks.iter().map(&mut answer).collect()
}

fn effect(kind: AttackId, tried: &Tried) -> Vec<f64> {
    effects(kind, &tried.before, &tried.after)
}

/// Noise of the same size does next to nothing.
pub(super) fn noise<'a>(lab: &'a Lab) -> Result<Check> {
    let Lab { ranked, threat, seed, .. } = lab;
    let mut noisy = 0;
    let answer = |kind: AttackId| -> Result<Answer> {
        let experiment = lab.experiment(kind);
        let len = ranked.subject().dataset(experiment.perturbs()).len();
        let images = sample_images(*seed, len, more(lab.images_of(kind).len(), len));
        noisy = noisy.max(images.len());
        let targets = experiment.choose(&images, ranked.sets())?;
        let moved = |name: &str, search: &WhiteBox<'a>| lab.ranks_of(name, kind, &images, &targets, search);
        let Tried { before, after: noisy, .. } = moved("noise", &Noise { threat: *threat })?;
        let Tried { after: attacked, .. } = moved("beside noise", &Pgd::paper(*threat))?;
        let (by_noise, by_attack) = (effects(kind, &before, &noisy), mean(&effects(kind, &before, &attacked)));
        let share = mean(&by_noise) / by_attack;
        let numbers = [mean(&before), mean(&noisy), mean(&attacked), mean(&by_noise), error(&by_noise), 100.0 * share];
        Ok(Answer::new(kind, &numbers, drowned(by_attack, share, error(&by_noise) / by_attack)))
    };
    let answers = KINDS.into_iter().map(answer).collect::<Result<_>>()?;
    Ok(wording::noise(noisy).answered(answers))
}

/// Whether the share of noise in the effect of an attack, with its standard error, is below the bound in either direction: no
/// answer where two errors reach across it. The error of a single image is no number, and decides nothing.
fn drowned(by_attack: f64, share: f64, error: f64) -> Verdict {
    let reach = if error.is_nan() { 0.0 } else { 2.0 * error };
    let share = share.abs();
    match by_attack > 0.0 {
        true if share + reach <= NOISE => Verdict::Pass,
        true if share - reach <= NOISE => Verdict::NoAnswer,
        _ => Verdict::Fail,
    }
}

/// More steps and more starts are never weaker.
pub(super) fn effort(lab: &Lab) -> Result<Check> {
    let answers = each(lab, |Attacked { kind, targets, usual, longer }| {
        let (attack, setting) = lab.scene(*kind)?;
        let images = lab.images_of(*kind);
        let clean = setting.images.of(attack.perturbs()).images(images)?;
        let clean = mean(&rankle_attacks::losses(&*attack, &setting, images, targets, &clean)?);
        let found: Vec<f64> = longer.iter().map(|tried| tried.loss).collect();
        let rounding = ROUNDING * clean.abs();
        let monotone = found.windows(2).all(|pair| pair[1] <= pair[0] + rounding);
        let numbers: Vec<f64> = [clean, usual.loss].into_iter().chain(found).collect();
        Ok(Answer::new(kind, &numbers, verdict(monotone)))
    })?;
    Ok(wording::effort(&Pgd::paper(lab.threat)).answered(answers))
}

/// The search of the tables gets nearly as far as a much longer one.
pub(super) fn enough(lab: &Lab) -> Result<Check> {
    let answers = each(lab, |Attacked { kind, usual, longer, .. }| {
        let by_usual = mean(&effect(*kind, usual));
        let reached: Vec<f64> = longer.iter().map(|tried| mean(&tried.after)).collect();
        let by_long = longer.last().map_or(f64::NAN, |tried| mean(&effect(*kind, tried)));
        let share = by_usual / by_long;
        let numbers: Vec<f64> =
            [mean(&usual.before), mean(&usual.after)].into_iter().chain(reached).chain([100.0 * share]).collect();
        Ok(Answer::new(kind, &numbers, verdict(by_usual > 0.0 && (by_long <= by_usual || share >= ENOUGH))))
    })?;
    Ok(wording::enough().answered(answers))
}

/// Whoever may draw any image gets any rank.
pub(super) fn unbounded(lab: &Lab) -> Result<Check> {
    let answers = each(lab, |Attacked { kind, targets, usual, .. }| {
        let free = lab.attempt("ε = 1", *kind, targets, &limitless())?;
        let reached = mean(&free.after);
        let broken = if is_plus(*kind) { reached <= BROKEN } else { reached >= 100.0 - BROKEN };
        Ok(Answer::new(kind, &[mean(&usual.before), mean(&usual.after), reached], verdict(broken)))
    })?;
    Ok(wording::unbounded().answered(answers))
}

/// Images made against another model are weaker than those made against this one.
pub(super) fn transferred(lab: &Lab, other: Option<&RankedSubject>) -> Result<Check> {
    let Some(other) = other else {
        let reason = "no other model was named".to_owned();
        return Ok(Check { reason: Some(reason), ..wording::transferred() });
    };
    let answers = each(lab, |Attacked { kind, targets, usual, .. }| {
        let [there, here] = lab.remembered(format!("{kind}, transfer"), || {
            let both = transfer::run(&lab.experiment(*kind), other, &lab.ranked, lab.images_of(*kind), targets)?;
            Ok([ranks(&both.source), ranks(&both.victim)])
        })?;
        let (white, black) = (effect(*kind, usual), effects(*kind, &usual.before, &here.after));
        let numbers = [mean(&usual.before), mean(&here.after), mean(&usual.after), mean(&effect(*kind, &there))];
        Ok(Answer::new(kind, &numbers, verdict(mean(&black) < mean(&white))))
    })?;
    Ok(wording::transferred().answered(answers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_near_the_bound_is_no_answer() {
        assert_eq!(drowned(10.0, 0.1, 0.049), Verdict::Pass);
        assert_eq!(drowned(10.0, 0.1, 0.051), Verdict::NoAnswer);
        assert_eq!(drowned(10.0, 0.3, 0.051), Verdict::NoAnswer);
        assert_eq!(drowned(10.0, 0.3, 0.049), Verdict::Fail);
        assert_eq!(drowned(10.0, 0.1, f64::NAN), Verdict::Pass);
        assert_eq!([-0.1, -0.3].map(|share| drowned(10.0, share, 0.01)), [Verdict::Pass, Verdict::Fail]);
        // An attack without an effect, or with none that is a number.
        assert_eq!([0.0, -1.0, f64::NAN].map(|effect| drowned(effect, 0.0, 0.0)), [Verdict::Fail; 3]);
    }
}
