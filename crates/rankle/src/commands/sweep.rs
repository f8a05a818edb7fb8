//! `rankle sweep`: many attacks, each computed once.

mod book;
mod job;

use crate::arguments::TensorNames;
use crate::device::Device;
use crate::experiment::{self, Inputs};
use crate::files::Input;
use crate::search::{self, Remedy};
use crate::stop::Stop;
use crate::system::{Key, Ranked, System, TestImages};
use crate::{files, interrupt, progress, transfer, universal};
use anyhow::{Context, Result, bail};
use book::Book;
use clap::Args;
use indicatif::ProgressBar;
use job::Job;
use rankle_attacks::{Targets, choosing};
use rankle_record::{AttackOptions, AttackSpec, Cell, Record, Search};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Run every attack of a plan that the file of records does not hold yet.
///
/// The plan has one JSON object a line: table, dataset, model, weights, distance, loss, defense, attack, targets, epsilon,
/// protocol, eight_bit, images, seed; for ablations also objective, target_band, xi, step, iterations, random_start and
/// restarts, for a transfer from, for universal
/// perturbations universal. Each finished attack is appended to the records at once, so an interrupted or killed sweep
/// goes on where it was. Any number of sweeps may share one file, on several machines too: each takes what nobody has and
/// nobody computes (elsewhere than on Linux, one computes at a time). On standard output: the records of the plan, one JSON object a line, in its order.
#[derive(Args)]
#[command(after_help = "Example:\n  rankle sweep --plan plan.jsonl --records records.jsonl")]
pub(crate) struct Sweep {
    /// What to compute
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Where records are looked for and appended
    #[arg(long, value_name = "FILE")]
    records: PathBuf,
    /// The folder with the files of the datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    #[command(flatten)]
    names: TensorNames,
}

/// A job with the inputs of its record, which tell whether it is done.
struct Planned {
    job: Job,
    inputs: Inputs,
}

impl Sweep {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let dataset_dir = |_: &str| self.dataset_dir.clone();
        let (plan, prefix) = (Cell::read_plan(&self.plan)?, self.names.strip_prefix.clone());
        let cells = Cells { plan, file: &self.plan, records: &self.records, dataset_dir: &dataset_dir, prefix };
        cells.compute(device)?.iter().try_for_each(|record| progress::answer(record.to_line()?))
    }
}

/// Cells to compute.
pub(crate) struct Cells<'a> {
    pub(crate) plan: Vec<Cell>,
    /// The file that the plan stands in.
    pub(crate) file: &'a Path,
    /// The file with the records.
    pub(crate) records: &'a Path,
    /// Answers the folder with the files of a dataset, where it is not the usual one.
    pub(crate) dataset_dir: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// In front of the names of tensors.
    pub(crate) prefix: Option<String>,
}

/// Whether the words and numbers of a cell can be computed, as far as they alone tell.
///
/// # Errors
/// One line for a name that is not known and for a number out of range.
pub(crate) fn check(cell: Cell) -> Result<()> {
    Job::new(cell, None, None, String::new()).map(drop)
}

impl Cells<'_> {
    /// Computes what the file of records does not hold yet; returns the records of the plan, in its order.
    ///
    /// # Errors
    /// One line for a wrong cell, for data and weights that cannot be read, and for records that contradict one another; an
    /// interrupt.
    pub(crate) fn compute(self, device: Device) -> Result<Vec<Record>> {
        let jobs = self.jobs()?;
        let read = jobs.iter().flat_map(|job| job.keys().flat_map(Key::inputs));
        let inputs: Vec<Input> = read.chain([Input::new("--plan", self.file)]).collect();
        files::check_outputs(&[("--records", Some(self.records))], &inputs)?;
        let mut book = Book::open(self.records)?;
        let mut images = TestImages::default();
        let planned = opened(jobs, &mut images, device)?;
        heed(&planned);
        book.check(&planned)?;
        let mut pending = pending(&planned, &book);
        tracing::info!("{} of {} cells are to be computed", pending.len(), planned.len());
        let bar = progress::bar(work(&pending));
        let mut sweep = Run { book: &mut book, device, bar, left: pending.len(), images, sources: Vec::new() };
        let mut told = false;
        loop {
            pending = sweep.round(&pending).map_err(|error| self.hint(error, sweep.left, planned.len()))?;
            if pending.is_empty() {
                break;
            }
            sweep.wait(pending.len(), &mut told).map_err(|error| self.hint(error, sweep.left, planned.len()))?;
        }
        progress::clear();
        book.check(&planned)?;
        planned.iter().map(|Planned { inputs, .. }| book.of(inputs).cloned()).collect()
    }

    /// The plan, checked line by line.
    fn jobs(&self) -> Result<Vec<Job>> {
        if self.plan.is_empty() {
            bail!("{} holds no cell: write one JSON object a line", self.file.display());
        }
        let job = |(at, cell): (usize, &Cell)| {
            let place = format!("{} line {}", self.file.display(), at + 1);
            let dataset_dir = (self.dataset_dir)(&cell.subject.dataset);
            Job::new(cell.clone(), dataset_dir, self.prefix.clone(), place.clone()).context(place)
        };
        self.plan.iter().enumerate().map(job).collect()
    }

    fn hint(&self, error: anyhow::Error, left: usize, all: usize) -> anyhow::Error {
        if !crate::stop::is_interrupt(&error) {
            return error;
        }
        let records = self.records.display();
        Stop::interrupted(format!("{} of {all} cells are in {records}, the same command goes on with the rest", all - left))
            .into()
    }
}

/// The jobs with what their records will say of their inputs. Systems are opened for that, and closed again.
fn opened(jobs: Vec<Job>, images: &mut TestImages, device: Device) -> Result<Vec<Planned>> {
    let mut systems: Vec<System> = Vec::new();
    let mut planned = Vec::with_capacity(jobs.len());
    for job in jobs {
        for key in job.keys() {
            if systems.iter().all(|system| system.key != *key) {
                let system = System::among(key.clone(), images, device, ProgressBar::hidden());
                let system = system.with_context(|| job.place.clone())?;
                system.heed_card();
                systems.push(system);
            }
        }
        let system = |key: &Key| systems.iter().find(|system| system.key == *key).context("the system was just opened");
        let (measured, count) = (system(&job.key)?, job.cell.images);
        experiment::sample(measured, job.experiment.seed(), count).with_context(|| job.place.clone())?;
        let AttackSpec { protocol, universal, .. } = job.experiment.spec;
        let room = |shared| universal::check_room(protocol, count, shared, measured.dataset.len());
        universal.map_or(Ok(()), room).map_err(anyhow::Error::msg).with_context(|| job.place.clone())?;
        let mut inputs = job.experiment.inputs(measured, count, job.origin());
        inputs.cell.from = job.from.as_ref().map(|key| anyhow::Ok(transfer::source(system(key)?))).transpose()?;
        planned.push(Planned { job, inputs });
    }
    Ok(planned)
}

/// What is not done yet, each cell once, those of one system together.
fn pending<'a>(planned: &'a [Planned], book: &Book) -> Vec<&'a Planned> {
    let mut seen = HashSet::new();
    let new = |Planned { inputs, .. }: &&Planned| !book.holds(inputs) && seen.insert(inputs.identity());
    let mut pending: Vec<&Planned> = planned.iter().filter(new).collect();
    pending.sort_by_key(|this| planned.iter().position(|first| first.job.key == this.job.key));
    pending
}

/// Warns of searches that cannot do what their radius promises, each once: what holds for a line often holds for many.
fn heed(planned: &[Planned]) {
    let mut told = HashSet::new();
    for Planned { job: Job { cell, experiment, place, .. }, .. } in planned {
        if let Some(warning) = search::warning(&experiment.search, cell.spec.search, Remedy::Fields)
            && told.insert(warning.clone())
        {
            tracing::warn!("{place}: {warning}");
        }
    }
}

/// The length of the bar: every attack, and the gallery of every system.
fn work(pending: &[&Planned]) -> u64 {
    let attacks = pending.iter().map(|planned| planned.job.cost());
    let galleries = pending.chunk_by(|a, b| a.job.key == b.job.key).map(|group| group[0].inputs.facts.gallery as u64);
    attacks.chain(galleries).fold(0, u64::saturating_add)
}

/// A sweep on its way.
struct Run<'a> {
    book: &'a mut Book,
    device: Device,
    bar: ProgressBar,
    /// How many cells are not done yet.
    left: usize,
    images: TestImages,
    /// The systems against which images are perturbed that are measured elsewhere.
    sources: Vec<Ranked>,
}

/// Images with their targets, and what both depend on besides the system.
struct Draw {
    by: (AttackSpec, usize, Option<usize>),
    images: Vec<usize>,
    targets: Targets,
}

/// What of a spec decides on the targets: neither epsilon nor the search.
fn drawn_by(spec: &AttackSpec) -> AttackSpec {
    let options = AttackOptions { target_band: spec.options.target_band, ..AttackOptions::default() };
    AttackSpec { epsilon: 0.0, search: Search::default(), options, eight_bit: false, ..*spec }
}

impl Run<'_> {
    /// Computes what nobody else does; returns the rest.
    fn round<'a>(&mut self, pending: &[&'a Planned]) -> Result<Vec<&'a Planned>> {
        let mut others = Vec::new();
        for group in pending.chunk_by(|a, b| a.job.key == b.job.key) {
            self.group(group, &mut others)?;
        }
        Ok(others)
    }

    /// The jobs of one system: the gallery is embedded once, and targets are drawn once for all radii.
    fn group<'a>(&mut self, group: &[&'a Planned], others: &mut Vec<&'a Planned>) -> Result<()> {
        let Planned { job: Job { key, .. }, inputs } = group[0];
        let sha256 = &inputs.facts.provenance.weights_sha256;
        let mut opened = None;
        let mut draws = Vec::new();
        for &planned in group {
            let Planned { job, inputs } = planned;
            let Some(_claim) = self.book.claim(inputs)? else {
                others.push(planned);
                continue;
            };
            if self.book.holds(inputs) {
                self.count(job);
                continue;
            }
            let measured = match &mut opened {
                Some(measured) => measured,
                none => {
                    self.bar.set_message(format!("gallery of {}", key.weights.display()));
                    none.insert(self.open(key, sha256, self.bar.clone())?)
                }
            };
            self.job(measured, &mut draws, planned).with_context(|| inputs.cell.to_string())?;
        }
        Ok(())
    }

    fn job(&mut self, measured: &Ranked, draws: &mut Vec<Draw>, planned: &Planned) -> Result<()> {
        let Planned { job, inputs } = planned;
        self.bar.set_message(inputs.cell.to_string());
        let from = job.from.as_ref().zip(inputs.cell.from.as_ref()).filter(|(key, _)| **key != job.key);
        let from = from.map(|(key, source)| self.source(key, &source.weights_sha256)).transpose()?;
        let (start, before) = (Instant::now(), self.bar.position());
        let record = self.record(measured, from, draws, planned, start)?;
        // What cannot be kept is said at least.
        let line = record.to_line()?;
        self.book.append(record).inspect_err(|_| drop(progress::answer(line)))?;
        self.bar.set_position(before);
        self.count(job);
        self.tell(self.book.of(inputs)?);
        Ok(())
    }

    /// One cell less.
    fn count(&mut self, job: &Job) {
        self.bar.inc(job.cost());
        self.left -= 1;
    }

    /// Waits a moment for other processes, which have so many cells; this is told once.
    fn wait(&self, others: usize, told: &mut bool) -> Result<()> {
        if !std::mem::replace(told, true) {
            self.bar.set_message(format!("{others} cells of other processes"));
            tracing::info!("waiting for {others} cells, which other processes compute");
        }
        interrupt::sleep(Duration::from_secs(1))
    }

    /// The place of a source among those that stay open; every one is embedded once.
    fn source(&mut self, key: &Key, sha256: &str) -> Result<usize> {
        if let Some(at) = self.sources.iter().position(|ranked| ranked.system.key == *key) {
            return Ok(at);
        }
        let ranked = self.open(key, sha256, ProgressBar::hidden())?;
        self.sources.push(ranked);
        Ok(self.sources.len() - 1)
    }

    /// Opens a system of the plan again, with the weights that its records name, and embeds its list.
    fn open(&mut self, key: &Key, sha256: &str, bar: ProgressBar) -> Result<Ranked> {
        Ranked::new(System::again(key.clone(), sha256, &mut self.images, self.device, bar)?)
    }

    fn record(
        &self,
        measured: &Ranked,
        from: Option<usize>,
        draws: &mut Vec<Draw>,
        planned: &Planned,
        start: Instant,
    ) -> Result<Record> {
        let Ranked { system, gallery } = measured;
        let (Planned { job, inputs }, inputs_of_record) = (planned, planned.inputs.clone());
        // A transfer from a system to itself needs no second gallery.
        let source = from.and_then(|at| self.sources.get(at)).unwrap_or(measured);
        let (experiment, count) = (&job.experiment, inputs.cell.images);
        if let Some(shared) = experiment.spec.universal {
            let images = experiment::sample(system, experiment.seed(), count)?;
            let to = job.from.as_ref().map(|_| measured);
            let made = universal::run(experiment, shared, source, to, &images)?;
            return Ok(universal::record(system, inputs_of_record, &made, start));
        }
        let by = (drawn_by(&experiment.spec), count, from);
        let known = draws.iter().position(|draw| draw.by == by);
        let at = match known {
            Some(at) => at,
            None => {
                let images = experiment::sample(system, experiment.seed(), count)?;
                let gallery = choosing(experiment.spec.attack, &source.gallery, gallery);
                let targets = experiment.choose(&images, gallery)?;
                draws.push(Draw { by, images, targets });
                draws.len() - 1
            }
        };
        let Draw { images, targets, .. } = &draws[at];
        if job.from.is_some() {
            let outcome = transfer::run(experiment, source, measured, images, targets)?;
            return Ok(transfer::record(system, inputs_of_record, &outcome, start));
        }
        let outcome = experiment.run(system, gallery, images, targets, false)?;
        Ok(experiment::record(system, inputs_of_record, &outcome, start))
    }

    /// One line, where no bar is seen.
    fn tell(&self, record: &Record) {
        if progress::visible() {
            return;
        }
        let rank = record.rank_after.map_or(String::new(), |rank| format!(" rank {rank:.2} %,"));
        let left = self.bar.eta().as_secs();
        tracing::info!("{}:{rank} {:.1} s; {} cells and about {left} s left", record.cell, record.seconds, self.left);
    }
}
