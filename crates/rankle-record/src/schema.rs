//! Columns of a record: names, units, meanings, and the direction of a stronger attack.

use crate::{AttackId, Declaration, Direction, Norm, ObjectiveKind, Protocol, SearchKind, TargetPool};
use serde_json::{Value, json};
use std::fmt::Write;

/// Role of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An input that a plan chooses.
    Choice,
    /// An input that is known once the files are open.
    Fact,
    /// A measured value.
    Outcome,
    /// A circumstance of the run: no input, and free to differ between two runs.
    Circumstance,
}

/// JSON type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number of at least 0.
    Count,
    /// A number.
    Number,
    /// Two numbers.
    Interval,
    /// Any number of numbers.
    Numbers,
    /// An object.
    Object,
    /// A list of objects.
    List,
}

/// Presence of a column in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Always, with a value.
    Always,
    /// Always; `null` if there is no value.
    OrNull,
    /// Only if the value differs from the usual one.
    WhereUnusual,
    /// Only if the search has such a parameter, and then always.
    WithSearch,
}

/// A column of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Role.
    pub role: Role,
    /// JSON type.
    pub kind: Kind,
    /// Presence in a record.
    pub written: Written,
    /// Unit; empty if there is none.
    pub unit: &'static str,
    /// Meaning, in words.
    pub meaning: &'static str,
}

const fn column(
    name: &'static str,
    role: Role,
    kind: Kind,
    written: Written,
    unit: &'static str,
    meaning: &'static str,
) -> Column {
    Column { name, role, kind, written, unit, meaning }
}

impl Column {
    /// True if every record has the column.
    pub(crate) fn is_required(&self) -> bool {
        matches!(self.written, Written::Always | Written::OrNull)
    }
}

/// All columns of [`crate::Record`], in the order of the line.
#[rustfmt::skip] // a table
pub static COLUMNS: &[Column] = {
    use Kind::{Count, Flag, Interval, List, Number, Numbers, Object, Text};
    use Role::{Choice, Circumstance, Fact, Outcome};
    use Written::{Always, OrNull, WhereUnusual, WithSearch};
    &[
        column("format", Fact, Count, Always, "", "the number of this format"),
        column("table", Choice, Text, OrNull, "", "the table that the cell stands in, as in mnist-ct"),
        column("dataset", Choice, Text, Always, "", "the dataset, as in mnist"),
        column("query_dataset", Choice, Text, WhereUnusual, "", "another dataset, whose test images are the queries"),
        column("gallery_dataset", Choice, Text, WhereUnusual, "", "another dataset, which is ranked"),
        column("model", Choice, Text, Always, "", "the architecture, as in c2f2; onnx for an ONNX file, with its options as in onnx,size=224; exec for a program; in a transfer that of the measured model"),
        column("weights", Choice, Text, Always, "", "where the weights or the ONNX file were, or the command of a program; display only, weights_sha256 tells weights apart"),
        column("distance", Choice, Text, Always, "", "the distance that ranks, as in cosine"),
        column("loss", Choice, Text, OrNull, "", "the loss that the weights were trained with, where it is known"),
        column("defense", Choice, Text, OrNull, "", "the defense that the weights were trained with, none or embedding-shift, where it is known"),
        column("attack", Choice, Text, Always, "", "ca+, ca-, qa+, qa-, sp-qa+, sp-qa- or es"),
        column("targets", Choice, Count, Always, "", "queries (ca) or candidates (qa, sp-qa) attacked at once; 0 for es"),
        column("epsilon", Choice, Number, Always, "pixel units", "the radius of the ball; pixels are in [0, 1]"),
        column("norm", Choice, Text, WhereUnusual, "", "norm of the radius: linf, the largest change of a pixel, or l2, the Euclidean norm of the perturbation"),
        column("search", Choice, Text, WhereUnusual, "", "the algorithm that searches the ball: pgd, apgd, square or standard; pgd where it is not written"),
        column("step", Choice, Number, WithSearch, "pixel units", "pgd: the step size, in that norm"),
        column("iterations", Choice, Count, WithSearch, "", "pgd, apgd: steps"),
        column("random_start", Choice, Flag, WithSearch, "", "pgd, apgd: whether the first iterate is drawn from the ball"),
        column("restarts", Choice, Count, WithSearch, "", "pgd, apgd: starts per image"),
        column("query_budget", Choice, Count, WithSearch, "", "square: number of times that each image is embedded"),
        column("xi", Choice, Number, OrNull, "", "the weight of the semantics-preserving term; null without one"),
        column("objective", Choice, Text, WhereUnusual, "", "what the attack minimizes: ranking, distance or soft-rank"),
        column("target_band", Choice, Text, WhereUnusual, "", "where targets of plus attacks are drawn from: global, or local"),
        column("protocol", Choice, Text, Always, "", "definitions of targets and ranks: paper or strict"),
        column("eight_bit", Choice, Flag, Always, "", "whether images are ranked after rounding to 1/255"),
        column("seed", Choice, Count, Always, "", "the seed of the sample, the targets and the starts"),
        column("universal", Choice, Object, WhereUnusual, "", "batches and perturbations for each batch, where one perturbation is made for many images"),
        column("images", Choice, Count, Always, "", "attacked images"),
        column("from", Choice, Object, WhereUnusual, "", "model, weights, weights_sha256, distance and, where it has them, probe_distances of the model that images were perturbed against: a transfer"),
        column("preprocessing", Fact, Text, WhereUnusual, "", "how photographs became the model's images"),
        column("gallery", Fact, Count, Always, "", "ranked items"),
        column("queries", Fact, Count, WhereUnusual, "", "queries, where they are no gallery items"),
        column("left_out", Fact, Count, WhereUnusual, "", "broken images that were left out of both"),
        column("chosen", Fact, Text, OrNull, "", "images, targets and preserved items that were chosen by hand, in words"),
        column("verifiable", Circumstance, Flag, WhereUnusual, "", "false where the weights are in no folder of the repository"),
        column("weights_sha256", Fact, Text, Always, "", "SHA-256 of the weights or the ONNX file, in hexadecimal; of a program, of its probe_distances"),
        column("probe_distances", Fact, Numbers, WhereUnusual, "distance", "of a program, and of an ONNX file with numbers in other files beside it: the distances of all pairs of 16 fixed images; two are one model if none differs by more than 1e-4 of the largest"),
        column("method_version", Fact, Count, Always, "", "rises whenever the same inputs give another number"),
        column("device", Circumstance, Text, Always, "", "where it was computed, as in cpu"),
        column("instruction_set", Circumstance, Text, Always, "", "the path of the kernels, as in avx512: results are bit-identical within one"),
        column("code_version", Circumstance, Text, Always, "", "the version of the code"),
        column("rank_before", Outcome, Number, OrNull, "percent of the gallery", "mean normalized rank of the clean image; 0 is the top of a list, null for es"),
        column("rank_before_stderr", Outcome, Number, OrNull, "percent of the gallery", "its standard error over the images"),
        column("rank_before_interval", Outcome, Interval, OrNull, "percent of the gallery", "its 95 % interval, low and high"),
        column("rank_after", Outcome, Number, OrNull, "percent of the gallery", "mean normalized rank after the attack, the number of the published tables; stronger is lower for plus attacks, higher for minus attacks"),
        column("rank_after_stderr", Outcome, Number, OrNull, "percent of the gallery", "its standard error over the images"),
        column("rank_after_interval", Outcome, Interval, OrNull, "percent of the gallery", "its 95 % interval, low and high"),
        column("preserved_rank_before", Outcome, Number, OrNull, "percent of the gallery", "sp-qa: mean rank of the items that should stay in front, before"),
        column("preserved_rank_after", Outcome, Number, OrNull, "percent of the gallery", "sp-qa: the same after; stealthier is lower"),
        column("embedding_shift", Outcome, Number, Always, "distance", "mean distance between the embeddings of the clean and the perturbed image; for es stronger is higher"),
        column("recall_at_1_before", Outcome, Number, OrNull, "percent of the images", "es: nearest other item has the image's label, before"),
        column("recall_at_1_after", Outcome, Number, OrNull, "percent of the images", "es: the same after; stronger is lower"),
        column("recall_at_10_before", Outcome, Number, OrNull, "percent of the images", "es: an item of the image's label among the ten nearest, before"),
        column("recall_at_10_after", Outcome, Number, OrNull, "percent of the images", "es: the same after; stronger is lower"),
        column("recall_at_100_before", Outcome, Number, OrNull, "percent of the images", "es: an item of the image's label among the hundred nearest, before"),
        column("recall_at_100_after", Outcome, Number, OrNull, "percent of the images", "es: the same after; stronger is lower"),
        column("tie_share", Outcome, Number, Always, "percent of the pairs", "(image, target) pairs whose distance after the attack equals that of another item"),
        column("undecided_share", Outcome, Number, WhereUnusual, "percent of the comparisons", "comparisons after the attack that f32 decided below its resolution, where above 1"),
        column("white_box", Outcome, Object, WhereUnusual, "", "of a transfer: the outcome on the model that was attacked, by the names used here"),
        column("unseen", Outcome, Object, WhereUnusual, "", "of universal perturbations: the outcome on the images that they were not computed on, by the names used here"),
        column("parts", Outcome, List, WhereUnusual, "", "of the search standard: for each of its parts, what it found alone on the model that was attacked, by the names used here, and its cost for each image in gradients and queries"),
        column("gradient_error", Circumstance, Number, WhereUnusual, "percent of the slope", "by how much the gradient that was followed misses the slope of the embedding, where a check found that it does: the attack is weaker than it could be"),
        column("seconds", Circumstance, Number, Always, "seconds", "wall-clock time"),
    ]
};

/// Finds a column by its name.
pub fn find(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

/// The JSON Schema of a record (draft 2020-12): the content of `record.schema.json`.
pub fn json_schema() -> String {
    let property = |column: &Column| {
        let plain = match column.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Count => json!({ "type": "integer", "minimum": 0 }),
            Kind::Number => json!({ "type": "number" }),
            Kind::Interval => json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 }),
            Kind::Numbers => json!({ "type": "array", "items": { "type": "number" } }),
            Kind::Object => json!({ "type": "object" }),
            Kind::List => json!({ "type": "array", "items": { "type": "object" } }),
        };
        let mut property =
            if column.written == Written::OrNull { json!({ "anyOf": [plain, { "type": "null" }] }) } else { plain };
        property["description"] = column.meaning.into();
        if !column.unit.is_empty() {
            property["unit"] = column.unit.into();
        }
        if let Some(names) = names(column.name) {
            property["enum"] = names.into();
        }
        if column.name == "format" {
            property["const"] = crate::FORMAT.into();
        }
        (column.name.to_owned(), property)
    };
    let required: Vec<&str> = COLUMNS.iter().filter(|column| column.is_required()).map(|column| column.name).collect();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A record of rankle: one line of a file of records",
        "type": "object",
        "properties": COLUMNS.iter().map(property).collect::<serde_json::Map<String, Value>>(),
        "required": required,
        "additionalProperties": false,
    });
    format!("{schema:#}\n")
}

/// The possible values of a column that holds one of a list of names.
fn names(column: &str) -> Option<Vec<String>> {
    match column {
        "attack" => Some(AttackId::ALL.map(|attack| attack.to_string()).into()),
        "protocol" => Some(Protocol::ALL.map(|protocol| protocol.to_string()).into()),
        "norm" => Some(Norm::ALL.map(|norm| norm.to_string()).into()),
        "search" => Some(SearchKind::ALL.map(|search| search.to_string()).into()),
        "objective" => Some(ObjectiveKind::ALL.map(|objective| objective.to_string()).into()),
        "target_band" => Some(TargetPool::ALL.map(|pool| pool.to_string()).into()),
        _ => None,
    }
}

/// The tables of attacks and of columns as Markdown, at the end of `RECORDS.md`.
pub fn markdown() -> String {
    let mut out = String::from("| attack | targets | what moves | stronger | unit of the outcome |\n|---|---|---|---|---|\n");
    for attack in AttackId::ALL {
        let Declaration { name, letter, moves, direction, unit, .. } = attack.declaration();
        let stronger = if *direction == Some(Direction::Raise) { "lower" } else { "higher" };
        writeln!(out, "| `{name}` | {letter} | {moves} | {stronger} | {unit} |").expect("a string takes everything");
    }
    out += "\n| column | role | unit | meaning |\n|---|---|---|---|\n";
    for Column { name, role, written, unit, meaning, .. } in COLUMNS {
        let role = match role {
            Role::Choice => "input",
            Role::Fact => "input, from the files",
            Role::Outcome => "outcome",
            Role::Circumstance => "circumstance",
        };
        let written = match written {
            Written::WhereUnusual => "; written where unusual",
            Written::WithSearch => "; written where the search has it",
            Written::Always | Written::OrNull => "",
        };
        writeln!(out, "| `{name}` | {role} | {unit} | {meaning}{written} |").expect("a string takes everything");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PartOutcome, ProbeDistances, Record, SharedBy, Source, Unseen, WhiteBox, sample};
    use std::path::Path;

    /// A record that has every column.
    fn whole() -> Record {
        let mut record = sample::record("mnist-ct", sample::subject(), AttackId::CA_PLUS, 1, 0.3, 2.0);
        record.facts.preprocessing = Some("resize=square".into());
        record.facts.left_out = Some(1);
        record.facts.provenance.probe_distances = ProbeDistances::new(vec![0.5]);
        record.facts.queries = Some(12);
        record.cell.subject.query_dataset = Some("idx:b".into());
        record.cell.subject.gallery_dataset = Some("folder:a".into());
        record.facts.verifiable = false;
        record.cell.spec.norm = Norm::L2;
        record.gradient_error = Some(23.0);
        record.cell.spec.options.objective = Some(ObjectiveKind::Distance);
        record.cell.spec.options.target_band = TargetPool::Local;
        record.cell.spec.universal = Some(SharedBy { batches: 1, perturbations: 1 });
        record.cell.from = Some(Source::planned(&sample::subject()));
        record.undecided_share = 2.0;
        record.cell.spec.search.kind = Some(SearchKind::Pgd);
        record.cell.spec.search.query_budget = Some(100);
        record.parts = vec![PartOutcome {
            name: "square".into(),
            rank_after: Some(1.0),
            preserved_rank_after: None,
            embedding_shift: 1.0,
            gradients: 0.0,
            queries: 100.0,
        }];
        record.unseen = Some(Unseen { rank_before: 1.0, rank_after: 1.0, rank_after_stderr: None });
        record.white_box = Some(WhiteBox {
            rank_before: None,
            rank_after: None,
            recall_at_1_before: None,
            recall_at_1_after: None,
            embedding_shift: 1.0,
        });
        record
    }

    /// Names of the columns of a line, in the order of the line.
    fn names(record: &Record) -> Vec<String> {
        let line = record.to_line().unwrap();
        let mut names: Vec<(usize, &str)> =
            COLUMNS.iter().filter_map(|column| Some((line.find(&format!("\"{}\":", column.name))?, column.name))).collect();
        names.sort_unstable();
        let fields: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert!(fields.keys().all(|name| find(name).is_some()), "{fields:?}");
        names.into_iter().filter(|(_, name)| fields.contains_key(*name)).map(|(_, name)| name.to_owned()).collect()
    }

    #[test]
    fn every_column_of_a_record_is_declared_and_every_declared_one_is_written() {
        let all: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names(&whole()), all);
        let usual: Vec<&str> = (COLUMNS.iter())
            .filter(|column| column.written != Written::WhereUnusual && column.name != "query_budget")
            .map(|column| column.name)
            .collect();
        assert_eq!(names(&sample::record("mnist-ct", sample::subject(), AttackId::CA_PLUS, 1, 0.3, 2.0)), usual);
        let value = serde_json::to_value(whole()).unwrap();
        for column in COLUMNS {
            let value = &value[column.name];
            let fits = match column.kind {
                Kind::Text => value.is_string(),
                Kind::Flag => value.is_boolean(),
                Kind::Count => value.is_u64(),
                Kind::Number => value.is_number(),
                Kind::Interval => value.as_array().is_some_and(|pair| pair.len() == 2),
                Kind::Numbers => value.as_array().is_some_and(|all| all.iter().all(Value::is_number)),
                Kind::Object => value.is_object(),
                Kind::List => value.is_array(),
            };
            assert!(fits || (value.is_null() && column.written == Written::OrNull), "{}: {value}", column.name);
        }
    }

    #[test]
    fn the_page_and_the_schema_are_made_of_the_columns() {
        let read = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        assert_eq!(read("record.schema.json"), json_schema());
        assert!(read("RECORDS.md").ends_with(&markdown()), "the table at the end of RECORDS.md should be:\n{}", markdown());
    }
}
