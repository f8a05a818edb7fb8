//! `rankle sweep`: many attacks, each computed once.

use crate::arguments::TensorNames;
use crate::device::Device;
use crate::files::{self, Input};
use crate::progress;
use crate::sweep::{self, Job, Opened, Planned};
use crate::system::Key;
use anyhow::{Context, Result, bail};
use clap::Args;
use rankle_eval::plan::Book;
use rankle_record::{Cell, Record};
use rankle_report::ImageRanks;
use std::path::{Path, PathBuf};

/// Run every attack of a plan that the file of records does not hold yet.
///
/// The plan has one JSON object a line, the inputs of a record or a whole record: table, dataset, model, weights, distance, loss, defense, attack, targets, epsilon,
/// protocol, eight_bit, images, seed; where queries and gallery are other images also query_dataset and gallery_dataset, for balls of
/// another norm norm, for ablations objective, target_band, xi, step, iterations, random_start and restarts, for a transfer from, for
/// universal perturbations universal. Each finished attack is appended to the records at once, so an interrupted or killed sweep
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
    /// Keep the rank of each image after the attack, too, in NAME.ranks.safetensors beside the records NAME.jsonl: a tensor a record,
    /// called by the hash of its inputs. Attacks whose records have none are run again, and must have the same record
    #[arg(long)]
    image_ranks: bool,
    /// The folder with the files of the datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    #[command(flatten)]
    names: TensorNames,
}

impl Sweep {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let dataset_dir = |_: &str| self.dataset_dir.clone();
        let (plan, prefix) = (Cell::read_plan(&self.plan)?, self.names.strip_prefix.clone());
        let cells = Cells {
            plan,
            file: &self.plan,
            records: &self.records,
            image_ranks: self.image_ranks,
            dataset_dir: &dataset_dir,
            prefix,
        };
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
    /// Whether the rank of each image is kept beside the records.
    pub(crate) image_ranks: bool,
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
    sweep::job(cell, None, None, String::new()).map(drop)
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
        let ranks = self.image_ranks.then(|| ImageRanks::path(self.records));
        files::check_outputs(&[("--records", Some(self.records)), ("--image-ranks", ranks.as_deref())], &inputs)?;
        let book = Book::open(self.records)?;
        let book = if self.image_ranks { book.with_image_ranks()? } else { book };
        let mut opened = Opened::new(device);
        let planned = |job: Job| -> Result<Planned> {
            let place = job.place.clone();
            opened.planned(job).context(place)
        };
        let planned: Vec<Planned> = jobs.into_iter().map(planned).collect::<Result<_>>()?;
        sweep::heed(&planned);
        let records = self.records.display();
        let hint = |done, all| format!("{done} of {all} cells are in {records}, the same command goes on with the rest");
        opened.compute(&planned, book, hint)
    }

    /// The plan, checked line by line.
    fn jobs(&self) -> Result<Vec<Job>> {
        if self.plan.is_empty() {
            bail!("{} holds no cell: write one JSON object a line", self.file.display());
        }
        let job = |(at, cell): (usize, &Cell)| {
            let place = format!("{} line {}", self.file.display(), at + 1);
            let dataset_dir = (self.dataset_dir)(&cell.subject.dataset);
            sweep::job(cell.clone(), dataset_dir, self.prefix.clone(), place.clone()).context(place)
        };
        self.plan.iter().enumerate().map(job).collect()
    }
}
