//! Caveats for claims of robustness.

use super::{Check, Sanity, Verdict};
use crate::{Epsilon, Subject, System};

/// Caveat for a claim of robustness that no sanity page covers.
pub const UNCHECKED: &str = "robustness unchecked";

/// Names of the checks of a complete page, in order.
pub const QUESTIONS: [&str; 9] =
    ["noise", "effort", "enough", "unbounded", "transfer", "gradient-free", "gradients", "zeros", "collapse"];

/// Minimum number of attacked images of a page that covers a claim.
pub const ENOUGH_IMAGES: usize = 100;

/// A claim that a model resists attacks.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The model, and the data that it is robust on.
    pub system: &'a System,
    /// SHA-256 of the weights file, in hexadecimal.
    pub weights_sha256: &'a str,
    /// Radius of the claim, in pixel units; the page must have the same. At a larger radius an attack reaches its goal with any
    /// search, so that every search looks long enough.
    pub epsilon: f64,
}

impl Sanity {
    /// Caveat to print beside a claim; `None` if this page is about the claim and has all checks, and each of them passed.
    pub fn caveat(&self, claim: &Claim<'_>) -> Option<String> {
        self.gap(claim).map(|gap| format!("{UNCHECKED}: {gap}")).or_else(|| self.findings())
    }

    /// The first reason why the page does not cover the claim.
    fn gap(&self, claim: &Claim<'_>) -> Option<String> {
        let Claim { system, weights_sha256, epsilon } = claim;
        if self.provenance.weights_sha256 != *weights_sha256 {
            return Some("the sanity page beside it is about other weights".to_owned());
        }
        let Subject { model, distance, .. } = &self.subject;
        let data = self.subject.data();
        if [&data, model, distance] != [&system.dataset, &system.model, &system.distance] {
            return Some(format!("its sanity page is about {model} on {data} with {distance} distance"));
        }
        if self.epsilon != *epsilon {
            let [checked, claimed] = [self.epsilon, *epsilon].map(Epsilon);
            return Some(format!("its sanity page is about ε = {checked}, and {claimed} is claimed"));
        }
        if self.images < ENOUGH_IMAGES {
            return Some(format!("its sanity page is about {} attacked images, {ENOUGH_IMAGES} are needed", self.images));
        }
        let asked = |question: &&str| self.checks.iter().any(|check| check.name == *question);
        let missing: Vec<&str> = QUESTIONS.into_iter().filter(|question| !asked(question)).collect();
        (!missing.is_empty()).then(|| format!("its sanity page lacks the checks {}", missing.join(", ")))
    }

    /// The findings of the failed checks or, if none failed, the open ones.
    fn findings(&self) -> Option<String> {
        let failed: Vec<&Check> = self.checks.iter().filter(|check| check.verdict == Verdict::Fail).collect();
        if failed.is_empty() {
            let open = self.open();
            let told = || format!("robustness not fully checked: its sanity page has no answer to {}", open.join(", "));
            return (!open.is_empty()).then(told);
        }
        // These are measured effects beyond that of the tables; the others leave open how large it would be.
        let overstated = failed.iter().any(|check| ["enough", "transfer", "gradient-free"].contains(&check.name.as_str()));
        let findings: Vec<String> = failed.into_iter().map(finding).collect();
        Some(format!("robustness {}: {}", if overstated { "overstated" } else { "in doubt" }, findings.join("; ")))
    }
}

/// The finding of a failed check, in words for readers who have not seen the page.
fn finding(check: &Check) -> String {
    match check.name.as_str() {
        "noise" => "random noise does too much of what the attack does",
        "effort" => "more steps of the search were weaker than fewer",
        "enough" => return stronger_search(check),
        "unbounded" => "even an attack without a bound does not reach every rank",
        "transfer" => "images perturbed against another model move ranks further than the attack on this one",
        "gradient-free" => "an attack without gradients moves ranks further than one that follows nothing but gradients",
        "gradients" => "the gradients are not those of the loss",
        "zeros" => "too many gradients are exactly zero",
        "collapse" => "the embedding has collapsed",
        name => return format!("its sanity page has a failed check, {name}"),
    }
    .to_owned()
}

/// Effect of a stronger search: the last number of an answer is the effect of the tables' search in percent of that
/// of the standard attack.
fn stronger_search(check: &Check) -> String {
    let failed = check.answers.iter().filter(|answer| answer.verdict == Verdict::Fail);
    let shares = failed.filter_map(|answer| answer.numbers.last().copied().flatten());
    let mut factors: Vec<f64> = shares.map(|share| 100.0 / share).filter(|factor| factor.is_finite() && *factor > 1.0).collect();
    factors.sort_by(f64::total_cmp);
    let factors: Vec<String> = factors.into_iter().map(|factor| format!("{factor:.1}")).collect();
    match (factors.first(), factors.last()) {
        (Some(least), Some(most)) if least == most => format!("a stronger search has {most} times the effect"),
        (Some(least), Some(most)) => format!("a stronger search has {least} to {most} times the effect"),
        _ => "a stronger search has more effect".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, page};
    use super::*;
    use crate::Provenance;
    use Verdict::{Fail, NoAnswer, Pass};

    const HASH: &str = "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";

    fn whole() -> Sanity {
        Sanity { checks: QUESTIONS.map(|name| check(name, &[("ca+", 1.0, Pass)])).into(), ..page() }
    }

    fn of(subject: Subject) -> Sanity {
        Sanity { subject, ..whole() }
    }

    fn said(page: &Sanity) -> Option<String> {
        let system = System::plain("mnist", "c2f2", "cosine", "triplet").defended();
        page.caveat(&Claim { system: &system, weights_sha256: HASH, epsilon: 0.3 })
    }

    #[test]
    fn a_whole_page_that_passes_lifts_the_caveat() {
        assert_eq!(said(&whole()), None);
        assert_eq!(said(&Sanity { images: 5000, ..whole() }), None);
    }

    #[test]
    fn a_page_about_something_else_does_not() {
        let cases = [
            (
                Sanity { provenance: Provenance { weights_sha256: "5f".into(), ..whole().provenance }, ..whole() },
                "the sanity page beside it is about other weights",
            ),
            (of(Subject { distance: "euclidean".into(), ..whole().subject }), "about c2f2 on mnist with euclidean distance"),
            (of(Subject { dataset: "fashion-mnist".into(), ..whole().subject }), "about c2f2 on fashion-mnist with"),
            (of(Subject { model: "lenet".into(), ..whole().subject }), "about lenet on mnist"),
            (Sanity { epsilon: 0.01, ..whole() }, "about ε = 0.01, and 0.3 is claimed"),
            (Sanity { epsilon: 0.4, ..whole() }, "about ε = 0.4, and 0.3 is claimed"),
            (Sanity { images: 99, ..whole() }, "about 99 attacked images, 100 are needed"),
            (Sanity { checks: whole().checks.split_off(2), ..whole() }, "lacks the checks noise, effort"),
            (Sanity { checks: Vec::new(), ..whole() }, "lacks the checks noise, effort, enough"),
        ];
        for (page, word) in cases {
            let said = said(&page).unwrap();
            assert!(said.starts_with(UNCHECKED) && said.contains(word), "{said}");
        }
    }

    #[test]
    fn what_failed_and_what_is_open_is_named() {
        let with = |answers: &[(&str, f64, Verdict)]| {
            let mut page = whole();
            page.checks[4] = check("transfer", answers);
            said(&page).unwrap()
        };
        let further = "images perturbed against another model move ranks further than the attack on this one";
        assert_eq!(with(&[("ca+", 1.0, Pass), ("ca-", 1.0, Fail)]), format!("robustness overstated: {further}"));
        let open = "robustness not fully checked: its sanity page has no answer to transfer";
        assert_eq!(with(&[("ca+", 1.0, Pass), ("ca-", 1.0, NoAnswer)]), format!("{open} (ca-)"));
        assert_eq!(with(&[]), open);
    }

    #[test]
    fn a_longer_search_is_told_by_how_far_it_gets() {
        let with = |answers: &[(&str, f64, Verdict)]| {
            let mut page = whole();
            page.checks[2] = check("enough", answers);
            said(&page).unwrap()
        };
        let two = [("ca+", 95.0, Pass), ("ca-", 74.39, Fail), ("qa+", 81.86, Fail)];
        assert_eq!(with(&two), "robustness overstated: a stronger search has 1.2 to 1.3 times the effect");
        assert_eq!(with(&two[..2]), "robustness overstated: a stronger search has 1.3 times the effect");
        assert_eq!(
            with(&[("ca+", f64::NAN, Fail), ("ca-", 0.0, Fail), ("qa+", -3.0, Fail)]),
            "robustness overstated: a stronger search has more effect"
        );
    }

    /// Every check of a page has words of its own.
    #[test]
    fn every_failed_check_has_words() {
        for (at, name) in QUESTIONS.into_iter().enumerate() {
            let mut page = whole();
            page.checks[at] = check(name, &[("ca+", 80.0, Fail)]);
            let said = said(&page).unwrap();
            assert!(said.starts_with("robustness overstated: ") || said.starts_with("robustness in doubt: "), "{said}");
            assert!(!said.contains("failed check"), "{said}");
        }
        let mut page = whole();
        page.checks[6] = check("gradients", &[("ca+", 80.0, Fail)]);
        page.checks[8] = check("collapse", &[("ca+", 80.0, Fail)]);
        assert_eq!(
            said(&page).unwrap(),
            "robustness in doubt: the gradients are not those of the loss; the embedding has collapsed"
        );
    }
}
