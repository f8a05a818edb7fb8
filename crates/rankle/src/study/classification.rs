//! Accuracy of the paper's classification baselines under attack, for comparison with rankings.

use super::beyond::{self, About};
use super::plan::Plan;
use super::report::distinct;
use super::{Outcome, Scope, Session, Study, shown};
use crate::commands::PartAccuracy;
use crate::{files, names};
use anyhow::{Context, Result};
use rankle_record::Provenance;
use rankle_report::{Epsilon, Grid, System};
use serde::{Deserialize, Serialize};
use toml::Spanned;

/// Section `[classification]` of a plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    /// Subjects that are classifiers.
    models: Vec<Spanned<String>>,
    attacks: Vec<Spanned<String>>,
    epsilons: Vec<f64>,
}

/// Accuracies of classifiers, before and after attacks.
pub(super) struct Classification {
    title: String,
    note: String,
    systems: Vec<System>,
    attacks: Vec<String>,
    epsilons: Vec<f64>,
    /// Radii of `--quick`.
    few: Vec<f64>,
}

/// The fields of the answer of `rankle classify` that are reported. Accuracies are in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    dataset: String,
    model: String,
    /// Defense of the training; added here, since the command does not know it.
    #[serde(default)]
    defense: String,
    attack: String,
    epsilon: f64,
    accuracy: f64,
    accuracy_stderr: Option<f64>,
    accuracy_after: f64,
    accuracy_after_stderr: Option<f64>,
    /// What was left after each part, of an attack of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartAccuracy>,
    images: usize,
    seed: u64,
    weights: String,
    #[serde(flatten)]
    provenance: Provenance,
    seconds: f64,
    /// Caveat about the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caveat: Option<String>,
}

impl Classification {
    /// Reads the section of a plan; an unknown name or a section without cells is an error of one line.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let Data { models, attacks, epsilons } = plan.section("classification", &plan.file.classification)?;
        let systems: Vec<System> = plan.named(models)?.into_iter().map(|(_, system)| system).collect();
        if let Some((name, system)) = models.iter().zip(&systems).find(|(_, system)| !system.is_classifier()) {
            return Err(plan.wrong(&name.span(), &format!("{} is no classifier", system.model)));
        }
        let attack = |name: &Spanned<String>| {
            let found = names::CLASSIFIER_ATTACKS.find(name.get_ref());
            found.map(|attack| attack.to_string()).map_err(|message| plan.wrong(&name.span(), &message))
        };
        let attacks: Vec<String> = attacks.iter().map(attack).collect::<Result<_>>()?;
        let few = plan.file.quick.epsilons.clone().unwrap_or_else(|| epsilons.clone());
        epsilons.iter().chain(&few).try_for_each(|&epsilon| plan.check_epsilon(epsilon))?;
        if [systems.is_empty(), attacks.is_empty(), epsilons.is_empty(), few.is_empty()].contains(&true) {
            return Err(plan.lacks("[classification] needs a model, an attack and an epsilon at least"));
        }
        let (title, note) = (plan.file.title.clone(), plan.file.note.clone());
        Ok(Self { title, note, systems, attacks, epsilons: epsilons.clone(), few })
    }

    fn epsilons(&self, scope: &Scope) -> &[f64] {
        if scope.quick { &self.few } else { &self.epsilons }
    }
}

impl Study for Classification {
    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        let cells = self.attacks.len() * self.epsilons(scope).len();
        self.systems.iter().map(|system| (system.clone(), cells)).collect()
    }

    /// Computes every cell anew, since a cell takes minutes at most; only trained weights are kept.
    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let models = session.weights(&self.systems)?;
        session.tell(scope);
        let mut cells = Vec::new();
        for system in &self.systems {
            let weights = models.of(system)?;
            for attack in &self.attacks {
                for &epsilon in self.epsilons(scope) {
                    let answer = session.classify(system, weights, attack, epsilon)?;
                    let cell: Measured = serde_json::from_value(answer).context("an accuracy is none")?;
                    let (defense, caveat) = (system.defense.clone(), weights.caveat().map(str::to_owned));
                    cells.push(Measured { defense, caveat, ..cell });
                }
            }
        }
        let caveats = beyond::caveats(&models, &self.systems)?;
        let about = About { title: &self.title, scope, note: &self.note, caveats: &caveats };
        let (mut markdown, mut text) = beyond::body(&about, &grids(&cells), &[]);
        let weights = cells.iter().map(|cell| format!("{} (SHA-256 {})", cell.weights, cell.provenance.weights_sha256));
        let machines = cells.iter().map(|cell| cell.provenance.machine());
        markdown += &format!("\nWeights: {}. Computed on {}.\n", distinct(weights), distinct(machines));
        let json = serde_json::to_string_pretty(&cells).context("the cells cannot be written as JSON")?;
        files::write(&session.output.join("cells.json"), &json)?;
        files::write(&session.output.join("report.md"), markdown)?;
        text += &format!("\ncells.json and report.md are in {}\n", shown(session.output));
        Ok(Outcome { text, json })
    }
}

/// One table per model: a row per attack, a column per ε.
fn grids(cells: &[Measured]) -> Vec<(String, Grid)> {
    let of_model = |cells: &[Measured]| {
        let attacks: Vec<&[Measured]> = cells.chunk_by(|a, b| a.attack == b.attack).collect();
        let before = percent(cells[0].accuracy, cells[0].accuracy_stderr);
        let row = |cells: &&[Measured]| {
            let after = cells.iter().map(|cell| percent(cell.accuracy_after, cell.accuracy_after_stderr));
            (cells[0].attack.clone(), [before.clone()].into_iter().chain(after).collect())
        };
        let columns = attacks[0].iter().map(|cell| format!("ε = {}", Epsilon(cell.epsilon)));
        let grid = Grid {
            corner: "attack".to_owned(),
            columns: ["clean".to_owned()].into_iter().chain(columns).collect(),
            rows: attacks.iter().map(row).collect(),
        };
        let Measured { model, dataset, defense, .. } = &cells[0];
        let how = if defense == "none" { String::new() } else { format!(", trained against {defense}") };
        (format!("{model} on {dataset}{how}"), grid)
    };
    cells.chunk_by(|a, b| (&a.model, &a.defense) == (&b.model, &b.defense)).map(of_model).collect()
}

fn percent(accuracy: f64, error: Option<f64>) -> String {
    error.map_or_else(|| format!("{accuracy:.2}"), |error| format!("{accuracy:.2} ± {error:.2}"))
}

#[cfg(test)]
mod tests {
    use super::super::kept::CommittedResults;
    use super::super::plan::tests::plan;
    use super::*;

    fn both() -> [(&'static str, Classification); 2] {
        ["classification", "classification-fashion"].map(|name| (name, Classification::of(&plan(name)).unwrap()))
    }

    fn cell(system: &System, attack: &str, epsilon: f64) -> Measured {
        Measured {
            dataset: system.dataset.clone(),
            model: system.model.clone(),
            defense: system.defense.clone(),
            attack: attack.into(),
            epsilon,
            accuracy: 92.0,
            accuracy_stderr: Some(0.86),
            accuracy_after: 92.0 - 100.0 * epsilon,
            accuracy_after_stderr: Some(0.5),
            parts: Vec::new(),
            images: 1000,
            seed: 0,
            weights: "w.safetensors".into(),
            provenance: rankle_record::sample::provenance(),
            seconds: 1.0,
            caveat: None,
        }
    }

    #[test]
    fn the_tables_show_every_cell() {
        let [_, (_, Classification { systems, attacks, epsilons, .. })] = both();
        let mut cells = Vec::new();
        for (system, attack) in systems.iter().flat_map(|system| attacks.iter().map(move |attack| (system, attack))) {
            cells.extend(epsilons.iter().map(|&epsilon| cell(system, attack, epsilon)));
        }
        let grids = grids(&cells);
        assert_eq!(
            grids.iter().map(|(heading, _)| heading.as_str()).collect::<Vec<_>>(),
            [
                "softmax on fashion-mnist",
                "c2f2-classifier on fashion-mnist",
                "c2f2-classifier on fashion-mnist, trained against pgd"
            ]
        );
        let mut expected =
            "| attack | clean | ε = 0.01 | ε = 0.03 | ε = 0.1 | ε = 0.3 |\n|---|---:|---:|---:|---:|---:|\n".to_owned();
        for attack in &attacks {
            expected += &format!("| {attack} | 92.00 ± 0.86 | 91.00 ± 0.50 | 89.00 ± 0.50 | 82.00 ± 0.50 | 62.00 ± 0.50 |\n");
        }
        assert!(grids.iter().all(|(_, grid)| grid.markdown() == expected), "{}", grids[0].1.markdown());
        assert_eq!(percent(50.0, None), "50.00"); // a single image has no standard error
    }

    #[test]
    fn the_kept_reports_are_made_of_the_kept_cells() {
        for (name, experiment) in both() {
            let kept = CommittedResults::of(name);
            let cells: Vec<Measured> = serde_json::from_str(&kept.text("cells.json")).unwrap();
            assert_eq!(cells.len(), experiment.work(&Scope::default()).iter().map(|(_, cells)| cells).sum::<usize>());
            kept.assert_grids(&grids(&cells));
            kept.assert_note(&experiment.title, &experiment.note);
        }
    }

    #[test]
    fn every_epsilon_of_quick_is_one_of_all() {
        for (_, Classification { few, epsilons, .. }) in both() {
            assert!(few.len() < epsilons.len() && few.iter().all(|epsilon| epsilons.contains(epsilon)));
        }
    }
}
