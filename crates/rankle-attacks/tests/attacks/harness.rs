//! Properties of every attack with every solver.

use crate::support::{Curved, LEN, World, at, embedder, gallery, losses, place, world};
use candle_core::{Device, Tensor};
use rankle_attacks::{
    AttackId, AttackOptions, Batch, Iterate, Norm, Objective, ObjectiveKind, Outcome, Pgd, Problem, Protocol, Setting, Solver,
    TargetPool, Targets, Threat, build, run,
};
use rankle_core::{
    Dataset, Differentiable, Distance, Embedder, Error, Evaluation, Gallery, InputSpec, Place, Result, Seed, Sets,
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A solver that may use the gradient of a model.
type WhiteBox<'a> = dyn Solver<dyn Differentiable + 'a>;

struct Scene {
    world: World,
    embedder: Curved,
    gallery: Gallery,
}

fn scene(distance: Distance) -> Scene {
    let (world, embedder) = (world(), embedder(2, distance));
    let gallery = gallery(&embedder, &world);
    Scene { world, embedder, gallery }
}

impl Scene {
    fn setting(&self, protocol: Protocol, batch_size: usize) -> Setting<'_> {
        let Self { world, embedder, gallery } = self;
        let images: Sets<&dyn Dataset> = Sets::one(world);
        Setting { embedder, scene: at(gallery, protocol, 9), images, batch_size, eight_bit: false, keep_images: true }
    }
    fn targets(&self, kind: AttackId, images: &[usize], protocol: Protocol) -> Targets {
        build(kind, 2, AttackOptions::default()).choose(images, &at(&self.gallery, protocol, 9)).unwrap()
    }
    fn run<'a>(
        &'a self,
        kind: AttackId,
        solver: &WhiteBox<'a>,
        images: &[usize],
        protocol: Protocol,
        batch_size: usize,
    ) -> Outcome {
        self.run_variant(AttackOptions::default(), kind, solver, images, protocol, batch_size)
    }
    fn run_variant<'a>(
        &'a self,
        variant: AttackOptions,
        kind: AttackId,
        solver: &WhiteBox<'a>,
        images: &[usize],
        protocol: Protocol,
        batch_size: usize,
    ) -> Outcome {
        let (attack, setting) = (build(kind, 2, variant), self.setting(protocol, batch_size));
        let targets = attack.choose(images, &at(&self.gallery, protocol, 9)).unwrap();
        run(&*attack, solver, &setting, images, &targets).unwrap()
    }
}

fn linf(radius: f64) -> Threat {
    Threat::linf(radius).unwrap()
}

fn l2(radius: f64) -> Threat {
    Threat::l2(radius).unwrap()
}

/// A strict search with fewer steps and restarts.
fn strict(threat: Threat) -> Pgd {
    Pgd { iterations: 6, restarts: 2, ..Pgd::strict(threat) }
}

/// True if all images are in the ball and in `[0, 1]`.
fn keeps(threat: Threat, clean: &[f32], moved: &[f32]) -> bool {
    let size = clean.len() / IMAGES.len();
    let norm = |(clean, moved): (&[f32], &[f32])| {
        let changes = clean.iter().zip(moved).map(|(a, b)| f64::from((a - b).abs()));
        match threat.norm() {
            Norm::Linf => changes.fold(0.0, f64::max),
            Norm::L2 => changes.map(|change| change * change).sum::<f64>().sqrt(),
        }
    };
    let near = clean.chunks_exact(size).zip(moved.chunks_exact(size)).all(|image| norm(image) <= threat.radius() + 1e-6);
    near && moved.iter().all(|x| (0.0..=1.0).contains(x))
}

fn pixels(images: &Tensor) -> Vec<f32> {
    images.flatten_all().unwrap().to_vec1().unwrap()
}

const IMAGES: [usize; 16] = [3, 999, 17, 4, 250, 251, 0, 600, 601, 602, 77, 78, 500, 42, 43, 44];

#[test]
fn epsilon_zero_changes_nothing() {
    for distance in Distance::ALL {
        let scene = scene(distance);
        for kind in AttackId::ALL {
            for (solver, protocol) in [
                (Pgd::paper(linf(0.0)), Protocol::Paper),
                (Pgd::strict(linf(0.0)), Protocol::Strict),
                (Pgd::strict(l2(0.0)), Protocol::Strict),
            ] {
                let outcome = scene.run(kind, &solver, &IMAGES, protocol, 100);
                assert_eq!(outcome.before, outcome.after, "{kind} {distance}");
                assert_eq!(pixels(&outcome.adversarial.unwrap()), pixels(&scene.world.images(&IMAGES).unwrap()));
                assert!(outcome.embedding_shift.iter().all(|shift| shift.abs() < 1e-5), "{kind} {distance}");
            }
        }
    }
}

#[test]
fn the_ball_is_never_left_and_every_attack_gets_its_way() {
    for distance in Distance::ALL {
        let scene = scene(distance);
        let clean = pixels(&scene.world.images(&IMAGES).unwrap());
        for kind in AttackId::ALL {
            for threat in [linf(0.01), linf(0.3), l2(0.05), l2(1.5)] {
                for (solver, protocol) in [(Pgd::paper(threat), Protocol::Paper), (strict(threat), Protocol::Strict)] {
                    let outcome = scene.run(kind, &solver, &IMAGES, protocol, 100);
                    let moved = pixels(outcome.adversarial.as_ref().unwrap());
                    assert!(keeps(threat, &clean, &moved), "{kind} {distance} {threat}");
                    if threat.radius() > 0.1 {
                        succeeded(kind, &outcome);
                    }
                }
            }
        }
    }
}

fn succeeded(kind: AttackId, outcome: &Outcome) {
    use rankle_attacks::Direction::{Lower, Raise};
    let mean = |ranks: &[f64]| ranks.iter().sum::<f64>() / IMAGES.len() as f64;
    let gain = mean(&outcome.after.rank) - mean(&outcome.before.rank);
    match kind {
        AttackId::Candidate(Raise) | AttackId::Query(Raise) | AttackId::PreservingQuery(Raise) => {
            assert!(gain < -0.1, "{kind} {gain}")
        }
        AttackId::Candidate(Lower) | AttackId::Query(Lower) => assert!(gain > 0.1, "{kind} {gain}"),
        // The weight of the preserved items leaves little room.
        AttackId::PreservingQuery(Lower) => {
            assert!(gain > 0.0, "{kind} {gain}");
            assert!(mean(&outcome.after.preserved) < 0.05, "{kind}");
        }
        AttackId::Custom(_) => unreachable!("not rankle's"),
        AttackId::EmbeddingShift => {
            assert!(outcome.after.rank.is_empty() && outcome.after.first_match.len() == IMAGES.len());
            assert!(outcome.embedding_shift.iter().all(|&shift| shift > 0.1), "{:?}", outcome.embedding_shift);
        }
    }
}

/// Ablations succeed as attacks too, with the same bits for any batch size.
#[test]
fn other_objectives_and_targets_get_their_way_as_well() {
    use rankle_attacks::Direction::{Lower, Raise};
    let mean = |ranks: &[f64]| ranks.iter().sum::<f64>() / IMAGES.len() as f64;
    let paper = Pgd::paper(linf(0.3));
    for distance in Distance::ALL {
        let scene = scene(distance);
        for (kind, objective, band) in [
            (AttackId::Candidate(Raise), ObjectiveKind::Distance, TargetPool::Global),
            (AttackId::Candidate(Lower), ObjectiveKind::Distance, TargetPool::Global),
            (AttackId::Query(Raise), ObjectiveKind::Distance, TargetPool::Global),
            (AttackId::Query(Lower), ObjectiveKind::Distance, TargetPool::Global),
            (AttackId::PreservingQuery(Raise), ObjectiveKind::Distance, TargetPool::Global),
            (AttackId::PreservingQuery(Lower), ObjectiveKind::Distance, TargetPool::Global),
            (AttackId::Candidate(Raise), ObjectiveKind::Ranking, TargetPool::Local),
            (AttackId::PreservingQuery(Raise), ObjectiveKind::Distance, TargetPool::Local),
        ] {
            let variant = AttackOptions { objective: Some(objective), target_band: band, xi: None };
            let [outcome, again] =
                [100, 7].map(|batch| scene.run_variant(variant, kind, &paper, &IMAGES, Protocol::Paper, batch));
            assert_eq!(pixels(&outcome.adversarial.clone().unwrap()), pixels(&again.adversarial.unwrap()));
            assert_eq!((&outcome.before, &outcome.after), (&again.before, &again.after));
            if band == TargetPool::Global {
                succeeded(kind, &outcome);
            } else {
                let (before, after) = (mean(&outcome.before.rank), mean(&outcome.after.rank));
                // The rank of a near item in the image's list is only roughly the rank of the image in the list of that item.
                assert!((0.01..0.1).contains(&before) && after < before, "{kind} {distance}: {before} {after}");
            }
        }
    }
}

#[test]
fn batches_and_threads_change_no_bit() {
    let result = |outcome: Outcome| {
        let bits: Vec<u32> = pixels(&outcome.adversarial.unwrap()).iter().map(|x| x.to_bits()).collect();
        (bits, outcome.before, outcome.after, outcome.embedding_shift)
    };
    for distance in Distance::ALL {
        let scene = scene(distance);
        for kind in AttackId::ALL {
            for (solver, protocol) in [
                (Pgd::paper(linf(0.03)), Protocol::Paper),
                (strict(linf(0.1)), Protocol::Strict),
                (strict(l2(0.5)), Protocol::Paper),
            ] {
                let compute = |threads, batch_size| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| result(scene.run(kind, &solver, &IMAGES, protocol, batch_size)))
                };
                let first = compute(1, 100);
                for (threads, batch_size) in [(2, 1), (3, 7), (2, 100)] {
                    assert!(compute(threads, batch_size) == first, "{kind} {distance} {protocol} {threads} {batch_size}");
                }
            }
        }
    }
}

#[test]
fn more_effort_never_makes_an_attack_weaker() {
    let scene = scene(Distance::Cosine);
    let images = scene.world.images(&IMAGES).unwrap();
    let keys = IMAGES.map(|image| image as u64);
    let clean = place(&scene.embedder, &scene.world, &IMAGES);
    for kind in AttackId::ALL {
        let targets = scene.targets(kind, &IMAGES, Protocol::Paper);
        let batch = Batch {
            scene: at(&scene.gallery, Protocol::Paper, 9),
            labels: Sets::one(scene.world.labels()),
            images: &IMAGES,
            clean: &clean,
            targets,
        };
        let bound = build(kind, 2, AttackOptions::default()).instantiate(batch).unwrap();
        let aim: &dyn Objective = &*bound;
        let problem = Problem { images: &images, keys: &keys, objective: aim, seed: Seed(9), place: &Place::Kernels };
        let loss = |pgd: Pgd| losses(aim, &scene.embedder, &pgd.solve(&scene.embedder, &problem).unwrap());
        let never_worse = |better: &[f64], than: &[f64]| better.iter().zip(than).all(|(a, b)| a <= b);
        let paper = Pgd::paper(linf(0.1));
        let (last, best) = (loss(paper), loss(Pgd { keep: Iterate::Best, ..paper }));
        assert!(never_worse(&best, &last), "{kind}");
        let strict = Pgd::strict(linf(0.1));
        let (one, three) = (loss(Pgd { restarts: 1, ..strict }), loss(strict));
        assert!(never_worse(&three, &one) && three != one, "{kind}");
        // Another start may be worse for a single image, but not for the sum over all images.
        assert!(three.iter().sum::<f64>() < last.iter().sum::<f64>(), "{kind}");
    }
}

#[test]
fn eight_bit_images_are_levels_inside_the_ball() {
    let scene = scene(Distance::Euclidean);
    let kind = AttackId::Candidate(rankle_attacks::Direction::Lower);
    let targets = scene.targets(kind, &IMAGES, Protocol::Paper);
    let setting = Setting { eight_bit: true, ..scene.setting(Protocol::Paper, 5) };
    let (attack, clean) = (build(kind, 2, AttackOptions::default()), pixels(&scene.world.images(&IMAGES).unwrap()));
    for threat in [linf(0.03), l2(0.1)] {
        let outcome = run(&*attack, &Pgd::paper(threat), &setting, &IMAGES, &targets);
        let moved = pixels(&outcome.unwrap().adversarial.unwrap());
        assert!(moved.iter().all(|moved| (moved * 255.0).round() / 255.0 == *moved));
        let admitted = Threat::new(threat.norm(), threat.radius() + 1e-6).unwrap();
        assert!(keeps(admitted, &clean, &moved) && moved != clean, "{threat}");
    }
}

/// A solver whose images are far outside of every ball.
struct Liar(Threat);

impl<M: Embedder + ?Sized> Solver<M> for Liar {
    fn threat(&self) -> Threat {
        self.0
    }
    fn solve(&self, _: &M, problem: &Problem<'_>) -> Result<Tensor> {
        Ok((problem.images + 7.0)?)
    }
}

#[test]
fn the_harness_keeps_the_ball_for_any_solver() {
    let scene = scene(Distance::Cosine);
    let clean = pixels(&scene.world.images(&IMAGES).unwrap());
    let moved = |threat: Threat| {
        let outcome = scene.run(AttackId::EmbeddingShift, &Liar(threat), &IMAGES, Protocol::Paper, 4);
        pixels(&outcome.adversarial.unwrap())
    };
    assert!(clean.iter().zip(moved(linf(0.25))).all(|(clean, moved)| moved == (clean + 0.25).min(1.0)));
    // A shift of 7 at each of 25 pixels has norm 35. Shortened to 1.25 it leaves 0.25 at each.
    assert!(clean.iter().zip(moved(l2(1.25))).all(|(clean, moved)| (moved - (clean + 0.25).min(1.0)).abs() < 1e-6));
}

#[test]
fn it_stops_when_told_to_and_reports_what_does_not_fit() {
    let scene = scene(Distance::Cosine);
    let solver = Pgd::paper(linf(0.1));
    let attack = build(AttackId::EmbeddingShift, 0, AttackOptions::default());
    let setting = scene.setting(Protocol::Paper, 5);
    let go = |setting: &Setting<'_>, images: &[usize], targets: &Targets| run(&*attack, &solver, setting, images, targets);

    let stopping = Stopping { inner: &scene.embedder, passes: AtomicUsize::new(30) };
    let model: &dyn Differentiable = &stopping;
    let stopped = run(&*attack, &solver, &Setting { embedder: model, ..setting }, &IMAGES, &Targets::none(16));
    assert!(matches!(stopped, Err(Error::Interrupted)) && stopping.passes.into_inner() == 0);

    assert!(matches!(go(&setting, &[], &Targets::none(0)), Err(Error::Empty(_))));
    assert!(matches!(go(&setting, &[LEN], &Targets::none(1)), Err(Error::Index { index: 1000, .. })));
    assert!(matches!(go(&setting, &[1], &Targets::none(2)), Err(Error::Shape { .. })));
    let two_each = Targets::new(1, vec![1, 2], 2, None, LEN).unwrap();
    assert!(matches!(go(&setting, &[1], &two_each), Err(Error::Shape { .. })));
    let small = gallery(&rankle_core::toy::embedder(0, Distance::Cosine).unwrap(), &rankle_core::toy::dataset(0));
    assert!(matches!(
        go(&Setting { scene: at(&small, Protocol::Paper, 9), ..setting }, &[1], &Targets::none(1)),
        Err(Error::Shape { .. })
    ));
    assert!(matches!(go(&Setting { embedder: &Broken, ..setting }, &[1], &Targets::none(1)), Err(Error::Unrankable { .. })));
    let two = scene.world.images(&[1, 2]).unwrap();
    let problem = Problem { images: &two, keys: &[1], objective: &Nothing, seed: Seed(0), place: &Place::Kernels };
    let keyless = solver.solve(&scene.embedder, &problem);
    assert!(matches!(keyless, Err(Error::Shape { .. })));
}

/// A model that ends the run after a number of passes.
struct Stopping<'a> {
    inner: &'a Curved,
    passes: AtomicUsize,
}

impl Embedder for Stopping<'_> {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let left = self.passes.load(Ordering::Relaxed).checked_sub(1).ok_or(Error::Interrupted)?;
        self.passes.store(left, Ordering::Relaxed);
        self.inner.embed(images)
    }
    fn distance(&self) -> Distance {
        self.inner.distance()
    }
    fn input(&self) -> InputSpec {
        self.inner.input()
    }
}

impl Differentiable for Stopping<'_> {}

struct Broken;

impl Embedder for Broken {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        Ok(Tensor::full(f32::NAN, (images.dims()[0], 9), &Device::Cpu)?)
    }
    fn distance(&self) -> Distance {
        Distance::Cosine
    }
    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, 5, 5))
    }
}

impl Differentiable for Broken {}

/// A model without a gradient can be attacked by a solver that needs none.
#[test]
fn a_black_box_is_attacked_by_whatever_asks_for_no_gradient() {
    let scene = scene(Distance::Cosine);
    let Scene { world, embedder, gallery } = &scene;
    let model: &dyn Embedder = embedder;
    assert!(model.differentiable().is_none() && matches!(model.white_box(), Err(Error::BlackBox)));
    let images: Sets<&dyn Dataset> = Sets::one(world);
    let place = at(gallery, Protocol::Paper, 9);
    let setting = Setting { embedder: model, scene: place, images, batch_size: 5, eight_bit: false, keep_images: true };
    let attack = build(AttackId::EmbeddingShift, 0, AttackOptions::default());
    let solver = rankle_attacks::Noise { threat: linf(0.1) };
    let outcome = run(&*attack, &solver, &setting, &IMAGES, &Targets::none(IMAGES.len())).unwrap();
    assert!(outcome.embedding_shift.iter().all(|&shift| shift > 0.0));
}

struct Nothing;

impl Objective for Nothing {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        Ok(Evaluation::new(raw.narrow(1, 0, 1)?.squeeze(1)?.zeros_like()?, raw.zeros_like()?))
    }
}

/// An image without a gradient does not move, neither in a single step below one 8-bit level nor in many.
#[test]
fn images_without_a_gradient_stay_where_they_are() {
    let scene = scene(Distance::Cosine);
    let images = scene.world.images(&[1, 2]).unwrap();
    let problem = Problem { images: &images, keys: &[1, 2], objective: &Nothing, seed: Seed(0), place: &Place::Kernels };
    for radius in [0.002, 0.1] {
        let moved = Pgd::paper(linf(radius)).solve(&scene.embedder, &problem).unwrap();
        assert_eq!(pixels(&moved), pixels(&images));
    }
}
