//! Strength of searches: the same attacks with several searches, side by side.

use super::ask::{self, Asked};
use super::plan::Plan;
use super::{Outcome, Scope, Session, Study, Weights, beyond, cost};
use crate::files;
use anyhow::Result;
use rankle_report::bars::{self, Bar, Panel};
use rankle_report::{AttackId, Cell, Change, Epsilon, Record, System};
use serde::Deserialize;
use toml::Spanned;

/// Section `[strength]` of a plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    models: Vec<Spanned<String>>,
    attacks: Vec<AttackId>,
    epsilons: Vec<f64>,
    searches: Vec<Column>,
}

/// A column of the tables: the cells of the paper with some choices changed, on a share of the images.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    /// Share of the images of a cell; the images of a smaller share are the first ones of a larger.
    share: f64,
    #[serde(flatten)]
    change: Change,
}

/// A table per model, with a row per attack and radius and a column per search.
pub(super) struct Strength {
    name: String,
    title: String,
    note: String,
    models: Vec<(String, System)>,
    attacks: Vec<AttackId>,
    epsilons: Vec<f64>,
    searches: Vec<Column>,
    /// Attacks and radii of `--quick`.
    few: (Vec<AttackId>, Vec<f64>),
}

impl Strength {
    /// Reads the section of a plan; an unknown subject, a share outside of (0, 1] and a section without cells are refused.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let Data { models, attacks, epsilons, searches } = plan.section("strength", &plan.file.strength)?;
        let quick = &plan.file.quick;
        let few = (
            quick.attacks.clone().unwrap_or_else(|| attacks.clone()),
            quick.epsilons.clone().unwrap_or_else(|| epsilons.clone()),
        );
        epsilons.iter().chain(&few.1).try_for_each(|&epsilon| plan.check_epsilon(epsilon))?;
        if let Some(Column { name, share, .. }) = searches.iter().find(|column| !(column.share > 0.0 && column.share <= 1.0)) {
            return Err(plan.lacks(format!("the share of '{name}' is {share}: it must be above 0 and at most 1")));
        }
        let lacking = [models.is_empty(), few.0.is_empty(), few.1.is_empty(), searches.is_empty()];
        if lacking.contains(&true) || attacks.is_empty() || epsilons.is_empty() {
            return Err(plan.lacks("[strength] needs a model, an attack, an epsilon and a search at least"));
        }
        let (title, note, models) = (plan.file.title.clone(), plan.file.note.clone(), plan.named(models)?);
        let (attacks, epsilons, searches) = (attacks.clone(), epsilons.clone(), searches.clone());
        Ok(Self { name: plan.name.clone(), title, note, models, attacks, epsilons, searches, few })
    }

    fn attacks(&self, scope: &Scope) -> &[AttackId] {
        if scope.quick { &self.few.0 } else { &self.attacks }
    }

    fn epsilons(&self, scope: &Scope) -> &[f64] {
        if scope.quick { &self.few.1 } else { &self.epsilons }
    }

    /// A table per model.
    fn tables(&self, scope: &Scope, weights: Weights<'_>) -> Result<Vec<Asked>> {
        let setting = scope.setting();
        let table = |(name, system): &(String, System)| -> Result<Asked> {
            let weights = weights(system)?;
            let row = |attack: AttackId, epsilon: f64| {
                let cell = |Column { share, change, .. }: &Column| {
                    let cell = system.cell(&self.name, &weights, attack, epsilon, &setting);
                    let images = ((share * cell.images as f64).round() as usize).max(1);
                    Some(Cell { spec: change.of(cell.spec), images, ..cell })
                };
                (format!("{}, ε = {}", attack.name().to_uppercase(), Epsilon(epsilon)), self.searches.iter().map(cell).collect())
            };
            let rows = self
                .epsilons(scope)
                .iter()
                .flat_map(|&epsilon| self.attacks(scope).iter().map(move |&attack| row(attack, epsilon)));
            Ok(Asked {
                heading: name.clone(),
                corner: "attack".to_owned(),
                columns: self.searches.iter().map(|column| column.name.clone()).collect(),
                rows: rows.collect(),
                shown: |record| vec![shown(record)],
            })
        };
        self.models.iter().map(table).collect()
    }

    /// A panel per model and radius, with the attacks that have targets; without SP-QA-, whose ξ has it keep rather than move.
    fn panels(&self, scope: &Scope, records: &[Record]) -> Vec<Panel> {
        let mut records = records.chunks_exact(self.searches.len());
        let mut panels = Vec::new();
        for (name, _) in &self.models {
            for epsilon in self.epsilons(scope) {
                let found = records.by_ref().take(self.attacks(scope).len());
                let group = |(attack, records): (&AttackId, &[Record])| {
                    if *attack == AttackId::SP_QA_MINUS {
                        return None;
                    }
                    let bars: Option<Vec<Bar>> = records.iter().map(Bar::of).collect();
                    Some((*attack, bars?))
                };
                let groups = self.attacks(scope).iter().zip(found).filter_map(group).collect();
                panels.push(Panel { title: format!("{name}, ε = {}", Epsilon(*epsilon)), groups });
            }
        }
        panels
    }
}

/// The rank before and after the attack, in percent, of SP-QA that of the preserved items, too; of the embedding shift the distance and
/// the recall at 1.
fn shown(record: &Record) -> String {
    let percent = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |value| format!("{value:.2}"));
    match record.rank_after {
        Some(_) if record.preserved_rank_after.is_some() => format!(
            "{} ({})",
            beyond::before_after(record.rank_before, record.rank_after),
            beyond::before_after(record.preserved_rank_before, record.preserved_rank_after)
        ),
        Some(_) => beyond::before_after(record.rank_before, record.rank_after),
        None => format!(
            "{:.3} (R@1 {} → {})",
            record.embedding_shift,
            percent(record.recall_at_1_before),
            percent(record.recall_at_1_after)
        ),
    }
}

impl Study for Strength {
    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        let plan = self.plan(scope, &|system| Ok(system.id())).unwrap_or_default();
        let of_system = |system: &System| {
            let cells = plan.iter().filter(|cell| cell.subject.weights == system.id());
            let share = |cell: &Cell| cell.images as f64 / scope.images as f64;
            cells.map(|cell| share(cell) * cost::in_usual_cells(cell)).sum::<f64>().ceil() as usize
        };
        self.models.iter().map(|(_, system)| (system.clone(), of_system(system))).collect()
    }

    fn plan(&self, scope: &Scope, weights: Weights<'_>) -> Result<Vec<Cell>> {
        Ok(self.tables(scope, weights)?.iter().flat_map(Asked::cells).cloned().collect())
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let systems: Vec<System> = self.models.iter().map(|(_, system)| system.clone()).collect();
        let (models, records) = session.answers(&systems, scope, |weights| self.plan(scope, weights))?;
        let caveats = beyond::caveats(&models, &systems)?;
        let about = beyond::About { title: &self.title, scope, note: &self.note, caveats: &caveats };
        let series: Vec<&str> = self.searches.iter().map(|column| column.name.as_str()).collect();
        files::write(&session.output.join(FIGURE), bars::svg(&self.panels(scope, &records), &series)?)?;
        let tables = ask::answered(&self.tables(scope, &|system| models.name(system))?, &records);
        beyond::report(session.output, &about, &tables, &[(FIGURE.to_owned(), bars::caption(&series))], &records)
    }
}

/// File of the figure.
const FIGURE: &str = "strength.svg";

#[cfg(test)]
mod tests {
    use super::super::kept::CommittedResults;
    use super::super::plan::tests::plan;
    use super::*;
    use rankle_report::{Protocol, sample};

    fn both() -> [Strength; 2] {
        ["strength", "strength-fashion"].map(|name| Strength::of(&plan(name)).unwrap())
    }

    #[test]
    fn every_attack_meets_every_search_at_every_radius() {
        for strength in both() {
            let cells = |scope: Scope| strength.plan(&scope, &|system| Ok(system.id())).unwrap();
            let (whole, quick) = (cells(Scope::default()), cells(Scope::QUICK));
            assert_eq!((whole.len(), quick.len()), (2 * 2 * 7 * 3, 2 * 3 * 3));
            let [paper, strict, standard] = [&whole[0], &whole[1], &whole[2]];
            assert_eq!([paper, strict, standard].map(|cell| cell.images), [1000, 1000, 200]);
            assert_eq!(
                [paper, strict, standard].map(|cell| cell.spec.protocol),
                [Protocol::Paper, Protocol::Strict, Protocol::Strict]
            );
            assert!(standard.spec.search.kind.is_some() && strict.spec.search.kind.is_none());
            assert_eq!(quick[2].images, 20);
        }
    }

    #[test]
    fn a_panel_shows_the_attacks_with_targets() {
        let [strength, _] = both();
        let plan = strength.plan(&Scope::default(), &|system| Ok(system.id())).unwrap();
        let records: Vec<Record> = plan
            .iter()
            .enumerate()
            .map(|(n, cell)| Record {
                rank_before: cell.spec.attack.has_targets().then_some(100.0),
                rank_after: cell.spec.attack.has_targets().then_some(n as f64),
                ..sample::record("t", sample::subject(), cell.spec.attack, 1, 0.3, 1.0)
            })
            .collect();
        let panels = strength.panels(&Scope::default(), &records);
        assert_eq!(panels.iter().map(|panel| panel.title.as_str()).collect::<Vec<_>>()[1], "CT, ε = 0.3");
        let last = &panels[3].groups;
        assert_eq!((panels.len(), last.len()), (4, 5));
        // The first attack of the last panel is row 21, the second, CA-, 22, each of three cells.
        assert_eq!(last[1].1.iter().map(|bar| bar.effect).collect::<Vec<_>>(), [-34.0, -33.0, -32.0]);
    }

    #[test]
    fn the_kept_reports_are_made_of_the_kept_records() {
        for strength in both() {
            let kept = CommittedResults::of(&strength.name);
            let records = kept.answer(&|weights| strength.plan(&Scope::default(), weights));
            let tables = strength.tables(&Scope::default(), &|system| Ok(system.id())).unwrap();
            kept.assert_grids(&ask::answered(&tables, &records));
            kept.assert_note(&strength.title, &strength.note);
            let series: Vec<&str> = strength.searches.iter().map(|column| column.name.as_str()).collect();
            let figure = bars::svg(&strength.panels(&Scope::default(), &records), &series).unwrap();
            assert!(figure == kept.text(FIGURE), "{FIGURE} of {} is not that of its records", strength.name);
        }
    }
}
