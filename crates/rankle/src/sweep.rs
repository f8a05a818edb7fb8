//! Attacks of a plan or of records, each computed once, whoever else shares the file of records.

mod book;
mod job;

pub(crate) use book::Book;
pub(crate) use job::Job;

use crate::device::Device;
use crate::experiment::{self, Inputs};
use crate::search::{self, Remedy};
use crate::stop::{self, Stop};
use crate::system::{Key, Ranked, System, TestImages};
use crate::{interrupt, progress, transfer, universal};
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rankle_attacks::{Targets, target_gallery};
use rankle_record::{AttackId, AttackOptions, AttackSpec, Norm, Record, Search};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// A job with the inputs of its record, which tell whether it is done.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) job: Job,
    pub(crate) inputs: Inputs,
}

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
    pub(crate) fn inputs(&mut self, job: &Job) -> Result<Inputs> {
        for key in job.keys() {
            if self.systems.iter().all(|system| system.key != *key) {
                let system = System::among(key.clone(), &mut self.images, self.device, ProgressBar::hidden())?;
                system.heed_card();
                self.systems.push(system);
            }
        }
        let system = |key: &Key| self.systems.iter().find(|system| system.key == *key).context("the system was just opened");
        let (measured, count, role) = (system(&job.key)?, job.cell.images, job.experiment.perturbs());
        experiment::sample(measured, role, job.experiment.seed(), count)?;
        let AttackSpec { universal, targets, .. } = job.experiment.spec;
        let available = measured.dataset(role.other()).len();
        if targets > available {
            bail!("targets is {targets}: there are {available} items to choose from");
        }
        let room = |shared| universal::check_room(&job.experiment, count, shared, measured);
        universal.map_or(Ok(()), room).map_err(anyhow::Error::msg)?;
        let mut inputs = job.experiment.inputs(measured, count, job.origin());
        inputs.cell.from = job.from.as_ref().map(|key| anyhow::Ok(transfer::source(system(key)?))).transpose()?;
        Ok(inputs)
    }

    /// Closes the systems; the images that were opened for them stay.
    pub(crate) fn close(self) -> TestImages {
        self.images
    }
}

/// Computes what the book does not hold yet; returns the records of all jobs, in their order. `hint` says how an interrupted run
/// goes on, from how many cells are done and how many there are.
///
/// # Errors
/// What stands in the way of a cell, with its name; an interrupt; and when the book says two things of a cell.
pub(crate) fn compute(
    planned: &[Planned],
    mut book: Book,
    images: TestImages,
    device: Device,
    hint: impl Fn(usize, usize) -> String,
) -> Result<Vec<Record>> {
    book.check(planned)?;
    let pending = pending(planned, &mut book)?;
    tracing::info!("{} of {} cells are to be computed", pending.len(), planned.len());
    let bar = progress::bar(work(&pending));
    let mut sweep = Run { book: &mut book, device, bar, left: pending.len(), images, sources: Vec::new() };
    let computed = sweep.all(pending).map_err(|error| match stop::is_interrupt(&error) {
        true => Stop::interrupted(hint(planned.len() - sweep.left, planned.len())).into(),
        false => error,
    });
    // Whatever ended it: what is done is put in order.
    let finished = book.finish();
    computed.and(finished)?;
    progress::clear();
    book.check(planned)?;
    planned.iter().map(|planned| book.of(&planned.inputs).cloned()).collect()
}

/// What is not done yet, each cell once, those of one system together.
fn pending<'a>(planned: &'a [Planned], book: &mut Book) -> Result<Vec<&'a Planned>> {
    let mut seen = HashSet::new();
    let mut pending: Vec<&Planned> = Vec::new();
    for one in planned {
        if !book.holds(&one.inputs)? && seen.insert(one.inputs.identity()) {
            pending.push(one);
        }
    }
    pending.sort_by_key(|this| planned.iter().position(|first| first.job.key == this.job.key));
    Ok(pending)
}

/// Warns of searches that cannot do what their radius promises, each once: what holds for a line often holds for many.
pub(crate) fn heed(planned: &[Planned]) {
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
    let options = match spec.attack {
        // Nobody knows what of them another program looks at.
        AttackId::Own(_) => spec.options,
        _ => AttackOptions { target_band: spec.options.target_band, ..AttackOptions::default() },
    };
    AttackSpec { epsilon: 0.0, norm: Norm::default(), search: Search::default(), options, eight_bit: false, ..*spec }
}

impl Run<'_> {
    /// Computes what nobody else does, and waits for the rest.
    fn all(&mut self, mut pending: Vec<&Planned>) -> Result<()> {
        let mut told = false;
        loop {
            let rest = self.round(&pending)?;
            if rest.is_empty() {
                return Ok(());
            }
            // What others had at the beginning of a long round is done by its end: only a round without any news is worth a wait.
            if rest.len() == pending.len() {
                self.wait(rest.len(), &mut told)?;
            }
            pending = rest;
        }
    }

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
            if self.book.holds(inputs)? {
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
            self.job(measured, &mut draws, planned).with_context(|| format!("{}: {}", job.place, inputs.cell))?;
        }
        Ok(())
    }

    fn job(&mut self, measured: &Ranked, draws: &mut Vec<Draw>, planned: &Planned) -> Result<()> {
        let Planned { job, inputs } = planned;
        self.bar.set_message(inputs.cell.to_string());
        let from = job.from.as_ref().zip(inputs.cell.from.as_ref()).filter(|(key, _)| **key != job.key);
        let from = from.map(|(key, source)| self.source(key, &source.weights_sha256)).transpose()?;
        let (start, before) = (Instant::now(), self.bar.position());
        let (record, image_ranks) = self.measure(measured, from, draws, planned, start)?;
        // What cannot be kept is said at least.
        let line = record.to_line()?;
        self.book.append(record, &image_ranks).inspect_err(|_| drop(progress::answer(line)))?;
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
            self.bar.set_message(format!("{} of other processes", cells(others)));
            tracing::info!("waiting for {}, which other processes compute", cells(others));
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

    /// A record, and the ranks of its images.
    fn measure(
        &self,
        measured: &Ranked,
        from: Option<usize>,
        draws: &mut Vec<Draw>,
        planned: &Planned,
        start: Instant,
    ) -> Result<(Record, Vec<f32>)> {
        let system = &measured.system;
        let (Planned { job, inputs }, inputs_of_record) = (planned, planned.inputs.clone());
        // A transfer from a system to itself needs no second gallery.
        let source = from.and_then(|at| self.sources.get(at)).unwrap_or(measured);
        let (experiment, count) = (&job.experiment, inputs.cell.images);
        if let Some(shared) = experiment.spec.universal {
            let images = experiment::sample(system, experiment.perturbs(), experiment.seed(), count)?;
            let to = job.from.as_ref().map(|_| measured);
            let made = universal::run(experiment, shared, source, to, &images)?;
            let image_ranks = experiment::image_ranks(&universal::seen(&made));
            return Ok((source.system.followed(universal::record(system, inputs_of_record, &made, start)), image_ranks));
        }
        let by = (drawn_by(&experiment.spec), count, from);
        let known = draws.iter().position(|draw| draw.by == by);
        let at = match known {
            Some(at) => at,
            None => {
                let images = experiment::sample(system, experiment.perturbs(), experiment.seed(), count)?;
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
            return Ok((source.system.followed(transfer::record(system, inputs_of_record, &outcome, start)), image_ranks));
        }
        let outcome = experiment.run(measured, images, targets, false)?;
        let image_ranks = experiment::image_ranks(&outcome);
        Ok((system.followed(experiment::record(system, inputs_of_record, &outcome, start)), image_ranks))
    }

    /// One line, where no bar is seen.
    fn tell(&self, record: &Record) {
        if progress::visible() {
            return;
        }
        let rank = record.rank_after.map_or(String::new(), |rank| format!(" rank {rank:.2} %,"));
        // The time that is left is in the lines of progress: the bar went back to where the cell began, and knows no pace.
        tracing::info!("{}:{rank} {:.1} s; {} left", record.cell, record.seconds, cells(self.left));
    }
}

fn cells(count: usize) -> String {
    if count == 1 { "1 cell".to_owned() } else { format!("{count} cells") }
}
