//! Made-up records of a sweep, for tests.

use super::Scope;
use rankle_report::{Cell, Record, published, sample};

/// The 160 planned cells, and a record per cell with a rank half a point above the published one.
pub(crate) fn answered() -> (Vec<Cell>, Vec<Record>) {
    let setting = Scope::default().setting();
    let mut plan = Vec::new();
    for table in ["mnist-ct", "mnist-ctd"].map(|id| published::table(id).expect("it is published")) {
        let weights = format!("models/{}/model.safetensors", table.system.id());
        plan.extend(table.cells().map(|cell| table.asked(&weights, cell.attack, cell.targets, cell.epsilon, &setting)));
    }
    let records = plan.iter().map(record).collect();
    (plan, records)
}

fn record(Cell { table, subject, spec, .. }: &Cell) -> Record {
    let table = published::table(table.as_deref().expect("a table")).expect("the plan names published tables");
    let rank = table.rank(spec.attack, spec.targets, spec.epsilon).expect("the plan holds published cells") + 0.5;
    sample::record(&table.id, subject.clone(), spec.attack, spec.targets, spec.epsilon, rank)
}
