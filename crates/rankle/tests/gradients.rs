//! Models with a wrong gradient or without a device, in a program that registers them.

use candle_core::{Device, Tensor};
use rankle::{Backbone, Registry};
use rankle_core::{Differentiable, Distance, Embedder, InputSpec, Place, Result, Seed};
use rankle_models::{Architecture, weights};
use serde_json::Value;
use std::path::Path;

struct Halved {
    weight: Tensor,
    distance: Distance,
}

impl Embedder for Halved {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        Ok(images.flatten_from(1)?.matmul(&self.weight)?)
    }
    fn distance(&self) -> Distance {
        self.distance
    }
    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, 28, 28))
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for Halved {
    fn input_gradient(&self, images: &Tensor, upstream: &mut rankle_core::Upstream<'_>) -> Result<Tensor> {
        let gradient = upstream(&self.embed(images)?)?.matmul(&self.weight.t()?)?;
        Ok((gradient.reshape(images.shape())? * 0.5)?)
    }
}

/// Record of an attack on the model, computed by `rankle sweep` with `more` arguments.
fn record(folder: &Path, name: &str, more: &[&str]) -> Value {
    let halved = Backbone {
        name: "halved",
        input: InputSpec::of_shape((1, 28, 28)),
        embedding_size: 8,
        load: |tensors, distance, _| Ok(Box::new(Halved { weight: tensors["weight"].clone(), distance })),
        initialize: None,
    };
    let registry = Registry { backbones: vec![halved], ..Registry::default() };
    let [plan, records] = ["plan.jsonl", name].map(|file| folder.join(file).display().to_string());
    let arguments = ["rankle", "sweep", "--plan", &plan, "--records", &records].into_iter().chain(more.iter().copied());
    assert_eq!(rankle::run_with(registry, arguments), 0);
    serde_json::from_str(&std::fs::read_to_string(records).unwrap()).unwrap()
}

#[test]
fn a_wrong_gradient_stands_in_the_record_unless_nobody_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let numbers: Vec<f32> = (0..28 * 28 * 8).map(|at| (at as f32 * 1.7).sin()).collect();
    let weight = Tensor::from_vec(numbers, (28 * 28, 8), &Device::Cpu).unwrap();
    weights::write(&file, &weights::Tensors::from([("weight".to_owned(), weight)])).unwrap();
    let cell = serde_json::json!({
        "dataset": "mnist", "model": "halved", "weights": file, "distance": "cosine", "attack": "ca+", "targets": 1,
        "epsilon": 0.1, "protocol": "paper", "eight_bit": false, "images": 4, "seed": 0,
    });
    std::fs::write(folder.path().join("plan.jsonl"), cell.to_string()).unwrap();
    let asked = record(folder.path(), "asked.jsonl", &[]);
    let error = asked["gradient_error"].as_f64().unwrap();
    assert!((error - 50.0).abs() < 1.0, "{error}");
    let unasked = record(folder.path(), "unasked.jsonl", &["--no-gradient-check"]);
    assert!(unasked.get("gradient_error").is_none() && unasked["rank_after"] == asked["rank_after"]);
}

/// A model that ignores the compute backend would run on the CPU, and its records would name another device.
#[test]
fn a_model_for_the_kernels_alone_is_refused_on_other_devices() {
    let c2f2 = Backbone {
        name: "c2f2-of-the-kernels",
        input: InputSpec::of_shape((1, 28, 28)),
        embedding_size: 1024,
        load: |tensors, distance, _| Architecture::C2f2.with_weights(Path::new("w"), tensors, distance, &Place::Kernels),
        initialize: Some(|distance, seed, _| Architecture::C2f2.initialize(distance, seed, &Place::Kernels)),
    };
    let folder = tempfile::tempdir().unwrap();
    let [weights, output] = ["w.safetensors", "e.safetensors"].map(|name| folder.path().join(name));
    let fresh = Architecture::C2f2.initialize(Distance::Cosine, Seed(0), &Place::Kernels).unwrap();
    weights::write(&weights, &fresh.parameters().unwrap()).unwrap();
    let run = |line: String| {
        let registry = Registry { backbones: vec![c2f2], ..Registry::default() };
        rankle::run_with(registry, format!("rankle {line} --dataset mnist --distance cosine").split_whitespace())
    };
    let model = "--model c2f2-of-the-kernels";
    let embed = format!("embed {model} --weights {} --images 2 --output {}", weights.display(), output.display());
    assert_eq!((run(format!("{embed} --device candle-cpu")), output.exists()), (1, false));
    assert_eq!((run(embed), output.exists()), (0, true));
    let model = format!("{model} --images 20 --output {}", folder.path().join("m").display());
    assert_eq!((run(format!("train {model} --device candle-cpu")), folder.path().join("m").exists()), (1, false));
}
