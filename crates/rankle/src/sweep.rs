//! Attacks of a plan or of records, each computed once, whoever else shares the file of records.

mod book;
mod job;

pub(crate) use book::Book;
pub(crate) use job::Job;

use crate::device::Device;
use crate::experiment::{self, Experiment};
use crate::search::{self, Remedy};
use crate::stop::{self, Stop};
use crate::system::{Key, Ranked, System, TestImages};
use crate::{interrupt, progress, transfer, universal};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use rankle_attacks::{Band, Kind, Protocol, Targets, choosing};
use rankle_report::{Cell, Record};
use std::collections::{HashMap, HashSet, hash_map::Entry};
use std::time::{Duration, Instant};

/// A job with the inputs of its record, which tell whether it is done.
pub(crate) type Inputs = (Job, Cell);

/// Systems that are opened for what records say of them, each once.
pub(crate) struct Opened {
    systems: Vec<System>,
    images: TestImages,
    device: Device,
}

impl Opened {
    /// None yet.
    pub(crate) fn new(device: Device) -> Self {
        Self { systems: Vec::new(), images: TestImages::default(), device }
    }

    /// What the record of a job will say of its inputs.
    ///
    /// # Errors
    /// When data or weights cannot be read, or have no room for what the job asks for.
    pub(crate) fn cell(&mut self, job: &Job) -> Result<Cell> {
        for key in job.keys() {
            if self.systems.iter().all(|system| system.key != *key) {
                let system = System::among(key.clone(), &mut self.images, self.device, ProgressBar::hidden())?;
                system.heed_card();
                self.systems.push(system);
            }
        }
        let system = |key: &Key| self.systems.iter().find(|system| system.key == *key).context("the system was just opened");
        let measured = system(&job.key)?;
        experiment::sample(measured, job.experiment.seed, job.images)?;
        let room = |shared| universal::check_room(job.experiment.protocol, job.images, shared, measured.dataset.len());
        job.universal.map_or(Ok(()), room).map_err(anyhow::Error::msg)?;
        let cell = job.experiment.cell(measured, job.images, job.origin.clone())?;
        let from = job.from.as_ref().map(|key| anyhow::Ok(transfer::source(system(key)?))).transpose()?;
        Ok(Cell { from, universal: job.universal, ..cell })
    }

    /// Closes the systems; the images that were opened for them stay.
    pub(crate) fn close(self) -> TestImages {
        self.images
    }
}

/// Computes what the book does not hold yet; returns the records of all inputs, in their order. `hint` says how an interrupted run
/// goes on, from how many cells are done and how many there are.
///
/// # Errors
/// What stands in the way of a cell, with its name; an interrupt; and when the book says two things of a cell.
pub(crate) fn compute(
    inputs: &[Inputs],
    mut book: Book,
    images: TestImages,
    device: Device,
    hint: impl Fn(usize, usize) -> String,
) -> Result<Vec<Record>> {
    book.check(inputs)?;
    let pending = pending(inputs, &mut book)?;
    tracing::info!("{} of {} cells are to be computed", pending.len(), inputs.len());
    let bar = progress::bar(work(&pending));
    let mut sweep = Run { book: &mut book, device, bar, left: pending.len(), images, sources: Vec::new() };
    let computed = sweep.all(pending).map_err(|error| match stop::is_interrupt(&error) {
        true => Stop::interrupted(hint(inputs.len() - sweep.left, inputs.len())).into(),
        false => error,
    });
    // Whatever ended it: what is done is put in order.
    let finished = book.finish();
    computed.and(finished)?;
    progress::clear();
    book.check(inputs)?;
    inputs.iter().map(|(_, cell)| book.of(cell).cloned()).collect()
}

/// What is not done yet, each cell once, those of one system together.
fn pending<'a>(inputs: &'a [Inputs], book: &mut Book) -> Result<Vec<&'a Inputs>> {
    let mut seen = HashSet::new();
    let mut pending = Vec::new();
    for one @ (_, cell) in inputs {
        if !book.holds(cell)? && seen.insert(cell.identity()) {
            pending.push(one);
        }
    }
    pending.sort_by_key(|(job, _)| inputs.iter().position(|(first, _)| first.key == job.key));
    Ok(pending)
}

/// Warns of searches that cannot do what their radius promises, each once: what holds for a line often holds for many.
pub(crate) fn heed(inputs: &[Inputs]) {
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
    /// Computes what nobody else does, and waits for the rest.
    fn all(&mut self, mut pending: Vec<&Inputs>) -> Result<()> {
        let mut told = false;
        loop {
            pending = self.round(&pending)?;
            if pending.is_empty() {
                return Ok(());
            }
            self.wait(pending.len(), &mut told)?;
        }
    }

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
            if self.book.holds(cell)? {
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
        let (record, image_ranks) = self.measure(measured, from, draws, job, cell, start)?;
        // What cannot be kept is said at least.
        let line = record.to_line()?;
        self.book.append(record, &image_ranks).inspect_err(|_| drop(progress::answer(line)))?;
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

    /// A record, and the ranks that its images have.
    fn measure(
        &self,
        measured: &Ranked,
        from: Option<usize>,
        draws: &mut HashMap<Draw, Drawn>,
        job: &Job,
        cell: &Cell,
        start: Instant,
    ) -> Result<(Record, Vec<f32>)> {
        let Ranked { system, gallery } = measured;
        // A transfer from a system to itself needs no second gallery.
        let source = from.and_then(|at| self.sources.get(at)).unwrap_or(measured);
        let experiment = &job.experiment;
        if let Some(shared) = job.universal {
            let images = experiment::sample(system, experiment.seed, job.images)?;
            let to = job.from.as_ref().map(|_| measured);
            let made = universal::run(experiment, shared, source, to, &images)?;
            let image_ranks = experiment::image_ranks(&universal::seen(&made));
            return Ok((universal::record(system, cell.clone(), &made, start), image_ranks));
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
            let image_ranks = experiment::image_ranks(&outcome.victim);
            return Ok((transfer::record(system, cell.clone(), &outcome, start), image_ranks));
        }
        let outcome = experiment.run(system, gallery, images, targets, false)?;
        Ok((experiment::record(system, cell.clone(), &outcome, start), experiment::image_ranks(&outcome)))
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
