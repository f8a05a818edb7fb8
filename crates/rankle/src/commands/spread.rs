//! `rankle spread`: ranges of results over models trained with different seeds.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use rankle_cli::answer;
use rankle_report::{Journal, PublishedTable, Record, RunSetting, SeedSpread, published};
use std::path::{Path, PathBuf};

/// Show how much the results of a table vary between models trained with different seeds.
///
/// For each cell of a published table: the mean, lowest and highest result of the models beside the published number. Each file
/// holds the records of one model, as `rankle run --retrain --train-seed N` writes them. All must be measured on the same number
/// of images, with the same seed and protocol.
#[derive(Args)]
pub(crate) struct Spread {
    /// Published table, as in mnist-ct
    #[arg(value_parser = published::table)]
    table: &'static PublishedTable,
    /// Files of records, one for each model
    #[arg(value_name = "RECORDS.jsonl", required = true)]
    files: Vec<PathBuf>,
    /// Print Markdown, or one line (csv) or object (json) per cell
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Markdown,
    Csv,
    Json,
}

/// The records of one model.
#[derive(Debug)]
struct Set {
    weights_sha256: String,
    setting: RunSetting,
    records: Vec<Record>,
}

impl Spread {
    pub(crate) fn run(self) -> Result<()> {
        let (setting, sets) = read(self.table, &self.files)?;
        let spread = SeedSpread::over(self.table, &setting, &sets);
        match self.format {
            Format::Markdown => answer(spread.to_markdown())?,
            Format::Csv => answer(spread.to_csv()?)?,
            Format::Json => answer(spread.to_json()?)?,
        }
        Ok(())
    }
}

/// Reads one set of records per file.
///
/// # Errors
/// Two files of the same weights, and files that were not measured in one setting.
fn read(table: &PublishedTable, files: &[PathBuf]) -> Result<(RunSetting, Vec<Vec<Record>>)> {
    let mut sets: Vec<Set> = Vec::new();
    for file in files {
        let set = read_one(table, file)?;
        if let Some(place) = sets.iter().position(|other| other.weights_sha256 == set.weights_sha256) {
            bail!("{} and {} hold records of the same weights: name each model once", files[place].display(), file.display());
        }
        if let Some(first) = sets.first().filter(|first| first.setting != set.setting) {
            let (place, file) = (files[0].display(), file.display());
            bail!("{file} has {}, but {place} has {}: compare what was measured alike", set.setting, first.setting);
        }
        sets.push(set);
    }
    let setting = sets.first().context("no file was named")?.setting.clone();
    Ok((setting, sets.into_iter().map(|set| set.records).collect()))
}

fn read_one(table: &PublishedTable, file: &Path) -> Result<Set> {
    let reading = Journal::at(file).read()?;
    let place = file.display();
    if let Some(torn) = reading.torn {
        bail!("{place} line {} was cut off while it was written: run what wrote it again", torn.line);
    }
    let of_table = |record: &Record| record.cell.table.as_deref() == Some(&table.id);
    let records: Vec<Record> = reading.records.into_iter().filter(of_table).collect();
    let Some(first) = records.first() else { bail!("{place} is not there or holds no record of {}", table.id) };
    let (weights_sha256, setting) = (first.facts.provenance.weights_sha256.clone(), first.cell.setting());
    for Record { cell, facts, .. } in &records {
        if facts.provenance.weights_sha256 != weights_sha256 {
            bail!("{place} holds records of several weights ({}): name one file for each model", cell.subject.weights);
        }
        if cell.setting() != setting {
            bail!("{place} holds records of {setting} and of {}: name one file for each", cell.setting());
        }
    }
    Ok(Set { weights_sha256, setting, records })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::sample;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Writes a file of 160 records after `change`.
    fn file(folder: &Path, name: &str, change: impl Fn(&mut Record)) -> PathBuf {
        let (_, mut records) = sample::answered();
        records.iter_mut().for_each(change);
        let path = folder.join(name);
        let lines: String = records.iter().map(|record| record.to_line().unwrap() + "\n").collect();
        std::fs::write(&path, lines).unwrap();
        path
    }

    #[test]
    fn every_file_is_one_model() {
        let folder = tempfile::tempdir().unwrap();
        let table = published::table("mnist-ctd").unwrap();
        let one = file(folder.path(), "one", |_| {});
        let two = file(folder.path(), "two", |record| {
            record.facts.provenance.weights_sha256 = "60".into();
            *record.rank_after.as_mut().unwrap() += 1.0;
        });
        let (setting, sets) = read(table, &[one.clone(), two]).unwrap();
        assert_eq!((setting.images, sets.len(), sets[0].len(), sets[1].len()), (1000, 2, 80, 80));
        let spread = SeedSpread::over(table, &setting, &sets);
        let range = spread.rows[0];
        assert_eq!((spread.rows.len(), range.sets), (80, 2));
        assert!((range.maximum - range.minimum - 1.0).abs() < 1e-9);

        let mixed =
            file(folder.path(), "mixed", |record| record.facts.provenance.weights_sha256 = record.cell.spec.attack.to_string());
        let other = file(folder.path(), "other", |record| {
            record.facts.provenance.weights_sha256 = "61".into();
            record.cell.images = 10_000;
        });
        let both = file(folder.path(), "both", |record| record.cell.spec.seed = record.cell.spec.targets as u64);
        let torn = file(folder.path(), "torn", |_| {});
        std::fs::write(&torn, std::fs::read_to_string(&torn).unwrap() + "{").unwrap();
        for (files, part) in [
            (vec![one.clone(), one.clone()], "hold records of the same weights"),
            (vec![one.clone(), other], "has 10000 images, seed 0, protocol paper, but"),
            (vec![mixed], "holds records of several weights"),
            (vec![both], "holds records of 1000 images, seed 1, protocol paper and of 1000 images, seed 2"),
            (vec![torn], "line 161 was cut off"),
            (vec![folder.path().join("none")], "is not there or holds no record of mnist-ctd"),
        ] {
            let message = read(table, &files).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_shipped_pages_are_made_of_the_shipped_records() {
        for (table, model, seeds) in
            [("mnist-ct", "mnist-c2f2-cosine-triplet", 4), ("mnist-ctd", "mnist-c2f2-cosine-triplet-est", 1)]
        {
            let folder = root().join("models").join(model);
            let others = (1..=seeds).map(|seed| folder.join(format!("seeds/records-{seed}.jsonl")));
            let files: Vec<PathBuf> = [folder.join("records.jsonl")].into_iter().chain(others).collect();
            let table = published::table(table).unwrap();
            let (setting, sets) = read(table, &files).unwrap();
            assert!(sets.iter().all(|records| records.len() == 80), "{model}");
            let page = std::fs::read_to_string(folder.join("spread.md")).unwrap();
            assert_eq!(page, SeedSpread::over(table, &setting, &sets).to_markdown(), "{model}");
        }
    }

    #[test]
    fn the_shipped_records_of_all_images_are_of_the_shipped_model() {
        for (table, model) in [("mnist-ct", "mnist-c2f2-cosine-triplet"), ("mnist-ctd", "mnist-c2f2-cosine-triplet-est")] {
            let folder = root().join("models").join(model);
            let of = |file: &str| read_one(published::table(table).unwrap(), &folder.join(file)).unwrap();
            let (sample, full) = (of("records.jsonl"), of("records-full.jsonl"));
            assert_eq!((full.records.len(), full.setting.images), (80, 10_000), "{model}");
            assert_eq!(full.weights_sha256, sample.weights_sha256, "{model}");
        }
    }
}
