//! Attacks on one model, measured on another: the paper's matrix of five MNIST models.

use super::grid::Grid;
use super::{Experiment, Outcome, Published, beyond};
use crate::files;
use crate::reproduce::{Scope, Session};
use anyhow::Result;
use rankle_report::{Attack, Planned, Record, Source, System};

/// Five models, each attacked and each measured.
pub(super) struct Transfer;

const EPSILON: f64 = 0.3;

/// The models of `method.md` 9 with the names that the tables give them.
fn models() -> [(&'static str, System); 5] {
    let mnist = |model, distance, loss| System::plain("mnist", model, distance, loss);
    [
        ("LeNet CT", mnist("lenet", "cosine", "triplet")),
        ("C2F2 CC", mnist("c2f2", "cosine", "contrastive")),
        ("C2F2 CT", mnist("c2f2", "cosine", "triplet")),
        ("C2F2 ET", mnist("c2f2", "euclidean", "triplet")),
        ("ResNet-18 CT", mnist("resnet18-28", "cosine", "triplet")),
    ]
}

/// The cell of one attack, from one model to one. `weights` says where the weights of a system are.
fn planned(
    attack: Attack,
    from: &System,
    to: &System,
    scope: &Scope,
    weights: impl Fn(&System) -> Result<String>,
) -> Result<Planned> {
    let cell = Planned::of_system("transfer", to, &weights(to)?, attack, EPSILON, &scope.setting());
    let source = Source {
        model: from.model.clone(),
        weights: weights(from)?,
        weights_sha256: String::new(),
        distance: from.distance.clone(),
    };
    Ok(Planned { from: Some(source), ..cell })
}

/// Measured model by measured model, so that each gallery is embedded once; then by source, then by attack.
fn plan(scope: &Scope, weights: impl Fn(&System) -> Result<String>) -> Result<Vec<Planned>> {
    let models = models();
    let mut plan = Vec::new();
    for (_, to) in &models {
        for (_, from) in &models {
            for attack in Attack::TABLE {
                plan.push(planned(attack, from, to, scope, &weights)?);
            }
        }
    }
    Ok(plan)
}

/// One matrix: a row for each attacked model, a column for each measured one. `records` are those of the plan.
fn matrix(attack: Attack, records: &[Record]) -> Grid {
    let (models, attacks) = (models(), Attack::TABLE.len());
    let at = Attack::TABLE.iter().position(|&other| other == attack).unwrap_or(0);
    let places = || models.iter().enumerate().map(|(place, (name, _))| ((*name).to_owned(), place));
    Grid::of("attacked, measured", places(), places(), |from, to| {
        let record = records.get((to * models.len() + from) * attacks + at);
        record.map_or_else(String::new, |record| beyond::ranks(attack, record.rank_before, record.rank_after))
    })
}

impl Experiment for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn summary(&self) -> &'static str {
        "attacks on one of five MNIST models, measured on another: the paper's 5 x 5 matrix at ε = 0.3"
    }

    fn published(&self) -> Published {
        Published::None
    }

    /// What costs is the search, on the model that is attacked.
    fn work(&self, _scope: &Scope) -> Vec<(System, usize)> {
        models().map(|(_, system)| (system, 5 * Attack::TABLE.len())).into()
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let systems = models().map(|(_, system)| system);
        let weights = session.weights(&systems)?;
        eprintln!("{}: {scope}, into {}", self.name(), files::shown(&session.output));
        let records = session.sweep(&plan(scope, |system| Ok(weights.of(system)?.name.clone()))?)?;
        let caveats = beyond::caveats(&weights, &systems)?;
        let grids = Attack::TABLE.map(|attack| (beyond::heading(attack), matrix(attack, &records)));
        let note = "Mean normalised rank in percent on the model of the column, of images that were perturbed against the model of \
                    the row; plus attacks: after, minus attacks: before → after. On the diagonal stand the white-box results. No \
                    numbers of these matrices are public.";
        let about = beyond::About { title: "Transfer between five MNIST models, ε = 0.3", scope, note, caveats: &caveats };
        beyond::report(&session.output, &about, &grids, &[], &records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::named;
    use super::*;
    use crate::reproduce::sample;

    fn whole() -> Vec<Planned> {
        plan(&Scope::default(), |system| Ok(system.id())).unwrap()
    }

    #[test]
    fn every_pair_is_attacked_in_four_ways() {
        let plan = whole();
        let pair = |planned: &Planned| (planned.from.clone().unwrap().weights, planned.weights.clone(), planned.attack.name());
        let mut pairs: Vec<_> = plan.iter().map(pair).collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!((pairs.len(), named("transfer").work(&Scope::default()).iter().map(|work| work.1).sum()), (100, 100));
        assert!(plan.iter().all(|planned| planned.epsilon == 0.3 && planned.targets == 1 && planned.images == 1000));
        assert_eq!(plan.chunk_by(|a, b| a.weights == b.weights).count(), 5, "one measured model after the other");
    }

    #[test]
    fn a_record_stands_in_its_row_and_column() {
        let mut records: Vec<Record> = vec![sample::answered().1.swap_remove(0); 100];
        for (n, (planned, record)) in whole().iter().zip(&mut records).enumerate() {
            record.rank_after = Some(n as f64);
            record.rank_before = Some(planned.epsilon);
        }
        let grid = matrix(Attack::CandidateLower, &records);
        // From C2F2 CC (1) to ResNet-18 (4): cell 4 * 20 + 1 * 4 + 1.
        assert_eq!((grid.rows[1].0.as_str(), grid.rows[1].1[4].as_str()), ("C2F2 CC", "0.30 → 85.00"));
        assert_eq!(matrix(Attack::CandidateRaise, &records).rows[1].1[4], "84.00");
        assert_eq!((grid.columns.len(), grid.rows.len()), (5, 5));
    }
}
