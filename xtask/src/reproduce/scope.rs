//! How much is reproduced, and the plan that follows.

use rankle_report::published::{self, Table};
use rankle_report::{Attack, Planned, Setting};
use std::fmt;

/// Which cells, on how many images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// How many images are attacked.
    pub(crate) images: usize,
    /// The seed of the images and their targets.
    pub(crate) seed: u64,
    /// Only a slice of the cells.
    pub(crate) quick: bool,
    /// The epsilons of the published curves as well.
    pub(crate) curves: bool,
}

const QUICK_EPSILONS: [f64; 3] = [0.0, 0.1, 0.3];
const QUICK_TARGETS: [usize; 2] = [1, 10];

impl Scope {
    /// Table by table, each with the cells in published order, then the further points of the curves. `weights` says where
    /// the weights of a table are.
    pub(crate) fn plan(&self, tables: &[Table], weights: impl Fn(&Table) -> String) -> Vec<Planned> {
        tables
            .iter()
            .flat_map(|table| {
                let (weights, setting) = (weights(table), self.setting());
                let cells = self.cells(table).into_iter();
                cells.map(move |(attack, targets, epsilon)| Planned::new(table, &weights, attack, targets, epsilon, &setting))
            })
            .collect()
    }

    /// What all cells share.
    pub(crate) fn setting(&self) -> Setting {
        Setting { protocol: "paper".to_owned(), eight_bit: false, images: self.images, seed: self.seed }
    }

    fn cells(&self, table: &Table) -> Vec<(Attack, usize, f64)> {
        let wanted = |cell: &published::Cell| {
            !self.quick || (QUICK_EPSILONS.contains(&cell.epsilon) && QUICK_TARGETS.contains(&cell.targets))
        };
        let mut cells: Vec<_> = table.cells().filter(wanted).map(|cell| (cell.attack, cell.targets, cell.epsilon)).collect();
        if self.curves {
            let drawn = |curve: &&published::Curve| curve.table == table.id && Attack::TABLE.contains(&curve.attack);
            for curve in published::curves().iter().filter(drawn) {
                let new = curve.points.iter().map(|point| point.0).filter(|epsilon| !table.epsilons.contains(epsilon));
                cells.extend(new.map(|epsilon| (curve.attack, 1, epsilon)));
            }
        }
        cells
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quick {
            true => write!(f, "a slice (ε of 0, 0.1 and 0.3; one and ten targets)")?,
            false => write!(f, "all cells")?,
        }
        if self.curves {
            write!(f, ", 31 values of ε for the curves")?;
        }
        write!(f, ", {} images attacked per cell, seed {}", self.images, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const ALL: Scope = Scope { images: 1000, seed: 0, quick: false, curves: false };

    fn plan(scope: Scope) -> Vec<Planned> {
        scope.plan(published::tables(), |table| format!("models/{}/model.safetensors", table.weights))
    }

    #[test]
    fn the_plan_has_160_cells_each_once() {
        let plan = plan(ALL);
        assert_eq!(plan.len(), 160);
        let lines = Planned::to_lines(&plan).unwrap();
        assert_eq!(lines.lines().collect::<HashSet<_>>().len(), 160);
        for planned in &plan {
            let table = published::table(&planned.table).unwrap();
            assert!(table.rank(planned.attack, planned.targets, planned.epsilon).is_some());
        }
    }

    #[test]
    fn one_model_after_the_other_in_published_order() {
        let plan = plan(ALL);
        assert!(plan[..80].iter().all(|planned| planned.defense == "none"));
        assert!(plan[80..].iter().all(|planned| planned.weights == "models/mnist-c2f2-cosine-triplet-est/model.safetensors"));
        let start: Vec<_> = plan[..7].iter().map(|p| (p.attack.name(), p.targets, p.epsilon)).collect();
        assert_eq!(
            start,
            [
                ("ca+", 1, 0.0),
                ("ca+", 1, 0.01),
                ("ca+", 1, 0.03),
                ("ca+", 1, 0.1),
                ("ca+", 1, 0.3),
                ("ca+", 2, 0.0),
                ("ca+", 2, 0.01)
            ]
        );
        assert_eq!(plan[159].attack.name(), "sp-qa-");
    }

    /// The driver and outside readers take this line as it is.
    #[test]
    fn a_line_of_the_plan() {
        let line = Planned::to_lines(&plan(ALL)[..1]).unwrap();
        let expected = concat!(
            r#"{"table":"mnist-ct","dataset":"mnist","model":"c2f2","weights":"models/mnist-c2f2-cosine-triplet/model.safetensors","#,
            r#""distance":"cosine","loss":"triplet","defense":"none","attack":"ca+","targets":1,"epsilon":0.0,"#,
            r#""protocol":"paper","eight_bit":false,"images":1000,"seed":0}"#,
            "\n"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn quick_is_a_slice_and_curves_are_more() {
        let quick = plan(Scope { quick: true, images: 100, ..ALL });
        assert_eq!(quick.len(), 2 * 4 * 2 * 3);
        assert!(quick.iter().all(|planned| planned.images == 100 && [1, 10].contains(&planned.targets)));

        let curves = plan(Scope { curves: true, ..ALL });
        assert_eq!(curves.len(), 160 + 2 * 4 * (31 - 5));
        assert_eq!(Planned::to_lines(&curves).unwrap().lines().collect::<HashSet<_>>().len(), curves.len());
        assert!(Scope { quick: true, ..ALL }.to_string().contains("slice"));
    }
}
