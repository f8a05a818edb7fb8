//! `rankle sweep`: the attacks of a plan, each computed once.

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

/// Run the attacks of a plan that a file of records does not hold yet.
///
/// A record holds the inputs and results of one attack. The plan has one JSON object a line, the inputs of a record or a whole
/// record: table, dataset, model, weights, distance, loss, defense, attack, targets, epsilon, protocol, eight_bit, images, seed.
/// Further inputs: query_dataset and gallery_dataset, if queries or gallery are other images; norm; objective, target_band, xi,
/// search, step, iterations, random_start, restarts and query_budget, for ablations; from, for a transfer; universal, for universal perturbations.
///
/// Each finished attack is appended to the records at once, so the same command goes on after an interrupt. Any number of sweeps
/// may share one file, also on several machines: each takes attacks that are neither in the file nor being computed (on systems
/// other than Linux one sweep computes at a time). Prints the records of the plan in its order, one JSON object a line.
#[derive(Args)]
#[command(after_help = "Example:\n  rankle sweep --plan plan.jsonl --records records.jsonl")]
pub(crate) struct Sweep {
    /// File with the inputs of the attacks
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// File of records, to which new records are appended
    #[arg(long, value_name = "FILE")]
    records: PathBuf,
    /// Also store the rank of each image after the attack in NAME.ranks.safetensors beside the records NAME.jsonl: one tensor per
    /// record, named by the hash of its inputs. Attacks without stored ranks are run again, and must give the same record
    #[arg(long)]
    image_ranks: bool,
    /// Folder with the files of published datasets; MNIST needs none, it is in the program
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

/// Cells to compute, and the files of their plan and records.
pub(crate) struct Cells<'a> {
    pub(crate) plan: Vec<Cell>,
    /// File of the plan.
    pub(crate) file: &'a Path,
    /// File of the records.
    pub(crate) records: &'a Path,
    /// True if the rank of each image is stored beside the records.
    pub(crate) image_ranks: bool,
    /// Folder with the files of a dataset by its name; `None` for the default folder.
    pub(crate) dataset_dir: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// Prefix of the tensor names in files of weights.
    pub(crate) prefix: Option<String>,
}

/// Checks the names and numbers of a cell, without reading its files.
///
/// # Errors
/// An unknown name, and a number out of range.
pub(crate) fn check(cell: Cell) -> Result<()> {
    sweep::job(cell, None, None, String::new()).map(drop)
}

impl Cells<'_> {
    /// Computes the cells that the file of records does not hold yet. Returns the records of the plan, in its order.
    ///
    /// # Errors
    /// A wrong cell, data or weights that cannot be read, records that contradict one another, and an interrupt.
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

    /// The jobs of the plan, each line checked.
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
