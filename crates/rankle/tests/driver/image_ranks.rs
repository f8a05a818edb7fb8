//! `rankle sweep --image-ranks`: the rank of each image, in a file beside the records.

use crate::support::{outcome, photographs, rankle, shipped, weights};
use rankle_report::{AttackId, Estimate, ImageRanks, Journal, Record};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A plan with every kind of cell, on its own photographs.
struct Place {
    folder: TempDir,
    _photographs: TempDir,
}

impl Place {
    fn new() -> Self {
        let (folder, photographs) = (tempfile::tempdir().unwrap(), photographs());
        let dataset = format!("folder,test=all:{}", photographs.path().display());
        let cell = |attack: &str, targets: usize, further: Value| {
            let mut cell = json!({
                "table": "photographs", "dataset": dataset, "model": "c2f2", "weights": weights(), "distance": "cosine",
                "loss": "triplet", "defense": "none", "attack": attack, "targets": targets, "epsilon": 0.1, "protocol": "paper",
                "eight_bit": false, "images": 10, "seed": 0,
            });
            cell.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
            cell
        };
        let from = json!({ "model": "c2f2", "weights": shipped(), "distance": "cosine" });
        let plan = [
            cell("ca+", 1, json!({})),
            cell("ca-", 2, json!({ "epsilon": 0.0 })),
            cell("sp-qa+", 2, json!({ "protocol": "strict", "iterations": 5, "step": 0.02 })),
            cell("es", 0, json!({})),
            cell("qa-", 1, json!({ "from": from })),
            cell("qa+", 1, json!({ "universal": { "batches": 1, "perturbations": 2 } })),
        ];
        fs::write(folder.path().join("plan.jsonl"), plan.map(|cell| format!("{cell}\n")).concat()).unwrap();
        Self { folder, _photographs: photographs }
    }

    fn records(&self) -> PathBuf {
        self.folder.path().join("records.jsonl")
    }

    fn ranks(&self) -> PathBuf {
        self.folder.path().join("records.ranks.safetensors")
    }

    fn sweep(&self) -> Command {
        let mut command = rankle("sweep --image-ranks --plan");
        command.arg(self.folder.path().join("plan.jsonl")).arg("--records").arg(self.records());
        command
    }

    fn check_whole(&self) -> Vec<Record> {
        let records = Journal::at(self.records()).read().unwrap().records;
        assert_eq!(records.len(), 6);
        let ranks = ImageRanks::read(&self.records()).unwrap();
        records.iter().for_each(|record| check_estimate(record, &ranks));
        let mut left: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["plan.jsonl", "records.jsonl", "records.ranks.safetensors"]);
        records
    }
}

/// Checks mean, standard error and interval of a record against its ranks, which are rounded to f32.
fn check_estimate(record: &Record, ranks: &ImageRanks) {
    let cell = &record.cell;
    let estimate: Estimate = ranks.estimate(record).unwrap();
    assert_eq!(estimate.count, cell.spec.universal.map_or(10, |shared| shared.perturbations));
    let near = |told: Option<f64>, computed: f64| {
        let told = told.unwrap_or_else(|| panic!("{cell} tells no number"));
        assert!((told - computed).abs() <= 100.0 * f64::from(f32::EPSILON), "{cell}: {computed} instead of {told}");
    };
    if cell.spec.attack == AttackId::EmbeddingShift {
        return near(Some(record.embedding_shift), estimate.mean);
    }
    near(record.rank_after, estimate.mean);
    near(record.rank_after_stderr, estimate.standard_error.unwrap());
    let (low, high) = estimate.interval().unwrap();
    let told = record.rank_after_interval.unwrap();
    near(Some(told[0]), low);
    near(Some(told[1]), high);
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn uncertainty_can_be_computed_again_from_the_ranks() {
    let place = Place::new();
    let (code, _, stderr) = outcome(&mut place.sweep());
    assert_eq!(code, 0, "{stderr}");
    let records = place.check_whole();
    let ranks = ImageRanks::read(&place.records()).unwrap();
    let difference = ranks.difference(&records[0], &records[1]).unwrap();
    let means = records[0].rank_after.unwrap() - records[1].rank_after.unwrap();
    assert!((difference.mean - means).abs() < 1e-4 && difference.count == 10);

    // Records whose ranks are lost get them again, and stay unchanged.
    let (kept, written) = (fs::read(place.ranks()).unwrap(), lines(&place.records()));
    fs::remove_file(place.ranks()).unwrap();
    let (code, stdout, stderr) = outcome(&mut place.sweep());
    assert!(code == 0 && stderr.contains("6 of 6 cells are to be computed"), "{stderr}");
    assert!(fs::read(place.ranks()).unwrap() == kept && lines(&place.records()) == written);
    assert_eq!(stdout.lines().collect::<Vec<_>>(), written);
    let (_, _, stderr) = outcome(&mut place.sweep());
    assert!(stderr.contains("0 of 6 cells are to be computed"), "{stderr}");

    // A record with other numbers gets no ranks.
    let mut other: Value = serde_json::from_str(&written[0]).unwrap();
    other["rank_after"] = 0.5.into();
    fs::write(place.records(), format!("{other}\n")).unwrap();
    fs::remove_file(place.ranks()).unwrap();
    let (code, _, stderr) = outcome(&mut place.sweep());
    assert!(code == 1 && stderr.contains("has another record of this cell than is computed now"), "{stderr}");
    assert_eq!(lines(&place.records()).len(), 1);
}

#[test]
fn sweeps_that_share_a_file_keep_all_ranks() {
    let place = Place::new();
    let start = |_| place.sweep().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started: Vec<_> = (0..3).map(start).collect();
    for child in started {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    place.check_whole();
}

#[test]
fn what_is_no_file_of_ranks_is_not_replaced() {
    let place = Place::new();
    fs::write(place.ranks(), "weights of mine").unwrap();
    let (code, stdout, stderr) = outcome(&mut place.sweep());
    assert!(
        code == 1 && stdout.is_empty() && stderr.contains("records.ranks.safetensors is no readable safetensors"),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(place.ranks()).unwrap(), "weights of mine");
}
