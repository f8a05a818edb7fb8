//! Universal perturbations: comparison with a slow version by automatic differentiation, and general properties.

use crate::support::{Curved, LEN, World, at, embedder, gallery, place, world};
use candle_core::{Device, Tensor, Var};
use rankle_attacks::{
    AnySearch, Apgd, AttackId, AttackOptions, Direction, Half, Norm, Pgd, Protocol, Setting, Square, Standard, Threat,
    UniversalAttack, UniversalOutcome, Victim, build, universal_target,
};
use rankle_core::{Dataset, Distance, Embedder, Error, Gallery, Result, Role, Sets};

const KINDS: [AttackId; 4] = [
    AttackId::Candidate(Direction::Raise),
    AttackId::Candidate(Direction::Lower),
    AttackId::Query(Direction::Raise),
    AttackId::Query(Direction::Lower),
];
const TARGET: u32 = 5;

struct Scene {
    world: World,
    model: Curved,
    gallery: Gallery,
}

fn scene(distance: Distance) -> Scene {
    let (world, model) = (world(), embedder(2, distance));
    let gallery = gallery(&model, &world);
    Scene { world, model, gallery }
}

fn search(epsilon: f64, iterations: usize) -> Pgd {
    Pgd { iterations, ..Pgd::universal(Threat::linf(epsilon).unwrap()) }
}

fn euclidean(epsilon: f64, iterations: usize) -> Pgd {
    Pgd { iterations, ..Pgd::universal(Threat::l2(epsilon).unwrap()) }
}

/// Searches that see the perturbation as one image.
fn others(threat: Threat) -> [AnySearch; 4] {
    [
        AnySearch::Apgd(Apgd::from_clean(threat, 20)),
        AnySearch::Apgd(Apgd { random_start: true, restarts: 2, ..Apgd::from_clean(threat, 10) }),
        AnySearch::Square(Square { threat, queries: 100 }),
        AnySearch::Standard(Standard { threat }),
    ]
}

fn norm(numbers: &[f32]) -> f32 {
    numbers.iter().map(|x| x * x).sum::<f32>().sqrt()
}

fn compute(
    search: impl Into<AnySearch>,
    kind: AttackId,
    setting: &Setting<'_>,
    victim: Option<Victim<'_>>,
    images: &[usize],
    target: u32,
) -> Result<UniversalOutcome> {
    let attack = build(kind, 1, AttackOptions::default());
    UniversalAttack { search: search.into() }.run((&*attack, kind.direction().unwrap()), setting, victim, images, target)
}

impl Scene {
    fn setting(&self, protocol: Protocol, batch_size: usize) -> Setting<'_> {
        Setting {
            embedder: &self.model,
            scene: at(&self.gallery, protocol, 9),
            images: Sets::one(&self.world),
            batch_size,
            eight_bit: false,
            keep_images: false,
        }
    }
    fn run(&self, search: impl Into<AnySearch>, kind: AttackId, protocol: Protocol, images: &[usize]) -> UniversalOutcome {
        compute(search, kind, &self.setting(protocol, 7), None, images, TARGET).unwrap()
    }
}

fn pixels(images: &Tensor) -> Vec<f32> {
    images.flatten_all().unwrap().to_vec1().unwrap()
}

/// The hinge loss at the images `x`, as the mean over images and gallery (METHOD.md 10).
fn loss(scene: &Scene, kind: AttackId, x: &Tensor) -> Tensor {
    let everything: Vec<usize> = (0..LEN).collect();
    let unit = |v: &Tensor| match scene.model.distance() {
        Distance::Cosine => v.broadcast_div(&v.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap()).unwrap(),
        Distance::Euclidean => v.clone(),
    };
    let pairs = |a: &Tensor, b: &Tensor| match scene.model.distance() {
        Distance::Cosine => (1.0 - a.matmul(&b.t().unwrap()).unwrap()).unwrap(),
        Distance::Euclidean => {
            let difference = a.unsqueeze(1).unwrap().broadcast_sub(&b.unsqueeze(0).unwrap()).unwrap();
            (difference.sqr().unwrap().sum(2).unwrap() + 1e-12).unwrap().sqrt().unwrap()
        }
    };
    let points = unit(&scene.model.embed(x).unwrap());
    let items = unit(&scene.model.embed(&scene.world.images(&everything).unwrap()).unwrap());
    let target = items.narrow(0, TARGET as usize, 1).unwrap();
    let to_target = pairs(&points, &target); // n x 1
    let (to_items, raise) = match kind {
        AttackId::Candidate(direction) => (pairs(&target, &items), direction == Direction::Raise), // 1 x N
        AttackId::Query(direction) => (pairs(&points, &items), direction == Direction::Raise),     // n x N
        _ => unreachable!("not universal"),
    };
    let gap = to_target.broadcast_sub(&to_items).unwrap();
    let gap = if raise { gap } else { gap.neg().unwrap() };
    gap.relu().unwrap().mean_all().unwrap()
}

/// The perturbation, step by step as in METHOD.md 10.
fn slow(scene: &Scene, kind: AttackId, protocol: Protocol, images: &[usize], search: &Pgd) -> Vec<f32> {
    let (epsilon, step, round) = (search.threat.radius() as f32, search.step as f32, search.threat.norm() == Norm::L2);
    let seen: Vec<usize> = images.iter().step_by(2).copied().collect();
    let x = scene.world.images(&seen).unwrap();
    let clipping = if protocol == Protocol::Paper { images } else { &seen };
    let clipping = scene.world.images(clipping).unwrap();
    let mut delta = Tensor::zeros((1, 1, 5, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
    for _ in 0..search.iterations {
        let variable = Var::from_tensor(&delta).unwrap();
        let mut moved = x.broadcast_add(variable.as_tensor()).unwrap();
        if protocol == Protocol::Strict {
            moved = moved.clamp(0f32, 1f32).unwrap();
        }
        let gradients = loss(scene, kind, &moved).backward().unwrap();
        let gradient = pixels(gradients.get(variable.as_tensor()).unwrap());
        let length = norm(&gradient);
        let steepest = |s: f32| match round {
            true => s / length,
            false => f32::from(u8::from(s > 0.0)) - f32::from(u8::from(s < 0.0)),
        };
        let steps: Vec<f32> = pixels(&delta).iter().zip(&gradient).map(|(d, s)| d - step * steepest(*s)).collect();
        let clip = |x: &[f32]| -> Vec<f32> {
            let inside: Vec<f32> = steps.iter().zip(x).map(|(d, x)| d.max(-x).min(1.0 - x)).collect();
            let scale = (epsilon / norm(&inside)).min(1.0);
            inside.into_iter().map(|d| if round { d * scale } else { d.min(epsilon).max(-epsilon) }).collect()
        };
        let clipped: Vec<Vec<f32>> = pixels(&clipping).chunks_exact(25).map(clip).collect();
        let mean = |pixel: usize| clipped.iter().map(|copy| f64::from(copy[pixel])).sum::<f64>() / clipped.len() as f64;
        delta = Tensor::from_iter((0..25).map(|pixel| mean(pixel) as f32), &Device::Cpu).unwrap().reshape((1, 1, 5, 5)).unwrap();
    }
    pixels(&delta)
}

#[test]
fn the_perturbation_is_that_of_the_slow_version() {
    let images: Vec<usize> = (100..121).collect();
    for distance in Distance::ALL {
        let scene = scene(distance);
        for (kind, protocol) in KINDS.into_iter().flat_map(|kind| Protocol::ALL.map(|protocol| (kind, protocol))) {
            for search in [search(0.02, 6), Pgd { step: 0.05, ..euclidean(0.2, 6) }] {
                let fast = pixels(&scene.run(search, kind, protocol, &images).perturbation);
                let slow = slow(&scene, kind, protocol, &images, &search);
                let apart = fast.iter().zip(&slow).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Signs hide small differences of the gradients, L2 directions do not.
                let tolerance = if search.threat.norm() == Norm::L2 { 2e-5 } else { 1e-6 };
                assert!(apart < tolerance, "{kind} {distance} {protocol}: {apart}\n{fast:?}\n{slow:?}");
                assert!(fast.iter().any(|p| p.abs() > 0.01), "{kind} {distance} {protocol}");
            }
        }
    }
}

fn mean(ranks: &[f64]) -> f64 {
    ranks.iter().sum::<f64>() / ranks.len() as f64
}

#[test]
fn both_halves_move_and_the_ball_is_kept() {
    let images: Vec<usize> = (0..400).collect();
    let scene = scene(Distance::Cosine);
    for kind in KINDS {
        let outcome = scene.run(search(0.3, 20), kind, Protocol::Strict, &images);
        let gain = |half: &Half| mean(&half.after.rank) - mean(&half.before.rank);
        let [seen, unseen] = [&outcome.source.seen, &outcome.source.unseen].map(gain);
        let perturbation = pixels(&outcome.perturbation);
        assert!(perturbation.iter().all(|p| p.abs() <= 0.3));
        if kind.to_string().ends_with('+') {
            assert!(seen < -0.05 && unseen < -0.05, "{kind} {seen} {unseen}");
            assert_eq!(outcome.source.seen.before.rank.len(), 200);
        } else {
            assert!(seen > 0.02 && unseen > 0.02, "{kind} {seen} {unseen}");
            // 1 % of 200, those nearest to the target.
            assert_eq!((outcome.source.seen.before.rank.len(), outcome.source.unseen.after.rank.len()), (2, 2));
            assert!(mean(&outcome.source.seen.before.rank) < 0.1, "{kind}");
        }
    }
}

#[test]
fn no_bit_depends_on_how_many_images_are_embedded_at_once() {
    let images: Vec<usize> = (0..30).collect();
    let scene = scene(Distance::Euclidean);
    let with = |search: AnySearch, batch_size| {
        let victim = Victim { embedder: &scene.model, sets: Sets::one(&scene.gallery) };
        let setting = scene.setting(Protocol::Paper, batch_size);
        let outcome = compute(search, KINDS[2], &setting, Some(victim), &images, TARGET).unwrap();
        let half = |half: &Half| (half.before.clone(), half.after.clone());
        let [source, victim] = [outcome.source, outcome.victim.unwrap()].map(|halves| [half(&halves.seen), half(&halves.unseen)]);
        assert_eq!(source, victim, "a victim that is the source");
        (pixels(&outcome.perturbation), source)
    };
    // Standard has no part of its own.
    let [apgd, random, square, _] = others(Threat::linf(0.1).unwrap());
    for search in [search(0.1, 5).into(), apgd, random, square] {
        let together = with(search, 100);
        assert!([1, 4].into_iter().all(|batch_size| with(search, batch_size) == together), "{search:?}");
    }
}

/// What another search than PGD finds is in the ball and has an effect.
#[test]
fn any_search_finds_a_perturbation_and_apgd_one_as_strong_as_that_of_pgd() {
    let images: Vec<usize> = (0..40).collect();
    let scene = scene(Distance::Cosine);
    for (kind, pgd) in KINDS.into_iter().flat_map(|kind| [search(0.1, 20), euclidean(0.4, 20)].map(|pgd| (kind, pgd))) {
        let (threat, raises) = (pgd.threat, kind.direction() == Some(Direction::Raise));
        let gain = |half: &Half| {
            let gain = mean(&half.before.rank) - mean(&half.after.rank);
            if raises { gain } else { -gain }
        };
        let by_pgd = gain(&scene.run(pgd, kind, Protocol::Strict, &images).source.seen);
        for search in others(threat) {
            let outcome = scene.run(search, kind, Protocol::Paper, &images);
            let perturbation = pixels(&outcome.perturbation);
            match threat.norm() {
                Norm::Linf => assert!(perturbation.iter().all(|p| p.abs() <= 0.1)),
                Norm::L2 => assert!(norm(&perturbation) <= 0.4 + 1e-6),
            }
            let by_search = gain(&outcome.source.seen);
            assert!(by_search > 0.0, "{kind} {search:?}: {by_search}");
            // The single image that a minus attack counts is not what iterates are kept by.
            let is_compared =
                raises && matches!(search, AnySearch::Apgd(Apgd { random_start: false, .. }) | AnySearch::Standard(_));
            assert!(!is_compared || by_search >= by_pgd, "{kind} {search:?}: {by_pgd} {by_search}");
        }
    }
}

/// Under the strict protocol the unseen half has no part in the perturbation; under the paper's it clips that of PGD.
#[test]
fn the_unseen_half_is_unseen_under_the_strict_protocol() {
    let scene = scene(Distance::Cosine);
    let batch = |unseen: usize| -> Vec<usize> { (0..40).map(|at| if at % 2 == 0 { at } else { unseen + at }).collect() };
    let perturbation = |protocol, unseen| pixels(&scene.run(search(0.3, 20), KINDS[0], protocol, &batch(unseen)).perturbation);
    assert_eq!(perturbation(Protocol::Strict, 200), perturbation(Protocol::Strict, 700));
    assert_ne!(perturbation(Protocol::Paper, 200), perturbation(Protocol::Paper, 700));
    let by_apgd = |unseen| {
        let [apgd, ..] = others(Threat::linf(0.3).unwrap());
        pixels(&scene.run(apgd, KINDS[0], Protocol::Paper, &batch(unseen)).perturbation)
    };
    assert_eq!(by_apgd(200), by_apgd(700));
}

#[test]
fn epsilon_zero_changes_nothing() {
    let scene = scene(Distance::Cosine);
    for search in [search(0.0, 5).into()].into_iter().chain(others(Threat::linf(0.0).unwrap())) {
        let outcome = scene.run(search, KINDS[0], Protocol::Paper, &[1, 2, 3, 4]);
        assert_eq!(pixels(&outcome.perturbation), [0.0; 25]);
        assert_eq!(outcome.source.seen.before, outcome.source.seen.after);
    }
}

#[test]
fn targets_are_drawn_by_batch_and_number_and_strictly_from_outside() {
    let scene = scene(Distance::Cosine);
    let draw = |seed, key, images: &[usize], protocol| {
        universal_target(&at(&scene.gallery, protocol, seed), Role::Candidate, key, images)
    };
    let all: Vec<u32> = (0..50).map(|number| draw(1, (0, number), &[], Protocol::Paper).unwrap()).collect();
    assert_eq!(draw(1, (0, 7), &[], Protocol::Paper).unwrap(), all[7]);
    assert_ne!(draw(1, (1, 7), &[], Protocol::Paper).unwrap(), all[7]);
    assert!(all.iter().any(|&target| target > 900) && all.iter().any(|&target| target < 100));
    let batch: Vec<usize> = (0..LEN).filter(|&image| image != 123).collect();
    assert_eq!(draw(1, (0, 0), &batch, Protocol::Strict).unwrap(), 123);
    let everything: Vec<usize> = (0..LEN).collect();
    assert!(matches!(draw(1, (0, 0), &everything, Protocol::Strict), Err(Error::TooFewTargets { .. })));
}

#[test]
fn what_does_not_fit_is_reported() {
    let scene = scene(Distance::Cosine);
    let setting = scene.setting(Protocol::Paper, 10);
    let run = |kind, images: &[usize], target| compute(search(0.1, 1), kind, &setting, None, images, target).map(drop);
    // The embedding shift has no target.
    let es = (&*build(AttackId::EmbeddingShift, 0, AttackOptions::default()), Direction::Raise);
    let one_step = UniversalAttack { search: search(0.1, 1).into() };
    assert!(matches!(one_step.run(es, &setting, None, &[1, 2], TARGET), Err(Error::Shape { .. })));
    let random = Pgd { random_start: true, ..search(0.1, 1) };
    assert!(matches!(compute(random, KINDS[0], &setting, None, &[1, 2], TARGET), Err(Error::Refused(_))));
    assert!(matches!(run(KINDS[0], &[1], TARGET), Err(Error::Empty(_))));
    assert!(matches!(run(KINDS[0], &[1, LEN], TARGET), Err(Error::Index { .. })));
    assert!(matches!(run(KINDS[0], &[1, 2], LEN as u32), Err(Error::Index { what: "target", .. })));
    let few: Vec<usize> = (0..10).collect();
    let small = Gallery::new(&place(&scene.model, &scene.world, &few)).unwrap();
    let victim = Victim { embedder: &scene.model, sets: Sets::one(&small) };
    let refused = compute(search(0.1, 1), KINDS[0], &setting, Some(victim), &[1, 2], TARGET);
    assert!(matches!(refused, Err(Error::Shape { .. })));
}
