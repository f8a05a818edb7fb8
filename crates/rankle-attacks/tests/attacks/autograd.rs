//! The closed forms against PyTorch's autograd (a fixture), candle's autograd in f64 and finite differences.

use crate::support::{bind, random};
use candle_core::{DType, Device, Result, Tensor, Var, safetensors};
use rankle_attacks::{AttackId, AttackOptions, Direction, ObjectiveKind, Protocol, Targets};
use rankle_core::{Distance, Gallery};

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn close(what: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
    assert!(scale > 0.0, "{what}: nothing to compare");
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= tolerance * scale, "{what}: {a} instead of {b}");
    }
}

/// Every attack with every objective it has.
fn attacks() -> Vec<(AttackId, ObjectiveKind)> {
    let all = AttackId::ALL.into_iter().flat_map(|kind| ObjectiveKind::ALL.map(|objective| (kind, objective)));
    all.filter(|(kind, objective)| *kind != AttackId::EmbeddingShift || *objective == ObjectiveKind::Ranking).collect()
}

/// Loss and gradient of an attack, with three targets and five preserved items for each of four images.
fn evaluate(
    (kind, objective): (AttackId, ObjectiveKind),
    distance: Distance,
    gallery: &Tensor,
    clean: &Tensor,
    moved: &Tensor,
    targets: &[u32],
    preserved: &[u32],
) -> (Vec<f64>, Vec<f64>) {
    let gallery = Gallery::new(&distance.normalize(gallery).unwrap()).unwrap();
    let clean = distance.normalize(clean).unwrap();
    let targets = match kind {
        AttackId::EmbeddingShift => Targets::none(4),
        AttackId::PreservingQuery(_) => {
            Targets::new(4, targets.to_vec(), 3, Some((preserved.to_vec(), 5)), gallery.len()).unwrap()
        }
        _ => Targets::new(4, targets.to_vec(), 3, None, gallery.len()).unwrap(),
    };
    let variant = AttackOptions { objective: Some(objective), ..AttackOptions::default() };
    let evaluation = bind(kind, variant, &gallery, &[0, 1, 2, 3], &clean, targets, Protocol::Paper).evaluate(moved).unwrap();
    (evaluation.losses().unwrap(), numbers(&evaluation.gradient))
}

#[test]
fn every_objective_agrees_with_pytorch() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/objectives.safetensors");
    let tensors = safetensors::load(file, &Device::Cpu).unwrap();
    let indices = |name: &str| tensors[name].flatten_all().unwrap().to_vec1::<u32>().unwrap();
    let (targets, preserved) = (indices("targets"), indices("preserved"));
    for distance in Distance::ALL {
        for attack in attacks() {
            let (kind, objective) = attack;
            let name = match objective {
                ObjectiveKind::Ranking => kind.to_string(),
                ObjectiveKind::Distance => format!("{kind}.by-distance"),
                ObjectiveKind::SoftRank => format!("{kind}.soft-rank"),
            };
            let name = format!("{name}.{distance}");
            let (loss, gradient) =
                evaluate(attack, distance, &tensors["gallery"], &tensors["clean"], &tensors["embeddings"], &targets, &preserved);
            close(&name, &loss, &numbers(&tensors[&format!("{name}.loss")]), 1e-6);
            close(&name, &gradient, &numbers(&tensors[&format!("{name}.slope")]), 5e-6);
        }
    }
}

/// The losses by their definitions, term by term, in f64: `(4,)` losses of raw embeddings.
fn plain(
    (kind, objective): (AttackId, ObjectiveKind),
    distance: Distance,
    gallery: &Tensor,
    clean: &Tensor,
    moved: &Tensor,
    targets: &[u32],
    preserved: &[u32],
) -> Result<Tensor> {
    let place = |raw: &Tensor| match distance {
        Distance::Cosine => raw.broadcast_div(&raw.sqr()?.sum_keepdim(1)?.sqrt()?),
        Distance::Euclidean => Ok(raw.clone()),
    };
    let pairs = |a: &Tensor, b: &Tensor| match distance {
        Distance::Cosine => 1.0 - a.matmul(&b.t()?)?,
        // The tiny summand keeps the gradient of the root finite where an item meets itself.
        Distance::Euclidean => (a.unsqueeze(1)?.broadcast_sub(&b.unsqueeze(0)?)?.sqr()?.sum(2)? + 1e-24)?.sqrt(),
    };
    let (gallery, clean, moved) = (place(gallery)?, place(clean)?, place(moved)?);
    let one = |image: usize, indices: &[u32], kind: AttackId| -> Result<Tensor> {
        let point = moved.narrow(0, image, 1)?;
        let set = indices.len() / 4;
        let items = Tensor::from_slice(&indices[image * set..][..set], set, &Device::Cpu)?;
        let items = gallery.index_select(&items, 0)?;
        let (gap, direction) = match kind {
            AttackId::Candidate(direction) => (pairs(&items, &point)?.broadcast_sub(&pairs(&items, &gallery)?)?, direction),
            AttackId::Query(direction) | AttackId::PreservingQuery(direction) => {
                (pairs(&point, &items)?.t()?.broadcast_sub(&pairs(&point, &gallery)?)?, direction)
            }
            AttackId::EmbeddingShift | AttackId::Custom(_) => unreachable!("has no hinges"),
        };
        let signed = |loss: Tensor| if direction == Direction::Raise { Ok(loss) } else { loss.neg() };
        match objective {
            ObjectiveKind::Ranking => signed(gap)?.relu()?.mean_all(),
            ObjectiveKind::Distance => signed(pairs(&point, &items)?.mean_all()?),
            ObjectiveKind::SoftRank => {
                let all = pairs(&gallery, &gallery)?.flatten_all()?;
                let spread = all.broadcast_sub(&all.mean_all()?)?.sqr()?.mean_all()?.sqrt()?.to_scalar::<f64>()?;
                ((signed(gap)?.affine(-10.0 / spread, 0.0)?.exp()? + 1.0)?.recip()?).mean_all()
            }
        }
    };
    let losses = (0..4).map(|image| match kind {
        AttackId::EmbeddingShift => {
            let (a, b) = (moved.narrow(0, image, 1)?, clean.narrow(0, image, 1)?);
            let a = if distance == Distance::Euclidean { (a + 1e-6)? } else { a };
            pairs(&a, &b)?.neg()?.sum_all()
        }
        AttackId::PreservingQuery(direction) => {
            let xi = if direction == Direction::Raise { 1.0 } else { 100.0 };
            one(image, targets, kind)? + (one(image, preserved, AttackId::Query(Direction::Raise))? * xi)?
        }
        _ => one(image, targets, kind),
    });
    Tensor::stack(&losses.collect::<Result<Vec<_>>>()?, 0)
}

#[test]
fn every_objective_agrees_with_plain_autograd_and_finite_differences() {
    let matrix = |seed, rows: usize| {
        let values = random(seed, rows * 6).into_iter().map(|x| x - 0.5).collect();
        Tensor::from_vec(values, (rows, 6), &Device::Cpu).unwrap()
    };
    let (gallery, clean, moved) = (matrix(11, 40), matrix(12, 4), matrix(13, 4));
    let targets = [5, 6, 7, 9, 9, 10, 11, 2, 13, 0, 1, 39];
    let preserved: Vec<u32> = (14..34).collect();
    let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
    let reference = |attack, distance, at: &Tensor| {
        plain(attack, distance, &wide(&gallery), &wide(&clean), at, &targets, &preserved).unwrap()
    };
    for distance in Distance::ALL {
        for attack in attacks() {
            let (kind, objective) = attack;
            let name = format!("{kind} by {objective}, {distance}");
            let (loss, gradient) = evaluate(attack, distance, &gallery, &clean, &moved, &targets, &preserved);

            let at = Var::from_tensor(&wide(&moved)).unwrap();
            let theirs = reference(attack, distance, at.as_tensor());
            let autograd = theirs.sum_all().unwrap().backward().unwrap().remove(at.as_tensor()).unwrap();
            close(&name, &loss, &numbers(&theirs), 1e-5);
            close(&name, &gradient, &numbers(&autograd), 1e-5);

            let start = numbers(&moved);
            let total = |at: Vec<f64>| {
                numbers(&reference(attack, distance, &Tensor::from_vec(at, (4, 6), &Device::Cpu).unwrap())).iter().sum::<f64>()
            };
            let nudged = |number: usize, by: f64| {
                let mut at = start.clone();
                at[number] += by;
                total(at)
            };
            let differences: Vec<f64> = (0..24).map(|number| (nudged(number, 1e-6) - nudged(number, -1e-6)) / 2e-6).collect();
            close(&name, &gradient, &differences, 1e-4);
        }
    }
}

/// With one target, the gradients of both objectives of a candidate attack have the same direction (METHOD.md 7.6).
#[test]
fn one_query_pulls_alike_under_both_objectives() {
    let matrix = |seed, rows: usize| {
        let values = random(seed, rows * 6).into_iter().map(|x| x - 0.5).collect();
        Tensor::from_vec(values, (rows, 6), &Device::Cpu).unwrap()
    };
    let (raw, moved) = (matrix(11, 40), matrix(13, 4));
    for distance in Distance::ALL {
        let gallery = Gallery::new(&distance.normalize(&raw).unwrap()).unwrap();
        let clean = distance.normalize(&moved).unwrap();
        for kind in [AttackId::Candidate(Direction::Raise), AttackId::Candidate(Direction::Lower)] {
            let gradient = |objective| {
                let targets = Targets::new(4, vec![5, 6, 7, 8], 1, None, gallery.len()).unwrap();
                let variant = AttackOptions { objective: Some(objective), ..AttackOptions::default() };
                let bound = bind(kind, variant, &gallery, &[0, 1, 2, 3], &clean, targets, Protocol::Paper);
                numbers(&bound.evaluate(&moved).unwrap().gradient)
            };
            let (hinges, distances) = (gradient(ObjectiveKind::Ranking), gradient(ObjectiveKind::Distance));
            for (image, (a, b)) in hinges.chunks_exact(6).zip(distances.chunks_exact(6)).enumerate() {
                let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
                let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                assert!(cosine > 1.0 - 1e-6, "{kind} {distance} image {image}: {cosine}");
            }
        }
    }
}
