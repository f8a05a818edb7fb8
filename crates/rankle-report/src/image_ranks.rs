//! The rank of each attacked image, beside the records that have their means.

mod file;
mod staging;

pub use staging::RankKeeper;

use crate::{AttackId, Cell, Error, Estimate, Facts, Journal, Record, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

/// For each record of a file the mean rank of each attacked image after the attack, in percent and in the order of the sample.
///
/// Beside `NAME.jsonl` they are in `NAME.ranks.safetensors`: one f32 tensor a record, called by [`Record::key`]. Of `es`, which has
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
        let mut name = match records.extension() {
            Some(extension) if extension == "jsonl" => records.file_stem().unwrap_or_default().to_owned(),
            _ => records.file_name().unwrap_or_default().to_owned(),
        };
        name.push(".ranks.safetensors");
        records.with_file_name(name)
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
            cells.insert(record.key()?, record);
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
    /// For a record with a number that is not finite.
    pub fn of(&self, record: &Record) -> Result<Option<&[f32]>> {
        Ok(self.values.get(&record.key()?).map(Vec::as_slice))
    }

    /// The mean rank of a record with its standard error and 95 % interval, from the images.
    ///
    /// # Errors
    /// As [`ImageRanks::of`], and [`Error::Ranks`] where the file has no such record.
    pub fn estimate(&self, record: &Record) -> Result<Estimate> {
        let values: Vec<f64> = self.values_of(record)?.iter().copied().map(f64::from).collect();
        Estimate::of(&values).ok_or_else(|| self.wrong(format!("has no ranks of {}", record.cell)))
    }

    /// By how much the rank of an image is higher in one record than in another one on the same images, with standard error and 95 %
    /// interval: pairs of one image vary less than two samples.
    ///
    /// # Errors
    /// As [`ImageRanks::estimate`], and [`Error::Ranks`] where their images are others or one of them has no ranks.
    pub fn difference(&self, record: &Record, base: &Record) -> Result<Estimate> {
        if let Some(reason) = unpaired(record, base) {
            return Err(self.wrong(format!("pairs no images of {} and {}: {reason}", record.cell, base.cell)));
        }
        let pairs = self.values_of(record)?.iter().zip(self.values_of(base)?);
        let differences: Vec<f64> = pairs.map(|(&one, &other)| f64::from(one) - f64::from(other)).collect();
        Estimate::of(&differences).ok_or_else(|| self.wrong(format!("has no ranks of {}", record.cell)))
    }

    fn values_of(&self, record: &Record) -> Result<&[f32]> {
        self.of(record)?.ok_or_else(|| {
            let cell = &record.cell;
            self.wrong(format!("has no ranks of {cell}; `rankle sweep --image-ranks` with the same plan and records adds them"))
        })
    }

    /// Whether the ranks of a record are there, one for each image, and have the mean that it tells.
    fn check(&self, record: &Record) -> Result<()> {
        let (cell, values) = (&record.cell, self.values_of(record)?);
        let refused = |reason: String| Err(self.wrong(format!("has {reason}; {}", file::ANEW)));
        let count = count(cell);
        if values.len() != count {
            return refused(format!("{} ranks of {cell}, and its record {count} images", values.len()));
        }
        let has_ranks = cell.spec.attack != AttackId::EmbeddingShift;
        let fits = |value: f32| value.is_finite() && (!has_ranks || (0.0..=100.0).contains(&value));
        if let Some(at) = values.iter().position(|&value| !fits(value)) {
            return refused(format!("no rank of {cell} for image {at} of its sample but {}", values[at]));
        }
        let told = if has_ranks { record.rank_after } else { Some(record.embedding_shift) };
        let Estimate { mean, .. } = self.estimate(record)?;
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
    cell.spec.universal.map_or(cell.images, |shared| shared.batches.saturating_mul(shared.perturbations))
}

/// Why two records have no images in common that stand in one order.
fn unpaired(record: &Record, base: &Record) -> Option<&'static str> {
    let images = |Record { cell, facts, .. }: &Record| {
        let Facts { preprocessing, left_out, gallery, queries, .. } = facts.clone();
        (cell.subject.data(), preprocessing, left_out, gallery, queries, cell.images, cell.spec.seed)
    };
    // Of two sets a candidate attack perturbs the one and the others the other one; nobody knows of another program's attack.
    let perturbed = |record: &Record| match record.cell.spec.attack {
        AttackId::Candidate(_) => Some(AttackId::CA_PLUS),
        own @ AttackId::Custom(_) => Some(own),
        AttackId::Query(_) | AttackId::PreservingQuery(_) | AttackId::EmbeddingShift => None,
    };
    let is_shift = |record: &Record| record.cell.spec.attack == AttackId::EmbeddingShift;
    if images(record) != images(base) || record.facts.queries.is_some() && perturbed(record) != perturbed(base) {
        Some("their images are others")
    } else if record.facts.chosen.is_some() || base.facts.chosen.is_some() {
        Some("images or targets were chosen by hand")
    } else if record.cell.spec.universal.is_some() || base.cell.spec.universal.is_some() {
        Some("universal perturbations have a rank each, not images")
    } else if is_shift(record) != is_shift(base) {
        Some("es has embedding shifts and no ranks")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
