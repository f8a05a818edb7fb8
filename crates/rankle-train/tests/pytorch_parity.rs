//! Adam and the losses against PyTorch; `fixtures/README.md` describes the numbers.

use candle_core::{Device, Tensor, safetensors};
use rankle_core::{AdamStep, Distance, Embeddings};
use rankle_kernels::Isa;
use rankle_train::{ContrastiveLoss, PairLoss, Triplet, TripletLoss, cross_entropy_loss};
use std::collections::HashMap;

/// PyTorch's own float32 Adam is within 6e-8 (absolute), 2e-8 (absolute) and 3e-7 (relative) of this float64 reference.
const PARAMETERS: f64 = 1.2e-7;
const FIRST: f64 = 4e-8;
const SECOND: f64 = 4e-7;
/// Largest relative error of a loss, and largest error of a gradient relative to its largest number.
const LOSS: f64 = 1e-6;

fn fixture() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/losses.safetensors");
    safetensors::load(path, &Device::Cpu).expect("the fixture is part of the repository")
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

/// The largest of `|ours - expected| / scale(expected)`; infinite if any of them is NaN.
fn worst(ours: &[f32], expected: &[f32], scale: impl Fn(f64) -> f64) -> f64 {
    assert_eq!(ours.len(), expected.len());
    ours.iter().zip(expected).fold(0.0, |worst: f64, (&ours, &expected)| {
        let error = (f64::from(ours) - f64::from(expected)).abs() / scale(f64::from(expected));
        if error.is_nan() { f64::INFINITY } else { worst.max(error) }
    })
}

#[test]
fn adam_equals_pytorch_on_every_instruction_set() {
    let fixture = fixture();
    for (name, weight_decay) in [("decay-1e-7", 1e-7), ("decay-1e-2", 1e-2)] {
        for isa in Isa::available() {
            let mut weights = numbers(&fixture["adam.start"]);
            let (mut first, mut second) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
            let row = |key: &str, step: usize| numbers(&fixture[key].get(step).unwrap());
            for step in 0..5 {
                let adam = AdamStep {
                    learning_rate: 1e-3,
                    beta1: 0.9,
                    beta2: 0.999,
                    epsilon: 1e-8,
                    weight_decay,
                    step: step as u32 + 1,
                };
                adam.update(isa, &mut weights, &mut first, &mut second, &row("adam.gradients", step));
                let expected = |key| row(&format!("adam.{name}.{key}"), step);
                // Second moments can be smaller than all other numbers: their error is relative, with a floor for exact zeros.
                let errors = [
                    ("parameters", worst(&weights, &expected("parameters"), |_| 1.0), PARAMETERS),
                    ("first moments", worst(&first, &expected("first"), |_| 1.0), FIRST),
                    ("second moments", worst(&second, &expected("second"), |x| x.max(1e-30)), SECOND),
                ];
                for (what, error, limit) in errors {
                    assert!(error <= limit, "{isa}, {name}, step {}, {what}: {error:e}", step + 1);
                }
            }
        }
    }
}

/// The update has no fused operation, so all instruction sets round alike.
#[test]
fn adam_has_the_same_bits_on_every_instruction_set() {
    let fixture = fixture();
    let run = |isa| {
        let mut weights = numbers(&fixture["adam.start"]);
        let (mut first, mut second) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
        for step in 1..=5 {
            let adam = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-2, step };
            let gradient = numbers(&fixture["adam.gradients"].get(step as usize - 1).unwrap());
            adam.update(isa, &mut weights, &mut first, &mut second, &gradient);
        }
        [weights, first, second]
    };
    for isa in Isa::available() {
        assert_eq!(run(isa), run(Isa::PORTABLE), "{isa}");
    }
}

#[test]
fn the_triplet_loss_and_its_gradient_equal_pytorch() {
    let fixture = fixture();
    let triplets: Vec<Triplet> = fixture["triplets"]
        .to_vec2::<u32>()
        .unwrap()
        .into_iter()
        .map(|row| Triplet { anchor: row[0] as usize, positive: row[1] as usize, negative: row[2] as usize })
        .collect();
    equals_pytorch("triplet", &fixture, |points, margin| TripletLoss { margin }.evaluate(points, &triplets).unwrap());
}

/// Rows 4 and 8 are equal and of one class, rows 10 and 11 equal and of two: the gradient of the norm at zero is zero.
#[test]
fn the_contrastive_loss_and_its_gradient_equal_pytorch() {
    let fixture = fixture();
    let labels = fixture["labels"].to_vec1::<u32>().unwrap();
    equals_pytorch("contrastive", &fixture, |points, margin| ContrastiveLoss { margin }.evaluate(points, &labels).unwrap());
}

/// PyTorch's own functions, with the correct label and with the label that the original passes (METHOD.md 4.1).
#[test]
fn the_losses_of_pairs_and_their_gradients_equal_pytorch() {
    let fixture = fixture();
    let triplets = fixture["triplets"].to_vec2::<u32>().unwrap();
    let pair = |(at, row): (usize, &Vec<u32>)| (row[0] as usize, row[1 + at % 2] as usize, at % 2 == 0);
    let pairs: Vec<(usize, usize, bool)> = triplets.iter().enumerate().map(pair).collect();
    for (name, mislabeled) in [("pairs-strict", false), ("pairs-paper", true)] {
        equals_pytorch(name, &fixture, |points, _| {
            let margin = if points.distance() == Distance::Cosine { 0.5 } else { 1.0 };
            PairLoss { margin, mislabeled }.evaluate(points, &pairs).unwrap()
        });
    }
}

#[test]
fn the_cross_entropy_and_its_gradient_equal_pytorch() {
    let fixture = fixture();
    let labels = fixture["labels"].to_vec1::<u32>().unwrap();
    let points = Distance::Euclidean.normalize(&fixture["cross-entropy.logits"]).unwrap();
    let (loss, gradient) = cross_entropy_loss(&points, &labels).unwrap();
    let expected = f64::from(numbers(&fixture["cross-entropy.loss"])[0]);
    assert!((loss - expected).abs() <= LOSS * expected, "{loss} instead of {expected}");
    let error = worst(&gradient, &numbers(&fixture["cross-entropy.slope"]), |_| 1.0 / labels.len() as f64);
    assert!(error <= LOSS, "gradient off by {error:e} of what an image can have");
}

fn equals_pytorch(name: &str, fixture: &HashMap<String, Tensor>, evaluate: impl Fn(&Embeddings, f64) -> (f64, Vec<f32>)) {
    for (distance, margin) in [(Distance::Cosine, 0.2), (Distance::Euclidean, 1.0)] {
        let points = distance.normalize(&fixture["embeddings"]).unwrap();
        let (loss, gradient) = evaluate(&points, margin);
        let expected = f64::from(numbers(&fixture[&format!("{name}.{distance}.loss")])[0]);
        assert!((loss - expected).abs() <= LOSS * expected, "{name} {distance}: {loss} instead of {expected}");

        let expected = numbers(&fixture[&format!("{name}.{distance}.slope")]);
        let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        let error =
            worst(&numbers(&points.backward(&points.like_rows(gradient).unwrap()).unwrap()), &expected, |_| f64::from(largest));
        assert!(error <= LOSS, "{name} {distance}: gradient off by {error:e} of its largest number");
    }
}
