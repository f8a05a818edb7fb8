//! Plans of cells: jobs, the systems they need, and the computation.

use crate::data::Data;
use crate::device::Device;
use crate::foreign::ForeignName;
use crate::names;
use crate::network::Network;
use crate::progress::{self, Bar};
use crate::search::{self, Remedy};
use crate::stop::{self, Stop};
use crate::system::{Key, TestImages};
use anyhow::{Error, Result, anyhow};
use rankle_eval::plan::{self, Book, Shelf, Unfinished};
use rankle_eval::{Monitor, Subject, Unwatched};
use rankle_record::{Cell, Record, Source};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// A line of a plan, with the keys of its systems.
pub(crate) type Job = plan::Job<Key>;
/// A job with the inputs of its record.
pub(crate) type Planned = plan::Planned<Key>;

/// Parses the names in a cell into a job.
///
/// # Errors
/// One line for an unknown name and for a number out of range.
pub(crate) fn job(cell: Cell, dataset_dir: Option<PathBuf>, prefix: Option<String>, place: String) -> Result<Job> {
    let rankle_record::Subject { dataset, query_dataset, gallery_dataset, model, weights, distance, .. } = &cell.subject;
    let other = |name: &Option<String>| name.as_ref().map(|name| name.parse()).transpose();
    let (queries, gallery) = (other(query_dataset)?, other(gallery_dataset)?);
    let key = Key {
        data: Data { dataset: dataset.parse()?, queries, gallery, dir: dataset_dir },
        model: network(model, weights)?,
        weights: self::weights(model, weights),
        prefix,
        distance: names::DISTANCES.find(distance).map_err(Error::msg)?,
        // The cell names loss and defense, if they are known.
        loss: None,
        defense: None,
    };
    key.preprocessing().map_err(|stop| anyhow!("{stop}"))?;
    let from = |source: &Source| -> Result<Key> {
        Ok(Key {
            model: network(&source.model, &source.weights)?,
            weights: self::weights(&source.model, &source.weights),
            distance: names::DISTANCES.find(&source.distance).map_err(Error::msg)?,
            ..key.clone()
        })
    };
    let from = cell.from.as_ref().map(from).transpose()?;
    from.as_ref().map_or(Ok(()), |from| from.check_beside(&key)).map_err(|stop| anyhow!("{stop}"))?;
    let job = Job::new(cell, key, from, place)?;
    let attacked = job.from.as_ref().unwrap_or(&job.key);
    attacked.check_search(job.experiment.search.kind())?;
    Ok(job)
}

/// The network that a plan or a record names.
///
/// # Errors
/// An unknown name; a program, unless it may be started.
fn network(model: &str, weights: &str) -> Result<Network> {
    match ForeignName::recorded(model, weights) {
        Some(name) => Ok(Network::Foreign(name.open_recorded()?)),
        None => names::RANKERS.find(model).map(Network::from).map_err(Error::msg),
    }
}

/// The weights that a plan or a record names.
fn weights(model: &str, weights: &str) -> PathBuf {
    ForeignName::recorded(model, weights).map_or_else(|| weights.into(), |name| name.weights().into())
}

/// Open systems of a plan, each opened once, from which the inputs of records are read.
pub(crate) struct Opened {
    subjects: Vec<(Key, Subject)>,
    images: TestImages,
    device: Device,
}

impl Opened {
    pub(crate) fn new(device: Device) -> Self {
        Self { subjects: Vec::new(), images: TestImages::default(), device }
    }

    /// Adds to a job the inputs of its record.
    ///
    /// # Errors
    /// When data or weights cannot be read, or have too few images for the job.
    pub(crate) fn planned(&mut self, job: Job) -> Result<Planned> {
        let opened: Vec<usize> = job.keys().map(|key| self.place(key)).collect::<Result<_>>()?;
        let subject = |at: usize| opened.get(at).map(|&place| &self.subjects[place].1);
        let measured = subject(0).ok_or_else(|| anyhow!("every job measures a subject"))?;
        Ok(Planned::new(job, measured, subject(1))?)
    }

    /// Index of an open system; opens it if need be.
    fn place(&mut self, key: &Key) -> Result<usize> {
        if let Some(at) = self.subjects.iter().position(|(other, _)| other == key) {
            return Ok(at);
        }
        let subject = key.open_among(None, &mut self.images, self.device, Arc::new(Unwatched))?;
        key.heed_card(&subject);
        self.subjects.push((key.clone(), subject));
        Ok(self.subjects.len() - 1)
    }

    /// Closes the systems and computes the cells that the book does not hold yet; returns the records of all jobs in order.
    /// Opened images are kept. `hint` tells how to resume after an interrupt, from the counts of finished cells and of all cells.
    ///
    /// # Errors
    /// The error of a cell, with the cell's name; an interrupt; and two contradicting records of one cell.
    pub(crate) fn compute(self, planned: &[Planned], book: Book, hint: impl Fn(usize, usize) -> String) -> Result<Vec<Record>> {
        let Self { subjects, images, device } = self;
        drop(subjects);
        let mut shelf = Again { images, device };
        let computed = plan::compute(planned, book, &mut shelf, |work| Bar::monitor(&progress::bar(work)));
        let computed = computed.map_err(|Unfinished { error, done, lost }| {
            // A record that cannot be saved is at least printed.
            if let Some(Ok(line)) = lost.map(|record| record.to_line()) {
                progress::answer(line).ok();
            }
            match error.is_interrupt() {
                true => Stop::interrupted(hint(done, planned.len())).into(),
                false => Error::new(error),
            }
        });
        progress::clear();
        computed
    }
}

/// Reopens the systems of a plan while it is computed.
struct Again {
    images: TestImages,
    device: Device,
}

impl Shelf<Key> for Again {
    fn open(&mut self, key: &Key, sha256: &str, monitor: Arc<dyn Monitor>) -> rankle_eval::Result<Subject> {
        let opened = key.open_among(Some(sha256), &mut self.images, self.device, monitor);
        opened.map_err(|error| match stop::is_interrupt(&error) {
            true => rankle_core::Error::Interrupted.into(),
            false => rankle_eval::Error::Opening(error.reallocate_into_boxed_dyn_error_without_backtrace()),
        })
    }
}

/// Warns of searches whose steps do not suit their radius; a warning that many lines share is logged once.
pub(crate) fn heed(planned: &[Planned]) {
    let mut told = HashSet::new();
    for plan::Planned { job: plan::Job { cell, experiment, place, .. }, .. } in planned {
        if let Some(warning) = search::warning(&experiment.search, cell.spec.search, Remedy::Fields)
            && told.insert(warning.clone())
        {
            tracing::warn!("{place}: {warning}");
        }
    }
}
