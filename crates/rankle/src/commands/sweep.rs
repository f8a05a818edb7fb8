//! `rankle sweep`: many attacks, each computed once.

mod job;

use crate::device::Device;
use crate::experiment::{self, Experiment};
use crate::stop::Stop;
use crate::system::{Key, System};
use crate::{files, progress};
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use job::Job;
use rankle_attacks::{Band, Kind, Protocol, Targets};
use rankle_core::Gallery;
use rankle_data::Split;
use rankle_report::{Cell, Journal, Planned, Record};
use std::collections::{HashMap, HashSet, hash_map::Entry};
use std::path::PathBuf;
use std::time::Instant;

/// Run every attack of a plan that the file of records does not hold yet.
///
/// The plan has one JSON object a line: table, dataset, model, weights, distance, loss, defense, attack, targets, epsilon,
/// protocol, eight_bit, images, seed; for ablations also objective and target_band. Each finished attack is appended to the records at once, so an interrupted or killed sweep
/// goes on where it was. On standard output: the records of the plan, one JSON object a line, in its order.
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
}

/// A job with the inputs of its record, which tell whether it is done.
type Inputs = (Job, Cell);

impl Sweep {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let jobs = self.jobs()?;
        files::check_writable(&self.records)?;
        let journal = Journal::at(&self.records);
        let reading = journal.read()?;
        if let Some(torn) = &reading.torn {
            tracing::warn!("{torn}");
        }
        let mut done: HashMap<String, Record> =
            reading.records.into_iter().map(|record| (record.cell.identity(), record)).collect();

        let inputs = cells(jobs, device)?;
        let pending = pending(&inputs, &done);
        tracing::info!("{} of {} cells are to be computed", pending.len(), inputs.len());
        let mut sweep =
            Run { journal: &journal, device, bar: progress::bar(work(&pending)), left: pending.len(), done: &mut done };
        for group in pending.chunk_by(|a, b| a.0.key == b.0.key) {
            sweep.group(group).map_err(|error| self.hint(error, sweep.left, inputs.len()))?;
        }
        progress::clear();
        for (_, cell) in &inputs {
            let record = done.get(&cell.identity()).with_context(|| format!("the record of {cell} is lost"))?;
            progress::answer(&record.to_line()?)?;
        }
        Ok(())
    }

    /// The plan, checked line by line.
    fn jobs(&self) -> Result<Vec<Job>> {
        let plan = Planned::read(&self.plan)?;
        if plan.is_empty() {
            bail!("{} holds no cell: write one JSON object a line", self.plan.display());
        }
        let job = |(at, planned): (usize, Planned)| {
            let place = format!("{} line {}", self.plan.display(), at + 1);
            Job::new(planned, self.dataset_dir.clone(), place.clone()).context(place)
        };
        plan.into_iter().enumerate().map(job).collect()
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
fn cells(jobs: Vec<Job>, device: Device) -> Result<Vec<Inputs>> {
    let mut opened: Vec<(Key, System)> = Vec::new();
    let mut inputs = Vec::with_capacity(jobs.len());
    for job in jobs {
        if opened.iter().all(|(key, _)| *key != job.key) {
            let system = System::open(job.key.clone(), Split::Test, device, ProgressBar::hidden());
            opened.push((job.key.clone(), system.with_context(|| job.place.clone())?));
        }
        let system = opened.iter().find(|(key, _)| *key == job.key).map(|(_, system)| system);
        let system = system.context("the system was just opened")?;
        experiment::sample(system, job.experiment.seed, job.images).with_context(|| job.place.clone())?;
        let cell = job.experiment.cell(system, job.images, job.origin.clone())?;
        inputs.push((job, cell));
    }
    Ok(inputs)
}

/// What is not done yet, each cell once, those of one system together.
fn pending<'a>(inputs: &'a [Inputs], done: &HashMap<String, Record>) -> Vec<&'a Inputs> {
    let mut seen = HashSet::new();
    let new = |(_, cell): &&Inputs| !done.contains_key(&cell.identity()) && seen.insert(cell.identity());
    let mut pending: Vec<&Inputs> = inputs.iter().filter(new).collect();
    pending.sort_by_key(|(job, _)| inputs.iter().position(|(first, _)| first.key == job.key));
    pending
}

/// The length of the bar: every attack, and the gallery of every system.
fn work(pending: &[&Inputs]) -> u64 {
    let attacks: u64 = pending.iter().map(|(job, _)| job.cost()).sum();
    let galleries = pending.chunk_by(|a, b| a.0.key == b.0.key).map(|group| group[0].1.gallery as u64);
    attacks + galleries.sum::<u64>()
}

/// A sweep on its way.
struct Run<'a> {
    journal: &'a Journal,
    device: Device,
    bar: ProgressBar,
    left: usize,
    done: &'a mut HashMap<String, Record>,
}

/// What the targets of an attack depend on, besides the system: neither epsilon nor the search.
type Draw = (Kind, usize, Band, Protocol, u64, usize);

impl Run<'_> {
    /// The jobs of one system: the gallery is embedded once, and targets are drawn once for all radii.
    fn group(&mut self, group: &[&Inputs]) -> Result<()> {
        let system = System::open(group[0].0.key.clone(), Split::Test, self.device, self.bar.clone())?;
        self.bar.set_message(format!("gallery of {}", system.key.weights.display()));
        let gallery = system.gallery()?;
        let mut draws: HashMap<Draw, (Vec<usize>, Targets)> = HashMap::new();
        for (job, cell) in group {
            self.job(&system, &gallery, &mut draws, job, cell).with_context(|| cell.to_string())?;
        }
        Ok(())
    }

    fn job(
        &mut self,
        system: &System,
        gallery: &Gallery,
        draws: &mut HashMap<Draw, (Vec<usize>, Targets)>,
        job: &Job,
        cell: &Cell,
    ) -> Result<()> {
        self.bar.set_message(cell.to_string());
        let (start, before) = (Instant::now(), self.bar.position());
        let experiment = &job.experiment;
        let Experiment { kind, set, variant, protocol, seed, .. } = *experiment;
        let key = (kind, set, variant.band, protocol, seed.0, job.images);
        let (images, targets) = match draws.entry(key) {
            Entry::Occupied(drawn) => drawn.into_mut(),
            Entry::Vacant(new) => {
                let images = experiment::sample(system, experiment.seed, job.images)?;
                let targets = experiment.attack().choose(&images, gallery, experiment.protocol, experiment.seed)?;
                new.insert((images, targets))
            }
        };
        let outcome = experiment.run(system, gallery, images, targets, false)?;
        let record = experiment::record(system, cell.clone(), &outcome, start);
        self.journal.append(&record)?;
        self.bar.set_position(before + job.cost());
        self.left -= 1;
        self.tell(&record);
        self.done.insert(cell.identity(), record);
        Ok(())
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
