//! The standard attack: several searches without parameters, and for each image the strongest result.

use crate::apgd::scored;
use crate::best::Best;
use crate::build::has_soft_rank;
use crate::goal::Goal;
use crate::run::{Adversary, Ranker, check, run_on};
use crate::{
    AnySearch, Apgd, AttackId, AttackOptions, AttackSpec, Cost, Direction, ObjectiveKind, Outcome, Problem, Protocol, Scene,
    Setting, Solver, Square, Targets, Threat, Transfer, Victim, build, losses, resolve,
};
use candle_core::{Device, Tensor};
use rankle_core::numbers::numbers;
use rankle_core::seed::Purpose;
use rankle_core::{Differentiable, Ranking, Result, Seed, Sets};
use std::ops::Range;

/// Searches of different kinds, one after the other, and for each image the result with the strongest measured rank, as AutoAttack
/// does for classifiers. Nothing is to be chosen. Images that have got as far as they can are left out of what follows.
///
/// APGD follows the hinges and the soft rank from the clean image, and the soft rank from random starts, from coarse to fine; Square
/// attack, which needs no gradient, finds what a hidden gradient would hide; and APGD takes what Square attack has found further.
///
/// # Source
/// Croce and Hein, ICML 2020, arXiv:2003.01690, for the idea; METHOD.md 6.7.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standard {
    /// Norm and radius of the ball.
    pub threat: Threat,
}

/// One search of the standard attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Name in records.
    pub name: &'static str,
    /// The loss that it follows; `None` for the attack's own.
    pub objective: Option<ObjectiveKind>,
    /// The search.
    pub search: PartSearch,
}

/// The search of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PartSearch {
    /// On its own.
    Alone(AnySearch),
    /// From the results of the part before.
    Further(Apgd),
}

impl PartSearch {
    /// Cost for each image.
    pub fn cost(&self) -> Cost {
        match *self {
            Self::Alone(search) => search.cost(),
            Self::Further(search) => AnySearch::from(search).cost(),
        }
    }

    /// Moves the images of a problem inside the ball. `before` are the results of the part before on the same images.
    fn solve<M: Differentiable + ?Sized>(&self, model: &M, problem: &Problem<'_>, before: Option<&Tensor>) -> Result<Tensor> {
        match self {
            Self::Alone(search) => search.solve(model, problem),
            Self::Further(search) => search.solve_from(model, problem, before),
        }
    }
}

/// The outcome of one part on all images: one entry per image, as in [`Outcome`]. An image that an earlier part had brought as far
/// as it can get counts with that outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartOutcome {
    /// Name of the part.
    pub name: &'static str,
    /// Per image the mean rank over its targets; empty for the embedding shift.
    pub rank: Vec<f64>,
    /// Per image the mean rank of its preserved items; empty for attacks that preserve none.
    pub preserved: Vec<f64>,
    /// Distance by which each embedding moved.
    pub embedding_shift: Vec<f64>,
    /// Number of input gradients of all images together.
    pub gradients: u64,
    /// Number of other embeddings of all images together.
    pub queries: u64,
}

/// Number of random starts.
const STARTS: usize = 3;

impl Standard {
    /// Its searches on one loss, with their names: from the clean image, from random starts, without gradients, and on from there.
    fn searches(&self) -> [(&'static str, PartSearch); 4] {
        let threat = self.threat;
        let clean = Apgd::from_clean(threat, Apgd::ITERATIONS);
        let random = Apgd { random_start: true, restarts: STARTS, coarse_to_fine: true, ..clean };
        [
            ("apgd from the clean image", PartSearch::Alone(clean.into())),
            ("apgd from random starts", PartSearch::Alone(random.into())),
            ("square", PartSearch::Alone(Square { threat, queries: Square::QUERIES }.into())),
            ("apgd from the result of square", PartSearch::Further(clean)),
        ]
    }

    /// Cost for each image, as a [`Solver`]; the result of every search is embedded once more to be compared.
    pub fn cost(&self) -> Cost {
        self.searches().iter().map(|(_, search)| search.cost()).chain([Cost { gradients: 0, queries: 4 }]).sum()
    }

    /// Its parts for an attack, in their order. Random starts follow the soft rank, which gets furthest, where the attack has one. With
    /// a single query the gradient of the soft rank has the direction of the hinges' (METHOD.md 7.7), so that from the clean image it
    /// would search once more what was searched.
    pub fn parts_of(&self, spec: &AttackSpec) -> Vec<Part> {
        let [(name, clean), (random_name, random), (square_name, square), (further_name, further)] = self.searches();
        let own = |name, search| Part { name, objective: None, search };
        let soft = |name, search| Part { name, objective: Some(ObjectiveKind::SoftRank), search };
        let mut parts = vec![own(name, clean)];
        if has_soft_rank(spec.attack, spec.options.xi) {
            if spec.targets > 1 || !matches!(spec.attack, AttackId::Candidate(_)) {
                parts.push(soft("apgd on the soft rank, from the clean image", clean));
            }
            parts.push(soft("apgd on the soft rank, from random starts", random));
            parts.push(own(square_name, square));
            parts.push(soft("apgd on the soft rank, from the result of square", further));
        } else {
            parts.extend([own(random_name, random), own(square_name, square), own(further_name, further)]);
        }
        parts
    }
}

/// All searches, on the objective of the problem.
impl<M: Differentiable + ?Sized> Solver<M> for Standard {
    fn threat(&self) -> Threat {
        self.threat
    }

    fn solve(&self, model: &M, problem: &Problem<'_>) -> Result<Tensor> {
        let mut best = Best::new(problem.place);
        let mut before = None;
        for (_, search) in self.searches() {
            let moved = search.solve(model, problem, before.as_ref())?;
            let (_, rank) = scored(problem.objective, &model.embed(&moved)?)?;
            best.offer(&moved, rank)?;
            before = Some(moved);
        }
        Ok(best.into_images().unwrap_or_else(|| problem.images.clone()))
    }
}

/// Runs the attack of a spec by a search of any kind on images, as [`crate::run()`] does by a single search.
///
/// # Errors
/// As [`crate::run()`].
pub fn run_spec<'a>(
    search: &AnySearch,
    spec: &AttackSpec,
    setting: &Setting<'a>,
    images: &[usize],
    targets: &Targets,
) -> Result<Outcome> {
    Ok(run_on_all(search, spec, setting, &[], images, targets)?.swap_remove(0))
}

/// Does as [`run_spec`], and measures the victim of a transfer, too.
///
/// # Errors
/// As [`crate::transfer()`].
pub fn transfer_spec<'a>(
    search: &AnySearch,
    spec: &AttackSpec,
    setting: &Setting<'a>,
    victim: Victim<'_>,
    images: &[usize],
    targets: &Targets,
) -> Result<Transfer> {
    let other = Ranker { embedder: victim.embedder, sets: victim.sets };
    let mut outcomes = run_on_all(search, spec, setting, &[other], images, targets)?;
    let victim = outcomes.swap_remove(1);
    Ok(Transfer { source: outcomes.swap_remove(0), victim })
}

fn run_on_all<'a>(
    search: &AnySearch,
    spec: &AttackSpec,
    setting: &Setting<'a>,
    others: &[Ranker<'_>],
    images: &[usize],
    targets: &Targets,
) -> Result<Vec<Outcome>> {
    if let AnySearch::Standard(standard) = search {
        return run_standard(standard, spec, setting, others, images, targets);
    }
    let spec = resolve(&AttackSpec { search: search.parameters(), ..*spec })?;
    let attack = build(spec.attack, spec.targets, spec.options);
    let adversary = Adversary { threat: search.threat(), moved: &|model, problem, _| search.solve(model, problem) };
    run_on(&*attack, adversary, setting, others, images, targets)
}

fn run_standard<'a>(
    standard: &Standard,
    spec: &AttackSpec,
    setting: &Setting<'a>,
    others: &[Ranker<'_>],
    images: &[usize],
    targets: &Targets,
) -> Result<Vec<Outcome>> {
    let spec = &resolve(&AttackSpec { search: AnySearch::from(*standard).parameters(), ..*spec })?;
    let attack = build(spec.attack, spec.targets, spec.options);
    check(setting.scene.sets, attack.perturbs(), setting, images, targets)?;
    let (goal, end) = (Goal::of(spec), End::of(spec, setting.scene.sets));
    let attack_of =
        |objective: Option<ObjectiveKind>| build(spec.attack, spec.targets, AttackOptions { objective, ..spec.options });
    let mut strongest = Strongest::default();
    let mut remaining: Vec<usize> = (0..images.len()).collect();
    // The results of the part before on the remaining images, for a part that begins there.
    let mut before: Option<Tensor> = None;
    let parts = standard.parts_of(spec);
    for (index, part) in parts.iter().enumerate() {
        let seed = part_seed(setting.scene.seed, index);
        let searching = Setting { keep_images: true, scene: Scene { seed, ..setting.scene }, ..*setting };
        let mut found = PartOutcome { name: part.name, ..strongest.so_far.clone() };
        (found.gradients, found.queries) = (0, 0);
        if !remaining.is_empty() {
            let some: Vec<usize> = remaining.iter().map(|&at| images[at]).collect();
            let adversary = Adversary {
                threat: standard.threat,
                moved: &|model, problem, places| {
                    let before = before.as_ref().map(|before| before.narrow(0, places.start, places.len())).transpose()?;
                    let before = before.map(|before| problem.place.to_device(&before)).transpose()?;
                    part.search.solve(model, problem, before.as_ref())
                },
            };
            let outcomes = run_on(&*attack_of(part.objective), adversary, &searching, &[], &some, &targets.select(&remaining))?;
            let cost = part.search.cost();
            (found.gradients, found.queries) = (cost.gradients * some.len() as u64, cost.queries * some.len() as u64);
            let Outcome { after, embedding_shift, adversarial, .. } = &outcomes[0];
            let numbers = match (goal, adversarial) {
                (Some(goal), _) => {
                    let number = |row| goal.number(row, (&after.rank, &after.preserved, embedding_shift));
                    (0..some.len()).map(number).collect()
                }
                (None, Some(images)) => losses(&*attack_of(None), &searching, &some, &targets.select(&remaining), images)?,
                (None, None) => Vec::new(),
            };
            strongest.offer(&numbers, &remaining, &outcomes[0], &mut found)?;
            let goes_on = |&row: &u32| !end.is_reached(&strongest.so_far, remaining[row as usize]);
            let rows: Vec<u32> = (0..remaining.len() as u32).filter(goes_on).collect();
            remaining = rows.iter().map(|&row| remaining[row as usize]).collect();
            before = match (adversarial, parts.get(index + 1)) {
                (Some(images), Some(Part { search: PartSearch::Further(_), .. })) => {
                    Some(images.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?)
                }
                _ => None,
            };
        }
        strongest.parts.push(found);
    }
    let shape: Vec<usize> = [&[images.len()], &strongest.shape[1..]].concat();
    let adversarial = Tensor::from_vec(strongest.pixels, shape, &Device::Cpu)?;
    let strongest_of = |places: Range<usize>| Ok(adversarial.narrow(0, places.start, places.len())?);
    let adversary = Adversary { threat: standard.threat, moved: &|_, _, places| strongest_of(places) };
    let mut outcomes = run_on(&*attack_of(None), adversary, setting, others, images, targets)?;
    outcomes[0].parts = strongest.parts;
    Ok(outcomes)
}

/// The seed of one of several searches, each of which has random starts of its own.
pub(crate) fn part_seed(seed: Seed, index: usize) -> Seed {
    match index {
        0 => seed,
        _ => seed.derived(Purpose::Parts, [index as u64, 0]),
    }
}

/// The end of what an attack can get.
struct End {
    direction: Option<Direction>,
    /// True if preserved items count.
    preserves: bool,
    /// The lowest rank that a lowered target can have.
    bottom: f64,
}

impl End {
    fn of(spec: &AttackSpec, sets: Sets<&dyn Ranking>) -> Self {
        // What a target at the bottom is not behind: itself, unless it is a perturbed image, which is no item; under `strict` the clean
        // copy, which leaves the list, and the query, if it is an item.
        let left_out = match (spec.protocol, spec.attack) {
            (Protocol::Paper, AttackId::Candidate(_)) => 0,
            (Protocol::Paper, _) => 1,
            (Protocol::Strict, _) => 1 + usize::from(sets.is_one()),
        };
        let (gallery, preserves) = (sets.gallery.len(), spec.options.xi.is_some_and(|xi| xi > 0.0));
        Self { direction: spec.attack.direction(), preserves, bottom: gallery.saturating_sub(left_out) as f64 / gallery as f64 }
    }

    /// True if no search can get an image further.
    fn is_reached(&self, found: &PartOutcome, at: usize) -> bool {
        let at_top = |rank: f64| rank == 0.0;
        let kept = found.preserved.get(at).is_none_or(|&rank| !self.preserves || at_top(rank));
        kept && match self.direction {
            Some(Direction::Raise) => at_top(found.rank[at]),
            Some(Direction::Lower) => found.rank[at] >= self.bottom,
            None => false,
        }
    }
}

/// The strongest result of each image.
#[derive(Default)]
struct Strongest {
    so_far: PartOutcome,
    /// What the results are compared by; the lower the stronger.
    numbers: Vec<f64>,
    pixels: Vec<f32>,
    shape: Vec<usize>,
    parts: Vec<PartOutcome>,
}

impl Strongest {
    /// Takes the outcome of a part on the images at these places, with its numbers, and writes it into `found`.
    fn offer(&mut self, by: &[f64], places: &[usize], outcome: &Outcome, found: &mut PartOutcome) -> Result<()> {
        let Some(adversarial) = &outcome.adversarial else { return Ok(()) };
        let (pixels, after) = (numbers(adversarial)?, &outcome.after);
        let size = pixels.len() / places.len();
        let is_first = self.pixels.is_empty();
        if is_first {
            // The first part runs on all images.
            let Outcome { embedding_shift, .. } = outcome.clone();
            *found =
                PartOutcome { rank: after.rank.clone(), preserved: after.preserved.clone(), embedding_shift, ..found.clone() };
            (self.so_far, self.pixels, self.shape) = (found.clone(), pixels.to_vec(), adversarial.dims().to_vec());
            self.numbers = by.to_vec();
            return Ok(());
        }
        let set = |numbers: &mut Vec<f64>, at: usize, new: &[f64], row: usize| {
            if let (Some(slot), Some(&new)) = (numbers.get_mut(at), new.get(row)) {
                *slot = new;
            }
        };
        let write = |into: &mut PartOutcome, at: usize, row: usize| {
            set(&mut into.rank, at, &after.rank, row);
            set(&mut into.preserved, at, &after.preserved, row);
            set(&mut into.embedding_shift, at, &outcome.embedding_shift, row);
        };
        for (row, &at) in places.iter().enumerate() {
            write(found, at, row);
            if by[row] < self.numbers[at] {
                self.numbers[at] = by[row];
                write(&mut self.so_far, at, row);
                self.pixels[at * size..][..size].copy_from_slice(&pixels[row * size..][..size]);
            }
        }
        Ok(())
    }
}
