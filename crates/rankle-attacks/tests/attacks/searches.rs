//! APGD, Square attack and the standard attack on rankings.

use crate::support::{LEN, embedder, place, world};
use candle_core::{Device, Tensor};
use rankle_attacks::{
    AnySearch, Apgd, AttackId, AttackOptions, AttackSpec, Cost, Goal, ObjectiveKind, Outcome, Pgd, Protocol, Scene, Search,
    SearchKind, Setting, Square, Standard, Threat, build, losses, resolve, run, run_spec, search,
};
use rankle_core::{Dataset, Differentiable, Distance, Embedder, InputSpec, Place, Result, Seed, Sets, Upstream};
use std::sync::atomic::{AtomicU64, Ordering};

const IMAGES: [usize; 8] = [3, 99, 17, 250, 0, 64, 501, 999];

fn threats() -> [Threat; 2] {
    [Threat::linf(0.1).unwrap(), Threat::l2(0.4).unwrap()]
}

fn spec(attack: AttackId, threat: Threat) -> AttackSpec {
    let spec = AttackSpec { norm: threat.norm(), ..AttackSpec::new(attack, threat.radius(), Protocol::Strict, 9) };
    let targets = if attack.has_targets() { 2 } else { 0 };
    // With its ξ; search and loss are those of each test.
    let whole = resolve(&AttackSpec { targets, ..spec }).unwrap();
    AttackSpec { search: Search::default(), options: AttackOptions { objective: None, ..whole.options }, ..whole }
}

/// Runs a search on the images of the world, a few at a time.
fn outcome(model: &dyn Differentiable, spec: &AttackSpec, search: &AnySearch, at: &Place, batch_size: usize) -> Outcome {
    scored(model, spec, search, at, batch_size).0
}

/// The same, and the number of each image that the attack is after; the lower the stronger.
fn scored(
    model: &dyn Differentiable,
    spec: &AttackSpec,
    search: &AnySearch,
    at: &Place,
    batch_size: usize,
) -> (Outcome, Vec<f64>) {
    scored_on(&IMAGES, model, spec, search, (at, batch_size))
}

/// The same on any images.
fn scored_on(
    attacked: &[usize],
    model: &dyn Differentiable,
    spec: &AttackSpec,
    search: &AnySearch,
    (at, batch_size): (&Place, usize),
) -> (Outcome, Vec<f64>) {
    let world = world();
    let all: Vec<usize> = (0..LEN).collect();
    let raw = model.embed(&world.images(&all).unwrap()).unwrap();
    let gallery = at.ranking(&at.normalize(model.distance(), &raw).unwrap()).unwrap();
    let scene = Scene { sets: Sets::one(&*gallery), protocol: Protocol::Strict, seed: Seed(spec.seed) };
    let images = Sets::one(&world as &dyn Dataset);
    let setting = Setting { embedder: model, scene, images, batch_size, eight_bit: false, keep_images: true };
    let attack = build(spec.attack, spec.targets, spec.options);
    let targets = attack.choose(attacked, &scene).unwrap();
    let outcome = run_spec(search, spec, &setting, attacked, &targets).unwrap();
    let numbers = match Goal::of(spec) {
        Some(goal) => numbers(goal, (&outcome.after.rank, &outcome.after.preserved, &outcome.embedding_shift)),
        None => losses(&*attack, &setting, attacked, &targets, outcome.adversarial.as_ref().unwrap()).unwrap(),
    };
    (outcome, numbers)
}

fn numbers(goal: Goal, of: (&[f64], &[f64], &[f64])) -> Vec<f64> {
    (0..of.2.len()).map(|image| goal.number(image, of)).collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn pixels(outcome: &Outcome) -> Vec<f32> {
    outcome.adversarial.as_ref().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_search_has_an_effect_on_every_attack_and_apgd_is_not_weaker_than_pgd() {
    for (attack, threat) in AttackId::ALL.into_iter().flat_map(|attack| threats().map(|threat| (attack, threat))) {
        let (model, spec) = (embedder(2, Distance::Cosine), spec(attack, threat));
        let number = |search: AnySearch| mean(&scored(&model, &spec, &search, &Place::Kernels, 8).1);
        let nothing = number(AnySearch::Square(Square { threat: Threat::linf(0.0).unwrap(), queries: 1 }));
        let pgd = number(Pgd::strict(threat).into());
        let apgd = number(AnySearch::Apgd(Apgd { random_start: true, restarts: 3, ..Apgd::from_clean(threat, 50) }));
        let square = number(AnySearch::Square(Square { threat, queries: 300 }));
        let standard = number(AnySearch::Standard(Standard { threat }));
        assert!(square < nothing || attack == AttackId::SP_QA_MINUS, "{attack} {threat}: {nothing} {square}");
        let effect = |number: f64| nothing - number;
        assert!(effect(apgd) > 0.99 * effect(pgd), "{attack} {threat}: {nothing} {pgd} {apgd}");
        assert!(
            effect(standard) > 0.98 * effect(apgd).max(effect(square)),
            "{attack} {threat}: {nothing} {apgd} {square} {standard}"
        );
        assert!(square <= nothing && standard < nothing, "{attack} {threat}: {nothing} {square} {standard}");
    }
}

/// Images are those of the whole batch one by one, and within the ball.
#[test]
fn no_result_depends_on_the_batch_and_all_are_in_the_ball() {
    for threat in threats() {
        let (model, spec) = (embedder(2, Distance::Euclidean), spec(AttackId::QA_PLUS, threat));
        for search in [
            AnySearch::Apgd(Apgd { random_start: true, restarts: 2, ..Apgd::from_clean(threat, 20) }),
            AnySearch::Apgd(Apgd { iterations: 30, ..Apgd::strict(threat) }),
            AnySearch::Square(Square { threat, queries: 40 }),
            AnySearch::Standard(Standard { threat }),
        ] {
            let [whole, parts] = [8, 3].map(|batch| outcome(&model, &spec, &search, &Place::Kernels, batch));
            assert!(pixels(&whole) == pixels(&parts) && whole.after == parts.after, "{search:?}");
            let clean: Vec<f32> = world().images(&IMAGES).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let moved = pixels(&whole);
            assert!(moved.iter().all(|pixel| (0.0..=1.0).contains(pixel)) && moved != clean, "{search:?}");
            for (image, clean) in moved.chunks(25).zip(clean.chunks(25)) {
                let changes = || image.iter().zip(clean).map(|(a, b)| f64::from(a - b));
                let size = match threat.norm() {
                    rankle_attacks::Norm::Linf => changes().fold(0.0, |most: f64, x| most.max(x.abs())),
                    rankle_attacks::Norm::L2 => changes().map(|x| x * x).sum::<f64>().sqrt(),
                };
                assert!(size <= threat.radius() + 1e-6, "{search:?}: {size}");
            }
        }
    }
}

#[test]
fn a_device_searches_as_far_as_the_kernels() {
    for (attack, threat) in AttackId::ALL.into_iter().flat_map(|attack| threats().map(|threat| (attack, threat))) {
        let (model, spec) = (embedder(2, Distance::Cosine), spec(attack, threat));
        for search in [
            AnySearch::Apgd(Apgd::from_clean(threat, 30)),
            AnySearch::Apgd(Apgd { iterations: 30, ..Apgd::strict(threat) }),
            AnySearch::Square(Square { threat, queries: 60 }),
        ] {
            let [kernels, tensors] =
                [Place::Kernels, Place::Tensors(Device::Cpu)].map(|at| mean(&scored(&model, &spec, &search, &at, 8).1));
            assert!((kernels - tensors).abs() < 0.02, "{attack} {threat} {search:?}: {kernels} {tensors}");
        }
    }
}

/// The strongest of all parts, image by image; parts that find the same count once.
#[test]
fn standard_keeps_the_strongest_and_says_what_each_part_found() {
    let threat = Threat::linf(0.1).unwrap();
    for attack in AttackId::ALL {
        let (model, spec) = (embedder(2, Distance::Cosine), spec(attack, threat));
        let standard = Standard { threat };
        let (found, strongest) = scored(&model, &spec, &AnySearch::Standard(standard), &Place::Kernels, 8);
        let names: Vec<&str> = found.parts.iter().map(|part| part.name).collect();
        assert_eq!(names, standard.parts_of(&spec).iter().map(|part| part.name).collect::<Vec<_>>());
        let few = [AttackId::EmbeddingShift, AttackId::SP_QA_MINUS].contains(&attack);
        assert_eq!(names.len(), if few { 4 } else { 5 }, "{attack}");
        // The losses of the parts are not kept.
        if let Some(goal) = Goal::of(&spec) {
            let alone: Vec<Vec<f64>> =
                (found.parts.iter()).map(|part| numbers(goal, (&part.rank, &part.preserved, &part.embedding_shift))).collect();
            for (at, strongest) in strongest.iter().enumerate() {
                let best = alone.iter().map(|numbers| numbers[at]).fold(f64::INFINITY, f64::min);
                assert!((strongest - best).abs() < 1e-6, "{attack} image {at}: {strongest} {best}");
                // The last part begins at the result of Square attack.
                let [.., square, further] = &alone[..] else { panic!("{names:?}") };
                assert!(further[at] < square[at] + 1e-6, "{attack} image {at}: {} {}", square[at], further[at]);
            }
        }
        let first = &found.parts[0];
        let clean = run_first(&model, &spec, threat);
        assert_eq!((&first.rank, first.gradients), (&clean.after.rank, 100 * IMAGES.len() as u64), "{attack}");
    }
}

/// Images that are left out early do not change the others: each part begins at its own result of the one before.
#[test]
fn standard_is_the_same_for_an_image_alone() {
    let (model, threat) = (embedder(2, Distance::Cosine), Threat::linf(0.1).unwrap());
    let spec = AttackSpec { targets: 1, ..spec(AttackId::CA_PLUS, threat) };
    let search = AnySearch::Standard(Standard { threat });
    let (whole, _) = scored_on(&IMAGES, &model, &spec, &search, (&Place::Kernels, 8));
    let remaining = whole.parts.last().unwrap().gradients / 100;
    assert!((1..IMAGES.len() as u64).contains(&remaining), "{remaining} images get to the last part");
    for (at, image) in IMAGES.into_iter().enumerate() {
        let (alone, _) = scored_on(&[image], &model, &spec, &search, (&Place::Kernels, 8));
        assert_eq!(pixels(&alone), pixels(&whole)[25 * at..][..25], "image {image}");
        for (alone, whole) in alone.parts.iter().zip(&whole.parts) {
            assert_eq!(alone.rank[0], whole.rank[at], "image {image}, {}", whole.name);
        }
    }
}

fn run_first(model: &dyn Differentiable, spec: &AttackSpec, threat: Threat) -> Outcome {
    let objective = spec.attack.has_targets().then_some(ObjectiveKind::Ranking);
    let spec = AttackSpec { options: AttackOptions { objective, ..spec.options }, ..*spec };
    outcome(model, &spec, &AnySearch::Apgd(Apgd::from_clean(threat, 100)), &Place::Kernels, 8)
}

/// Counts passes.
struct Counting<'a> {
    model: &'a dyn Differentiable,
    embedded: AtomicU64,
    gradients: AtomicU64,
}

impl Embedder for Counting<'_> {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        self.embedded.fetch_add(images.dims()[0] as u64, Ordering::Relaxed);
        self.model.embed(images)
    }
    fn distance(&self) -> Distance {
        self.model.distance()
    }
    fn input(&self) -> InputSpec {
        self.model.input()
    }
}

impl Differentiable for Counting<'_> {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        self.gradients.fetch_add(images.dims()[0] as u64, Ordering::Relaxed);
        self.model.input_gradient(images, upstream)
    }
}

#[test]
fn a_search_costs_what_it_says() {
    let threat = Threat::linf(0.1).unwrap();
    let (model, spec) = (embedder(2, Distance::Cosine), spec(AttackId::CA_PLUS, threat));
    let n = IMAGES.len() as u64;
    for search in [
        AnySearch::Apgd(Apgd { random_start: true, restarts: 2, ..Apgd::from_clean(threat, 7) }),
        AnySearch::Apgd(Apgd::from_clean(threat, 7)),
        AnySearch::Apgd(Apgd { iterations: 24, ..Apgd::strict(threat) }),
        AnySearch::Apgd(Apgd { iterations: 25, ..Apgd::strict(threat) }),
        AnySearch::Apgd(Apgd { iterations: 51, random_start: true, restarts: 2, ..Apgd::strict(threat) }),
        AnySearch::Apgd(Apgd { iterations: 25, ..Apgd::strict(Threat::l2(0.5).unwrap()) }),
        AnySearch::Square(Square { threat, queries: 11 }),
        Pgd { iterations: 5, ..Pgd::strict(threat) }.into(),
        Pgd { iterations: 5, ..Pgd::paper(threat) }.into(),
        AnySearch::Square(Square { threat: Threat::linf(0.0).unwrap(), queries: 11 }),
    ] {
        let counting = Counting { model: &model, embedded: AtomicU64::new(0), gradients: AtomicU64::new(0) };
        outcome(&counting, &spec, &search, &Place::Kernels, 3);
        let Cost { gradients, queries } = search.cost();
        // The gallery, and the images before and after.
        let found = (counting.gradients.into_inner(), counting.embedded.into_inner() - LEN as u64 - 2 * n);
        assert_eq!(found, (gradients * n, queries * n), "{search:?}");
    }
}

/// A model whose embedding does not depend on the image: nothing to find, and nothing that never ends.
struct Flat;

impl Embedder for Flat {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        Ok((images.flatten_from(1)?.narrow(1, 0, 3)?.zeros_like()? + 1.0)?)
    }
    fn distance(&self) -> Distance {
        Distance::Cosine
    }
    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, 5, 5))
    }
}

impl Differentiable for Flat {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        upstream(&self.embed(images)?)?;
        Ok(images.zeros_like()?)
    }
}

#[test]
fn a_flat_loss_moves_no_rank() {
    let threat = Threat::linf(0.1).unwrap();
    for attack in [AttackId::CA_PLUS, AttackId::QA_MINUS] {
        let spec = spec(attack, threat);
        for search in [AnySearch::Apgd(Apgd::from_clean(threat, 12)), AnySearch::Square(Square { threat, queries: 12 })] {
            let found = outcome(&Flat, &spec, &search, &Place::Kernels, 8);
            assert_eq!(found.before.rank, found.after.rank, "{search:?}");
        }
    }
}

#[test]
fn images_smaller_than_the_windows_are_attacked_too() {
    let world = world();
    let (model, threat) = (embedder(2, Distance::Cosine), Threat::l2(0.4).unwrap());
    let gallery = Place::Kernels.ranking(&place(&model, &world, &(0..LEN).collect::<Vec<_>>())).unwrap();
    let scene = Scene { sets: Sets::one(&*gallery), protocol: Protocol::Paper, seed: Seed(1) };
    let embedder: &dyn Differentiable = &model;
    let images = Sets::one(&world as &dyn Dataset);
    let setting = Setting { embedder, scene, images, batch_size: 8, eight_bit: true, keep_images: false };
    let attack = build(AttackId::EmbeddingShift, 0, AttackOptions::default());
    let targets = attack.choose(&IMAGES, &scene).unwrap();
    let found = run(&*attack, &Square { threat, queries: 20 }, &setting, &IMAGES, &targets).unwrap();
    assert!(found.embedding_shift.iter().all(|&shift| shift > 0.0));
}

/// A spec has one search, and its record has all parameters of that search and no other.
#[test]
fn a_spec_means_one_search() {
    let threat = Threat::linf(0.3).unwrap();
    let of = |chosen: Search| AttackSpec { search: chosen, ..AttackSpec::new(AttackId::CA_PLUS, 0.3, Protocol::Strict, 0) };
    let kind = |kind| Search { kind: Some(kind), ..Search::default() };
    let found = |chosen| search(&of(chosen)).unwrap();
    assert_eq!(found(kind(SearchKind::Pgd)), Pgd::strict(threat).into());
    assert_eq!(found(kind(SearchKind::Apgd)), AnySearch::Apgd(Apgd::strict(threat)));
    let restarted = Search { restarts: Some(3), ..kind(SearchKind::Apgd) };
    assert_eq!(found(restarted), AnySearch::Apgd(Apgd { random_start: true, restarts: 3, ..Apgd::strict(threat) }));
    let few = Search { query_budget: Some(7), ..kind(SearchKind::Square) };
    assert_eq!(found(few), AnySearch::Square(Square { threat, queries: 7 }));
    for chosen in [Search::default(), kind(SearchKind::Apgd), restarted, few, kind(SearchKind::Standard)] {
        let whole = resolve(&of(chosen)).unwrap();
        assert_eq!((search(&whole).unwrap(), resolve(&whole).unwrap()), (found(chosen), whole));
        assert_eq!(whole.search.lacks(), None, "{chosen:?}");
    }
    for (chosen, name) in [
        (Search { step: Some(0.1), ..kind(SearchKind::Apgd) }, "step (--step) is no parameter of the search apgd"),
        (
            Search { iterations: Some(5), ..kind(SearchKind::Square) },
            "iterations (--iterations) is no parameter of the search square",
        ),
        (
            Search { restarts: Some(2), ..kind(SearchKind::Standard) },
            "restarts (--restarts) is no parameter of the search standard",
        ),
        (
            Search { query_budget: Some(5), ..Search::default() },
            "query_budget (--query-budget) is no parameter of the search apgd",
        ),
    ] {
        assert_eq!(search(&of(chosen)).unwrap_err().to_string(), name);
    }
    let objective = AttackSpec {
        options: AttackOptions { objective: Some(ObjectiveKind::SoftRank), ..AttackOptions::default() },
        ..of(Search::default())
    };
    assert!(search(&objective).is_ok());
}
