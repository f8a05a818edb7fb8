//! ResNet-18 compared with PyTorch, image by image: embeddings and input gradients of the frozen network; embeddings, weight
//! gradients and running statistics in training; with every instruction set of this machine. `fixtures/README.md` describes
//! the reference.

use crate::support::formula::{byte, unit};
use crate::support::resnet::{FIRST_STREAM, color_format, parameters};
use candle_core::{Device, Tensor, safetensors};
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Seed, Trainable};
use rankle_models::{ImageFormat, Isa, ResNet18};
use std::collections::{BTreeMap, HashMap};

const IMAGES: usize = 8;
const DIM: usize = 512;

/// Largest allowed differences, relative to the largest value of the reference. PyTorch's own float32 is within 4e-7 and 7e-7
/// of this reference when frozen, and within 4e-6 and 1.1e-5 in training, where the last statistics are those of eight values.
const EMBEDDING: f64 = 1e-5;
const INPUT_GRADIENT: f64 = 1e-5;
const WEIGHT_GRADIENT: f64 = 1e-4;

fn load(name: &str) -> HashMap<String, Tensor> {
    let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    safetensors::load(path, &Device::Cpu).expect("the fixture is part of the repository")
}

fn fixture() -> HashMap<String, Tensor> {
    load("resnet18")
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

fn pixels(bytes: Vec<u8>, shape: &[usize]) -> Tensor {
    let pixels: Vec<f32> = bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    Tensor::from_vec(pixels, shape, &Device::Cpu).unwrap()
}

fn gray(fixture: &HashMap<String, Tensor>) -> Tensor {
    pixels(fixture["images"].flatten_all().and_then(|t| t.to_vec1()).unwrap(), &[IMAGES, 1, 28, 28])
}

fn formula(stream: u32, shape: [usize; 2], scale: f32) -> Tensor {
    let numbers: Vec<f32> = unit(stream, shape[0] * shape[1]).into_iter().map(|u| u * scale).collect();
    Tensor::from_vec(numbers, &shape, &Device::Cpu).unwrap()
}

fn upstream(stream: u32, n: usize) -> Tensor {
    formula(stream, [n, DIM], 1.0)
}

/// Largest difference, relative to the largest value of the reference; infinite if a value is NaN.
fn relative(ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let largest = reference.iter().fold(0.0, |m: f64, &r| m.max(f64::from(r).abs()));
    ours.iter().zip(reference).fold(0.0, |worst: f64, (&o, &r)| {
        let error = (f64::from(o) - f64::from(r)).abs() / largest;
        if error.is_nan() { f64::INFINITY } else { worst.max(error) }
    })
}

/// Compares values and signs, image by image.
fn compare(what: &str, tolerance: f64, ours: &Tensor, reference: &Tensor) {
    for image in 0..ours.dim(0).unwrap() {
        let (ours, reference) = (numbers(&ours.get(image).unwrap()), numbers(&reference.get(image).unwrap()));
        let error = relative(&ours, &reference);
        assert!(error <= tolerance, "{what}, image {image}: {error:e}");
        let visible = 1e-5 * reference.iter().fold(0.0, |m: f32, r| m.max(r.abs()));
        let flipped = ours.iter().zip(&reference).filter(|(o, r)| r.abs() > visible && **o * **r <= 0.0).count();
        assert_eq!(flipped, 0, "{what}, image {image}: signs differ");
    }
}

/// Compares gradients with the fixture: vectors in full; of larger tensors every `stride`-th value, and all rows multiplied with
/// a formula vector. Names in the fixture begin with the last word of `case`.
fn check_gradients(case: &str, stride: usize, gradients: &BTreeMap<String, Tensor>, fixture: &HashMap<String, Tensor>) {
    let prefix = case.rsplit(' ').next().unwrap();
    for (name, gradient) in gradients {
        let check = |suffix: &str, ours: &[f32]| {
            let error = relative(ours, &numbers(&fixture[&format!("{prefix}.{name}{suffix}")]));
            assert!(error <= WEIGHT_GRADIENT, "{case}: {name}{suffix}: {error:e}");
        };
        let values = numbers(gradient);
        if gradient.rank() == 1 {
            check("", &values);
            continue;
        }
        check(".slice", &values.iter().copied().step_by(stride).collect::<Vec<_>>());
        let columns = values.len() / gradient.dim(0).unwrap();
        let right = unit(FIRST_STREAM + 504, columns);
        let row = |row: &[f32]| row.iter().zip(&right).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32;
        check(".rows", &values.chunks(columns).map(row).collect::<Vec<_>>());
    }
}

#[test]
fn the_frozen_network_equals_pytorch() {
    let fixture = fixture();
    let color = pixels(byte(FIRST_STREAM + 502, 3 * 61 * 75), &[1, 3, 61, 75]);
    for (case, format, images, stream, weights) in [
        ("grey", ImageFormat::gray28(), gray(&fixture), FIRST_STREAM + 501, parameters(1, FIRST_STREAM)),
        ("colour", color_format(), color, FIRST_STREAM + 503, parameters(3, FIRST_STREAM + 1000)),
    ] {
        for isa in Isa::available() {
            let model = ResNet18::with_isa(&weights, format.clone(), None, Distance::Euclidean, isa).unwrap();
            let embeddings = model.embed(&images).unwrap();
            compare(&format!("{case}, {isa}: embeddings"), EMBEDDING, &embeddings, &fixture[&format!("{case}.embeddings")]);
            let n = images.dim(0).unwrap();
            let gradient = model.input_gradient(&images, &mut |_| Ok(upstream(stream, n))).unwrap();
            let reference = fixture[&format!("{case}.input_gradient")].reshape(gradient.shape()).unwrap();
            compare(&format!("{case}, {isa}: input gradients"), INPUT_GRADIENT, &gradient, &reference);
        }
    }
}

#[test]
fn training_equals_pytorch() {
    let fixture = fixture();
    let images = gray(&fixture);
    for isa in Isa::available() {
        let mut model =
            ResNet18::with_isa(&parameters(1, FIRST_STREAM), ImageFormat::gray28(), None, Distance::Euclidean, isa).unwrap();
        let mut upstream = |raw: &Tensor| {
            compare(&format!("{isa}: embeddings in training"), 2e-5, raw, &fixture["training.embeddings"]);
            Ok(upstream(FIRST_STREAM + 501, IMAGES))
        };
        let gradients = model.weight_gradients(&images, &mut upstream).unwrap();
        check_gradients(&format!("{isa}: training"), 1021, &gradients, &fixture);
        assert_eq!(gradients.len(), 60);

        // With a learning rate of zero, only the running statistics change.
        let adam = AdamStep { learning_rate: 0.0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };
        model.train_step(&images, &mut upstream, &adam).unwrap();
        let after = model.parameters().unwrap();
        let names: Vec<&String> = fixture.keys().filter(|name| name.contains("running")).collect();
        assert_eq!(names.len(), 6);
        for name in names {
            let error = relative(&numbers(&after[&name["training.".len()..]]), &numbers(&fixture[name]));
            assert!(error <= EMBEDDING, "{isa}: {name}: {error:e}");
        }
    }
}

/// Training of the last stage, with batch statistics, and of a head. The layers before it use the running statistics.
#[test]
fn training_the_last_stage_and_a_head_equals_pytorch() {
    const SIZE: usize = 16;
    let (fixture, images) = (load("resnet18-layer4"), gray(&fixture()));
    let mut weights = parameters(1, FIRST_STREAM);
    weights.insert("fc.weight".into(), formula(FIRST_STREAM + 505, [SIZE, DIM], 0.0625));
    weights.insert("fc.bias".into(), formula(FIRST_STREAM + 506, [1, SIZE], 0.0625).squeeze(0).unwrap());
    for isa in Isa::available() {
        let mut model = ResNet18::with_isa(&weights, ImageFormat::gray28(), Some(SIZE), Distance::Euclidean, isa).unwrap();
        model.freeze_below("layer4").unwrap();
        let mut upstream = |raw: &Tensor| {
            compare(&format!("{isa}: embeddings"), 2e-5, raw, &fixture["layer4.embeddings"]);
            Ok(formula(FIRST_STREAM + 507, [IMAGES, SIZE], 1.0))
        };
        let gradients = model.weight_gradients(&images, &mut upstream).unwrap();
        // Five convolutions, five batch normalizations, the head.
        assert_eq!(gradients.len(), 5 + 2 * 5 + 2);
        check_gradients(&format!("{isa}: layer4"), 8191, &gradients, &fixture);

        let adam = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };
        model.train_step(&images, &mut upstream, &adam).unwrap();
        for (name, after) in model.parameters().unwrap() {
            let moved = numbers(&after) != numbers(&weights[&name]);
            assert_eq!(moved, name.starts_with("layer4") || name.starts_with("fc"), "{isa}: {name}");
            if let Some(reference) = fixture.get(&format!("layer4.{name}")).filter(|_| name.contains("running")) {
                let error = relative(&numbers(&after), &numbers(reference));
                assert!(error <= EMBEDDING, "{isa}: {name}: {error:e}");
            }
        }
    }
}

/// The frozen network with a head equals the network without a head, multiplied with a matrix.
#[test]
fn a_head_is_a_matrix_behind_the_network() {
    const SIZE: usize = 37;
    let (images, bare) = (gray(&fixture()), parameters(1, FIRST_STREAM));
    let weight = formula(FIRST_STREAM + 508, [SIZE, DIM], 0.0625);
    let bias = formula(FIRST_STREAM + 509, [1, SIZE], 0.0625);
    let mut weights = bare.clone();
    weights.insert("fc.weight".into(), weight.clone());
    weights.insert("fc.bias".into(), bias.squeeze(0).unwrap());
    let upstream = formula(FIRST_STREAM + 510, [IMAGES, SIZE], 1.0);
    for isa in Isa::available() {
        let load = |weights, head| ResNet18::with_isa(weights, ImageFormat::gray28(), head, Distance::Cosine, isa).unwrap();
        let (bare, model) = (load(&bare, None), load(&weights, Some(SIZE)));
        let expected = bare.embed(&images).unwrap().matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
        compare(&format!("{isa}: embeddings"), 1e-6, &model.embed(&images).unwrap(), &expected);
        let below = upstream.matmul(&weight).unwrap();
        let expected = bare.input_gradient(&images, &mut |_| Ok(below.clone())).unwrap();
        let gradient = model.input_gradient(&images, &mut |_| Ok(upstream.clone())).unwrap();
        compare(&format!("{isa}: input gradients"), EMBEDDING, &gradient, &expected);
    }
}

/// A model without a head ignores a classifier in the file; a model with a head needs that head; further training accepts any.
#[test]
fn heads_of_files_are_taken_passed_over_or_made() {
    let bare = parameters(1, FIRST_STREAM);
    let with_fc = |size: usize| {
        let mut weights = bare.clone();
        weights.insert("fc.weight".into(), formula(7, [size, DIM], 1.0));
        weights.insert("fc.bias".into(), formula(8, [1, size], 1.0).squeeze(0).unwrap());
        weights
    };
    let load = |weights: &BTreeMap<String, Tensor>, head| {
        ResNet18::from_tensors(weights, ImageFormat::gray28(), head, Distance::Cosine).map(|model| model.parameters().unwrap())
    };
    let go_on = |weights: &BTreeMap<String, Tensor>, head| {
        let model = ResNet18::pretrained(weights, ImageFormat::gray28(), head, Distance::Cosine, Seed(5)).unwrap();
        model.parameters().unwrap()
    };
    assert!(!load(&with_fc(1000), None).unwrap().contains_key("fc.weight"));
    assert_eq!(numbers(&load(&with_fc(8), Some(8)).unwrap()["fc.weight"]), numbers(&with_fc(8)["fc.weight"]));
    let message = load(&bare, Some(8)).unwrap_err().to_string();
    assert!(message.contains("'fc.weight' of shape [8, 512] is missing"), "{message}");
    let message = load(&with_fc(1000), Some(8)).unwrap_err().to_string();
    assert!(message.contains("'fc.weight' has shape [1000, 512], this model needs [8, 512]"), "{message}");

    assert!(!go_on(&with_fc(1000), None).contains_key("fc.weight"));
    assert_eq!(numbers(&go_on(&with_fc(8), Some(8))["fc.bias"]), numbers(&with_fc(8)["fc.bias"]));
    let fresh = numbers(&go_on(&with_fc(1000), Some(8))["fc.weight"]);
    assert_eq!(fresh, numbers(&go_on(&bare, Some(8))["fc.weight"]));
    let bound = 1.0 / (DIM as f32).sqrt();
    assert!(fresh.len() == 8 * DIM && fresh.iter().all(|x| x.abs() <= bound) && fresh.iter().any(|x| x.abs() > 0.9 * bound));
    assert_eq!(numbers(&go_on(&bare, Some(8))["layer4.1.bn2.bias"]), numbers(&bare["layer4.1.bn2.bias"]));
}

/// Counters and the classifier in torchvision's files are ignored; other additional tensors are refused.
#[test]
fn files_of_torchvision_load_as_they_are() {
    let weights: BTreeMap<String, Tensor> = parameters(1, FIRST_STREAM);
    let load = |weights: &BTreeMap<String, Tensor>| {
        ResNet18::from_tensors(weights, ImageFormat::gray28(), None, Distance::Cosine).map(|model| model.parameters().unwrap())
    };
    let mut more = weights.clone();
    more.insert("bn1.num_batches_tracked".into(), Tensor::new(7i64, &Device::Cpu).unwrap());
    more.insert("fc.weight".into(), upstream(1, 10));
    more.insert("fc.bias".into(), upstream(1, 1));
    let saved = load(&more).unwrap();
    assert!(saved.keys().eq(weights.keys()));
    assert!(saved.iter().all(|(name, tensor)| numbers(tensor) == numbers(&weights[name])));
    for (name, tensor, problem) in [
        ("layer5.0.conv1.weight", upstream(1, 1), "belongs to no parameter"),
        ("bn1.running_var", Tensor::full(-1.0f32, 64, &Device::Cpu).unwrap(), "a variance is not below zero"),
        ("layer1.0.bn1.weight", Tensor::full(f32::NAN, 64, &Device::Cpu).unwrap(), "finite"),
        ("layer4.1.conv2.weight", upstream(1, 1), "has shape"),
    ] {
        let mut bad = weights.clone();
        bad.insert(name.into(), tensor);
        let message = load(&bad).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(problem), "{message}");
    }
}
