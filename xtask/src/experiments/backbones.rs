//! What the network does: every architecture for 28×28 images, trained alike.

use super::tables::{PAPER_SLICE, Tables, published};
use rankle_report::System;
use rankle_report::published::Table;
use std::sync::LazyLock;

pub(super) static BACKBONES: Tables = Tables {
    name: "backbones",
    summary: "the networks of the paper and of its successor on MNIST, cosine distance and triplet loss",
    title: "Backbones on MNIST",
    tables,
    slice: PAPER_SLICE,
    panels: &[
        ("mnist-ct", "mnist-ct"),
        ("mnist-lenet", "mnist-lenet"),
        ("mnist-resnet18-28", "mnist-resnet18-28"),
        ("mnist-c2f2-512", "mnist-c2f2-512"),
    ],
};

/// Besides C2F2: the name on the command line, and a title.
const OTHER_NETWORKS: [(&str, &str); 3] =
    [("lenet", "LeNet"), ("resnet18-28", "ResNet-18 for 28×28"), ("c2f2-512", "C2F2 with a head of 512 numbers")];

fn table((model, title): &(&str, &str)) -> Table {
    let system = System::plain("mnist", model, "cosine", "triplet");
    Table::unpublished(&format!("mnist-{model}"), &format!("MNIST, {title}"), system)
}

fn tables() -> Vec<&'static Table> {
    static OTHERS: LazyLock<Vec<Table>> = LazyLock::new(|| OTHER_NETWORKS.iter().map(table).collect());
    published(&["mnist-ct"]).into_iter().chain(OTHERS.iter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_trained_alike() {
        assert_eq!(tables().len(), 1 + OTHER_NETWORKS.len());
        for table in tables() {
            let System { dataset, distance, loss, defense, .. } = &table.system;
            assert_eq!([dataset, distance, loss, defense], ["mnist", "cosine", "triplet", "none"]);
            assert_eq!(table.cells().count(), 80);
        }
    }
}
