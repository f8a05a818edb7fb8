//! `rankle verify`: comparison of records with what this program computes.

use crate::arguments::{self, TensorNames};
use crate::device::Device;
use crate::files::{self, Input};
use crate::names::{self, Format};
use crate::progress;
use crate::stop::Stop;
use crate::sweep::{Opened, Planned};
use crate::verify::{self, NotRun, Ready, Shelf, VerifyPaths};
use anyhow::{Context, Result, bail};
use clap::Args;
use rankle_eval::plan::Book;
use rankle_eval::verify::{Difference, choose, differences, read, records_of};
use rankle_report::{FolderLock, ImageRanks};
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;

/// Check published results: compute records again, and compare them column by column.
///
/// A record holds the inputs and results of one attack. It is run with the recorded search, on the weights with the recorded
/// SHA-256, which are looked for at the recorded path, beside the file of records, and in --weights-dir. Records that cannot be
/// run are counted, with the reason.
///
/// On the instruction set and device of the record all columns must be equal to the last bit, except the seconds, the version of
/// the code, the paths of the weights and notes on the record (`verifiable`, `gradient_error`, `caveat`). On others the inputs must
/// be equal too; mean ranks may differ by 0.5, embedding shifts by 0.02, recalls by 1, shares by 2, standard errors by 0.1. The exit
/// code is 1 if a record disagrees, or if none could be run.
///
/// A record of an ONNX file (`onnx`) is run with its options; the file is found as weights are. A record of a program (`exec`) is run
/// with --allow-exec only, by the command that it names. A program, and an ONNX file with numbers in other files beside it, is the
/// recorded model if the distances of its probe images are, within 1e-4 of the largest; its numbers are compared as those of
/// another machine.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// Files of records: one JSON object a line, or an array of objects
    #[arg(value_name = "RECORDS", required = true)]
    records: Vec<PathBuf>,
    /// Compute only N records, spread over attacks, models and files, those that took more than five seconds last; FILE=N
    /// computes only N records of one of the files
    #[arg(long, value_name = "[FILE=]N", value_parser = Sample::from_str)]
    sample: Vec<Sample>,
    /// Folder in which weights are looked for as well, with all folders below
    #[arg(long, value_name = "FOLDER")]
    weights_dir: Option<PathBuf>,
    /// Folder with the files of published datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    #[command(flatten)]
    names: TensorNames,
    /// Folder for the computed records, so that the same command goes on after an interrupt, and for differences.jsonl with all
    /// differences. Records that another build of the program computed are computed again
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Print lines, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  rankle verify models/mnist-c2f2-cosine-triplet/records.jsonl --sample 8
  rankle verify records.jsonl --weights-dir downloads --output verified";

/// Value of `--sample`: the number of records to compute, of one file or of all (`None`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sample {
    file: Option<PathBuf>,
    count: NonZero<usize>,
}

impl FromStr for Sample {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (file, count) = text.rsplit_once('=').map_or((None, text), |(file, count)| (Some(file), count));
        Ok(Self { file: file.map(PathBuf::from), count: arguments::count(count)? })
    }
}

/// The JSON object: numbers of records and all differences.
#[derive(Serialize)]
struct Answer {
    /// Number of records in the files.
    records: usize,
    computed: usize,
    agree: usize,
    /// Number of agreeing records that were recorded on another kind of machine, and so are equal within the tolerance only.
    agree_nearly: usize,
    disagree: usize,
    not_run: Vec<NotRunCount>,
    differences: Vec<Difference>,
}

/// Number of records that are not run for one reason.
#[derive(Serialize)]
struct NotRunCount {
    records: usize,
    reason: String,
}

/// Number of differences printed if a file has all of them.
const SHOWN: usize = 20;

/// File name of the list of all differences.
const DIFFERENCES: &str = "differences.jsonl";

/// The records of all files, sorted into those that can be run and those that cannot.
struct Sorted {
    records: usize,
    /// Records that can be run; `planned` has the cell of each.
    ready: Vec<Ready>,
    planned: Vec<Planned>,
    not_run: BTreeMap<NotRun, usize>,
}

impl Verify {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        self.check_samples()?;
        let shelf = Shelf::with(self.weights_dir.as_deref())?;
        let mut opened = Opened::new(device);
        let Sorted { records, ready, planned, not_run } = self.sorted(&shelf, &mut opened)?;
        let wanted: Vec<usize> = match self.sample.iter().find(|sample| sample.file.is_none()) {
            Some(sample) => choose::spread(&ready, sample.count.get()),
            None => (0..ready.len()).collect(),
        };
        let planned: Vec<Planned> = wanted.iter().map(|&at| planned[at].clone()).collect();
        let wanted: Vec<&Ready> = wanted.iter().map(|&at| &ready[at]).collect();
        let found = match wanted.is_empty() {
            true => Vec::new(),
            false => self.differences(&wanted, &planned, opened)?,
        };
        let disagree = records_of(&found);
        let (computed, agree) = (wanted.len(), wanted.len() - disagree);
        let disagrees = |one: &Ready| found.iter().any(|difference| difference.is_in(&one.recorded));
        let nearly = |(one, planned): &(&&Ready, &Planned)| one.is_of_another_machine(&planned.inputs) && !disagrees(one);
        let agree_nearly = wanted.iter().zip(&planned).filter(nearly).count();
        let not_run = not_run.into_iter().map(|(reason, records)| NotRunCount { records, reason: reason.to_string() }).collect();
        let answer = Answer { records, computed, agree, agree_nearly, disagree, not_run, differences: found };
        self.tell(&answer)?;
        self.verdict(&answer)
    }

    /// Checks that every `--sample` names one of the files, and no file twice.
    fn check_samples(&self) -> Result<(), Stop> {
        for (at, Sample { file, .. }) in self.sample.iter().enumerate() {
            if let Some(file) = file.as_ref().filter(|file| !self.records.contains(file)) {
                return Err(Stop::usage(format!("--sample {}=N: no file of this name is to be verified", file.display())));
            }
            if self.sample[..at].iter().any(|other| other.file == *file) {
                return Err(Stop::usage("--sample is said twice of the same records: say it once"));
            }
        }
        Ok(())
    }

    /// Reads the files, and opens the data and models that their records need.
    fn sorted(&self, shelf: &Shelf, opened: &mut Opened) -> Result<Sorted> {
        let around = VerifyPaths { dataset_dir: self.dataset_dir.clone(), prefix: self.names.strip_prefix.clone() };
        let mut sorted = Sorted { records: 0, ready: Vec::new(), planned: Vec::new(), not_run: BTreeMap::new() };
        for (at, file) in self.records.iter().enumerate() {
            if self.records[..at].contains(file) {
                continue;
            }
            // A file of image ranks may be missing, but not wrong.
            if ImageRanks::path(file).exists() {
                ImageRanks::read(file)?;
            }
            let (mut ready, mut planned) = (Vec::new(), Vec::new());
            for recorded in read(file)? {
                sorted.records += 1;
                let opened = match verify::prepare(recorded, shelf, &around)? {
                    Ok(one) => verify::open(&one, opened)?.map(|opened| (one, opened)),
                    Err(reason) => Err(reason),
                };
                match opened {
                    Ok((one, opened)) => {
                        ready.push(one);
                        planned.push(opened);
                    }
                    Err(reason) => *sorted.not_run.entry(reason).or_default() += 1,
                }
            }
            let sample = self.sample.iter().find(|sample| sample.file.as_ref() == Some(file));
            let chosen = sample.map(|sample| choose::spread(&ready, sample.count.get()));
            let is_chosen = |at: usize| chosen.as_ref().is_none_or(|chosen| chosen.contains(&at));
            for (_, (one, opened)) in ready.into_iter().zip(planned).enumerate().filter(|&(at, _)| is_chosen(at)) {
                sorted.ready.push(one);
                sorted.planned.push(opened);
            }
        }
        Ok(sorted)
    }

    /// Computes the records that are not computed yet, and compares all of them.
    fn differences(&self, wanted: &[&Ready], planned: &[Planned], opened: Opened) -> Result<Vec<Difference>> {
        let Some(output) = &self.output else {
            let folder = tempfile::tempdir().context("no temporary folder can be made")?;
            let book = Book::open(&folder.path().join("records.jsonl"))?;
            let hint = |done, all| format!("{done} of {all} records were computed; with --output FOLDER they would be kept");
            return Ok(differences(wanted, &opened.compute(planned, book, hint)?)?);
        };
        let _lock = FolderLock::acquire(output, "rankle verify")?;
        let folder = verify::folder_of_this_build(output).context("this program cannot be read")?;
        let (records, differing) = (folder.join("records.jsonl"), output.join(DIFFERENCES));
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let read: Vec<Input> = self.records.iter().map(|file| Input::new("RECORDS", file)).collect();
        files::check_outputs(&[("--output", Some(&records)), ("--output", Some(&differing))], &read)?;
        let book = Book::open(&records)?;
        let hint = |done, all| format!("{done} of {all} records are computed, the same command goes on with the rest");
        let found = differences(wanted, &opened.compute(planned, book, hint)?)?;
        files::write(&differing, found.iter().map(|difference| difference.to_line() + "\n").collect::<String>())?;
        Ok(found)
    }

    fn tell(&self, answer: &Answer) -> Result<()> {
        if self.format == Format::Json {
            return progress::answer(serde_json::to_string(answer)?);
        }
        let shown = if self.output.is_some() { SHOWN } else { usize::MAX };
        answer.differences.iter().take(shown).try_for_each(progress::answer)?;
        if answer.differences.len() > shown {
            progress::answer(format_args!("… and {} more", answer.differences.len() - shown))?;
        }
        for NotRunCount { records, reason } in &answer.not_run {
            progress::answer(format_args!("{} not run: {}", counted(*records), rankle_cli::one_line(reason)))?;
        }
        let lacking: usize = answer.not_run.iter().map(|lacking| lacking.records).sum();
        let nearly = match answer.agree_nearly {
            0 => String::new(),
            nearly => format!(" ({nearly} of another device or instruction set, within its tolerance)"),
        };
        progress::answer(format_args!("{} agree{nearly}, {} disagree, {lacking} not run", answer.agree, answer.disagree))
    }

    fn verdict(&self, answer: &Answer) -> Result<()> {
        let Answer { records, computed, disagree, differences, .. } = answer;
        if *records == 0 {
            bail!("there is no record in what was named: nothing was verified");
        }
        if *computed == 0 {
            bail!("no record could be run: standard output says why");
        }
        if *disagree > 0 {
            let place =
                self.output.as_deref().map_or(String::new(), |output| format!(": see {}", output.join(DIFFERENCES).display()));
            bail!("{disagree} of {} disagree, in {} columns{place}", counted(*computed), differences.len());
        }
        Ok(())
    }
}

fn counted(records: usize) -> String {
    if records == 1 { "1 record".to_owned() } else { format!("{records} records") }
}
