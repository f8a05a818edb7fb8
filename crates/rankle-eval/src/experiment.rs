//! A single attack with all its parameters, and the record of its outcome.

use crate::error::Result;
use crate::{RankedSubject, Subject, collapse, percent, seconds_since};
use rankle_attacks::{
    AnySearch, Cost, Direction, Estimate, Goal, Measures, Outcome, PreservingQueryAttack, RankingAttack, Scene, Setting, Targets,
    Threat,
};
use rankle_core::{Embedder, Ranking, Role, Seed, Sets};
use rankle_record::{AttackId, AttackSpec, Cell, Facts, Format, ObjectiveKind, PartOutcome, Protocol, Record, SearchKind};
use std::time::Instant;

/// Version of the method for a spec, raised whenever the same inputs give another number: a record of another version does not make
/// its cell done. Protocols and searches have versions of their own, because a change affects some cells only.
///
/// Version 2 of `strict` decides in f64 what f32 cannot, and has expected values for tied lists; in version 4 its own search goes from
/// coarse to fine, from several starts.
pub fn method_version(spec: &AttackSpec) -> u32 {
    match (spec.protocol, spec.search.kind) {
        (_, Some(SearchKind::Standard)) => STANDARD,
        (Protocol::Strict, Some(SearchKind::Apgd)) if spec.universal.is_none() => 4,
        (Protocol::Strict, _) => MEASURES,
        (Protocol::Paper, _) => 1,
    }
}

/// Version of the measures without an attack, those of `strict`.
pub const MEASURES: u32 = 2;

/// Version of the standard attack, under both protocols: since 3 it goes from coarse to fine, and on from the result of Square attack, since
/// 4 each of its random starts, three instead of five, has others beside it.
pub const STANDARD: u32 = 4;
const _: () = assert!(STANDARD > MEASURES, "its measures are those of strict");

/// Default number of images attacked at once: two chunks of the model, each of whole tiles.
pub const BATCH: usize = 112;

/// An attack spec with its search, not yet applied to a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experiment {
    /// The spec, with every number that its protocol prescribes.
    pub spec: AttackSpec,
    /// The search.
    pub search: AnySearch,
    /// Number of images attacked at once. Costs memory, changes no result.
    pub batch_size: usize,
}

/// Fields of a record that neither the attack nor the subject determines.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The table that the record belongs to.
    pub table: Option<String>,
    /// The training loss, if a plan names it.
    pub loss: Option<String>,
    /// The training defense, if a plan names it.
    pub defense: Option<String>,
    /// Images and targets chosen by hand, in words.
    pub chosen: Option<String>,
}

/// All inputs of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// The inputs that were chosen.
    pub cell: Cell,
    /// The inputs that are known once the files are open.
    pub facts: Facts,
}

impl Inputs {
    /// See [`Cell::identity`].
    pub fn identity(&self) -> String {
        self.cell.identity(&self.facts)
    }
}

impl Experiment {
    /// The attack of a spec; the protocol fills in what the spec leaves open.
    ///
    /// # Errors
    /// One line for a number out of range, for an option that the attack does not have, and for restarts that would all be equal.
    pub fn new(spec: &AttackSpec) -> Result<Self, String> {
        spec.check()?;
        let search = rankle_attacks::search(spec).map_err(|error| error.to_string())?;
        let spec = rankle_attacks::resolve(spec).map_err(|error| error.to_string())?;
        Ok(Self { spec, search, batch_size: BATCH })
    }

    /// An attack with one target, as its protocol prescribes it.
    pub fn usual(attack: AttackId, threat: Threat, protocol: Protocol, seed: Seed) -> Self {
        let spec = AttackSpec { norm: threat.norm(), ..AttackSpec::new(attack, threat.radius(), protocol, seed.0) };
        Self::new(&spec).expect("a radius in range is all that a usual spec needs")
    }

    /// The same experiment with this many targets per image, for targets chosen by hand.
    pub fn with_targets(self, targets: usize) -> Self {
        Self { spec: AttackSpec { targets, ..self.spec }, ..self }
    }

    /// The attack itself.
    pub fn attack(&self) -> Box<dyn RankingAttack> {
        rankle_attacks::build(self.spec.attack, self.spec.targets, self.spec.options)
    }

    /// The seed of every draw.
    pub fn seed(&self) -> Seed {
        Seed(self.spec.seed)
    }

    /// The role of the attacked images.
    pub fn perturbs(&self) -> Role {
        self.attack().perturbs()
    }

    /// The embedded sets with the protocol and the seed of the attack.
    pub fn scene<'a>(&self, sets: Sets<&'a dyn Ranking>) -> Scene<'a> {
        Scene { sets, protocol: self.spec.protocol, seed: self.seed() }
    }

    /// Draws the targets of images.
    ///
    /// # Errors
    /// When there are too few items to choose from, and when the attack draws another number of targets than its spec has.
    pub fn choose(&self, images: &[usize], sets: Sets<&dyn Ranking>) -> Result<Targets> {
        let targets = self.attack().choose(images, &self.scene(sets))?;
        if targets.targets_per_image() == self.spec.targets {
            return Ok(targets);
        }
        let expected = format!("({}, {}): {} takes another number of targets", images.len(), self.spec.targets, self.spec.attack);
        let actual = vec![targets.images(), targets.targets_per_image()];
        Err(rankle_core::Error::Shape { what: "the list of targets", actual, expected }.into())
    }

    /// Cost of an input gradient of one image, in forward passes: the ranking objectives of query attacks pass over the whole
    /// gallery once more.
    pub fn gradient_units(&self) -> u64 {
        match (self.spec.attack, self.spec.options.objective.unwrap_or_default()) {
            (AttackId::Query(_) | AttackId::PreservingQuery(_), ObjectiveKind::Ranking | ObjectiveKind::SoftRank) => 3,
            _ => 2,
        }
    }

    /// Cost of attacking this many images, in units of a [`Monitor`](crate::Monitor).
    pub fn cost(&self, images: usize) -> u64 {
        let searches = match self.search {
            // One more, to measure the strongest result.
            AnySearch::Standard(standard) if self.spec.universal.is_none() => {
                // Without a goal results are embedded once more to be compared by the loss.
                let compared = u64::from(Goal::of(&self.spec).is_none());
                let parts = standard.parts_of(&self.spec).into_iter().map(|part| part.search.cost());
                let parts = parts.map(|cost| Cost { queries: cost.queries + compared, ..cost });
                parts.chain([Cost::default()]).collect()
            }
            search => vec![search.cost()],
        };
        // Clean and adversarial images are embedded to be measured.
        let cost = |&Cost { gradients, queries }: &Cost| {
            self.gradient_units().saturating_mul(gradients).saturating_add(queries.saturating_add(2))
        };
        let each = searches.iter().map(cost).fold(0u64, u64::saturating_add);
        each.saturating_mul(images as u64)
    }

    /// The inputs of the record.
    pub fn inputs(&self, measured: &Subject, images: usize, origin: Origin) -> Inputs {
        let Origin { table, loss, defense, chosen } = origin;
        let own = measured.identity.subject.clone();
        let subject = rankle_record::Subject { loss: loss.or(own.loss), defense: defense.or(own.defense), ..own };
        let sets = measured.datasets();
        let facts = Facts {
            preprocessing: measured.identity.preprocessing.clone(),
            gallery: sets.gallery.len(),
            queries: sets.queries.map(|queries| queries.len()),
            left_out: measured.left_out(),
            chosen,
            verifiable: true,
            provenance: measured.provenance(method_version(&self.spec)),
        };
        Inputs { cell: Cell { table, subject, spec: self.spec, images, from: None }, facts }
    }

    /// The attack setting on one subject, whose model must be a white box for all searches but Square.
    ///
    /// # Errors
    /// [`rankle_core::Error::BlackBox`] for a model without the gradients that the search follows.
    pub fn setting<'a>(&self, ranked: &'a RankedSubject, keep_images: bool) -> Result<Setting<'a>> {
        let (embedder, images) = (ranked.subject().embedder(), ranked.subject().datasets());
        if !matches!(self.search, AnySearch::Square(_)) {
            (embedder as &dyn Embedder).white_box()?;
        }
        embedder.gradient_counts(self.gradient_units());
        let Self { spec: AttackSpec { eight_bit, .. }, batch_size, .. } = *self;
        Ok(Setting { embedder, scene: self.scene(ranked.sets()), images, batch_size, eight_bit, keep_images })
    }

    /// Attacks the images and measures the outcome.
    ///
    /// # Errors
    /// Errors of the attack, or an interrupt by the monitor.
    pub fn run(&self, ranked: &RankedSubject, images: &[usize], targets: &Targets, keep_images: bool) -> Result<Outcome> {
        let setting = self.setting(ranked, keep_images)?;
        Ok(rankle_attacks::run_spec(&self.search, &self.spec, &setting, images, targets)?)
    }
}

/// The preserved items of each image, for targets chosen by hand, and their number per image: the nearest items, as many as the
/// attack preserves by default. As in the attack's own draw, targets are not among them, except in SP-QA+ under `paper`.
///
/// # Errors
/// When the gallery is too small.
pub fn preserved_beside(
    experiment: &Experiment,
    direction: Direction,
    sets: Sets<&dyn Ranking>,
    images: &[usize],
    targets: &[u32],
) -> Result<(Vec<u32>, usize)> {
    let AttackSpec { targets: set, protocol, .. } = experiment.spec;
    let kept = PreservingQueryAttack::new(direction, set).preserved;
    // The attack's own draw with a larger set to preserve: the nearest items of every image, nearest first.
    let wide = PreservingQueryAttack { preserved: kept + set, ..PreservingQueryAttack::new(Direction::Raise, 1) };
    let near = wide.choose(images, &Scene { protocol: Protocol::Paper, ..experiment.scene(sets) })?;
    let (near, reach) = near.preserved().ok_or(rankle_core::Error::Empty("preserved items"))?;
    let with_targets = direction == Direction::Raise && protocol == Protocol::Paper;
    let rows = near.chunks_exact(reach).zip(targets.chunks_exact(set));
    let chosen = rows.flat_map(|(near, targets)| {
        near.iter().copied().filter(|item| with_targets || !targets.contains(item)).take(kept).collect::<Vec<_>>()
    });
    Ok((chosen.collect(), kept))
}

/// Builds a record from its inputs and its outcome; fractions become percent.
pub fn record(measured: &Subject, inputs: Inputs, outcome: &Outcome, start: Instant) -> Record {
    let Inputs { cell, facts } = inputs;
    let Outcome { before, after, embedding_shift, .. } = outcome;
    let rank = |measures: &Measures| Estimate::of(&measures.rank);
    let mean = |values: &[f64]| Estimate::of(values).map(|estimate| estimate.mean);
    let list = measured.list_len();
    // A recall at k over the whole list says nothing about the model.
    let recall = |measures: &Measures, k: usize| mean(&measures.hits(k)).filter(|_| k < list).map(percent);
    let interval = |estimate: Option<Estimate>| estimate?.interval().map(|(low, high)| [percent(low), percent(high)]);
    let error = |estimate: Option<Estimate>| estimate?.standard_error.map(percent);
    let (rank_before, rank_after) = (rank(before), rank(after));
    let resolution = before.resolution.and(after.resolution);
    collapse::warn_of_a_flat_loss(&cell.to_string(), cell.spec.epsilon, embedding_shift);
    collapse::warn_of_ties(&cell.to_string(), before.tie_share().max(after.tie_share()), resolution);
    Record {
        rank_before: rank_before.map(|estimate| percent(estimate.mean)),
        rank_before_stderr: error(rank_before),
        rank_before_interval: interval(rank_before),
        rank_after: rank_after.map(|estimate| percent(estimate.mean)),
        rank_after_stderr: error(rank_after),
        rank_after_interval: interval(rank_after),
        preserved_rank_before: mean(&before.preserved).map(percent),
        preserved_rank_after: mean(&after.preserved).map(percent),
        embedding_shift: mean(embedding_shift).unwrap_or(0.0),
        recall_at_1_before: recall(before, 1),
        recall_at_1_after: recall(after, 1),
        recall_at_10_before: recall(before, 10),
        recall_at_10_after: recall(after, 10),
        recall_at_100_before: recall(before, 100),
        recall_at_100_after: recall(after, 100),
        tie_share: percent(after.tie_share()),
        undecided_share: percent(after.resolution.undecided_share()),
        white_box: None,
        unseen: None,
        parts: parts(outcome),
        gradient_error: None,
        seconds: seconds_since(start),
        format: Format,
        cell,
        facts,
    }
}

/// What each part of the standard attack found, as a record says it.
pub(crate) fn parts(outcome: &Outcome) -> Vec<PartOutcome> {
    outcome.parts.iter().map(part).collect()
}

fn part(part: &rankle_attacks::PartOutcome) -> PartOutcome {
    let mean = |values: &[f64]| Estimate::of(values).map(|estimate| estimate.mean);
    let images = part.embedding_shift.len().max(1) as f64;
    PartOutcome {
        name: part.name.to_owned(),
        rank_after: mean(&part.rank).map(percent),
        preserved_rank_after: mean(&part.preserved).map(percent),
        embedding_shift: mean(&part.embedding_shift).unwrap_or(0.0),
        gradients: part.gradients as f64 / images,
        queries: part.queries as f64 / images,
    }
}

/// The mean rank of each image after the attack, in percent; for ES, which has no ranks, the shift of each image.
pub fn image_ranks(outcome: &Outcome) -> Vec<f32> {
    match outcome.after.rank.is_empty() {
        true => outcome.embedding_shift.iter().map(|&shift| shift as f32).collect(),
        false => outcome.after.rank.iter().map(|&rank| percent(rank) as f32).collect(),
    }
}
