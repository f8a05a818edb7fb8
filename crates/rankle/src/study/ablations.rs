//! Ablations: the effect of single choices of the paper's attacks.

use super::ask::{self, Asked, Shown};
use super::plan::Plan;
use super::{Outcome, Scope, Session, Study, Weights, beyond, cost, pictures};
use anyhow::Result;
use rankle_report::{AttackId, AttackSpec, Cell, Change, Epsilon, System};
use serde::Deserialize;
use toml::Spanned;

/// Section `[ablations]` of a plan: the same tables for each of several models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    /// Radius of the pictures.
    pictured: f64,
    #[serde(rename = "model")]
    models: Vec<Model>,
    #[serde(rename = "table")]
    tables: Vec<AblationTable>,
}

/// A model, and a radius at which its attacks have an effect that is not saturated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: String,
    subject: Spanned<String>,
    epsilon: f64,
}

/// A table with a row per variation and a column per attack.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AblationTable {
    /// Heading, in which `{name}` and `{epsilon}` are replaced by name and radius of the model.
    heading: String,
    corner: String,
    /// Radius; `None` for the model's own.
    epsilon: Option<f64>,
    attacks: Vec<AttackId>,
    /// Also shows the rank of the preserved items.
    #[serde(default)]
    preserved: bool,
    rows: Vec<Variation>,
}

/// A cell of the paper with some choices changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variation {
    name: String,
    /// Attacks to which the choice applies; all if `None`.
    attacks: Option<Vec<AttackId>>,
    targets: Option<usize>,
    #[serde(flatten)]
    change: Change,
}

/// Tables in which single choices are changed, for each model.
pub(super) struct Ablations {
    name: String,
    title: String,
    note: String,
    pictured: f64,
    models: Vec<(String, System, f64)>,
    tables: Vec<AblationTable>,
    /// Numbers of targets of `--quick`; all if `None`.
    few: Option<Vec<usize>>,
}

impl Variation {
    fn change(&self, cell: Cell) -> Cell {
        let spec = self.change.of(cell.spec);
        Cell { spec: AttackSpec { targets: self.targets.unwrap_or(spec.targets), ..spec }, ..cell }
    }
}

fn heading(attack: AttackId) -> String {
    attack.name().to_uppercase()
}

const TARGET: Shown = |record| vec![beyond::before_after(record.rank_before, record.rank_after)];
const TARGET_AND_PRESERVED: Shown = |record| {
    let preserved = beyond::before_after(record.preserved_rank_before, record.preserved_rank_after);
    vec![beyond::before_after(record.rank_before, record.rank_after), preserved]
};

impl AblationTable {
    /// Cells of one model. `few` limits the rows to these numbers of targets.
    fn asked(&self, (name, epsilon): (&str, f64), few: Option<&[usize]>, cell: impl Fn(AttackId, f64) -> Cell) -> Asked {
        let epsilon = self.epsilon.unwrap_or(epsilon);
        let row = |variation: &Variation| {
            let has = |attack: &AttackId| variation.attacks.as_ref().is_none_or(|attacks| attacks.contains(attack));
            let asked = |attack: &AttackId| has(attack).then(|| variation.change(cell(*attack, epsilon)));
            (variation.name.clone(), self.attacks.iter().map(asked).collect())
        };
        let kept = |variation: &&Variation| few.is_none_or(|few| variation.targets.is_none_or(|targets| few.contains(&targets)));
        let columns = |&attack: &AttackId| match self.preserved {
            false => vec![heading(attack)],
            true => ["target", "preserved"].map(|of| format!("{}, {of}", heading(attack))).into(),
        };
        Asked {
            heading: self.heading.replace("{name}", name).replace("{epsilon}", &Epsilon(epsilon).to_string()),
            corner: self.corner.clone(),
            columns: self.attacks.iter().flat_map(columns).collect(),
            rows: self.rows.iter().filter(kept).map(row).collect(),
            shown: if self.preserved { TARGET_AND_PRESERVED } else { TARGET },
        }
    }
}

impl Ablations {
    /// Reads the section of a plan; an unknown subject or a section without cells is an error of one line.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let Data { pictured, models, tables } = plan.section("ablations", &plan.file.ablations)?;
        plan.check_epsilon(*pictured)?;
        let model = |model: &Model| Ok((model.name.clone(), plan.subject(&model.subject)?.clone(), model.epsilon));
        let models: Vec<(String, System, f64)> = models.iter().map(model).collect::<Result<_>>()?;
        if models.is_empty() || tables.iter().all(|table| table.rows.is_empty() || table.attacks.is_empty()) {
            return Err(plan.lacks("[ablations] needs a model and a table with attacks and rows at least"));
        }
        let (title, note, few) = (plan.file.title.clone(), plan.file.note.clone(), plan.file.quick.targets.clone());
        Ok(Self { name: plan.name.clone(), title, note, pictured: *pictured, models, tables: tables.clone(), few })
    }

    /// All tables, model by model.
    fn tables(&self, scope: &Scope, weights: Weights<'_>) -> Result<Vec<Asked>> {
        let (setting, few) = (scope.setting(), self.few.as_deref().filter(|_| scope.quick));
        let mut asked = Vec::new();
        for (name, system, epsilon) in &self.models {
            let weights = weights(system)?;
            let cell = |attack, epsilon| system.cell(&self.name, &weights, attack, epsilon, &setting);
            asked.extend(self.tables.iter().map(|table| table.asked((name, *epsilon), few, cell)));
        }
        Ok(asked)
    }
}

impl Study for Ablations {
    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        let plan = self.plan(scope, &|system| Ok(system.id())).unwrap_or_default();
        let of_system = |system: &System| {
            let cells = plan.iter().filter(|cell| cell.subject.weights == system.id());
            cells.map(cost::in_usual_cells).sum::<f64>().ceil() as usize
        };
        self.models.iter().map(|(_, system, _)| (system.clone(), of_system(system))).collect()
    }

    fn plan(&self, scope: &Scope, weights: Weights<'_>) -> Result<Vec<Cell>> {
        Ok(self.tables(scope, weights)?.iter().flat_map(Asked::cells).cloned().collect())
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let systems: Vec<System> = self.models.iter().map(|(_, system, _)| system.clone()).collect();
        let (models, records) = session.answers(&systems, scope, |weights| self.plan(scope, weights))?;
        let caveats = beyond::caveats(&models, &systems)?;
        let about = beyond::About { title: &self.title, scope, note: &self.note, caveats: &caveats };
        let pictures = pictures::draw(session, &models, &pictures::of(systems, self.pictured))?;
        let tables = ask::answered(&self.tables(scope, &|system| models.name(system))?, &records);
        beyond::report(session.output, &about, &tables, &pictures, &records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::CommittedResults;
    use super::super::plan::tests::plan;
    use super::*;
    use std::collections::{BTreeSet, HashSet};

    fn ablations() -> Ablations {
        Ablations::of(&plan("ablations")).unwrap()
    }

    fn of_scope(scope: Scope) -> Vec<Asked> {
        ablations().tables(&scope, &|system| Ok(system.id())).unwrap()
    }

    fn whole() -> Vec<Asked> {
        of_scope(Scope::default())
    }

    /// Names of the fields that differ between two cells.
    fn changed(usual: &Cell, other: &Cell) -> Vec<String> {
        let [usual, other] = [usual, other].map(|planned| serde_json::to_value(planned).unwrap());
        let names = [&usual, &other].map(|planned| planned.as_object().unwrap().keys().cloned());
        let names: BTreeSet<String> = names.into_iter().flatten().collect();
        names.into_iter().filter(|name| usual.get(name) != other.get(name)).collect()
    }

    #[test]
    fn every_cell_is_another_one() {
        let (tables, quick) = (whole(), of_scope(Scope::QUICK));
        let plan: Vec<Cell> = tables.iter().flat_map(Asked::cells).cloned().collect();
        assert_eq!(plan.len(), 2 * (7 * 4 + 2 + 8 * 4 + 16 * 2));
        assert_eq!(quick.iter().flat_map(Asked::cells).count(), 2 * (7 * 4 + 2 + 4 * 4 + 8 * 2));
        let lines = Cell::to_lines(&plan).unwrap();
        // CTD has the paper's CA in its table of choices and in that of the objective. SP-QA is in two tables as well, but one of
        // them states ξ.
        assert_eq!(lines.lines().collect::<HashSet<_>>().len(), plan.len() - 2);
    }

    #[test]
    fn one_choice_is_changed_at_a_time() {
        for table in whole().iter().filter(|table| table.corner == "what is changed") {
            let usual: Vec<_> = table.rows[0].1.iter().flatten().collect();
            for (name, row) in &table.rows[1..] {
                for (usual, cell) in usual.iter().zip(row).filter_map(|(usual, cell)| Some((usual, cell.as_ref()?))) {
                    let one = ["target_band", "protocol", "random_start restarts", "iterations step"];
                    assert!(one.contains(&&*changed(usual, cell).join(" ")), "{name}: {:?}", changed(usual, cell));
                }
            }
        }
        let long = &whole()[0].rows[5];
        let cell = long.1[0].as_ref().unwrap();
        assert_eq!((long.0.as_str(), cell.spec.search.iterations, cell.spec.epsilon), ("steps: 50 of ε/10", Some(50), 0.1));
        assert!((cell.spec.search.step.unwrap() - 0.01).abs() < 1e-12);
    }

    #[test]
    fn the_papers_own_ablations_are_at_its_radius() {
        for table in whole().iter().filter(|table| table.corner != "what is changed") {
            let first = |attack| table.cells().find(|cell| cell.spec.attack == attack).unwrap();
            for cell in table.cells() {
                let names = changed(first(cell.spec.attack), cell);
                let own = names.iter().all(|name| ["objective", "targets", "xi"].contains(&name.as_str()));
                assert!(cell.spec.epsilon == 0.3 && own, "{names:?}");
            }
        }
        let rows: Vec<_> = whole()[1].rows.iter().map(|row| row.0.clone()).collect();
        assert_eq!((rows.len(), rows[0].as_str(), rows[7].as_str()), (8, "w = m = 1, ranking", "w = m = 10, distance"));
        assert_eq!(whole()[5].rows[15].0, "m = 10, ξ = 10000");
    }

    #[test]
    fn the_kept_report_is_made_of_the_kept_records() {
        let (kept, ablations) = (CommittedResults::of("ablations"), ablations());
        let records = kept.answer(&|weights| ablations.plan(&Scope::default(), weights));
        kept.assert_grids(&ask::answered(&whole(), &records));
        kept.assert_note(&ablations.title, &ablations.note);
    }
}
