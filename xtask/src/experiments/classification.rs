//! What the usual attacks leave of the paper's classification baselines, to compare rankings with.

use super::beyond::{self, About};
use super::grid::Grid;
use super::{Experiment, Outcome, Published};
use crate::files;
use crate::reproduce::report::distinct;
use crate::reproduce::{Scope, Session};
use anyhow::{Context, Result, ensure};
use rankle_cli::say;
use rankle_report::System;
use serde::{Deserialize, Serialize};

/// Accuracies of classifiers of one dataset, before and after attacks.
pub(super) struct Classification {
    name: &'static str,
    summary: &'static str,
    dataset: &'static str,
    /// Whether one of them is trained on attacked images, too.
    hardened: bool,
}

pub(super) static MNIST: Classification = Classification {
    name: "classification",
    summary: "FGSM and PGD on two classifiers of MNIST: softmax regression, and C2F2 with a classifier on top",
    dataset: "mnist",
    hardened: false,
};

pub(super) static FASHION: Classification = Classification {
    name: "classification-fashion",
    summary: "FGSM and PGD on three classifiers of Fashion-MNIST: the same two, and C2F2 trained against PGD",
    dataset: "fashion-mnist",
    hardened: true,
};

const ATTACKS: [&str; 2] = ["fgsm", "pgd"];
/// Those of the paper's ranking tables, all and with little time.
const EPSILONS: [f64; 4] = [0.01, 0.03, 0.1, 0.3];
const FEW: [f64; 2] = [0.1, 0.3];

/// The answer of `rankle classify`, as far as it is reported. Accuracies are in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    dataset: String,
    model: String,
    /// What it was trained with; the driver does not know.
    #[serde(default)]
    defense: String,
    attack: String,
    epsilon: f64,
    accuracy: f64,
    accuracy_stderr: Option<f64>,
    accuracy_after: f64,
    accuracy_after_stderr: Option<f64>,
    images: usize,
    seed: u64,
    weights: String,
    weights_sha256: String,
    seconds: f64,
    device: String,
    instruction_set: String,
    code_version: String,
    /// What has to be said of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caveat: Option<String>,
}

impl Classification {
    fn systems(&self) -> Vec<System> {
        let [softmax, c2f2] = ["softmax", "c2f2-classifier"].map(|model| System::classifier(self.dataset, model));
        let hardened = self.hardened.then(|| c2f2.clone().hardened());
        [softmax, c2f2].into_iter().chain(hardened).collect()
    }
}

fn epsilons(scope: &Scope) -> &'static [f64] {
    if scope.quick { &FEW } else { &EPSILONS }
}

impl Experiment for Classification {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn published(&self) -> Published {
        Published::None
    }

    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        self.systems().into_iter().map(|system| (system, ATTACKS.len() * epsilons(scope).len())).collect()
    }

    /// A cell takes seconds: they are computed anew each time, only the trainings are kept.
    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let (scope, systems) = (&session.scope, self.systems());
        let models = session.weights(&systems)?;
        say(format_args!("{}: {scope}, into {}", self.name, files::shown(&session.output)));
        let mut cells = Vec::new();
        for system in &systems {
            let weights = models.of(system)?;
            for attack in ATTACKS {
                for &epsilon in epsilons(scope) {
                    let line = session.classify(system, &weights.name, attack, epsilon)?;
                    let cell = parse(&line, system, attack, epsilon, scope)?;
                    let (defense, caveat) = (system.defense.clone(), weights.caveat().map(str::to_owned));
                    cells.push(Measured { defense, caveat, ..cell });
                }
            }
        }
        let caveats = beyond::caveats(&models, &systems)?;
        let title = format!("Classifiers of {} under FGSM and PGD", self.dataset);
        let note = format!("{NOTE}{}", if self.hardened { NOTE_ON_TRAINING } else { "" });
        let about = About { title: &title, scope, note: &note, caveats: &caveats };
        let (mut markdown, mut text) = beyond::body(&about, &grids(&cells), &[]);
        let weights = cells.iter().map(|cell| format!("{} (SHA-256 {})", cell.weights, cell.weights_sha256));
        let machines = cells.iter().map(|cell| format!("{} ({})", cell.device, cell.instruction_set));
        markdown += &format!("\nWeights: {}. Computed on {}.\n", distinct(weights), distinct(machines));
        let json = serde_json::to_string_pretty(&cells).context("the cells cannot be written as JSON")?;
        files::write(&session.output.join("cells.json"), &json)?;
        files::write(&session.output.join("report.md"), markdown)?;
        text += &format!("\ncells.json and report.md are in {}\n", files::shown(&session.output));
        Ok(Outcome { text, json })
    }
}

const NOTE: &str = "Percent of the test images that are classified correctly, ± one standard error. PGD has ten steps of ε/5. Slopes are those \
     of the network as it is measured, where the original leaves dropout on, which makes for a weaker attack. No numbers of \
     these are public.";
/// Where one of the models is hardened.
const NOTE_ON_TRAINING: &str = " Training against PGD has the same steps, at ε = 0.3.";

/// The answer must be the one that was asked for: anything else would put numbers into the wrong place.
fn parse(line: &str, system: &System, attack: &str, epsilon: f64, scope: &Scope) -> Result<Measured> {
    let cell: Measured =
        serde_json::from_str(line).with_context(|| format!("`rankle classify` printed what is no accuracy: {line}"))?;
    let asked = (&*system.dataset, &*system.model, attack, epsilon, scope.images, scope.seed);
    let answered = (&*cell.dataset, &*cell.model, &*cell.attack, cell.epsilon, cell.images, cell.seed);
    ensure!(asked == answered, "`rankle classify` answered with {answered:?} where {asked:?} was asked for");
    Ok(cell)
}

/// One for each model: a row for each attack, a column for each ε.
fn grids(cells: &[Measured]) -> Vec<(String, Grid)> {
    let of_model = |cells: &[Measured]| {
        let attacks: Vec<&[Measured]> = cells.chunk_by(|a, b| a.attack == b.attack).collect();
        let before = percent(cells[0].accuracy, cells[0].accuracy_stderr);
        let row = |cells: &&[Measured]| {
            let after = cells.iter().map(|cell| percent(cell.accuracy_after, cell.accuracy_after_stderr));
            (cells[0].attack.clone(), [before.clone()].into_iter().chain(after).collect())
        };
        let columns = attacks[0].iter().map(|cell| format!("ε = {}", cell.epsilon));
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
    use super::super::kept::Kept;
    use super::*;

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
            images: 1000,
            seed: 0,
            weights: "w.safetensors".into(),
            weights_sha256: "5f".repeat(32),
            seconds: 1.0,
            device: "cpu".into(),
            instruction_set: "avx2".into(),
            code_version: "0.1.0".into(),
            caveat: None,
        }
    }

    #[test]
    fn the_tables_show_every_cell() {
        let systems = FASHION.systems();
        let of_system = |system| ATTACKS.iter().flat_map(move |attack| EPSILONS.map(|epsilon| cell(system, attack, epsilon)));
        let grids = grids(&systems.iter().flat_map(of_system).collect::<Vec<_>>());
        assert_eq!(
            grids.iter().map(|(heading, _)| heading.as_str()).collect::<Vec<_>>(),
            [
                "softmax on fashion-mnist",
                "c2f2-classifier on fashion-mnist",
                "c2f2-classifier on fashion-mnist, trained against pgd"
            ]
        );
        let expected = "| attack | clean | ε = 0.01 | ε = 0.03 | ε = 0.1 | ε = 0.3 |\n|---|---:|---:|---:|---:|---:|\n\
                        | fgsm | 92.00 ± 0.86 | 91.00 ± 0.50 | 89.00 ± 0.50 | 82.00 ± 0.50 | 62.00 ± 0.50 |\n\
                        | pgd | 92.00 ± 0.86 | 91.00 ± 0.50 | 89.00 ± 0.50 | 82.00 ± 0.50 | 62.00 ± 0.50 |\n";
        assert!(grids.iter().all(|(_, grid)| grid.markdown() == expected), "{}", grids[0].1.markdown());
        assert_eq!(percent(50.0, None), "50.00"); // a single image has no error
    }

    #[test]
    fn the_kept_reports_are_made_of_the_kept_cells() {
        for experiment in [&MNIST, &FASHION] {
            let kept = Kept::of(experiment.name);
            let cells: Vec<Measured> = serde_json::from_str(&kept.text("cells.json")).unwrap();
            assert_eq!(cells.len(), experiment.work(&Scope::default()).iter().map(|(_, cells)| cells).sum::<usize>());
            kept.assert_grids(&grids(&cells));
        }
    }

    #[test]
    fn an_answer_must_be_what_was_asked_for() {
        let [softmax, c2f2] = MNIST.systems().try_into().unwrap();
        let line = serde_json::to_string(&cell(&softmax, "pgd", 0.1)).unwrap();
        let scope = Scope::default();
        assert_eq!(parse(&line, &softmax, "pgd", 0.1, &scope).unwrap(), cell(&softmax, "pgd", 0.1));
        let refused = |line: &str, system: &System, attack: &str, epsilon: f64, scope: &Scope| {
            parse(line, system, attack, epsilon, scope).unwrap_err().to_string()
        };
        assert!(refused(&line, &c2f2, "pgd", 0.1, &scope).contains("answered with"));
        assert!(refused(&line, &softmax, "fgsm", 0.1, &scope).contains("answered with"));
        assert!(refused(&line, &softmax, "pgd", 0.3, &scope).contains("answered with"));
        assert!(refused(&line, &softmax, "pgd", 0.1, &Scope::FULL).contains("answered with"));
        assert!(refused("Done!", &softmax, "pgd", 0.1, &scope).contains("no accuracy: Done!"));
    }

    #[test]
    fn every_epsilon_of_quick_is_one_of_all() {
        assert!(FEW.iter().all(|epsilon| EPSILONS.contains(epsilon)));
    }
}
