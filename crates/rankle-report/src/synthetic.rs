//! Made-up records for tests.

pub(crate) use crate::sample::setting;
use crate::{AttackId, Record, published, sample};

/// A record of a cell of a published table, with the given rank after the attack.
pub(crate) fn record(table: &str, attack: AttackId, targets: usize, epsilon: f64, rank_after: f64) -> Record {
    let system = &published::table(table).expect("a published table").system;
    let subject = system.subject(&format!("models/{}/model.safetensors", system.id()));
    sample::record(table, subject, attack, targets, epsilon, rank_after)
}

/// Records of every cell of a table, each half a point above the published rank.
pub(crate) fn complete(table: &str) -> Vec<Record> {
    let table = published::table(table).expect("a published table");
    table
        .cells()
        .map(|cell| record(&table.id, cell.attack, cell.targets, cell.epsilon, cell.rank.expect("a published rank") + 0.5))
        .collect()
}
