//! Caveats for claims of robustness.

use super::{Sanity, Verdict};
use crate::{Subject, System};

/// Caveat for a claim of robustness that no sanity page covers.
pub const UNCHECKED: &str = "robustness unchecked";

/// Names of the checks of a complete page, in order.
pub const QUESTIONS: [&str; 8] = ["noise", "effort", "enough", "unbounded", "transfer", "gradients", "zeros", "collapse"];

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
            return Some(format!("its sanity page is about ε = {}, and {epsilon} is claimed", self.epsilon));
        }
        if self.images < ENOUGH_IMAGES {
            return Some(format!("its sanity page is about {} attacked images, {ENOUGH_IMAGES} are needed", self.images));
        }
        let asked = |question: &&str| self.checks.iter().any(|check| check.name == *question);
        let missing: Vec<&str> = QUESTIONS.into_iter().filter(|question| !asked(question)).collect();
        (!missing.is_empty()).then(|| format!("its sanity page lacks the checks {}", missing.join(", ")))
    }

    /// The failed checks of the page or, if none failed, the open ones.
    fn findings(&self) -> Option<String> {
        let (failed, open) = (self.with(Verdict::Fail), self.open());
        let failed = (!failed.is_empty()).then(|| format!("its sanity page has failed checks: {}", failed.join(", ")));
        let open = (!open.is_empty()).then(|| format!("its sanity page has no answer to {}", open.join(", ")));
        failed.or(open)
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
        assert_eq!(with(&[("ca+", 1.0, Pass), ("ca-", 1.0, Fail)]), "its sanity page has failed checks: transfer");
        assert_eq!(with(&[("ca+", 1.0, Pass), ("ca-", 1.0, NoAnswer)]), "its sanity page has no answer to transfer (ca-)");
        assert_eq!(with(&[]), "its sanity page has no answer to transfer");
    }
}
