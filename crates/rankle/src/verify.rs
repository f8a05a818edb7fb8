//! Records prepared to be computed again, with the weights that they name.

mod shelf;

pub(crate) use shelf::Shelf;

use crate::foreign::ForeignName;
use crate::stop;
use crate::sweep::{self, Job, Opened, Planned};
use crate::system::Key;
use anyhow::Result;
use rankle_eval::experiment;
use rankle_eval::verify::Recorded;
use rankle_record::{Cell, Facts, ProbeDistances, Record, Source, Subject};
use shelf::Found;
use std::fmt;
use std::path::{Path, PathBuf};

/// A record that can be computed again.
pub(crate) type Ready = rankle_eval::verify::Ready<Key>;

/// The reason why a record is not computed again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NotRun {
    /// A record about a classifier.
    Classifier,
    /// Images, targets or preserved items that were chosen by hand.
    Chosen,
    /// A record of another version of the method.
    Version { recorded: u32, computed: u32 },
    /// Weights that are in no file; `others_in_place` is true if the recorded path has other weights.
    Weights { place: String, others_in_place: bool },
    /// A model with probe distances that is another than the recorded one; `weights` are its command or file, `moved` is the
    /// difference of its probe distances as a fraction of the largest, `None` if the record has none.
    Probes { weights: String, moved: Option<String> },
    /// Data, a model or numbers that this program does not accept.
    Refused(String),
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classifier => write!(f, "of a classifier, which ranks nothing"),
            Self::Chosen => write!(f, "images or targets were chosen by hand"),
            Self::Version { recorded, computed } => {
                write!(f, "method version {recorded}, this program computes {computed}")
            }
            Self::Weights { place, others_in_place: true } => {
                write!(f, "{place} has other weights than the record; --weights-dir names a folder to look in")
            }
            Self::Weights { place, others_in_place: false } => {
                write!(f, "the weights are missing ({place}); --weights-dir names a folder to look in")
            }
            Self::Probes { weights, moved: Some(moved) } => {
                write!(f, "{weights} is another model than the record's: its probe distances differ by {moved} of the largest")
            }
            Self::Probes { weights, moved: None } => {
                write!(f, "the record has no probe_distances, by which {weights} would be known")
            }
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// Folder of the datasets and prefix of the tensor names, for all records.
#[derive(Clone, Debug, Default)]
pub(crate) struct VerifyPaths {
    pub(crate) dataset_dir: Option<PathBuf>,
    pub(crate) prefix: Option<String>,
}

/// The job that computes a record again, or the reason why there is none.
///
/// # Errors
/// One line that names the record, when it is not a record of this version.
pub(crate) fn prepare(recorded: Recorded, shelf: &Shelf, around: &VerifyPaths) -> Result<Result<Ready, NotRun>> {
    if recorded.is_of_a_classifier() {
        return Ok(Err(NotRun::Classifier));
    }
    let Record { cell, facts, .. } = recorded.record()?;
    Ok(job(&cell, &facts, &recorded, shelf, around).map(|job| Ready { recorded, cell, job }))
}

fn job(cell: &Cell, facts: &Facts, recorded: &Recorded, shelf: &Shelf, around: &VerifyPaths) -> Result<Job, NotRun> {
    if facts.chosen.is_some() {
        return Err(NotRun::Chosen);
    }
    let weights = |model: &str, place: &str, sha256: &str| {
        if ForeignName::recorded(model, place).is_some_and(|name| !name.is_a_file()) {
            return Ok(place.to_owned());
        }
        match shelf.weights(place, sha256, &recorded.file) {
            Found::Here(path) => Ok(path.to_string_lossy().into_owned()),
            Found::Missing { others_in_place } => Err(NotRun::Weights { place: place.to_owned(), others_in_place }),
        }
    };
    let subject = &cell.subject;
    let own = weights(&subject.model, &subject.weights, &facts.provenance.weights_sha256)?;
    let source =
        |from: &Source| Ok(Source { weights: weights(&from.model, &from.weights, &from.weights_sha256)?, ..from.clone() });
    let from = cell.from.as_ref().map(source).transpose()?;
    let here = Cell { subject: Subject { weights: own, ..cell.subject.clone() }, from, ..cell.clone() };
    let VerifyPaths { dataset_dir, prefix } = around.clone();
    let job = sweep::job(here, dataset_dir, prefix, recorded.name()).map_err(|error| NotRun::Refused(plain(&error)))?;
    let (recorded, computed) = (facts.provenance.method_version, experiment::method_version(&cell.spec));
    match recorded == computed {
        true => Ok(job),
        false => Err(NotRun::Version { recorded, computed }),
    }
}

/// Opens data and weights of a record: the job with the inputs of its new record, or the reason why it cannot run.
///
/// # Errors
/// An interrupt.
pub(crate) fn open(ready: &Ready, opened: &mut Opened) -> Result<Result<Planned, NotRun>> {
    let planned = match opened.planned(ready.job.clone()) {
        Err(error) if stop::is_interrupt(&error) => return Err(error),
        Err(error) => return Ok(Err(NotRun::Refused(plain(&error)))),
        Ok(planned) => planned,
    };
    let (cell, facts) = (&planned.inputs.cell, &planned.inputs.facts);
    let recorded = ready.recorded.columns.get("probe_distances");
    let recorded = recorded.and_then(|distances| serde_json::from_value::<ProbeDistances>(distances.clone()).ok());
    let own = is_another(recorded.as_ref(), facts.provenance.probe_distances.as_ref(), &cell.subject.weights);
    let source = cell.from.as_ref().and_then(|from| {
        let recorded = ready.cell.from.as_ref().and_then(|recorded| recorded.probe_distances.as_ref());
        is_another(recorded, from.probe_distances.as_ref(), &from.weights)
    });
    Ok(own.or(source).map_or(Ok(planned), Err))
}

/// The reason why a model is not the recorded one; `None` if it is, and for one that is known by the hash of its file.
fn is_another(recorded: Option<&ProbeDistances>, here: Option<&ProbeDistances>, weights: &str) -> Option<NotRun> {
    let moved = match (recorded, here) {
        (_, None) => return None,
        (Some(recorded), Some(here)) if recorded.are_of_one_model(here) => return None,
        (Some(recorded), Some(here)) => Some(format!("{:.2e}", recorded.difference(here))),
        (None, Some(_)) => None,
    };
    Some(NotRun::Probes { weights: weights.to_owned(), moved })
}

fn plain(error: &anyhow::Error) -> String {
    rankle_cli::line(error).trim_start_matches("error: ").to_owned()
}

/// Output folder of this build of the program: results of another build prove nothing about this one.
///
/// # Errors
/// When the program's file cannot be read.
pub(crate) fn folder_of_this_build(output: &Path) -> std::io::Result<PathBuf> {
    let hash = crate::files::hash_file(&std::env::current_exe()?)?;
    Ok(output.join(&hash[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_attacks::{AnySearch, Apgd, Pgd};
    use rankle_eval::verify::{choose, differences, read, records_of};
    use rankle_record::Protocol;
    use serde_json::{Map, Value};
    use std::collections::{BTreeMap, HashSet};

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    fn shelf() -> Shelf {
        Shelf::with(Some(&root().join("models"))).unwrap()
    }

    fn prepared(recorded: Recorded, shelf: &Shelf) -> Result<Ready, NotRun> {
        prepare(recorded, shelf, &VerifyPaths::default()).unwrap()
    }

    /// The 160 committed records of the two published tables, each with the duration that `seconds` returns.
    pub(super) fn ready(seconds: impl Fn(&Cell) -> f64) -> Vec<Ready> {
        let shelf = shelf();
        let files = ["mnist-c2f2-cosine-triplet", "mnist-c2f2-cosine-triplet-est"]
            .map(|model| root().join("models").join(model).join("records.jsonl"));
        let read = files.iter().flat_map(|file| read(file).unwrap());
        let timed = read.map(|recorded| {
            let mut ready = prepared(recorded, &shelf).unwrap();
            let seconds = seconds(&ready.cell);
            ready.recorded.columns["seconds"] = seconds.into();
            ready
        });
        timed.collect()
    }

    fn record(ready: &Ready) -> Record {
        serde_json::from_value(Value::Object(ready.recorded.columns.clone())).unwrap()
    }

    #[test]
    fn one_changed_digit_of_one_record_is_a_difference() {
        let ready = ready(|_| 2.0);
        let wanted: Vec<&Ready> = ready.iter().collect();
        let mut records: Vec<Record> = ready.iter().map(record).collect();
        assert!(differences(&wanted, &records).unwrap().is_empty());

        *records[4].rank_after.as_mut().unwrap() += 0.00001;
        records[4].facts.provenance.method_version = 2;
        (records[4].seconds, records[4].facts.verifiable) = (9.0, false);
        records[5].facts.gallery = 9_999;
        let found = differences(&wanted, &records).unwrap();
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        let place = "models/mnist-c2f2-cosine-triplet/records.jsonl line 5: mnist-ct ca+ w=1 ε=0.3: ";
        assert!(said[0].ends_with(&format!("{place}method_version 2 instead of 1")), "{said:?}");
        assert!(said[1].contains(&format!("{place}rank_after ")) && said.len() == 3, "{said:?}");
        assert!(said[2].contains("line 6: ") && said[2].ends_with("gallery 9999 instead of 10000"), "{said:?}");
        assert_eq!(records_of(&found), 2);
    }

    #[test]
    fn what_is_not_run_has_a_reason() {
        let shelf = shelf();
        let whole = read(&root().join("models/mnist-c2f2-cosine-triplet/records.jsonl")).unwrap().remove(0);
        let with = |name: &str, value: Value| {
            let mut columns = whole.columns.clone();
            columns.insert(name.to_owned(), value);
            let recorded = Recorded { file: whole.file.clone(), place: whole.place, columns };
            prepared(recorded, &shelf).map(|_| ()).map_err(|reason| reason.to_string())
        };
        assert_eq!(with("seconds", 1.0.into()), Ok(()));
        // The record of a single run belongs to no table, and may lack loss and defense.
        for unknown in ["table", "loss", "defense"] {
            assert_eq!(with(unknown, Value::Null), Ok(()), "{unknown}");
        }
        for (name, value, reason) in [
            ("accuracy_after", 9.0.into(), "of a classifier, which ranks nothing"),
            ("chosen", "images 7".into(), "images or targets were chosen by hand"),
            ("method_version", 7.into(), "method version 7, this program computes 1"),
            ("protocol", "strict".into(), "method version 1, this program computes 2"),
            (
                "weights_sha256",
                "5f".into(),
                "the weights are missing (models/mnist-c2f2-cosine-triplet/model.safetensors); --weights-dir names a folder to look in",
            ),
            ("model", "transformer".into(), "unknown model 'transformer'; known: "),
            ("dataset", "imagenet".into(), "unknown dataset 'imagenet'"),
            ("epsilon", 8.0.into(), "epsilon 8 is outside [0, 1]"),
            ("images", 0.into(), "images is 0"),
        ] {
            let said = with(name, value).unwrap_err();
            assert!(said.starts_with(reason), "{name}: {said}");
        }
        let broken = Recorded { columns: Map::new(), ..whole };
        let message = prepare(broken, &shelf, &VerifyPaths::default()).err().unwrap().to_string();
        assert!(message.contains("records.jsonl line 1 is not a record of this version"), "{message}");
    }

    /// Committed records run if their models are shipped, and not otherwise. Those that run have the search that their protocol
    /// prescribes, except ablations and universal perturbations, which state another.
    #[test]
    fn the_committed_records_are_sorted() {
        let shelf = shelf();
        let mut runs: BTreeMap<String, usize> = BTreeMap::new();
        let mut reasons: BTreeMap<NotRun, usize> = BTreeMap::new();
        for file in
            walkdir::WalkDir::new(root().join("models")).into_iter().chain(walkdir::WalkDir::new(root().join("xtask/results")))
        {
            let path = file.unwrap().into_path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !(name.starts_with("records") && name.ends_with(".jsonl") || name == "cells.json") {
                continue;
            }
            for recorded in read(&path).unwrap() {
                match prepared(recorded, &shelf) {
                    Ok(Ready { cell, job, .. }) => {
                        let named = (cell.spec.search.step, cell.spec.search.iterations, cell.spec.search.restarts);
                        let universal = cell.spec.universal.is_some();
                        match job.experiment.search {
                            AnySearch::Pgd(pgd) => {
                                let usual = match cell.spec.protocol {
                                    Protocol::Paper => Pgd::paper(pgd.threat),
                                    Protocol::Strict => Pgd::strict(pgd.threat),
                                };
                                let ablation = cell.table.as_deref() == Some("ablations") && pgd.keep == usual.keep;
                                assert!(pgd == usual || ablation || universal, "{cell}");
                                assert_eq!((Some(pgd.step), Some(pgd.iterations), Some(pgd.restarts)), named);
                            }
                            AnySearch::Apgd(apgd) => {
                                assert!(apgd == Apgd::strict(apgd.threat) || universal, "{cell}");
                                assert_eq!((None, Some(apgd.iterations), Some(apgd.restarts)), named);
                            }
                            AnySearch::Square(_) | AnySearch::Standard(_) => {}
                        }
                        *runs.entry(path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()).or_default() += 1;
                    }
                    Err(reason) => *reasons.entry(reason).or_default() += 1,
                }
            }
        }
        let of = |folder: &str| runs.get(folder).copied().unwrap_or_default();
        assert_eq!((of("mnist-c2f2-cosine-triplet"), of("curves"), of("ablations"), of("universal")), (160, 310, 188, 20));
        assert!(of("self-transfer") >= 4 && of("transfer") > 0, "{runs:?}");
        assert!(reasons[&NotRun::Classifier] > 0);
        // Nothing that a clone has weights for is of an older version of the code.
        let expected = |reason: &NotRun| matches!(reason, NotRun::Classifier | NotRun::Weights { .. });
        assert!(reasons.keys().all(expected), "{reasons:?}");
    }

    #[test]
    fn a_sample_is_quick_and_of_every_kind() {
        let ready = ready(|cell| if cell.spec.targets == 10 { 50.0 } else { cell.spec.epsilon + 1.0 });
        let chosen = choose::spread(&ready, 8);
        assert_eq!(chosen.len(), 8);
        assert_eq!(chosen, choose::spread(&ready, 8), "the same each time");
        let of: Vec<_> = chosen.iter().map(|&at| &ready[at].cell).collect();
        assert!(of.iter().all(|cell| cell.spec.epsilon > 0.0 && cell.spec.targets < 10));
        let distinct =
            |value: fn(&&&rankle_record::Cell) -> String| of.iter().map(|cell| value(&cell)).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|cell| cell.table.clone().unwrap()), 2);
        assert_eq!(distinct(|cell| cell.spec.attack.to_string()), 4);
        assert_eq!(distinct(|cell| cell.spec.targets.to_string()), 3);
        assert_eq!(distinct(|cell| cell.spec.epsilon.to_string()), 4);
    }

    #[test]
    fn of_a_protocol_that_is_always_dear_the_quickest_is_taken() {
        let mut ready = ready(|cell| 20.0 + cell.spec.epsilon);
        ready.iter_mut().skip(1).step_by(2).for_each(|ready| ready.cell.spec.protocol = Protocol::Strict);
        let quick: Vec<usize> =
            choose::ranks(&ready).iter().enumerate().filter(|(_, rank)| **rank == 0).map(|(at, _)| at).collect();
        let protocols: HashSet<Protocol> = quick.iter().map(|&at| ready[at].cell.spec.protocol).collect();
        assert!(protocols.len() == 2 && quick.len() < ready.len() / 2, "{quick:?}");
    }

    #[test]
    fn what_is_dear_comes_after_and_what_is_idle_last() {
        let ready = ready(|cell| if cell.spec.targets == 10 { 50.0 } else { 1.0 });
        let all = choose::ranks(&ready);
        let (quick, idle) = (all.iter().filter(|&&rank| rank == 0).count(), all.iter().filter(|&&rank| rank == 2).count());
        let ranks = |count| choose::spread(&ready, count).into_iter().map(|at| all[at]).collect::<HashSet<_>>();
        assert_eq!(ranks(quick), HashSet::from([0]));
        assert_eq!(ranks(quick + 1), HashSet::from([0, 1]));
        assert_eq!(ranks(ready.len() - idle), HashSet::from([0, 1]));
        assert_eq!(choose::spread(&ready, 1000), (0..ready.len()).collect::<Vec<_>>());
        assert!(choose::spread::<Key>(&[], 3).is_empty() && choose::spread(&ready, 0).is_empty());
    }
}
