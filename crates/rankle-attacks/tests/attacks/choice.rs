//! Draws of targets.

use crate::support::{LEN, at, embedder, gallery, place, world};
use rankle_attacks::{
    AttackId, AttackOptions, Batch, Direction, Protocol, RankingAttack, TargetPool, Targets, build, sample_images,
};
use rankle_core::{Dataset, Distance, Embedder, Error, Gallery, Seed, Sets};

use Direction::{Lower, Raise};
use Protocol::{Paper, Strict};

fn choose(kind: AttackId, set: usize, images: &[usize], gallery: &Gallery, protocol: Protocol) -> Targets {
    choose_in(TargetPool::Global, kind, set, images, gallery, protocol)
}

fn choose_in(band: TargetPool, kind: AttackId, set: usize, images: &[usize], gallery: &Gallery, protocol: Protocol) -> Targets {
    in_band(band, kind, set).choose(images, &at(gallery, protocol, 5)).unwrap()
}

fn in_band(band: TargetPool, kind: AttackId, set: usize) -> Box<dyn RankingAttack> {
    build(kind, set, AttackOptions { target_band: band, ..AttackOptions::default() })
}

fn row(targets: &Targets, image: usize) -> &[u32] {
    &targets.indices()[image * targets.targets_per_image()..][..targets.targets_per_image()]
}

#[test]
fn smaller_sets_and_smaller_samples_are_parts_of_one_draw() {
    let gallery = gallery(&embedder(2, Distance::Cosine), &world());
    let images = sample_images(Seed(5), LEN, 30);
    for kind in AttackId::ALL.into_iter().filter(|kind| *kind != AttackId::EmbeddingShift) {
        for (protocol, band) in Protocol::ALL.into_iter().flat_map(|protocol| TargetPool::ALL.map(|band| (protocol, band))) {
            let five = choose_in(band, kind, 5, &images, &gallery, protocol);
            for set in [1, 2] {
                let fewer = choose_in(band, kind, set, &images, &gallery, protocol);
                assert!((0..30).all(|image| row(&fewer, image) == &row(&five, image)[..set]), "{kind} {protocol} {band} {set}");
            }
            let alone = choose_in(band, kind, 5, &images[7..8], &gallery, protocol);
            assert_eq!(alone, five.of_images(7..8), "{kind} {protocol} {band}");
        }
    }
}

#[test]
fn plus_targets_do_not_depend_on_the_model() {
    let (one, other) = (gallery(&embedder(2, Distance::Cosine), &world()), gallery(&embedder(3, Distance::Euclidean), &world()));
    let images: Vec<usize> = (0..50).collect();
    for kind in [AttackId::Candidate(Raise), AttackId::Query(Raise)] {
        for protocol in Protocol::ALL {
            assert_eq!(choose(kind, 5, &images, &one, protocol), choose(kind, 5, &images, &other, protocol));
        }
    }
    let (ca, qa) =
        (choose(AttackId::Candidate(Raise), 5, &images, &one, Paper), choose(AttackId::Query(Raise), 5, &images, &one, Paper));
    assert_ne!(ca, qa, "the families draw on their own");
}

#[test]
fn strict_targets_are_distinct_and_never_the_image() {
    let gallery = gallery(&embedder(2, Distance::Cosine), &world());
    let images: Vec<usize> = (0..LEN).collect();
    let kinds = AttackId::ALL.into_iter().filter(|kind| *kind != AttackId::EmbeddingShift);
    for (kind, band) in kinds.flat_map(|kind| TargetPool::ALL.map(|band| (kind, band))) {
        let targets = choose_in(band, kind, 5, &images, &gallery, Strict);
        for &image in &images {
            let mut all = row(&targets, image).to_vec();
            if let Some((preserved, set)) = targets.preserved() {
                all.extend(&preserved[image * set..][..set]);
            }
            assert!(!all.contains(&(image as u32)), "{kind}");
            let before = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), before, "{kind}");
        }
    }
}

/// Items of the list of `image`, itself left out, nearest first, by a plain sort.
fn list(gallery: &Gallery, image: usize) -> Vec<u32> {
    let distances = gallery.distances_from(gallery, &[image]).unwrap();
    let mut items: Vec<u32> = (0..LEN as u32).filter(|&item| item as usize != image).collect();
    items.sort_by(|&a, &b| distances[a as usize].total_cmp(&distances[b as usize]));
    items
}

#[test]
fn minus_targets_come_from_the_top_percent() {
    let gallery = gallery(&embedder(2, Distance::Euclidean), &world());
    let images: Vec<usize> = (0..60).collect();
    let (ca, qa, sp) = (AttackId::Candidate(Lower), AttackId::Query(Lower), AttackId::PreservingQuery(Lower));
    let chosen = [ca, qa, sp].map(|kind| choose(kind, 5, &images, &gallery, Paper));
    let strict = choose(ca, 1, &images, &gallery, Strict);
    let mut admired = 0;
    for image in images {
        let top = &list(&gallery, image)[..10];
        assert!(chosen.iter().all(|targets| row(targets, image).iter().all(|target| top.contains(target))));
        assert_eq!(row(&chosen[1], image), row(&chosen[2], image), "what is preserved does not change the targets");
        let free: Vec<u32> = top.iter().copied().filter(|item| !row(&chosen[2], image).contains(item)).collect();
        let (preserved, set) = chosen[2].preserved().unwrap();
        assert_eq!(&preserved[image * set..][..set], &free[..5]);
        admired += usize::from(list(&gallery, row(&strict, image)[0] as usize)[..10].contains(&(image as u32)));
    }
    // A few images are in no item's first ten, and take a neighbor instead.
    assert!(admired > 50, "{admired}");
}

/// Local targets are at positions 10 to 49 of a list of 1000, image left out, equally often; minus attacks ignore the pool.
#[test]
fn local_targets_come_from_one_to_five_percent() {
    let gallery = gallery(&embedder(2, Distance::Cosine), &world());
    let images: Vec<usize> = (0..LEN).collect();
    for kind in [AttackId::Candidate(Raise), AttackId::Query(Raise), AttackId::PreservingQuery(Raise)] {
        for protocol in Protocol::ALL {
            let targets = choose_in(TargetPool::Local, kind, 2, &images, &gallery, protocol);
            let mut counts = [0; LEN];
            for &image in &images {
                let list = list(&gallery, image);
                for target in row(&targets, image) {
                    counts[list.iter().position(|item| item == target).unwrap()] += 1;
                }
            }
            assert_eq!(counts[..10].iter().chain(&counts[50..]).sum::<usize>(), 0, "{kind} {protocol}");
            // 50 expected, standard deviation 7.
            assert!(counts[10..50].iter().all(|count| (20..85).contains(count)), "{kind} {protocol}: {counts:?}");
        }
    }
    for kind in [AttackId::Candidate(Lower), AttackId::Query(Lower), AttackId::PreservingQuery(Lower)] {
        let local = choose_in(TargetPool::Local, kind, 2, &images[..30], &gallery, Paper);
        assert_eq!(local, choose(kind, 2, &images[..30], &gallery, Paper), "{kind}");
    }
}

#[test]
fn the_clean_rank_of_qa_minus_is_the_mean_of_the_drawn_places() {
    let (world, embedder) = (world(), embedder(2, Distance::Cosine));
    let gallery = gallery(&embedder, &world);
    let images: Vec<usize> = (0..LEN).collect();
    let targets = choose(AttackId::Query(Lower), 2, &images, &gallery, Paper);
    let clean = place(&embedder, &world, &images);
    let batch = |targets| Batch {
        scene: at(&gallery, Paper, 5),
        labels: Sets::one(world.labels()),
        images: &images,
        clean: &clean,
        targets,
    };
    let measures = build(AttackId::Query(Lower), 2, AttackOptions::default())
        .instantiate(batch(targets.clone()))
        .unwrap()
        .measures(&clean)
        .unwrap();
    for &image in &images {
        let list = list(&gallery, image);
        let place = |target: &u32| 1 + list.iter().position(|item| item == target).unwrap();
        let places: usize = row(&targets, image).iter().map(place).sum();
        assert_eq!(measures.rank[image], places as f64 / (2.0 * LEN as f64));
    }
    // Positions 1 to 10 are equally likely: 5.5 in the mean, with a deviation of 0.06 for 2 x 1000 draws.
    let mean = measures.rank.iter().sum::<f64>() / LEN as f64;
    assert!((mean * LEN as f64 - 5.5).abs() < 0.25, "{mean}");
    assert_eq!(measures.tie_share(), 0.0);
}

#[test]
fn too_small_galleries_are_refused() {
    let toy = rankle_core::toy::dataset(0);
    let embedder = rankle_core::toy::embedder(0, Distance::Cosine).unwrap();
    let gallery = gallery(&embedder as &dyn Embedder, &toy);
    let refused = |kind: AttackId, set, protocol| {
        in_band(TargetPool::Global, kind, set).choose(&[0], &at(&gallery, protocol, 0)).unwrap_err()
    };
    // The top percent of 200 is 2.
    assert!(matches!(refused(AttackId::Query(Lower), 3, Paper), Error::TooFewTargets { wanted: 3, available: 2 }));
    assert!(matches!(refused(AttackId::PreservingQuery(Lower), 1, Paper), Error::TooFewTargets { wanted: 6, available: 2 }));
    assert!(matches!(refused(AttackId::Candidate(Raise), 201, Paper), Error::TooFewTargets { wanted: 201, available: 200 }));
    assert!(matches!(refused(AttackId::Query(Raise), 200, Strict), Error::TooFewTargets { wanted: 200, available: 199 }));
    assert!(matches!(refused(AttackId::Candidate(Lower), 0, Paper), Error::Empty(_)));
    // One to five percent of 200 are 8 items: enough for 9 draws only with replacement.
    let local = |set, protocol| in_band(TargetPool::Local, AttackId::Query(Raise), set).choose(&[0], &at(&gallery, protocol, 0));
    assert!(matches!(local(9, Strict), Err(Error::TooFewTargets { wanted: 9, available: 8 })));
    assert!(local(8, Strict).is_ok() && local(9, Paper).is_ok());
    let outside = in_band(TargetPool::Global, AttackId::Candidate(Raise), 1).choose(&[200], &at(&gallery, Paper, 0));
    assert!(matches!(outside, Err(Error::Index { index: 200, len: 200, .. })));
    // Five percent of 10 items are none.
    let tiny = Gallery::new(&crate::support::rows(Distance::Euclidean, &[&[0.0f32] as &[f32]; 10])).unwrap();
    for protocol in Protocol::ALL {
        let refused =
            in_band(TargetPool::Local, AttackId::Candidate(Raise), 1).choose(&[0], &at(&tiny, protocol, 0)).unwrap_err();
        assert!(matches!(refused, Error::TooFewTargets { wanted: 1, available: 0 }), "{protocol}");
    }
    // All queries but the image itself: 199 of 200, however few have the image near the top.
    let all = in_band(TargetPool::Global, AttackId::Candidate(Lower), 199).choose(&[4], &at(&gallery, Strict, 0)).unwrap();
    let mut all = all.indices().to_vec();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..200).filter(|&item| item != 4)));
}
