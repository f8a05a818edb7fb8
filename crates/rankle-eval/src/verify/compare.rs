//! Comparison of records with the same records computed again, column by column.

use super::recorded::{Location, Recorded};
use rankle_record::{Cell, ProbeDistances, Provenance};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Columns that no input determines: any value is accepted.
const FREE: &[&str] = &[
    "seconds",
    "code_version",
    // The hash tells weights apart, not their path.
    "weights",
    "from.weights",
    // False for weights that are not in the repository.
    "verifiable",
    // The result of an optional check; missing also where the check was undecided.
    "gradient_error",
    // A remark about the model that a report adds to its records.
    "caveat",
];

/// Endings of column names, and the largest difference on another machine, where rounding differs; the first match counts, other
/// columns must be equal. Means over images move little, their standard errors less; shares depend on the images at the edge of a
/// count or of a tie.
const NEARLY: &[(&str, f64)] = &[
    ("_stderr", 0.1),
    ("_interval", 0.7),
    ("_share", 2.0),
    ("rank_before", 0.5),
    ("rank_after", 0.5),
    ("_before", 1.0),
    ("_after", 1.0),
    ("embedding_shift", 0.02),
    // Images that get as far as they can are left out of the parts that follow.
    (".gradients", 30.0),
    (".queries", 100.0),
];
/// Endings of columns that a single image may change by this much, divided by the number of images.
const OF_AN_IMAGE: &[(&str, f64)] = &[(".gradients", 1000.0), (".queries", 1000.0)];
/// Endings of columns that change by at most so many times a mean when a single image moves by one place, which is 100 percent divided
/// by the sizes of gallery and set: the derivative of a standard error is that of the mean at most, an end of an interval has both.
const OF_A_PLACE: &[(&str, f64)] = &[("_stderr", 1.0), ("_interval", 3.0)];

/// Ends of the columns that are the identity of a model that is a program; both hold for the measured model and for that of `from`.
const PROBES: &str = "probe_distances";
const HASH: &str = "weights_sha256";

/// Columns that name the machine of a record.
const MACHINE: [&str; 2] = ["device", "instruction_set"];

/// One differing column of one record.
#[derive(Debug, PartialEq, Serialize)]
pub struct Column {
    column: String,
    /// The recorded value; null if there is none.
    recorded: Value,
    /// The value computed now.
    computed: Value,
}

/// A difference between a record and its new computation.
#[derive(Debug, Serialize)]
pub struct Difference {
    file: String,
    /// Number of the record in its file, counted from 1.
    number: usize,
    cell: String,
    #[serde(flatten)]
    column: Column,
    #[serde(skip)]
    place: Location,
}

impl Difference {
    /// The difference in one column of a record.
    pub fn of(recorded: &Recorded, cell: &Cell, column: Column) -> Self {
        let (file, place, cell) = (recorded.file.display().to_string(), recorded.place, cell.to_string());
        Self { file, number: place.number(), cell, column, place }
    }

    /// True if both are in the same record.
    pub fn is_beside(&self, other: &Self) -> bool {
        (&self.file, self.number) == (&other.file, other.number)
    }

    /// True if the difference is in this record.
    pub fn is_in(&self, recorded: &Recorded) -> bool {
        (self.file.as_str(), self.place) == (&*recorded.file.display().to_string(), recorded.place)
    }

    /// The difference as one JSON object.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("strings and JSON values are JSON")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, cell, column: Column { column, recorded, computed }, .. } = self;
        write!(f, "{file} {place}: {cell}: {column} {} instead of {}", shown(computed), shown(recorded))
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { value.to_string() }
}

/// The columns that differ. `inputs` are the columns that determine the others: they must be equal on every machine.
pub(super) fn columns(recorded: &Map<String, Value>, computed: &Map<String, Value>, inputs: &Map<String, Value>) -> Vec<Column> {
    let [recorded, computed, inputs] = [recorded, computed, inputs].map(flat);
    let programs = recorded.keys().any(|name| name.ends_with(PROBES));
    // Nobody promises that a program gives the same bits twice.
    let here = !programs && MACHINE.iter().all(|&name| recorded.get(name) == computed.get(name));
    let is_of = |probes: &str| recorded.contains_key(probes) && computed.contains_key(probes);
    let count = |name: &str| recorded.get(name).and_then(Value::as_f64).unwrap_or(f64::INFINITY);
    let (images, gallery) = (count("images"), count("gallery"));
    let names: BTreeSet<&String> = recorded.keys().chain(computed.keys()).collect();
    let value = |record: &BTreeMap<String, Value>, name: &str| record.get(name).cloned().unwrap_or_default();
    let column =
        |name: &String| Column { column: name.clone(), recorded: value(&recorded, name), computed: value(&computed, name) };
    let equal = |Column { column, recorded, computed }: &Column| match here || inputs.contains_key(column) {
        _ if programs && column.ends_with(PROBES) => are_of_one_model(recorded, computed),
        // The hash of these distances.
        _ if programs && column.ends_with(HASH) && is_of(&column.replace(HASH, PROBES)) => true,
        true => recorded == computed,
        false => {
            let of =
                |bounds: &[(&str, f64)]| bounds.iter().find(|(name, _)| column.ends_with(name)).map_or(0.0, |(_, bound)| *bound);
            let bound = of(NEARLY).max(of(OF_AN_IMAGE) / images).max(of(OF_A_PLACE) * 100.0 / (gallery * images));
            MACHINE.contains(&column.as_str()) || near(recorded, computed, bound)
        }
    };
    names.into_iter().filter(|name| !FREE.contains(&name.as_str())).map(column).filter(|column| !equal(column)).collect()
}

/// True if both values are probe distances of one model.
fn are_of_one_model(recorded: &Value, computed: &Value) -> bool {
    let distances = |value: &Value| serde_json::from_value::<ProbeDistances>(value.clone()).ok();
    distances(recorded).zip(distances(computed)).is_some_and(|(recorded, computed)| recorded.are_of_one_model(&computed))
}

/// True if a record was computed on another device or instruction set than this.
pub(super) fn is_of_another_machine(recorded: &Map<String, Value>, here: &Provenance) -> bool {
    let machine = [("device", &here.device), ("instruction_set", &here.instruction_set)];
    machine.into_iter().any(|(name, here)| recorded.get(name).and_then(Value::as_str) != Some(here))
}

fn near(recorded: &Value, computed: &Value, bound: f64) -> bool {
    match (recorded, computed) {
        (Value::Array(recorded), Value::Array(computed)) => {
            recorded.len() == computed.len() && recorded.iter().zip(computed).all(|(one, other)| near(one, other, bound))
        }
        // A share below a threshold is not written: it counts as 0.
        (Value::Null, Value::Number(_)) if bound > 1.0 => near(&0.0.into(), computed, bound),
        (Value::Number(_), Value::Null) if bound > 1.0 => near(recorded, &0.0.into(), bound),
        _ => match (recorded.as_f64(), computed.as_f64()) {
            (Some(recorded), Some(computed)) => (recorded - computed).abs() <= bound,
            _ => recorded == computed,
        },
    }
}

/// The columns of a record, those of nested objects as `object.column`, those of lists of objects as `list.0.column`.
fn flat(record: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut columns = BTreeMap::new();
    for (name, value) in record {
        match value {
            Value::Object(inner) => {
                columns.extend(flat(inner).into_iter().map(|(below, value)| (format!("{name}.{below}"), value)));
            }
            Value::Array(list) if list.iter().any(Value::is_object) => {
                let entries = list.iter().enumerate().map(|(at, entry)| (at.to_string(), entry.clone())).collect();
                columns.extend(flat(&entries).into_iter().map(|(below, value)| (format!("{name}.{below}"), value)));
            }
            _ => drop(columns.insert(name.clone(), value.clone())),
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn record() -> Value {
        json!({
            "attack": "ca+", "epsilon": 0.3, "method_version": 1, "weights": "a", "from": { "weights": "a", "weights_sha256": "5f" },
            "rank_after": 2.25652, "rank_after_interval": [2.0, 2.5], "tie_share": 0.0, "embedding_shift": 0.8,
            "white_box": { "rank_after": 2.0 }, "recall_at_1_after": null, "parts": [{ "name": "a", "rank_after": 2.0, "queries": 900.0 }],
            "seconds": 1.0, "code_version": "0.1.0", "device": "cpu", "instruction_set": "avx512",
        })
    }

    /// Of few images a single one that is left out changes the mean cost by much.
    #[test]
    fn the_cost_may_differ_by_one_image() {
        let differs = |images: usize, queries: f64| {
            let record = |queries: f64, isa: &str| {
                object(json!({ "images": images, "instruction_set": isa, "parts": [{ "name": "a", "queries": queries }] }))
            };
            columns(&record(900.0, "avx512"), &record(queries, "avx2"), &object(json!({ "images": 0 }))).len()
        };
        assert_eq!([differs(5, 700.0), differs(5, 690.0), differs(1000, 810.0), differs(1000, 790.0)], [0, 1, 0, 1]);
    }

    /// Ten images in a gallery of 40: one place is 0.25 points of the mean. In a gallery of 10,000 it is next to nothing.
    #[test]
    fn an_error_may_differ_by_one_place_of_one_image() {
        let differs = |gallery: usize, stderr: f64| {
            let record = |stderr: f64, isa: &str| {
                object(json!({ "images": 10, "gallery": gallery, "instruction_set": isa, "rank_after_stderr": stderr }))
            };
            columns(&record(6.7, "avx512"), &record(stderr, "portable"), &object(json!({ "images": 0, "gallery": 0 }))).len()
        };
        assert_eq!([differs(40, 6.9), differs(40, 7.0), differs(10_000, 6.75), differs(10_000, 6.9)], [0, 1, 0, 1]);
    }

    /// Names of the columns that differ after one column got another value.
    fn found(pointer: &str, value: Value, instruction_set: &str) -> String {
        let mut computed = record();
        computed["instruction_set"] = instruction_set.into();
        match computed.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => drop(computed.as_object_mut().unwrap().insert(pointer[1..].to_owned(), value)),
        }
        let inputs = json!({ "attack": 0, "epsilon": 0, "method_version": 0, "weights": 0, "from": { "weights_sha256": 0 } });
        let columns = columns(&object(record()), &object(computed), &object(inputs));
        columns.iter().map(|column| column.column.clone()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    #[rustfmt::skip] // keeps the columns aligned
    fn one_changed_digit_is_found() {
        //                                                    here                       on another instruction set
        for (pointer, value, here, elsewhere) in [
            ("/rank_after",            json!(2.25653),        "rank_after",              ""),
            ("/rank_after",            json!(2.8),            "rank_after",              "rank_after"),
            ("/rank_after",            json!(null),           "rank_after",              "rank_after"),
            ("/rank_after_interval/1", json!(2.6),            "rank_after_interval",     ""),
            ("/rank_after_interval/1", json!(9.0),            "rank_after_interval",     "rank_after_interval"),
            ("/white_box/rank_after",  json!(2.1),            "white_box.rank_after",    ""),
            ("/white_box/rank_after",  json!(9.0),            "white_box.rank_after",    "white_box.rank_after"),
            ("/parts/0/rank_after",    json!(2.1),            "parts.0.rank_after",      ""),
            ("/parts/0/rank_after",    json!(9.0),            "parts.0.rank_after",      "parts.0.rank_after"),
            ("/parts/0/queries",       json!(990.0),          "parts.0.queries",         ""),
            ("/parts/0/name",          json!("b"),            "parts.0.name",            "parts.0.name"),
            ("/embedding_shift",       json!(0.83),           "embedding_shift",         "embedding_shift"),
            ("/tie_share",             json!(0.1),            "tie_share",               ""),
            ("/recall_at_1_after",     json!(99.0),           "recall_at_1_after",       "recall_at_1_after"),
            ("/undecided_share",       json!(1.2),            "undecided_share",         ""),
            ("/undecided_share",       json!(9.0),            "undecided_share",         "undecided_share"),
            ("/of_tomorrow",           json!(3),              "of_tomorrow",             "of_tomorrow"),
            ("/method_version",        json!(2),              "method_version",          "method_version"),
            ("/epsilon",               json!(0.30000000000000004), "epsilon",            "epsilon"),
            ("/from/weights_sha256",   json!("6f"),           "from.weights_sha256",     "from.weights_sha256"),
            ("/from/weights",          json!("b"),            "",                        ""),
            ("/weights",               json!("b"),            "",                        ""),
            ("/seconds",               json!(9.0),            "",                        ""),
            ("/code_version",          json!("0.2.0"),        "",                        ""),
            ("/caveat",                json!("quick model"),  "",                        ""),
        ] {
            assert_eq!(found(pointer, value.clone(), "avx512"), here, "{pointer}");
            assert_eq!(found(pointer, value, "avx2"), elsewhere, "{pointer}");
        }
    }

    #[test]
    fn a_program_is_known_by_its_probes_and_may_round_otherwise() {
        let differs = |changes: &[(&str, Value)]| {
            let mut whole = record();
            (whole["probe_distances"], whole["from"]["probe_distances"]) = (json!([0.5, 2.0]), json!([0.5, 2.0]));
            let mut computed = whole.clone();
            changes.iter().for_each(|(pointer, value)| *computed.pointer_mut(pointer).unwrap() = value.clone());
            let inputs = object(json!({ "epsilon": 0, "weights_sha256": 0, "probe_distances": 0 }));
            let columns = columns(&object(whole), &object(computed), &inputs);
            columns.iter().map(|column| column.column.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(differs(&[("/rank_after", json!(2.3)), ("/from/weights_sha256", json!("6f"))]), "");
        assert_eq!(differs(&[("/probe_distances", json!([0.5001, 2.0])), ("/from/probe_distances", json!([0.5, 2.0001]))]), "");
        assert_eq!(differs(&[("/rank_after", json!(2.9)), ("/epsilon", json!(0.2))]), "epsilon rank_after");
        assert_eq!(differs(&[("/probe_distances", json!([0.6, 2.0]))]), "probe_distances");
        assert_eq!(differs(&[("/from/probe_distances", json!(null))]), "from.probe_distances");
    }

    #[test]
    fn a_difference_is_one_line() {
        let column = Column { column: "rank_after".into(), recorded: json!(2.27), computed: json!(2.26) };
        let (file, cell) = ("models/m/records.jsonl".to_owned(), "mnist-ct ca+ w=1 ε=0.3".to_owned());
        let difference = Difference { file, number: 5, cell, column, place: Location::Line(5) };
        assert_eq!(
            difference.to_string(),
            "models/m/records.jsonl line 5: mnist-ct ca+ w=1 ε=0.3: rank_after 2.26 instead of 2.27"
        );
        let back: Value = serde_json::from_str(&difference.to_line()).unwrap();
        assert_eq!((&back["number"], &back["column"], &back["computed"]), (&json!(5), &json!("rank_after"), &json!(2.26)));
        assert!(back.get("place").is_none());
    }
}
