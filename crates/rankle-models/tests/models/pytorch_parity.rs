//! Small networks compared with PyTorch, image by image: embeddings, input gradients and weight gradients, on MNIST images (whose
//! zero borders cause exact ties in the pooling) and on noise, with every instruction set of this machine.
//! `fixtures/README.md` describes the reference.

use crate::support::formula::{self, FIRST_STREAM, NETWORKS, Network, unit};
use candle_core::{Device, Tensor, safetensors};
use rankle_core::{Differentiable, Distance, Embedder};
use rankle_models::{Convnet, Isa};
use std::collections::HashMap;

const PIXELS: usize = 784;

/// Largest allowed differences, relative to the largest value of the reference. PyTorch's own float32 is within 6e-7
/// (embeddings and input gradients) and 1.4e-6 (weight gradients) of this reference.
const EMBEDDING: f64 = 1e-5;
const INPUT_GRADIENT: f64 = 2e-5;
const WEIGHT_GRADIENT: f64 = 1e-4;

type Fixture = HashMap<String, Tensor>;

fn fixture(network: &Network) -> Fixture {
    let path = format!("{}/tests/fixtures/{}.safetensors", env!("CARGO_MANIFEST_DIR"), network.name);
    safetensors::load(path, &Device::Cpu).expect("the fixture is part of the repository")
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

fn images(fixture: &Fixture) -> Tensor {
    let bytes: Vec<u8> = fixture["images"].flatten_all().and_then(|t| t.to_vec1()).unwrap();
    let pixels: Vec<f32> = bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    Tensor::from_vec(pixels, (fixture["images"].dims()[0], 1, 28, 28), &Device::Cpu).unwrap()
}

/// Gradient of a loss with respect to the raw embeddings.
type Upstream = fn(&Tensor) -> rankle_core::Result<Tensor>;

/// Losses of the fixture.
const LOSSES: [(&str, Upstream); 2] = [("linear", linear), ("cosine", cosine)];

/// Gradient of `Σ e·r`.
fn linear(raw: &Tensor) -> rankle_core::Result<Tensor> {
    Ok(Tensor::from_vec(unit(FIRST_STREAM + 101, raw.elem_count()), raw.shape(), &Device::Cpu)?)
}

/// Gradient of `Σ (1 - u·t)` with `u = e / ‖e‖`.
fn cosine(raw: &Tensor) -> rankle_core::Result<Tensor> {
    let gradient: Vec<f32> = unit(FIRST_STREAM + 102, raw.elem_count()).into_iter().map(|t| -t).collect();
    let gradient = Tensor::from_vec(gradient, raw.shape(), &Device::Cpu)?;
    Distance::Cosine.normalize(raw)?.backward(&gradient)
}

/// Largest difference, relative to the largest value of the reference; infinite if a value is NaN.
fn relative(ours: &[f64], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let largest = reference.iter().fold(0.0, |m: f64, &r| m.max(f64::from(r).abs()));
    ours.iter().zip(reference).fold(0.0, |worst: f64, (o, &r)| {
        let error = (o - f64::from(r)).abs() / largest;
        if error.is_nan() { f64::INFINITY } else { worst.max(error) }
    })
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Runs `work` for every network and its fixture, on every instruction set of this machine.
fn check(work: impl Fn(&str, &Convnet, &Fixture)) {
    for network in NETWORKS {
        let fixture = fixture(&network);
        for isa in Isa::available() {
            work(&format!("{}, {isa}", network.name), &network.model(isa), &fixture);
        }
    }
}

#[test]
fn both_sides_compute_the_same_noise() {
    for network in NETWORKS {
        let images = &fixture(&network)["images"];
        let half = images.dims()[0] / 2;
        let stored: Vec<u8> = images.narrow(0, half, half).and_then(|t| t.flatten_all()).and_then(|t| t.to_vec1()).unwrap();
        assert_eq!(stored, formula::byte(FIRST_STREAM + 100, half * PIXELS), "{}", network.name);
    }
}

#[test]
fn embeddings_equal_pytorch() {
    check(|name, model, fixture| {
        let (ours, reference) = (model.embed(&images(fixture)).unwrap(), &fixture["embeddings"]);
        assert_eq!(ours.dims(), reference.dims(), "{name}");
        let dim = ours.dims()[1];
        for (image, (ours, reference)) in numbers(&ours).chunks(dim).zip(numbers(reference).chunks(dim)).enumerate() {
            let error = relative(&wide(ours), reference);
            assert!(error <= EMBEDDING, "{name}, image {image}: {error:e}");
        }
    });
}

#[test]
fn input_gradients_equal_pytorch_in_size_and_sign() {
    check(|name, model, fixture| {
        for (loss, upstream) in LOSSES {
            let ours = numbers(&model.input_gradient(&images(fixture), &mut |raw| upstream(raw)).unwrap());
            let reference = numbers(&fixture[&format!("{loss}.input_gradient")]);
            assert_eq!(ours.len(), reference.len(), "{name}");
            for (image, (ours, reference)) in ours.chunks(PIXELS).zip(reference.chunks(PIXELS)).enumerate() {
                let error = relative(&wide(ours), reference);
                assert!(error <= INPUT_GRADIENT, "{name}, {loss}, image {image}: {error:e}");

                let visible = 1e-5 * reference.iter().fold(0.0, |m: f32, r| m.max(r.abs()));
                let flipped = ours.iter().zip(reference).filter(|(o, r)| r.abs() > visible && **o * **r <= 0.0).count();
                assert_eq!(flipped, 0, "{name}, {loss}, image {image}: signs differ");
            }
        }
    });
}

#[test]
fn weight_gradients_equal_pytorch() {
    /// Strides of the large gradients in the fixture: every `stride`-th value is stored.
    const STRIDES: [(&str, usize); 10] = [
        ("c2f2 conv2.weight", 11),
        ("c2f2 fc1.weight", 401),
        ("c2f2-512 backbone.3.weight", 101),
        ("c2f2-512 backbone.7.weight", 4001),
        ("c2f2-512 backbone.9.weight", 1009),
        ("lenet conv2.weight", 101),
        ("lenet fc1.weight", 1009),
        ("c2f2-classifier conv2.weight", 101),
        ("c2f2-classifier fc1.weight", 4001),
        ("c2f2-classifier fc2.weight", 11),
    ];
    check(|name, model, fixture| {
        for (loss, upstream) in LOSSES {
            let gradients = model.weight_gradients(&images(fixture), &mut |raw| upstream(raw)).unwrap();
            for (parameter, ours) in gradients {
                let compare = |part: &str, ours: &[f64]| {
                    let error = relative(ours, &numbers(&fixture[&format!("{loss}.{parameter}{part}")]));
                    assert!(error <= WEIGHT_GRADIENT, "{name}, {loss}.{parameter}{part}: {error:e}");
                };
                let matrix = wide(&numbers(&ours));
                let network = name.split(',').next().unwrap();
                match STRIDES.iter().find(|(stored, _)| *stored == format!("{network} {parameter}")) {
                    None => compare("", &matrix),
                    Some(&(_, stride)) => {
                        let slice: Vec<f64> = matrix.iter().copied().step_by(stride).collect();
                        let (rows, sums) = projections(&matrix, matrix.len() / ours.dims()[0]);
                        compare(".slice", &slice);
                        compare(".rows", &rows);
                        compare(".columns", &sums);
                    }
                }
            }
        }
    });
}

/// Products of a large gradient with formula vectors from both sides, so that each of its values is compared.
fn projections(matrix: &[f64], columns: usize) -> (Vec<f64>, Vec<f64>) {
    let right = wide(&unit(FIRST_STREAM + 103, columns));
    let rows = matrix.chunks(columns).map(|row| row.iter().zip(&right).map(|(a, b)| a * b).sum()).collect();

    let mut sums = vec![0.0; columns];
    for (row, factor) in matrix.chunks(columns).zip(wide(&unit(FIRST_STREAM + 104, matrix.len() / columns))) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * x);
    }
    (rows, sums)
}
