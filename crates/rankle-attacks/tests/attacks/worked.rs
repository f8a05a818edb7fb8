//! The vectors of METHOD.md 8.6, and ties made by hand.

use crate::support::{bind, rows};
use rankle_attacks::{AttackId, AttackOptions, Direction, Protocol, Targets};
use rankle_core::{Distance, Embeddings, Gallery};

use Direction::{Lower, Raise};
use Protocol::{Paper, Strict};

fn raw(points: &[&[f32]]) -> candle_core::Tensor {
    candle_core::Tensor::from_vec(points.concat(), (points.len(), points[0].len()), &candle_core::Device::Cpu).unwrap()
}

/// Checks loss and rank when gallery item `image` has moved to `to`.
fn check(gallery: &Embeddings, image: usize, to: &[f32], kind: AttackId, targets: &[u32], loss: f64, rank: f64) {
    let gallery = Gallery::new(gallery).unwrap();
    let targets = Targets::new(1, targets.to_vec(), targets.len(), None, gallery.len()).unwrap();
    let moved = rows(gallery.distance(), &[to]);
    let images = [image];
    let bound = bind(kind, AttackOptions::default(), &gallery, &images, &moved, targets, Paper);
    let evaluation = bound.evaluate(&raw(&[to])).unwrap();
    assert!(
        (evaluation.losses().unwrap()[0] - loss).abs() < 1e-6,
        "{kind}: {} instead of {loss}",
        evaluation.losses().unwrap()[0]
    );
    let measures = bound.measures(&moved).unwrap();
    assert!((measures.rank[0] - rank).abs() < 1e-12, "{kind}: {} instead of {rank}", measures.rank[0]);
}

#[test]
fn candidate_and_query_in_the_plane() {
    let gallery = rows(Distance::Euclidean, &[&[0.0, 0.0], &[1.0, 0.0], &[0.0, 2.0], &[3.0, 0.0], &[0.0, 4.0]]);
    check(&gallery, 1, &[2.0, 0.0], AttackId::Candidate(Raise), &[0, 2], 0.807_764, 0.6);
    check(&gallery, 1, &[2.0, 0.0], AttackId::Candidate(Lower), &[0, 2], 0.377_712, 0.6);
    check(&gallery, 1, &[2.0, 0.0], AttackId::Query(Raise), &[2, 4], 1.554_540, 0.7);
    check(&gallery, 1, &[2.0, 0.0], AttackId::Query(Lower), &[2, 4], 0.164_371, 0.7);
}

#[test]
fn candidate_on_the_circle() {
    let gallery = rows(Distance::Cosine, &[&[1.0, 0.0], &[1.0, 1.0], &[0.0, 1.0], &[-1.0, 1.0]]);
    check(&gallery, 0, &[2.0, 1.0], AttackId::Candidate(Raise), &[2], 0.268_143, 0.75);
    check(&gallery, 0, &[2.0, 1.0], AttackId::Candidate(Lower), &[2], 0.111_803, 0.75);
}

/// Rank of image 3 moved to `to`, in items (not fractions), and the share of ties.
fn ranks(places: &[f32], to: f32, kind: AttackId, target: u32, protocol: Protocol) -> (f64, f64) {
    let column: Vec<&[f32]> = places.chunks(1).collect();
    let gallery = Gallery::new(&rows(Distance::Euclidean, &column)).unwrap();
    let moved = rows(Distance::Euclidean, &[&[to]]);
    let targets = Targets::new(1, vec![target], 1, None, gallery.len()).unwrap();
    let measures = bind(kind, AttackOptions::default(), &gallery, &[3], &moved, targets, protocol).measures(&moved).unwrap();
    (measures.rank[0] * places.len() as f64, measures.tie_share())
}

#[test]
fn copies_and_ties_count_as_the_protocol_says() {
    let (ca, qa) = (AttackId::Candidate(Raise), AttackId::Query(Raise));
    // Items 0, 1, 2 and 4 in the list of item 0; the image is item 3.
    let places = [0.0, 2.0, 2.0, 5.0, 4.0];
    // At 2: item 0 is nearer, items 1 and 2 are tied; without the query and the copy, half of the two ties count.
    assert_eq!(ranks(&places, 2.0, ca, 0, Paper), (1.0, 1.0));
    assert_eq!(ranks(&places, 2.0, ca, 0, Strict), (1.0, 1.0));
    // At 3: the items 0, 1, 2 are nearer.
    assert_eq!(ranks(&places, 3.0, ca, 0, Paper), (3.0, 0.0));
    assert_eq!(ranks(&places, 3.0, ca, 0, Strict), (2.0, 0.0));
    // Unmoved, the image is tied only with its own copy; at 6 the copy is nearer, and does not count under strict.
    assert_eq!(ranks(&places, 5.0, ca, 0, Paper), (4.0, 0.0));
    assert_eq!(ranks(&places, 5.0, ca, 0, Strict), (3.0, 0.0));
    assert_eq!(ranks(&places, 6.0, ca, 0, Paper), (5.0, 0.0));
    assert_eq!(ranks(&places, 6.0, ca, 0, Strict), (3.0, 0.0));
    // The query is the image itself: it is left out once.
    assert_eq!(ranks(&places, 3.5, ca, 3, Paper), (2.0, 0.0));
    assert_eq!(ranks(&places, 3.5, ca, 3, Strict), (1.0, 0.0));

    // The list of the query at 0: item 0, the tied items 1 and 2, item 4, its clean copy 3.
    assert_eq!(ranks(&places, 0.0, qa, 1, Paper), (1.0, 1.0));
    assert_eq!(ranks(&places, 0.0, qa, 2, Paper), (2.0, 1.0));
    assert_eq!(ranks(&places, 0.0, qa, 1, Strict), (1.5, 1.0));
    assert_eq!(ranks(&places, 0.0, qa, 4, Paper), (3.0, 0.0));
    // Unmoved: the copy is first. Under strict it leaves the list, unless it is the target.
    assert_eq!(ranks(&places, 5.0, qa, 4, Paper), (1.0, 0.0));
    assert_eq!(ranks(&places, 5.0, qa, 4, Strict), (0.0, 0.0));
    assert_eq!(ranks(&places, 5.0, qa, 3, Strict), (0.0, 0.0));
}

#[test]
fn a_collapsed_gallery_is_one_great_tie() {
    let places = [1.0; 7];
    for kind in [AttackId::Candidate(Raise), AttackId::Query(Lower)] {
        // Without the image and the query (CA) or the target itself (QA), 5 items are tied: 2.5 is the middle.
        assert_eq!(ranks(&places, 1.0, kind, 5, Strict), (2.5, 1.0));
    }
    assert_eq!(ranks(&places, 1.0, AttackId::Candidate(Raise), 5, Paper), (0.0, 1.0));
    assert_eq!(ranks(&places, 1.0, AttackId::Query(Raise), 5, Paper), (5.0, 1.0));
}
