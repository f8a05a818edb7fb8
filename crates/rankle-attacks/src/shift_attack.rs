//! The embedding shift, an attack without targets.

use crate::{AttackInstance, Batch, EmbeddingShift, Measures, Objective, RankOf, RankRule, RankingAttack, Scene, Targets, signs};
use candle_core::Tensor;
use rankle_core::dataset::check_indices;
use rankle_core::rank::{List, Resolution, TieGroup};
use rankle_core::seed::Purpose;
use rankle_core::{Embeddings, Error, Evaluation, Result, Role};
use rayon::prelude::*;

/// Perturbs an image so that its embedding moves as far as possible (ES, [`EmbeddingShift`]), and measures the recall of its
/// class ([`Measures::hits`]). There are no targets. An image that is a gallery item is left out of the list by its index, before
/// and after the attack; all orders of tied items count the same.
///
/// # Source
/// Zhou et al., ECCV 2020, arXiv:2002.11293, section 4; METHOD.md 7.5, 8.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShiftAttack;

impl RankingAttack for ShiftAttack {
    fn perturbs(&self) -> Role {
        Role::Query
    }
    fn choose(&self, images: &[usize], scene: &Scene<'_>) -> Result<Targets> {
        scene.choice(self.perturbs()).check(images)?;
        Ok(Targets::none(images.len()))
    }
    fn instantiate<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn AttackInstance + 'a>> {
        batch.targets.expect(batch.images.len(), 0, false)?;
        check_indices("image", batch.images, batch.labels.queries().len())?;
        if batch.labels.gallery.len() != batch.gallery().len() {
            let expected = format!("({}), one per gallery item", batch.gallery().len());
            return Err(Error::Shape { what: "the list of labels", actual: vec![batch.labels.gallery.len()], expected });
        }
        let keys: Vec<[u64; 2]> = batch.images.iter().map(|&image| [image as u64, 0]).collect();
        let shift = EmbeddingShift::new(batch.clean.clone(), signs(batch.scene.seed, Purpose::FirstStep, &keys))?;
        Ok(Box::new(ShiftInstance { shift, batch }))
    }
}

struct ShiftInstance<'a> {
    batch: Batch<'a>,
    shift: EmbeddingShift,
}

impl Objective for ShiftInstance<'_> {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        self.shift.evaluate(raw)
    }
    fn first_gradient(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        self.shift.first_gradient(raw)
    }
}

impl AttackInstance for ShiftInstance<'_> {
    fn measures(&self, embeddings: &Embeddings) -> Result<Measures> {
        self.batch.check(embeddings)?;
        let (gallery, Batch { scene, labels, images, .. }) = (self.batch.gallery().exact(), &self.batch);
        let (rows, points): (Vec<usize>, _) = ((0..embeddings.len()).collect(), embeddings.to_host()?);
        let blocks: Vec<Vec<Option<(TieGroup, Resolution)>>> = rows
            .par_chunks(gallery.lists_at_once())
            .map(|rows| {
                let distances = gallery.distances(&embeddings.select(rows)?)?;
                let lists = rows.iter().zip(distances.chunks_exact(gallery.len()));
                lists
                    .map(|(&row, distances)| {
                        let list =
                            gallery.list(points.row(row), distances, RankRule::of(scene.protocol, RankOf::Item).precision)?;
                        let (image, label) = (images[row], labels.queries()[images[row]]);
                        Ok(first_match(&list, labels.gallery, label, scene.sets.itself(image)))
                    })
                    .collect()
            })
            .collect::<Result<_>>()?;
        let matches = blocks.concat();
        let found = || matches.iter().flatten();
        Ok(Measures {
            tied: found().filter(|(group, _)| group.tied > 1).count(),
            pairs: found().count(),
            resolution: found().fold(Resolution::default(), |sum, (_, resolution)| sum.and(*resolution)),
            first_match: matches.iter().map(|found| found.map(|(group, _)| group)).collect(),
            ..Measures::default()
        })
    }
}

/// The nearest items of a class in a list; `itself` is left out.
fn first_match(list: &List<'_>, labels: &[u32], label: u32, itself: Option<usize>) -> Option<(TieGroup, Resolution)> {
    let items = || (0..labels.len()).filter(|&item| Some(item) != itself);
    let same = |&item: &usize| labels[item] == label;
    let wanted: Vec<u32> = items().filter(same).map(|item| item as u32).collect();
    list.first_match(&wanted, items().filter(|item| !same(item)).map(|item| item as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_core::rank::Precision;
    use rankle_core::{Distance, Gallery};

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn ties_and_the_image_itself_in_hand_made_lists() {
        let raw = Tensor::zeros((5, 1), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let points = Distance::Euclidean.normalize(&raw).unwrap();
        let check = |distances: &[f32], labels: &[u32], image, expected: Option<(u32, u32, u32)>| {
            let rows: Vec<usize> = (0..distances.len()).collect();
            let gallery = Gallery::new(&points.select(&rows).unwrap()).unwrap();
            let point = points.to_host().unwrap();
            let list = gallery.list(point.row(0), distances, Precision::Single).unwrap();
            let found = first_match(&list, labels, labels[image], Some(image)).map(|(group, _)| (group.closer, group.tied, group.wanted));
            assert_eq!(found, expected);
        };
        //    distances             labels         image  closer, tied, wanted
        check(&[0.0, 0.1, 0.2],     &[1, 1, 2],    0,     Some((0, 1, 1)));
        check(&[0.0, 0.3, 0.2],     &[1, 1, 2],    0,     Some((1, 1, 1)));
        check(&[0.0, 0.2, 0.2],     &[1, 1, 2],    0,     Some((0, 2, 1)));
        check(&[0.2, 0.2, 0.0],     &[2, 1, 1],    2,     Some((0, 2, 1)));
        check(&[0.5, 0.5, 0.5, 0.5],&[2, 3, 1, 1], 2,     Some((0, 3, 1)));
        check(&[0.5, 0.5, 0.1, 0.5],&[1, 1, 2, 1], 3,     Some((1, 2, 2)));
        check(&[0.0, 0.2, 0.2],     &[1, 3, 2],    0,     None);
    }
}
