//! Plans of cells: what opens their subjects, and what is said of them.

use crate::data::Data;
use crate::device::Device;
use crate::names;
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

/// A line of a plan whose subjects are opened by name.
pub(crate) type Job = plan::Job<Key>;
/// The same with the inputs of its record.
pub(crate) type Planned = plan::Planned<Key>;

/// Reads the names of a cell.
///
/// # Errors
/// One line for a name that is not known and for a number out of range.
pub(crate) fn job(cell: Cell, dataset_dir: Option<PathBuf>, prefix: Option<String>, place: String) -> Result<Job> {
    let rankle_record::Subject { dataset, query_dataset, gallery_dataset, model, weights, distance, .. } = &cell.subject;
    let other = |name: &Option<String>| name.as_ref().map(|name| name.parse()).transpose();
    let (queries, gallery) = (other(query_dataset)?, other(gallery_dataset)?);
    let key = Key {
        data: Data { dataset: dataset.parse()?, queries, gallery, dir: dataset_dir },
        model: names::RANKERS.find(model).map_err(Error::msg)?,
        weights: weights.into(),
        prefix,
        distance: names::DISTANCES.find(distance).map_err(Error::msg)?,
        // The plan says them, or nobody does.
        loss: None,
        defense: None,
    };
    key.preprocessing().map_err(|stop| anyhow!("{stop}"))?;
    let from = |source: &Source| -> Result<Key> {
        Ok(Key {
            model: names::RANKERS.find(&source.model).map_err(Error::msg)?,
            weights: (&source.weights).into(),
            distance: names::DISTANCES.find(&source.distance).map_err(Error::msg)?,
            ..key.clone()
        })
    };
    let from = cell.from.as_ref().map(from).transpose()?;
    from.as_ref().map_or(Ok(()), |from| from.check_beside(&key)).map_err(|stop| anyhow!("{stop}"))?;
    Ok(Job::new(cell, key, from, place)?)
}

/// Subjects that are opened for what records say of them, each once.
pub(crate) struct Opened {
    subjects: Vec<(Key, Subject)>,
    images: TestImages,
    device: Device,
}

impl Opened {
    /// None yet.
    pub(crate) fn new(device: Device) -> Self {
        Self { subjects: Vec::new(), images: TestImages::default(), device }
    }

    /// A job with what its record will say of its inputs.
    ///
    /// # Errors
    /// When data or weights cannot be read, or have no room for what the job asks for.
    pub(crate) fn planned(&mut self, job: Job) -> Result<Planned> {
        let opened: Vec<usize> = job.keys().map(|key| self.place(key)).collect::<Result<_>>()?;
        let subject = |at: usize| opened.get(at).map(|&place| &self.subjects[place].1);
        let measured = subject(0).ok_or_else(|| anyhow!("every job measures a subject"))?;
        Ok(Planned::new(job, measured, subject(1))?)
    }

    /// The place of an open subject.
    fn place(&mut self, key: &Key) -> Result<usize> {
        if let Some(at) = self.subjects.iter().position(|(other, _)| other == key) {
            return Ok(at);
        }
        let subject = key.open_among(None, &mut self.images, self.device, Arc::new(Unwatched))?;
        key.heed_card(&subject);
        self.subjects.push((key.clone(), subject));
        Ok(self.subjects.len() - 1)
    }

    /// Closes the subjects and computes what the book does not hold yet; returns the records of all jobs, in their order. The images that
    /// were opened stay. `hint` says how an interrupted run goes on, from how many cells are done and how many there are.
    ///
    /// # Errors
    /// What stands in the way of a cell, with its name; an interrupt; and when the book says two things of a cell.
    pub(crate) fn compute(self, planned: &[Planned], book: Book, hint: impl Fn(usize, usize) -> String) -> Result<Vec<Record>> {
        let Self { subjects, images, device } = self;
        drop(subjects);
        let mut shelf = Again { images, device };
        let computed = plan::compute(planned, book, &mut shelf, |work| Bar::monitor(&progress::bar(work)));
        let computed = computed.map_err(|Unfinished { error, done, lost }| {
            // What cannot be kept is said at least.
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

/// Opens the subjects of a plan again.
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

/// Warns of searches that cannot do what their radius promises, each once: what holds for a line often holds for many.
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
