//! The two MNIST tables of the paper.

use super::tables::{PAPER_SLICE, Tables, published};

pub(super) static MNIST: Tables = Tables {
    name: "mnist",
    summary: "the two MNIST tables of the paper: the ordinary (CT) and the defended model (CTD)",
    title: "The published MNIST tables, reproduced",
    tables: || published(&["mnist-ct", "mnist-ctd"]),
    slice: PAPER_SLICE,
    panels: &[("mnist-ct", "mnist-ct-curves"), ("mnist-ctd", "mnist-ctd-curves")],
};

#[cfg(test)]
mod tests {
    use super::super::tests::named;
    use crate::reproduce::Scope;

    /// Bare `cargo xtask reproduce` means these 160 cells, for ever.
    #[test]
    fn it_is_160_cells_of_the_two_shipped_models() {
        let work = named("mnist").work(&Scope::default());
        let ids: Vec<_> = work.iter().map(|(system, cells)| (system.id(), *cells)).collect();
        let [ordinary, defended] = ["mnist-c2f2-cosine-triplet", "mnist-c2f2-cosine-triplet-est"].map(str::to_owned);
        assert_eq!(ids, [(ordinary, 80), (defended, 80)]);
        assert_eq!(named("mnist").work(&Scope::QUICK).iter().map(|work| work.1).sum::<usize>(), 48);
    }
}
