//! Spread of an embedding: distances within and between classes, ties, number of directions.

use rankle_core::dataset::check_indices;
use rankle_core::{Distance, Error, Gallery, Result};
use rayon::prelude::*;

/// Distances between the items of a gallery, and the number of directions in which the items spread. In a collapsed embedding all
/// items are nearly in one point or on a line: rounding then decides the ranks, and no attack can move them far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbeddingSpread {
    /// Mean distance of two items, in units of the distance.
    pub mean: f64,
    /// Standard deviation of the distance of two items.
    pub deviation: f64,
    /// Mean distance of two items of one class; NaN if every class has one item.
    pub within: f64,
    /// Mean distance of two items of different classes; NaN if there is one class.
    pub between: f64,
    /// Reference for a large distance: that of two items of root-mean-square norm at a right angle; 1 for cosine distance.
    pub orthogonal: f64,
    /// Share of items at exactly the distance of another item in the same list.
    pub tied: f64,
    /// Number of directions in which the items spread: the participation ratio `(Σλ)² / Σλ²` of the eigenvalues of their
    /// covariance. 1 on a line, the number of coordinates in a round cloud, 0 if all items are equal.
    pub dimension: f64,
}

/// Most lists that one thread holds at once.
const BLOCK: usize = 16;

/// Measures the list of each item of `from` against all other items; the dimension is that of the items of `from` alone.
///
/// # Errors
/// [`Error::Shape`] when there is not one label per item, [`Error::Index`] when one of `from` is not in the gallery, and
/// [`Error::Empty`] for fewer than two items in `from`.
pub fn spread(gallery: &Gallery, labels: &[u32], from: &[usize]) -> Result<EmbeddingSpread> {
    if labels.len() != gallery.len() {
        let expected = format!("({}), one per gallery item", gallery.len());
        return Err(Error::Shape { what: "the list of labels", actual: vec![labels.len()], expected });
    }
    check_indices("item", from, gallery.len())?;
    if from.len() < 2 {
        return Err(Error::Empty("pairs of items"));
    }
    let blocks: Vec<Lists> = from
        .par_chunks(BLOCK.min(gallery.lists_at_once()))
        .map(|items| {
            let distances = gallery.distances_from(gallery, items)?;
            let lists = items.iter().zip(distances.chunks_exact(gallery.len()));
            Ok(lists.fold(Lists::default(), |sums, (&item, list)| sums.and(&Lists::of(item, list, labels))))
        })
        .collect::<Result<_>>()?;
    // Added in the order of the items, so that no sum depends on the threads.
    let lists = blocks.iter().fold(Lists::default(), Lists::and);
    let pairs = lists.same + lists.other;
    let mean = (lists.within + lists.between) / pairs;
    Ok(EmbeddingSpread {
        mean,
        deviation: (lists.squares / pairs - mean * mean).max(0.0).sqrt(),
        within: lists.within / lists.same,
        between: lists.between / lists.other,
        orthogonal: orthogonal(gallery, from),
        tied: lists.tied / pairs,
        dimension: dimension(gallery, from),
    })
}

/// Sums over lists: number and total distance of pairs of one class (`same`, `within`) and of two (`other`, `between`).
#[derive(Clone, Copy, Default)]
struct Lists {
    same: f64,
    within: f64,
    other: f64,
    between: f64,
    squares: f64,
    tied: f64,
}

impl Lists {
    /// The sums of one list, without the item itself.
    fn of(item: usize, list: &[f32], labels: &[u32]) -> Self {
        let mut sums = Self::default();
        for (at, &distance) in list.iter().enumerate().filter(|&(at, _)| at != item) {
            let distance = f64::from(distance);
            let (count, sum) = match labels[at] == labels[item] {
                true => (&mut sums.same, &mut sums.within),
                false => (&mut sums.other, &mut sums.between),
            };
            *count += 1.0;
            *sum += distance;
            sums.squares += distance * distance;
        }
        let mut sorted: Vec<f32> = list.iter().enumerate().filter(|&(at, _)| at != item).map(|(_, &d)| d).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        sums.tied = sorted.chunk_by(|a, b| a == b).filter(|run| run.len() > 1).map(|run| run.len() as f64).sum();
        sums
    }

    fn and(self, more: &Self) -> Self {
        Self {
            same: self.same + more.same,
            within: self.within + more.within,
            other: self.other + more.other,
            between: self.between + more.between,
            squares: self.squares + more.squares,
            tied: self.tied + more.tied,
        }
    }
}

fn orthogonal(gallery: &Gallery, from: &[usize]) -> f64 {
    match gallery.distance() {
        Distance::Cosine => 1.0,
        Distance::Euclidean => {
            let squares = from.iter().flat_map(|&item| gallery.point(item)).map(|&x| f64::from(x).powi(2));
            (2.0 * squares.sum::<f64>() / from.len() as f64).sqrt()
        }
    }
}

/// The participation ratio, from the products of all pairs of items instead of the covariance: there are fewer items than
/// coordinates. Products of an item with itself are left out: they make few items in many directions look like fewer.
fn dimension(gallery: &Gallery, from: &[usize]) -> f64 {
    let (count, dim) = (from.len() as f64, gallery.dim());
    let mut mean = vec![0.0; dim];
    for &item in from {
        mean.iter_mut().zip(gallery.point(item)).for_each(|(mean, &x)| *mean += f64::from(x) / count);
    }
    let centered = |&item: &usize| gallery.point(item).iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean).collect();
    let points: Vec<Vec<f64>> = from.iter().map(centered).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let rows: Vec<f64> = (0..points.len())
        .into_par_iter()
        .map(|at| points[..at].iter().map(|other| product(other, &points[at]).powi(2)).sum())
        .collect();
    let squares = 2.0 * rows.iter().sum::<f64>() / (count * (count - 1.0));
    let trace = points.iter().map(|point| product(point, point)).sum::<f64>() / count;
    // The rounding errors of equal points minus their mean are no direction.
    let rounding = 1e-20 * product(&mean, &mean);
    if trace > rounding && squares > 0.0 { trace * trace / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn gallery(rows: &[[f32; 2]], distance: Distance) -> Gallery {
        let raw = Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu).unwrap();
        Gallery::new(&distance.normalize(&raw).unwrap()).unwrap()
    }

    #[test]
    fn worked_by_hand() {
        // A square of side 2 around the origin; the left two are one class.
        let square = gallery(&[[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], Distance::Euclidean);
        let spread = spread(&square, &[0, 0, 1, 1], &[0, 1, 2, 3]).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        let diagonal = 8.0f64.sqrt();
        near(spread.mean, (4.0 + diagonal) / 3.0);
        near(spread.deviation, ((4.0 + 4.0 + 8.0) / 3.0 - spread.mean * spread.mean).sqrt());
        near(spread.within, 2.0);
        near(spread.between, (2.0 + diagonal) / 2.0);
        near(spread.orthogonal, 2.0);
        near(spread.tied, 2.0 / 3.0); // both neighbors, not the opposite corner
        // Products of different corners: 0, 0 and -2, so the mean square is 4/3; the trace is 2.
        near(spread.dimension, 4.0 / (4.0 / 3.0));
    }

    #[test]
    fn what_has_collapsed_is_seen() {
        let everything: Vec<usize> = (0..60).collect();
        let labels: Vec<u32> = everything.iter().map(|&item| item as u32 % 3).collect();
        let cloud = |item: usize| ((item * 37 % 60) as f32 / 60.0 - 0.5, (item * 11 % 60) as f32 / 60.0 - 0.5);
        let of = |point: fn(f32, f32) -> [f32; 2]| {
            let rows: Vec<[f32; 2]> = everything.iter().map(|&item| cloud(item)).map(|(x, y)| point(x, y)).collect();
            spread(&gallery(&rows, Distance::Euclidean), &labels, &everything).unwrap()
        };
        let (round, line, point) = (of(|x, y| [x, y]), of(|x, _| [x, 0.0]), of(|_, _| [0.3, 0.3]));
        assert!((1.8..2.2).contains(&round.dimension) && (0.9..1.1).contains(&line.dimension), "{round:?} {line:?}");
        assert_eq!((point.mean, point.deviation, point.tied, point.dimension), (0.0, 0.0, 1.0, 0.0));
        let same = spread(&gallery(&[[1.0, 0.0]; 3], Distance::Cosine), &[0, 0, 0], &[0, 1]).unwrap();
        assert!(same.between.is_nan() && same.orthogonal == 1.0 && same.tied == 1.0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let two = gallery(&[[0.0, 1.0], [1.0, 0.0]], Distance::Cosine);
        assert!(matches!(spread(&two, &[0], &[0, 1]), Err(Error::Shape { .. })));
        assert!(matches!(spread(&two, &[0, 1], &[0, 2]), Err(Error::Index { .. })));
        assert!(matches!(spread(&two, &[0, 1], &[0]), Err(Error::Empty(_))));
    }
}
