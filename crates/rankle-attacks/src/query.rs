//! The query attacks: one perturbed query, and several candidates moved in its list.

use crate::by_distance::by_distance;
use crate::draw::{distinct, neighbors};
use crate::goal::counts_ranks;
use crate::scene::Choice;
use crate::soft_rank::gap_loss;
use crate::target_pool;
use crate::{
    AttackInstance, Batch, Direction, Measures, Objective, ObjectiveKind, Protocol, RankOf, RankRule, RankingAttack, Scene,
    TargetPool, Targets,
};
use candle_core::Tensor;
use rankle_core::rank::RankCount;
use rankle_core::seed::Purpose;
use rankle_core::{Counted, Embeddings, Error, Evaluation, GapLoss, GapTerm, Result, Role, Score};

/// Perturbs a query so that `candidates` items move up (QA+) or down (QA-) in its list.
///
/// Lowers the mean over candidates `c` and gallery items `x` of `[d(q̃, c) - d(q̃, x)]₊`; QA- mirrors it.
/// [`ObjectiveKind::Distance`] is an alternative.
///
/// Under [`Protocol::Paper`] candidates of QA+ are uniform in their [`TargetPool`], with replacement; under [`Protocol::Strict`]
/// distinct and never the query. Those of QA- are distinct, from the nearest 1 % of the gallery.
///
/// # Source
/// Zhou et al., "Adversarial Ranking Attack and Defense", ECCV 2020, arXiv:2002.11293, section 3.2; METHOD.md 7.1, 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryAttack {
    /// Up or down.
    pub direction: Direction,
    /// `m`, the number of candidates of each query. The paper uses 1, 2, 5 and 10.
    pub candidates: usize,
    /// Loss to lower.
    pub objective: ObjectiveKind,
    /// Pool of the candidates of QA+; ignored by QA-.
    pub target_pool: TargetPool,
}

/// A [`QueryAttack`] that preserves the ranks of the nearest items (SP-QA), so that the attack is not noticed.
///
/// Adds `xi` times the loss of a QA+ attack on `preserved` items: for SP-QA+ the query's nearest neighbors (under
/// [`Protocol::Strict`] those that are no candidates), for SP-QA- the nearest of the top 1 % that are no candidates.
///
/// # Source
/// Zhou et al., ECCV 2020, arXiv:2002.11293, section 3.2; METHOD.md 7.4. The tables' "QA" rows are this attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PreservingQueryAttack {
    /// Up or down.
    pub direction: Direction,
    /// `m`, the number of candidates of each query.
    pub candidates: usize,
    /// `G`, the number of preserved items.
    pub preserved: usize,
    /// `ξ`, the weight of the mean loss of the preserved items.
    pub xi: f64,
    /// Loss to lower, for the candidates and for the preserved items.
    pub objective: ObjectiveKind,
    /// Pool of the candidates of SP-QA+; ignored by SP-QA-.
    pub target_pool: TargetPool,
}

impl QueryAttack {
    /// The attack of the paper: candidates anywhere in the gallery, the ranking-based objective.
    pub fn new(direction: Direction, candidates: usize) -> Self {
        Self { direction, candidates, objective: ObjectiveKind::Ranking, target_pool: TargetPool::Global }
    }
}

impl PreservingQueryAttack {
    /// The attack of the paper: five preserved items, weight 1 for SP-QA+ and 100 for SP-QA-.
    pub fn new(direction: Direction, candidates: usize) -> Self {
        let xi = match direction {
            Direction::Raise => 1.0,
            Direction::Lower => 100.0,
        };
        Self { direction, candidates, preserved: 5, xi, objective: ObjectiveKind::Ranking, target_pool: TargetPool::Global }
    }
}

impl RankingAttack for QueryAttack {
    fn perturbs(&self) -> Role {
        Role::Query
    }
    fn choose(&self, images: &[usize], scene: &Scene<'_>) -> Result<Targets> {
        choose(self, 0, images, scene.choice(self.perturbs()))
    }
    fn instantiate<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn AttackInstance + 'a>> {
        batch.targets.expect(batch.images.len(), self.candidates, false)?;
        Ok(Box::new(QueryInstance::new(batch, self.direction, self.objective, 0.0)?))
    }
}

impl RankingAttack for PreservingQueryAttack {
    fn perturbs(&self) -> Role {
        Role::Query
    }
    fn choose(&self, images: &[usize], scene: &Scene<'_>) -> Result<Targets> {
        if self.preserved == 0 {
            return Err(Error::Empty("preserved items"));
        }
        let Self { direction, candidates, objective, target_pool, .. } = *self;
        let attack = QueryAttack { direction, candidates, objective, target_pool };
        choose(&attack, self.preserved, images, scene.choice(self.perturbs()))
    }
    fn instantiate<'a>(&self, batch: Batch<'a>) -> Result<Box<dyn AttackInstance + 'a>> {
        batch.targets.expect(batch.images.len(), self.candidates, true)?;
        Ok(Box::new(QueryInstance::new(batch, self.direction, self.objective, self.xi)?))
    }
}

/// Chooses the targets of both families with the same draws, so that the candidates do not depend on the preserved items.
fn choose(attack: &QueryAttack, preserved: usize, images: &[usize], choice: Choice<'_>) -> Result<Targets> {
    choice.check(images)?;
    let (set, protocol) = (attack.candidates, choice.protocol);
    let rows = match attack.direction {
        Direction::Raise => {
            let candidates = target_pool::draw(attack.target_pool, Purpose::QueryRaise, set, images, choice)?;
            let reach = match protocol {
                _ if preserved == 0 => 0,
                Protocol::Paper => preserved,
                Protocol::Strict => preserved + set,
            };
            let near = neighbors(choice, images, reach, |_, list| list)?;
            let keep = |(candidates, near): (Vec<u32>, Vec<u32>)| {
                let free = |item: &u32| protocol == Protocol::Paper || !candidates.contains(item);
                let kept = near.into_iter().filter(free).take(preserved).collect();
                (candidates, kept)
            };
            candidates.into_iter().zip(near).map(keep).collect()
        }
        Direction::Lower => {
            let pool = choice.top_percent().min(choice.available());
            Choice::check_set(set, pool)?;
            Choice::check_set(set + preserved, pool)?;
            neighbors(choice, images, pool, |image, list| {
                let mut rng = choice.seed.stream(Purpose::QueryLower, [image as u64, 0]);
                let drawn = distinct(&mut rng, pool, set);
                let free = (0..pool as u32).filter(|place| !drawn.contains(place));
                let kept = free.take(preserved).map(|place| list[place as usize]).collect();
                (drawn.iter().map(|&place| list[place as usize]).collect(), kept)
            })?
        }
    };
    Ok(Targets::from_rows(rows))
}

struct QueryInstance<'a> {
    batch: Batch<'a>,
    direction: Direction,
    objective: ObjectiveKind,
    gap_loss: GapLoss,
    xi: f64,
}

impl Objective for QueryInstance<'_> {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        if self.objective == ObjectiveKind::Distance {
            return by_distance(&self.batch, self.batch.gallery(), self.direction, self.xi, raw);
        }
        self.gap_sums(raw, self.gap_loss)
    }

    fn score(&self, raw: &Tensor) -> Result<Score> {
        if self.objective == ObjectiveKind::Distance {
            return self.evaluate(raw).map(Score::from);
        }
        self.gap_values(raw, self.gap_loss)
    }

    fn rank(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        if !counts_ranks(self.xi) {
            return Ok(None);
        }
        Ok(self.gap_values(raw, GapLoss::Hinge)?.rank)
    }
}

impl<'a> QueryInstance<'a> {
    fn new(batch: Batch<'a>, direction: Direction, objective: ObjectiveKind, xi: f64) -> Result<Self> {
        let gap_loss = gap_loss(objective, &batch)?;
        Ok(Self { batch, direction, objective, gap_loss, xi })
    }

    fn gap_sums(&self, raw: &Tensor, of: GapLoss) -> Result<Evaluation> {
        let (gallery, embeddings) = (self.batch.gallery(), self.embeddings(raw)?);
        let Evaluation { loss, gradient, rank } = gallery.gap_sums(&embeddings, &self.terms(), of)?;
        let rank = rank.filter(|_| counts_ranks(self.xi));
        Ok(Evaluation { loss, gradient: embeddings.backward(&gradient)?, rank })
    }

    fn gap_values(&self, raw: &Tensor, of: GapLoss) -> Result<Score> {
        let Score { loss, rank } = self.batch.gallery().gap_values(&self.embeddings(raw)?, &self.terms(), of)?;
        Ok(Score { loss, rank: rank.filter(|_| counts_ranks(self.xi)) })
    }

    fn embeddings(&self, raw: &Tensor) -> Result<Embeddings> {
        let embeddings = self.batch.gallery().normalize(raw)?;
        self.batch.check(&embeddings)?;
        Ok(embeddings)
    }

    /// The targets, then the preserved items.
    fn terms(&self) -> Vec<GapTerm<'_>> {
        let (gallery, targets) = (self.batch.gallery(), &self.batch.targets);
        let share = |set: usize| 1.0 / (set * gallery.len()) as f64;
        let raise = self.direction == Direction::Raise;
        let mut terms = vec![GapTerm { targets: targets.indices(), raise, weight: share(targets.targets_per_image()) as f32 }];
        if let Some((preserved, set)) = targets.preserved() {
            terms.push(GapTerm { targets: preserved, raise: true, weight: (self.xi * share(set)) as f32 });
        }
        terms
    }

    /// The targets of every image, then its preserved items, row by row, and their number per image: one pass over the gallery
    /// ranks both.
    fn items(&self) -> (Vec<u32>, usize) {
        let targets = &self.batch.targets;
        let Some((preserved, kept)) = targets.preserved() else {
            return (targets.indices().to_vec(), targets.targets_per_image());
        };
        let rows = targets.indices().chunks_exact(targets.targets_per_image()).zip(preserved.chunks_exact(kept));
        (rows.flat_map(|(targets, preserved)| [targets, preserved].concat()).collect(), targets.targets_per_image() + kept)
    }
}

impl AttackInstance for QueryInstance<'_> {
    fn measures(&self, embeddings: &Embeddings) -> Result<Measures> {
        self.batch.check(embeddings)?;
        let gallery = self.batch.gallery().exact();
        let rule = RankRule::of(self.batch.scene.protocol, RankOf::Item);
        let (items, set) = self.items();
        let left_out = self.batch.itself().filter(|_| rule.excludes_self);
        let Counted { counts, resolution } = gallery.rank_counts(embeddings, &items, left_out.as_deref(), rule.precision)?;
        let targets = self.batch.targets.targets_per_image();
        let mean = |counts: &[RankCount]| {
            counts.iter().map(|count| rule.rank(*count)).sum::<f64>() / (counts.len() * gallery.len()) as f64
        };
        let mut measures = Measures { pairs: self.batch.targets.indices().len(), resolution, ..Measures::default() };
        for counts in counts.chunks_exact(set) {
            measures.rank.push(mean(&counts[..targets]));
            if targets < set {
                measures.preserved.push(mean(&counts[targets..]));
            }
            measures.tied += counts[..targets].iter().filter(|count| count.is_tied()).count();
        }
        Ok(measures)
    }
}
