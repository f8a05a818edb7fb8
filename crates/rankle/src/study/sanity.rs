//! Sanity checks of a defended model, and of the undefended one for contrast.

use super::plan::Plan;
use super::{Outcome, Scope, Session, Study, beyond, pictures, shown};
use crate::files;
use anyhow::{Context, Result};
use rankle_report::sanity::Verdict;
use rankle_report::{Sanity as Page, System};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write;
use toml::Spanned;

/// Section `[sanity]` of a plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    /// Two subjects; images made against the one are transferred to the other.
    models: Vec<Spanned<String>>,
    /// Radius of the claimed robustness.
    epsilon: f64,
}

/// Sanity pages of two models, each with images transferred from the other.
pub(super) struct Sanity {
    title: String,
    systems: [System; 2],
    epsilon: f64,
}

/// A page takes a tenth of the images of a table, because its searches are more and longer.
const SHARE: usize = 10;
/// Cost of a page, in usual cells with all images of a table.
const CELLS: usize = 50;

struct Answered {
    folder: String,
    page: Page,
    caveat: Option<String>,
}

impl Sanity {
    /// Reads the section of a plan. Unknown subjects, other than two distinct ones, and a radius outside of (0, 1] are refused.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let Data { models, epsilon } = plan.section("sanity", &plan.file.sanity)?;
        plan.check_epsilon(*epsilon)?;
        let systems: Vec<System> = plan.named(models)?.into_iter().map(|(_, system)| system).collect();
        match <[System; 2]>::try_from(systems) {
            Ok(systems) if systems[0] != systems[1] && *epsilon > 0.0 => {
                Ok(Self { title: plan.file.title.clone(), systems, epsilon: *epsilon })
            }
            _ => Err(plan.lacks("[sanity] needs two different models and an epsilon above 0")),
        }
    }
}

fn images(scope: &Scope) -> usize {
    (scope.images / SHARE).max(1)
}

/// Table of verdicts: a row per check, a column per model.
fn markdown(title: &str, answered: &[Answered]) -> String {
    let mut out = format!("# {title}\n\n");
    for Answered { folder, page, caveat } in answered {
        let beware = caveat.as_ref().map_or_else(String::new, |caveat| format!(" **Beware: {caveat}.**"));
        writeln!(out, "- [{folder}]({folder}/sanity.md): {}.{beware}", page.headline()).expect("a string takes everything");
    }
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let folders = answered.iter().map(|one| one.folder.clone());
    out += &format!("\n{}", row(["check".to_owned()].into_iter().chain(folders).collect()));
    out += &format!("|---|{}\n", "---|".repeat(answered.len()));
    let checks = answered.first().map_or(&[][..], |one| &one.page.checks);
    for (at, check) in checks.iter().enumerate() {
        let verdict = |one: &Answered| one.page.checks.get(at).map_or(Verdict::NoAnswer, |check| check.verdict).to_string();
        out += &row([check.claim.clone()].into_iter().chain(answered.iter().map(verdict)).collect());
    }
    out
}

/// The pages as a JSON array, with their caveats.
fn json(answered: &[Answered]) -> Result<String> {
    let object = |Answered { page, caveat, .. }: &Answered| -> Result<Value> {
        let mut value = serde_json::to_value(page).context("a page cannot be written as JSON")?;
        if let (Value::Object(fields), Some(caveat)) = (&mut value, caveat) {
            fields.insert("caveat".to_owned(), caveat.clone().into());
        }
        Ok(value)
    };
    let pages = answered.iter().map(object).collect::<Result<Vec<_>>>()?;
    serde_json::to_string_pretty(&pages).context("the pages cannot be written as JSON")
}

fn for_people(answered: &[Answered], folder: &str) -> String {
    let mut text = String::new();
    for Answered { folder, page, caveat } in answered {
        text += &format!("{folder}: {}\n", page.headline());
        text += &caveat.as_ref().map_or_else(String::new, |caveat| format!("BEWARE: {caveat}\n"));
    }
    format!("{text}report.md and the pages are in {folder}\n")
}

impl Study for Sanity {
    fn work(&self, _scope: &Scope) -> Vec<(System, usize)> {
        self.systems.iter().map(|system| (system.clone(), CELLS)).collect()
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let [one, two] = &self.systems;
        let models = session.weights(&self.systems)?;
        let images = images(&session.scope);
        session.tell(format_args!("{images} images"));
        let mut answered = Vec::new();
        for (system, other) in [(one, two), (two, one)] {
            let (weights, folder) = (models.of(system)?, system.id());
            let page = session.sanity((system, weights), (other, models.of(other)?), self.epsilon, images, &folder)?;
            answered.push(Answered { folder, page, caveat: weights.short.clone() });
        }
        let pictures = pictures::draw(session, &models, &pictures::of(self.systems.clone(), self.epsilon))?;
        files::write(&session.output.join("report.md"), markdown(&self.title, &answered) + &beyond::gallery(&pictures))?;
        Ok(Outcome { text: for_people(&answered, &shown(session.output)), json: json(&answered)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::{CommittedResults, root, sha256};
    use super::super::plan::tests::plan;
    use super::*;
    use rankle_report::sanity::{Answer, Check};

    fn both() -> [(&'static str, Sanity); 2] {
        ["sanity", "sanity-fashion"].map(|name| (name, Sanity::of(&plan(name)).unwrap()))
    }

    fn answered(folder: &str, verdict: Verdict, caveat: Option<&str>) -> Answered {
        let check = Check {
            name: "noise".into(),
            claim: "Noise does nothing.".into(),
            measured: String::new(),
            expectation: String::new(),
            failure: String::new(),
            columns: vec!["rank".into()],
            answers: Vec::new(),
            verdict,
            reason: None,
        };
        let page = Page {
            subject: rankle_report::sample::subject(),
            preprocessing: None,
            epsilon: 0.3,
            images: 100,
            gallery: 10_000,
            seed: 0,
            recall_at_1: Some(98.0),
            against: None,
            checks: vec![check.answered(vec![Answer::new("ca+", &[1.0], verdict)])],
            seconds: 1.0,
            provenance: rankle_report::sample::provenance(),
        };
        Answered { folder: folder.into(), page, caveat: caveat.map(str::to_owned) }
    }

    #[test]
    fn verdicts_stand_side_by_side_with_their_caveats() {
        let both = [answered("est", Verdict::Fail, Some("quick model")), answered("plain", Verdict::Pass, None)];
        let text = markdown("Is it?", &both);
        for part in [
            "- [est](est/sanity.md): 0 of 1 checks passed; failed: noise. **Beware: quick model.**\n",
            "- [plain](plain/sanity.md): 1 of 1 checks passed.\n",
            "| check | est | plain |\n|---|---|---|\n| Noise does nothing. | fail | pass |\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let pages: Vec<Value> = serde_json::from_str(&json(&both).unwrap()).unwrap();
        assert!(pages[0]["caveat"] == "quick model" && pages[1].get("caveat").is_none());
        let text = for_people(&both, "target/here");
        assert!(text.starts_with("est: 0 of 1 checks passed; failed: noise\nBEWARE: quick model\nplain: 1 of 1"), "{text}");
    }

    #[test]
    fn the_kept_pages_are_about_the_shipped_weights_and_stand_beside_them() {
        for (name, sanity) in both() {
            let kept = CommittedResults::of(name);
            let answered = sanity.systems.clone().map(|system| {
                let (folder, models) = (system.id(), root().join("models").join(system.id()));
                let page = Page::read(&kept.path(&format!("{folder}/sanity.json"))).unwrap();
                assert_eq!(page.provenance.weights_sha256, sha256(&format!("models/{folder}/model.safetensors")));
                assert_eq!((page.epsilon, page.images, page.seed), (sanity.epsilon, images(&Scope::default()), 0));
                assert_eq!(page.markdown(), kept.text(&format!("{folder}/sanity.md")));
                let beside = |file| std::fs::read_to_string(models.join(file)).unwrap() == kept.text(&format!("{folder}/{file}"));
                assert!(!system.is_defended() || ["sanity.json", "sanity.md"].into_iter().all(beside), "{folder}");
                Answered { folder, page, caveat: None }
            });
            kept.assert_tables(&markdown(&sanity.title, &answered));
            assert!(kept.text("report.md").starts_with(&markdown(&sanity.title, &answered)));
        }
    }

    #[test]
    fn a_page_is_about_a_tenth_of_the_images_and_both_models() {
        assert_eq!([Scope::QUICK, Scope::default(), Scope::FULL].map(|scope| images(&scope)), [10, 100, 1000]);
        for (name, Sanity { systems: [defended, plain], .. }) in both() {
            let dataset = if name == "sanity" { "mnist" } else { "fashion-mnist" };
            assert!(defended.is_defended() && !plain.is_defended() && [&defended.dataset, &plain.dataset] == [dataset; 2]);
        }
    }
}
