//! Published numbers, as data with a source.
//!
//! The files under `published/` hold the numbers as printed in their source; this module is the only one that reads them.

use crate::{AttackId, AttackSpec, Change, Error, Norm, Result, RunSetting, System};
use serde::Deserialize;
use std::sync::LazyLock;

/// A table of cells of one system, with the published numbers if there are any: the mean normalized rank after the attack in
/// percent; for [`AttackId::EmbeddingShift`] the mean shift in units of the distance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedTable {
    /// Name in the records, as in `mnist-ct`.
    pub id: String,
    /// Heading of the table.
    pub title: String,
    /// The attacked system.
    pub system: System,
    /// Published recall at 1, in percent.
    pub recall_at_1: Option<f64>,
    /// Source of the published numbers; `None` if nothing is published.
    pub source: Option<String>,
    /// Description of the system of the published numbers, if it is not the system and the attack of this table. Such numbers are
    /// shown beside ours for orientation, and no difference is marked.
    pub other_system: Option<String>,
    /// Rows of each block.
    pub epsilons: Vec<f64>,
    /// Columns of each block: numbers of targets.
    pub targets: Vec<usize>,
    /// Deviations of the cells from the paper's tables.
    #[serde(skip)]
    pub change: Change,
    #[serde(rename = "block")]
    blocks: Vec<Block>,
}

/// The cells of one attack in a [`PublishedTable`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The attack.
    pub attack: AttackId,
    /// Published numbers, row by row; `None` if nothing is published.
    pub ranks: Option<Vec<Vec<f64>>>,
}

/// One cell of a [`PublishedTable`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedCell {
    /// The attack.
    pub attack: AttackId,
    /// Number of queries or candidates at once; 0 for [`AttackId::EmbeddingShift`], which has no targets.
    pub targets: usize,
    /// Radius of the ball in pixel units.
    pub epsilon: f64,
    /// Published number, if there is one: see [`PublishedTable`].
    pub rank: Option<f64>,
}

/// Rows of the paper's tables.
const EPSILONS: [f64; 5] = [0.0, 0.01, 0.03, 0.1, 0.3];
/// Columns of the paper's tables.
const TARGETS: [usize; 4] = [1, 2, 5, 10];

impl PublishedTable {
    /// A table with the cells of the paper's tables, for a system without published numbers.
    pub fn unpublished(id: &str, title: &str, system: System) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            system,
            recall_at_1: None,
            source: None,
            other_system: None,
            epsilons: EPSILONS.to_vec(),
            targets: TARGETS.to_vec(),
            change: Change::default(),
            blocks: AttackId::TABLE.map(|attack| Block { attack, ranks: None }).into(),
        }
    }

    /// The same table with other blocks.
    ///
    /// # Errors
    /// [`Error::Make`] for a table without cells, a radius that its norm cannot have, 0 targets, an attack that occurs twice, and
    /// published numbers that are not one finite number per cell.
    pub fn with_blocks(self, blocks: Vec<Block>) -> Result<Self> {
        let wrong = |reason: String| Err(Error::make("the table")(format!("'{}': {reason}", self.id)));
        let norm = self.norm();
        if let Err(reason) = self.epsilons.iter().try_for_each(|&epsilon| norm.check(epsilon)) {
            return wrong(reason);
        }
        if self.epsilons.is_empty() || self.targets.is_empty() || blocks.is_empty() {
            return wrong("it has no cells: name attacks, epsilons and targets".to_owned());
        }
        if self.targets.contains(&0) {
            return wrong("targets is 0: at least one is needed".to_owned());
        }
        for (at, Block { attack, ranks }) in blocks.iter().enumerate() {
            if blocks[..at].iter().any(|other| other.attack == *attack) {
                return wrong(format!("{attack} occurs twice"));
            }
            let (rows, columns) = (self.epsilons.len(), self.targets.len());
            let whole = |row: &Vec<f64>| row.len() == columns && row.iter().all(|rank| rank.is_finite());
            if ranks.as_ref().is_some_and(|ranks| ranks.len() != rows || !ranks.iter().all(whole)) {
                return wrong(format!("the ranks of {attack} must be {rows} rows (epsilons) of {columns} numbers (targets)"));
            }
        }
        Ok(Self { blocks, ..self })
    }

    /// Norm of the radii.
    pub fn norm(&self) -> Norm {
        self.change.norm.unwrap_or_default()
    }

    /// An attack on the system of this table, with weights at the path `weights`.
    pub fn asked(&self, weights: &str, attack: AttackId, targets: usize, epsilon: f64, setting: &RunSetting) -> crate::Cell {
        let mut cell = self.system.cell(&self.id, weights, attack, epsilon, setting);
        cell.spec = self.change.of(AttackSpec { targets, ..cell.spec });
        cell
    }

    /// The attacks of this table, in the order of its columns.
    pub fn attacks(&self) -> impl Iterator<Item = AttackId> {
        self.blocks.iter().map(|block| block.attack)
    }

    /// Every cell, ordered by attack, then by number of targets, then by epsilon.
    pub fn cells(&self) -> impl Iterator<Item = PublishedCell> {
        self.blocks.iter().flat_map(move |block| {
            let sizes = self.targets.iter().map(|&targets| if block.attack == AttackId::EmbeddingShift { 0 } else { targets });
            sizes.enumerate().flat_map(move |(column, targets)| {
                self.epsilons.iter().enumerate().map(move |(row, &epsilon)| PublishedCell {
                    attack: block.attack,
                    targets,
                    epsilon,
                    rank: block.ranks.as_ref().map(|ranks| ranks[row][column]),
                })
            })
        })
    }

    /// Published number of one cell, if there is one.
    pub fn rank(&self, attack: AttackId, targets: usize, epsilon: f64) -> Option<f64> {
        let wanted = |cell: &PublishedCell| (cell.attack, cell.targets, cell.epsilon) == (attack, targets, epsilon);
        self.cells().find(wanted).and_then(|cell| cell.rank)
    }

    /// True if numbers are published for any attack of the table.
    pub fn is_published(&self) -> bool {
        self.blocks.iter().any(|block| block.ranks.is_some())
    }
}

/// A file of curves over epsilon, with one target each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Curves {
    source: String,
    other_system: Option<String>,
    unit: Unit,
    epsilons: Vec<f64>,
    curve: Vec<Curve>,
}

/// Unit of the ranks in the source of [`Curves`].
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    Percent,
    Fraction,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Curve {
    /// Id of the table with the same system.
    table: String,
    attack: AttackId,
    values: Vec<f64>,
}

impl Curves {
    /// Converts the curves of one system to a table with one column.
    fn of(&self, table: &PublishedTable) -> PublishedTable {
        let value = |attack, value: f64| match self.unit {
            // The source prints three digits. Dividing their integer by ten gives the number nearest to the printed percentage.
            Unit::Fraction if attack != AttackId::EmbeddingShift => (value * 1000.0).round() / 10.0,
            _ => value,
        };
        let block = |curve: &Curve| Block {
            attack: curve.attack,
            ranks: Some(curve.values.iter().map(|&printed| vec![value(curve.attack, printed)]).collect()),
        };
        PublishedTable {
            id: format!("{}-curves", table.id),
            title: format!("{}, {} values of ε", table.title, self.epsilons.len()),
            system: table.system.clone(),
            recall_at_1: None,
            source: Some(self.source.clone()),
            other_system: self.other_system.clone(),
            epsilons: self.epsilons.clone(),
            targets: vec![1],
            change: Change::default(),
            blocks: self.curve.iter().filter(|curve| curve.table == table.id).map(block).collect(),
        }
    }
}

/// All tables of the papers, the undefended model before the defended one: MNIST, its curves, Fashion-MNIST, its curves.
pub fn tables() -> &'static [PublishedTable] {
    static TABLES: LazyLock<Vec<PublishedTable>> = LazyLock::new(|| {
        macro_rules! read {
            ($name:literal) => {
                toml::from_str(include_str!(concat!("../published/", $name, ".toml"))).expect("the tests read every file")
            };
        }
        let mnist: [PublishedTable; 2] = [read!("mnist-ct"), read!("mnist-ctd")];
        let fashion: [PublishedTable; 2] = [read!("fashion-ct"), read!("fashion-ctd")];
        let (mnist_curves, fashion_curves): (Curves, Curves) = (read!("mnist-curves"), read!("fashion-curves"));
        let curves = [mnist.each_ref().map(|table| mnist_curves.of(table)), fashion.each_ref().map(|t| fashion_curves.of(t))];
        let [mnist_curves, fashion_curves] = curves;
        [mnist, mnist_curves, fashion, fashion_curves].into_iter().flatten().collect()
    });
    &TABLES
}

/// Finds a table by its id.
///
/// # Errors
/// [`Error::Unknown`] with the known names.
pub fn table(id: &str) -> Result<&'static PublishedTable> {
    tables().iter().find(|table| table.id == id).ok_or_else(|| Error::Unknown {
        what: "table",
        name: id.to_owned(),
        known: tables().iter().map(|table| table.id.as_str()).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_whole() {
        for table in tables() {
            for block in &table.blocks {
                let Some(ranks) = &block.ranks else { continue };
                assert_eq!(ranks.len(), table.epsilons.len(), "{}", table.id);
                let range = if block.attack == AttackId::EmbeddingShift { 0.0..=2.0 } else { 0.0..=100.0 };
                let whole = |row: &Vec<f64>| row.len() == table.targets.len() && row.iter().all(|rank| range.contains(rank));
                assert!(ranks.iter().all(whole), "{} {}", table.id, block.attack);
            }
            assert_eq!(table.is_published(), table.blocks.iter().all(|block| block.ranks.is_some()), "{}", table.id);
            assert!(!table.is_published() || table.source.is_some(), "{}: numbers without a source", table.id);
        }
    }

    #[test]
    fn the_papers_tables_have_80_cells_each() {
        for id in ["mnist-ct", "mnist-ctd", "fashion-ct", "fashion-ctd"] {
            let table = table(id).unwrap();
            let made = PublishedTable::unpublished(id, "", table.system.clone());
            let place = |cell: PublishedCell| (cell.attack, cell.targets, cell.epsilon);
            assert!(table.cells().map(place).eq(made.cells().map(place)), "{id}");
            assert_eq!(table.cells().count(), 80);
            assert_eq!(table.is_published(), id.starts_with("mnist"));
        }
    }

    /// A digit that changes anywhere changes a sum; the expected sums were computed from the source by other means.
    #[test]
    fn no_digit_has_changed() {
        let sum = |table: &PublishedTable, attack: AttackId| {
            let scale = if attack == AttackId::EmbeddingShift { 1000.0 } else { 10.0 };
            let ranks = table.cells().filter(|cell| cell.attack == attack).filter_map(|cell| cell.rank);
            (ranks.map(|rank| rank * scale).sum::<f64>()).round() as i64
        };
        let sums = |id: &str| {
            let table = table(id).unwrap();
            table.attacks().map(|attack| sum(table, attack)).collect::<Vec<_>>()
        };
        assert_eq!(sums("mnist-ct").iter().sum::<i64>(), 19_257);
        assert_eq!(sums("mnist-ctd").iter().sum::<i64>(), 19_339);
        assert_eq!(sums("mnist-ct-curves"), [22_953, 4002, 15_012, 4733, 1951]);
        assert_eq!(sums("mnist-ctd-curves"), [421, 12_151, 1443, 12_671, 417]);
        assert_eq!(sums("fashion-ct-curves"), [1288, 8076, 5003, 329]);
        assert_eq!(sums("fashion-ctd-curves"), [2684, 2425, 5248, 291]);
    }

    #[test]
    #[rustfmt::skip] // a table
    fn cells_stand_where_the_paper_has_them() {
        check("mnist-ct",  AttackId::CA_PLUS,       1,  0.3,  2.1);
        check("mnist-ct",  AttackId::CA_PLUS,       2,  0.01, 45.4);
        check("mnist-ct",  AttackId::CA_MINUS,       10, 0.3,  92.9);
        check("mnist-ct",  AttackId::SP_QA_PLUS, 10, 0.3,  32.1);
        check("mnist-ct",  AttackId::SP_QA_MINUS, 1,  0.0,  0.5);
        check("mnist-ctd", AttackId::CA_PLUS,       1,  0.3,  30.7);
        check("mnist-ctd", AttackId::CA_MINUS,       5,  0.1,  3.5);
        check("mnist-ctd", AttackId::SP_QA_PLUS, 2,  0.03, 48.5);
        check("mnist-ctd", AttackId::SP_QA_MINUS, 1,  0.3,  2.4);

        check("mnist-ct-curves",  AttackId::EmbeddingShift,       0, 0.3,  1.395);
        check("mnist-ct-curves",  AttackId::CA_MINUS,       1, 0.15, 50.0);
        check("mnist-ct-curves",  AttackId::CA_PLUS,       1, 0.0,  49.9);
        check("mnist-ctd-curves", AttackId::SP_QA_MINUS, 1, 0.3,  2.4);

        check("fashion-ct-curves",  AttackId::CA_PLUS,       1, 0.05490, 20.2);
        check("fashion-ctd-curves", AttackId::SP_QA_PLUS, 1, 0.30196, 40.6);
    }

    fn check(id: &str, attack: AttackId, targets: usize, epsilon: f64, rank: f64) {
        let table = table(id).unwrap();
        assert_eq!(table.rank(attack, targets, epsilon), Some(rank));
        assert_eq!(table.rank(attack, targets, epsilon + 0.001), None);
    }

    #[test]
    fn the_curves_have_310_points_from_0_to_30_hundredths() {
        let curves = ["mnist-ct-curves", "mnist-ctd-curves"].map(|id| table(id).unwrap());
        assert_eq!(curves.iter().map(|table| table.cells().count()).sum::<usize>(), 310);
        for table in curves {
            assert!(table.epsilons.iter().enumerate().all(|(n, &epsilon)| epsilon == n as f64 / 100.0));
            assert!(table.attacks().eq([AttackId::EmbeddingShift].into_iter().chain(AttackId::TABLE)));
        }
    }

    #[test]
    fn a_table_of_ones_own_has_a_number_for_each_cell_or_none() {
        let system = System::plain("mnist", "lenet", "cosine", "triplet");
        let table = || PublishedTable {
            epsilons: vec![0.0, 0.1],
            targets: vec![1],
            ..PublishedTable::unpublished("own", "", system.clone())
        };
        let block =
            |ranks: &[&[f64]]| Block { attack: AttackId::CA_PLUS, ranks: Some(ranks.iter().map(|row| row.to_vec()).collect()) };
        let whole = table()
            .with_blocks(vec![block(&[&[50.0], &[20.0]]), Block { attack: AttackId::EmbeddingShift, ranks: None }])
            .unwrap();
        assert_eq!((whole.rank(AttackId::CA_PLUS, 1, 0.1), whole.rank(AttackId::EmbeddingShift, 0, 0.1)), (Some(20.0), None));
        assert_eq!(whole.cells().count(), 4);
        let refused = |table: PublishedTable, blocks| table.with_blocks(blocks).unwrap_err().to_string();
        for ranks in [&[&[50.0][..]][..], &[&[50.0], &[]], &[&[50.0], &[f64::NAN]]] {
            let message = refused(table(), vec![block(ranks)]);
            assert_eq!(
                message,
                "cannot make the table: 'own': the ranks of ca+ must be 2 rows (epsilons) of 1 numbers (targets)"
            );
        }
        let free = || vec![Block { attack: AttackId::CA_PLUS, ranks: None }];
        assert!(refused(table(), [free(), free()].concat()).contains("ca+ occurs twice"));
        for (epsilons, targets, part) in [
            (vec![f64::NAN], vec![1], "epsilon NaN is outside"),
            (vec![8.0], vec![1], "epsilon 8 is outside"),
            (vec![], vec![1], "no cells"),
            (vec![0.1], vec![0], "targets is 0"),
        ] {
            assert!(refused(PublishedTable { epsilons, targets, ..table() }, free()).contains(part), "{part}");
        }
    }

    #[test]
    fn an_unknown_table_is_answered_with_the_known_ones() {
        let message = table("mnist").unwrap_err().to_string();
        assert!(message.starts_with("unknown table 'mnist'; known: mnist-ct, mnist-ctd, "), "{message}");
    }
}
