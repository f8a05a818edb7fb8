//! An attack: what is moved, what is lowered for that, and where the targets stand after it. It needs no loop: any
//! solver searches for it, and the harness measures.

use candle_core::Tensor;
use rankle_attacks::{Aim, Batch, Bound, Evaluation, Protocol, RankOf, RankRule, RankingAttack, Standings, Targets};
use rankle_core::{Counted, Distance, Gallery, Points, Result, Seed};
use std::fmt;

/// Perturbs a query so that the last item of its list rises: lowers the distance to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BottomUp;

impl fmt::Display for BottomUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bottom-up")
    }
}

impl RankingAttack for BottomUp {
    fn choose(&self, images: &[usize], gallery: &Gallery, _protocol: Protocol, _seed: Seed) -> Result<Targets> {
        let distances = gallery.distances_from(images)?;
        let last = |list: &[f32]| (0..list.len()).max_by(|&a, &b| list[a].total_cmp(&list[b])).unwrap_or(0) as u32;
        let last = distances.chunks_exact(gallery.len()).map(last).collect();
        Targets::new(images.len(), last, 1, None, gallery.len())
    }

    fn bind<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn Bound + 'a>> {
        Ok(Box::new(BoundBottomUp(batch)))
    }
}

struct BoundBottomUp<'a>(Batch<'a>);

impl Aim for BoundBottomUp<'_> {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        let Batch { gallery, targets, .. } = &self.0;
        let points = gallery.distance().place(raw)?;
        let distances = gallery.distances_to(&points, targets.indices())?;
        let mut slope = Vec::with_capacity(points.as_slice().len());
        for (row, (&target, &distance)) in targets.indices().iter().zip(&distances).enumerate() {
            let pairs = points.row(row).iter().zip(gallery.point(target as usize));
            match gallery.distance() {
                Distance::Cosine => slope.extend(pairs.map(|(_, target)| -target)),
                Distance::Euclidean => slope.extend(pairs.map(|(x, target)| (x - target) / distance.max(f32::MIN_POSITIVE))),
            }
        }
        Ok(Evaluation { loss: distances.into_iter().map(f64::from).collect(), slope: points.pull_back(slope)? })
    }
}

impl Bound for BoundBottomUp<'_> {
    fn standings(&self, points: &Points) -> Result<Standings> {
        let Batch { gallery, targets, protocol, .. } = &self.0;
        let Counted { counts, resolution } = gallery.rank_counts(points, targets.indices(), None, protocol.precision())?;
        let ties = protocol.ties(RankOf::Item);
        Ok(Standings {
            rank: counts.iter().map(|count| count.rank(ties) / gallery.len() as f64).collect(),
            tied: counts.iter().filter(|count| count.is_tied()).count(),
            pairs: counts.len(),
            resolution,
            ..Standings::default()
        })
    }
}
