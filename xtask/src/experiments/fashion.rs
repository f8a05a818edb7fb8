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

    #[test]
    fn two_models_are_attacked_in_four_tables() {
        let work = named("fashion").work(&Scope::default());
        let ids: Vec<_> = work.iter().map(|(system, cells)| (system.id(), *cells)).collect();
        let [ordinary, defended] =
            ["fashion-mnist-c2f2-cosine-triplet", "fashion-mnist-c2f2-cosine-triplet-est"].map(str::to_owned);
        assert_eq!(ids, [(ordinary, 80 + 48), (defended, 80 + 48)]);
    }
}
