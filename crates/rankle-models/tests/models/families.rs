//! Vision transformers, ResNet-50 and MobileNetV2 compared with transformers, timm and torchvision; training from pretrained
//! weights; files of weights.

use crate::support::formula::{byte, unit, weights};
use candle_core::{DType, Device, Tensor, safetensors};
use rankle_core::{AdamStep, Distance, Embedder, Place, Seed, Trainable};
use rankle_models::Architecture;
use rankle_models::weights::Tensors;
use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

/// First stream of the fixture.
const FIRST_STREAM: u32 = 910_000;
const IMAGES: usize = 2;
/// Every how many numbers of a gradient the fixture stores.
const STRIDE: usize = 11;

/// What PyTorch says, by the name of the network, a colon and `embeddings`, `input_gradient.slice` or `weight_gradients.slice`.
static FIXTURE: LazyLock<HashMap<String, Tensor>> = LazyLock::new(|| {
    safetensors::load(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/families.safetensors"), &Device::Cpu).unwrap()
});

/// All networks of the fixture.
fn networks() -> impl Iterator<Item = Architecture> {
    FIXTURE.keys().filter_map(|key| Some(key.strip_suffix(":embeddings")?.parse().unwrap()))
}

/// One network of each kind of vision transformers, by how the name begins.
fn vits() -> impl Iterator<Item = Architecture> {
    let first = |kind| networks().find(|network| network.to_string().starts_with(kind)).unwrap();
    ["dinov2,", "clip-vit,", "siglip,", "vit,"].into_iter().map(first)
}

/// Names in the order of the streams, which is that of their names in the file.
fn parameters(architecture: Architecture) -> Tensors {
    let mut shapes: Vec<_> =
        architecture.expression().unwrap().parameters().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
    shapes.sort();
    weights(FIRST_STREAM, shapes)
}

fn images(architecture: Architecture) -> Tensor {
    let (_, height, width) = architecture.input();
    let pixels = byte(FIRST_STREAM + 5000, IMAGES * 3 * height * width).into_iter().map(|byte| f32::from(byte) / 255.0);
    Tensor::from_vec(pixels.collect::<Vec<_>>(), (IMAGES, 3, height, width), &Device::Cpu).unwrap()
}

fn upstream(architecture: Architecture) -> Tensor {
    let size = architecture.embedding_size();
    Tensor::from_vec(unit(FIRST_STREAM + 5001, IMAGES * size), (IMAGES, size), &Device::Cpu).unwrap()
}

fn load(architecture: Architecture, tensors: &Tensors, place: &Place) -> rankle_core::Result<Box<dyn Embedder>> {
    architecture.with_weights(Path::new("model.safetensors"), tensors, Distance::Cosine, place)
}

fn pretrained(architecture: Architecture, tensors: Tensors) -> Box<dyn Trainable> {
    let path = Path::new("model.safetensors");
    architecture.pretrained_with(path, tensors, Distance::Cosine, Seed(3), &Place::Kernels).unwrap()
}

/// A step whose first moment is the gradient.
const STEP: AdamStep = AdamStep { learning_rate: 1e-3, beta1: 0.0, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).and_then(|t| t.flatten_all()?.to_vec1()).unwrap()
}

/// Compares with numbers of the fixture. The tolerance is relative to the largest of them.
fn check(architecture: Architecture, what: &str, ours: &[f64], tolerance: f64) {
    let reference = numbers(&FIXTURE[&format!("{architecture}:{what}")]);
    assert_eq!(ours.len(), reference.len(), "{architecture}: {what}");
    let largest = reference.iter().fold(0.0, |most: f64, r| most.max(r.abs()));
    let worst = ours.iter().zip(&reference).map(|(o, r)| (o - r).abs() / largest).fold(0.0, f64::max);
    println!("{architecture}: {what}: {worst:.1e}");
    assert!(worst <= tolerance && ours.iter().all(|o| o.is_finite()), "{architecture}: {what}: {worst:e}");
}

/// Measured are 6e-7 and 1.1e-6; PyTorch's own float32 is within 7e-7 and 9e-7 of its float64, which the fixture holds.
#[test]
fn embeddings_and_input_gradients_equal_pytorch() {
    for architecture in networks() {
        let (tensors, images, upstream) = (parameters(architecture), images(architecture), upstream(architecture));
        for place in [Place::Kernels, Place::Tensors(Device::Cpu)] {
            let model = load(architecture, &tensors, &place).unwrap();
            check(architecture, "embeddings", &numbers(&model.embed(&images).unwrap()), 3e-6);
            let differentiable = model.differentiable().unwrap();
            let gradient = numbers(&differentiable.input_gradient(&images, &mut |_| Ok(upstream.clone())).unwrap());
            let slice: Vec<f64> = gradient.into_iter().step_by(STRIDE).collect();
            check(architecture, "input_gradient.slice", &slice, 1e-5);
        }
    }
}

/// The gradient that a training step follows. Measured are 6e-7.
#[test]
fn weight_gradients_of_vision_transformers_equal_pytorch() {
    for architecture in networks().filter(|network| network.to_string().contains("heads=")) {
        let tensors = parameters(architecture);
        let mut model = pretrained(architecture, tensors.clone());
        let upstream = upstream(architecture);
        model.train_step(&images(architecture), &mut |_| Ok(upstream.clone()), &STEP).unwrap();
        let state = model.checkpoint().unwrap();
        let slice = |name: &String| numbers(&state[&format!("adam.first.{name}")]).into_iter().step_by(STRIDE);
        let slices: Vec<f64> = tensors.keys().flat_map(slice).collect();
        check(architecture, "weight_gradients.slice", &slices, 1e-5);
    }
}

#[test]
fn training_may_begin_at_a_block() {
    for (architecture, layer, first, frozen) in vits()
        .map(|vit| (vit, vit.stages()[1], 1, vit.stages()[0]))
        .chain([("mobilenet-v2,size=32".parse().unwrap(), "features.18", 18, "features.17")])
        .chain([("mobilenetv2-100,size=32".parse().unwrap(), "blocks.6", 6, "blocks.5")])
    {
        assert_eq!(architecture.stages()[first], layer);
        let tensors = parameters(architecture);
        let mut model = pretrained(architecture, tensors.clone());
        model.freeze_below(layer).unwrap();
        model.train_step(&images(architecture), &mut |raw| Ok(raw.ones_like()?), &STEP).unwrap();
        let after = model.parameters().unwrap();
        let moved = |name: &str| numbers(&after[name]) != numbers(&tensors[name]);
        let below =
            |layer: &str| tensors.keys().filter(move |name| name.starts_with(&format!("{layer}."))).cloned().collect::<Vec<_>>();
        assert!(below(layer).iter().all(|name| moved(name)), "{architecture}");
        assert!(!below(frozen).iter().any(|name| moved(name)), "{architecture}");
        let message = model.freeze_below("layer4").unwrap_err().to_string();
        assert!(message.starts_with("unknown layer 'layer4'; known: ") && message.contains(layer), "{message}");
    }
}

/// A new network embeds different images differently, and goes on from its checkpoint.
#[test]
fn a_new_network_can_be_trained() {
    for architecture in vits().chain(["mobilenet-v2,size=32".parse().unwrap()]) {
        let new = || architecture.initialize(Distance::Cosine, Seed(5), &Place::Kernels).unwrap();
        let (mut model, images) = (new(), images(architecture));
        let step = |model: &mut dyn Trainable, step: u32| {
            model.train_step(&images, &mut |raw| Ok(raw.clone()), &AdamStep { step, ..STEP }).unwrap();
        };
        step(&mut *model, 1);
        let state = model.checkpoint().unwrap();
        step(&mut *model, 2);
        let mut resumed = architecture.resume(Distance::Cosine, Seed(5), state, &Place::Kernels).unwrap();
        step(&mut *resumed, 2);
        let embeddings = [model, resumed].map(|model| numbers(&model.embed(&images).unwrap()));
        assert_eq!(embeddings[0], embeddings[1]);
        let (first, second) = embeddings[0].split_at(embeddings[0].len() / 2);
        assert!(first != second && first.iter().chain(second).all(|number| number.is_finite()), "{architecture}");
    }
}

/// Tensors of the public files that have no part in the embedding.
#[test]
fn other_towers_and_classifiers_are_ignored() {
    for (name, extra) in [
        ("dinov2,", "embeddings.mask_token"),
        ("clip-vit,", "text_model.embeddings.token_embedding.weight"),
        ("clip-vit,", "text_projection.weight"),
        ("clip-vit,", "logit_scale"),
        ("clip-vit,", "vision_model.embeddings.position_ids"),
        ("siglip,", "logit_bias"),
        ("vit,", "head.weight"),
        ("mobilenet-v2,", "classifier.1.weight"),
        ("mobilenetv2-100,", "bn1.num_batches_tracked"),
        ("resnet50,", "fc.weight"),
    ] {
        let architecture = networks().find(|network| network.to_string().starts_with(name)).unwrap();
        let mut tensors = parameters(architecture);
        tensors.insert(extra.into(), Tensor::new(&[7i64], &Device::Cpu).unwrap());
        assert!(load(architecture, &tensors, &Place::Kernels).is_ok(), "{extra}");
        tensors.insert("other.weight".into(), Tensor::new(&[7f32], &Device::Cpu).unwrap());
        let message = load(architecture, &tensors, &Place::Kernels).err().unwrap().to_string();
        assert!(message.contains("'other.weight' belongs to no parameter"), "{message}");
    }
}
