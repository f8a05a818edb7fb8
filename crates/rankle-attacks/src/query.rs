//! The query attacks: one query, and several candidates moved in its list.

use crate::draw::{check_set, distinct, neighbours, top_percent};
use crate::objective::by_distance;
use crate::{Aim, Band, Batch, Bound, Direction, Evaluation, Objective, Protocol, RankingAttack, Standings, Targets};
use candle_core::Tensor;
use rankle_core::dataset::check_indices;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Error, Gallery, Hinge, Placing, Points, Result};
use std::fmt;

/// Perturbs a query so that `candidates` items move up (QA+) or down (QA-) in its list.
///
/// Lowers the mean over candidates `c` and gallery items `x` of `[d(q̃, c) - d(q̃, x)]₊`; QA- mirrors it.
/// [`Objective::Distance`] is an alternative.
///
/// Under [`Protocol::Paper`] the candidates of QA+ are uniform in their [`Band`], with replacement; under [`Protocol::Strict`] distinct and never
/// the query itself. Those of QA- are drawn, distinct, from the 1 % of the gallery nearest to the query.
///
/// # Source
/// Zhou et al., "Adversarial Ranking Attack and Defense", ECCV 2020, arXiv:2002.11293, section 3.2; `method.md` 7.1, 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryAttack {
    /// Up or down.
    pub direction: Direction,
    /// `m`, how many candidates are moved at once. The paper uses 1, 2, 5 and 10.
    pub candidates: usize,
    /// What is lowered.
    pub objective: Objective,
    /// Where the candidates of QA+ are drawn from; QA- does not look at it.
    pub band: Band,
}

/// A [`QueryAttack`] that keeps the nearest items in their place (SP-QA), so that nobody notices.
///
/// Adds `xi` times the loss of a QA+ attack on `preserved` items: the query's nearest neighbours for SP-QA+ (under
/// [`Protocol::Strict`] those that are no candidates), the nearest of the 1 % pool that are no candidates for SP-QA-.
///
/// # Source
/// Zhou et al., ECCV 2020, arXiv:2002.11293, section 3.2; `method.md` 7.4. The tables' "QA" rows are this attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PreservingQueryAttack {
    /// Up or down.
    pub direction: Direction,
    /// `m`, how many candidates are moved at once.
    pub candidates: usize,
    /// `G`, how many items keep their place.
    pub preserved: usize,
    /// `ξ`, the weight of their mean loss.
    pub xi: f64,
    /// What is lowered, for the candidates and for the preserved items.
    pub objective: Objective,
    /// Where the candidates of SP-QA+ are drawn from; SP-QA- does not look at it.
    pub band: Band,
}

impl QueryAttack {
    /// The attack of the paper: candidates anywhere in the gallery, the ranking-based objective.
    pub fn new(direction: Direction, candidates: usize) -> Self {
        Self { direction, candidates, objective: Objective::Ranking, band: Band::Global }
    }
}

impl PreservingQueryAttack {
    /// The attack of the paper: five preserved items, weight 1 for SP-QA+ and 100 for SP-QA-.
    pub fn new(direction: Direction, candidates: usize) -> Self {
        let xi = match direction {
            Direction::Raise => 1.0,
            Direction::Lower => 100.0,
        };
        Self { direction, candidates, preserved: 5, xi, objective: Objective::Ranking, band: Band::Global }
    }
}

impl fmt::Display for QueryAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "qa{}", self.direction)
    }
}

impl fmt::Display for PreservingQueryAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sp-qa{}", self.direction)
    }
}

impl RankingAttack for QueryAttack {
    fn choose(&self, images: &[usize], gallery: &Gallery, protocol: Protocol, seed: Seed) -> Result<Targets> {
        choose(self, 0, images, gallery, protocol, seed)
    }
    fn bind<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn Bound + 'a>> {
        batch.targets.expect(batch.images.len(), self.candidates, false)?;
        Ok(Box::new(BoundQuery { direction: self.direction, objective: self.objective, xi: 0.0, batch }))
    }
}

impl RankingAttack for PreservingQueryAttack {
    fn choose(&self, images: &[usize], gallery: &Gallery, protocol: Protocol, seed: Seed) -> Result<Targets> {
        if self.preserved == 0 {
            return Err(Error::Empty("preserved items"));
        }
        let Self { direction, candidates, objective, band, .. } = *self;
        choose(&QueryAttack { direction, candidates, objective, band }, self.preserved, images, gallery, protocol, seed)
    }
    fn bind<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn Bound + 'a>> {
        batch.targets.expect(batch.images.len(), self.candidates, true)?;
        Ok(Box::new(BoundQuery { direction: self.direction, objective: self.objective, xi: self.xi, batch }))
    }
}

/// Both families share their draws, so that a candidate set does not depend on what is preserved.
fn choose(
    attack: &QueryAttack,
    preserved: usize,
    images: &[usize],
    gallery: &Gallery,
    protocol: Protocol,
    seed: Seed,
) -> Result<Targets> {
    check_indices("image", images, gallery.len())?;
    let set = attack.candidates;
    let rows = match attack.direction {
        Direction::Raise => {
            let candidates = attack.band.draw(Purpose::QueryRaise, set, images, gallery, protocol, seed)?;
            let reach = match protocol {
                _ if preserved == 0 => 0,
                Protocol::Paper => preserved,
                Protocol::Strict => preserved + set,
            };
            let near = neighbours(gallery, images, reach)?;
            let keep = |(candidates, near): (Vec<u32>, Vec<u32>)| {
                let free = |item: &u32| protocol == Protocol::Paper || !candidates.contains(item);
                let kept = near.into_iter().filter(free).take(preserved).collect();
                (candidates, kept)
            };
            candidates.into_iter().zip(near).map(keep).collect()
        }
        Direction::Lower => {
            let pool = top_percent(gallery).min(gallery.len() - 1);
            check_set(set, pool)?;
            check_set(set + preserved, pool)?;
            let draw = |(list, &image): (Vec<u32>, &usize)| {
                let mut rng = seed.stream(Purpose::QueryLower, [image as u64, 0]);
                let drawn = distinct(&mut rng, pool, set);
                let free = (0..pool as u32).filter(|place| !drawn.contains(place));
                let kept = free.take(preserved).map(|place| list[place as usize]).collect();
                (drawn.iter().map(|&place| list[place as usize]).collect(), kept)
            };
            neighbours(gallery, images, pool)?.into_iter().zip(images).map(draw).collect()
        }
    };
    Ok(Targets::from_rows(rows))
}

struct BoundQuery<'a> {
    batch: Batch<'a>,
    direction: Direction,
    objective: Objective,
    xi: f64,
}

impl Aim for BoundQuery<'_> {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        if self.objective == Objective::Distance {
            return by_distance(&self.batch, self.direction, self.xi, raw);
        }
        let (gallery, targets) = (self.batch.gallery, &self.batch.targets);
        let points = gallery.distance().place(raw)?;
        self.batch.check(&points)?;
        let share = |set: usize| 1.0 / (set * gallery.len()) as f64;
        let raise = self.direction == Direction::Raise;
        let mut terms = vec![Hinge { targets: targets.indices(), raise, weight: share(targets.set()) as f32 }];
        if let Some((preserved, set)) = targets.preserved() {
            terms.push(Hinge { targets: preserved, raise: true, weight: (self.xi * share(set)) as f32 });
        }
        let sum = gallery.hinges(&points, &terms)?;
        Ok(Evaluation { loss: sum.loss, slope: points.pull_back(sum.slope)? })
    }
}

impl BoundQuery<'_> {
    /// For every image its targets, then its preserved items, row by row, and how many these are: one pass over the
    /// gallery finds the places of both.
    fn items(&self) -> (Vec<u32>, usize) {
        let targets = &self.batch.targets;
        let Some((preserved, kept)) = targets.preserved() else { return (targets.indices().to_vec(), targets.set()) };
        let rows = targets.indices().chunks_exact(targets.set()).zip(preserved.chunks_exact(kept));
        (rows.flat_map(|(targets, preserved)| [targets, preserved].concat()).collect(), targets.set() + kept)
    }

    fn ranks(&self, points: &Points, items: &[u32], set: usize, placings: &[Placing]) -> Result<Vec<f64>> {
        if self.batch.protocol == Protocol::Paper {
            return Ok(placings.iter().map(|placing| f64::from(placing.closer + placing.tied_before)).collect());
        }
        let own: Vec<u32> = self.batch.images.iter().map(|&image| image as u32).collect();
        let to_own = self.batch.gallery.distances_to(points, &own)?;
        let to_items = self.batch.gallery.distances_to(points, items)?;
        let rank = |(pair, placing): (usize, &Placing)| {
            let image = pair / set;
            mid_rank(placing, to_items[pair], (items[pair] != own[image]).then_some(to_own[image]))
        };
        Ok(placings.iter().enumerate().map(rank).collect())
    }
}

/// The middle of the places that an item shares with its equals, in a list without the query's clean copy.
fn mid_rank(placing: &Placing, distance: f32, copy: Option<f32>) -> f64 {
    let closer = placing.closer - u32::from(copy.is_some_and(|copy| copy < distance));
    let equals = placing.tied - 1 - u32::from(copy == Some(distance));
    f64::from(closer) + f64::from(equals) / 2.0
}

impl Bound for BoundQuery<'_> {
    fn standings(&self, points: &Points) -> Result<Standings> {
        self.batch.check(points)?;
        let (items, set) = self.items();
        let placings = self.batch.gallery.placings(points, &items)?;
        let ranks = self.ranks(points, &items, set, &placings)?;
        let targets = self.batch.targets.set();
        let mean = |ranks: &[f64]| ranks.iter().sum::<f64>() / (ranks.len() * self.batch.gallery.len()) as f64;
        let mut standings = Standings { pairs: self.batch.targets.indices().len(), ..Standings::default() };
        for (ranks, placings) in ranks.chunks_exact(set).zip(placings.chunks_exact(set)) {
            standings.rank.push(mean(&ranks[..targets]));
            if targets < set {
                standings.preserved.push(mean(&ranks[targets..]));
            }
            standings.tied += placings[..targets].iter().filter(|placing| placing.tied > 1).count();
        }
        Ok(standings)
    }
}
