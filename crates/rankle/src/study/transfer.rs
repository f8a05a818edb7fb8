//! Transferred attacks: images perturbed against one model, measured on another.

use super::plan::Plan;
use super::{Outcome, Scope, Session, Study, Weights, beyond, pictures};
use anyhow::Result;
use rankle_report::{AttackId, Cell, Grid, Record, Source, System};
use serde::Deserialize;
use toml::Spanned;

/// Section `[transfer]` of a plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    /// Subjects, each attacked and each measured.
    models: Vec<Spanned<String>>,
    attacks: Vec<AttackId>,
    epsilon: f64,
}

/// Transfer between all pairs of several models.
pub(super) struct Transfer {
    name: String,
    title: String,
    note: String,
    /// Models, under the names of the plan.
    models: Vec<(String, System)>,
    attacks: Vec<AttackId>,
    epsilon: f64,
}

impl Transfer {
    /// Reads the section of a plan; an unknown subject or a section without cells is an error of one line.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let Data { models, attacks, epsilon } = plan.section("transfer", &plan.file.transfer)?;
        if models.is_empty() || attacks.is_empty() {
            return Err(plan.lacks("[transfer] needs a model and an attack at least"));
        }
        plan.check_epsilon(*epsilon)?;
        let (title, note) = (plan.file.title.clone(), plan.file.note.clone());
        Ok(Self {
            name: plan.name.clone(),
            title,
            note,
            models: plan.named(models)?,
            attacks: attacks.clone(),
            epsilon: *epsilon,
        })
    }

    /// A matrix with a row per attacked model and a column per measured one. `records` are in the order of the plan. `cell` gets
    /// the record of a pair, and the record of the white-box attack on the measured model.
    fn matrix(&self, attack: AttackId, records: &[Record], cell: fn(AttackId, &Record, &Record) -> String) -> Grid {
        let (models, attacks) = (&self.models, self.attacks.len());
        let at = self.attacks.iter().position(|&other| other == attack).unwrap_or(0);
        let places = || models.iter().enumerate().map(|(place, (name, _))| (name.clone(), place));
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
        self.attacks.iter().copied().flat_map(of_attack).collect()
    }
}

fn ranks(attack: AttackId, record: &Record, _own: &Record) -> String {
    beyond::ranks(attack, record.rank_before, record.rank_after)
}

/// Change of the rank, in percent of the change under the white-box attack on the measured model.
fn share(_attack: AttackId, record: &Record, own: &Record) -> String {
    let moved = |record: &Record| Some(record.rank_after? - record.rank_before?);
    let share = moved(record).zip(moved(own)).map(|(moved, own)| 100.0 * moved / own);
    share.filter(|share| share.is_finite()).map_or_else(|| "–".to_owned(), |share| format!("{share:.0} %"))
}

impl Study for Transfer {
    /// Counts cells by attacked model, because the search is the expensive part.
    fn work(&self, _scope: &Scope) -> Vec<(System, usize)> {
        let cells = self.models.len() * self.attacks.len();
        self.models.iter().map(|(_, system)| (system.clone(), cells)).collect()
    }

    /// Cells by measured model, so that each gallery is embedded once; then by attacked model, then by attack.
    fn plan(&self, scope: &Scope, weights: Weights<'_>) -> Result<Vec<Cell>> {
        let mut plan = Vec::new();
        for (_, to) in &self.models {
            for (_, from) in &self.models {
                let source = Source::planned(&from.subject(&weights(from)?));
                for &attack in &self.attacks {
                    let cell = to.cell(&self.name, &weights(to)?, attack, self.epsilon, &scope.setting());
                    plan.push(Cell { from: Some(source.clone()), ..cell });
                }
            }
        }
        Ok(plan)
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let systems: Vec<System> = self.models.iter().map(|(_, system)| system.clone()).collect();
        let (models, records) = session.answers(&systems, scope, |weights| self.plan(scope, weights))?;
        let caveats = beyond::caveats(&models, &systems)?;
        let about = beyond::About { title: &self.title, scope, note: &self.note, caveats: &caveats };
        let pictures = pictures::draw(session, &models, &pictures::of(systems, self.epsilon))?;
        beyond::report(session.output, &about, &self.grids(&records), &pictures, &records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::CommittedResults;
    use super::super::plan::tests::plan;
    use super::super::sample;
    use super::*;
    use std::collections::HashSet;

    fn both() -> [Transfer; 2] {
        ["transfer", "self-transfer"].map(|name| Transfer::of(&plan(name)).unwrap())
    }

    fn whole(experiment: &Transfer) -> Vec<Cell> {
        experiment.plan(&Scope::default(), &|system| Ok(system.id())).unwrap()
    }

    #[test]
    fn every_pair_is_attacked_in_four_ways() {
        for experiment in both() {
            let plan = whole(&experiment);
            let pair = |planned: &Cell| {
                (planned.from.clone().unwrap().weights, planned.subject.weights.clone(), planned.spec.attack.name())
            };
            let pairs: HashSet<_> = plan.iter().map(pair).collect();
            let cells: usize = experiment.work(&Scope::default()).iter().map(|work| work.1).sum();
            assert_eq!((pairs.len(), plan.len(), cells), (100, 100, 100));
            assert!(
                plan.iter().all(|planned| planned.spec.epsilon == 0.3 && planned.spec.targets == 1 && planned.images == 1000)
            );
            assert!(plan.iter().all(|planned| planned.table.as_ref() == Some(&experiment.name)));
            assert_eq!(
                plan.chunk_by(|a, b| a.subject.weights == b.subject.weights).count(),
                5,
                "one measured model after the other"
            );
        }
    }

    #[test]
    fn the_kept_reports_are_made_of_the_kept_records() {
        for experiment in both() {
            let kept = CommittedResults::of(&experiment.name);
            let records = &kept.answer(&|weights| experiment.plan(&Scope::default(), weights));
            kept.assert_grids(&experiment.grids(records));
            kept.assert_note(&experiment.title, &experiment.note);
        }
    }

    #[test]
    fn a_record_stands_in_its_row_and_column() {
        let [others, _] = both();
        let mut records: Vec<Record> = vec![sample::answered().1.swap_remove(0); 100];
        for (n, (planned, record)) in whole(&others).iter().zip(&mut records).enumerate() {
            record.rank_after = Some(n as f64);
            record.rank_before = Some(planned.spec.epsilon);
        }
        let grid = others.matrix(AttackId::CA_MINUS, &records, ranks);
        // From C2F2 CC (1) to ResNet-18 (4): cell 4 * 20 + 1 * 4 + 1.
        assert_eq!((grid.rows[1].0.as_str(), grid.rows[1].1[4].as_str()), ("C2F2 CC", "0.30 → 85.00"));
        assert_eq!(others.matrix(AttackId::CA_PLUS, &records, ranks).rows[1].1[4], "84.00");
        assert_eq!((grid.columns.len(), grid.rows.len()), (5, 5));
        // The white-box attack on ResNet-18 is cell 4 * 20 + 4 * 4 + 1.
        let shares = others.matrix(AttackId::CA_MINUS, &records, share);
        let expected = format!("{:.0} %", 100.0 * (85.0 - 0.3) / (97.0 - 0.3));
        assert_eq!((shares.rows[1].1[4].as_str(), shares.rows[4].1[4].as_str()), (expected.as_str(), "100 %"));
        let still = Record { rank_after: Some(0.3), ..records[97].clone() };
        assert_eq!(share(AttackId::CA_MINUS, &records[85], &still), "–");
    }
}
