//! The same search in both compute backends: kernels and candle's operations.

use crate::support::{LEN, embedder, place, world};
use candle_core::{Device, Tensor};
use rankle_attacks::{
    AttackId, AttackOptions, Batch, Iterate, ObjectiveKind, Outcome, Pgd, Problem, Protocol, Scene, Setting, Solver, Threat,
    build, run,
};
use rankle_core::numbers::{doubles, numbers, reads};
use rankle_core::{Dataset, Differentiable, Distance, Embedder, InputSpec, Place, Ranking, Result, Seed, Sets, Upstream};
use std::sync::atomic::{AtomicUsize, Ordering};

const IMAGES: [usize; 6] = [3, 99, 17, 250, 0, 64];

fn both() -> [Place; 2] {
    [Place::Kernels, Place::Tensors(Device::Cpu)]
}

fn kinds() -> impl Iterator<Item = (AttackId, ObjectiveKind, Distance)> {
    let kinds = AttackId::ALL.into_iter().flat_map(|kind| ObjectiveKind::ALL.map(|objective| (kind, objective)));
    kinds.flat_map(|(kind, objective)| Distance::ALL.map(|distance| (kind, objective, distance)))
}

/// Gallery and queries in a compute backend: the world, and some of its images in another order.
fn sets(place_of: &Place, distance: Distance) -> Sets<Box<dyn Ranking>> {
    let (world, embedder) = (world(), embedder(2, distance));
    let at = |images: &[usize]| {
        let raw = embedder.embed(&world.images(images).unwrap()).unwrap();
        place_of.ranking(&place_of.normalize(distance, &raw).unwrap()).unwrap()
    };
    let (all, some): (Vec<usize>, Vec<usize>) = ((0..LEN).collect(), (0..300).map(|index| (7 * index + 1) % LEN).collect());
    Sets { gallery: at(&all), queries: Some(at(&some)) }
}

#[test]
fn losses_and_gradients_are_those_of_the_kernels() {
    let world = world();
    for (kind, objective, distance) in kinds() {
        let model = embedder(2, distance);
        let moved = (world.images(&IMAGES).unwrap() * 0.8).unwrap();
        let raw = model.embed(&moved).unwrap();
        let attack = build(kind, 3, AttackOptions { objective: Some(objective), ..AttackOptions::default() });
        let evaluate = |at: Place| {
            let sets = sets(&at, distance);
            let scene = Scene { sets: sets.as_ref().map(|set| &**set), protocol: Protocol::Paper, seed: Seed(9) };
            let targets = attack.choose(&IMAGES, &scene).unwrap();
            let clean = at.normalize(distance, &model.embed(&world.images(&IMAGES).unwrap()).unwrap()).unwrap();
            let labels = Sets { gallery: world.labels(), queries: Some(&world.labels()[..300]) };
            let instance = attack.instantiate(Batch { scene, labels, images: &IMAGES, clean: &clean, targets }).unwrap();
            let first =
                instance.first_gradient(&raw).unwrap().map(|first| first.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            let found = instance.evaluate(&raw).unwrap();
            let score = instance.score(&raw).unwrap();
            let bits = |numbers: &Tensor| doubles(numbers).unwrap().into_iter().map(f64::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(&score.loss), bits(&found.loss), "{kind} {objective} {distance}");
            assert_eq!(score.rank.as_ref().map(bits), found.rank.as_ref().map(bits), "{kind} {objective} {distance}");
            (found.losses().unwrap(), found.gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap(), first)
        };
        let [kernels, tensors] = both().map(evaluate);
        for (a, b) in kernels.0.iter().zip(&tensors.0) {
            assert!((a - b).abs() <= 2e-5 * a.abs() + 3e-7, "{kind} {objective} {distance}: {a} {b}");
        }
        let norm = |numbers: &[f32]| numbers.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let off = |a: &[f32], b: &[f32]| norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>());
        let apart = off(&kernels.1, &tensors.1) / norm(&kernels.1);
        // A hinge near zero may be active in only one of them: one of a thousand.
        assert!(apart < 2e-3 && kernels.1.len() == tensors.1.len(), "{kind} {objective} {distance}: {apart}");
        assert_eq!(kernels.2.is_some(), tensors.2.is_some());
        for (a, b) in kernels.2.iter().flatten().zip(tensors.2.iter().flatten()) {
            assert!((a - b).abs() < 1e-6);
        }
    }
}

/// Ranks are counted by the kernels in both backends, so the same images have the same ranks.
#[test]
fn ranks_of_the_same_images_are_the_same_and_searches_get_as_far() {
    let (world, other) = (world(), crate::sets::Backwards::new());
    let images: Sets<&dyn Dataset> = Sets { gallery: &world, queries: Some(&other) };
    for kind in AttackId::ALL {
        let model = embedder(2, Distance::Cosine);
        let attack = build(kind, 2, AttackOptions::default());
        let outcome = |at: Place, search: Pgd| -> Outcome {
            let ranked = images.map(|set| {
                let all: Vec<usize> = (0..set.len()).collect();
                at.ranking(&at.normalize(Distance::Cosine, &model.embed(&set.images(&all).unwrap()).unwrap()).unwrap()).unwrap()
            });
            let scene = Scene { sets: ranked.as_ref().map(|set| &**set), protocol: Protocol::Strict, seed: Seed(9) };
            let setting = Setting { embedder: &model, scene, images, batch_size: 4, eight_bit: false, keep_images: false };
            let targets = attack.choose(&IMAGES, &scene).unwrap();
            run(&*attack, &search, &setting, &IMAGES, &targets).unwrap()
        };
        let mean = |ranks: &[f64]| ranks.iter().sum::<f64>() / ranks.len().max(1) as f64;
        for threat in [Threat::linf(0.1).unwrap(), Threat::l2(0.5).unwrap()] {
            let search = Pgd { iterations: 8, restarts: 2, ..Pgd::strict(threat) };
            let [kernels, tensors] = both().map(|at| outcome(at, search));
            assert_eq!((&kernels.before.rank, &kernels.before.first_match), (&tensors.before.rank, &tensors.before.first_match));
            assert!((mean(&kernels.after.rank) - mean(&tensors.after.rank)).abs() < 0.02, "{kind} {threat}");
            assert!((mean(&kernels.embedding_shift) - mean(&tensors.embedding_shift)).abs() < 0.02, "{kind} {threat}");
        }
        // One step from the clean image leads to the same image, except for the signs of gradients near zero.
        let step = Pgd { keep: Iterate::Last, ..Pgd::from_clean(Threat::linf(0.05).unwrap(), 0.05, 1) };
        let [kernels, tensors] = both().map(|at| outcome(at, step));
        assert!((mean(&kernels.after.rank) - mean(&tensors.after.rank)).abs() < 0.005, "{kind}");
    }
}

#[test]
fn embeddings_report_their_backend() {
    let (world, model) = (world(), embedder(2, Distance::Euclidean));
    let embeddings = place(&model, &world, &IMAGES);
    assert!(matches!(embeddings.place(), Place::Kernels));
    let elsewhere = Place::Tensors(Device::Cpu).normalize(Distance::Euclidean, embeddings.tensor()).unwrap();
    assert!(matches!(elsewhere.place(), Place::Tensors(Device::Cpu)));
    assert_eq!(elsewhere.to_host().unwrap().as_slice(), embeddings.to_host().unwrap().as_slice());
    assert!(matches!(Place::default().ranking(&embeddings).unwrap().place(), Place::Kernels));
}

/// A search on a device reads nothing back to the host: only what goes in, and what comes out of it, is there.
#[test]
fn nothing_leaves_the_device_inside_a_search() {
    let world = world();
    for (kind, objective, distance) in kinds() {
        let at = Place::Tensors(Device::Cpu);
        let model = embedder(2, distance);
        let sets = sets(&at, distance);
        let scene = Scene { sets: sets.as_ref().map(|set| &**set), protocol: Protocol::Strict, seed: Seed(9) };
        let attack = build(kind, 3, AttackOptions { objective: Some(objective), ..AttackOptions::default() });
        let targets = attack.choose(&IMAGES, &scene).unwrap();
        let images = world.images(&IMAGES).unwrap();
        let clean = at.normalize(distance, &model.embed(&images).unwrap()).unwrap();
        let labels = Sets { gallery: world.labels(), queries: Some(&world.labels()[..300]) };
        let instance = attack.instantiate(Batch { scene, labels, images: &IMAGES, clean: &clean, targets }).unwrap();
        let keys = IMAGES.map(|image| image as u64);
        for threat in [Threat::linf(0.1).unwrap(), Threat::l2(0.5).unwrap()] {
            let search = Pgd { iterations: 3, restarts: 2, ..Pgd::strict(threat) };
            let problem = Problem { images: &images, keys: &keys, objective: &*instance, seed: Seed(9), place: &at };
            let before = reads();
            let moved = Solver::<dyn Differentiable>::solve(&search, &model, &problem).unwrap();
            assert_eq!(reads(), before, "{kind} {objective} {distance} {threat}");
            // The counter sees what is read afterwards.
            assert!(numbers(&moved).unwrap().len() == numbers(&images).unwrap().len() && reads() == before + 2);
        }
    }
}

/// The model of a device with room for a few images, and for fewer in a backward pass.
struct Small<'a> {
    model: &'a dyn Differentiable,
    room: usize,
    room_to_go_back: usize,
    refusals: AtomicUsize,
}

impl Small<'_> {
    fn check(&self, images: &Tensor, room: usize) -> Result<()> {
        if images.dims()[0] <= room {
            return Ok(());
        }
        self.refusals.fetch_add(1, Ordering::Relaxed);
        Err(candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into()).into())
    }
}

impl Embedder for Small<'_> {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        self.check(images, self.room)?;
        self.model.embed(images)
    }
    fn distance(&self) -> Distance {
        self.model.distance()
    }
    fn input(&self) -> InputSpec {
        self.model.input()
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for Small<'_> {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        self.check(images, self.room_to_go_back)?;
        self.model.input_gradient(images, upstream)
    }
}

/// A device without memory for a batch gets smaller ones, and every image has one result, the same as ever.
#[test]
fn out_of_memory_halves_the_batch() {
    let (world, model) = (world(), embedder(2, Distance::Cosine));
    let all: Vec<usize> = (0..LEN).collect();
    let gallery = Place::Kernels.ranking(&place(&model, &world, &all)).unwrap();
    let scene = Scene { sets: Sets::one(&*gallery), protocol: Protocol::Paper, seed: Seed(9) };
    let attack = build(AttackId::ALL[0], 2, AttackOptions::default());
    let targets = attack.choose(&IMAGES, &scene).unwrap();
    let search = Pgd { iterations: 2, ..Pgd::paper(Threat::linf(0.1).unwrap()) };
    let outcome = |room: usize| {
        let small = Small { model: &model, room, room_to_go_back: room, refusals: AtomicUsize::new(0) };
        let embedder: &dyn Differentiable = &small;
        let images = Sets::one(&world as &dyn Dataset);
        let setting = Setting { embedder, scene, images, batch_size: 100, eight_bit: false, keep_images: true };
        (run(&*attack, &search, &setting, &IMAGES, &targets), small.refusals.into_inner())
    };
    let (whole, refusals) = outcome(6);
    let whole = whole.unwrap();
    assert_eq!((refusals, whole.after.rank.len()), (0, IMAGES.len()));
    for room in [5, 3, 2, 1] {
        let (parts, refusals) = outcome(room);
        let parts = parts.unwrap();
        assert!((1..=2).contains(&refusals), "{refusals}");
        assert_eq!((&parts.before, &parts.after, &parts.embedding_shift), (&whole.before, &whole.after, &whole.embedding_shift));
        assert_eq!(parts.adversarial.unwrap().dims(), whole.adversarial.as_ref().unwrap().dims());
    }
    let message = outcome(0).0.unwrap_err().to_string();
    assert!(message.contains("no memory for a single image") && message.lines().count() == 1, "{message}");

    // The gradient at given pixels: where only the backward pass has no room, its batch comes again.
    let at = (world.images(&IMAGES).unwrap() * 0.9).unwrap();
    let probed = |room_to_go_back: usize| {
        let small = Small { model: &model, room: 6, room_to_go_back, refusals: AtomicUsize::new(0) };
        let embedder: &dyn Differentiable = &small;
        let images = Sets::one(&world as &dyn Dataset);
        let setting = Setting { embedder, scene, images, batch_size: 100, eight_bit: false, keep_images: false };
        let gradient = rankle_attacks::gradients(&*attack, &setting, &IMAGES, &targets, &at).unwrap();
        (gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap(), small.refusals.into_inner())
    };
    let ((whole, none), (parts, some)) = (probed(6), probed(2));
    assert!(none == 0 && some > 0 && whole == parts);
}
