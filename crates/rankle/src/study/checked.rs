//! Check that the robustness of a model was examined.

use super::{recipe, shown};
use crate::files;
use rankle_report::sanity::{Claim, UNCHECKED};
use rankle_report::{Sanity, System};
use std::path::Path;

/// The caveat of a defended model; `None` if `rankle sanity` left a page beside these weights that covers the radius of the
/// defense and has no failed check. A classifier always has a caveat, because it has no sanity page.
pub(super) fn caveat(system: &System, weights: &Path) -> Option<String> {
    if system.is_classifier() {
        return Some(format!("{UNCHECKED}: a classifier has no sanity page, and nothing but the attacks shown here was tried"));
    }
    let page = weights.with_file_name("sanity.json");
    if !page.exists() {
        return Some(format!("{UNCHECKED}: there is no sanity page beside its weights (`rankle sanity` makes one)"));
    }
    let read = || -> anyhow::Result<_> {
        let hash = files::hash(&rankle_files::read(weights)?);
        Ok(Sanity::read(&page)?.caveat(&Claim { system, weights_sha256: &hash, epsilon: recipe::defended_epsilon(system) }))
    };
    read().unwrap_or_else(|_| Some(format!("{UNCHECKED}: {} cannot be read", shown(&page))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_report::sanity::QUESTIONS;

    #[test]
    fn only_the_page_of_these_weights_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let (weights, page) = (folder.path().join("model.safetensors"), folder.path().join("sanity.json"));
        std::fs::write(&weights, "abc").unwrap();
        let system = System::plain("mnist", "c2f2", "cosine", "triplet").defended();
        let said = || caveat(&system, &weights).unwrap_or_default();
        assert!(said().starts_with("robustness unchecked: there is no sanity page"));
        std::fs::write(&page, "{").unwrap();
        assert!(said().contains("cannot be read"), "{}", said());
        let of = |hash: &str, epsilon: f64| {
            let passed = |name: &str| {
                let answer = serde_json::json!({ "of": "ca+", "numbers": [], "verdict": "pass" });
                serde_json::json!({
                    "name": name, "claim": "", "measured": "", "expectation": "", "failure": "", "columns": [],
                    "answers": [answer], "verdict": "pass", "reason": null,
                })
            };
            serde_json::json!({
                "dataset": "mnist", "model": "c2f2", "weights": "w", "weights_sha256": hash, "distance": "cosine",
                "epsilon": epsilon, "images": 100, "gallery": 2, "seed": 0, "recall_at_1": 50.0, "against": null,
                "checks": QUESTIONS.map(passed), "seconds": 1.0, "device": "cpu", "instruction_set": "avx2", "code_version": "0.1.0",
            })
            .to_string()
        };
        std::fs::write(&page, of("ab", 0.3)).unwrap();
        assert!(said().contains("about other weights"), "{}", said());
        let own = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        std::fs::write(&page, of(own, 0.1)).unwrap();
        assert!(said().contains("about ε = 0.1, and 0.3 is claimed"), "{}", said());
        std::fs::write(&page, of(own, 0.3)).unwrap();
        assert_eq!(caveat(&system, &weights), None);
        let classifier = System::classifier("mnist", "softmax").defended();
        assert!(caveat(&classifier, &weights).unwrap().starts_with("robustness unchecked: a classifier"));
    }
}
