//! Conversion of records from the format before 2.

use crate::columns::Columns;
use crate::{FORMAT, Record};
use serde_json::{Map, Value};

/// The column that reports add to their records.
const CAVEAT: &str = "caveat";

/// Converts a file of records of the format before 2: lines, or one array as beside a report. `is_shipped` gets the path and the
/// hash of weights and returns true if they are in the repository. Records of other weights are marked as not verifiable;
/// existing marks stay. A record of the current format changes only in this mark.
///
/// # Errors
/// One line for the first record that is invalid or would lose a value.
pub fn convert(text: &str, is_shipped: impl Fn(&str, &str) -> bool) -> Result<String, String> {
    if text.trim_start().starts_with('[') {
        let array: Vec<Columns> = serde_json::from_str(text).map_err(|reason| reason.to_string())?;
        let converted = array.into_iter().enumerate().map(|(at, Columns(mut columns))| {
            let caveat = columns.remove(CAVEAT);
            let record = record(columns, &is_shipped).map_err(|reason| format!("record {}: {reason}", at + 1))?;
            let mut value = serde_json::to_value(record).map_err(|reason| reason.to_string())?;
            if let Some(caveat) = caveat {
                value[CAVEAT] = caveat;
            }
            Ok(value)
        });
        let converted = converted.collect::<Result<Vec<Value>, String>>()?;
        return serde_json::to_string_pretty(&converted).map_err(|reason| reason.to_string());
    }
    let mut lines = String::new();
    for (at, line) in text.lines().enumerate() {
        let line_of = |reason: String| format!("line {}: {reason}", at + 1);
        let Columns(columns) = serde_json::from_str(line).map_err(|reason| line_of(reason.to_string()))?;
        let record = record(columns, &is_shipped).map_err(line_of)?;
        lines += &record.to_line().map_err(|reason| line_of(reason.to_string()))?;
        lines.push('\n');
    }
    Ok(lines)
}

fn record(mut columns: Map<String, Value>, is_shipped: impl Fn(&str, &str) -> bool) -> Result<Record, String> {
    columns.entry("format").or_insert_with(|| FORMAT.into());
    let mut record = Record::from_line(Value::Object(columns.clone()).to_string().as_bytes())?;
    let back = serde_json::to_value(&record).map_err(|reason| reason.to_string())?;
    // An old record may have null in a column that is now omitted.
    let lost = columns.iter().find(|(name, value)| back.get(name.as_str()) != Some(value) && !value.is_null());
    if let Some((name, value)) = lost {
        return Err(format!("{name} {value} has no place in format {FORMAT}"));
    }
    let mut weights = vec![(&record.cell.subject.weights, &record.facts.provenance.weights_sha256)];
    weights.extend(record.cell.from.as_ref().map(|from| (&from.weights, &from.weights_sha256)));
    if !weights.into_iter().all(|(place, sha256)| is_shipped(place, sha256)) {
        record.facts.verifiable = false;
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the format before 2, as it was committed.
    const OLD: &str = r#"{"table":"mnist-ct","dataset":"mnist","model":"c2f2","weights":"models/m/model.safetensors","weights_sha256":"5f","distance":"cosine","loss":"triplet","defense":"none","attack":"sp-qa+","targets":1,"epsilon":0.01,"step":0.00392156862745098,"iterations":10,"random_start":false,"restarts":1,"xi":1.0,"objective":"distance","protocol":"paper","eight_bit":false,"seed":0,"images":1000,"gallery":10000,"chosen":null,"universal":{"batches":1,"perturbations":10},"from":{"model":"lenet","weights":"target/l","weights_sha256":"6f","distance":"cosine"},"method_version":1,"rank_before":51.10436,"rank_before_stderr":0.899706430482,"rank_before_interval":[49.340935396254,52.867784603746],"rank_after":51.10436,"rank_after_stderr":0.899706430482,"rank_after_interval":[49.340935396254,52.867784603746],"preserved_rank_before":null,"preserved_rank_after":null,"embedding_shift":8.725160602018888e-9,"recall_at_1_before":null,"recall_at_1_after":null,"recall_at_10_before":null,"recall_at_10_after":null,"recall_at_100_before":null,"recall_at_100_after":null,"tie_share":0.3,"unseen":{"rank_before":1.0,"rank_after":2.0,"rank_after_stderr":null},"seconds":0.613,"device":"cpu","instruction_set":"avx512","code_version":"0.1.0"}"#;

    fn columns(text: &str) -> serde_json::Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn nothing_of_an_old_line_is_lost_and_only_the_format_is_new() {
        let new = convert(&format!("{OLD}\n"), |_, _| true).unwrap();
        let mut back = columns(&new);
        assert_eq!(back.remove("format"), Some(FORMAT.into()));
        assert_eq!(back, columns(OLD));
        assert!(Record::from_line(OLD.as_bytes()).unwrap_err().contains("`rankle convert FILE`"));
        assert_eq!(convert(&new, |_, _| true).unwrap(), new, "what is new stays");
    }

    #[test]
    fn records_of_weights_that_are_nowhere_are_marked() {
        let marked = convert(OLD, |place, sha256| (place, sha256) != ("target/l", "6f")).unwrap();
        assert_eq!(columns(&marked)["verifiable"], false);
        assert_eq!(convert(&marked, |_, _| true).unwrap(), marked, "a mark stays");
        assert!(!columns(&convert(OLD, |_, _| true).unwrap()).contains_key("verifiable"));
    }

    #[test]
    fn an_array_keeps_its_caveats() {
        let caveat = OLD.replacen('{', r#"{"caveat":"quick model","#, 1);
        let array: Vec<Value> = serde_json::from_str(&convert(&format!("[{caveat},{OLD}]"), |_, _| true).unwrap()).unwrap();
        assert_eq!((&array[0]["caveat"], array[1].get("caveat")), (&"quick model".into(), None));
        assert!(array.iter().all(|record| record["format"] == FORMAT));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (wrong, part) in [
            (OLD.replace("\"seed\":0", "\"seed\":0,\"own\":1"), "line 1: unknown column `own`"),
            (
                OLD.replacen('{', r#"{"format":3,"#, 1),
                "line 1: it is of format 3, and this program knows format 2: use a newer one",
            ),
            (OLD.replacen('{', r#"{"format":null,"#, 1), "line 1: its format null is unknown"),
            (OLD.replacen('{', r#"{"rank_after":1.0,"#, 1), "line 1: duplicate column `rank_after`"),
            (OLD.replace("0.613", "null"), "line 1: "),
            ("[1]".to_owned(), "invalid type: integer `1`, expected a JSON object"),
            ("1".to_owned(), "line 1: invalid type: integer `1`, expected a JSON object"),
        ] {
            let message = convert(&wrong, |_, _| true).unwrap_err();
            assert!(message.starts_with(part), "{message}");
        }
    }
}
