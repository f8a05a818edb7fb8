//! The candidate attack: one perturbed image, moved in the lists of several queries.

use crate::by_distance::by_distance;
use crate::draw::{distinct, neighbors, reverse_neighbors};
use crate::scene::{Choice, top_percent};
use crate::soft_rank::gap_loss;
use crate::target_pool;
use crate::{
    AttackInstance, Batch, Direction, Measures, Objective, ObjectiveKind, Protocol, RankOf, RankRule, RankingAttack, Scene,
    TargetPool, Targets,
};
use candle_core::Tensor;
use rand::Rng;
use rankle_core::dataset::check_indices;
use rankle_core::rank::{Precision, RankCount, Resolution};
use rankle_core::seed::Purpose;
use rankle_core::{DistanceTerm, Embeddings, Evaluation, GapLoss, ListSums, Lists, Ranking, Result, Role, SortedLists};
use rayon::prelude::*;
use std::collections::HashMap;

/// Perturbs an image so that it moves up (CA+) or down (CA-) in the lists of `queries` queries.
///
/// Lowers the mean over queries `q` and gallery items `x` of `[d(q, c̃) - d(q, x)]₊`; CA- mirrors it. The distances `d(q, x)` do
/// not change: they are sorted once, and loss and gradient come from binary searches. The sorted lists take
/// `4 · batch · queries · gallery` bytes; where these are more than [`CandidateAttack::LIST_BYTES`], [`crate::run()`] attacks
/// fewer images at once. [`ObjectiveKind::Distance`] is an alternative.
///
/// The queries are gallery images unless there is another set of queries.
///
/// Under [`Protocol::Paper`] the queries of CA+ are drawn uniformly from their [`TargetPool`], with replacement; those of CA-
/// uniformly, with replacement, from the 1 % of the queries nearest to the image. Under [`Protocol::Strict`] queries are distinct
/// and never the image; those of CA- have the image in the first 1 % of their own list. Where these are too few, the image's
/// nearest neighbors fill up the set.
///
/// # Source
/// Zhou et al., "Adversarial Ranking Attack and Defense", ECCV 2020, arXiv:2002.11293, section 3.1; METHOD.md 7.1, 7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateAttack {
    /// Up or down.
    pub direction: Direction,
    /// `w`, the number of queries of each image. The paper uses 1, 2, 5 and 10.
    pub queries: usize,
    /// Loss to lower.
    pub objective: ObjectiveKind,
    /// Pool of the queries of CA+; ignored by CA-.
    pub target_pool: TargetPool,
}

impl RankingAttack for CandidateAttack {
    fn perturbs(&self) -> Role {
        Role::Candidate
    }

    fn choose(&self, images: &[usize], scene: &Scene<'_>) -> Result<Targets> {
        let choice = scene.choice(self.perturbs());
        choice.check(images)?;
        let queries = match self.direction {
            Direction::Raise => target_pool::draw(self.target_pool, Purpose::CandidateRaise, self.queries, images, choice)?,
            Direction::Lower => self.nearby(images, choice)?,
        };
        Ok(Targets::from_rows(queries.into_iter().map(|queries| (queries, Vec::new())).collect()))
    }

    fn instantiate<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn AttackInstance + 'a>> {
        Ok(Box::new(CandidateInstance::new(self, batch)?))
    }
}

impl CandidateAttack {
    /// Budget for the sorted lists of a batch, in bytes; a single image may exceed it. A transfer holds the lists of both models.
    pub const LIST_BYTES: usize = 1 << 30;

    /// The attack of the paper: any queries, the ranking-based objective.
    pub fn new(direction: Direction, queries: usize) -> Self {
        Self { direction, queries, objective: ObjectiveKind::Ranking, target_pool: TargetPool::Global }
    }

    fn nearby(&self, images: &[usize], choice: Choice<'_>) -> Result<Vec<Vec<u32>>> {
        let rng = |image: usize| choice.seed.stream(Purpose::CandidateLower, [image as u64, 0]);
        if choice.protocol == Protocol::Paper {
            Choice::check_set(self.queries, choice.targets.len())?;
            let pool = choice.top_percent();
            return neighbors(choice, images, pool, |image, list| {
                let mut rng = rng(image);
                (0..self.queries).map(|_| list[rng.random_range(0..pool as u32) as usize]).collect()
            });
        }
        Choice::check_set(self.queries, choice.available())?;
        let near = neighbors(choice, images, (2 * self.queries).min(choice.available()), |_, list| list)?;
        let reverse = reverse_neighbors(choice, images, top_percent(choice.images))?;
        let draw = |((reverse, near), &image): ((Vec<u32>, Vec<u32>), &usize)| {
            let drawn = distinct(&mut rng(image), reverse.len(), self.queries.min(reverse.len()));
            let mut queries: Vec<u32> = drawn.into_iter().map(|at| reverse[at as usize]).collect();
            let rest = near.into_iter().filter(|item| reverse.binary_search(item).is_err());
            queries.extend(rest.take(self.queries - queries.len()));
            queries
        };
        Ok(reverse.into_iter().zip(near).zip(images).map(draw).collect())
    }
}

struct CandidateInstance<'a> {
    batch: Batch<'a>,
    direction: Direction,
    objective: ObjectiveKind,
    gap_loss: GapLoss,
    /// Index in `lists` of the query of each (image, query) pair.
    slots: Vec<usize>,
    lists: Box<dyn Lists + 'a>,
    /// Per list the distance of the query to itself; `None` if queries are no gallery items.
    own: Option<Vec<f32>>,
    /// Per pair the distance of the query to the clean image.
    copies: Vec<f32>,
}

impl<'a> CandidateInstance<'a> {
    fn new(attack: &CandidateAttack, batch: Batch<'a>) -> Result<Self> {
        batch.targets.expect(batch.images.len(), attack.queries, false)?;
        let (gallery, asking) = (batch.gallery(), *batch.scene.sets.queries());
        let exact = gallery.exact();
        check_indices("image", batch.images, gallery.len())?;
        let (mut queries, mut slot_of) = (Vec::new(), HashMap::new());
        let slots: Vec<usize> = (batch.targets.indices().iter())
            .map(|&query| {
                *slot_of.entry(query).or_insert_with(|| {
                    queries.push(query as usize);
                    queries.len() - 1
                })
            })
            .collect();
        let lists = gallery.lists(asking, &queries)?;
        let itself: Option<Vec<u32>> = queries.iter().map(|&query| batch.scene.sets.itself(query as u32)).collect();
        let own = itself.map(|itself| exact.distances_to_from((asking.exact(), &queries), &itself)).transpose()?;
        let of_pairs: Vec<usize> = batch.targets.indices().iter().map(|&query| query as usize).collect();
        let images: Vec<u32> = (0..slots.len()).map(|pair| batch.images[pair / attack.queries] as u32).collect();
        let copies = exact.distances_to_from((asking.exact(), &of_pairs), &images)?;
        let CandidateAttack { direction, objective, .. } = *attack;
        let gap_loss = gap_loss(objective, &batch)?;
        Ok(Self { direction, objective, gap_loss, slots, lists, own, copies, batch })
    }

    fn rule(&self) -> RankRule {
        RankRule::of(self.batch.scene.protocol, RankOf::Perturbed)
    }

    fn queries(&self) -> &'a dyn Ranking {
        *self.batch.scene.sets.queries()
    }

    /// Rank of the image of a pair in the list of its query, by f32 distances.
    fn place(&self, lists: &SortedLists, pair: usize, distance: f32) -> RankInList {
        let (slot, copy) = (self.slots[pair], self.copies[pair]);
        let width = self.batch.gallery().exact().resolution_at(distance);
        let (below, not_above) = (lists.below(slot, distance), lists.not_above(slot, distance));
        let near = lists.not_above(slot, distance + width) - lists.below(slot, distance - width);
        let count =
            RankCount { closer: below as u32, tied_before: 0, tied: (not_above - below) as u32 + 1, near: near as u32 + 1 };
        let is_near = |other: f32| usize::from((other - distance).abs() <= width);
        let (near, others) = (near.saturating_sub(is_near(copy)), self.batch.gallery().len() - 1);
        let without_copy = count.without(copy, distance);
        if !self.rule().excludes_self {
            return RankInList { count, is_tied: without_copy.is_tied(), resolution: Resolution::single(others, near) };
        }
        let own = self.own.as_ref().map(|own| own[slot]).filter(|_| self.batch.targets.indices()[pair] != self.image(pair));
        let count = own.map_or(without_copy, |own| without_copy.without(own, distance));
        let resolution = Resolution::single(others - usize::from(own.is_some()), near.saturating_sub(own.map_or(0, is_near)));
        RankInList { count, is_tied: count.is_tied(), resolution }
    }

    /// Gallery index of the image of a pair, which is that of its clean copy.
    fn image(&self, pair: usize) -> u32 {
        self.batch.images[pair / self.batch.targets.targets_per_image()] as u32
    }

    /// Ranks of some pairs, given with the distance of their images, resolved in f64. Clean copies and queries are left out.
    fn resolved(&self, embeddings: &Embeddings, pairs: &[(usize, f32)]) -> Result<Vec<RankInList>> {
        let (gallery, asking, scene) = (self.batch.gallery().exact(), self.queries().exact(), self.batch.scene);
        let rows = embeddings.to_host()?;
        let mut places = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(gallery.lists_at_once()) {
            let queries: Vec<usize> = pairs.iter().map(|&(pair, _)| self.batch.targets.indices()[pair] as usize).collect();
            let distances = gallery.distances_from(asking, &queries)?;
            let lists = pairs.par_iter().zip(queries).zip(distances.par_chunks_exact(gallery.len()));
            let more: Vec<RankInList> = lists
                .map(|((&(pair, distance), query), distances)| {
                    let point = asking.point(query);
                    let exact = gallery.distance().exact(point, rows.row(pair / self.batch.targets.targets_per_image()));
                    let left_out = [Some(self.image(pair)), scene.sets.itself(query as u32)];
                    let list = gallery.list(point, distances, self.rule().precision)?;
                    let (count, resolution) = list.count(distance, exact, |item| !left_out.contains(&Some(item)));
                    Ok(RankInList { count, is_tied: count.is_tied(), resolution })
                })
                .collect::<Result<_>>()?;
            places.extend(more);
        }
        Ok(places)
    }
}

/// Rank of a perturbed image in the list of a query.
struct RankInList {
    count: RankCount,
    /// True if an item other than the clean copy is tied.
    is_tied: bool,
    resolution: Resolution,
}

impl Objective for CandidateInstance<'_> {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        if self.objective == ObjectiveKind::Distance {
            return by_distance(&self.batch, self.queries(), self.direction, 0.0, raw);
        }
        self.gap_sums(raw, self.gap_loss)
    }

    fn rank(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.gap_sums(raw, GapLoss::Hinge)?.rank)
    }
}

impl CandidateInstance<'_> {
    fn gap_sums(&self, raw: &Tensor, of: GapLoss) -> Result<Evaluation> {
        let (queries, targets) = (self.queries(), self.batch.targets.indices());
        let embeddings = queries.normalize(raw)?;
        self.batch.check(&embeddings)?;
        let distances = queries.distances_to(&embeddings, targets)?;
        let share = 1.0 / (self.batch.targets.targets_per_image() * self.batch.gallery().len()) as f64;
        let raise = self.direction == Direction::Raise;
        let ListSums { loss, derivative, positive } = self.lists.gap_sums(&self.slots, &distances, raise, share, of)?;
        let term = DistanceTerm { targets, distances: &distances, weights: Some(&derivative), scale: share };
        let Evaluation { gradient, .. } = queries.weighted_distances(&embeddings, &[term])?;
        Ok(Evaluation { loss, gradient: embeddings.backward(&gradient)?, rank: Some(positive) })
    }
}

impl AttackInstance for CandidateInstance<'_> {
    fn measures(&self, embeddings: &Embeddings) -> Result<Measures> {
        self.batch.check(embeddings)?;
        let (gallery, rule) = (self.batch.gallery(), self.rule());
        let (set, lists) = (self.batch.targets.targets_per_image(), self.lists.exact()?);
        let distances = self.queries().exact().distances_to(embeddings, self.batch.targets.indices())?;
        let mut places: Vec<RankInList> =
            distances.iter().enumerate().map(|(pair, &distance)| self.place(lists, pair, distance)).collect();
        if rule.precision == Precision::Resolved {
            let close = (places.iter().zip(&distances).enumerate())
                .filter_map(|(pair, (place, &distance))| (place.resolution.near > 0).then_some((pair, distance)));
            let close: Vec<(usize, f32)> = close.collect();
            for (&(pair, _), place) in close.iter().zip(self.resolved(embeddings, &close)?) {
                places[pair] = place;
            }
        }
        let mean =
            |places: &[RankInList]| places.iter().map(|place| rule.rank(place.count)).sum::<f64>() / (set * gallery.len()) as f64;
        Ok(Measures {
            rank: places.chunks_exact(set).map(mean).collect(),
            tied: places.iter().filter(|place| place.is_tied).count(),
            pairs: places.len(),
            resolution: places.iter().fold(Resolution::default(), |sum, place| sum.and(place.resolution)),
            ..Measures::default()
        })
    }
}
