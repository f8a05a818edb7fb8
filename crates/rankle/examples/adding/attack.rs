//! An attack: the perturbed role, the targets, the loss, and the ranks of the targets. It has no loop: any solver minimizes the
//! loss, and `rankle_attacks::run` measures.

use candle_core::Tensor;
use rankle_attacks::{AttackInstance, Batch, Measures, Objective, RankOf, RankRule, RankingAttack, Scene, Targets};
use rankle_core::{Counted, DistanceTerm, Embeddings, Evaluation, Result, Role};

/// Perturbs a query so that the last item of its list rises, by lowering the distance to that item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BottomUp;

impl RankingAttack for BottomUp {
    fn perturbs(&self) -> Role {
        Role::Query
    }

    fn choose(&self, images: &[usize], scene: &Scene<'_>) -> Result<Targets> {
        let (gallery, queries) = (scene.sets.gallery.exact(), scene.sets.queries().exact());
        let distances = gallery.distances_from(queries, images)?;
        let last = |list: &[f32]| (0..list.len()).max_by(|&a, &b| list[a].total_cmp(&list[b])).unwrap_or(0) as u32;
        let last = distances.chunks_exact(gallery.len()).map(last).collect();
        Targets::new(images.len(), last, 1, None, gallery.len())
    }

    fn instantiate<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn AttackInstance + 'a>> {
        Ok(Box::new(BottomUpInstance(batch)))
    }
}

struct BottomUpInstance<'a>(Batch<'a>);

impl Objective for BottomUpInstance<'_> {
    /// Distance to the target of each image, computed where the gallery is: on the CPU or on a device.
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        let (gallery, targets) = (self.0.gallery(), self.0.targets.indices());
        let embeddings = gallery.normalize(raw)?;
        let distances = gallery.distances_to(&embeddings, targets)?;
        let term = DistanceTerm { targets, distances: &distances, weights: None, scale: 1.0 };
        let Evaluation { loss, gradient, .. } = gallery.weighted_distances(&embeddings, &[term])?;
        Ok(Evaluation::new(loss, embeddings.backward(&gradient)?))
    }
}

impl AttackInstance for BottomUpInstance<'_> {
    fn measures(&self, embeddings: &Embeddings) -> Result<Measures> {
        let (gallery, targets) = (self.0.gallery().exact(), &self.0.targets);
        let rule = RankRule::of(self.0.scene.protocol, RankOf::Item);
        let Counted { counts, resolution } = gallery.rank_counts(embeddings, targets.indices(), None, rule.precision)?;
        Ok(Measures {
            rank: counts.iter().map(|count| rule.rank(*count) / gallery.len() as f64).collect(),
            tied: counts.iter().filter(|count| count.is_tied()).count(),
            pairs: counts.len(),
            resolution,
            ..Measures::default()
        })
    }
}
