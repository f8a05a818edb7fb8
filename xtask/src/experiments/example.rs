//! How an experiment is added: this file and its registration in `TABLES`. It is there for the tests only, which ask of it what
//! they ask of all others: cells, sizes, tables, a figure.

use super::tables::{Slice, Tables, published};
use rankle_report::System;
use rankle_report::published::Table;
use std::sync::LazyLock;

pub(super) static EXAMPLE: Tables = Tables {
    name: "example",
    summary: "LeNet for Euclidean distance beside the paper's ordinary model, on MNIST",
    title: "LeNet for Euclidean distance",
    tables,
    slice: Slice { epsilons: &[0.0, 0.3], targets: &[1] },
    panels: &[("mnist-ct", "mnist-ct"), ("mnist-lenet-et", "mnist-lenet-et")],
};

fn tables() -> Vec<&'static Table> {
    static OURS: LazyLock<Table> = LazyLock::new(|| {
        let system = System::plain("mnist", "lenet", "euclidean", "triplet");
        Table::unpublished("mnist-lenet-et", "MNIST, LeNet for Euclidean distance", system)
    });
    published(&["mnist-ct"]).into_iter().chain([&*OURS]).collect()
}
