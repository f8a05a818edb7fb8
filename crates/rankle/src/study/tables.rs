//! Experiments that fill tables; they differ in their data only.

use super::pictures::{self, Picture};
use super::plan::Plan;
use super::report::Report;
use super::{Outcome, Published, Scope, Session, Study, Weights, cost, shown};
use anyhow::{Result, bail};
use rankle_report::curves::Panel;
use rankle_report::{AttackId, Cell, Change, Comparison, Norm, System};
use rankle_report::{
    PublishedCell, PublishedTable,
    published::{self, Block},
};
use serde::Deserialize;
use toml::Spanned;

/// One `[[table]]` of a plan: a published one, or one with other cells.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Id of a published table, which provides system, cells and numbers.
    published: Option<Spanned<String>>,
    id: Option<String>,
    title: Option<String>,
    subject: Option<Spanned<String>>,
    /// Radii. Like the next two fields, `None` means the values of the paper's tables.
    epsilons: Option<Vec<f64>>,
    targets: Option<Vec<usize>>,
    attacks: Option<Vec<AttackId>>,
    recall_at_1: Option<f64>,
    source: Option<String>,
    other_system: Option<String>,
    #[serde(flatten)]
    change: Change,
    /// Attacks with published numbers.
    #[serde(default, rename = "block")]
    blocks: Vec<Block>,
}

/// One `[[panel]]` of the figure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PanelEntry {
    /// Id of the table with our points.
    ours: Spanned<String>,
    /// Id of the table with the published points; the same table if `None`.
    published: Option<Spanned<String>>,
}

/// An experiment with one system per table.
pub(super) struct Tables {
    title: String,
    quick_title: String,
    /// Systems, cells, and published numbers if there are any.
    tables: Vec<PublishedTable>,
    /// Tables that replace these under `--quick`.
    quick_tables: Option<Vec<PublishedTable>>,
    slice: Slice,
    /// Ids of the table with our points and of the table with the published points, per panel.
    panels: Vec<(String, String)>,
}

/// Cells of `--quick`; `None` keeps all.
struct Slice {
    tables: Option<Vec<String>>,
    epsilons: Option<Vec<f64>>,
    targets: Option<Vec<usize>>,
}

impl Slice {
    /// True if the cell is in the slice. The embedding shift has no targets and is kept whatever `targets` says.
    fn holds(&self, cell: &PublishedCell) -> bool {
        let targets = self.targets.as_ref().is_none_or(|targets| targets.contains(&cell.targets));
        let epsilons = self.epsilons.as_ref().is_none_or(|epsilons| epsilons.contains(&cell.epsilon));
        (cell.attack == AttackId::EmbeddingShift || targets) && epsilons
    }
}

impl Entry {
    fn table(&self, plan: &Plan) -> Result<PublishedTable> {
        match &self.published {
            Some(id) => self.published(plan, id),
            None => self.own(plan),
        }
    }

    fn published(&self, plan: &Plan, id: &Spanned<String>) -> Result<PublishedTable> {
        let table = published::table(id.get_ref()).map_err(|error| plan.wrong(&id.span(), &error.to_string()))?;
        let own = [
            self.id.is_some(),
            self.title.is_some(),
            self.epsilons.is_some(),
            self.targets.is_some(),
            self.attacks.is_some(),
            self.recall_at_1.is_some(),
            self.source.is_some(),
            self.other_system.is_some(),
            self.change != Change::default(),
            !self.blocks.is_empty(),
        ];
        if own.contains(&true) {
            return Err(plan.wrong(&id.span(), "a published table has its own cells: leave out all but published and subject"));
        }
        // The subject may only add the weights.
        if let Some(name) = &self.subject
            && *plan.subject(name)? != table.system
        {
            let message = format!("subject '{}' is not the {} that {} is of", name.get_ref(), table.system.id(), table.id);
            return Err(plan.wrong(&name.span(), &message));
        }
        Ok(table.clone())
    }

    fn own(&self, plan: &Plan) -> Result<PublishedTable> {
        let (Some(id), Some(title), Some(subject)) = (&self.id, &self.title, &self.subject) else {
            bail!("a table of one's own needs id, title and subject");
        };
        let mut table = PublishedTable::unpublished(id, title, plan.subject(subject)?.clone());
        let attacks = self.attacks.clone().unwrap_or_else(|| table.attacks().collect());
        let blocks = match (&self.attacks, self.blocks.as_slice()) {
            (_, []) => attacks.into_iter().map(|attack| Block { attack, ranks: None }).collect(),
            (None, blocks) => blocks.to_vec(),
            (Some(_), _) => bail!("attacks and [[table.block]] say the same: leave out one of them"),
        };
        if let Some(epsilons) = &self.epsilons {
            table.epsilons.clone_from(epsilons);
        }
        if let Some(targets) = &self.targets {
            table.targets.clone_from(targets);
        }
        if let Some(recall) = self.recall_at_1.filter(|recall| !(0.0..=100.0).contains(recall)) {
            bail!("a recall of {recall} is no percentage");
        }
        table.change = self.change;
        table.recall_at_1 = self.recall_at_1;
        table.source.clone_from(&self.source);
        table.other_system.clone_from(&self.other_system);
        Ok(table.with_blocks(blocks)?)
    }
}

/// Tables of the entries, with distinct ids.
fn tables(plan: &Plan, entries: &[Spanned<Entry>]) -> Result<Vec<PublishedTable>> {
    let mut tables: Vec<PublishedTable> = Vec::new();
    for entry in entries {
        let table = entry.get_ref().table(plan).map_err(|error| plan.at(&entry.span(), error))?;
        if tables.iter().any(|other| other.id == table.id) {
            return Err(plan.wrong(&entry.span(), &format!("there are two tables '{}'", table.id)));
        }
        tables.push(table);
    }
    Ok(tables)
}

impl Tables {
    /// Reads the tables of a plan; an unknown name or a slice without cells is an error of one line.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let file = &plan.file;
        let all = tables(plan, &file.tables)?;
        let quick = (!file.quick.own.is_empty()).then(|| tables(plan, &file.quick.own)).transpose()?;
        let sets = [Some(&all), quick.as_ref()];
        let known = |name: &Spanned<String>| {
            let ids: Vec<&str> = all.iter().map(|table| table.id.as_str()).collect();
            if ids.contains(&name.get_ref().as_str()) {
                return Ok(name.get_ref().clone());
            }
            Err(plan.wrong(&name.span(), &crate::names::unknown("table", name.get_ref(), &ids)))
        };
        let panel = |entry: &PanelEntry| {
            let ours = known(&entry.ours)?;
            let shown = |table: &&PublishedTable| {
                table.id == ours || entry.published.as_ref().is_some_and(|id| *id.get_ref() == table.id)
            };
            for table in sets.iter().flatten().flat_map(|tables| tables.iter()).filter(shown) {
                let own = table.attacks().find(|attack| matches!(attack, AttackId::Custom(_)));
                let message = match (table.norm(), own) {
                    (Norm::Linf, None) => continue,
                    (Norm::Linf, Some(attack)) => {
                        format!("a panel has curves of rankle's own attacks, and '{}' has {attack}", table.id)
                    }
                    (norm, _) => format!("a panel has an axis of radii of linf, and '{}' has those of {norm}", table.id),
                };
                return Err(plan.wrong(&entry.ours.span(), &message));
            }
            let theirs = entry.published.as_ref().unwrap_or(&entry.ours);
            let found = |tables: &Vec<PublishedTable>| {
                let system = tables.iter().find(|table| table.id == ours).map(|table| &table.system);
                let theirs_system = find(tables, theirs.get_ref()).map(|table| &table.system);
                let theirs_system = theirs_system.map_err(|error| plan.wrong(&theirs.span(), &error.to_string()))?;
                match system.is_none_or(|system| system == theirs_system) {
                    true => Ok(()),
                    false => {
                        Err(plan.wrong(&theirs.span(), &format!("'{}' is about another system than '{ours}'", theirs.get_ref())))
                    }
                }
            };
            sets.iter().flatten().try_for_each(|tables| found(tables))?;
            Ok((ours, theirs.get_ref().clone()))
        };
        let panels = file.panels.iter().map(panel).collect::<Result<_>>()?;
        let named = file.quick.tables.as_ref().map(|names| names.iter().map(known).collect::<Result<_>>()).transpose()?;
        let slice = Slice { tables: named, epsilons: file.quick.epsilons.clone(), targets: file.quick.targets.clone() };
        let (title, quick_title) = (file.title.clone(), file.quick.title.clone().unwrap_or_else(|| file.title.clone()));
        let tables = Self { title, quick_title, tables: all, quick_tables: quick, slice, panels };
        tables.check_slice(plan)?;
        Ok(tables)
    }

    fn check_slice(&self, plan: &Plan) -> Result<()> {
        let quick: Vec<&PublishedTable> = self.tables(&Scope::QUICK).collect();
        let has = |has: &dyn Fn(&PublishedTable) -> bool| quick.iter().any(|table| has(table));
        if let Some(epsilon) =
            self.slice.epsilons.iter().flatten().find(|epsilon| !has(&|table| table.epsilons.contains(epsilon)))
        {
            return Err(plan.lacks(format!("[quick] has an ε of {epsilon}, which no table has")));
        }
        if let Some(size) = self.slice.targets.iter().flatten().find(|size| !has(&|table| table.targets.contains(size))) {
            return Err(plan.lacks(format!("[quick] has {size} targets, which no table has")));
        }
        match quick.iter().any(|table| self.cells(table, &Scope::QUICK).next().is_some()) {
            true => Ok(()),
            false => Err(plan.lacks("[quick] leaves no cell")),
        }
    }

    fn tables(&self, scope: &Scope) -> impl Iterator<Item = &PublishedTable> {
        let all = self.quick_tables.as_ref().filter(|_| scope.quick).unwrap_or(&self.tables);
        let quick = scope.quick;
        all.iter().filter(move |table| !quick || self.slice.tables.as_ref().is_none_or(|names| names.contains(&table.id)))
    }

    /// Cells of a table in the scope, in the order of the table.
    fn cells<'a>(&'a self, table: &'a PublishedTable, scope: &Scope) -> impl Iterator<Item = PublishedCell> + use<'a> {
        let quick = scope.quick;
        table.cells().filter(move |cell| !quick || self.slice.holds(cell))
    }

    /// Norm and radius of the pictures of a system: the norm of its first table, and the largest radius in this norm that every
    /// scope computes, for this system or another.
    fn pictured(&self, scope: &Scope, system: &System) -> (Norm, f64) {
        let norm = self.tables(scope).find(|table| table.system == *system).map(PublishedTable::norm).unwrap_or_default();
        let sets = || self.tables.iter().chain(self.quick_tables.iter().flatten()).filter(|table| table.norm() == norm);
        let epsilons = sets().flat_map(|table| table.epsilons.iter().copied());
        let in_slice = |epsilon: &f64| self.slice.epsilons.as_ref().is_none_or(|epsilons| epsilons.contains(epsilon));
        let largest = |epsilons: &mut dyn Iterator<Item = f64>| epsilons.fold(0.0, f64::max);
        match largest(&mut epsilons.clone().filter(in_slice)) {
            // All radii of the slice are in another norm.
            0.0 => (norm, largest(&mut epsilons.clone())),
            radius => (norm, radius),
        }
    }

    fn pictures(&self, scope: &Scope) -> Vec<Picture> {
        pictures::at(self.work(scope).into_iter().map(|(system, _)| {
            let radius = self.pictured(scope, &system);
            (system, radius)
        }))
    }

    fn report<'a>(&'a self, scope: &'a Scope, comparisons: &'a [Comparison<'a>]) -> Result<Report<'a>> {
        let panel = |(ours, theirs): &'a (String, String)| {
            let ours = comparisons.iter().find(|comparison| comparison.table.id == *ours)?;
            let own = comparisons.iter().map(|comparison| comparison.table).find(|table| table.id == *theirs);
            Some(own.map_or_else(|| find(&self.tables, theirs), Ok).map(|theirs| Panel { ours, theirs }))
        };
        let panels = self.panels.iter().filter_map(panel).collect::<rankle_report::Result<_>>()?;
        let pictures = self.pictures(scope).iter().map(Picture::captioned).collect();
        let title = if scope.quick { &self.quick_title } else { &self.title };
        Ok(Report { title, scope, comparisons, panels, pictures })
    }
}

/// The table with this id among `tables`, else among the published ones.
fn find<'a>(tables: &'a [PublishedTable], id: &str) -> rankle_report::Result<&'a PublishedTable> {
    tables.iter().find(|table| table.id == id).map_or_else(|| published::table(id), Ok)
}

impl Study for Tables {
    fn published(&self) -> Published {
        let own = |table: &&PublishedTable| table.is_published() && table.other_system.is_none();
        match self.tables.iter().filter(own).count() {
            0 if self.tables.iter().any(|table| table.is_published()) => Published::Similar,
            0 => Published::None,
            own if own == self.tables.len() => Published::All,
            _ => Published::Some,
        }
    }

    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        let mut work: Vec<(System, usize)> = Vec::new();
        let setting = scope.setting();
        for table in self.tables(scope) {
            let asked = self.cells(table, scope).map(|cell| table.asked("", cell.attack, cell.targets, cell.epsilon, &setting));
            let cells = asked.map(|cell| cost::in_usual_cells(&cell)).sum::<f64>().ceil() as usize;
            match work.iter_mut().find(|(system, _)| *system == table.system) {
                Some((_, sum)) => *sum += cells,
                None => work.push((table.system.clone(), cells)),
            }
        }
        work
    }

    /// Table by table, each with its cells in order.
    fn plan(&self, scope: &Scope, weights: Weights<'_>) -> Result<Vec<Cell>> {
        let setting = scope.setting();
        let mut plan = Vec::new();
        for table in self.tables(scope) {
            let weights = weights(&table.system)?;
            plan.extend(
                self.cells(table, scope).map(|PublishedCell { attack, targets, epsilon, .. }| {
                    table.asked(&weights, attack, targets, epsilon, &setting)
                }),
            );
        }
        Ok(plan)
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let systems: Vec<System> = self.work(scope).into_iter().map(|(system, _)| system).collect();
        let (models, records) = session.answers(&systems, scope, |weights| self.plan(scope, weights))?;
        let setting = scope.setting();
        let mut comparisons = Vec::new();
        for table in self.tables(scope) {
            comparisons.push(Comparison::new(table, &setting, &records, models.of(&table.system)?.caveat()));
        }
        let report = self.report(scope, &comparisons)?;
        report.write(session.output, &records)?;
        pictures::draw(session, &models, &self.pictures(scope))?;
        Ok(Outcome { text: report.for_people(&shown(session.output)), json: report.as_json()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::checked;
    use super::super::kept::{self, CommittedResults};
    use super::super::plan::tests::{named, plan};
    use super::*;
    use rankle_report::{Journal, Record, markdown};
    use std::collections::HashSet;

    fn tables(name: &str) -> Tables {
        Tables::of(&plan(name)).unwrap()
    }

    fn mnist(scope: Scope) -> Vec<Cell> {
        tables("mnist").plan(&scope, &|system| Ok(format!("models/{}/model.safetensors", system.id()))).unwrap()
    }

    fn work(name: &str, scope: Scope) -> Vec<(String, usize)> {
        tables(name).work(&scope).into_iter().map(|(system, cells)| (system.id(), cells)).collect()
    }

    #[test]
    fn the_plan_has_160_cells_each_once() {
        let plan = mnist(Scope::default());
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
        let plan = mnist(Scope::default());
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

    /// Outside readers rely on this line, as the driver does.
    #[test]
    fn a_line_of_the_plan() {
        let line = Cell::to_lines(&mnist(Scope::default())[..1]).unwrap();
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
        let quick = mnist(Scope::QUICK);
        assert_eq!(quick.len(), 2 * 4 * 2 * 3);
        assert!(quick.iter().all(|planned| planned.images == 100 && [1, 10].contains(&planned.spec.targets)));
    }

    #[test]
    fn what_is_published_is_told_apart() {
        let of = |name: &str| named(name).study.published();
        assert_eq!(["mnist", "losses", "fashion"].map(of), [Published::All, Published::Some, Published::Similar]);
        assert_eq!(["products", "examples/lenet-euclidean"].map(of), [Published::None, Published::Some]);
    }

    /// `cargo xtask reproduce` without arguments must always mean these 160 cells.
    #[test]
    fn each_plan_attacks_its_models() {
        let both = |dataset: &str, cells| {
            [(format!("{dataset}-c2f2-cosine-triplet"), cells), (format!("{dataset}-c2f2-cosine-triplet-est"), cells)]
        };
        assert_eq!(work("mnist", Scope::default()), both("mnist", 80));
        assert_eq!(work("mnist", Scope::QUICK), both("mnist", 24));
        assert_eq!(work("fashion", Scope::default()), both("fashion-mnist", 80 + 48));
        // All 310 published values of the curves.
        assert_eq!(work("curves", Scope::default()), both("mnist", 155));
        assert_eq!(work("curves", Scope::QUICK), both("mnist", 20));
        for name in ["losses", "backbones"] {
            let tables = tables(name);
            let of = |system: &System| [&system.distance, &system.loss, &system.model].map(String::clone);
            let different: HashSet<_> = tables.tables.iter().map(|table| of(&table.system)).collect();
            assert_eq!((tables.tables.len(), different.len()), (4, 4), "{name}");
            assert!(tables.tables.iter().all(|table| table.cells().count() == 80 && table.system.dataset == "mnist"), "{name}");
        }
    }

    /// Training a defended model of photographs takes weeks; under `--quick` every step is tried on small drawn images.
    #[test]
    fn little_time_means_small_drawn_images() {
        let cells = |name: &str, cells| [(name.to_owned(), cells), (format!("{name}-est"), cells)];
        assert_eq!(work("products", Scope::default()), cells("sop-resnet18-euclidean-triplet", 16));
        assert_eq!(work("products", Scope::QUICK), cells("sop-resnet18,size=64-euclidean-triplet", 8));
        let (products, drawn) = (tables("products"), named("products").drawn.unwrap());
        // The recorded recalls are of photographs.
        let recalls = |tables: &[PublishedTable]| tables.iter().map(|table| table.recall_at_1).collect::<Vec<_>>();
        assert_eq!(recalls(&products.tables), [Some(45.3), Some(25.4)]);
        assert_eq!(recalls(products.quick_tables.as_deref().unwrap()), [None; 2]);
        assert!(drawn.folder.ends_with("200-products-8-views") && products.quick_title.starts_with("A pipeline check"));
    }

    #[test]
    fn the_kept_reports_are_made_of_the_kept_records() {
        let scope = Scope::default();
        for name in ["curves", "fashion", "losses", "backbones"] {
            let (kept, experiment) = (CommittedResults::of(name), tables(name));
            let records = &kept.answer(&|weights| experiment.plan(&scope, weights));
            let caveats: Vec<Option<String>> = (experiment.tables.iter())
                .map(|PublishedTable { system, .. }| {
                    let weights = kept::root().join("models").join(system.id()).join("model.safetensors");
                    system.is_defended().then(|| checked::caveat(system, &weights)).flatten()
                })
                .collect();
            let setting = scope.setting();
            let both = experiment.tables.iter().zip(&caveats);
            let comparisons: Vec<_> =
                both.map(|(table, caveat)| Comparison::new(table, &setting, records, caveat.as_deref())).collect();
            let folder = tempfile::tempdir().unwrap();
            experiment.report(&scope, &comparisons).unwrap().write(folder.path(), records).unwrap();
            for file in ["report.md", "curves.svg"] {
                let made = std::fs::read_to_string(folder.path().join(file)).unwrap();
                assert!(made == kept.text(file), "{name}/{file} is not what its records make: `rankle run` writes it anew");
            }
        }
    }

    /// Tables on the model pages, and the rows of the README, agree with the records beside the weights.
    #[test]
    fn the_tables_on_the_pages_are_made_of_the_records() {
        let (experiment, scope, root) = (tables("mnist"), Scope::default(), kept::root());
        let page = |place: &str| std::fs::read_to_string(root.join(place)).unwrap();
        let mut rows: Vec<(AttackId, Vec<String>)> = Vec::new();
        for table in &experiment.tables {
            let folder = format!("models/{}", table.system.id());
            let records = Journal::at(root.join(&folder).join("records.jsonl")).read().unwrap().records;
            let rendered = markdown::render(&Comparison::new(table, &scope.setting(), &records, None));
            let text = page(&format!("{folder}/README.md"));
            let told =
                |line: &&str| line.starts_with("| ") || line.starts_with("80 of 80 cells;") || line.starts_with("Published ");
            let lines: Vec<&str> = rendered.lines().filter(told).collect();
            assert!(lines.len() > 24, "{rendered}");
            let from = text.find("## Results").unwrap();
            let results: Vec<&str> = text[from..].lines().filter(told).collect();
            assert_eq!(results, lines, "{folder}");
            for attack in table.attacks() {
                let is_shown = |record: &&Record| {
                    let spec = &record.cell.spec;
                    (spec.attack, spec.targets, spec.epsilon) == (attack, 1, 0.3)
                };
                let record = records.iter().find(is_shown).unwrap();
                let cell = format!("{:.2} ± {:.2} ", record.rank_after.unwrap(), record.rank_after_stderr.unwrap());
                match rows.iter_mut().find(|(known, _)| *known == attack) {
                    Some((_, cells)) => cells.push(cell),
                    None => rows.push((attack, vec![cell])),
                }
            }
        }
        let readme = page("README.md");
        for (attack, cells) in rows {
            let name = format!("| {} | ", attack.to_string().to_uppercase());
            let row = readme.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("no row {name}"));
            let shown: Vec<&str> = row[name.len()..].split(" | ").collect();
            assert!(shown.len() == 2 && cells.iter().zip(&shown).all(|(cell, shown)| shown.starts_with(cell)), "{row} {cells:?}");
        }
    }

    /// Every panel finds its tables, in the whole plan and in its slice.
    #[test]
    fn every_panel_is_drawn() {
        for name in ["mnist", "curves", "fashion", "losses", "backbones", "products", "examples/lenet-euclidean"] {
            let experiment = tables(name);
            for scope in [Scope::default(), Scope::QUICK] {
                let setting = scope.setting();
                let comparisons: Vec<_> =
                    experiment.tables(&scope).map(|table| Comparison::new(table, &setting, &[], None)).collect();
                let report = experiment.report(&scope, &comparisons).unwrap();
                assert_eq!(report.panels.len(), experiment.panels.len(), "{name}");
                assert!(report.panels.iter().all(|panel| panel.ours.table.system == panel.theirs.system), "{name}");
            }
        }
    }
}
