//! Attacks on one model, measured on another: the paper's two matrices of five MNIST models.

use super::grid::Grid;
use super::{Experiment, Outcome, Published, beyond, pictures};
use crate::files;
use crate::reproduce::{Scope, Session};
use anyhow::Result;
use rankle_cli::say;
use rankle_report::{AttackId, Cell, Record, Source, System};

/// Five models, each attacked and each measured.
pub(super) struct Transfer {
    name: &'static str,
    summary: &'static str,
    title: &'static str,
    /// With the names that the tables give them.
    models: fn() -> [(&'static str, System); 5],
}

/// Five models that differ in network, distance or loss (`method.md` 9).
pub(super) static OTHERS: Transfer = Transfer {
    name: "transfer",
    summary: "attacks on one of five MNIST models, measured on another: the paper's 5 x 5 matrix at ε = 0.3",
    title: "Transfer between five MNIST models, ε = 0.3",
    models: || {
        let mnist = |model, distance, loss| System::plain("mnist", model, distance, loss);
        [
            ("LeNet CT", mnist("lenet", "cosine", "triplet")),
            ("C2F2 CC", mnist("c2f2", "cosine", "contrastive")),
            ("C2F2 CT", mnist("c2f2", "cosine", "triplet")),
            ("C2F2 ET", mnist("c2f2", "euclidean", "triplet")),
            ("ResNet-18 CT", mnist("resnet18-28", "cosine", "triplet")),
        ]
    },
};

/// Three trainings of CT and two of CTD that differ in nothing but the seed.
pub(super) static SELF: Transfer = Transfer {
    name: "self-transfer",
    summary: "the same between trainings that differ in the seed alone: three of MNIST CT, two of CTD",
    title: "Transfer between trainings with other seeds, MNIST, ε = 0.3",
    models: || {
        let plain = System::plain("mnist", "c2f2", "cosine", "triplet");
        let hardened = plain.clone().hardened();
        [
            ("CT, seed 0", plain.clone()),
            ("CT, seed 1", plain.clone().seeded(1)),
            ("CT, seed 2", plain.seeded(2)),
            ("CTD, seed 0", hardened.clone()),
            ("CTD, seed 1", hardened.seeded(1)),
        ]
    },
};

const EPSILON: f64 = 0.3;

impl Transfer {
    /// Measured model by measured model, so that each gallery is embedded once; then by source, then by attack. `weights` says
    /// where the weights of a system are.
    fn plan(&self, scope: &Scope, weights: impl Fn(&System) -> Result<String>) -> Result<Vec<Cell>> {
        let models = (self.models)();
        let mut plan = Vec::new();
        for (_, to) in &models {
            for (_, from) in &models {
                let source = Source::planned(&from.subject(&weights(from)?));
                for attack in AttackId::TABLE {
                    let cell = to.cell(self.name, &weights(to)?, attack, EPSILON, &scope.setting());
                    plan.push(Cell { from: Some(source.clone()), ..cell });
                }
            }
        }
        Ok(plan)
    }

    /// One matrix: a row for each attacked model, a column for each measured one. `records` are those of the plan; `cell` is told
    /// the record of both models, and that of the attack on the measured one itself.
    fn matrix(&self, attack: AttackId, records: &[Record], cell: fn(AttackId, &Record, &Record) -> String) -> Grid {
        let (models, attacks) = ((self.models)(), AttackId::TABLE.len());
        let at = AttackId::TABLE.iter().position(|&other| other == attack).unwrap_or(0);
        let places = || models.iter().enumerate().map(|(place, (name, _))| ((*name).to_owned(), place));
        Grid::of("attacked, measured", places(), places(), |&from, &to| {
            let record = |from: usize| records.get((to * models.len() + from) * attacks + at);
            record(from).zip(record(to)).map_or_else(String::new, |(record, own)| cell(attack, record, own))
        })
    }

    /// Two matrices for each attack.
    fn grids(&self, records: &[Record]) -> Vec<(String, Grid)> {
        let of_attack = |attack| {
            let heading = beyond::heading(attack);
            let shares = format!("{}: share of the effect of the white-box attack", attack.name().to_uppercase());
            [(heading, self.matrix(attack, records, ranks)), (shares, self.matrix(attack, records, share))]
        };
        AttackId::TABLE.map(of_attack).into_iter().flatten().collect()
    }
}

fn ranks(attack: AttackId, record: &Record, _own: &Record) -> String {
    beyond::ranks(attack, record.rank_before, record.rank_after)
}

/// How far ranks move, in relation to how far the attack on the measured model itself moves them.
fn share(_attack: AttackId, record: &Record, own: &Record) -> String {
    let moved = |record: &Record| Some(record.rank_after? - record.rank_before?);
    let share = moved(record).zip(moved(own)).map(|(moved, own)| 100.0 * moved / own);
    share.filter(|share| share.is_finite()).map_or_else(|| "–".to_owned(), |share| format!("{share:.0} %"))
}

impl Experiment for Transfer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn published(&self) -> Published {
        Published::None
    }

    /// What costs is the search, on the model that is attacked.
    fn work(&self, _scope: &Scope) -> Vec<(System, usize)> {
        (self.models)().map(|(_, system)| (system, 5 * AttackId::TABLE.len())).into()
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let systems = (self.models)().map(|(_, system)| system);
        let weights = session.weights(&systems)?;
        say(format_args!("{}: {scope}, into {}", self.name(), files::shown(&session.output)));
        let records = session.sweep(&self.plan(scope, |system| Ok(weights.of(system)?.name.clone()))?)?;
        let caveats = beyond::caveats(&weights, &systems)?;
        let note = "Mean normalised rank in percent on the model of the column, of images that were perturbed against the model of \
                    the row; plus attacks: after, minus attacks: before → after. On the diagonal stand the white-box results, of which the \
                    pictures show one image each. No numbers of these matrices are public.";
        let about = beyond::About { title: self.title, scope, note, caveats: &caveats };
        let pictures = pictures::draw(session, &weights, &pictures::of(systems, EPSILON))?;
        beyond::report(&session.output, &about, &self.grids(&records), &pictures, &records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::Kept;
    use super::super::tests::named;
    use super::*;
    use crate::reproduce::sample;
    use std::collections::HashSet;

    fn whole(experiment: &Transfer) -> Vec<Cell> {
        experiment.plan(&Scope::default(), |system| Ok(system.id())).unwrap()
    }

    #[test]
    fn every_pair_is_attacked_in_four_ways() {
        for experiment in [&OTHERS, &SELF] {
            let plan = whole(experiment);
            let pair = |planned: &Cell| {
                (planned.from.clone().unwrap().weights, planned.subject.weights.clone(), planned.spec.attack.name())
            };
            let pairs: HashSet<_> = plan.iter().map(pair).collect();
            let cells: usize = named(experiment.name).work(&Scope::default()).iter().map(|work| work.1).sum();
            assert_eq!((pairs.len(), plan.len(), cells), (100, 100, 100));
            assert!(
                plan.iter().all(|planned| planned.spec.epsilon == 0.3 && planned.spec.targets == 1 && planned.images == 1000)
            );
            assert_eq!(
                plan.chunk_by(|a, b| a.subject.weights == b.subject.weights).count(),
                5,
                "one measured model after the other"
            );
        }
    }

    #[test]
    fn the_kept_reports_are_made_of_the_kept_records() {
        for experiment in [&OTHERS, &SELF] {
            let kept = Kept::of(experiment.name);
            let records = &kept.answer(|weights| experiment.plan(&Scope::default(), weights));
            kept.assert_grids(&experiment.grids(records));
        }
    }

    #[test]
    fn a_record_stands_in_its_row_and_column() {
        let mut records: Vec<Record> = vec![sample::answered().1.swap_remove(0); 100];
        for (n, (planned, record)) in whole(&OTHERS).iter().zip(&mut records).enumerate() {
            record.rank_after = Some(n as f64);
            record.rank_before = Some(planned.spec.epsilon);
        }
        let grid = OTHERS.matrix(AttackId::CA_MINUS, &records, ranks);
        // From C2F2 CC (1) to ResNet-18 (4): cell 4 * 20 + 1 * 4 + 1.
        assert_eq!((grid.rows[1].0.as_str(), grid.rows[1].1[4].as_str()), ("C2F2 CC", "0.30 → 85.00"));
        assert_eq!(OTHERS.matrix(AttackId::CA_PLUS, &records, ranks).rows[1].1[4], "84.00");
        assert_eq!((grid.columns.len(), grid.rows.len()), (5, 5));
        // The white-box attack on ResNet-18 is cell 4 * 20 + 4 * 4 + 1.
        let shares = OTHERS.matrix(AttackId::CA_MINUS, &records, share);
        let expected = format!("{:.0} %", 100.0 * (85.0 - 0.3) / (97.0 - 0.3));
        assert_eq!((shares.rows[1].1[4].as_str(), shares.rows[4].1[4].as_str()), (expected.as_str(), "100 %"));
        let still = Record { rank_after: Some(0.3), ..records[97].clone() };
        assert_eq!(share(AttackId::CA_MINUS, &records[85], &still), "–");
    }
}
