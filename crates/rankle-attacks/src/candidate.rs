//! The candidate attack: one image, moved in the lists of several queries.

use crate::draw::{admirers, check_set, distinct, neighbours, top_percent};
use crate::lists::SortedLists;
use crate::objective::{add_slope, by_distance};
use crate::{Aim, Band, Batch, Bound, Direction, Evaluation, Objective, Protocol, RankingAttack, Standings, Subject, Targets};
use candle_core::Tensor;
use rand::Rng;
use rankle_core::dataset::check_indices;
use rankle_core::rank::{RankCount, Resolution};
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Gallery, Points, Result};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fmt;

/// Perturbs an image so that it moves up (CA+) or down (CA-) in the lists of `queries` queries.
///
/// Lowers the mean over queries `q` and gallery items `x` of `[d(q, c̃) - d(q, x)]₊`; CA- mirrors it. The distances
/// `d(q, x)` do not change: they are sorted once, and loss and slope come from binary searches. This takes
/// `4 · batch · queries · gallery` bytes. [`Objective::Distance`] is an alternative.
///
/// Under [`Protocol::Paper`] the queries of CA+ are uniform in their [`Band`], with replacement; those of CA- are uniform, with replacement,
/// among the 1 % of the gallery nearest to the image. Under [`Protocol::Strict`] they are distinct and never the image;
/// those of CA- have the image in the first 1 % of their own list. Where there are too few of these, the image's nearest
/// neighbours fill up the set.
///
/// # Source
/// Zhou et al., "Adversarial Ranking Attack and Defense", ECCV 2020, arXiv:2002.11293, section 3.1; `method.md` 7.1, 7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateAttack {
    /// Up or down.
    pub direction: Direction,
    /// `w`, how many queries are attacked at once. The paper uses 1, 2, 5 and 10.
    pub queries: usize,
    /// What is lowered.
    pub objective: Objective,
    /// Where the queries of CA+ are drawn from; CA- does not look at it.
    pub band: Band,
}

impl fmt::Display for CandidateAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ca{}", self.direction)
    }
}

impl RankingAttack for CandidateAttack {
    fn choose(&self, images: &[usize], gallery: &Gallery, protocol: Protocol, seed: Seed) -> Result<Targets> {
        check_indices("image", images, gallery.len())?;
        let queries = match self.direction {
            Direction::Raise => self.band.draw(Purpose::CandidateRaise, self.queries, images, gallery, protocol, seed)?,
            Direction::Lower => self.nearby(images, gallery, protocol, seed)?,
        };
        Ok(Targets::from_rows(queries.into_iter().map(|queries| (queries, Vec::new())).collect()))
    }

    fn bind<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn Bound + 'a>> {
        Ok(Box::new(BoundCandidate::new(self, batch)?))
    }
}

impl CandidateAttack {
    /// The attack of the paper: queries anywhere in the gallery, the ranking-based objective.
    pub fn new(direction: Direction, queries: usize) -> Self {
        Self { direction, queries, objective: Objective::Ranking, band: Band::Global }
    }

    fn nearby(&self, images: &[usize], gallery: &Gallery, protocol: Protocol, seed: Seed) -> Result<Vec<Vec<u32>>> {
        let pool = top_percent(gallery);
        let rng = |image: usize| seed.stream(Purpose::CandidateLower, [image as u64, 0]);
        if protocol == Protocol::Paper {
            check_set(self.queries, gallery.len())?;
            let lists = neighbours(gallery, images, pool)?;
            let draw = |(list, &image): (Vec<u32>, &usize)| {
                let mut rng = rng(image);
                (0..self.queries).map(|_| list[rng.random_range(0..pool as u32) as usize]).collect()
            };
            return Ok(lists.into_iter().zip(images).map(draw).collect());
        }
        check_set(self.queries, gallery.len() - 1)?;
        let lists = neighbours(gallery, images, (2 * self.queries).min(gallery.len() - 1))?;
        let admirers = admirers(gallery, images, pool)?;
        let draw = |((admirers, near), &image): ((Vec<u32>, Vec<u32>), &usize)| {
            let drawn = distinct(&mut rng(image), admirers.len(), self.queries.min(admirers.len()));
            let mut queries: Vec<u32> = drawn.into_iter().map(|at| admirers[at as usize]).collect();
            let rest = near.into_iter().filter(|item| admirers.binary_search(item).is_err());
            queries.extend(rest.take(self.queries - queries.len()));
            queries
        };
        Ok(admirers.into_iter().zip(lists).zip(images).map(draw).collect())
    }
}

struct BoundCandidate<'a> {
    batch: Batch<'a>,
    direction: Direction,
    objective: Objective,
    /// Per (image, query) pair the list of its query.
    slots: Vec<usize>,
    lists: SortedLists,
    /// Per list the distance of the query to itself.
    own: Vec<f32>,
    /// Per pair the distance of the query to the clean image.
    copies: Vec<f32>,
}

impl<'a> BoundCandidate<'a> {
    fn new(attack: &CandidateAttack, batch: Batch<'a>) -> Result<Self> {
        batch.targets.expect(batch.images.len(), attack.queries, false)?;
        check_indices("image", batch.images, batch.gallery.len())?;
        let (mut queries, mut slot_of) = (Vec::new(), HashMap::new());
        let slots: Vec<usize> = (batch.targets.indices().iter())
            .map(|&query| {
                *slot_of.entry(query).or_insert_with(|| {
                    queries.push(query as usize);
                    queries.len() - 1
                })
            })
            .collect();
        let len = batch.gallery.len();
        let distances = batch.gallery.distances_from(&queries)?;
        let own = queries.iter().enumerate().map(|(slot, &query)| distances[slot * len + query]).collect();
        let image = |pair: usize| batch.images[pair / attack.queries];
        let copies = slots.iter().enumerate().map(|(pair, slot)| distances[slot * len + image(pair)]).collect();
        let CandidateAttack { direction, objective, .. } = *attack;
        Ok(Self { direction, objective, slots, lists: SortedLists::new(distances, len), own, copies, batch })
    }

    fn to_queries(&self, points: &Points) -> Result<Vec<f32>> {
        self.batch.check(points)?;
        self.batch.gallery.distances_to(points, self.batch.targets.indices())
    }

    /// The hinge sum of one list at `distance`, and its derivative with respect to `distance`.
    fn hinge(&self, slot: usize, distance: f32) -> (f64, f64) {
        let (lists, len) = (&self.lists, self.batch.gallery.len());
        match self.direction {
            Direction::Raise => {
                let closer = lists.below(slot, distance);
                (closer as f64 * f64::from(distance) - lists.sum(slot, closer), closer as f64)
            }
            Direction::Lower => {
                let near = lists.not_above(slot, distance);
                let farther = (len - near) as f64;
                (lists.sum(slot, len) - lists.sum(slot, near) - farther * f64::from(distance), -farther)
            }
        }
    }

    /// Where the image of a pair stands in the list of its query, and how many items but its clean copy are within `width` of it.
    fn count(&self, pair: usize, distance: f32, width: f32) -> (RankCount, usize) {
        let (slot, copy) = (self.slots[pair], self.copies[pair]);
        let below = self.lists.below(slot, distance);
        let equal = self.lists.not_above(slot, distance) - below;
        let near = self.lists.not_above(slot, distance + width) - self.lists.below(slot, distance - width);
        let count = RankCount { closer: below as u32, tied_before: 0, tied: equal as u32 + 1, near: near as u32 + 1 };
        (count, near.saturating_sub(usize::from((copy - distance).abs() <= width)))
    }

    /// The items that have no place in the list of a pair: the clean copy and the query, unless that is the image.
    fn left_out(&self, pair: usize) -> impl Iterator<Item = u32> {
        let (image, query) = (self.image(pair), self.batch.targets.indices()[pair]);
        [Some(image), (query != image).then_some(query)].into_iter().flatten()
    }

    fn image(&self, pair: usize) -> u32 {
        self.batch.images[pair / self.batch.targets.set()] as u32
    }

    /// The places of some pairs with their distances, in lists without what is left out; decided in f64.
    fn resolved(&self, points: &Points, pairs: &[(usize, f32)]) -> Result<Vec<(RankCount, Resolution)>> {
        let gallery = self.batch.gallery;
        let mut counts = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(LISTS) {
            let queries: Vec<usize> = pairs.iter().map(|&(pair, _)| self.batch.targets.indices()[pair] as usize).collect();
            let distances = gallery.distances_from(&queries)?;
            let lists = pairs.par_iter().zip(queries).zip(distances.par_chunks_exact(gallery.len()));
            let more: Vec<(RankCount, Resolution)> = lists
                .map(|((&(pair, distance), query), distances)| {
                    let query = gallery.point(query);
                    let exact = gallery.distance().exact(query, points.row(pair / self.batch.targets.set()));
                    let left_out: Vec<u32> = self.left_out(pair).collect();
                    let list = gallery.list(query, distances, self.batch.protocol.precision())?;
                    Ok(list.count(distance, exact, |item| !left_out.contains(&item)))
                })
                .collect::<Result<_>>()?;
            counts.extend(more);
        }
        Ok(counts)
    }
}

/// How many lists are held at once to decide close calls.
const LISTS: usize = 64;

impl Aim for BoundCandidate<'_> {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        if self.objective == Objective::Distance {
            return by_distance(&self.batch, self.direction, 0.0, raw);
        }
        let (gallery, set) = (self.batch.gallery, self.batch.targets.set());
        let points = gallery.distance().place(raw)?;
        let distances = self.to_queries(&points)?;
        let dim = points.dim();
        let share = 1.0 / (set * gallery.len()) as f64;
        let mut loss = vec![0.0; points.len()];
        let mut slope = vec![0.0; points.len() * dim];
        let rows = slope.par_chunks_exact_mut(dim).zip(&mut loss).zip(distances.par_chunks_exact(set));
        rows.enumerate().for_each(|(image, ((slope, loss), distances))| {
            for (at, &distance) in distances.iter().enumerate() {
                let pair = image * set + at;
                let (hinge, derivative) = self.hinge(self.slots[pair], distance);
                *loss += share * hinge;
                let query = gallery.point(self.batch.targets.indices()[pair] as usize);
                add_slope(gallery.distance(), slope, share * derivative, points.row(image), query, distance);
            }
        });
        Ok(Evaluation { loss, slope: points.pull_back(slope)? })
    }
}

impl Bound for BoundCandidate<'_> {
    fn standings(&self, points: &Points) -> Result<Standings> {
        let Batch { gallery, protocol, .. } = self.batch;
        let (set, len) = (self.batch.targets.set(), gallery.len());
        let distances = self.to_queries(points)?;
        let mut counts = Vec::with_capacity(distances.len());
        let mut resolution = Resolution::default();
        let mut close = Vec::new();
        for (pair, &distance) in distances.iter().enumerate() {
            let (mut count, near) = self.count(pair, distance, gallery.resolution_at(distance));
            let mut comparisons = len - 1;
            if protocol.leaves_out() {
                for item in self.left_out(pair) {
                    let other = if item == self.image(pair) { self.copies[pair] } else { self.own[self.slots[pair]] };
                    count = count.without(other, distance);
                    comparisons = len - self.left_out(pair).count();
                }
                if near > 0 {
                    close.push((pair, distance));
                    comparisons = 0;
                }
            }
            let near = if comparisons == 0 { 0 } else { near as u64 };
            resolution = resolution.and(Resolution { comparisons: comparisons as u64, near, undecided: near });
            counts.push(count);
        }
        for (&(pair, _), (count, decided)) in close.iter().zip(self.resolved(points, &close)?) {
            counts[pair] = count;
            resolution = resolution.and(decided);
        }
        let tied = |(pair, count): (usize, &RankCount)| match protocol.leaves_out() {
            true => count.is_tied(),
            false => count.without(self.copies[pair], distances[pair]).is_tied(),
        };
        let tied = counts.iter().enumerate().filter(|&pair| tied(pair)).count();
        let ties = protocol.ties(Subject::Perturbed);
        let mean = |counts: &[RankCount]| counts.iter().map(|count| count.rank(ties)).sum::<f64>() / (set * len) as f64;
        let rank = counts.chunks_exact(set).map(mean).collect();
        Ok(Standings { rank, tied, pairs: counts.len(), resolution, ..Standings::default() })
    }
}
