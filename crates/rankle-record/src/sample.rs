//! Made-up records, for the tests of programs that read records.

use crate::record::Format;
use crate::{AttackId, AttackSpec, Cell, Facts, Protocol, Provenance, Record, RunSetting, Search, Subject};

/// Settings of the made-up records.
pub fn setting() -> RunSetting {
    RunSetting { protocol: Protocol::Paper, eight_bit: false, images: 1000, seed: 0 }
}

/// An undefended model of MNIST.
pub fn subject() -> Subject {
    let [dataset, model, distance, loss, defense] = ["mnist", "c2f2", "cosine", "triplet", "none"].map(str::to_owned);
    let weights = "models/mnist-c2f2-cosine-triplet/model.safetensors".to_owned();
    Subject {
        dataset,
        query_dataset: None,
        gallery_dataset: None,
        model,
        weights,
        distance,
        loss: Some(loss),
        defense: Some(defense),
    }
}

/// Weights, code and machine of the made-up records.
pub fn provenance() -> Provenance {
    let [device, instruction_set, code_version] = ["cpu", "avx2", "0.1.0"].map(str::to_owned);
    Provenance {
        weights_sha256: "5f".repeat(32),
        probe_distances: None,
        method_version: 1,
        device,
        instruction_set,
        code_version,
    }
}

/// A record of an attack on `subject`, in a table, with the given rank after the attack.
pub fn record(table: &str, subject: Subject, attack: AttackId, targets: usize, epsilon: f64, rank_after: f64) -> Record {
    let search =
        Search { step: Some(0.01), iterations: Some(24), random_start: Some(false), restarts: Some(1), ..Search::default() };
    Record {
        format: Format,
        cell: Cell {
            table: Some(table.into()),
            subject,
            spec: AttackSpec { targets, search, ..AttackSpec::new(attack, epsilon, Protocol::Paper, 0) },
            images: 1000,
            from: None,
        },
        facts: Facts {
            preprocessing: None,
            gallery: 10_000,
            queries: None,
            left_out: None,
            chosen: None,
            verifiable: true,
            provenance: provenance(),
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
        parts: Vec::new(),
        unseen: None,
        gradient_error: None,
        seconds: 4.5,
    }
}
