//! Records for tests, made up.

use crate::{Attack, Cell, Record, Setting, published};

/// The setting of all these records.
pub(crate) fn setting() -> Setting {
    Setting { protocol: "paper".into(), eight_bit: false, images: 1000, seed: 0 }
}

/// A record of a cell of a published table, with the given rank after the attack.
pub(crate) fn record(table: &str, attack: Attack, targets: usize, epsilon: f64, rank_after: f64) -> Record {
    let published = published::table(table).expect("a published table");
    Record {
        cell: Cell {
            table: Some(table.into()),
            dataset: published.system.dataset.clone(),
            preprocessing: None,
            model: published.system.model.clone(),
            weights: format!("models/{}/model.safetensors", published.system.id()),
            weights_sha256: "5f".repeat(32),
            distance: published.system.distance.clone(),
            loss: Some(published.system.loss.clone()),
            defense: Some(published.system.defense.clone()),
            attack,
            targets,
            epsilon,
            step: 0.01,
            iterations: 24,
            random_start: false,
            restarts: 1,
            xi: None,
            objective: None,
            target_band: None,
            protocol: "paper".into(),
            eight_bit: false,
            seed: 0,
            images: 1000,
            gallery: 10_000,
            left_out: None,
            chosen: None,
            from: None,
            universal: None,
            method_version: 1,
        },
        rank_before: Some(50.0),
        rank_before_stderr: Some(0.9),
        rank_before_interval: Some([48.2, 51.8]),
        rank_after: Some(rank_after),
        rank_after_stderr: Some(0.25),
        rank_after_interval: Some([rank_after - 0.5, rank_after + 0.5]),
        preserved_rank_before: None,
        preserved_rank_after: None,
        embedding_shift: 0.822,
        recall_at_1_before: None,
        recall_at_1_after: None,
        recall_at_10_before: None,
        recall_at_10_after: None,
        recall_at_100_before: None,
        recall_at_100_after: None,
        tie_share: 0.0,
        undecided_share: 0.0,
        white_box: None,
        unseen: None,
        seconds: 4.5,
        device: "cpu".into(),
        instruction_set: "avx2".into(),
        code_version: "0.1.0".into(),
    }
}

/// The same of photographs, with another objective and other targets.
pub(crate) fn ablation(table: &str, attack: Attack, targets: usize, epsilon: f64, rank_after: f64) -> Record {
    let mut record = record(table, attack, targets, epsilon, rank_after);
    record.cell.preprocessing = Some("resize=square".into());
    record.cell.objective = Some("distance".into());
    record.cell.target_band = Some("local".into());
    record
}

/// Every cell of a table, each half a point above the published rank.
pub(crate) fn complete(table: &str) -> Vec<Record> {
    let table = published::table(table).expect("a published table");
    table
        .cells()
        .map(|cell| record(&table.id, cell.attack, cell.targets, cell.epsilon, cell.rank.expect("a published rank") + 0.5))
        .collect()
}
