//! The published numbers, as data with a source.
//!
//! The files under `published/` hold the numbers as their source prints them; this module is the only one that reads them.

use crate::{Attack, Error, Result};
use serde::Deserialize;
use std::sync::LazyLock;

/// A published table: the mean normalised rank after the attack, in percent, of one model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The name in the records, as in `mnist-ct`.
    pub id: String,
    /// A heading.
    pub title: String,
    /// The dataset.
    pub dataset: String,
    /// The architecture.
    pub model: String,
    /// The folder under `models/` with our weights for it.
    pub weights: String,
    /// The distance.
    pub distance: String,
    /// The loss.
    pub loss: String,
    /// The defense, `none` or `embedding-shift`.
    pub defense: String,
    /// The published recall at 1, in percent.
    pub recall_at_1: f64,
    /// Where the numbers stand.
    pub source: String,
    /// The rows of each block.
    pub epsilons: Vec<f64>,
    /// The columns of each block: set sizes.
    pub targets: Vec<usize>,
    #[serde(rename = "block")]
    blocks: Vec<Block>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    attack: Attack,
    ranks: Vec<Vec<f64>>,
}

/// One cell of a published table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// What the attack wants to move.
    pub attack: Attack,
    /// How many queries or candidates at once.
    pub targets: usize,
    /// The radius of the ball in pixel units.
    pub epsilon: f64,
    /// Mean normalised rank after the attack, in percent.
    pub rank: f64,
}

impl Table {
    /// The attacks of this table, in the order of its columns.
    pub fn attacks(&self) -> impl Iterator<Item = Attack> {
        self.blocks.iter().map(|block| block.attack)
    }

    /// Every cell: attack by attack, in each the set sizes, in each the epsilons.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        self.blocks.iter().flat_map(move |block| {
            self.targets.iter().enumerate().flat_map(move |(column, &targets)| {
                self.epsilons.iter().zip(&block.ranks).map(move |(&epsilon, row)| Cell {
                    attack: block.attack,
                    targets,
                    epsilon,
                    rank: row[column],
                })
            })
        })
    }

    /// The published rank of one cell, in percent.
    pub fn rank(&self, attack: Attack, targets: usize, epsilon: f64) -> Option<f64> {
        let wanted = |cell: &Cell| (cell.attack, cell.targets, cell.epsilon) == (attack, targets, epsilon);
        self.cells().find(wanted).map(|cell| cell.rank)
    }
}

/// A published curve over epsilon with one target.
#[derive(Debug)]
pub struct Curve {
    /// The table whose model it is about.
    pub table: String,
    /// The attack.
    pub attack: Attack,
    /// `(epsilon, value)`: a mean normalised rank in percent, for [`Attack::EmbeddingShift`] a cosine distance.
    pub points: Vec<(f64, f64)>,
}

/// The two MNIST tables of the paper, the ordinary model first.
pub fn tables() -> &'static [Table] {
    static TABLES: LazyLock<[Table; 2]> = LazyLock::new(|| {
        [include_str!("../published/mnist-ct.toml"), include_str!("../published/mnist-ctd.toml")]
            .map(|text| toml::from_str(text).expect("the tests read every embedded table"))
    });
    &*TABLES
}

/// The published table of that name.
///
/// # Errors
/// [`Error::Unknown`] with the known names.
pub fn table(id: &str) -> Result<&'static Table> {
    tables().iter().find(|table| table.id == id).ok_or_else(|| Error::Unknown {
        what: "table",
        name: id.to_owned(),
        known: tables().iter().map(|table| table.id.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// The MNIST curves over 31 epsilons: five attacks, two models.
pub fn curves() -> &'static [Curve] {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[expect(dead_code, reason = "for whoever reads the file")]
        source: String,
        epsilons: Vec<f64>,
        curve: Vec<Printed>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Printed {
        table: String,
        attack: Attack,
        values: Vec<f64>,
    }
    static CURVES: LazyLock<Vec<Curve>> = LazyLock::new(|| {
        let file: File = toml::from_str(include_str!("../published/mnist-curves.toml")).expect("the tests read it");
        let curve = |Printed { table, attack, values }| {
            // The source prints fractions with three digits; dividing their integer by ten gives the nearest percent.
            let value = |value: f64| if attack == Attack::EmbeddingShift { value } else { (value * 1000.0).round() / 10.0 };
            let points = file.epsilons.iter().copied().zip(values.into_iter().map(value)).collect();
            Curve { table, attack, points }
        };
        file.curve.into_iter().map(curve).collect()
    });
    &CURVES
}

#[cfg(test)]
mod tests {
    use super::*;
    use Attack::*;

    #[test]
    fn the_two_tables_have_160_cells() {
        for table in tables() {
            assert_eq!(table.attacks().collect::<Vec<_>>(), Attack::TABLE, "{}", table.id);
            assert_eq!(
                (table.epsilons.as_slice(), table.targets.as_slice()),
                (&[0.0, 0.01, 0.03, 0.1, 0.3][..], &[1, 2, 5, 10][..])
            );
            for block in &table.blocks {
                assert_eq!(block.ranks.len(), 5);
                assert!(block.ranks.iter().all(|row| row.len() == 4 && row.iter().all(|rank| (0.0..=100.0).contains(rank))));
            }
        }
        assert_eq!(tables().iter().flat_map(Table::cells).count(), 160);
    }

    /// The sum catches a digit that changes anywhere; it was added up from the source by other means.
    #[test]
    fn no_digit_has_changed() {
        let sum = |table: &Table| (table.cells().map(|cell| cell.rank * 10.0).sum::<f64>()).round() as i64;
        assert_eq!(tables().iter().map(sum).collect::<Vec<_>>(), SUMS);
        let sum = |curve: &Curve| (curve.points.iter().map(|point| point.1 * 1000.0).sum::<f64>()).round() as i64;
        assert_eq!(curves().iter().map(sum).collect::<Vec<_>>(), CURVE_SUMS);
    }
    const SUMS: [i64; 2] = [19_257, 19_339];
    const CURVE_SUMS: [i64; 10] = [22_953, 400_200, 1_501_200, 473_300, 195_100, 421, 1_215_100, 144_300, 1_267_100, 41_700];

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn cells_stand_where_the_paper_has_them() {
        check("mnist-ct",  CandidateRaise,       1,  0.3,  2.1);
        check("mnist-ct",  CandidateRaise,       2,  0.01, 45.4);
        check("mnist-ct",  CandidateLower,       10, 0.3,  92.9);
        check("mnist-ct",  PreservingQueryRaise, 10, 0.3,  32.1);
        check("mnist-ct",  PreservingQueryLower, 1,  0.0,  0.5);
        check("mnist-ctd", CandidateRaise,       1,  0.3,  30.7);
        check("mnist-ctd", CandidateLower,       5,  0.1,  3.5);
        check("mnist-ctd", PreservingQueryRaise, 2,  0.03, 48.5);
        check("mnist-ctd", PreservingQueryLower, 1,  0.3,  2.4);
    }

    fn check(id: &str, attack: Attack, targets: usize, epsilon: f64, rank: f64) {
        let table = table(id).unwrap();
        assert_eq!(table.rank(attack, targets, epsilon), Some(rank));
        assert_eq!(table.rank(attack, targets, epsilon + 0.001), None);
    }

    #[test]
    fn ten_curves_have_31_points_each() {
        assert_eq!(curves().len(), 10);
        for curve in curves() {
            assert!(table(&curve.table).is_ok());
            assert_eq!(curve.points.len(), 31);
            assert!(curve.points.iter().enumerate().all(|(n, point)| point.0 == n as f64 / 100.0));
        }
        let at = |id: &str, attack: Attack, n: usize| {
            curves().iter().find(|curve| curve.table == id && curve.attack == attack).unwrap().points[n]
        };
        assert_eq!(at("mnist-ct", EmbeddingShift, 30), (0.3, 1.395));
        assert_eq!(at("mnist-ct", CandidateLower, 15), (0.15, 50.0));
        assert_eq!(at("mnist-ctd", PreservingQueryLower, 30), (0.3, 2.4));
        assert_eq!(at("mnist-ct", CandidateRaise, 0), (0.0, 49.9));
    }

    #[test]
    fn an_unknown_table_is_answered_with_the_known_ones() {
        assert_eq!(table("mnist").unwrap_err().to_string(), "unknown table 'mnist'; known: mnist-ct, mnist-ctd");
    }
}
