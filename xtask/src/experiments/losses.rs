//! What the distance and the loss of the training do: the four combinations of the paper.

use super::tables::{PAPER_SLICE, Tables, published};
use rankle_report::System;
use rankle_report::published::Table;
use std::sync::LazyLock;

pub(super) static LOSSES: Tables = Tables {
    name: "losses",
    summary: "cosine and Euclidean distance, triplet and contrastive loss: four C2F2 on MNIST",
    title: "Distances and losses on MNIST",
    tables,
    slice: PAPER_SLICE,
    panels: &[("mnist-ct", "mnist-ct"), ("mnist-cc", "mnist-cc"), ("mnist-et", "mnist-et"), ("mnist-ec", "mnist-ec")],
};

fn tables() -> Vec<&'static Table> {
    static OTHERS: LazyLock<[Table; 3]> = LazyLock::new(|| {
        [
            ("cc", "cosine distance, contrastive loss (CC)", "cosine", "contrastive"),
            ("et", "Euclidean distance, triplet loss (ET)", "euclidean", "triplet"),
            ("ec", "Euclidean distance, contrastive loss (EC)", "euclidean", "contrastive"),
        ]
        .map(|(id, title, distance, loss)| {
            let system = System::plain("mnist", "c2f2", distance, loss);
            Table::unpublished(&format!("mnist-{id}"), &format!("MNIST, {title}"), system)
        })
    });
    published(&["mnist-ct"]).into_iter().chain(OTHERS.iter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_combination_has_a_table() {
        let combinations: HashSet<_> = tables().iter().map(|table| (&table.system.distance, &table.system.loss)).collect();
        assert_eq!((tables().len(), combinations.len()), (4, 4));
        assert!(tables().iter().all(|table| table.cells().count() == 80));
    }
}
