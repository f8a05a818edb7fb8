//! The paper's two tables for Fashion-MNIST, and the successor's curves.

use super::tables::{Slice, Tables, published};

pub(super) static FASHION: Tables = Tables {
    name: "fashion",
    summary: "the MNIST tables' cells on Fashion-MNIST, CT and CTD, and 12 values of ε beside another system's",
    title: "The paper's tables on Fashion-MNIST",
    tables: || published(&["fashion-ct", "fashion-ctd", "fashion-ct-curves", "fashion-ctd-curves"]),
    slice: Slice { epsilons: &[0.0, 0.1, 0.3, 0.10980, 0.30196], targets: &[1, 10] },
    panels: &[("fashion-ct-curves", "fashion-ct-curves"), ("fashion-ctd-curves", "fashion-ctd-curves")],
};

#[cfg(test)]
mod tests {
    use super::super::tests::named;
    use crate::reproduce::Scope;
    use sha2::{Digest, Sha256};
    use std::collections::BTreeSet;

    #[test]
    fn two_models_are_attacked_in_four_tables() {
        let work = named("fashion").work(&Scope::default());
        let ids: Vec<_> = work.iter().map(|(system, cells)| (system.id(), *cells)).collect();
        let [ordinary, defended] =
            ["fashion-mnist-c2f2-cosine-triplet", "fashion-mnist-c2f2-cosine-triplet-est"].map(str::to_owned);
        assert_eq!(ids, [(ordinary, 80 + 48), (defended, 80 + 48)]);
    }

    #[test]
    fn the_shipped_records_are_all_cells_of_the_shipped_weights() {
        for (system, cells) in named("fashion").work(&Scope::default()) {
            let folder = crate::files::root().join("models").join(system.id());
            let records = rankle_report::Journal::at(folder.join("records.jsonl")).read().unwrap().records;
            let distinct: BTreeSet<_> = records.iter().map(|record| record.cell.identity()).collect();
            assert_eq!((records.len(), distinct.len()), (cells, cells), "{}", system.id());
            let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
            let hash: String = Sha256::digest(weights).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(records.iter().all(|record| record.cell.weights_sha256 == hash), "{}", system.id());
        }
    }
}
