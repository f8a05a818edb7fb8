//! A whole answer of the driver, made up, for tests.

use rankle_report::{Cell, Planned, Record, Setting, published};

/// The plan of the 160 cells, and a record for each of them, half a point above the published rank.
pub(crate) fn answered() -> (Vec<Planned>, Vec<Record>) {
    let setting = Setting { protocol: "paper".to_owned(), eight_bit: false, images: 1000, seed: 0 };
    let mut plan = Vec::new();
    for table in ["mnist-ct", "mnist-ctd"].map(|id| published::table(id).expect("it is published")) {
        let weights = format!("models/{}/model.safetensors", table.system.id());
        plan.extend(table.cells().map(|cell| Planned::new(table, &weights, cell.attack, cell.targets, cell.epsilon, &setting)));
    }
    let records = plan.iter().map(record).collect();
    (plan, records)
}

fn record(planned: &Planned) -> Record {
    let table = published::table(&planned.table).expect("the plan names published tables");
    let rank = table.rank(planned.attack, planned.targets, planned.epsilon).expect("the plan holds published cells") + 0.5;
    Record {
        cell: Cell {
            table: Some(planned.table.clone()),
            dataset: planned.dataset.clone(),
            preprocessing: None,
            model: planned.model.clone(),
            weights: planned.weights.clone(),
            weights_sha256: "5f".repeat(32),
            distance: planned.distance.clone(),
            loss: Some(planned.loss.clone()),
            defense: Some(planned.defense.clone()),
            attack: planned.attack,
            targets: planned.targets,
            epsilon: planned.epsilon,
            step: 0.01,
            iterations: 30,
            random_start: false,
            restarts: 1,
            xi: None,
            objective: None,
            target_band: None,
            protocol: planned.protocol.clone(),
            eight_bit: planned.eight_bit,
            seed: planned.seed,
            images: planned.images,
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
        rank_after: Some(rank),
        rank_after_stderr: Some(0.25),
        rank_after_interval: Some([rank - 0.5, rank + 0.5]),
        preserved_rank_before: None,
        preserved_rank_after: None,
        embedding_shift: 0.8,
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
