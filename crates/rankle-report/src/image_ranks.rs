//! The rank of each attacked image, beside the records that have their means.

mod file;
mod staging;

pub use staging::RankKeeper;

use crate::{Attack, Cell, Error, Journal, Record, Result};
use rankle_record::Estimate;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

/// For each record of a file the mean rank of each attacked image after the attack, in percent and in the order of the sample.
///
/// Beside `NAME.jsonl` they are in `NAME.ranks.safetensors`: one f32 tensor a record, called by [`Cell::key`]. Of `es`, which has
/// no ranks, they are the embedding shift of each image, and of universal perturbations the mean rank under each perturbation.
/// What a sweep has not put into that file yet is in the folder `.NAME.jsonl.ranks`, a file a record.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRanks {
    path: PathBuf,
    /// By the key of the record.
    values: BTreeMap<String, Vec<f32>>,
}

impl ImageRanks {
    /// Where the ranks beside a file of records are.
    pub fn path(records: &Path) -> PathBuf {
        records.with_extension("ranks.safetensors")
    }

    /// The ranks beside a file of records, each of which fits its record.
    ///
    /// # Errors
    /// As [`Journal::read`]; [`Error::Ranks`] naming the file, and the record where there is one, when it is no such file, when a
    /// record has no ranks or ranks have no record, and when they are no ranks of as many images or have another mean.
    pub fn read(records: &Path) -> Result<Self> {
        let records = &rankle_files::behind(records).map_err(Error::file("read", records))?;
        // Nobody appends to the records or adds to the ranks meanwhile.
        let held =
            File::open(records).and_then(|file| file.lock_shared().map(|()| file)).map_err(Error::file("read", records))?;
        let all = Journal::at(records).read()?.records;
        let (path, mut staged) = (Self::path(records), staging::read(records)?);
        let values = file::read(&path)?;
        drop(held);
        let mut cells: HashMap<String, &Record> = HashMap::new();
        for record in &all {
            cells.insert(record.cell.key()?, record);
        }
        // Those without a record are still to get one.
        staged.retain(|key, _| cells.contains_key(key));
        let values = values.into_iter().chain(staged).collect();
        let ranks = Self { path, values };
        if let Some(key) = ranks.values.keys().find(|&key| !cells.contains_key(key)) {
            return Err(ranks.wrong(format!("has ranks {key} of no record in {}; {}", records.display(), file::ANEW)));
        }
        all.iter().try_for_each(|record| ranks.check(record))?;
        Ok(ranks)
    }

    /// The ranks of a record; none where it is not in the file.
    ///
    /// # Errors
    /// [`Error::Record`] for a record with a number that is not finite.
    pub fn of(&self, cell: &Cell) -> Result<Option<&[f32]>> {
        Ok(self.values.get(&cell.key()?).map(Vec::as_slice))
    }

    /// The mean rank of a record with its standard error and 95 % interval, from the images.
    ///
    /// # Errors
    /// As [`ImageRanks::of`], and [`Error::Ranks`] where the file has no such record.
    pub fn estimate(&self, cell: &Cell) -> Result<Estimate> {
        let values: Vec<f64> = self.values_of(cell)?.iter().copied().map(f64::from).collect();
        Estimate::of(&values).ok_or_else(|| self.wrong(format!("has no ranks of {cell}")))
    }

    /// By how much the rank of an image is higher in one record than in another one on the same images, with standard error and 95 %
    /// interval: pairs of one image vary less than two samples.
    ///
    /// # Errors
    /// As [`ImageRanks::estimate`], and [`Error::Ranks`] where their images are others or one of them has no ranks.
    pub fn difference(&self, cell: &Cell, base: &Cell) -> Result<Estimate> {
        if let Some(reason) = unpaired(cell, base) {
            return Err(self.wrong(format!("pairs no images of {cell} and {base}: {reason}")));
        }
        let pairs = self.values_of(cell)?.iter().zip(self.values_of(base)?);
        let differences: Vec<f64> = pairs.map(|(&one, &other)| f64::from(one) - f64::from(other)).collect();
        Estimate::of(&differences).ok_or_else(|| self.wrong(format!("has no ranks of {cell}")))
    }

    fn values_of(&self, cell: &Cell) -> Result<&[f32]> {
        self.of(cell)?.ok_or_else(|| {
            self.wrong(format!("has no ranks of {cell}; `rankle sweep --image-ranks` with the same plan and records adds them"))
        })
    }

    /// Whether the ranks of a record are there, one for each image, and have the mean that it tells.
    fn check(&self, record: &Record) -> Result<()> {
        let (cell, values) = (&record.cell, self.values_of(&record.cell)?);
        let refused = |reason: String| Err(self.wrong(format!("has {reason}; {}", file::ANEW)));
        let count = count(cell);
        if values.len() != count {
            return refused(format!("{} ranks of {cell}, and its record {count} images", values.len()));
        }
        let has_ranks = cell.attack != Attack::EmbeddingShift;
        let fits = |value: f32| value.is_finite() && (!has_ranks || (0.0..=100.0).contains(&value));
        if let Some(at) = values.iter().position(|&value| !fits(value)) {
            return refused(format!("no rank of {cell} for image {at} of its sample but {}", values[at]));
        }
        let told = if has_ranks { record.rank_after } else { Some(record.embedding_shift) };
        let Estimate { mean, .. } = self.estimate(cell)?;
        match told {
            // Each value is rounded to f32, and so is off by half of its last digit at most; the record has its mean in twelve digits.
            Some(told) if (mean - told).abs() <= mean * f64::from(f32::EPSILON) + 1e-9 => Ok(()),
            Some(told) => refused(format!("ranks of {cell} whose mean is {mean}, and its record tells {told}")),
            None => refused(format!("ranks of {cell}, whose record has none")),
        }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Ranks { path: self.path.clone(), reason }
    }
}

/// How many values a record is the mean of.
fn count(cell: &Cell) -> usize {
    cell.universal.map_or(cell.images, |shared| shared.batches.saturating_mul(shared.perturbations))
}

/// Why two records have no images in common that stand in one order.
fn unpaired(cell: &Cell, base: &Cell) -> Option<&'static str> {
    let images = |cell: &Cell| {
        let Cell { dataset, preprocessing, left_out, gallery, images, seed, .. } = cell.clone();
        (dataset, preprocessing, left_out, gallery, images, seed)
    };
    if images(cell) != images(base) {
        Some("their images are others")
    } else if cell.chosen.is_some() || base.chosen.is_some() {
        Some("images or targets were chosen by hand")
    } else if cell.universal.is_some() || base.universal.is_some() {
        Some("universal perturbations have a rank each, not images")
    } else if (cell.attack == Attack::EmbeddingShift) != (base.attack == Attack::EmbeddingShift) {
        Some("es has embedding shifts and no ranks")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
