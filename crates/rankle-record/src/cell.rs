//! All inputs of a number in a table.

use crate::columns::Columns;
use crate::options::is_usual;
use crate::schema::{self, Role};
use crate::{AttackOptions, AttackSpec, Epsilon, Error, ProbeDistances, Provenance, Record, Result, SearchKind, Subject, record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// One attack on one subject: a line of a plan, and the inputs of a record that a plan chooses.
///
/// Running a line of a plan adds the other inputs: the [`Facts`], and the steps, starts and weights that the protocol prescribes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The table that the cell belongs to, as in `mnist-ct`; `None` for a single run.
    #[serde(default)]
    pub table: Option<String>,
    /// Attacked data and model; in a transfer, the victim.
    #[serde(flatten)]
    pub subject: Subject,
    /// The attack with its choices.
    #[serde(flatten)]
    pub spec: AttackSpec,
    /// Number of attacked images.
    pub images: usize,
    /// Source of a transfer: the model that images are perturbed against, if they are measured on another one. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Source>,
}

/// Source model of a transferred attack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The architecture, as in `c2f2`.
    pub model: String,
    /// Origin of the weights. Display only: the hash identifies them.
    pub weights: String,
    /// SHA-256 of the weights file, in hexadecimal; empty in a plan, before the file is opened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub weights_sha256: String,
    /// Identity of a model that is not one file. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_distances: Option<ProbeDistances>,
    /// The distance, as in `cosine`.
    pub distance: String,
}

/// Inputs of a record that are known only once its files are open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Preprocessing of photographs, as in `resize=shorter,edge=256,crop=224,filter=bilinear,exif=rotate`. Omitted for other
    /// images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<String>,
    /// Number of ranked items.
    pub gallery: usize,
    /// Number of queries, if they are no gallery items. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<usize>,
    /// Number of broken images left out of queries and gallery, as the name of the dataset asks for. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<usize>,
    /// Explicit choice of images, targets and preserved items, in words; `None` if the seed chose.
    #[serde(default)]
    pub chosen: Option<String>,
    /// False if the weights are in no folder of the repository, so that the record cannot be computed again from a clone. Omitted
    /// if true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub verifiable: bool,
    /// The weights, the code and the machine.
    #[serde(flatten)]
    pub provenance: Provenance,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

/// Settings that all cells of one run share, whatever the table and the attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSetting {
    /// Definitions of targets and ranks.
    pub protocol: crate::Protocol,
    /// True if the images are ranked after rounding to 1/255.
    pub eight_bit: bool,
    /// Number of attacked images.
    pub images: usize,
    /// Seed of the sample, the targets and the random starts.
    pub seed: u64,
}

impl fmt::Display for RunSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = if self.eight_bit { ", rounded to 1/255" } else { "" };
        write!(f, "{} images, seed {}, protocol {}{rounded}", self.images, self.seed, self.protocol)
    }
}

impl Source {
    /// The model of `subject` as the source of a planned transfer, whose weights are not yet opened.
    pub fn planned(subject: &Subject) -> Self {
        let Subject { model, weights, distance, .. } = subject.clone();
        Self { model, weights, weights_sha256: String::new(), probe_distances: None, distance }
    }
}

impl Cell {
    /// Maximum size of a plan in bytes: a pipe may have no end.
    pub const LONGEST_PLAN: u64 = 256 << 20;

    /// Settings that the cell shares with the other cells of its run.
    pub fn setting(&self) -> RunSetting {
        let AttackSpec { protocol, eight_bit, seed, .. } = self.spec;
        RunSetting { protocol, eight_bit, images: self.images, seed }
    }

    /// True if `cell`, that of a record, has all inputs of this one, except the paths and hashes of weights. The step, the queries, the
    /// number of steps, the starts, the objective of APGD and ξ, which are prescribed, match any value if they are `None` here.
    pub fn matches(&self, cell: &Self) -> bool {
        let (asked, found) = (&self.spec, &cell.spec);
        let kind = asked.search_kind();
        let search = crate::Search {
            // PGD may be named or not, and so may the search of the protocol.
            kind: if kind == found.search.kind.unwrap_or_default() { found.search.kind } else { Some(kind) },
            query_budget: asked.search.query_budget.or(found.search.query_budget),
            step: asked.search.step.or(found.search.step),
            iterations: asked.search.iterations.or(found.search.iterations),
            random_start: asked.search.random_start.or(found.search.random_start),
            restarts: asked.search.restarts.or(found.search.restarts),
        };
        // As a record has it.
        let objective = match (kind, asked.options.objective) {
            (SearchKind::Apgd, None) => found.options.objective,
            (SearchKind::Apgd, objective) => objective,
            (_, objective) => objective.filter(|objective| !is_usual(objective)),
        };
        let named = |source: &Source| (source.model.clone(), source.distance.clone());
        let asked = Self {
            subject: Subject { weights: cell.subject.weights.clone(), ..self.subject.clone() },
            spec: AttackSpec {
                search,
                options: AttackOptions { xi: asked.options.xi.or(found.options.xi), objective, ..asked.options },
                ..*asked
            },
            from: cell.from.clone(),
            ..self.clone()
        };
        asked == *cell && self.from.as_ref().map(named) == cell.from.as_ref().map(named)
    }

    /// A text that is equal for two cells exactly if they must have the same outcome: all inputs, the hash of the weights and the
    /// method version. It contains neither the path of the weights, nor `verifiable`, the version of the code or the machine.
    ///
    /// For comparison within one process; never stored.
    pub fn identity(&self, facts: &Facts) -> String {
        let from = self.from.clone().map(|from| Source { weights: String::new(), ..from });
        let subject = Subject { weights: String::new(), ..self.subject.clone() };
        let provenance = Provenance {
            device: String::new(),
            instruction_set: String::new(),
            code_version: String::new(),
            ..facts.provenance.clone()
        };
        let facts = Facts { provenance, verifiable: true, ..facts.clone() };
        format!("{:?}{facts:?}", Self { from, subject, ..self.clone() })
    }

    /// A short, stable name of the inputs: the first 16 hexadecimal digits of the SHA-256 of their JSON, with sorted keys and
    /// without blanks, `null` fields and paths of weights. It names the per-image ranks of a record.
    ///
    /// # Errors
    /// [`Error::Record`] for a number that is not finite.
    pub fn key(&self, facts: &Facts) -> Result<String> {
        let refused = |reason: serde_json::Error| Error::Record { cell: self.to_string(), reason: reason.to_string() };
        let (mut inputs, facts) = (serde_json::to_value(self).map_err(refused)?, serde_json::to_value(facts).map_err(refused)?);
        for (name, value) in facts.as_object().into_iter().flatten() {
            if schema::find(name).is_some_and(|column| column.role == Role::Fact) {
                inputs[name] = value.clone();
            }
        }
        inputs["weights"].take();
        if self.from.is_some() {
            inputs["from"]["weights"].take();
        }
        let hash = Sha256::digest(canonical(&inputs));
        Ok(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Writes a plan as text, one JSON object per line.
    ///
    /// # Errors
    /// [`Error::Make`] if a number is not finite.
    pub fn to_lines(plan: &[Self]) -> Result<String> {
        let mut lines = String::new();
        for cell in plan {
            lines += &serde_json::to_string(cell).map_err(Error::make("the plan"))?;
            lines.push('\n');
        }
        Ok(lines)
    }

    /// Reads a plan file: lines with the input columns of records, or whole records.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, and [`Error::Line`] for the first line that is not a planned cell.
    pub fn read_plan(path: &Path) -> Result<Vec<Self>> {
        Self::parse_plan(path, &rankle_files::read_text_or_pipe(path, Self::LONGEST_PLAN).map_err(Error::file("read", path))?)
    }

    /// Parses the text of a plan file; `path` names the file in errors.
    ///
    /// # Errors
    /// [`Error::Line`] for the first line that is not a planned cell.
    pub fn parse_plan(path: &Path, text: &str) -> Result<Vec<Self>> {
        let parse = |(number, line)| {
            let line_error = |reason| Error::Line { path: path.to_owned(), line: number + 1, what: "planned cell", reason };
            Self::from_line(line).map_err(line_error)
        };
        text.lines().enumerate().map(parse).collect()
    }

    /// Parses one line of a plan. A line with a format or an outcome is a record, whose outcome is ignored.
    fn from_line(line: &str) -> Result<Self, String> {
        let wrong = |reason: String| format!("{reason}; correct or delete that line");
        if line.len() > record::LONGEST_LINE {
            return Err(wrong(format!("it has {} bytes", line.len())));
        }
        let Columns(columns) = serde_json::from_str(line).map_err(|reason| wrong(reason.to_string()))?;
        let is_outcome = |name: &String| schema::find(name).is_some_and(|column| column.role == Role::Outcome);
        let mut cell = if columns.contains_key("format") || columns.keys().any(is_outcome) {
            let Record { cell, facts, .. } = Record::from_line(line.as_bytes())?;
            if let Some(chosen) = facts.chosen {
                return Err(wrong(format!("its record has explicit choices ({chosen}), which a plan cannot state")));
            }
            cell
        } else {
            let is_choice = |name: &&String| schema::find(name).is_some_and(|column| column.role == Role::Choice);
            if let Some(unknown) = columns.keys().find(|name| !is_choice(name)) {
                return Err(wrong(format!("unknown field `{unknown}`")));
            }
            serde_json::from_str::<Self>(line).map_err(|reason| wrong(reason.to_string()))?
        };
        if let Some(from) = &mut cell.from {
            from.weights_sha256.clear();
            from.probe_distances = None;
        }
        Ok(cell)
    }
}

/// JSON with sorted keys, without blanks and without `null` fields.
fn canonical(value: &Value) -> String {
    let Value::Object(fields) = value else { return value.to_string() };
    let fields: BTreeMap<&String, &Value> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
    let fields: Vec<String> =
        fields.into_iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value))).collect();
    format!("{{{}}}", fields.join(","))
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AttackSpec {
            attack,
            targets,
            epsilon,
            norm,
            search,
            options: AttackOptions { objective, target_band, .. },
            universal,
            ..
        } = &self.spec;
        let data = self.subject.data();
        let place = self.table.as_deref().unwrap_or(&data);
        write!(f, "{place} {attack} {letter}={targets} ε={}", Epsilon(*epsilon), letter = attack.declaration().letter)?;
        if !is_usual(norm) {
            write!(f, " norm={norm}")?;
        }
        if let Some(kind) = search.kind {
            write!(f, " search={kind}")?;
        }
        if let Some(objective) = objective {
            write!(f, " objective={objective}")?;
        }
        if !is_usual(target_band) {
            write!(f, " band={target_band}")?;
        }
        if universal.is_some() {
            write!(f, " universal")?;
        }
        self.from.as_ref().map_or(Ok(()), |from| write!(f, " from {} ({})", from.model, from.distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttackId, Norm, ObjectiveKind, SharedBy, TargetPool, sample};
    use serde_json::json;

    fn record() -> Record {
        sample::record("mnist-ct", sample::subject(), AttackId::CA_PLUS, 1, 0.3, 2.0)
    }

    /// A record with unusual values in fields that are omitted otherwise.
    fn unusual() -> Record {
        let mut record = record();
        record.facts.preprocessing = Some("resize=square".into());
        record.facts.left_out = Some(1);
        record.cell.spec.norm = Norm::L2;
        record.cell.spec.options.objective = Some(ObjectiveKind::Distance);
        record.cell.spec.options.target_band = TargetPool::Local;
        record
    }

    fn asked() -> Cell {
        let cell = record().cell;
        Cell { spec: AttackSpec { search: crate::Search::default(), ..cell.spec }, ..cell }
    }

    /// A record with one column of its line changed.
    fn with(record: &Record, name: &str, value: Value) -> Record {
        let mut fields = serde_json::to_value(record).unwrap();
        fields[name] = value;
        Record::from_line(fields.to_string().as_bytes()).unwrap()
    }

    /// A planned cell leaves the search and the loss of its protocol open; a record has them.
    #[test]
    fn what_is_planned_as_strict_is_a_record_of_apgd() {
        let strict = |cell: Cell, kind, objective| {
            let search = crate::Search { kind, iterations: Some(200), ..crate::Search::default() };
            let options = AttackOptions { objective, ..cell.spec.options };
            Cell { spec: AttackSpec { protocol: crate::Protocol::Strict, search, options, ..cell.spec }, ..cell }
        };
        let open = strict(asked(), None, None);
        let soft = Some(ObjectiveKind::SoftRank);
        assert!(open.matches(&strict(asked(), Some(SearchKind::Apgd), soft)));
        assert!(!open.matches(&strict(asked(), None, None)) && !open.matches(&strict(asked(), Some(SearchKind::Square), None)));
        let hinges = strict(asked(), None, Some(ObjectiveKind::Ranking));
        assert!(!hinges.matches(&strict(asked(), Some(SearchKind::Apgd), soft)));
        let pgd = strict(asked(), Some(SearchKind::Pgd), Some(ObjectiveKind::Ranking));
        assert!(pgd.matches(&strict(asked(), None, None)));
    }

    #[test]
    fn neither_the_place_of_the_weights_nor_the_machine_is_an_input() {
        let one = record();
        assert_eq!(one.cell.to_string(), "mnist-ct ca+ w=1 ε=0.3");
        for (name, value) in [("weights", "/elsewhere"), ("instruction_set", "neon"), ("device", "cuda:0"), ("code_version", "9")]
        {
            assert_eq!(with(&one, name, json!(value)).identity(), one.identity(), "{name}");
        }
        assert_eq!(with(&one, "verifiable", json!(false)).identity(), one.identity());
    }

    /// Changes each input in turn, through its JSON, so that a field added later is tested as well.
    #[test]
    fn every_other_field_is_an_input() {
        let record = unusual();
        assert_eq!(record.cell.to_string(), "mnist-ct ca+ w=1 ε=0.3 norm=l2 objective=distance band=local");
        let (cell, facts) = (serde_json::to_value(&record.cell).unwrap(), serde_json::to_value(&record.facts).unwrap());
        let fields = cell.as_object().unwrap().iter().chain(facts.as_object().unwrap());
        let free = ["weights", "device", "instruction_set", "code_version"];
        for (name, value) in fields.filter(|(name, _)| !free.contains(&name.as_str())) {
            let changed = match value {
                Value::Bool(value) => json!(!value),
                Value::Number(value) if value.is_f64() => json!(value.as_f64().unwrap() + 0.001),
                Value::Number(value) => json!(value.as_u64().unwrap() + 1),
                _ if name == "attack" => json!("qa-"),
                _ if name == "protocol" => json!("strict"),
                _ if name == "norm" => json!("linf"),
                _ if name == "objective" => json!("ranking"),
                _ if name == "target_band" => json!("global"),
                Value::String(value) => json!(format!("{value}'")),
                _ if name == "xi" => json!(10.0),
                _ => json!("something"),
            };
            assert_ne!(with(&record, name, changed).identity(), record.identity(), "{name}");
        }
    }

    /// Committed files contain these names.
    #[test]
    fn a_key_stays_the_same() {
        let one = record();
        // The first digits of: printf '{"attack":"ca+","dataset":"mnist","defense":"none","distance":"cosine","eight_bit":false,
        // "epsilon":0.3,"gallery":10000,"images":1000,"iterations":24,"loss":"triplet","method_version":1,"model":"c2f2",
        // "protocol":"paper","random_start":false,"restarts":1,"seed":0,"step":0.01,"table":"mnist-ct","targets":1,
        // "weights_sha256":"5f5f…"}' | sha256sum, without the line breaks.
        assert_eq!(one.key().unwrap(), "6fa3f6b6e56159e1");
        for (name, value) in [
            ("weights", json!("/elsewhere")),
            ("instruction_set", json!("neon")),
            ("device", json!("cuda:0")),
            ("code_version", json!("9")),
            ("verifiable", json!(false)),
            ("seconds", json!(1.5)),
            ("rank_after", json!(1.5)),
        ] {
            assert_eq!(with(&one, name, value).key().unwrap(), one.key().unwrap(), "{name}");
        }
        for (name, value) in
            [("gallery", json!(9)), ("seed", json!(9)), ("weights_sha256", json!("6f")), ("method_version", json!(2))]
        {
            assert_ne!(with(&one, name, value).key().unwrap(), one.key().unwrap(), "{name}");
        }
        let from = |weights: &str, sha256: &str| {
            let from = json!({ "model": "lenet", "weights": weights, "weights_sha256": sha256, "distance": "cosine" });
            with(&one, "from", from).key().unwrap()
        };
        assert!(from("here", "ab") == from("there", "ab") && from("here", "ab") != from("here", "cd"));
        let mut infinite = one.clone();
        infinite.cell.spec.epsilon = f64::INFINITY;
        assert!(infinite.key().is_err());
    }

    /// Identities of transfers and universal perturbations differ with every field but the path of the source's weights. Records
    /// of other attacks are written without these fields.
    #[test]
    fn transfers_and_universal_perturbations_are_other_cells() {
        let plain = record();
        let line = plain.to_line().unwrap();
        assert!(!line.contains("from") && !line.contains("universal"), "{line}");
        let [model, weights, distance] = ["lenet", "here", "euclidean"].map(str::to_owned);
        let source = Source { model, weights, weights_sha256: "ab".repeat(32), probe_distances: None, distance };
        let of = |from: Option<Source>, universal: Option<(usize, usize)>| {
            let mut record = record();
            record.cell.from = from;
            record.cell.spec.universal = universal.map(|(batches, perturbations)| SharedBy { batches, perturbations });
            record
        };
        let elsewhere = of(Some(Source { weights: "elsewhere".into(), ..source.clone() }), None);
        assert_eq!(of(Some(source.clone()), None).identity(), elsewhere.identity());
        let records = [
            plain,
            of(Some(source.clone()), None),
            of(Some(Source { model: "c2f2".into(), ..source.clone() }), None),
            of(Some(Source { weights_sha256: "cd".repeat(32), ..source.clone() }), None),
            of(Some(Source { distance: "cosine".into(), ..source.clone() }), None),
            of(None, Some((1, 10))),
            of(None, Some((2, 10))),
            of(None, Some((1, 11))),
            of(Some(source), Some((1, 10))),
        ];
        for (n, record) in records.iter().enumerate() {
            assert!(records[..n].iter().all(|other| other.identity() != record.identity()), "{}", record.cell);
            assert_eq!(Record::from_line(record.to_line().unwrap().as_bytes()).unwrap(), *record);
        }
        assert_eq!(records[1].cell.to_string(), "mnist-ct ca+ w=1 ε=0.3 from lenet (euclidean)");
        assert_eq!(records[5].cell.to_string(), "mnist-ct ca+ w=1 ε=0.3 universal");
    }

    #[test]
    fn a_plan_comes_back_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let plan = [asked(), Cell { spec: AttackSpec { epsilon: 0.1 + 0.2, ..asked().spec }, ..asked() }];
        std::fs::write(file.path(), Cell::to_lines(&plan).unwrap()).unwrap();
        assert_eq!(Cell::read_plan(file.path()).unwrap(), plan);
        let nan = Cell { spec: AttackSpec { epsilon: f64::NAN, ..asked().spec }, ..asked() };
        assert!(Cell::to_lines(&[nan]).is_err());
    }

    /// A record read as a line of a plan asks for its own cell.
    #[test]
    fn a_record_is_planned_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut record = unusual();
        let [model, weights, distance] = ["lenet", "here", "euclidean"].map(str::to_owned);
        record.cell.from = Some(Source { model, weights, weights_sha256: "ab".repeat(32), probe_distances: None, distance });
        std::fs::write(file.path(), record.to_line().unwrap()).unwrap();
        let [again] = Cell::read_plan(file.path()).unwrap().try_into().unwrap();
        assert!(again.matches(&record.cell) && again.from.unwrap().weights_sha256.is_empty());
        record.facts.chosen = Some("images 3".into());
        std::fs::write(file.path(), record.to_line().unwrap()).unwrap();
        let message = Cell::read_plan(file.path()).unwrap_err().to_string();
        assert!(message.contains("line 1 is not a planned cell: its record has explicit choices (images 3)"), "{message}");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = Cell::to_lines(&[asked()]).unwrap();
        let sead = line.replace("\"seed\":0", "\"seed\":0,\"sead\":0");
        let old = record().to_line().unwrap().replace("\"format\":2,", "");
        for (wrong, part) in
            [(&*sead, "unknown field `sead`"), (&*old, "`rankle convert FILE` rewrites the file"), ("\n", "EOF"), ("[]", "")]
        {
            std::fs::write(file.path(), format!("{line}{wrong}")).unwrap();
            let message = Cell::read_plan(file.path()).unwrap_err().to_string();
            assert!(message.contains("line 2 is not a planned cell") && message.contains(part), "{message}");
        }
    }

    /// Changes every field of a planned cell but the weights and ξ in turn, so that a field added later is tested as well.
    #[test]
    fn a_cell_is_asked_for_by_all_its_inputs() {
        let cell = record().cell;
        let elsewhere = Cell { subject: Subject { weights: "elsewhere".into(), ..asked().subject }, ..asked() };
        assert!(elsewhere.matches(&cell) && !asked().matches(&Cell { table: None, ..cell.clone() }));
        assert_eq!(cell.setting().to_string(), "1000 images, seed 0, protocol paper");
        let whole = unusual().cell;
        assert!(!asked().matches(&whole) && whole.matches(&whole));
        let fields = serde_json::to_value(&whole).unwrap();
        for (name, value) in fields.as_object().unwrap().iter().filter(|(name, _)| !["weights", "xi"].contains(&name.as_str())) {
            let mut changed = fields.clone();
            changed[name] = match value {
                Value::Bool(value) => json!(!value),
                Value::Number(value) if value.is_f64() => json!(0.1),
                Value::Number(value) => json!(value.as_u64().unwrap() + 1),
                _ if name == "attack" => json!("ca-"),
                _ if name == "protocol" => json!("strict"),
                _ if name == "norm" => json!("linf"),
                _ if name == "objective" => json!("ranking"),
                _ if name == "target_band" => json!("global"),
                _ => json!("another"),
            };
            let changed: Cell = serde_json::from_value(changed).unwrap();
            assert!(!changed.matches(&whole), "{name}");
        }
    }

    #[test]
    fn transfers_and_universal_perturbations_are_asked_for_as_such() {
        let source = |model: &str, hash: &str| {
            let [model, weights_sha256] = [model, hash].map(str::to_owned);
            Some(Source { model, weights: "a".into(), weights_sha256, probe_distances: None, distance: "cosine".into() })
        };
        let universal = Some(SharedBy { batches: 1, perturbations: 10 });
        let with = |cell: Cell, from, universal| Cell { from, spec: AttackSpec { universal, ..cell.spec }, ..cell };
        let (plain, cell) = (record().cell, with(record().cell, source("lenet", "5f"), universal));
        let again = with(asked(), source("lenet", ""), universal);
        assert!(again.matches(&cell) && !again.matches(&plain) && !asked().matches(&cell));
        assert!(!with(asked(), source("c2f2", ""), universal).matches(&cell));
        assert!(!with(asked(), source("lenet", ""), None).matches(&cell));
        let line = Cell::to_lines(&[again]).unwrap();
        let expected = r#""universal":{"batches":1,"perturbations":10},"images":1000,"from":{"model":"lenet","weights":"a","distance":"cosine"}"#;
        assert!(line.contains(expected), "{line}");
    }
}
