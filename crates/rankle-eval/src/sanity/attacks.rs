//! The checks `noise`, `effort`, `enough`, `unbounded`, `transfer` and `gradient-free`.

use super::bounds::{BROKEN, EFFORTS, ENOUGH, NOISE};
use super::lab::{
    ATTACKS, Attacked, FAMILIES, Family, Lab, SearchResult, WhiteBox, effects, error, is_plus, longer, mean, ranks,
};
use super::wording;
use crate::error::Result;
use crate::{Experiment, RankedSubject, transfer};
use rankle_attacks::{AttackId, Noise, Pgd, Protocol, Standard, Threat, sample_images};
use rankle_core::{Seed, Sets};
use rankle_report::sanity::{Answer, Check, Verdict};

/// Factor by which noise is measured on more images: its effect is small beside that of an attack.
const MORE: usize = 10;
/// Rise of a loss, relative to the loss of the clean images, that is put down to the rounding of sums.
const ROUNDING: f64 = 1e-9;

/// Estimated cost of a study, in units of a [`Monitor`](crate::Monitor).
pub fn work(threat: Threat, images: usize, lens: Sets<usize>, with_other: bool) -> u64 {
    let cost = |kind| {
        let usual = Experiment::usual(kind, threat, Protocol::Paper, Seed(0));
        let noisy = more(images, *lens.of(usual.perturbs()));
        let searches = EFFORTS.iter().map(|&effort| longer(threat, effort)).chain([unbounded_search()]);
        let searched: u64 = searches.map(|search| Experiment { search: search.into(), ..usual }.cost(images)).sum();
        searched + usual.cost(images) * if with_other { 2 } else { 1 } + usual.cost(noisy) + 2 * noisy as u64
    };
    let family = |kind| {
        let usual = Experiment::usual(kind, threat, Protocol::Paper, Seed(0));
        let standard = Experiment { search: Standard { threat }.into(), ..usual };
        usual.cost(images) + standard.cost(images)
    };
    ATTACKS.into_iter().map(cost).chain(FAMILIES.into_iter().map(family)).fold(0, u64::saturating_add)
}

/// Number of searches that a study stores: noise, the attack beside it, the tables' search, each effort, unbounded, transfer, and
/// for each family the standard attack.
pub fn searches(with_other: bool) -> usize {
    ATTACKS.len() * (2 + 1 + EFFORTS.len() + 1 + usize::from(with_other)) + FAMILIES.len()
}

/// Number of images that noise is measured on.
fn more(images: usize, len: usize) -> usize {
    (MORE * images).min(len)
}

/// A search in the ball of radius 1, which holds all images.
fn unbounded_search() -> Pgd {
    Pgd { restarts: 1, ..Pgd::strict(Threat::linf(1.0).expect("one is a radius")) }
}

fn verdict(passed: bool) -> Verdict {
    if passed { Verdict::Pass } else { Verdict::Fail }
}

/// One answer for each attack.
fn each(lab: &Lab, mut answer: impl FnMut(&Attacked) -> Result<Answer>) -> Result<Vec<Answer>> {
    lab.attacks.iter().map(&mut answer).collect()
}

fn effect(kind: AttackId, tried: &SearchResult) -> Vec<f64> {
    effects(kind, &tried.before, &tried.after)
}

/// Checks that noise of the same radius has hardly any effect.
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
        let SearchResult { before, after: noisy, .. } = moved("noise", &Noise { threat: *threat })?;
        let SearchResult { after: attacked, .. } = moved("beside noise", &Pgd::paper(*threat))?;
        let (by_noise, by_attack) = (effects(kind, &before, &noisy), mean(&effects(kind, &before, &attacked)));
        let share = mean(&by_noise) / by_attack;
        let numbers = [mean(&before), mean(&noisy), mean(&attacked), mean(&by_noise), error(&by_noise), 100.0 * share];
        Ok(Answer::new(kind, &numbers, noise_verdict(by_attack, share, error(&by_noise) / by_attack)))
    };
    let answers = ATTACKS.into_iter().map(answer).collect::<Result<_>>()?;
    Ok(wording::noise(noisy).answered(answers))
}

/// Verdict on the effect of noise, as a share of the effect of the attack, with its standard error: a failure above [`NOISE`] in
/// either direction, no answer if two standard errors reach across it. The error of a single image, NaN, counts as 0.
fn noise_verdict(by_attack: f64, share: f64, error: f64) -> Verdict {
    let reach = if error.is_nan() { 0.0 } else { 2.0 * error };
    let share = share.abs();
    match by_attack > 0.0 {
        true if share + reach <= NOISE => Verdict::Pass,
        true if share - reach <= NOISE => Verdict::NoAnswer,
        _ => Verdict::Fail,
    }
}

/// Checks that more steps and more restarts never leave a higher loss.
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

/// Checks that the search of the tables has nearly the effect of the standard attack.
pub(super) fn enough(lab: &Lab) -> Result<Check> {
    let answer = |Family { kind, usual, standard, .. }: &Family| {
        let (by_usual, by_standard) = (mean(&effect(*kind, usual)), mean(&effect(*kind, standard)));
        let share = by_usual / by_standard;
        let numbers = [mean(&usual.before), mean(&usual.after), mean(&standard.after), 100.0 * share];
        Answer::new(kind, &numbers, verdict(is_enough(by_usual, by_standard)))
    };
    Ok(wording::enough().answered(lab.families.iter().map(answer).collect()))
}

fn is_enough(by_usual: f64, by_standard: f64) -> bool {
    by_usual > 0.0 && (by_standard <= by_usual || by_usual / by_standard >= ENOUGH)
}

/// Checks that no attack without gradients beats one that follows nothing but them.
pub(super) fn gradient_free(lab: &Lab) -> Result<Check> {
    let answer = |Family { kind, white_box, gradient_free, .. }: &Family| {
        let ahead: Vec<f64> =
            effect(*kind, gradient_free).iter().zip(effect(*kind, white_box)).map(|(free, white)| free - white).collect();
        let numbers = [mean(&white_box.before), mean(&white_box.after), mean(&gradient_free.after), mean(&ahead), error(&ahead)];
        Answer::new(kind, &numbers, gradient_free_verdict(mean(&ahead), error(&ahead)))
    };
    Ok(wording::gradient_free().answered(lab.families.iter().map(answer).collect()))
}

/// Verdict on the effect of the attack without gradients beyond that of the others: a failure above 0, no answer if two standard
/// errors reach down to 0. The error of a single image, NaN, counts as 0.
fn gradient_free_verdict(ahead: f64, error: f64) -> Verdict {
    let reach = if error.is_nan() { 0.0 } else { 2.0 * error };
    match ahead > 0.0 {
        true if ahead > reach => Verdict::Fail,
        true => Verdict::NoAnswer,
        false => Verdict::Pass,
    }
}

/// Checks that a search without bounds reaches any rank.
pub(super) fn unbounded(lab: &Lab) -> Result<Check> {
    let answers = each(lab, |Attacked { kind, targets, usual, .. }| {
        let free = lab.attempt("ε = 1", *kind, targets, &unbounded_search())?;
        let reached = mean(&free.after);
        let broken = if is_plus(*kind) { reached <= BROKEN } else { reached >= 100.0 - BROKEN };
        Ok(Answer::new(kind, &[mean(&usual.before), mean(&usual.after), reached], verdict(broken)))
    })?;
    Ok(wording::unbounded().answered(answers))
}

/// Checks that images made against another model have less effect than those made against this one.
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
    fn a_search_is_enough_with_nine_tenths_of_the_effect() {
        let pairs = [(9.1, 10.0), (8.9, 10.0), (10.0, 9.0), (0.0, 0.0), (-1.0, -2.0), (f64::NAN, 1.0)];
        assert_eq!(pairs.map(|(usual, standard)| is_enough(usual, standard)), [true, false, true, false, false, false]);
    }

    #[test]
    fn an_attack_without_gradients_must_be_ahead_by_more_than_its_error() {
        let verdicts = [(1.0, 0.4), (1.0, 0.6), (0.0, 0.1), (-1.0, 0.1), (1.0, f64::NAN), (f64::NAN, 0.0)];
        assert_eq!(
            verdicts.map(|(ahead, error)| gradient_free_verdict(ahead, error)),
            [Verdict::Fail, Verdict::NoAnswer, Verdict::Pass, Verdict::Pass, Verdict::Fail, Verdict::Pass]
        );
    }

    #[test]
    fn noise_near_the_bound_is_no_answer() {
        assert_eq!(noise_verdict(10.0, 0.1, 0.049), Verdict::Pass);
        assert_eq!(noise_verdict(10.0, 0.1, 0.051), Verdict::NoAnswer);
        assert_eq!(noise_verdict(10.0, 0.3, 0.051), Verdict::NoAnswer);
        assert_eq!(noise_verdict(10.0, 0.3, 0.049), Verdict::Fail);
        assert_eq!(noise_verdict(10.0, 0.1, f64::NAN), Verdict::Pass);
        assert_eq!([-0.1, -0.3].map(|share| noise_verdict(10.0, share, 0.01)), [Verdict::Pass, Verdict::Fail]);
        // An attack without an effect, or with an effect of NaN.
        assert_eq!([0.0, -1.0, f64::NAN].map(|effect| noise_verdict(effect, 0.0, 0.0)), [Verdict::Fail; 3]);
    }
}
