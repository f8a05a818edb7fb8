//! Timings of a row, as each side reports them.

use crate::process::Usage;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Output of `rankle bench` and of `torch_bench.py`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Version of rankle or of PyTorch.
    pub(super) version: String,
    pub(super) instruction_set: String,
    timings: Vec<Timing>,
}

/// Timing of a row by one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Timing {
    #[serde(default)]
    pub(super) row: String,
    /// Name of the other side; `None` for rankle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) variant: Option<String>,
    pub(super) median_ms: f64,
    pub(super) minimum_ms: f64,
    pub(super) repeats: usize,
    /// Share of the processor time that the threads could have had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cpu_share: Option<f64>,
    /// Floating-point operations per call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) operations: Option<f64>,
    /// Results, to check that both sides compute the same.
    #[serde(default)]
    pub(super) results: BTreeMap<String, f64>,
    /// Largest memory of the process, in MB (10⁶ bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peak_mb: Option<f64>,
}

/// Parses the output of a process that timed one row.
///
/// # Errors
/// When the output is anything else.
pub(super) fn parse(who: &str, output: &str, usage: Usage) -> Result<(Answer, Timing)> {
    let mut answer: Answer =
        serde_json::from_str(output).with_context(|| format!("{who} did not print an object with timings"))?;
    let (Some(mut timing), true) = (answer.timings.pop(), answer.timings.is_empty()) else {
        bail!("{who} did not time exactly one row");
    };
    timing.peak_mb = usage.peak_mb;
    Ok((answer, timing))
}

/// Fields of a record with the image rate, and with the share of the time in which the model waited for images.
pub(super) const PER_SECOND: &str = "images_per_second";
pub(super) const WAITING: &str = "waiting_share";

impl Timing {
    /// Timing of a whole command, from start to end. The results are fields of the record that the command prints.
    pub(super) fn whole(output: &str, usage: Usage, threads: usize) -> Self {
        let record: Value = serde_json::from_str(output).unwrap_or(Value::Null);
        let told = ["rank_before", "rank_after", PER_SECOND, WAITING].into_iter();
        let ms = 1e3 * usage.seconds;
        Self {
            row: String::new(),
            variant: None,
            median_ms: ms,
            minimum_ms: ms,
            repeats: 1,
            cpu_share: Some((usage.cpu_seconds / usage.seconds / threads as f64).min(1.0)),
            operations: None,
            results: told.filter_map(|key| Some((key.to_owned(), record[key].as_f64()?))).collect(),
            peak_mb: usage.peak_mb,
        }
    }
}

#[cfg(test)]
pub(super) fn sample(row: &str, variant: Option<&str>, median_ms: f64) -> Timing {
    let usage = Usage { seconds: median_ms / 1e3, cpu_seconds: 0.9 * median_ms / 1e3, peak_mb: Some(100.0) };
    Timing { row: row.into(), variant: variant.map(str::to_owned), ..Timing::whole("", usage, 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage { seconds: 2.0, cpu_seconds: 3.0, peak_mb: Some(64.0) };

    #[test]
    fn both_sides_speak_one_format() {
        let ours = r#"{"version":"0.1.0","instruction_set":"avx512","timings":[{"name":"c2f2-forward","images":100,"threads":1,
            "median_ms":4.5,"minimum_ms":4.25,"repeats":600,"cpu_share":0.9,"operations":2e9,"results":{"mean_magnitude":0.5}}]}"#;
        let theirs = r#"{"version":"2.15","instruction_set":"AVX512","timings":[{"name":"c2f2-forward","images":100,"threads":1,
            "median_ms":9,"minimum_ms":8.5,"repeats":300,"cpu_share":0.9,"results":{"mean_magnitude":0.5}}]}"#;
        let (us, timing) = parse("us", ours, USAGE).unwrap();
        assert_eq!((us.version.as_str(), timing.operations, timing.peak_mb), ("0.1.0", Some(2e9), Some(64.0)));
        let (_, theirs) = parse("them", theirs, USAGE).unwrap();
        assert_eq!((theirs.median_ms, theirs.operations, &theirs.results), (9.0, None, &timing.results));
        for wrong in ["oops", "[]", r#"{"version":"","instruction_set":"","timings":[]}"#] {
            assert!(format!("{:#}", parse("`rankle bench`", wrong, USAGE).unwrap_err()).starts_with("`rankle bench` did not"));
        }
    }

    #[test]
    fn a_whole_command_is_timed_from_outside() {
        let timing = Timing::whole(r#"{"rank_before":50.5,"rank_after":2,"seconds":1.5}"#, USAGE, 2);
        assert_eq!((timing.median_ms, timing.cpu_share), (2000.0, Some(0.75)));
        assert_eq!(timing.results, BTreeMap::from([("rank_after".to_owned(), 2.0), ("rank_before".to_owned(), 50.5)]));
        assert!(Timing::whole("", USAGE, 1).results.is_empty());
    }
}
