//! Embeddings that f32 cannot tell apart: strict ranks them in f64, paper in f32 as the original does.

use crate::support::{at, bind};
use candle_core::{Device, Tensor};
use rankle_attacks::{AttackId, AttackOptions, Direction, Protocol, Targets, build};
use rankle_core::{Distance, Embeddings, Gallery, Sets};

const ITEMS: usize = 90;
const DIM: usize = 40;

/// Points within 1e-4 of one direction.
fn points(seed: usize, count: usize) -> Embeddings {
    let noise = |at: usize| ((at * 2_654_435_761 + seed * 7_919) % 1_000_003) as f32 / 1_000_003.0 - 0.5;
    let coordinates: Vec<f32> = (0..count * DIM).map(|at| 1.0 + 0.3 * ((at % DIM) as f32).sin() + 1e-4 * noise(at)).collect();
    Distance::Cosine.normalize(&Tensor::from_vec(coordinates, (count, DIM), &Device::Cpu).unwrap()).unwrap()
}

/// Rank of an item at distance `own` among others; ties count half.
fn rank(own: f64, others: impl Iterator<Item = f64>) -> f64 {
    let (mut closer, mut tied) = (0.0, 0.0);
    for other in others {
        closer += f64::from(u8::from(other < own));
        tied += f64::from(u8::from(other == own));
    }
    closer + tied / 2.0
}

#[test]
fn strict_ranks_are_those_of_f64() {
    let gallery = Gallery::new(&points(0, ITEMS)).unwrap();
    let images: Vec<usize> = (0..20).collect();
    let moved = points(1, images.len());
    let rows = moved.to_host().unwrap();
    let exact = |a: &[f32], b: usize| Distance::Cosine.exact(a, gallery.point(b));
    let pairs: Vec<u32> = (0..40).map(|at| (25 + at) as u32).collect();
    for kind in [AttackId::Candidate(Direction::Raise), AttackId::Query(Direction::Raise)] {
        let of = |protocol| {
            let targets = Targets::new(images.len(), pairs.clone(), 2, None, ITEMS).unwrap();
            bind(kind, AttackOptions::default(), &gallery, &images, &moved, targets, protocol).measures(&moved).unwrap()
        };
        let (paper, strict) = (of(Protocol::Paper), of(Protocol::Strict));
        for (row, &image) in images.iter().enumerate() {
            let target_rank = |target: u32| {
                let target = target as usize;
                let others = (0..ITEMS).filter(|&item| item != image && item != target);
                match kind {
                    AttackId::Candidate(_) => {
                        let query = gallery.point(target);
                        rank(Distance::Cosine.exact(query, rows.row(row)), others.map(|item| exact(query, item)))
                    }
                    _ => rank(exact(rows.row(row), target), others.map(|item| exact(rows.row(row), item))),
                }
            };
            let expected = (target_rank(pairs[2 * row]) + target_rank(pairs[2 * row + 1])) / (2 * ITEMS) as f64;
            assert!((strict.rank[row] - expected).abs() < 1e-12, "{kind} {row}: {} {expected}", strict.rank[row]);
        }
        // Nearly every comparison is below the resolution of f32. Under paper f32 decides it, and the measures report that.
        assert!(paper.resolution.undecided_share() > 0.9 && paper.resolution.near == paper.resolution.undecided, "{kind}");
        assert!(strict.resolution.near > 0 && strict.resolution.undecided == 0, "{kind} {:?}", strict.resolution);
        assert!(paper.rank.iter().zip(&strict.rank).any(|(a, b)| (a - b).abs() > 0.05), "{kind}");
        assert!(paper.tie_share() > 0.5 && strict.tie_share() == 0.0, "{kind} {}", paper.tie_share());
    }
}

#[test]
fn the_embedding_shift_has_expected_recalls_of_ties_and_exact_ones_without() {
    let gallery = Gallery::new(&points(0, ITEMS)).unwrap();
    let images: Vec<usize> = (0..20).collect();
    let moved = points(1, images.len());
    let rows = moved.to_host().unwrap();
    let labels: Vec<u32> = (0..ITEMS as u32).map(|item| item % 7).collect();
    let batch = |protocol| rankle_attacks::Batch {
        scene: at(&gallery, protocol, 0),
        labels: Sets::one(&labels),
        images: &images,
        clean: &moved,
        targets: Targets::none(images.len()),
    };
    let of = |protocol| {
        let attack = build(AttackId::EmbeddingShift, 0, AttackOptions::default());
        attack.instantiate(batch(protocol)).unwrap().measures(&moved).unwrap()
    };
    let (paper, strict) = (of(Protocol::Paper), of(Protocol::Strict));
    for (row, &image) in images.iter().enumerate() {
        let exact = |item: usize| Distance::Cosine.exact(rows.row(row), gallery.point(item));
        let mut list: Vec<usize> = (0..ITEMS).filter(|&item| item != image).collect();
        list.sort_by(|&a, &b| exact(a).total_cmp(&exact(b)));
        let expected = list.iter().position(|&item| labels[item] == labels[image]).unwrap() as u32;
        let found = strict.first_match[row].unwrap();
        assert_eq!((found.closer, found.tied, found.wanted), (expected, 1, 1), "{image}");
    }
    assert!(paper.first_match != strict.first_match && paper.resolution.undecided > 0 && strict.resolution.undecided == 0);

    // All embeddings are equal, and four classes have 5 items each: the first item is of the class with probability 4/19.
    let labels: Vec<u32> = (0..20).map(|item| item / 5).collect();
    let raw = Tensor::ones((20, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let place = Distance::Euclidean.normalize(&raw).unwrap();
    let gallery = Gallery::new(&place).unwrap();
    let images: Vec<usize> = (0..20).collect();
    for protocol in Protocol::ALL {
        let batch = rankle_attacks::Batch {
            scene: at(&gallery, protocol, 0),
            labels: Sets::one(&labels),
            images: &images,
            clean: &place,
            targets: Targets::none(20),
        };
        let measures =
            build(AttackId::EmbeddingShift, 0, AttackOptions::default()).instantiate(batch).unwrap().measures(&place).unwrap();
        assert_eq!((measures.tie_share(), measures.pairs), (1.0, 20), "{protocol}");
        for hit in measures.hits(1) {
            assert!((hit - 4.0 / 19.0).abs() < 1e-12, "{protocol} {hit}");
        }
    }
}
