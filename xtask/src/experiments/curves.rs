//! The paper's figure: five attacks at 31 values of ε, on the ordinary and on the defended model.

use super::tables::{Slice, Tables, published};

pub(super) static CURVES: Tables = Tables {
    name: "curves",
    summary: "the paper's figure: five attacks at 31 values of ε on both MNIST models, one target",
    title: "The published MNIST curves, reproduced",
    tables: || published(&["mnist-ct-curves", "mnist-ctd-curves"]),
    slice: Slice { epsilons: &[0.0, 0.1, 0.2, 0.3], targets: &[1] },
    panels: &[("mnist-ct-curves", "mnist-ct-curves"), ("mnist-ctd-curves", "mnist-ctd-curves")],
};

#[cfg(test)]
mod tests {
    use super::super::tests::named;
    use crate::reproduce::Scope;

    #[test]
    fn all_310_published_values_have_a_cell() {
        let cells = |scope: Scope| named("curves").work(&scope).iter().map(|work| work.1).sum::<usize>();
        assert_eq!((cells(Scope::default()), cells(Scope::QUICK)), (310, 40));
    }
}
