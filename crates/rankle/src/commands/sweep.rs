//! `rankle sweep`: many attacks, each computed once.

mod book;
mod job;

use crate::arguments::TensorNames;
use crate::device::Device;
use crate::experiment::{self, Experiment};
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
use rankle_attacks::{Band, Kind, Protocol, Targets, choosing};
use rankle_report::{Cell, Planned, Record};
use std::collections::{HashMap, HashSet, hash_map::Entry};
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
type Inputs = (Job, Cell);

impl Sweep {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let dataset_dir = |_: &str| self.dataset_dir.clone();
        let (plan, prefix) = (Planned::read(&self.plan)?, self.names.strip_prefix.clone());
        let cells = Cells { plan, file: &self.plan, records: &self.records, dataset_dir: &dataset_dir, prefix };
        cells.compute(device)?.iter().try_for_each(|record| progress::answer(record.to_line()?))
    }
}

/// Cells to compute.
pub(crate) struct Cells<'a> {
    pub(crate) plan: Vec<Planned>,
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
pub(crate) fn check(planned: Planned) -> Result<()> {
    Job::new(planned, None, None, String::new()).map(drop)
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
        let inputs = cells(jobs, &mut images, device)?;
        heed(&inputs);
        book.check(&inputs)?;
        let mut pending = pending(&inputs, &book);
        tracing::info!("{} of {} cells are to be computed", pending.len(), inputs.len());
        let bar = progress::bar(work(&pending));
        let mut sweep = Run { book: &mut book, device, bar, left: pending.len(), images, sources: Vec::new() };
        let mut told = false;
        loop {
            pending = sweep.round(&pending).map_err(|error| self.hint(error, sweep.left, inputs.len()))?;
            if pending.is_empty() {
                break;
            }
            sweep.wait(pending.len(), &mut told).map_err(|error| self.hint(error, sweep.left, inputs.len()))?;
        }
        progress::clear();
        book.check(&inputs)?;
        inputs.iter().map(|(_, cell)| book.of(cell).cloned()).collect()
    }

    /// The plan, checked line by line.
    fn jobs(&self) -> Result<Vec<Job>> {
        if self.plan.is_empty() {
            bail!("{} holds no cell: write one JSON object a line", self.file.display());
        }
        let job = |(at, planned): (usize, &Planned)| {
            let place = format!("{} line {}", self.file.display(), at + 1);
            let dataset_dir = (self.dataset_dir)(&planned.dataset);
            Job::new(planned.clone(), dataset_dir, self.prefix.clone(), place.clone()).context(place)
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

/// What the records of the jobs will say of their inputs. Systems are opened for that, and closed again.
fn cells(jobs: Vec<Job>, images: &mut TestImages, device: Device) -> Result<Vec<Inputs>> {
    let mut opened: Vec<System> = Vec::new();
    let mut inputs = Vec::with_capacity(jobs.len());
    for job in jobs {
        for key in job.keys() {
            if opened.iter().all(|system| system.key != *key) {
                let system = System::among(key.clone(), images, device, ProgressBar::hidden());
                let system = system.with_context(|| job.place.clone())?;
                system.heed_card();
                opened.push(system);
            }
        }
        let system = |key: &Key| opened.iter().find(|system| system.key == *key).context("the system was just opened");
        let measured = system(&job.key)?;
        experiment::sample(measured, job.experiment.seed, job.images).with_context(|| job.place.clone())?;
        let room = |shared| universal::check_room(job.experiment.protocol, job.images, shared, measured.dataset.len());
        job.universal.map_or(Ok(()), room).map_err(anyhow::Error::msg).with_context(|| job.place.clone())?;
        let cell = job.experiment.cell(measured, job.images, job.origin.clone())?;
        let from = job.from.as_ref().map(|key| anyhow::Ok(transfer::source(system(key)?))).transpose()?;
        let cell = Cell { from, universal: job.universal, ..cell };
        inputs.push((job, cell));
    }
    Ok(inputs)
}

/// What is not done yet, each cell once, those of one system together.
fn pending<'a>(inputs: &'a [Inputs], book: &Book) -> Vec<&'a Inputs> {
    let mut seen = HashSet::new();
    let new = |(_, cell): &&Inputs| !book.holds(cell) && seen.insert(cell.identity());
    let mut pending: Vec<&Inputs> = inputs.iter().filter(new).collect();
    pending.sort_by_key(|(job, _)| inputs.iter().position(|(first, _)| first.key == job.key));
    pending
}

/// Warns of searches that cannot do what their radius promises, each once: what holds for a line often holds for many.
fn heed(inputs: &[Inputs]) {
    let mut told = HashSet::new();
    for (Job { experiment, search, universal, place, .. }, _) in inputs {
        // A plan cannot change the search of a universal perturbation.
        let remedy = if universal.is_some() { Remedy::Radius } else { Remedy::Fields };
        if let Some(warning) = search::warning(&experiment.search, *search, remedy)
            && told.insert(warning.clone())
        {
            tracing::warn!("{place}: {warning}");
        }
    }
}

/// The length of the bar: every attack, and the gallery of every system.
fn work(pending: &[&Inputs]) -> u64 {
    let attacks = pending.iter().map(|(job, _)| job.cost());
    let galleries = pending.chunk_by(|a, b| a.0.key == b.0.key).map(|group| group[0].1.gallery as u64);
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

/// What the targets of an attack depend on, besides the system: neither epsilon nor the search, but the source of a transfer.
type Draw = (Kind, usize, Band, Protocol, u64, usize, Option<usize>);
/// The images and their targets.
type Drawn = (Vec<usize>, Targets);

impl Run<'_> {
    /// Computes what nobody else does; returns the rest.
    fn round<'a>(&mut self, pending: &[&'a Inputs]) -> Result<Vec<&'a Inputs>> {
        let mut others = Vec::new();
        for group in pending.chunk_by(|a, b| a.0.key == b.0.key) {
            self.group(group, &mut others)?;
        }
        Ok(others)
    }

    /// The jobs of one system: the gallery is embedded once, and targets are drawn once for all radii.
    fn group<'a>(&mut self, group: &[&'a Inputs], others: &mut Vec<&'a Inputs>) -> Result<()> {
        let (Job { key, .. }, Cell { weights_sha256, .. }) = group[0];
        let mut opened = None;
        let mut draws: HashMap<Draw, (Vec<usize>, Targets)> = HashMap::new();
        for &inputs in group {
            let (job, cell) = inputs;
            let Some(_claim) = self.book.claim(cell)? else {
                others.push(inputs);
                continue;
            };
            if self.book.holds(cell) {
                self.count(job);
                continue;
            }
            let measured = match &mut opened {
                Some(measured) => measured,
                none => {
                    self.bar.set_message(format!("gallery of {}", key.weights.display()));
                    none.insert(self.open(key, weights_sha256, self.bar.clone())?)
                }
            };
            self.job(measured, &mut draws, job, cell).with_context(|| cell.to_string())?;
        }
        Ok(())
    }

    fn job(&mut self, measured: &Ranked, draws: &mut HashMap<Draw, Drawn>, job: &Job, cell: &Cell) -> Result<()> {
        self.bar.set_message(cell.to_string());
        let from = job.from.as_ref().zip(cell.from.as_ref()).filter(|(key, _)| **key != job.key);
        let from = from.map(|(key, source)| self.source(key, &source.weights_sha256)).transpose()?;
        let (start, before) = (Instant::now(), self.bar.position());
        let record = self.record(measured, from, draws, job, cell, start)?;
        // What cannot be kept is said at least.
        let line = record.to_line()?;
        self.book.append(record).inspect_err(|_| drop(progress::answer(line)))?;
        self.bar.set_position(before);
        self.count(job);
        self.tell(self.book.of(cell)?);
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
        draws: &mut HashMap<Draw, Drawn>,
        job: &Job,
        cell: &Cell,
        start: Instant,
    ) -> Result<Record> {
        let Ranked { system, gallery } = measured;
        // A transfer from a system to itself needs no second gallery.
        let source = from.and_then(|at| self.sources.get(at)).unwrap_or(measured);
        let experiment = &job.experiment;
        if let Some(shared) = job.universal {
            let images = experiment::sample(system, experiment.seed, job.images)?;
            let to = job.from.as_ref().map(|_| measured);
            let made = universal::run(experiment, shared, source, to, &images)?;
            return Ok(universal::record(system, cell.clone(), &made, start));
        }
        let Experiment { kind, set, variant, protocol, seed, .. } = *experiment;
        let key = (kind, set, variant.band, protocol, seed.0, job.images, from);
        let (images, targets) = match draws.entry(key) {
            Entry::Occupied(drawn) => drawn.into_mut(),
            Entry::Vacant(new) => {
                let images = experiment::sample(system, experiment.seed, job.images)?;
                let gallery = choosing(experiment.kind, &source.gallery, gallery);
                let targets = experiment.attack().choose(&images, gallery, experiment.protocol, experiment.seed)?;
                new.insert((images, targets))
            }
        };
        if job.from.is_some() {
            let outcome = transfer::run(experiment, source, measured, images, targets)?;
            return Ok(transfer::record(system, cell.clone(), &outcome, start));
        }
        let outcome = experiment.run(system, gallery, images, targets, false)?;
        Ok(experiment::record(system, cell.clone(), &outcome, start))
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
