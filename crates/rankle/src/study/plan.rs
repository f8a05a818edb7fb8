//! Plan files: experiments as data.

use super::ablations::{self, Ablations};
use super::classification::{self, Classification};
use super::sanity::{self, Sanity};
use super::strength::{self, Strength};
use super::tables::{self, Tables};
use super::transfer::{self, Transfer};
use super::universal::{self, UniversalStudy};
use super::{Outcome, Scope, Session, Study};
use crate::commands::sweep;
use crate::names;
use anyhow::{Context, Result, anyhow, bail};
use rankle_data::Source;
use rankle_report::{AttackId, Cell, System};
use serde::Deserialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Allowed values of `study = "…"`.
const STUDIES: [(&str, Make); 6] = [
    ("transfer", |plan| Ok(Box::new(Transfer::of(plan)?))),
    ("universal", |plan| Ok(Box::new(UniversalStudy::of(plan)?))),
    ("sanity", |plan| Ok(Box::new(Sanity::of(plan)?))),
    ("classification", |plan| Ok(Box::new(Classification::of(plan)?))),
    ("ablations", |plan| Ok(Box::new(Ablations::of(plan)?))),
    ("strength", |plan| Ok(Box::new(Strength::of(plan)?))),
];

type Make = fn(&Plan) -> Result<Box<dyn Study>>;

pub(crate) enum Content {
    /// An experiment in TOML.
    Experiment(Experiment),
    /// Cells as lines of JSON, with the input columns of a record.
    Lines(Vec<Cell>),
}

/// An experiment from a plan in TOML, fully checked.
pub(crate) struct Experiment {
    /// File name without extension, which also names the output folder and the cells.
    pub(crate) name: String,
    pub(crate) summary: String,
    /// Position in the list of experiments; `None` for the end.
    pub(super) order: Option<u32>,
    /// Weights that the plan names.
    pub(super) weights: Vec<(System, String)>,
    /// Drawn images for `--quick`.
    pub(super) drawn: Option<Drawn>,
    pub(super) study: Box<dyn Study>,
}

/// A plan in TOML, unchecked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) title: String,
    summary: String,
    order: Option<u32>,
    /// Meaning of the cells, for the report of a study.
    #[serde(default)]
    pub(super) note: String,
    study: Option<Spanned<String>>,
    #[serde(default, rename = "subject")]
    subjects: Vec<Subject>,
    #[serde(default, rename = "table")]
    pub(super) tables: Vec<Spanned<tables::Entry>>,
    #[serde(default, rename = "panel")]
    pub(super) panels: Vec<tables::PanelEntry>,
    #[serde(default)]
    pub(super) quick: Quick,
    pub(super) transfer: Option<transfer::Data>,
    pub(super) universal: Option<universal::Data>,
    pub(super) sanity: Option<sanity::Data>,
    pub(super) classification: Option<classification::Data>,
    pub(super) ablations: Option<ablations::Data>,
    pub(super) strength: Option<strength::Data>,
}

/// A model on its dataset, under a name for the rest of the plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: Spanned<String>,
    dataset: Spanned<String>,
    model: Spanned<String>,
    /// Distance of a ranking model.
    distance: Option<Spanned<String>>,
    loss: Option<Spanned<String>>,
    defense: Option<Spanned<String>>,
    #[serde(default)]
    seed: u64,
    /// File of weights; no training takes place then.
    weights: Option<String>,
}

/// The part of a plan that `--quick` runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quick {
    /// Heading of the report, if it differs.
    pub(super) title: Option<String>,
    /// Radii of the cells that are kept.
    pub(super) epsilons: Option<Vec<f64>>,
    /// Attacks that the study `strength` keeps.
    pub(super) attacks: Option<Vec<AttackId>>,
    /// Numbers of targets of the cells that are kept; cells without targets are always kept.
    pub(super) targets: Option<Vec<usize>>,
    /// Ids of the tables that are kept.
    pub(super) tables: Option<Vec<Spanned<String>>>,
    /// Tables in place of the plan's.
    #[serde(default, rename = "table")]
    pub(super) own: Vec<Spanned<tables::Entry>>,
    drawn: Option<Drawn>,
}

/// Drawn images in the layout of a dataset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drawn {
    layout: String,
    products: u32,
    views: u32,
    pub(super) folder: PathBuf,
}

/// A plan, with path and text for its error messages.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) file: File,
    path: PathBuf,
    text: String,
    subjects: Vec<(String, System)>,
}

impl Experiment {
    /// Computes and reports the experiment.
    ///
    /// # Errors
    /// As [`Study::run`].
    pub(crate) fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        self.study.run(session)
    }

    /// Sort key for the list of experiments.
    pub(super) fn place(&self) -> (u32, String) {
        (self.order.unwrap_or(u32::MAX), self.name.clone())
    }
}

/// Reads a plan: lines of JSON, or TOML.
///
/// # Errors
/// One line that names the file, and the line in the file if one is wrong.
pub(crate) fn content(path: &Path) -> Result<Content> {
    let text =
        rankle_files::read_text_or_pipe(path, Cell::LONGEST_PLAN).with_context(|| format!("cannot read {}", path.display()))?;
    if text.trim_start().starts_with('{') {
        return Ok(Content::Lines(Cell::parse_plan(path, &text)?));
    }
    Ok(Content::Experiment(Plan::parse(path, text)?.experiment()?))
}

impl Plan {
    /// Parses the text of a plan and resolves its subjects.
    pub(super) fn parse(path: &Path, text: String) -> Result<Self> {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let file = toml::from_str(&text).map_err(|error| {
            let span = named_within(&text, error.span().unwrap_or_default(), error.message());
            wrong(path, &text, &span, error.message())
        });
        let mut plan = Self { name, file: file?, path: path.to_owned(), text, subjects: Vec::new() };
        for subject in &plan.file.subjects {
            let system = plan.system(subject)?;
            let (name, at) = (subject.name.get_ref(), subject.name.span());
            if let Some((other, _)) = plan.subjects.iter().find(|(other, known)| other == name || *known == system) {
                return Err(
                    plan.wrong(&at, &format!("subject '{name}' is subject '{other}' again: give it another name and seed"))
                );
            }
            plan.subjects.push((name.clone(), system));
        }
        Ok(plan)
    }

    /// An error at a position in the file, in one line.
    pub(super) fn wrong(&self, span: &Range<usize>, message: &str) -> anyhow::Error {
        wrong(&self.path, &self.text, span, message)
    }

    /// The error with a position in the file added, unless it already names the file.
    pub(super) fn at(&self, span: &Range<usize>, error: anyhow::Error) -> anyhow::Error {
        let (message, file) = (crate::stop::line(&error), self.path.display().to_string());
        let message = message.trim_start_matches("error: ");
        if message.starts_with(&file) { error } else { self.wrong(span, message) }
    }

    /// An error about the whole file.
    pub(super) fn lacks(&self, message: impl std::fmt::Display) -> anyhow::Error {
        anyhow!("{}: {message}", self.path.display())
    }

    /// The subject with this name.
    ///
    /// # Errors
    /// One line with all names, and with the nearest one, if the name is unknown.
    pub(super) fn subject(&self, name: &Spanned<String>) -> Result<&System> {
        let found = self.subjects.iter().find(|(known, _)| known == name.get_ref());
        found.map(|(_, system)| system).ok_or_else(|| {
            let known: Vec<&str> = self.subjects.iter().map(|(name, _)| name.as_str()).collect();
            self.wrong(&name.span(), &names::unknown("subject", name.get_ref(), &known))
        })
    }

    pub(super) fn named(&self, names: &[Spanned<String>]) -> Result<Vec<(String, System)>> {
        names.iter().map(|name| Ok((name.get_ref().clone(), self.subject(name)?.clone()))).collect()
    }

    /// The system of a subject, with every word checked.
    fn system(&self, subject: &Subject) -> Result<System> {
        let of = |word: &Spanned<String>, found: Result<(), String>| {
            found.map_err(|message| self.wrong(&word.span(), &message)).map(|()| word.get_ref().clone())
        };
        let Subject { name, dataset, model, distance, loss, defense, seed, .. } = subject;
        let known = |dataset: &str| dataset.parse::<Source>().map(drop).map_err(|error| error.to_string());
        let dataset = of(dataset, known(dataset.get_ref()))?;
        let classifies = names::CLASSIFIERS.find(model.get_ref()).is_ok();
        let model = of(model, if classifies { Ok(()) } else { names::RANKERS.find(model.get_ref()).map(drop) })?;
        let need = |key: &str, word: &Option<Spanned<String>>, found: &dyn Fn(&str) -> Result<(), String>, usual: &str| match word
        {
            Some(word) if classifies && word.get_ref() != usual => {
                Err(self.wrong(&word.span(), &format!("{model} is a classifier: leave out {key}")))
            }
            Some(word) if !classifies => of(word, found(word.get_ref())),
            None if !classifies => {
                Err(self.wrong(&name.span(), &format!("subject '{}' needs a {key}: {model} ranks", name.get_ref())))
            }
            _ => Ok(usual.to_owned()),
        };
        let distance = need("distance", distance, &|name| names::DISTANCES.find(name).map(drop), System::NO_DISTANCE)?;
        let loss = need("loss", loss, &|name| names::LOSSES.find(name).map(drop), "cross-entropy")?;
        let defended = defense.as_ref().map(|word| of(word, names::DEFENSES.find(word.get_ref()).map(drop))).transpose()?;
        Ok(System { dataset, model, distance, loss, defense: defended.unwrap_or_else(|| "none".to_owned()), seed: *seed })
    }

    /// The section of a study.
    ///
    /// # Errors
    /// When the section is absent.
    pub(super) fn section<'a, T>(&self, name: &str, section: &'a Option<T>) -> Result<&'a T> {
        section.as_ref().ok_or_else(|| self.lacks(format!("study = \"{name}\" needs a section [{name}]")))
    }

    /// Checks that a radius is in [0, 1].
    pub(super) fn check_epsilon(&self, epsilon: f64) -> Result<()> {
        rankle_attacks::Threat::linf(epsilon).map(drop).map_err(|error| self.lacks(error))
    }

    /// The checked experiment. Every cell is checked, so that a wrong one is found before anything is computed.
    pub(super) fn experiment(self) -> Result<Experiment> {
        let make: Make = match &self.file.study {
            None => |plan| Ok(Box::new(Tables::of(plan)?)),
            Some(name) => {
                let found = STUDIES.iter().find(|(known, _)| known == name.get_ref());
                let known = STUDIES.map(|(known, _)| known);
                let unknown = || self.wrong(&name.span(), &names::unknown("study", name.get_ref(), &known));
                found.map(|(_, make)| *make).ok_or_else(unknown)?
            }
        };
        self.check_sections()?;
        let study = make(&self)?;
        for scope in [Scope::default(), Scope::QUICK] {
            for planned in study.plan(&scope, &|system| Ok(system.id()))? {
                let place = format!("{}: {planned} on {}", self.path.display(), planned.subject.model);
                sweep::check(planned.clone()).context(place)?;
            }
        }
        let weights = self.file.subjects.iter().zip(&self.subjects);
        let weights = weights.filter_map(|(subject, (_, system))| Some((system.clone(), subject.weights.clone()?))).collect();
        let File { summary, order, quick: Quick { drawn, .. }, .. } = self.file;
        Ok(Experiment { name: self.name, summary, order, weights, drawn, study })
    }

    /// Refuses a section that the study does not read.
    fn check_sections(&self) -> Result<()> {
        let File { study, tables, panels, transfer, universal, sanity, classification, ablations, strength, .. } = &self.file;
        let named = study.as_ref().map(|study| study.get_ref().as_str());
        let is_there = [
            transfer.is_some(),
            universal.is_some(),
            sanity.is_some(),
            classification.is_some(),
            ablations.is_some(),
            strength.is_some(),
        ];
        if let Some(((other, _), _)) =
            STUDIES.iter().zip(is_there).find(|((name, _), is_there)| *is_there && Some(*name) != named)
        {
            bail!(self.lacks(format!("[{other}] is there, but not study = \"{other}\"")));
        }
        let quick = &self.file.quick;
        let unread = [
            ("title", quick.title.is_some() && named.is_some()),
            ("tables", quick.tables.is_some() && named.is_some()),
            ("drawn", quick.drawn.is_some() && named.is_some()),
            ("epsilons", quick.epsilons.is_some() && !matches!(named, None | Some("classification" | "strength"))),
            ("targets", quick.targets.is_some() && !matches!(named, None | Some("ablations"))),
            ("attacks", quick.attacks.is_some() && named != Some("strength")),
        ];
        if let Some((key, _)) = unread.iter().find(|(_, unread)| *unread) {
            let reader = named.map_or_else(|| "a plan without a study".to_owned(), |name| format!("study = \"{name}\""));
            bail!(self.lacks(format!("{reader} does not read {key} of [quick]")));
        }
        match named {
            Some(name) if !(tables.is_empty() && panels.is_empty() && self.file.quick.own.is_empty()) => {
                bail!(self.lacks(format!("study = \"{name}\" has no [[table]] and no [[panel]]")))
            }
            None if tables.is_empty() => bail!(self.lacks("it has no [[table]] and no study")),
            _ => Ok(()),
        }
    }
}

impl Drawn {
    /// The folder, if it exists.
    ///
    /// # Errors
    /// One line with the command that draws the images.
    pub(super) fn here(&self) -> Result<&Path> {
        let Self { layout, products, views, folder } = self;
        if !folder.is_dir() {
            let folder = folder.display();
            let command = format!("cargo xtask synth {layout} --products {products} --views {views} --output {folder}");
            bail!("{folder} is not there: `{command}` draws it");
        }
        Ok(folder)
    }
}

/// Position of the word that a message names between backticks. For a table with flattened parts the parser knows only the
/// position of its head.
fn named_within(text: &str, span: Range<usize>, message: &str) -> Range<usize> {
    let Some(word) = message.split('`').nth(1) else { return span };
    let mut at = span.start;
    let lines = text.get(at..).unwrap_or_default().split_inclusive('\n').enumerate();
    for (_, line) in lines.take_while(|(number, line)| *number == 0 || !line.starts_with('[')) {
        let names = |rest: &str| rest.trim_start().starts_with('=');
        if line.trim_start().strip_prefix(word).is_some_and(names) || line.contains(&format!("\"{word}\"")) {
            return at..at;
        }
        at += line.len();
    }
    span
}

fn wrong(path: &Path, text: &str, span: &Range<usize>, message: &str) -> anyhow::Error {
    let before = text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    anyhow!("{} line {line}: {message}", path.display())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::kept::root;
    use super::*;
    use rankle_report::{AttackSpec, Norm, ObjectiveKind, Protocol};
    use std::collections::HashSet;

    /// The plan with this name in the repository.
    pub(in super::super) fn plan(name: &str) -> Plan {
        let path = root().join("xtask/plans").join(format!("{name}.toml"));
        Plan::parse(&path, std::fs::read_to_string(&path).unwrap()).unwrap()
    }

    /// All experiments of the repository in the order of the list, including the examples.
    pub(in super::super) fn all() -> Vec<Experiment> {
        let folder = root().join("xtask/plans");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let plans = files.filter(|file| file.extension().is_some_and(|ending| ending == "toml"));
        let mut names: Vec<String> = plans.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.extend(["examples/lenet-euclidean", "examples/ctd-apgd"].map(str::to_owned));
        let mut all: Vec<Experiment> = names.iter().map(|name| plan(name).experiment().unwrap()).collect();
        all.sort_by_key(Experiment::place);
        all
    }

    pub(in super::super) fn named(name: &str) -> Experiment {
        plan(name).experiment().unwrap()
    }

    fn parse(text: &str) -> Result<Experiment> {
        Plan::parse(Path::new("p.toml"), text.to_owned())?.experiment()
    }

    const HEAD: &str = "title = \"T\"\nsummary = \"s\"\n";
    const CT: &str =
        "[[subject]]\nname = \"CT\"\ndataset = \"mnist\"\nmodel = \"c2f2\"\ndistance = \"cosine\"\nloss = \"triplet\"\n";

    #[test]
    fn every_plan_is_whole_and_has_something_to_do() {
        let all = all();
        assert_eq!(all.iter().map(|experiment| &experiment.name).collect::<HashSet<_>>().len(), all.len());
        assert_eq!((all.len(), all[0].name.as_str(), all[13].name.as_str()), (18, "mnist", "products"));
        for Experiment { name, summary, study, .. } in &all {
            assert!(!summary.is_empty() && summary.len() <= 100 && !summary.contains('\n'), "{summary}");
            let cells = |scope: Scope| study.work(&scope).iter().map(|(_, cells)| cells).sum::<usize>();
            let (quick, all) = (cells(Scope::QUICK), cells(Scope::FULL));
            assert!(0 < quick && quick <= all, "{name}: {quick} of {all} cells");
        }
    }

    #[test]
    fn a_subject_of_a_plan_may_name_its_weights() {
        let text =
            format!("{HEAD}{CT}weights = \"mine.safetensors\"\n[[table]]\nid = \"own\"\ntitle = \"Own\"\nsubject = \"CT\"\n");
        let experiment = parse(&text).unwrap();
        assert_eq!((experiment.name.as_str(), experiment.weights[0].1.as_str()), ("p", "mine.safetensors"));
        assert_eq!(experiment.weights[0].0.id(), "mnist-c2f2-cosine-triplet");
        let classifier = "[[subject]]\nname = \"S\"\ndataset = \"mnist\"\nmodel = \"softmax\"\n";
        let section = "[classification]\nmodels = [\"S\"]\nattacks = [\"pgd\"]\nepsilons = [0.1]\n";
        let text = format!("{HEAD}study = \"classification\"\n{classifier}{section}");
        assert_eq!(parse(&text).unwrap().study.work(&Scope::default())[0].0, System::classifier("mnist", "softmax"));
    }

    /// Each message has one line: the file, the line if there is one, and the mistake.
    #[test]
    fn what_is_wrong_with_a_plan_is_said_in_one_line() {
        let table = "[[table]]\nid = \"own\"\ntitle = \"Own\"\nsubject = \"CT\"\n";
        let whole = format!("{HEAD}{CT}{table}");
        assert!(parse(&whole).is_ok());
        let transfer = "[transfer]\nmodels = [\"CT\"]\nattacks = [\"ca+\"]\nepsilon = 0.3\n";
        assert!(parse(&format!("{HEAD}study = \"transfer\"\n{CT}{transfer}")).is_ok());
        let cases = [
            (whole.replace("summary", "sumary"), "p.toml line 2: unknown field `sumary`"),
            (whole.replace("seed", "sead") + "sead = 1\n", "p.toml line 13: unknown field `sead`"),
            (
                whole.replace("subject = \"CT\"", "subject = \"CTT\""),
                "p.toml line 12: unknown subject 'CTT', did you mean 'CT'? known: CT",
            ),
            (whole.replace("\"cosine\"", "\"cosin\""), "p.toml line 7: unknown distance 'cosin', did you mean 'cosine'?"),
            (whole.replace("distance = \"cosine\"\n", ""), "p.toml line 4: subject 'CT' needs a distance: c2f2 ranks"),
            (whole.replace("\"c2f2\"", "\"softmax\""), "p.toml line 7: softmax is a classifier: leave out distance"),
            (whole.replace("\"mnist\"", "\"minst\""), "p.toml line 5: unknown dataset 'minst', did you mean 'mnist'?"),
            (whole.clone() + CT, "p.toml line 14: subject 'CT' is subject 'CT' again"),
            (format!("{HEAD}study = \"transfr\"\n"), "p.toml line 3: unknown study 'transfr', did you mean 'transfer'?"),
            (format!("{HEAD}study = \"transfer\"\n"), "p.toml: study = \"transfer\" needs a section [transfer]"),
            (format!("{HEAD}{CT}{transfer}"), "p.toml: [transfer] is there, but not study = \"transfer\""),
            (format!("{HEAD}study = \"transfer\"\n{CT}{table}{transfer}"), "p.toml: study = \"transfer\" has no [[table]]"),
            (
                format!("{HEAD}study = \"transfer\"\n{CT}{transfer}[quick]\ntargets = [1]\n"),
                "\"transfer\" does not read targets of [quick]",
            ),
            (whole.clone() + "[quick]\nattacks = [\"ca+\"]\n", "p.toml: a plan without a study does not read attacks of [quick]"),
            (HEAD.to_owned(), "p.toml: it has no [[table]] and no study"),
            (whole.clone() + "[[panel]]\nours = \"mine\"\n", "p.toml line 14: unknown table 'mine'; known: own"),
            (whole.clone() + "[[panel]]\nours = \"own\"\npublished = \"mnist-cx\"\n", "p.toml line 15: unknown table 'mnist-cx'"),
            (whole.clone() + "[quick]\ntables = [\"owm\"]\n", "p.toml line 14: unknown table 'owm', did you mean 'own'?"),
            (whole.clone() + "[quick]\nepsilons = [0.2]\n", "p.toml: [quick] has an ε of 0.2, which no table has"),
            (whole.clone() + "[[table]]\npublished = \"mnist-cx\"\n", "p.toml line 14: unknown table 'mnist-cx'"),
            (whole.clone() + table, "p.toml line 13: there are two tables 'own'"),
            (whole.clone() + "epsilons = [nan]\n", "'own': epsilon NaN is outside [0, 1]"),
            (whole.clone() + "attacks = [\"ca\"]\n", "p.toml line 13: unknown attack 'ca'; known: ca+, ca-"),
            (whole.replace("subject = \"CT\"\n", ""), "p.toml line 9: a table of one's own needs id, title and subject"),
            (
                whole.clone() + "attacks = [\"ca+\"]\nblock = [{ attack = \"ca+\" }]\n",
                "line 9: attacks and [[table.block]] say the same",
            ),
            (whole.clone() + "protocol = \"strickt\"\n", "p.toml line 13: unknown variant `strickt`"),
            (whole.clone() + "attacks = [\"ca+\"]\nxi = 2.0\n", "xi (--xi) weighs the items that sp-qa+"),
            (whole.clone() + "recall_at_1 = nan\n", "p.toml line 9: a recall of NaN is no percentage"),
            ("title = \n".to_owned(), "p.toml line 1: "),
        ];
        for (text, part) in cases {
            let Err(error) = parse(&text) else { panic!("{part} was taken:\n{text}") };
            let line = crate::stop::line(&error);
            assert!(line.contains(part) && line.lines().count() == 1 && crate::stop::code(&error) == 1, "{line}\n{part}");
        }
    }

    /// Every choice of a spec can be changed; here protocol, length of the search, objective and norm.
    #[test]
    fn a_table_may_do_otherwise_than_the_papers() {
        let table = "[[table]]\nid = \"long\"\ntitle = \"Long\"\nsubject = \"CT\"\nepsilons = [0.1]\ntargets = [1]\nattacks = [\"ca+\"]\n";
        let text = format!("{HEAD}{CT}{table}iterations = 48\nstep_per_epsilon = 0.1\nobjective = \"distance\"\n");
        let study = parse(&text).unwrap().study;
        let cells = study.plan(&Scope::default(), &|system| Ok(system.id())).unwrap();
        let AttackSpec { protocol, search, options, .. } = cells[0].spec;
        assert_eq!((cells.len(), protocol, options.objective), (1, Protocol::Paper, Some(ObjectiveKind::Distance)));
        assert_eq!((search.iterations, search.step.map(|step| (step * 1e6).round())), (Some(48), Some(1e4)));
        assert_eq!(study.work(&Scope::default())[0].1, 2, "twice as long as a usual cell");
        let round = table.replace("[0.1]", "[2.0]") + "norm = \"l2\"\n";
        let cells =
            parse(&format!("{HEAD}{CT}{round}")).unwrap().study.plan(&Scope::default(), &|system| Ok(system.id())).unwrap();
        assert_eq!((cells[0].spec.norm, cells[0].spec.epsilon), (Norm::L2, 2.0));
        let panel = parse(&format!("{HEAD}{CT}{round}[[panel]]\nours = \"long\"\n")).err().unwrap().to_string();
        assert!(panel.ends_with("a panel has an axis of radii of linf, and 'long' has those of l2"), "{panel}");
        let strict = parse(&format!("{HEAD}{CT}{table}protocol = \"strict\"\n")).unwrap().study;
        assert_eq!(strict.plan(&Scope::default(), &|system| Ok(system.id())).unwrap()[0].spec.protocol, Protocol::Strict);
    }

    #[test]
    fn a_plan_may_be_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p");
        let planned = named("mnist").study.plan(&Scope::QUICK, &|system| Ok(system.id())).unwrap();
        std::fs::write(&file, Cell::to_lines(&planned).unwrap()).unwrap();
        let Content::Lines(lines) = content(&file).unwrap() else { panic!("no lines") };
        assert_eq!(lines, planned);
        std::fs::write(&file, "{\"table\"").unwrap();
        let message = content(&file).err().unwrap().to_string();
        assert!(message.contains("line 1 is not a planned cell"), "{message}");
    }

    #[test]
    fn drawn_data_that_are_not_there_are_asked_for() {
        let drawn = Drawn { layout: "sop".into(), products: 4, views: 2, folder: "no/such/folder".into() };
        let message = drawn.here().unwrap_err().to_string();
        let command = "`cargo xtask synth sop --products 4 --views 2 --output no/such/folder` draws it";
        assert_eq!(message, format!("no/such/folder is not there: {command}"));
    }
}
