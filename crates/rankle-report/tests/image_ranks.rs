//! The committed ranks fit the committed records.

use rankle_report::{Estimate, ImageRanks, Journal};
use std::path::{Path, PathBuf};

/// Maximum size of all files of ranks together, in bytes.
const ROOM: u64 = 3_000_000;

#[test]
fn the_ranks_of_the_models_are_those_of_their_records() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let (mut bytes, mut files) = (0, 0);
    for path in entries(&models).iter().filter(|path| path.is_dir()).flat_map(|folder| entries(folder)) {
        let Some(name) = path.to_str().unwrap().strip_suffix(".ranks.safetensors") else { continue };
        let records = PathBuf::from(format!("{name}.jsonl"));
        bytes += path.metadata().unwrap().len();
        files += 1;
        let ranks = ImageRanks::read(&records).unwrap();
        for record in Journal::at(&records).read().unwrap().records {
            let Estimate { mean, standard_error, .. } = ranks.estimate(&record).unwrap();
            // Each rank is rounded to f32.
            let near = |told: Option<f64>, computed: f64| {
                told.is_none_or(|told| (told - computed).abs() <= 100.0 * f64::from(f32::EPSILON))
            };
            let is_told = near(record.rank_after, mean) && near(record.rank_after_stderr, standard_error.unwrap());
            assert!(is_told, "{}: {}", records.display(), record.cell);
        }
    }
    assert_eq!(files, 4, "one beside the records of each model");
    assert!(bytes < ROOM, "{bytes} bytes");
}
