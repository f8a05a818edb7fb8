//! Experiments whose cells stand in tables: all of them are this code with other data.

use super::pictures::{self, Picture};
use super::{Experiment, Outcome, Published};
use crate::files;
use crate::reproduce::{Scope, Session, report};
use anyhow::{Context, Result};
use rankle_cli::say;
use rankle_report::curves::Panel;
use rankle_report::published::{self, Table};
use rankle_report::{AttackId, Cell, Comparison, Setting, System};

/// An experiment on one system per table.
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// The heading of the report.
    pub(crate) title: &'static str,
    /// The tables: systems, cells and, where there are any, published numbers.
    pub(crate) tables: fn() -> Vec<&'static Table>,
    /// The cells of `--quick`.
    pub(crate) slice: Slice,
    /// The panels of the figure: the table with our points and the one with the published points, by their ids.
    pub(crate) panels: &'static [(&'static str, &'static str)],
}

/// Which cells of a table are computed when there is little time.
#[derive(Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) epsilons: &'static [f64],
    /// Set sizes; what has no targets, as the embedding shift, is always in.
    pub(crate) targets: &'static [usize],
}

/// Of a table with the rows and columns of the paper's.
pub(crate) const PAPER_SLICE: Slice = Slice { epsilons: &[0.0, 0.1, 0.3], targets: &[1, 10] };

/// Tables of the papers, by names that stand in the code of an experiment.
pub(crate) fn published(ids: &[&str]) -> Vec<&'static Table> {
    ids.iter().map(|id| published::table(id).expect("the tests look every name up")).collect()
}

impl Slice {
    fn holds(&self, cell: &published::Cell) -> bool {
        let targets = cell.attack == AttackId::EmbeddingShift || self.targets.contains(&cell.targets);
        targets && self.epsilons.contains(&cell.epsilon)
    }
}

impl Tables {
    /// The cells of a table that are in the scope, in its order.
    fn cells<'a>(&'a self, table: &'a Table, scope: &Scope) -> impl Iterator<Item = published::Cell> + use<'a> {
        let quick = scope.quick;
        table.cells().filter(move |cell| !quick || self.slice.holds(cell))
    }

    /// Table by table, each with its cells in order. `weights` says where the weights of a system are.
    pub(crate) fn plan(&self, scope: &Scope, weights: impl Fn(&System) -> Result<String>) -> Result<Vec<Cell>> {
        let setting = scope.setting();
        let mut plan = Vec::new();
        for table in (self.tables)() {
            let weights = weights(&table.system)?;
            plan.extend(self.cells(table, scope).map(|published::Cell { attack, targets, epsilon, .. }| {
                table.asked(&weights, attack, targets, epsilon, &setting)
            }));
        }
        Ok(plan)
    }

    /// The radius of the attacks that are drawn: the largest that is computed in any case.
    fn pictured(&self) -> f64 {
        self.slice.epsilons.iter().copied().fold(0.0, f64::max)
    }

    fn pictures(&self, scope: &Scope) -> Vec<Picture> {
        pictures::of(self.work(scope).into_iter().map(|(system, _)| system), self.pictured())
    }

    /// What is written about the records.
    fn report<'a>(&'a self, scope: &'a Scope, comparisons: &'a [Comparison<'a>]) -> Result<report::Report<'a>> {
        let panel = |(ours, theirs): &(&str, &str)| {
            let ours = comparisons.iter().find(|c| c.table.id == *ours).context("a panel is of a table of the experiment")?;
            let own = comparisons.iter().map(|comparison| comparison.table).find(|table| table.id == *theirs);
            Ok(Panel { ours, theirs: own.map_or_else(|| published::table(theirs), Ok)? })
        };
        let panels = self.panels.iter().map(panel).collect::<Result<_>>()?;
        let pictures = self.pictures(scope).iter().map(Picture::captioned).collect();
        Ok(report::Report { title: self.title, scope, comparisons, panels, pictures })
    }
}

impl Experiment for Tables {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn published(&self) -> Published {
        let tables = (self.tables)();
        let own = |table: &&&Table| table.is_published() && table.other_system.is_none();
        match tables.iter().filter(own).count() {
            0 if tables.iter().any(|table| table.is_published()) => Published::Similar,
            0 => Published::None,
            own if own == tables.len() => Published::All,
            _ => Published::Some,
        }
    }

    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        let mut work: Vec<(System, usize)> = Vec::new();
        for table in (self.tables)() {
            let cells = self.cells(table, scope).count();
            match work.iter_mut().find(|(system, _)| *system == table.system) {
                Some((_, sum)) => *sum += cells,
                None => work.push((table.system.clone(), cells)),
            }
        }
        work
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let models = session.weights(&(self.work(scope).into_iter().map(|(system, _)| system).collect::<Vec<_>>()))?;
        say(format_args!("{}: {scope}, into {}", self.name, files::shown(&session.output)));
        let plan = self.plan(scope, |system| Ok(models.of(system)?.name.clone()))?;
        let records = session.sweep(&plan)?;
        let setting: Setting = scope.setting();
        let tables = (self.tables)();
        let compare = |table: &&'static Table| -> Result<Comparison<'_>> {
            Ok(Comparison::new(table, &setting, &records, models.of(&table.system)?.caveat()))
        };
        let comparisons: Vec<_> = tables.iter().map(compare).collect::<Result<_>>()?;
        let report = self.report(scope, &comparisons)?;
        report.write(&session.output, &records)?;
        pictures::draw(session, &models, &self.pictures(scope))?;
        Ok(Outcome { text: report.for_people(&files::shown(&session.output)), json: report.as_json()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::backbones::BACKBONES;
    use super::super::curves::CURVES;
    use super::super::fashion::FASHION;
    use super::super::kept::Kept;
    use super::super::losses::LOSSES;
    use super::super::mnist::MNIST;
    use super::*;
    use rankle_report::{markdown, published};
    use std::collections::HashSet;

    fn plan(scope: Scope) -> Vec<Cell> {
        MNIST.plan(&scope, |system| Ok(format!("models/{}/model.safetensors", system.id()))).unwrap()
    }

    #[test]
    fn the_plan_has_160_cells_each_once() {
        let plan = plan(Scope::default());
        assert_eq!(plan.len(), 160);
        let lines = Cell::to_lines(&plan).unwrap();
        assert_eq!(lines.lines().collect::<HashSet<_>>().len(), 160);
        for planned in &plan {
            let table = published::table(planned.table.as_deref().unwrap()).unwrap();
            assert!(table.rank(planned.spec.attack, planned.spec.targets, planned.spec.epsilon).is_some());
        }
    }

    #[test]
    fn one_model_after_the_other_in_published_order() {
        let plan = plan(Scope::default());
        assert!(plan[..80].iter().all(|planned| planned.subject.defense.as_deref() == Some("none")));
        assert!(
            plan[80..].iter().all(|planned| planned.subject.weights == "models/mnist-c2f2-cosine-triplet-est/model.safetensors")
        );
        let start: Vec<_> = plan[..7].iter().map(|p| (p.spec.attack.name(), p.spec.targets, p.spec.epsilon)).collect();
        assert_eq!(
            start,
            [
                ("ca+", 1, 0.0),
                ("ca+", 1, 0.01),
                ("ca+", 1, 0.03),
                ("ca+", 1, 0.1),
                ("ca+", 1, 0.3),
                ("ca+", 2, 0.0),
                ("ca+", 2, 0.01)
            ]
        );
        assert_eq!(plan[159].spec.attack.name(), "sp-qa-");
    }

    /// The driver and outside readers take this line as it is.
    #[test]
    fn a_line_of_the_plan() {
        let line = Cell::to_lines(&plan(Scope::default())[..1]).unwrap();
        let expected = concat!(
            r#"{"table":"mnist-ct","dataset":"mnist","model":"c2f2","weights":"models/mnist-c2f2-cosine-triplet/model.safetensors","#,
            r#""distance":"cosine","loss":"triplet","defense":"none","attack":"ca+","targets":1,"epsilon":0.0,"#,
            r#""xi":null,"protocol":"paper","eight_bit":false,"seed":0,"images":1000}"#,
            "\n"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn quick_is_a_slice() {
        let quick = plan(Scope::QUICK);
        assert_eq!(quick.len(), 2 * 4 * 2 * 3);
        assert!(quick.iter().all(|planned| planned.images == 100 && [1, 10].contains(&planned.spec.targets)));
    }

    #[test]
    fn what_is_published_is_told_apart() {
        let of = |name: &str| super::super::tests::named(name).published();
        assert_eq!(["mnist", "losses", "fashion"].map(of), [Published::All, Published::Some, Published::Similar]);
        let unpublished: fn() -> Vec<&'static Table> = || published(&["fashion-ctd"]);
        assert_eq!(Tables { tables: unpublished, ..MNIST }.published(), Published::None);
    }

    #[test]
    fn the_kept_reports_are_made_of_the_kept_records() {
        let scope = Scope::default();
        for experiment in [&CURVES, &FASHION, &LOSSES, &BACKBONES] {
            let kept = Kept::of(experiment.name);
            let records = &kept.answer(|weights| experiment.plan(&scope, weights));
            let tables = (experiment.tables)();
            let render = |table: &&'static Table| markdown::render(&Comparison::new(table, &scope.setting(), records, None));
            kept.assert_tables(&tables.iter().map(render).collect::<String>());
        }
    }

    /// Every table, panel and slice of every such experiment fits together, and every table is a record's only one.
    #[test]
    fn the_data_of_the_experiments_are_whole() {
        for experiment in super::super::TABLES {
            let tables = (experiment.tables)();
            let ids: HashSet<_> = tables.iter().map(|table| &table.id).collect();
            assert_eq!(ids.len(), tables.len(), "{}", experiment.name);
            let setting = Scope::default().setting();
            let comparisons: Vec<_> = tables.iter().map(|table| Comparison::new(table, &setting, &[], None)).collect();
            let scope = Scope::default();
            let report = experiment.report(&scope, &comparisons).unwrap();
            assert!(report.panels.iter().all(|panel| panel.ours.table.system == panel.theirs.system), "{}", experiment.name);
            for epsilon in experiment.slice.epsilons {
                assert!(tables.iter().any(|table| table.epsilons.contains(epsilon)), "{}: no ε of {epsilon}", experiment.name);
            }
        }
    }
}
