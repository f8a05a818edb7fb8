//! Ranks of single images, beside the records with their means.

mod file;
mod staging;

pub use staging::RankKeeper;

use crate::{AttackId, Cell, Error, Estimate, Facts, Journal, Record, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Mean rank of each attacked image after the attack, for each record of a file, in percent and in the order of the sample.
///
/// The file beside `NAME.jsonl` is `NAME.ranks.safetensors`, with one f32 tensor per record, named by [`Record::key`]. For `es`,
/// which has no ranks, the values are the embedding shifts of the images; for universal perturbations, the mean rank under each
/// perturbation. Ranks that a sweep has not merged into that file yet are in the folder `.NAME.jsonl.ranks`, one file per record.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRanks {
    path: PathBuf,
    /// Ranks by the key of their record.
    values: BTreeMap<String, Vec<f32>>,
}

impl ImageRanks {
    /// Path of the ranks beside a file of records.
    pub fn path(records: &Path) -> PathBuf {
        let mut name = match records.extension() {
            Some(extension) if extension == "jsonl" => records.file_stem().unwrap_or_default().to_owned(),
            _ => records.file_name().unwrap_or_default().to_owned(),
        };
        name.push(".ranks.safetensors");
        records.with_file_name(name)
    }

    /// Reads the ranks beside a file of records, and checks that they fit the records.
    ///
    /// # Errors
    /// As [`Journal::read`]. [`Error::Ranks`], naming the file and any record, for a file that holds no ranks, for a record
    /// without ranks, for ranks without a record, and for ranks whose range, number or mean does not fit the record.
    pub fn read(records: &Path) -> Result<Self> {
        let records = &rankle_files::behind(records).map_err(Error::file("read", records))?;
        // The lock keeps others from adding records or ranks meanwhile.
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
        // Staged ranks without a record belong to a record that is not written yet.
        staged.retain(|key, _| cells.contains_key(key));
        let values = values.into_iter().chain(staged).collect();
        let ranks = Self { path, values };
        if let Some(key) = ranks.values.keys().find(|&key| !cells.contains_key(key)) {
            return Err(ranks.wrong(format!("has ranks {key} without a record in {}; {}", records.display(), file::ANEW)));
        }
        all.iter().try_for_each(|record| ranks.check(record))?;
        Ok(ranks)
    }

    /// Ranks of a record; `None` if the file has none.
    ///
    /// # Errors
    /// For a record with a number that is not finite.
    pub fn of(&self, record: &Record) -> Result<Option<&[f32]>> {
        Ok(self.values.get(&record.key()?).map(Vec::as_slice))
    }

    /// Mean rank of a record with standard error and 95 % interval, computed from the images.
    ///
    /// # Errors
    /// As [`ImageRanks::of`], and [`Error::Ranks`] if the file has no ranks of the record.
    pub fn estimate(&self, record: &Record) -> Result<Estimate> {
        let values: Vec<f64> = self.values_of(record)?.iter().copied().map(f64::from).collect();
        Estimate::of(&values).ok_or_else(|| self.wrong(format!("has no ranks of {}", record.cell)))
    }

    /// Mean difference of the ranks of each image between a record and another one (`base`) on the same images, with standard
    /// error and 95 % interval: pairs of one image vary less than two samples.
    ///
    /// # Errors
    /// As [`ImageRanks::estimate`], and [`Error::Ranks`] if the images of the two records cannot be paired.
    pub fn difference(&self, record: &Record, base: &Record) -> Result<Estimate> {
        if let Some(reason) = unpaired(record, base) {
            return Err(self.wrong(format!("cannot pair the images of {} and {}: {reason}", record.cell, base.cell)));
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

    /// Checks that a record has ranks, one per image, with the mean that the record states.
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
            return refused(format!("the invalid rank {} for image {at} of the sample of {cell}", values[at]));
        }
        let told = if has_ranks { record.rank_after } else { Some(record.embedding_shift) };
        let Estimate { mean, .. } = self.estimate(record)?;
        match told {
            // Each value is rounded to f32: off by at most half a unit in the last place. Records have twelve digits.
            Some(told) if (mean - told).abs() <= mean * f64::from(f32::EPSILON) + 1e-9 => Ok(()),
            Some(told) => refused(format!("ranks of {cell} whose mean is {mean}, and its record tells {told}")),
            None => refused(format!("ranks of {cell}, whose record has none")),
        }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Ranks { path: self.path.clone(), reason }
    }
}

/// Number of values that a record is the mean of.
fn count(cell: &Cell) -> usize {
    cell.spec.universal.map_or(cell.images, |shared| shared.batches.saturating_mul(shared.perturbations))
}

/// Reason why the images of two records cannot be paired.
fn unpaired(record: &Record, base: &Record) -> Option<&'static str> {
    let images = |Record { cell, facts, .. }: &Record| {
        let Facts { preprocessing, left_out, gallery, queries, .. } = facts.clone();
        (cell.subject.data(), preprocessing, left_out, gallery, queries, cell.images, cell.spec.seed)
    };
    // With separate queries and gallery, candidate attacks perturb gallery images and the other attacks queries. For an attack of
    // another program the set is unknown here.
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
