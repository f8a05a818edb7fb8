//! `cargo xtask verify`: whether the committed records are what the code computes.

mod again;
mod choose;
mod committed;
mod compare;
mod shelf;

use crate::driver::Driver;
use crate::files;
use anyhow::{Context, Result, bail};
use clap::Args;
use committed::{Committed, Input};
use compare::Difference;
use rankle_cli::{answer, say};
use rankle_report::{Cell, FolderLock, Record};
use serde_json::Value;
use shelf::{Missing, Shelf};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;

/// Compute committed records again, and compare them column by column.
///
/// Every record whose weights are in the tree is computed again: those beside the models and those in xtask/results; of the
/// records-full.jsonl, with 10,000 images each, eight cells a file. What needs other weights, or data that are not here, is counted
/// and named. On the instruction set of a record every column must be equal but the seconds, the version of the code and the place
/// of the weights; on another one ranks may lie half a point apart. Interrupted, the same command goes on where it was; what another
/// build of the driver computed is never taken for done.
///
/// Exit code 1 when a record differs. The differences are in FOLDER/differences.jsonl, one JSON object for each column of a record.
#[derive(Args)]
pub(crate) struct Verify {
    /// Files of records, as records.jsonl, of which all are computed again; the committed ones when left out
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only so many records, spread over attacks, models and files; those that took more than five seconds come last
    #[arg(long, value_name = "N")]
    sample: Option<NonZero<usize>>,
    /// How many threads; all cores when left out. No result depends on it
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Where records and differences go; target/verify when left out
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// A record that can be computed again here.
struct Ready {
    committed: Committed,
    cell: Cell,
    planned: Cell,
}

/// How many records lack what.
type Lacking = BTreeMap<Missing, usize>;

/// How many differences are printed; the file has all of them.
const SHOWN: usize = 20;

impl Verify {
    pub(crate) fn run(self) -> Result<()> {
        let output = self.output.clone().unwrap_or_else(|| files::root().join("target/verify"));
        let output = std::path::absolute(&output).with_context(|| format!("{} is not a path", output.display()))?;
        let (ready, lacking) = self.ready()?;
        let wanted: Vec<&Ready> = match self.sample {
            Some(count) => choose::spread(&ready, count.get()).into_iter().map(|at| &ready[at]).collect(),
            None => ready.iter().collect(),
        };
        lacking.iter().for_each(|(missing, count)| say(format_args!("{count} records are not verifiable here: {missing}")));
        if wanted.is_empty() {
            bail!("no record can be computed again: see above for what is missing");
        }
        let _lock = FolderLock::acquire(&output, "cargo xtask verify")?;
        let driver = Driver::build()?;
        // Records of another build prove nothing about this one.
        let folder = output.join(&driver.sha256()?[..12]);
        say(format_args!("{} of {} records are computed again, in {}", wanted.len(), ready.len(), files::shown(&folder)));
        let plan: Vec<Cell> = wanted.iter().map(|ready| ready.planned.clone()).collect();
        let records = driver.sweep(&plan, &files::root(), &folder, self.threads)?;
        let found = differences(&wanted, &records)?;
        let file = output.join("differences.jsonl");
        files::write(&file, found.iter().map(|difference| difference.to_line() + "\n").collect::<String>())?;
        report(wanted.len(), &lacking, &found, &files::shown(&file))
    }

    /// The records that can be computed again; and what the others lack.
    fn ready(&self) -> Result<(Vec<Ready>, Lacking)> {
        let inputs = if self.files.is_empty() { committed::shipped(&files::root())? } else { committed::named(&self.files) };
        let shelf = Shelf::of(files::root())?;
        let (mut all, mut lacking) = (Vec::new(), Lacking::new());
        for Input { file, at_most } in inputs {
            let mut ready = Vec::new();
            for committed in committed::read(&file)? {
                match prepare(committed, &shelf)? {
                    Ok(one) => ready.push(one),
                    Err(missing) => *lacking.entry(missing).or_default() += 1,
                }
            }
            let chosen = at_most.map(|count| choose::spread(&ready, count));
            let is_chosen = |at: usize| chosen.as_ref().is_none_or(|chosen| chosen.contains(&at));
            all.extend(ready.into_iter().enumerate().filter_map(|(at, one)| is_chosen(at).then_some(one)));
        }
        Ok((all, lacking))
    }
}

/// What computes a record again, or what is missing for that.
fn prepare(committed: Committed, shelf: &Shelf) -> Result<Result<Ready, Missing>> {
    if !committed.is_of_a_ranking() {
        return Ok(Err(Missing::Sweep));
    }
    let (cell, facts) = committed.inputs()?;
    let prepared = || {
        let weights = shelf.weights(&cell.subject.weights, &facts.provenance.weights_sha256)?;
        let from = cell.from.as_ref().map(|from| shelf.weights(&from.weights, &from.weights_sha256)).transpose()?;
        shelf.data(&cell.subject.dataset)?;
        again::plan(&cell, &facts, &weights, from.as_deref()).ok_or(Missing::Sweep)
    };
    let planned = prepared();
    Ok(planned.map(|planned| Ready { committed, cell, planned }))
}

/// Every column of every record that is another one now.
fn differences(wanted: &[&Ready], records: &[Record]) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    for (Ready { committed, cell, .. }, record) in wanted.iter().zip(records) {
        let as_object = |value: serde_json::Result<Value>| match value {
            Ok(Value::Object(columns)) => Ok(columns),
            _ => bail!("the record of {cell} is no JSON object"),
        };
        let computed = as_object(serde_json::to_value(record))?;
        let mut inputs = as_object(serde_json::to_value(&record.cell))?;
        inputs.extend(as_object(serde_json::to_value(&record.facts))?);
        ["device", "instruction_set", "code_version"].iter().for_each(|name| drop(inputs.remove(*name)));
        found.extend(compare::columns(&committed.columns, &computed, &inputs).into_iter().map(|column| Difference {
            file: committed.file.clone(),
            number: committed.number,
            cell: cell.to_string(),
            column,
        }));
    }
    Ok(found)
}

/// Prints what was found.
///
/// # Errors
/// When a record differs.
fn report(computed: usize, lacking: &Lacking, found: &[Difference], file: &str) -> Result<()> {
    found.iter().take(SHOWN).try_for_each(answer)?;
    if found.len() > SHOWN {
        answer(format_args!("… and {} more", found.len() - SHOWN))?;
    }
    let mut differing: Vec<(&str, usize)> = found.iter().map(|difference| (&*difference.file, difference.number)).collect();
    differing.dedup();
    answer(summary(computed, lacking, differing.len()))?;
    if !found.is_empty() {
        bail!("{} of {computed} records differ, in {} columns: see {file}", differing.len(), found.len());
    }
    Ok(())
}

/// The outcome in one line.
fn summary(computed: usize, lacking: &Lacking, differing: usize) -> String {
    let count =
        |is: fn(&Missing) -> bool| lacking.iter().filter(|(missing, _)| is(missing)).map(|(_, count)| count).sum::<usize>();
    let reasons = [
        ("weights not in the tree", count(|missing| matches!(missing, Missing::Weights(_)))),
        ("data not here", count(|missing| matches!(missing, Missing::Data(_)))),
        ("not of a sweep", count(|missing| matches!(missing, Missing::Sweep))),
    ];
    let told: Vec<String> =
        reasons.iter().filter(|(_, count)| *count > 0).map(|(reason, count)| format!("{reason}: {count}")).collect();
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) };
    let lacking: usize = lacking.values().sum();
    format!("{} records equal, {lacking} not verifiable{told}, {differing} differ", computed - differing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// Made-up records of the two published tables, as if they had been read from a file; each took as long as `seconds` says.
    pub(super) fn ready(seconds: impl Fn(&Record) -> f64) -> (Vec<Ready>, Vec<Record>) {
        let (plan, records) = sample::answered();
        let one = |((at, planned), record): ((usize, Cell), &Record)| {
            let Ok(Value::Object(mut columns)) = serde_json::to_value(record) else { panic!("a record is an object") };
            columns["seconds"] = seconds(record).into();
            let committed = Committed { file: "models/m/records.jsonl".into(), number: at + 1, columns };
            Ready { committed, cell: record.cell.clone(), planned }
        };
        (plan.into_iter().enumerate().zip(&records).map(one).collect(), records)
    }

    #[test]
    fn one_changed_digit_of_one_record_is_a_difference() {
        let (ready, mut records) = ready(|_| 2.0);
        let wanted: Vec<&Ready> = ready.iter().collect();
        assert!(differences(&wanted, &records).unwrap().is_empty());
        assert!(report(160, &Lacking::new(), &[], "here").is_ok());

        *records[4].rank_after.as_mut().unwrap() += 0.00001;
        records[4].facts.provenance.method_version = 2;
        records[4].seconds = 9.0;
        let found = differences(&wanted, &records).unwrap();
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        let place = "models/m/records.jsonl line 5: mnist-ct ca+ w=1 ε=0.3: ";
        assert_eq!(said[0], format!("{place}method_version 2 instead of 1"));
        assert!(said[1].starts_with(&format!("{place}rank_after ")) && said.len() == 2, "{said:?}");
        let error = report(160, &Lacking::new(), &found, "here").unwrap_err().to_string();
        assert_eq!(error, "1 of 160 records differ, in 2 columns: see here");
    }

    #[test]
    fn what_is_not_compared_is_counted() {
        let of = |missing: Missing, count| (missing, count);
        let lacking = Lacking::from([
            of(Missing::Weights("a".into()), 80),
            of(Missing::Weights("b".into()), 20),
            of(Missing::Data("fashion-mnist".into()), 3),
        ]);
        let line = "14 records equal, 103 not verifiable (weights not in the tree: 100; data not here: 3), 2 differ";
        assert_eq!(summary(16, &lacking, 2), line);
        assert_eq!(summary(16, &Lacking::new(), 0), "16 records equal, 0 not verifiable, 0 differ");
    }

    /// Of the committed files: what the models are shipped for can be computed again, what other models are needed for cannot.
    #[test]
    fn the_committed_records_are_sorted() {
        let all = Verify { files: Vec::new(), sample: None, threads: None, output: None };
        let (ready, lacking) = all.ready().unwrap();
        let of = |part: &str| ready.iter().filter(|ready| ready.committed.file.contains(part)).count();
        let (full, curves, ablations) = (of("records-full"), of("results/curves"), of("results/ablations"));
        assert_eq!((full, curves, ablations), (16, 310, 188));
        assert!(ready.iter().all(|ready| files::root().join(&ready.planned.subject.weights).is_file()));
        assert!(lacking[&Missing::Sweep] > 0, "classifiers");
        assert!(of("universal") == 16 && of("self-transfer") >= 4 && of("results/transfer") > 0);
    }
}
