//! Attacks on one model, measured on another.

use crate::support::{at, embedder, gallery, place, world};
use rankle_attacks::{
    AttackId, AttackOptions, Direction, Measures, Outcome, Pgd, Protocol, Setting, Targets, Threat, Transfer, Victim, build, run,
    target_gallery, transfer,
};
use rankle_core::{Dataset, Distance, Error, Gallery, Sets};

const IMAGES: [usize; 8] = [3, 999, 17, 250, 0, 601, 77, 42];

fn setting<'a>(embedder: &'a dyn rankle_core::Differentiable, gallery: &'a Gallery, dataset: &'a dyn Dataset) -> Setting<'a> {
    Setting {
        embedder,
        scene: at(gallery, Protocol::Paper, 9),
        images: Sets::one(dataset),
        batch_size: 3,
        eight_bit: false,
        keep_images: true,
    }
}

fn pgd(epsilon: f64) -> Pgd {
    Pgd::paper(Threat::linf(epsilon).unwrap())
}

fn parts(outcome: &Outcome) -> (&Measures, &Measures, &[f64]) {
    (&outcome.before, &outcome.after, &outcome.embedding_shift)
}

#[test]
fn to_itself_is_the_white_box_result_to_the_last_bit() {
    for distance in Distance::ALL {
        let (world, model) = (world(), embedder(2, distance));
        let gallery = gallery(&model, &world);
        let setting = setting(&model, &gallery, &world);
        for kind in AttackId::ALL {
            let attack = build(kind, 2, AttackOptions::default());
            let targets = attack.choose(&IMAGES, &at(&gallery, Protocol::Paper, 9)).unwrap();
            let victim = Victim { embedder: &model, sets: Sets::one(&gallery) };
            let solver = pgd(0.05);
            let Transfer { source, victim } = transfer(&*attack, &solver, &setting, victim, &IMAGES, &targets).unwrap();
            let white_box = run(&*attack, &solver, &setting, &IMAGES, &targets).unwrap();
            assert_eq!(parts(&victim), parts(&white_box), "{kind} {distance}");
            assert_eq!(parts(&source), parts(&white_box), "{kind} {distance}");
            let pixels =
                |outcome: &Outcome| outcome.adversarial.as_ref().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(pixels(&source), pixels(&white_box));
            assert!(victim.adversarial.is_none());
        }
    }
}

/// Ranks of the victim equal those counted by hand in its own embedding space.
#[test]
fn the_victim_is_measured_in_its_own_space() {
    let (world, model, other) = (world(), embedder(2, Distance::Cosine), embedder(5, Distance::Euclidean));
    let (own, others) = (gallery(&model, &world), gallery(&other, &world));
    let setting = setting(&model, &own, &world);
    let kind = AttackId::Candidate(Direction::Raise);
    let attack = build(kind, 1, AttackOptions::default());
    let sets = target_gallery(kind, Sets::one(&own), Sets::one(&others));
    let targets = attack.choose(&IMAGES, &at(sets.gallery.exact(), Protocol::Paper, 9)).unwrap();
    let victim = Victim { embedder: &other, sets: Sets::one(&others) };
    let Transfer { source, victim } = transfer(&*attack, &pgd(0.3), &setting, victim, &IMAGES, &targets).unwrap();
    let images = source.adversarial.as_ref().unwrap();
    let points = other_points(&other, images);
    for (row, &query) in targets.indices().iter().enumerate() {
        let to_query = others.distances_to(&points.select(&[row]).unwrap(), &[query]).unwrap()[0];
        let list = others.distances_from(&others, &[query as usize]).unwrap();
        let closer = list.iter().filter(|&&distance| distance < to_query).count();
        assert_eq!(victim.after.rank[row], closer as f64 / others.len() as f64);
    }
    let clean = place(&other, &world, &IMAGES);
    assert_eq!(victim.embedding_shift, rankle_attacks::shifts(&clean, &points).unwrap());
    // An attack computed on one random map has a large effect there, and little on another one.
    let mean = |ranks: &[f64]| ranks.iter().sum::<f64>() / ranks.len() as f64;
    assert!(mean(&source.after.rank) < mean(&source.before.rank) - 0.2);
    assert!(mean(&victim.after.rank) > mean(&source.after.rank) + 0.1);
}

fn other_points(embedder: &dyn rankle_core::Embedder, images: &candle_core::Tensor) -> rankle_core::Embeddings {
    embedder.distance().normalize(&embedder.embed(images).unwrap()).unwrap()
}

#[test]
fn only_minus_attacks_choose_among_the_neighbors_of_the_victim() {
    let world = world();
    let galleries = [embedder(2, Distance::Cosine), embedder(5, Distance::Euclidean)].map(|model| gallery(&model, &world));
    for kind in AttackId::ALL {
        let chosen = target_gallery(kind, Sets::one(&galleries[0]), Sets::one(&galleries[1])).gallery.exact();
        let expected = if kind.to_string().ends_with('-') { &galleries[1] } else { &galleries[0] };
        assert!(std::ptr::eq(chosen, expected), "{kind}");
    }
}

#[test]
fn a_victim_of_other_images_is_refused() {
    let (world, model) = (world(), embedder(2, Distance::Cosine));
    let own = gallery(&model, &world);
    let few: Vec<usize> = (0..10).collect();
    let small = Gallery::new(&place(&model, &world, &few)).unwrap();
    let attack = build(AttackId::EmbeddingShift, 0, AttackOptions::default());
    let victim = Victim { embedder: &model, sets: Sets::one(&small) };
    let refused = transfer(&*attack, &pgd(0.1), &setting(&model, &own, &world), victim, &[1], &Targets::none(1));
    assert!(matches!(refused, Err(Error::Shape { .. })));
}
