//! Sorted lists of distances: counts and sums of the distances below a value, without a scan.

use crate::dataset::check_indices;
use crate::numbers::numbers;
use crate::{Error, GapLoss, ListSums, Lists, Result};
use candle_core::{Device, Tensor};
use rankle_kernels::distance::list_sigmoids;
use rayon::prelude::*;

/// Sorted lists of distances, all of one length, with one prefix sum per 64 distances.
#[derive(Debug)]
pub struct SortedLists {
    sorted: Vec<f32>,
    len: usize,
    /// Prefix sums of each list: of its first 0, 64, 128 … distances.
    sums: Vec<f64>,
}

const STRIDE: usize = 64;

impl SortedLists {
    /// Sorts every row of `len` distances.
    pub(crate) fn new(mut distances: Vec<f32>, len: usize) -> Self {
        distances.par_chunks_exact_mut(len).for_each(|list| list.sort_unstable_by(f32::total_cmp));
        let sums = distances.chunks_exact(len).flat_map(|list| {
            list.chunks(STRIDE).scan(0.0, |sum, block| {
                let before = *sum;
                *sum += total(block);
                Some(before)
            })
        });
        Self { sums: sums.collect(), sorted: distances, len }
    }

    fn list(&self, list: usize) -> &[f32] {
        &self.sorted[list * self.len..][..self.len]
    }
    /// Number of distances of a list that are below `distance`.
    pub fn below(&self, list: usize, distance: f32) -> usize {
        self.list(list).partition_point(|&d| d < distance)
    }
    /// Number of distances of a list that are at most `distance`.
    pub fn not_above(&self, list: usize, distance: f32) -> usize {
        self.list(list).partition_point(|&d| d <= distance)
    }
    /// Sum of the smallest `count` distances of a list.
    pub fn sum(&self, list: usize, count: usize) -> f64 {
        let blocks = self.len.div_ceil(STRIDE);
        // A list of whole blocks has no prefix sum of its full length: its last block is summed here.
        let block = (count / STRIDE).min(blocks - 1);
        self.sums[list * blocks + block] + total(&self.list(list)[block * STRIDE..count])
    }

    /// The hinge sum of one list at `distance`, and its derivative with respect to `distance`.
    fn hinge(&self, list: usize, distance: f32, raise: bool) -> (f64, f64) {
        if raise {
            let closer = self.below(list, distance);
            return (closer as f64 * f64::from(distance) - self.sum(list, closer), closer as f64);
        }
        let near = self.not_above(list, distance);
        let farther = (self.len - near) as f64;
        (self.sum(list, self.len) - self.sum(list, near) - farther * f64::from(distance), -farther)
    }

    /// Number of positive gaps of one list at `distance`.
    fn positive(&self, list: usize, distance: f32, raise: bool) -> usize {
        if raise { self.below(list, distance) } else { self.len - self.not_above(list, distance) }
    }

    /// The sum of sigmoids of one list at `distance`, and its derivative with respect to `distance`.
    fn sigmoids(&self, list: usize, distance: f32, raise: bool, temperature: f32) -> (f64, f64) {
        // Beyond, a sigmoid is 0 or 1 in f32.
        let width = 18.0 * temperature;
        let (first, last) = (self.below(list, distance - width), self.not_above(list, distance + width));
        let (sum, derivative) = list_sigmoids(&self.list(list)[first..last], distance, raise, temperature);
        let beyond = if raise { first } else { self.len - last };
        (sum + beyond as f64, derivative)
    }
}

impl Lists for SortedLists {
    fn gap_sums(&self, slots: &[usize], distances: &Tensor, raise: bool, share: f64, of: GapLoss) -> Result<ListSums> {
        check_slots(slots, distances, self.sums.len() / self.len.div_ceil(STRIDE))?;
        let (n, targets) = distances.dims2()?;
        let (own, mut derivative) = (numbers(distances)?, vec![0.0f32; n * targets]);
        let (mut loss, mut positive) = (vec![0.0f64; n], vec![0.0f64; n]);
        let images = own.par_chunks_exact(targets).zip(slots.par_chunks_exact(targets));
        let sums = derivative.par_chunks_exact_mut(targets).zip(loss.par_iter_mut().zip(&mut positive));
        images.zip(sums).for_each(|((own, slots), (derivative, (loss, positive)))| {
            for ((&distance, &slot), derivative) in own.iter().zip(slots).zip(derivative) {
                let (hinge, slope) = self.hinge(slot, distance, raise);
                let (sum, slope) = match of {
                    GapLoss::Hinge => (hinge, slope),
                    GapLoss::Sigmoid { temperature } => self.sigmoids(slot, distance, raise, temperature),
                };
                *loss += share * sum;
                *derivative = slope as f32;
                *positive += share * self.positive(slot, distance, raise) as f64;
            }
        });
        let [loss, positive] = [loss, positive].map(|numbers| Tensor::new(numbers, &Device::Cpu));
        let derivative = Tensor::from_vec(derivative, (n, targets), &Device::Cpu)?;
        Ok(ListSums { loss: loss?, derivative, positive: positive? })
    }

    fn exact(&self) -> Result<&Self> {
        Ok(self)
    }
}

/// Checks that `distances` is `(n, targets)` with one slot each, and that every slot is the index of one of the `lists`.
///
/// # Errors
/// [`Error::Shape`] and [`Error::Index`].
pub(crate) fn check_slots(slots: &[usize], distances: &Tensor, lists: usize) -> Result<()> {
    if distances.rank() != 2 || distances.elem_count() != slots.len() {
        let expected = format!("(n, targets), {} in all", slots.len());
        return Err(Error::Shape { what: "the list of distances", actual: distances.dims().to_vec(), expected });
    }
    check_indices("list", slots, lists)
}

fn total(distances: &[f32]) -> f64 {
    distances.iter().map(|&d| f64::from(d)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sums_are_those_of_a_scan() {
        for len in [1, 5, 64, 65, 128, 200] {
            let rows: Vec<f32> = (0..3 * len).map(|i| ((i * 7919) % 31) as f32 * 0.25 - 1.0).collect();
            let lists = SortedLists::new(rows.clone(), len);
            for (list, row) in rows.chunks_exact(len).enumerate() {
                for at in [-2.0, -1.0, 0.0, 0.25, 3.0, 9.0] {
                    let below: Vec<f32> = row.iter().copied().filter(|&d| d < at).collect();
                    assert_eq!(lists.below(list, at), below.len());
                    assert_eq!(lists.not_above(list, at), row.iter().filter(|&&d| d <= at).count());
                    assert_eq!(lists.sum(list, below.len()), total(&below), "{len} {at}");
                }
            }
        }
    }
}
