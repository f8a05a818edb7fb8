//! Computes the cells of a plan or of records, each once, also when processes share the file of records.

mod book;
mod job;

pub use book::Book;
pub use job::Job;

use crate::error::{Error, Result, invalid};
use crate::{Experiment, Inputs, Monitor, RankedSubject, Subject, experiment, transfer, universal};
use rankle_attacks::{Targets, target_gallery};
use rankle_record::{AttackId, AttackOptions, AttackSpec, Norm, Record, Search};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A job with the inputs of its record, which identify it in the file of records.
#[derive(Clone)]
pub struct Planned<K> {
    /// The line of the plan.
    pub job: Job<K>,
    /// The inputs of its record.
    pub inputs: Inputs,
}

impl<K> Planned<K> {
    /// Joins a job with its open subjects: the measured one and, in a transfer, the source that images are perturbed against.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the measured subject has too few images or items for the job.
    pub fn new(job: Job<K>, measured: &Subject, from: Option<&Subject>) -> Result<Self> {
        let (count, role) = (job.cell.images, job.experiment.perturbs());
        measured.sample(role, job.experiment.seed(), count)?;
        let AttackSpec { universal, targets, .. } = job.experiment.spec;
        let available = measured.dataset(role.other()).len();
        if targets > available {
            return invalid(format!("targets is {targets}: there are {available} items to choose from"));
        }
        universal.map_or(Ok(()), |_| universal::check_room(&job.experiment, count, measured))?;
        let mut inputs = job.experiment.inputs(measured, count, job.origin());
        inputs.cell.from = from.map(transfer::source);
        Ok(Self { job, inputs })
    }
}

/// Opens the subjects of a plan.
pub trait Shelf<K> {
    /// Opens the subject of a key with the weights of this hash: a record has the hash of the weights as they were first opened.
    ///
    /// # Errors
    /// [`Error::Opening`] when the subject cannot be opened, or its weights have changed.
    fn open(&mut self, key: &K, sha256: &str, monitor: Arc<dyn Monitor>) -> Result<Subject>;
}

/// The state of a plan that was not finished.
#[derive(Debug)]
pub struct Unfinished {
    /// The error that ended it.
    pub error: Error,
    /// Number of cells of the plan that are in the file of records.
    pub done: usize,
    /// The last computed record, if it could not be written to the file.
    pub lost: Option<Box<Record>>,
}

impl From<Error> for Unfinished {
    fn from(error: Error) -> Self {
        Self { error, done: 0, lost: None }
    }
}

/// Computes all cells missing in the book; returns the records of all jobs, in order. `monitor` makes a monitor from the cost.
///
/// # Errors
/// The error of a cell, with its name, and two contradicting records of a cell; in any case with the number of cells done.
pub fn compute<K: PartialEq>(
    planned: &[Planned<K>],
    mut book: Book,
    shelf: &mut dyn Shelf<K>,
    monitor: impl FnOnce(u64) -> Arc<dyn Monitor>,
) -> Result<Vec<Record>, Unfinished> {
    book.check(planned)?;
    let pending = pending(planned, &mut book)?;
    tracing::info!("{} of {} cells are to be computed", pending.len(), planned.len());
    let monitor = monitor(work(&pending));
    let mut run = Run { book: &mut book, shelf, monitor, left: pending.len(), sources: Vec::new(), lost: None };
    let computed = run.all(pending);
    let (done, lost) = (planned.len() - run.left, run.lost.take());
    // Also after an error: puts the ranks of the finished cells in order.
    let finished = book.finish();
    computed.and(finished).map_err(|error| Unfinished { error, done, lost })?;
    book.check(planned)?;
    Ok(planned.iter().map(|planned| book.of(&planned.inputs).cloned()).collect::<Result<_>>()?)
}

/// The cells that are not done, each once, grouped by subject.
fn pending<'a, K: PartialEq>(planned: &'a [Planned<K>], book: &mut Book) -> Result<Vec<&'a Planned<K>>> {
    let mut seen = HashSet::new();
    let mut pending: Vec<&Planned<K>> = Vec::new();
    for one in planned {
        if !book.holds(&one.inputs)? && seen.insert(one.inputs.identity()) {
            pending.push(one);
        }
    }
    pending.sort_by_key(|this| planned.iter().position(|first| first.job.key == this.job.key));
    Ok(pending)
}

/// Total cost: every attack, and the embedding of every subject.
fn work<K: PartialEq>(pending: &[&Planned<K>]) -> u64 {
    let attacks = pending.iter().map(|planned| planned.job.cost());
    let galleries = pending.chunk_by(|a, b| a.job.key == b.job.key).map(|group| {
        let facts = &group[0].inputs.facts;
        (facts.gallery + facts.queries.unwrap_or(0)) as u64
    });
    attacks.chain(galleries).fold(0, u64::saturating_add)
}

/// A running plan.
struct Run<'a, K> {
    book: &'a mut Book,
    shelf: &'a mut dyn Shelf<K>,
    monitor: Arc<dyn Monitor>,
    /// Number of cells that are not done.
    left: usize,
    /// Open sources of transfers.
    sources: Vec<(&'a K, RankedSubject)>,
    /// A record that could not be written.
    lost: Option<Box<Record>>,
}

/// Images with their targets, and the inputs besides the measured subject that determine both.
struct Draw {
    by: (AttackSpec, usize, Option<usize>),
    images: Vec<usize>,
    targets: Targets,
}

/// The part of a spec that determines the targets: neither epsilon nor the search.
fn drawn_by(spec: &AttackSpec) -> AttackSpec {
    let options = match spec.attack {
        // A custom attack may use any of its options.
        AttackId::Custom(_) => spec.options,
        _ => AttackOptions { target_band: spec.options.target_band, ..AttackOptions::default() },
    };
    AttackSpec { epsilon: 0.0, norm: Norm::default(), search: Search::default(), options, eight_bit: false, ..*spec }
}

impl<'a, K: PartialEq> Run<'a, K> {
    /// Computes the cells that no other process computes, and waits for the rest.
    fn all(&mut self, mut pending: Vec<&'a Planned<K>>) -> Result<()> {
        let mut told = false;
        loop {
            let rest = self.round(&pending)?;
            if rest.is_empty() {
                return Ok(());
            }
            // Cells that others held at the start of a long round may be done by its end: no wait after progress.
            if rest.len() == pending.len() {
                self.wait(rest.len(), &mut told)?;
            }
            pending = rest;
        }
    }

    /// Computes the cells that no other process computes; returns the rest.
    fn round(&mut self, pending: &[&'a Planned<K>]) -> Result<Vec<&'a Planned<K>>> {
        let mut others = Vec::new();
        for group in pending.chunk_by(|a, b| a.job.key == b.job.key) {
            self.group(group, &mut others)?;
        }
        Ok(others)
    }

    /// Runs the jobs of one subject: the gallery is embedded once, and targets are drawn once for all radii.
    fn group(&mut self, group: &[&'a Planned<K>], others: &mut Vec<&'a Planned<K>>) -> Result<()> {
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
            if self.book.holds(inputs)? {
                self.monitor.skip(job.cost());
                self.left -= 1;
                continue;
            }
            let measured = match &mut opened {
                Some(measured) => measured,
                none => {
                    self.monitor.enter(&format!("gallery of {}", job.cell.subject.weights));
                    none.insert(self.open(key, sha256, self.monitor.clone())?)
                }
            };
            self.job(measured, &mut draws, planned).map_err(Error::at(format!("{}: {}", job.place, inputs.cell)))?;
        }
        Ok(())
    }

    fn job(&mut self, measured: &RankedSubject, draws: &mut Vec<Draw>, planned: &'a Planned<K>) -> Result<()> {
        let Planned { job, inputs } = planned;
        self.monitor.enter(&inputs.cell.to_string());
        let from = job.from.as_ref().zip(inputs.cell.from.as_ref()).filter(|(key, _)| **key != job.key);
        let from = from.map(|(key, source)| self.source(key, &source.weights_sha256)).transpose()?;
        let (start, before) = (Instant::now(), self.monitor.done());
        let (record, image_ranks) = self.measure(measured, from, draws, planned, start)?;
        let kept = self.book.append(record.clone(), &image_ranks);
        kept.inspect_err(|_| self.lost = Some(Box::new(record)))?;
        self.monitor.set_done(before + job.cost());
        self.left -= 1;
        self.tell(self.book.of(inputs)?);
        Ok(())
    }

    /// Waits a second for other processes, which hold `others` cells; the first wait is reported.
    fn wait(&self, others: usize, told: &mut bool) -> Result<()> {
        if !std::mem::replace(told, true) {
            self.monitor.enter(&format!("{} of other processes", cells(others)));
            tracing::info!("waiting for {}, which other processes compute", cells(others));
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            if self.monitor.advance(0).is_break() {
                return Err(rankle_core::Error::Interrupted.into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The index of a source in `sources`; every source is embedded once and stays open.
    fn source(&mut self, key: &'a K, sha256: &str) -> Result<usize> {
        if let Some(at) = self.sources.iter().position(|(other, _)| *other == key) {
            return Ok(at);
        }
        let ranked = self.open(key, sha256, Arc::new(UncountedMonitor(self.monitor.clone())))?;
        self.sources.push((key, ranked));
        Ok(self.sources.len() - 1)
    }

    /// Opens a subject of the plan with the weights that its records name, and embeds its images.
    fn open(&mut self, key: &K, sha256: &str, monitor: Arc<dyn Monitor>) -> Result<RankedSubject> {
        RankedSubject::new(self.shelf.open(key, sha256, monitor)?)
    }

    /// Computes a record and the ranks of its images.
    fn measure(
        &self,
        measured: &RankedSubject,
        from: Option<usize>,
        draws: &mut Vec<Draw>,
        planned: &Planned<K>,
        start: Instant,
    ) -> Result<(Record, Vec<f32>)> {
        let subject = measured.subject();
        let (Planned { job, inputs }, inputs_of_record) = (planned, planned.inputs.clone());
        // A transfer from a subject to itself needs no second gallery.
        let source = from.and_then(|at| self.sources.get(at)).map_or(measured, |(_, source)| source);
        let (experiment, count): (&Experiment, usize) = (&job.experiment, inputs.cell.images);
        if experiment.spec.universal.is_some() {
            let images = subject.sample(experiment.perturbs(), experiment.seed(), count)?;
            let to = job.from.as_ref().map(|_| measured);
            let made = universal::run(experiment, source, to, &images)?;
            let image_ranks = experiment::image_ranks(&universal::seen(&made));
            return Ok((source.subject().followed(universal::record(subject, inputs_of_record, &made, start)), image_ranks));
        }
        let by = (drawn_by(&experiment.spec), count, from);
        let known = draws.iter().position(|draw| draw.by == by);
        let at = match known {
            Some(at) => at,
            None => {
                let images = subject.sample(experiment.perturbs(), experiment.seed(), count)?;
                let sets = target_gallery(experiment.spec.attack, source.sets(), measured.sets());
                let targets = experiment.choose(&images, sets)?;
                draws.push(Draw { by, images, targets });
                draws.len() - 1
            }
        };
        let Draw { images, targets, .. } = &draws[at];
        if job.from.is_some() {
            let outcome = transfer::run(experiment, source, measured, images, targets)?;
            let image_ranks = experiment::image_ranks(&outcome.victim);
            return Ok((source.subject().followed(transfer::record(subject, inputs_of_record, &outcome, start)), image_ranks));
        }
        let outcome = experiment.run(measured, images, targets, false)?;
        let image_ranks = experiment::image_ranks(&outcome);
        Ok((subject.followed(experiment::record(subject, inputs_of_record, &outcome, start)), image_ranks))
    }

    /// Reports a finished cell in one line.
    fn tell(&self, record: &Record) {
        let rank = record.rank_after.map_or(String::new(), |rank| format!(" rank {rank:.2} %,"));
        self.monitor.news(&format!("{}:{rank} {:.1} s; {} left", record.cell, record.seconds, cells(self.left)));
    }
}

fn cells(count: usize) -> String {
    if count == 1 { "1 cell".to_owned() } else { format!("{count} cells") }
}

/// A monitor that obeys another one without counting: the cost of a cell includes the passes of its source.
struct UncountedMonitor(Arc<dyn Monitor>);

impl Monitor for UncountedMonitor {
    fn advance(&self, _units: u64) -> std::ops::ControlFlow<()> {
        self.0.advance(0)
    }
    fn done(&self) -> u64 {
        self.0.done()
    }
    fn total(&self) -> u64 {
        self.0.total()
    }
}
