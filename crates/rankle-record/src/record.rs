//! A cell and its outcome.

use crate::columns::Columns;
use crate::schema::{self, COLUMNS, Column};
use crate::{Cell, Error, Facts, Result, finite};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Number of the record format that this crate writes and reads.
pub const FORMAT: u64 = 2;

/// Maximum size of a record in bytes: a line may hold anything.
pub(crate) const LONGEST_LINE: usize = 1 << 20;

/// A cell and its outcome: one line of JSON. Ranks, recalls and shares are in percent; rank 0 is the top of a list.
///
/// "Before" is the clean image, "after" the perturbed one. Measures that an attack does not have are `null`: ranks for `es`,
/// preserved ranks for all but SP-QA, recalls for all but `es`.
///
/// Computed again on the same instruction set, a record is equal in every field but `seconds` and, with other code,
/// `code_version`. Comparisons leave these two out, and neither is part of [`Cell::identity`].
///
/// Names, units and directions of all columns are in `record.schema.json` and `RECORDS.md` of this crate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`], the first column of every line.
    pub format: Format,
    /// Inputs that a plan chooses, with all numbers that the protocol prescribes; their fields are in the same JSON object.
    #[serde(flatten)]
    pub cell: Cell,
    /// Inputs that are known once the files are open.
    #[serde(flatten)]
    pub facts: Facts,
    /// Mean normalized rank before.
    #[serde(serialize_with = "finite::optional")]
    pub rank_before: Option<f64>,
    /// Standard error of `rank_before` over the images.
    #[serde(serialize_with = "finite::optional")]
    pub rank_before_stderr: Option<f64>,
    /// 95 % interval of `rank_before`, low and high.
    #[serde(serialize_with = "finite::interval")]
    pub rank_before_interval: Option<[f64; 2]>,
    /// Mean normalized rank after: the number of the published tables.
    #[serde(serialize_with = "finite::optional")]
    pub rank_after: Option<f64>,
    /// Standard error of `rank_after` over the images.
    #[serde(serialize_with = "finite::optional")]
    pub rank_after_stderr: Option<f64>,
    /// 95 % interval of `rank_after`, low and high.
    #[serde(serialize_with = "finite::interval")]
    pub rank_after_interval: Option<[f64; 2]>,
    /// SP-QA: mean rank of the preserved items, before.
    #[serde(serialize_with = "finite::optional")]
    pub preserved_rank_before: Option<f64>,
    /// SP-QA: mean rank of the preserved items, after.
    #[serde(serialize_with = "finite::optional")]
    pub preserved_rank_after: Option<f64>,
    /// Mean distance between the embeddings of the clean and the perturbed image, in units of the distance.
    #[serde(serialize_with = "finite::number")]
    pub embedding_shift: f64,
    /// ES: recall at 1 before, the share of images whose nearest other item has their label.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_1_before: Option<f64>,
    /// ES: recall at 1 after.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_1_after: Option<f64>,
    /// ES: recall at 10 before, the share of images with an item of their label among the ten nearest.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_10_before: Option<f64>,
    /// ES: recall at 10 after.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_10_after: Option<f64>,
    /// ES: recall at 100 before, the share of images with an item of their label among the hundred nearest.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_100_before: Option<f64>,
    /// ES: recall at 100 after.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_100_after: Option<f64>,
    /// Share of (image, target) pairs that are tied with another gallery item after the attack, in percent.
    #[serde(serialize_with = "finite::number")]
    pub tie_share: f64,
    /// Share of comparisons after the attack that f32 decided below its resolution, in percent. Omitted if at most 1.
    #[serde(default, skip_serializing_if = "is_negligible", serialize_with = "finite::number")]
    pub undecided_share: f64,
    /// Outcome of a transfer on its source, the model that the images were perturbed against. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white_box: Option<WhiteBox>,
    /// Outcome of universal perturbations on the unseen images; the other ranks are of the seen ones. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Unseen>,
    /// Outcomes of the parts of the search `standard`, each alone. Omitted if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartOutcome>,
    /// Error of the gradient that the search followed, in percent of the slope (the difference quotient), if a check of the
    /// gradient failed. Omitted if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "finite::optional")]
    pub gradient_error: Option<f64>,
    /// Wall-clock time in seconds.
    #[serde(serialize_with = "finite::number")]
    pub seconds: f64,
}

/// The format number, as a type with one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(FORMAT)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        check_format(Some(&Value::deserialize(deserializer)?)).map(|()| Self).map_err(serde::de::Error::custom)
    }
}

/// Outcome on the source of a transfer, in the units of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhiteBox {
    /// Mean normalized rank before; `None` for `es`.
    #[serde(serialize_with = "finite::optional")]
    pub rank_before: Option<f64>,
    /// Mean normalized rank after; `None` for `es`.
    #[serde(serialize_with = "finite::optional")]
    pub rank_after: Option<f64>,
    /// Recall at 1 before; for `es` only.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_1_before: Option<f64>,
    /// Recall at 1 after; for `es` only.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_1_after: Option<f64>,
    /// Mean distance between the embeddings of the clean and the perturbed image.
    #[serde(serialize_with = "finite::number")]
    pub embedding_shift: f64,
}

/// Outcome of universal perturbations on images that they were not computed on: means over perturbations, in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unseen {
    /// Mean normalized rank before.
    #[serde(serialize_with = "finite::number")]
    pub rank_before: f64,
    /// Mean normalized rank after.
    #[serde(serialize_with = "finite::number")]
    pub rank_after: f64,
    /// Standard error of `rank_after` over the perturbations; `None` for a single one.
    #[serde(serialize_with = "finite::optional")]
    pub rank_after_stderr: Option<f64>,
}

/// Outcome of one part of a search on all images, in the units of the record. An image that an earlier part had brought as far as it
/// can get was left out, and counts with that outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOutcome {
    /// The part, as in `apgd from random starts`.
    pub name: String,
    /// Mean normalized rank after; `None` for `es`.
    #[serde(serialize_with = "finite::optional")]
    pub rank_after: Option<f64>,
    /// SP-QA: mean rank of the preserved items, after.
    #[serde(serialize_with = "finite::optional")]
    pub preserved_rank_after: Option<f64>,
    /// Mean distance between the embeddings of the clean and the perturbed image.
    #[serde(serialize_with = "finite::number")]
    pub embedding_shift: f64,
    /// Mean number of input gradients of an image.
    #[serde(serialize_with = "finite::number")]
    pub gradients: f64,
    /// Mean number of embeddings of an image beside those of its gradients.
    #[serde(serialize_with = "finite::number")]
    pub queries: f64,
}

/// Checks that a record has the format [`FORMAT`].
///
/// # Errors
/// One line with the problem and the remedy.
pub(crate) fn check_format(format: Option<&Value>) -> Result<(), String> {
    match format {
        None => Err(format!("it is of the format before {FORMAT}: `rankle convert FILE` rewrites the file")),
        Some(format) if format.as_u64() == Some(FORMAT) => Ok(()),
        Some(format) if format.as_u64().is_some_and(|format| format > FORMAT) => {
            Err(format!("it is of format {format}, and this program knows format {FORMAT}: use a newer one"))
        }
        Some(format) => Err(format!("its format {format} is unknown: {FORMAT} is expected; correct or delete that line")),
    }
}

/// True if a share is too small to be written.
fn is_negligible(percent: &f64) -> bool {
    *percent <= 1.0
}

impl Record {
    /// Columns in which another record of the same cell has another outcome, in words; `None` if all agree, or for two machines,
    /// whose roundings differ. The cell, `verifiable`, the time, the code version and the check of the gradient are not compared.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.facts.provenance.machine() != other.facts.provenance.machine() {
            return None;
        }
        let columns = |record: &Self| -> BTreeMap<String, Value> {
            let mut free = Self { cell: self.cell.clone(), seconds: 0.0, gradient_error: None, ..record.clone() };
            free.facts.verifiable = true;
            free.facts.provenance.code_version.clear();
            serde_json::to_value(free).ok().and_then(|record| serde_json::from_value(record).ok()).unwrap_or_default()
        };
        let (mine, its) = (columns(self), columns(other));
        let names: BTreeSet<&String> = mine.keys().chain(its.keys()).filter(|&name| mine.get(name) != its.get(name)).collect();
        let value = |record: &BTreeMap<String, Value>, name: &str| record.get(name).map_or("nothing".into(), Value::to_string);
        let words: Vec<String> =
            names.into_iter().map(|name| format!("{name} {} and {}", value(&mine, name), value(&its, name))).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// A text that is equal for two records exactly if they must have the same outcome: see [`Cell::identity`].
    pub fn identity(&self) -> String {
        self.cell.identity(&self.facts)
    }

    /// A short, stable name of the inputs: see [`Cell::key`].
    ///
    /// # Errors
    /// As [`Cell::key`].
    pub fn key(&self) -> Result<String> {
        self.cell.key(&self.facts)
    }

    /// Reads a record from its line.
    ///
    /// # Errors
    /// One line, with advice, for a line that is not a record of this format; older and newer formats are reported as such.
    pub fn from_line(line: &[u8]) -> Result<Self, String> {
        let wrong = |reason: String| format!("{reason}; correct or delete that line");
        if line.len() > LONGEST_LINE {
            return Err(wrong(format!("it has {} bytes", line.len())));
        }
        let Columns(columns) = serde_json::from_slice(line).map_err(|reason| wrong(reason.to_string()))?;
        if columns.contains_key("attack") {
            check_format(columns.get("format"))?;
        }
        if let Some(unknown) = columns.keys().find(|name| schema::find(name).is_none()) {
            return Err(wrong(format!("unknown column `{unknown}`, which a newer program may know")));
        }
        let missing = |name: &str| wrong(format!("missing column `{name}`"));
        if let Some(Column { name, .. }) =
            COLUMNS.iter().find(|column| column.is_required() && !columns.contains_key(column.name))
        {
            return Err(missing(name));
        }
        let record: Self = serde_json::from_slice(line).map_err(|reason| wrong(reason.to_string()))?;
        record.cell.spec.search.lacks().map_or(Ok(record), |name| Err(missing(name)))
    }

    /// The record as one line of JSON, without the line break.
    ///
    /// # Errors
    /// [`Error::Record`] if one of the numbers is NaN or infinite.
    pub fn to_line(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|reason| Error::Record { cell: self.cell.to_string(), reason: reason.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttackId, sample};

    #[test]
    fn a_record_survives_its_line_bit_for_bit() {
        let mut record = sample::record("mnist-ct", sample::subject(), AttackId::SP_QA_PLUS, 10, 0.1 + 0.2, 100.0 / 3.0);
        record.preserved_rank_after = Some(2.0f64.sqrt());
        record.seconds = 9.100000000000001;
        record.unseen = Some(Unseen { rank_before: 1.0 / 3.0, rank_after: 0.1, rank_after_stderr: None });
        let line = record.to_line().unwrap();
        assert_eq!(Record::from_line(line.as_bytes()).unwrap(), record);
        assert!(!line.contains('\n'));
    }

    #[test]
    fn two_records_of_one_cell_are_compared_by_their_outcome() {
        let one = sample::record("mnist-ct", sample::subject(), AttackId::CA_PLUS, 1, 0.3, 2.5);
        let mut other = Record { seconds: 7.0, ..one.clone() };
        other.facts.provenance.code_version = "9".into();
        other.cell.subject.weights = "elsewhere".into();
        assert_eq!(one.difference(&other), None);
        let other = Record { rank_after: Some(2.25), undecided_share: 3.0, ..other };
        assert_eq!(one.difference(&other).unwrap(), "rank_after 2.5 and 2.25, undecided_share nothing and 3.0");
    }

    #[test]
    fn what_is_no_record_is_answered_with_what_to_do() {
        let line = sample::record("mnist-ct", sample::subject(), AttackId::CA_PLUS, 1, 0.3, 2.5).to_line().unwrap();
        let with = |more: &str| line.replacen('{', &format!("{{{more},"), 1);
        for (wrong, part) in [
            (with(r#""seed":7"#), "duplicate column `seed`"),
            (with(r#""own":7"#), "unknown column `own`"),
            (line.replace(r#""step":0.01,"#, ""), "missing column `step`"),
            (with(r#""white_box":{"own":1}"#), "unknown field `own`"),
            (line.replace("\"attack\":\"ca+\"", "\"attack\":\"ca\""), "unknown attack 'ca'; known: ca+"),
            ("[1]".to_owned(), "expected a JSON object"),
            (" ".repeat(2 << 20), "it has 2097152 bytes"),
        ] {
            let message = Record::from_line(wrong.as_bytes()).unwrap_err();
            assert!(message.contains(part) && message.ends_with("; correct or delete that line"), "{message}");
        }
        for (format, advice) in [("3", ": use a newer one"), ("1", "; correct or delete that line"), ("null", "delete that line")]
        {
            let message =
                Record::from_line(line.replace("\"format\":2", &format!("\"format\":{format}")).as_bytes()).unwrap_err();
            assert!(
                message.contains(&format!("format {format}")) || message.contains(&format!("format is {format}")),
                "{message}"
            );
            assert!(message.ends_with(advice), "{message}");
        }
        let message = Record::from_line(line.replace("\"format\":2,", "").as_bytes()).unwrap_err();
        assert!(message.ends_with("`rankle convert FILE` rewrites the file"), "{message}");
    }

    #[test]
    fn records_of_two_machines_contradict_nothing() {
        let one = sample::record("mnist-ct", sample::subject(), AttackId::CA_PLUS, 1, 0.3, 2.5);
        let mut other = Record { rank_after: Some(2.25), ..one.clone() };
        assert!(one.difference(&other).is_some());
        other.facts.provenance.instruction_set = "neon".into();
        assert_eq!(one.difference(&other), None);
    }

    #[test]
    fn cell_and_outcome_are_one_flat_object() {
        let line = sample::record("mnist-ct", sample::subject(), AttackId::CA_PLUS, 1, 0.3, 2.5).to_line().unwrap();
        assert!(!line.contains("white_box") && !line.contains("unseen"), "{line}");
        for part in
            ["\"attack\":\"ca+\"", "\"targets\":1", "\"epsilon\":0.3", "\"rank_after\":2.5", "\"recall_at_1_before\":null"]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn what_is_not_finite_never_reaches_json() {
        let good = sample::record("mnist-ct", sample::subject(), AttackId::CA_PLUS, 1, 0.3, 2.5);
        let wrong: [fn(&mut Record); 7] = [
            |record| record.rank_after = Some(f64::NAN),
            |record| record.rank_after_interval = Some([0.0, f64::INFINITY]),
            |record| record.embedding_shift = f64::NEG_INFINITY,
            |record| record.undecided_share = f64::NAN,
            |record| record.cell.spec.epsilon = f64::NAN,
            |record| record.cell.spec.options.xi = Some(f64::NAN),
            |record| record.unseen = Some(Unseen { rank_before: 1.0, rank_after: f64::NAN, rank_after_stderr: None }),
        ];
        for spoil in wrong {
            let mut record = good.clone();
            spoil(&mut record);
            let message = record.to_line().unwrap_err().to_string();
            assert!(message.contains("finite number"), "{message}");
        }
    }
}
