//! Queries that are no gallery items: their targets, their ranks, and the items that leave their lists.

use crate::support::{Curved, LEN, World, embedder, gallery, place, world};
use rankle_attacks::{
    AttackId, AttackOptions, Direction, Pgd, Protocol, Scene, Setting, TargetPool, Targets, Threat, UniversalAttack, build, run,
    universal_target,
};
use rankle_core::dataset::check_indices;
use rankle_core::{Dataset, Distance, Embedder, Error, Gallery, Ranking, Result, Role, Seed, Sets};

/// The last images of the world in reverse order: none keeps its index.
pub(crate) struct Backwards {
    world: World,
    labels: Vec<u32>,
}

const QUERIES: usize = 300;

impl Backwards {
    pub(crate) fn new() -> Self {
        let world = world();
        Self { labels: (0..QUERIES).map(|index| world.labels()[LEN - 1 - index]).collect(), world }
    }
}

impl Dataset for Backwards {
    fn name(&self) -> &str {
        "backwards"
    }
    fn shape(&self) -> (usize, usize, usize) {
        self.world.shape()
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn images(&self, indices: &[usize]) -> Result<candle_core::Tensor> {
        check_indices("image", indices, QUERIES)?;
        self.world.images(&indices.iter().map(|index| LEN - 1 - index).collect::<Vec<_>>())
    }
}

struct Shop {
    world: World,
    asking: Backwards,
    embedder: Curved,
    gallery: Gallery,
    queries: Gallery,
}

fn shop() -> Shop {
    let (world, embedder) = (world(), embedder(2, Distance::Cosine));
    let asking = Backwards::new();
    let (gallery, queries) = (gallery(&embedder, &world), gallery(&embedder, &asking));
    Shop { world, asking, embedder, gallery, queries }
}

impl Shop {
    fn scene(&self, protocol: Protocol) -> Scene<'_> {
        Scene { sets: Sets { gallery: &self.gallery, queries: Some(&self.queries) }, protocol, seed: Seed(9) }
    }
    fn setting(&self, protocol: Protocol) -> Setting<'_> {
        let images: Sets<&dyn Dataset> = Sets { gallery: &self.world, queries: Some(&self.asking) };
        let (embedder, scene) = (&self.embedder, self.scene(protocol));
        Setting { embedder, scene, images, batch_size: 7, eight_bit: false, keep_images: true }
    }
    fn exact(&self, query: usize, item: usize) -> f64 {
        Distance::Cosine.exact(self.queries.point(query), self.gallery.point(item))
    }
}

fn images(role: Role) -> Vec<usize> {
    match role {
        Role::Candidate => vec![3, 999, 17, 650, 0, 301],
        Role::Query => vec![3, 299, 17, 250, 0, 101],
    }
}

#[test]
fn targets_come_from_the_other_set() {
    let shop = shop();
    for protocol in Protocol::ALL {
        for attack in AttackId::ALL.into_iter().filter(|attack| attack.has_targets()) {
            let build = |targets| build(attack, targets, AttackOptions::default());
            let (role, all) = (build(1).perturbs(), images(build(1).perturbs()));
            let targets = build(5).choose(&all, &shop.scene(protocol)).unwrap();
            let len = shop.scene(protocol).sets.of(role.other()).len() as u32;
            assert!(targets.indices().iter().all(|&target| target < len), "{attack}");
            // The draw of one image does not depend on the others, and smaller sets are prefixes.
            let one = build(2).choose(&all[1..2], &shop.scene(protocol)).unwrap();
            let first = &targets.indices()[5..7];
            assert_eq!(one.indices(), first, "{attack} {protocol}");
            let beyond = shop.scene(protocol).sets.of(role).len();
            assert!(matches!(build(1).choose(&[beyond], &shop.scene(protocol)), Err(Error::Index { .. })));
        }
    }
    // All 300 queries can be targets: none is the image itself.
    let ca = build(AttackId::CA_PLUS, QUERIES, AttackOptions::default());
    let all = ca.choose(&[3], &shop.scene(Protocol::Strict)).unwrap();
    let mut sorted = all.indices().to_vec();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..QUERIES as u32));
    let more = build(AttackId::CA_PLUS, QUERIES + 1, AttackOptions::default()).choose(&[3], &shop.scene(Protocol::Strict));
    assert!(matches!(more, Err(Error::TooFewTargets { wanted: 301, available: 300 })));
}

#[test]
fn minus_attacks_are_drawn_from_the_top_of_the_lists() {
    let shop = shop();
    let place_of =
        |query: usize, item: usize| (0..LEN).filter(|&other| shop.exact(query, other) < shop.exact(query, item)).count();
    for (attack, protocol) in [(AttackId::QA_MINUS, Protocol::Paper), (AttackId::QA_MINUS, Protocol::Strict)] {
        let queries = images(Role::Query);
        let targets = build(attack, 3, AttackOptions::default()).choose(&queries, &shop.scene(protocol)).unwrap();
        for (pair, &target) in targets.indices().iter().enumerate() {
            assert!(place_of(queries[pair / 3], target as usize) < LEN / 100, "{protocol}");
        }
    }
    // Strict: queries that have the image in the first 1 % of their list, then the nearest queries.
    let candidates = images(Role::Candidate);
    let targets =
        build(AttackId::CA_MINUS, 2, AttackOptions::default()).choose(&candidates, &shop.scene(Protocol::Strict)).unwrap();
    for (row, &image) in candidates.iter().enumerate() {
        let near: Vec<u32> = (0..QUERIES).filter(|&query| place_of(query, image) < LEN / 100).map(|query| query as u32).collect();
        let drawn = &targets.indices()[2 * row..][..2];
        assert_eq!(drawn.iter().filter(|query| near.contains(query)).count(), near.len().min(2), "{image}");
    }
    let local = AttackOptions { target_band: TargetPool::Local, ..AttackOptions::default() };
    let queries = images(Role::Query);
    let targets = build(AttackId::QA_PLUS, 3, local).choose(&queries, &shop.scene(Protocol::Strict)).unwrap();
    for (pair, &target) in targets.indices().iter().enumerate() {
        assert!((LEN / 100..LEN / 20).contains(&place_of(queries[pair / 3], target as usize)));
    }
}

/// Ranks of the harness equal counts in f64. Only a candidate's clean copy leaves the list, and only under strict.
#[test]
fn ranks_are_those_of_sorted_lists() {
    let shop = shop();
    let search = Pgd::paper(Threat::linf(0.1).unwrap());
    for protocol in Protocol::ALL {
        let setting = shop.setting(protocol);
        for attack in AttackId::ALL.into_iter().filter(|attack| attack.has_targets()) {
            let built = build(attack, 2, AttackOptions::default());
            let (role, images) = (built.perturbs(), images(built.perturbs()));
            let targets = built.choose(&images, &setting.scene).unwrap();
            let outcome = run(&*built, &search, &setting, &images, &targets).unwrap();
            let moved = outcome.adversarial.as_ref().unwrap();
            let moved = Distance::Cosine.normalize(&shop.embedder.embed(moved).unwrap()).unwrap();
            let rows = moved.to_host().unwrap();
            for (row, &image) in images.iter().enumerate() {
                let rank = |&target: &u32| {
                    let target = target as usize;
                    // The distance of the target or of the moved image in the list, and the embedding of the query.
                    let (own, asking) = match role {
                        Role::Candidate => {
                            (Distance::Cosine.exact(shop.queries.point(target), rows.row(row)), shop.queries.point(target))
                        }
                        Role::Query => (Distance::Cosine.exact(rows.row(row), shop.gallery.point(target)), rows.row(row)),
                    };
                    let itself = if role == Role::Candidate { image } else { target };
                    let counts = |&item: &usize| item != itself || protocol == Protocol::Paper && role == Role::Candidate;
                    let closer =
                        (0..LEN).filter(counts).filter(|&item| Distance::Cosine.exact(asking, shop.gallery.point(item)) < own);
                    closer.count() as f64 / LEN as f64
                };
                let expected = targets.indices()[2 * row..][..2].iter().map(rank).sum::<f64>() / 2.0;
                // In f32 two items may be tied.
                let tolerance = if protocol == Protocol::Strict { 1e-12 } else { 2.5 / LEN as f64 };
                assert!(
                    (outcome.after.rank[row] - expected).abs() < tolerance,
                    "{attack} {protocol} {}",
                    outcome.after.rank[row]
                );
            }
            let sign = if attack.direction() == Some(Direction::Raise) { 1.0 } else { -1.0 };
            let mean = |ranks: &[f64]| ranks.iter().sum::<f64>() / ranks.len() as f64;
            assert!(
                sign * (mean(&outcome.before.rank) - mean(&outcome.after.rank)) > 0.0 || attack == AttackId::SP_QA_MINUS,
                "{attack}"
            );
        }
    }
}

/// Queries that are no gallery items leave no item out, not even one with their index or pixels.
#[test]
fn nothing_is_left_out_of_the_list_of_a_query_that_is_no_item() {
    let shop = shop();
    let setting = shop.setting(Protocol::Strict);
    let es = build(AttackId::EmbeddingShift, 0, AttackOptions::default());
    let search = Pgd::paper(Threat::linf(0.1).unwrap());
    let queries = images(Role::Query);
    let outcome = run(&*es, &search, &setting, &queries, &Targets::none(queries.len())).unwrap();
    // The world holds a copy of every query, of the same class and at distance 0.
    assert_eq!(outcome.before.hits(1), [1.0; 6]);
    for (row, &query) in queries.iter().enumerate() {
        let matches = (0..LEN).filter(|&item| shop.world.labels()[item] == shop.asking.labels()[query]);
        let nearest = matches.min_by(|&a, &b| shop.exact(query, a).total_cmp(&shop.exact(query, b))).unwrap();
        assert_eq!(nearest, LEN - 1 - query);
        assert_eq!(outcome.before.first_match[row].unwrap().closer, 0);
    }
    // The item of the same index and pixels is found as well; in one set the next item of its class is found instead.
    let asked_of_itself = Sets { gallery: &shop.gallery as &dyn Ranking, queries: Some(&shop.gallery) };
    let images: Sets<&dyn Dataset> = Sets { gallery: &shop.world, queries: Some(&shop.world) };
    let two = Setting { scene: Scene { sets: asked_of_itself, ..setting.scene }, images, ..setting };
    let one =
        Setting { scene: Scene { sets: Sets::one(&shop.gallery), ..setting.scene }, images: Sets::one(&shop.world), ..setting };
    let everyone: Vec<usize> = (0..LEN).collect();
    let found = |setting: &Setting<'_>| {
        let outcome = run(&*es, &Pgd::from_clean(Threat::linf(0.0).unwrap(), 0.0, 0), setting, &everyone, &Targets::none(LEN));
        outcome.unwrap().before.first_match
    };
    let (two, one) = (found(&two), found(&one));
    assert!(two.iter().all(|group| group.unwrap().closer == 0));
    assert!(one.iter().filter(|group| group.is_some_and(|group| group.closer > 0)).count() > 20);
}

#[test]
fn who_is_drawn_does_not_depend_on_who_else_is_attacked() {
    let shop = shop();
    let scene = shop.scene(Protocol::Strict);
    let everyone: Vec<usize> = (0..LEN).collect();
    let attack = build(AttackId::CA_MINUS, 1, AttackOptions::default());
    let together = attack.choose(&everyone, &scene).unwrap();
    for image in [0, 17, 999] {
        assert_eq!(attack.choose(&[image], &scene).unwrap().indices(), &together.indices()[image..][..1]);
    }
}

#[test]
fn one_perturbation_serves_images_of_either_set() {
    let shop = shop();
    let setting = shop.setting(Protocol::Strict);
    let universal = UniversalAttack { search: Pgd { iterations: 10, ..Pgd::universal(Threat::linf(0.1).unwrap()) }.into() };
    for (attack, role) in [(AttackId::CA_PLUS, Role::Candidate), (AttackId::QA_PLUS, Role::Query)] {
        let images = images(role);
        let target = universal_target(&setting.scene, role, (0, 0), &images).unwrap();
        assert!((target as usize) < setting.scene.sets.of(role.other()).len());
        let outcome = universal
            .run((&*build(attack, 1, AttackOptions::default()), Direction::Raise), &setting, None, &images, target)
            .unwrap();
        let mean = |ranks: &[f64]| ranks.iter().sum::<f64>() / ranks.len() as f64;
        assert!(mean(&outcome.source.seen.after.rank) < mean(&outcome.source.seen.before.rank), "{attack}");
        assert!(outcome.source.seen.images.iter().all(|image| images.contains(image)));
    }
    let beyond = universal.run(
        (&*build(AttackId::CA_PLUS, 1, AttackOptions::default()), Direction::Raise),
        &setting,
        None,
        &[1, 2],
        QUERIES as u32,
    );
    assert!(matches!(beyond, Err(Error::Index { what: "target", index: 300, len: 300 })));
}

#[test]
fn embeddings_and_images_must_be_of_the_same_sets() {
    let shop = shop();
    let attack = build(AttackId::QA_PLUS, 1, AttackOptions::default());
    let search = Pgd::paper(Threat::linf(0.1).unwrap());
    let setting = shop.setting(Protocol::Paper);
    let targets = Targets::new(1, vec![5], 1, None, LEN).unwrap();
    let go = |setting: &Setting<'_>| run(&*attack, &search, setting, &[1], &targets);
    assert!(go(&setting).is_ok());
    let one = Scene { sets: Sets::one(&shop.gallery), ..setting.scene };
    assert!(matches!(go(&Setting { scene: one, ..setting }), Err(Error::Shape { what: "the search", .. })));
    let swapped = Scene { sets: Sets { gallery: &shop.queries, queries: Some(&shop.gallery) }, ..setting.scene };
    assert!(matches!(go(&Setting { scene: swapped, ..setting }), Err(Error::Shape { what: "the gallery", .. })));
    let few = Gallery::new(&place(&shop.embedder, &shop.world, &[1, 2])).unwrap();
    let few = Scene { sets: Sets { gallery: &shop.gallery, queries: Some(&few) }, ..setting.scene };
    assert!(matches!(go(&Setting { scene: few, ..setting }), Err(Error::Shape { what: "the set of queries", .. })));
}
