//! Arithmetic on embeddings by candle's operations, on any of its devices.
//!
//! Every result stays on the device. Sums are f32, so results differ from those of the kernels by rounding.

use crate::classes::check_labels;
use crate::dataset::check_indices;
use crate::kernels::OFFSET;
use crate::lists::check_slots;
use crate::{
    Distance, DistanceTerm, Embeddings, Evaluation, Gallery, GapLoss, GapTerm, ListSums, Lists, Place, Ranking, Result,
    SortedLists,
};
use candle_core::{DType, Tensor};
use std::sync::OnceLock;

/// As [`crate::Place::normalize`]: the rows, and for cosine distance their norms.
pub(crate) fn normalize(distance: Distance, raw: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
    match distance {
        Distance::Euclidean => Ok((raw.clone(), None)),
        Distance::Cosine => {
            let norms = raw.sqr()?.sum(1)?.sqrt()?;
            Ok((raw.broadcast_mul(&inverse(&norms)?.unsqueeze(1)?)?, Some(norms)))
        }
    }
}

/// As [`crate::Embeddings::backward`], under cosine distance.
pub(crate) fn backward(rows: &Tensor, norms: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let along = (gradient * rows)?.sum_keepdim(1)?;
    Ok((gradient - rows.broadcast_mul(&along)?)?.broadcast_mul(&inverse(norms)?.unsqueeze(1)?)?)
}

/// As [`crate::Embeddings::shift_from`].
pub(crate) fn shift(distance: Distance, clean: &Tensor, moved: &Tensor) -> Result<Evaluation> {
    Ok(match distance {
        Distance::Cosine => Evaluation::new((1.0 - (clean * moved)?.sum(1)?)?, clean.neg()?),
        Distance::Euclidean => {
            let difference = ((moved - clean)? + f64::from(OFFSET))?;
            let loss = difference.sqr()?.sum(1)?.sqrt()?;
            let gradient = difference.broadcast_mul(&inverse(&loss)?.unsqueeze(1)?)?;
            Evaluation::new(loss, gradient)
        }
    })
}

/// As [`crate::Place::cross_entropy`], for a matrix of logits.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Evaluation> {
    let (n, classes) = logits.dims2()?;
    check_labels(n * classes, classes, labels)?;
    let labels = Tensor::new(labels, logits.device())?.unsqueeze(1)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?)?;
    let powers = shifted.exp()?;
    let sums = powers.sum_keepdim(1)?;
    let loss = (sums.log()? - shifted.gather(&labels, 1)?)?.squeeze(1)?;
    let indices = Tensor::arange(0u32, classes as u32, logits.device())?.unsqueeze(0)?;
    let own = indices.broadcast_eq(&labels)?.to_dtype(DType::F32)?;
    // As in the kernels the label's gradient is a sum over the other classes, which does not vanish.
    let others = (&powers * (1.0 - &own)?)?;
    let gradient = (&others - own.broadcast_mul(&others.sum_keepdim(1)?)?)?.broadcast_div(&sums)?;
    Ok(Evaluation::new(loss, gradient))
}

/// The reciprocal of each positive number, and 0 for all others.
fn inverse(numbers: &Tensor) -> Result<Tensor> {
    let positive = numbers.gt(0f64)?;
    Ok(positive.where_cond(&positive.where_cond(numbers, &numbers.ones_like()?)?.recip()?, &numbers.zeros_like()?)?)
}

/// 1 where a number is above 0, and 0 elsewhere.
fn above_zero(numbers: &Tensor) -> Result<Tensor> {
    Ok(numbers.gt(0f64)?.to_dtype(DType::F32)?)
}

/// A function of gaps, its derivatives, and 1 for each positive gap.
struct Gaps {
    values: Tensor,
    derivatives: Tensor,
    positive: Tensor,
}

impl Gaps {
    fn new(gaps: &Tensor, of: GapLoss) -> Result<Self> {
        let positive = above_zero(gaps)?;
        Ok(match of {
            GapLoss::Hinge => Self { values: gaps.relu()?, derivatives: positive.clone(), positive },
            GapLoss::Sigmoid { temperature } => {
                let inverse = 1.0 / f64::from(temperature);
                // exp overflows to infinity, whose reciprocal is 0.
                let sigmoid = |sign: f64| (gaps.affine(sign * inverse, 0.0)?.exp()? + 1.0)?.recip();
                let values = sigmoid(-1.0)?;
                // Not of 1 less the values, which is 0 where the gradient still has a direction.
                let derivatives = (&values * sigmoid(1.0)?)?.affine(inverse, 0.0)?;
                Self { values, derivatives, positive }
            }
        })
    }
}

/// Number of distances in a block of a sweep over the gallery: 64 MiB.
const BLOCK: usize = 16 << 20;

/// Items that are compared at once.
#[derive(Clone, Copy)]
struct Block {
    start: usize,
    len: usize,
    /// Number of items for which products are computed, the same in all blocks of a sweep: products of another shape may be summed
    /// in another order, and equal rows would then differ in their distance.
    computed: usize,
}

#[derive(Debug)]
pub(crate) struct TensorGallery {
    exact: Gallery,
    place: Place,
    /// `(len, d)`, centered under Euclidean distance: near the origin fewer digits of squares and products cancel.
    rows: Tensor,
    /// Under Euclidean distance the mean of the rows, `(1, d)`, and the squared norms of the centered rows, `(1, len)`.
    center: Option<(Tensor, Tensor)>,
}

impl TensorGallery {
    /// Builds the gallery from its rows `(len, d)` on the device.
    pub(crate) fn new(exact: Gallery, rows: &Tensor) -> Result<Self> {
        let place = Place::Tensors(rows.device().clone());
        if exact.distance() == Distance::Cosine {
            return Ok(Self { exact, place, rows: rows.clone(), center: None });
        }
        let mean = rows.mean_keepdim(0)?;
        let rows = rows.broadcast_sub(&mean)?;
        let squares = rows.sqr()?.sum(1)?.unsqueeze(0)?;
        Ok(Self { exact, place, rows, center: Some((mean, squares)) })
    }

    fn centered(&self, embeddings: &Tensor) -> Result<Tensor> {
        Ok(match &self.center {
            Some((mean, _)) => embeddings.broadcast_sub(mean)?,
            None => embeddings.clone(),
        })
    }

    /// The rows of each embedding's targets, `(n, targets, d)`.
    fn targets(&self, n: usize, targets: &[u32]) -> Result<Tensor> {
        self.exact.check_targets(n, targets)?;
        let (device, dim) = (self.rows.device(), self.exact.dim());
        Ok(self.rows.index_select(&Tensor::new(targets, device)?, 0)?.reshape((n, targets.len() / n, dim))?)
    }

    /// The distances from centered embeddings `(n, d)` to the rows of one block, `(n, block)`.
    fn block_distances(&self, embeddings: &Tensor, Block { start, len, computed }: Block) -> Result<Tensor> {
        let first = start.min(self.exact.len() - computed);
        let products = embeddings.matmul(&self.rows.narrow(0, first, computed)?.t()?)?.narrow(1, start - first, len)?;
        Ok(match &self.center {
            None => (1.0 - products)?,
            Some((_, squares)) => {
                let own = embeddings.sqr()?.sum_keepdim(1)?;
                let squares = squares.narrow(1, start, len)?.broadcast_add(&own)?;
                (squares - (products * 2.0)?)?.relu()?.sqrt()?
            }
        })
    }

    /// The blocks of a sweep that compares `rows` embeddings with the gallery.
    fn blocks(&self, rows: usize) -> impl Iterator<Item = Block> {
        let len = self.exact.len();
        let computed = (BLOCK / rows.max(1)).clamp(1, len);
        (0..len).step_by(computed).map(move |start| Block { start, len: computed.min(len - start), computed })
    }

    /// `Σ_x w_x ∇d(p, x)` over the rows of a block; distances and weights are `(n, block)`.
    fn block_gradient(&self, embeddings: &Tensor, weights: &Tensor, distances: &Tensor, block: Block) -> Result<Tensor> {
        let rows = self.rows.narrow(0, block.start, block.len)?;
        Ok(match self.exact.distance() {
            Distance::Cosine => weights.matmul(&rows)?.neg()?,
            Distance::Euclidean => {
                let weights = (weights * inverse(distances)?)?;
                (embeddings.broadcast_mul(&weights.sum_keepdim(1)?)? - weights.matmul(&rows)?)?
            }
        })
    }
}

impl Ranking for TensorGallery {
    fn exact(&self) -> &Gallery {
        &self.exact
    }
    fn place(&self) -> &Place {
        &self.place
    }

    fn distances_to(&self, embeddings: &Embeddings, targets: &[u32]) -> Result<Tensor> {
        self.exact.check(embeddings)?;
        let rows = self.targets(embeddings.len(), targets)?;
        let own = self.centered(embeddings.tensor())?.unsqueeze(1)?;
        Ok(match self.exact.distance() {
            Distance::Cosine => (1.0 - rows.broadcast_mul(&own)?.sum(2)?)?,
            Distance::Euclidean => rows.broadcast_sub(&own)?.sqr()?.sum(2)?.sqrt()?,
        })
    }

    fn weighted_distances(&self, embeddings: &Embeddings, terms: &[DistanceTerm<'_>]) -> Result<Evaluation> {
        self.exact.check_terms(embeddings, terms)?;
        let own = self.centered(embeddings.tensor())?;
        let mut loss = Tensor::zeros(embeddings.len(), DType::F32, own.device())?;
        let mut gradient = own.zeros_like()?;
        for DistanceTerm { targets, distances, weights, scale } in terms {
            let rows = self.targets(embeddings.len(), targets)?;
            let weights = weights.map_or_else(|| distances.ones_like(), |weights| Ok(weights.clone()))?.affine(*scale, 0.0)?;
            loss = (loss + (&weights * *distances)?.sum(1)?)?;
            let term = match self.exact.distance() {
                Distance::Cosine => rows.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)?.neg()?,
                Distance::Euclidean => {
                    let weights = (weights * inverse(distances)?)?;
                    let sum = rows.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)?;
                    (own.broadcast_mul(&weights.sum_keepdim(1)?)? - sum)?
                }
            };
            gradient = (gradient + term)?;
        }
        Ok(Evaluation::new(loss, gradient))
    }

    fn gap_sums(&self, embeddings: &Embeddings, terms: &[GapTerm<'_>], of: GapLoss) -> Result<Evaluation> {
        let (n, own) = (embeddings.len(), self.centered(embeddings.tensor())?);
        let distances = terms.iter().map(|term| self.distances_to(embeddings, term.targets)).collect::<Result<Vec<_>>>()?;
        let mut loss = Tensor::zeros(n, DType::F32, own.device())?;
        let mut gradient = own.zeros_like()?;
        let mut rank = loss.clone();
        // Derivative of the sum of each target with respect to its own distance.
        let mut slopes = distances.iter().map(Tensor::zeros_like).collect::<candle_core::Result<Vec<_>>>()?;
        for block in self.blocks(n) {
            let to_items = self.block_distances(&own, block)?;
            let mut weights = to_items.zeros_like()?;
            for ((term, distances), slopes) in terms.iter().zip(&distances).zip(&mut slopes) {
                let (sign, weight) = (if term.raise { 1.0 } else { -1.0 }, f64::from(term.weight));
                let mut added = Vec::new();
                for target in 0..distances.dims()[1] {
                    let gaps = distances.narrow(1, target, 1)?.broadcast_sub(&to_items)?.affine(sign, 0.0)?;
                    let Gaps { values, derivatives, positive } = Gaps::new(&gaps, of)?;
                    loss = (loss + values.sum(1)?.affine(weight, 0.0)?)?;
                    rank = (rank + positive.sum(1)?.affine(weight, 0.0)?)?;
                    weights = (weights + derivatives.affine(sign * weight, 0.0)?)?;
                    added.push(derivatives.sum_keepdim(1)?);
                }
                *slopes = (&*slopes + Tensor::cat(&added, 1)?)?;
            }
            gradient = (gradient - self.block_gradient(&own, &weights, &to_items, block)?)?;
        }
        let own_terms: Vec<DistanceTerm<'_>> = (terms.iter().zip(&distances).zip(&slopes))
            .map(|((term, distances), slopes)| {
                let scale = if term.raise { f64::from(term.weight) } else { -f64::from(term.weight) };
                DistanceTerm { targets: term.targets, distances, weights: Some(slopes), scale }
            })
            .collect();
        let gradient = (gradient + self.weighted_distances(embeddings, &own_terms)?.gradient)?;
        Ok(Evaluation { loss, gradient, rank: Some(rank) })
    }

    fn lists<'a>(&'a self, queries: &'a dyn Ranking, rows: &[usize]) -> Result<Box<dyn Lists + 'a>> {
        let set = queries.exact();
        self.exact.check_set(set)?;
        check_indices("query", rows, set.len())?;
        let embeddings: Vec<f32> = rows.iter().flat_map(|&row| set.point(row)).copied().collect();
        let embeddings = Tensor::from_vec(embeddings, (rows.len(), set.dim()), self.rows.device())?;
        let queries = self.centered(&embeddings)?;
        Ok(Box::new(TensorLists { gallery: self, queries, set, rows: rows.to_vec(), sorted: OnceLock::new() }))
    }
}

/// The lists of some queries, computed again at every call.
#[derive(Debug)]
struct TensorLists<'a> {
    gallery: &'a TensorGallery,
    /// Centered, `(lists, d)`.
    queries: Tensor,
    set: &'a Gallery,
    rows: Vec<usize>,
    sorted: OnceLock<SortedLists>,
}

impl Lists for TensorLists<'_> {
    fn gap_sums(&self, slots: &[usize], distances: &Tensor, raise: bool, share: f64, of: GapLoss) -> Result<ListSums> {
        check_slots(slots, distances, self.rows.len())?;
        let (device, shape) = (self.queries.device(), distances.dims2()?);
        let slots: Vec<u32> = slots.iter().map(|&slot| slot as u32).collect();
        let slots = Tensor::new(slots, device)?;
        let own = distances.reshape((shape.0 * shape.1, 1))?;
        let sign = if raise { 1.0 } else { -1.0 };
        let mut sum = Tensor::zeros(own.dims()[0], DType::F32, device)?;
        let (mut slopes, mut positive) = (sum.clone(), sum.clone());
        for block in self.gallery.blocks(own.dims()[0]) {
            let to_items = self.gallery.block_distances(&self.queries, block)?.index_select(&slots, 0)?;
            let gaps = Gaps::new(&own.broadcast_sub(&to_items)?.affine(sign, 0.0)?, of)?;
            sum = (sum + gaps.values.sum(1)?)?;
            slopes = (slopes + gaps.derivatives.sum(1)?)?;
            positive = (positive + gaps.positive.sum(1)?)?;
        }
        let [loss, positive] = [sum, positive].map(|sums| sums.reshape(shape)?.sum(1)?.affine(share, 0.0));
        Ok(ListSums { loss: loss?, derivative: slopes.reshape(shape)?.affine(sign, 0.0)?, positive: positive? })
    }

    fn exact(&self) -> Result<&SortedLists> {
        if let Some(sorted) = self.sorted.get() {
            return Ok(sorted);
        }
        let sorted = self.gallery.exact.sorted_lists(self.set, &self.rows)?;
        Ok(self.sorted.get_or_init(|| sorted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gallery of two blocks, the second of them short; its last row equals its first.
    #[test]
    fn blocks_add_up_and_equal_rows_have_equal_distances() {
        let len = 5000;
        let numbers: Vec<f32> = (0..3 * len).map(|at| ((at % (3 * (len - 1))) as f32 * 0.37).sin()).collect();
        let raw = Tensor::from_vec(numbers, (len, 3), &candle_core::Device::Cpu).unwrap();
        let losses = [GapLoss::Hinge, GapLoss::Sigmoid { temperature: 0.1 }];
        for (distance, of) in Distance::ALL.into_iter().flat_map(|distance| losses.map(|of| (distance, of))) {
            let [kernels, tensors] = [Place::Kernels, Place::Tensors(candle_core::Device::Cpu)].map(|place| {
                let all = place.normalize(distance, &raw).unwrap();
                let targets: Vec<u32> = (0..len as u32).map(|row| (row * 7 + 1) % len as u32).collect();
                let terms = [GapTerm { targets: &targets, raise: true, weight: 1.0 / len as f32 }];
                let Evaluation { loss, gradient, rank } = place.ranking(&all).unwrap().gap_sums(&all, &terms, of).unwrap();
                let [loss, rank] = [loss, rank.unwrap()].map(|numbers| numbers.to_dtype(DType::F32).unwrap());
                [loss, gradient, rank].map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            });
            for (kernels, tensors) in kernels.iter().zip(&tensors) {
                let largest = kernels.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                assert!(kernels.iter().zip(tensors).all(|(a, b)| (a - b).abs() < 2e-3 * largest), "{distance}");
            }

            let embeddings = Place::Tensors(candle_core::Device::Cpu).normalize(distance, &raw).unwrap();
            let gallery = TensorGallery::new(Gallery::new(&embeddings).unwrap(), embeddings.tensor()).unwrap();
            let own = gallery.centered(embeddings.tensor()).unwrap();
            let blocks: Vec<Block> = gallery.blocks(len).collect();
            let lens: Vec<usize> = blocks.iter().map(|block| block.len).collect();
            assert_eq!((lens.len(), lens.iter().sum::<usize>()), (2, len));
            let column = |block: Block, item: usize| {
                let distances = gallery.block_distances(&own, block).unwrap();
                distances.narrow(1, item, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            assert_eq!(column(blocks[0], 0), column(blocks[1], lens[1] - 1), "{distance}");
        }
    }
}
