//! The triplet loss and how triplets are drawn from a batch.

use rand::Rng;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Distance, Embeddings, Error, Result};
use rankle_kernels::rows::dot;
use std::collections::BTreeMap;

/// Three positions in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triplet {
    /// Position of the image that ranks the other two.
    pub anchor: usize,
    /// Position of an image of the anchor's class, perhaps of the anchor itself.
    pub positive: usize,
    /// Position of an image of another class.
    pub negative: usize,
}

/// Draws about `n` triplets from `n` images, spread evenly over the classes present: for each class `floor(n / classes)` (at
/// least one) anchors, positives and negatives, independently and with replacement (METHOD.md 4.1). Empty for a single class.
pub fn draw_triplets(labels: &[u32], seed: Seed, step: u64) -> Vec<Triplet> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    labels.iter().enumerate().for_each(|(place, &label)| classes.entry(label).or_default().push(place));
    if classes.len() < 2 {
        return Vec::new();
    }
    let mut rng = seed.stream(Purpose::Sampling, [step, 0]);
    let each = (labels.len() / classes.len()).max(1);
    let mut triplets = Vec::with_capacity(each * classes.len());
    for (&label, members) in &classes {
        let others: Vec<usize> = (0..labels.len()).filter(|&place| labels[place] != label).collect();
        for _ in 0..each {
            triplets.push(Triplet {
                anchor: members[rng.random_range(0..members.len())],
                positive: members[rng.random_range(0..members.len())],
                negative: others[rng.random_range(0..others.len())],
            });
        }
    }
    triplets
}

/// The mean over triplets of `[d(a, p) - d(a, n) + margin]₊`.
///
/// Under Euclidean distance every difference has PyTorch's offset of 1e-6, which also keeps the gradient of equal points finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TripletLoss {
    /// Margin by which the positive must be nearer than the negative, in units of the distance.
    pub margin: f64,
}

const OFFSET: f32 = 1e-6;

/// The difference of two embeddings with PyTorch's offset added: its length is the distance of the Euclidean losses.
pub(crate) fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b + OFFSET).collect()
}

impl TripletLoss {
    /// The loss and its gradient with respect to the embeddings, `n x dim`.
    ///
    /// # Errors
    /// [`Error::Empty`] without triplets, [`Error::Index`] when one points outside the batch.
    pub fn evaluate(&self, points: &Embeddings, triplets: &[Triplet]) -> Result<(f64, Vec<f32>)> {
        if triplets.is_empty() {
            return Err(Error::Empty("triplets: a batch needs images of at least two classes"));
        }
        let all: Vec<usize> = triplets.iter().flat_map(|t| [t.anchor, t.positive, t.negative]).collect();
        rankle_core::dataset::check_indices("triplet", &all, points.len())?;
        let (dim, rows) = (points.dim(), points.to_host()?);
        let mut gradient = vec![0.0f32; points.len() * dim];
        let mut add = |place: usize, direction: &mut dyn Iterator<Item = f32>| {
            gradient[place * dim..][..dim].iter_mut().zip(direction).for_each(|(sum, value)| *sum += value);
        };
        let share = 1.0 / triplets.len() as f32;
        let mut total = 0.0;
        for &Triplet { anchor, positive, negative } in triplets {
            let (a, p, n) = (rows.row(anchor), rows.row(positive), rows.row(negative));
            match points.distance() {
                Distance::Cosine => {
                    let hinge = f64::from(dot(a, n)) - f64::from(dot(a, p)) + self.margin;
                    if hinge <= 0.0 {
                        continue;
                    }
                    total += hinge;
                    add(anchor, &mut n.iter().zip(p).map(|(n, p)| share * (n - p)));
                    add(positive, &mut a.iter().map(|a| -share * a));
                    add(negative, &mut a.iter().map(|a| share * a));
                }
                Distance::Euclidean => {
                    let (to_positive, to_negative) = (difference(a, p), difference(a, n));
                    let (near, far) = (dot(&to_positive, &to_positive).sqrt(), dot(&to_negative, &to_negative).sqrt());
                    let hinge = f64::from(near) - f64::from(far) + self.margin;
                    if hinge <= 0.0 {
                        continue;
                    }
                    total += hinge;
                    let (near, far) = (share / near, share / far);
                    add(anchor, &mut to_positive.iter().zip(&to_negative).map(|(p, n)| near * p - far * n));
                    add(positive, &mut to_positive.iter().map(|p| -near * p));
                    add(negative, &mut to_negative.iter().map(|n| far * n));
                }
            }
        }
        Ok((total / triplets.len() as f64, gradient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differences::{Bounds, assert_gradient};
    use candle_core::{Device, Tensor};

    fn raw(n: usize, dim: usize, seed: u64) -> Tensor {
        let mut rng = Seed(seed).stream(Purpose::Toy, [9, 9]);
        let values: Vec<f32> = (0..n * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, (n, dim), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let labels: Vec<u32> = (0..12).map(|i| i % 3).collect();
        let triplets = draw_triplets(&labels, Seed(3), 0);
        let values = raw(12, 6, 1).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (distance, margin) in [(Distance::Cosine, 0.5), (Distance::Euclidean, 1.0)] {
            let loss = TripletLoss { margin };
            let bounds = Bounds { step: 2e-3, active: 1e-3, tolerance: 2e-3 };
            assert_gradient(distance, &values, 6, bounds, |points| loss.evaluate(points, &triplets).unwrap());
        }
    }

    #[test]
    fn triplets_are_spread_over_the_classes_present_and_repeat() {
        let labels: Vec<u32> = (0..1000).map(|i| i % 10).collect();
        let triplets = draw_triplets(&labels, Seed(1), 7);
        assert_eq!(triplets.len(), 1000);
        assert_eq!(triplets, draw_triplets(&labels, Seed(1), 7));
        assert_ne!(triplets, draw_triplets(&labels, Seed(1), 8));
        for class in 0..10 {
            assert_eq!(triplets.iter().filter(|t| labels[t.anchor] == class).count(), 100);
        }
        assert!(triplets.iter().all(|t| labels[t.anchor] == labels[t.positive] && labels[t.anchor] != labels[t.negative]));
        // A missing class is no error (METHOD.md 4.1); a single class has no negatives.
        assert_eq!(draw_triplets(&[3, 3, 5, 5, 5], Seed(1), 0).len(), 4);
        assert!(draw_triplets(&[3, 3], Seed(1), 0).is_empty());
    }
}
