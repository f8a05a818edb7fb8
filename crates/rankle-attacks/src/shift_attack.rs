//! The untargeted attack: out of the neighbourhood, wherever to.

use crate::{Aim, Batch, Bound, EmbeddingShift, Evaluation, Protocol, RankingAttack, Standings, Targets, signs};
use candle_core::Tensor;
use rankle_core::dataset::check_indices;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Error, Gallery, Points, Result};
use rayon::prelude::*;
use std::fmt;

/// Perturbs an image so that its embedding moves as far as possible (ES, [`EmbeddingShift`]), and looks for the first item
/// of its class in its list: the recalls of [`Standings::hits`]. There are no targets. The image itself is left out of the
/// list by its index, before and after; ties count in index order under [`Protocol::Paper`], as half otherwise.
///
/// # Source
/// Zhou et al., ECCV 2020, arXiv:2002.11293, section 4; `method.md` 7.5, 8.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShiftAttack;

impl fmt::Display for ShiftAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("es")
    }
}

impl RankingAttack for ShiftAttack {
    fn choose(&self, images: &[usize], gallery: &Gallery, _protocol: Protocol, _seed: Seed) -> Result<Targets> {
        check_indices("image", images, gallery.len())?;
        Ok(Targets::none(images.len()))
    }
    fn bind<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn Bound + 'a>> {
        batch.targets.expect(batch.images.len(), 0, false)?;
        check_indices("image", batch.images, batch.gallery.len())?;
        if batch.labels.len() != batch.gallery.len() {
            let expected = format!("({}), one per gallery item", batch.gallery.len());
            return Err(Error::Shape { what: "the list of labels", actual: vec![batch.labels.len()], expected });
        }
        let keys: Vec<[u64; 2]> = batch.images.iter().map(|&image| [image as u64, 0]).collect();
        let aim = EmbeddingShift::new(batch.clean.clone(), signs(batch.seed, Purpose::FirstStep, &keys))?;
        Ok(Box::new(BoundShift { aim, batch }))
    }
}

struct BoundShift<'a> {
    batch: Batch<'a>,
    aim: EmbeddingShift,
}

impl Aim for BoundShift<'_> {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        self.aim.evaluate(raw)
    }
    fn first_slope(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        self.aim.first_slope(raw)
    }
}

impl Bound for BoundShift<'_> {
    fn standings(&self, points: &Points) -> Result<Standings> {
        self.batch.check(points)?;
        let Batch { gallery, labels, images, protocol, .. } = &self.batch;
        let rows: Vec<usize> = (0..points.len()).collect();
        let blocks: Vec<Vec<Option<f64>>> = rows
            .par_chunks(64)
            .map(|rows| {
                let distances = gallery.distances(&points.select(rows))?;
                let lists = rows.iter().zip(distances.chunks_exact(gallery.len()));
                Ok(lists.map(|(&row, list)| first_match(list, labels, images[row], *protocol)).collect())
            })
            .collect::<Result<_>>()?;
        Ok(Standings { first_match: blocks.concat(), ..Standings::default() })
    }
}

/// The position of the nearest item of the image's class in the list without the image: all that are nearer are of another
/// class, so they need no sorting.
fn first_match(list: &[f32], labels: &[u32], image: usize, protocol: Protocol) -> Option<f64> {
    let items = || list.iter().copied().enumerate().filter(|&(item, _)| item != image);
    let same = |item: usize| labels[item] == labels[image];
    let (first, nearest) = items().filter(|&(item, _)| same(item)).min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let closer = items().filter(|&(_, d)| d < nearest).count() as f64;
    let rivals = items().filter(|&(item, d)| d == nearest && !same(item));
    Some(match protocol {
        Protocol::Paper => closer + rivals.filter(|&(item, _)| item < first).count() as f64,
        Protocol::Strict => closer + rivals.count() as f64 / 2.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn ties_and_the_image_itself_in_hand_made_lists() {
        let check = |list: &[f32], labels: &[u32], image, paper, strict| {
            assert_eq!(first_match(list, labels, image, Protocol::Paper), paper);
            assert_eq!(first_match(list, labels, image, Protocol::Strict), strict);
        };
        //    distances             labels         image  paper      strict
        check(&[0.0, 0.1, 0.2],     &[1, 1, 2],    0,     Some(0.0), Some(0.0));
        check(&[0.0, 0.3, 0.2],     &[1, 1, 2],    0,     Some(1.0), Some(1.0));
        check(&[0.0, 0.2, 0.2],     &[1, 1, 2],    0,     Some(0.0), Some(0.5));
        check(&[0.2, 0.2, 0.0],     &[2, 1, 1],    2,     Some(1.0), Some(0.5));
        check(&[0.5, 0.5, 0.5, 0.5],&[2, 3, 1, 1], 2,     Some(2.0), Some(1.0));
        check(&[0.0, 0.2, 0.2],     &[1, 3, 2],    0,     None,      None);
    }
}
