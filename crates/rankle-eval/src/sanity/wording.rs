//! Texts of the checks on the sanity page.

use super::bounds::{
    BROKEN, CONTRAST, DEVIATION, DIRECTIONS, EFFORTS, ENOUGH, IMAGES, ITEMS, MEAN, NOISE, SILENT, STILL, TIES, WAYS,
};
use rankle_attacks::{Agreement, Pgd, Slope};
use rankle_report::sanity::{Check, Verdict};

/// A check without answers. The texts are the claim, the measurement, the expectation and the meaning of a failure.
fn check(name: &str, texts: [String; 4], columns: Vec<String>) -> Check {
    let [claim, measured, expectation, failure] = texts;
    let name = name.to_owned();
    Check { name, claim, measured, expectation, failure, columns, answers: Vec::new(), verdict: Verdict::NoAnswer, reason: None }
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Column names of the growing searches, each followed by `what`.
fn efforts(what: &str) -> impl Iterator<Item = String> + use<'_> {
    EFFORTS.into_iter().map(move |(steps, starts)| match starts {
        1 => format!("{steps} steps{what}"),
        _ => format!("{starts} × {steps} steps{what}"),
    })
}

pub(super) fn noise(images: usize) -> Check {
    let texts = [
        "Random noise of the same ε does next to nothing.".to_owned(),
        format!(
            "every pixel goes up or down by ε, with equal probability, within [0, 1], against the attack with the search of the tables, both on \
             {images} images. The error is the standard error of the effect of the noise over the \
             images."
        ),
        format!(
            "the attack has an effect, and noise has at most {} % of it, in either direction; no answer where two standard errors reach across that bound: \
             take more images.",
            100.0 * NOISE
        ),
        "the attack is hardly better than chance (its gradients are of no use, whether hidden or misused), or noise alone upsets \
         the lists."
            .to_owned(),
    ];
    let names = [
        "rank clean, %",
        "rank with noise, %",
        "rank attacked, %",
        "effect of noise, points",
        "error, points",
        "noise / attack, %",
    ];
    check("noise", texts, columns(&names))
}

pub(super) fn effort(usual: &Pgd) -> Check {
    let texts = [
        "More steps and more random starts are never weaker.".to_owned(),
        format!(
            "the attacker's own loss, a mean over the images, lower is better for the attacker, for searches each of which is the \
             beginning of the next one: steps of ε/10 (1/255 at least) from random starts, the best image of all kept. The search of the \
             tables stands beside them: {} steps of {:.4} from the clean image, the last image.",
            usual.iterations, usual.step
        ),
        "no loss in the columns with numbers of steps is above the one to its left. With the best image kept this cannot be \
         otherwise."
            .to_owned(),
        "a defect of the search, not of the model: no number of it can be trusted.".to_owned(),
    ];
    let names = columns(&["loss clean", "tables' search"]);
    check("effort", texts, names.into_iter().chain(efforts("")).collect())
}

/// What the numbers of a family are.
const NUMBERS: &str = "For sp-qa+ a number is the rank and ξ times that of what shall stay in front; for es it is the embedding shift. sp-qa- is left \
                       out: its ξ of 100 has it keep rather than move.";

pub(super) fn enough() -> Check {
    let texts = [
        "The search of the tables moves ranks nearly as far as the standard attack.".to_owned(),
        format!(
            "ranks after the search of the tables and after the standard attack, which has no parameters: APGD on the hinges and on the \
             soft rank from the clean image, on the soft rank from random starts, Square attack, and APGD from its result; the strongest counts for each image. {NUMBERS}"
        ),
        format!("the search of the tables has at least {} % of the effect of the standard attack.", 100.0 * ENOUGH),
        "robustness read from the tables is overstated: a stronger search has more effect. Quote what the standard attack leaves.".to_owned(),
    ];
    check("enough", texts, columns(&["clean", "tables' search", "standard attack", "tables' / standard effect, %"]))
}

pub(super) fn gradient_free() -> Check {
    let texts = [
        "No attack without gradients is stronger than one that follows nothing but gradients.".to_owned(),
        format!(
            "of the parts of the standard attack, the strongest that follows nothing but gradients, from the clean image, beside Square attack, \
             a random search that only asks for embeddings. The error is the standard error of the difference over the images. {NUMBERS}"
        ),
        "Square attack has no more effect; no answer where it has, but by less than two standard errors: take more images."
            .to_owned(),
        "the gradients are hidden: attacks that follow them overstate the robustness of this model.".to_owned(),
    ];
    let names = ["clean", "by gradients", "Square", "Square's effect beyond, points", "error, points"];
    check("gradient-free", texts, columns(&names))
}

pub(super) fn unbounded() -> Check {
    let texts = [
        "Without a bound any rank can be reached.".to_owned(),
        "the attack with ε = 1: 50 steps of 0.1 from a random image, the best one kept.".to_owned(),
        format!(
            "ranks within {BROKEN} % of where the attack wants them: at most {BROKEN} for plus, at least {} for minus.",
            100.0 - BROKEN
        ),
        "the search follows gradients that vanish, so smaller ε prove nothing; or the embedding cannot reach those \
         ranks."
            .to_owned(),
    ];
    check("unbounded", texts, columns(&["rank clean, %", "rank attacked, %", "rank with ε = 1, %"]))
}

pub(super) fn transferred() -> Check {
    let texts = [
        "Images made against another model are weaker than those made against this one.".to_owned(),
        "the same images, targets, ε and search on both sides. The last column is their effect on the model they were made against. \
         The harder test is another model with the same defense: images made against an ordinary one hardly transfer."
            .to_owned(),
        "the effect of the transferred images on this model is below that of the attack on it.".to_owned(),
        "an attack that never saw this model beats one that did: its gradients are hidden, and the white-box numbers overstate it."
            .to_owned(),
    ];
    let names = ["rank clean, %", "rank transferred, %", "rank attacked, %", "effect at home, points"];
    check("transfer", texts, columns(&names))
}

pub(super) fn differences() -> Check {
    let texts = [
        "Gradients agree with differences of the loss.".to_owned(),
        format!(
            "the gradient of the attacker's loss, through the whole model, beside the slope of the loss when all pixels move at once, each \
             up or down with equal probability, and back: {WAYS} such directions for each of {IMAGES} images (fewer where fewer are attacked) at \
             random places of the ball. Every slope is measured twice, with steps of {}, so that rounding, which is independent in \
             the two, can be taken out. The slope is the root mean square over the directions, the error that of what the gradient \
             differs by; at most: within two standard errors.",
            Slope::STEPS.map(|step| format!("1/{:.0}", 1.0 / step)).join(" and "),
        ),
        format!(
            "the error is at most {} % of the slope; no answer where it may as well be more, or where the slope is lost in \
             rounding.",
            100.0 * Agreement::TOLERANCE,
        ),
        "the attacks follow something else than the loss: their failure says nothing about the model.".to_owned(),
    ];
    check("gradients", texts, columns(&["directions", "slope", "error, % of the slope", "at most, %"]))
}

pub(super) fn zeros() -> Check {
    let texts = [
        "Hardly any gradient is exactly zero.".to_owned(),
        "the gradient of the attacker's loss at the clean images and at random places of the ball. A search by signs does not move \
         a pixel without one. An image whose target is where the attack wants it has no gradient, correctly."
            .to_owned(),
        format!(
            "at both places at most {} % of the pixels, and at most {} % of the images in all their pixels.",
            100.0 * STILL,
            100.0 * SILENT
        ),
        "the search stands still where the model is flat: a sign of masked gradients (saturated or rounded layers).".to_owned(),
    ];
    let names = ["clean: pixels, %", "clean: whole images, %", "random places: pixels, %", "random places: whole images, %"];
    check("zeros", texts, columns(&names))
}

pub(super) fn collapse() -> Check {
    let texts = [
        "The embedding has not collapsed.".to_owned(),
        format!(
            "distances of {ITEMS} sampled items to all others, unattacked. Items are orthogonal when they have nothing in common. Directions \
             are the participation ratio of the eigenvalues of their covariance: 1 on a line; ten classes of points, all equally far \
             from one another, have 9."
        ),
        format!(
            "a mean distance of at least {} % of the orthogonal one, a deviation of at least {} % of it, classes {CONTRAST} times as far \
             from one another as within, at most {} % ties, at least {DIRECTIONS} directions.",
            100.0 * MEAN,
            100.0 * DEVIATION,
            100.0 * TIES
        ),
        "the lists hang on rounding or on a single direction; ranks that do not move under attack may be ranks that mean nothing."
            .to_owned(),
    ];
    check("collapse", texts, columns(&["value", "bound"]))
}
