//! Networks as expressions in operations on tensors, compared with the same networks on kernels: embeddings, input gradients,
//! training, files of weights, refusals.

use crate::support::formula::{byte, unit};
use crate::support::resnet::{self, FIRST_STREAM};
use candle_core::{DType, Device, Tensor};
use rankle_core::{AdamStep, Distance, Embedder, Error, Place, Seed, Trainable};
use rankle_models::weights::Tensors;
use rankle_models::{Architecture, Layers, TensorModel};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// All networks with kernels.
const NETWORKS: [&str; 8] = [
    "c2f2",
    "c2f2-512",
    "lenet",
    "c2f2-classifier",
    "softmax",
    "resnet18-28",
    "resnet18-28,embedding-size=48",
    "resnet18,size=64",
];
const SEED: Seed = Seed(7);

fn architecture(name: &str) -> Architecture {
    name.parse().unwrap()
}

fn distance(architecture: Architecture) -> Distance {
    if architecture.is_classifier() { Distance::Euclidean } else { Distance::Cosine }
}

fn places() -> [Place; 2] {
    [Place::Kernels, Place::Tensors(Device::Cpu)]
}

/// Random weights. Those of ResNet-18 are not from `initialize`, which lets the running statistics begin as the identity.
fn random_weights(architecture: Architecture) -> Tensors {
    static GRAY: LazyLock<Tensors> = LazyLock::new(|| resnet::parameters(1, FIRST_STREAM));
    static COLOR: LazyLock<Tensors> = LazyLock::new(|| resnet::parameters(3, FIRST_STREAM));
    let mut tensors = match architecture {
        Architecture::ResNet18Of28 { .. } => GRAY.clone(),
        Architecture::ResNet18 { .. } => COLOR.clone(),
        other => return other.initialize(distance(other), SEED, &Place::Kernels).and_then(|new| new.parameters()).unwrap(),
    };
    if let Architecture::ResNet18Of28 { head: Some(size) } | Architecture::ResNet18 { head: Some(size), .. } = architecture {
        tensors.insert("fc.weight".into(), (random(30, &[size, 512]) * 0.0625).unwrap());
        tensors.insert("fc.bias".into(), random(31, &[size]));
    }
    tensors
}

fn load(architecture: Architecture, tensors: &Tensors, place: &Place) -> rankle_core::Result<Box<dyn Embedder>> {
    architecture.with_weights(Path::new("model.safetensors"), tensors, distance(architecture), place)
}

fn resume(architecture: Architecture, state: &Tensors, place: &Place) -> Box<dyn Trainable> {
    architecture.resume(distance(architecture), SEED, state.clone(), place).unwrap()
}

/// Noise with a blank border, as in MNIST. Of four images the second is blank, the third has no border, and the fourth has a
/// white square.
fn images(architecture: Architecture, n: usize) -> Tensor {
    let (channels, height, width) = architecture.input();
    let noise = byte(FIRST_STREAM + 700, n * channels * height * width);
    let within = |margin: usize, row: usize, column: usize| {
        (margin..height - margin).contains(&row) && (margin..width - margin).contains(&column)
    };
    let pixel = |(at, byte): (usize, u8)| {
        let (image, row, column) = (at / (channels * height * width), at / width % height, at % width);
        match image % 4 {
            1 => 0.0,
            3 if within(height * 3 / 8, row, column) => 1.0,
            2 => f32::from(byte) / 255.0,
            _ if within(height / 7, row, column) => f32::from(byte) / 255.0,
            _ => 0.0,
        }
    };
    let pixels: Vec<f32> = noise.into_iter().enumerate().map(pixel).collect();
    Tensor::from_vec(pixels, (n, channels, height, width), &Device::Cpu).unwrap()
}

/// Numbers from -1 to 1.
fn random(stream: u32, shape: &[usize]) -> Tensor {
    Tensor::from_vec(unit(FIRST_STREAM + 710 + stream, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

/// Length of the difference of numbers from their reference, relative to the length of the reference. Of zeros, 0.
fn difference(pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    let (mut difference, mut length) = (0.0, 0.0);
    for (ours, reference) in pairs {
        let (ours, reference) = (f64::from(ours), f64::from(reference));
        difference += (ours - reference) * (ours - reference);
        length += reference * reference;
    }
    if difference == 0.0 { 0.0 } else { f64::sqrt(difference / length) }
}

/// Share of other signs than in the reference, among the numbers above a millionth of its largest.
fn other_signs(ours: &[f32], reference: &[f32]) -> f64 {
    let largest = reference.iter().fold(0.0, |most: f32, number| most.max(number.abs()));
    let clear: Vec<_> = ours.iter().zip(reference).filter(|(_, reference)| reference.abs() > 1e-6 * largest).collect();
    let others = clear.iter().filter(|(ours, reference)| *ours * *reference <= 0.0).count();
    others as f64 / clear.len() as f64
}

/// Measured: embeddings differ by 8e-7 of the largest number, input gradients by 9e-7 of their length and in no sign.
///
/// Rounding may carry a number to the other side of a ReLU's zero, and its gradient with it. On no machine this should happen to
/// more than one of four images.
#[test]
fn embeddings_and_input_gradients_are_those_of_the_kernels() {
    for name in NETWORKS {
        let architecture = architecture(name);
        let (tensors, images) = (random_weights(architecture), images(architecture, 4));
        let upstream = random(0, &[4, architecture.embedding_size()]);
        let [kernels, ours] = places().map(|place| {
            let model = load(architecture, &tensors, &place).unwrap();
            let gradient = model.differentiable().unwrap().input_gradient(&images, &mut |_| Ok(upstream.clone())).unwrap();
            assert_eq!(gradient.dims(), images.dims());
            [model.embed(&images).unwrap(), gradient].map(|tensor| numbers(&tensor))
        });
        let largest = kernels[0].iter().fold(0.0, |most: f32, number| most.max(number.abs()));
        for (ours, kernels) in ours[0].iter().zip(&kernels[0]) {
            assert!((ours - kernels).abs() < 2e-6 * largest, "{name}: {ours} instead of {kernels}, largest {largest}");
        }
        let by_image = ours[1].chunks(ours[1].len() / 4).zip(kernels[1].chunks(kernels[1].len() / 4));
        let gaps: Vec<(f64, f64)> = by_image
            .map(|(ours, kernels)| (difference(ours.iter().copied().zip(kernels.iter().copied())), other_signs(ours, kernels)))
            .collect();
        let carried = gaps.iter().filter(|(length, signs)| !(*length < 5e-6 && *signs < 1e-3)).count();
        assert!(carried <= 1 && gaps.iter().all(|(length, _)| *length < 0.05), "{name}: {gaps:?}");
    }
}

/// Step of Adam. The large ε keeps rounding in gradients near zero from becoming a whole step.
fn adam(step: u32) -> AdamStep {
    AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-3, weight_decay: 1e-4, step }
}

fn train(model: &mut dyn Trainable, images: &Tensor, steps: impl IntoIterator<Item = u32>) {
    for step in steps {
        model.train_step(images, &mut |raw| Ok(random(step, raw.dims())), &adam(step)).unwrap();
    }
}

fn all(tensors: &Tensors) -> BTreeMap<&str, Vec<f32>> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), numbers(tensor))).collect()
}

fn assert_same(what: &str, ours: &Tensors, reference: &Tensors) {
    let (ours, reference) = (all(ours), all(reference));
    assert!(ours.keys().eq(reference.keys()), "{what}: other tensors");
    for (name, ours) in ours {
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert!(bits(&ours) == bits(&reference[name]), "{what}: {name} has other bits");
    }
}

/// Training on both: parameters and running statistics move alike, and so do Adam's moments. Frozen ones do not move.
///
/// Measured: moments differ by 1e-6 of their length, moves by 1e-5 (the rounding of the weights), and those of ResNet-18 by 2e-4
/// and 1e-3. In ResNet-18 rounding does carry a number to the other side of a ReLU's zero, with noise for images, and the batch
/// passes it on: then gradients differ by a hundredth, from double precision, too.
#[test]
fn training_is_that_of_the_kernels() {
    for (name, first, n, steps, bound) in [
        ("c2f2", None, 4, 3, 5e-5),
        ("c2f2-512", None, 4, 3, 5e-5),
        ("lenet", None, 4, 3, 5e-5),
        ("c2f2-classifier", None, 4, 3, 5e-5),
        ("softmax", None, 4, 3, 5e-5),
        ("resnet18-28", None, 8, 1, 0.05),
        ("resnet18-28,embedding-size=48", Some("layer4"), 8, 3, 0.05),
    ] {
        let architecture = architecture(name);
        let (before, images) = (random_weights(architecture), images(architecture, n));
        let [kernels, ours] = places().map(|place| {
            let mut model = resume(architecture, &before, &place);
            first.iter().for_each(|layer| model.freeze_below(layer).unwrap());
            train(&mut *model, &images, 1..=steps);
            model.checkpoint().unwrap()
        });
        assert!(ours.keys().eq(kernels.keys()), "{name}: other tensors");
        for (tensor, after) in &ours {
            let (after, kernels) = (numbers(after), numbers(&kernels[tensor]));
            let pairs = after.iter().zip(&kernels);
            let (difference, bound) = match before.get(tensor).map(numbers) {
                // A moment.
                None => (difference(pairs.map(|(after, kernels)| (*after, *kernels))), bound),
                Some(start) => {
                    let layer = tensor.split('.').next().unwrap_or_default();
                    let is_trained = first.is_none_or(|first| [first, "fc"].contains(&layer));
                    assert_eq!([after != start, kernels != start], [is_trained; 2], "{name}: {tensor}");
                    let moves = pairs.zip(&start).map(|((after, kernels), start)| (after - start, kernels - start));
                    // Running statistics do not leap.
                    (difference(moves), if tensor.contains("running") { 1e-4 } else { bound })
                }
            };
            assert!(difference < bound, "{name}: {tensor}: {difference:e}");
        }
    }
}

/// A checkpoint between two steps, under dropout and with frozen layers.
#[test]
fn training_goes_on_from_a_checkpoint_as_if_nothing_had_happened() {
    let [_, place] = places();
    for (name, first) in [("c2f2-classifier", None), ("resnet18-28,embedding-size=48", Some("layer4"))] {
        let architecture = architecture(name);
        let (before, images) = (random_weights(architecture), images(architecture, 4));
        let new = || {
            let mut model = architecture.initialize(distance(architecture), SEED, &place).unwrap();
            first.iter().for_each(|layer| model.freeze_below(layer).unwrap());
            model
        };
        let mut whole = new();
        whole.restore(before).unwrap();
        train(&mut *whole, &images, [1]);
        let state = whole.checkpoint().unwrap();
        train(&mut *whole, &images, [2]);

        let mut resumed = new();
        resumed.restore(state.clone()).unwrap();
        assert_same(name, &resumed.checkpoint().unwrap(), &state);
        train(&mut *resumed, &images, [2]);
        assert_same(name, &resumed.checkpoint().unwrap(), &whole.checkpoint().unwrap());
        let embedding = |model: &dyn Trainable| numbers(&model.embed(&images).unwrap());
        assert!(embedding(&*resumed) == embedding(&*whole), "{name}");
    }
}

/// Batches and gradients that do not fit cause the errors of the kernels, and change nothing.
#[test]
fn refusals_are_those_of_the_kernels_and_change_nothing() {
    let architecture = Architecture::C2f2Classifier;
    let (tensors, good, size) = (random_weights(architecture), images(architecture, 2), architecture.embedding_size());
    let fill = |value: f32, shape: &[usize]| Tensor::full(value, shape, &Device::Cpu).unwrap();
    let [kernels, ours] = places().map(|place| {
        let mut model = resume(architecture, &tensors, &place);
        let before = model.checkpoint().unwrap();
        let mut messages = Vec::new();
        for (images, gradient) in [
            (fill(0.5, &[2, 1, 28, 27]), fill(1.0, &[2, size])),
            (fill(0.5, &[2, 3, 28, 28]), fill(1.0, &[2, size])),
            (fill(0.5, &[2, 784]), fill(1.0, &[2, size])),
            (good.clone(), fill(1.0, &[2, size - 1])),
            (good.clone(), fill(1.0, &[3, size])),
            (good.clone(), fill(f32::NAN, &[2, size])),
            (good.clone(), fill(f32::NEG_INFINITY, &[2, size])),
            (good.narrow(0, 0, 0).unwrap(), fill(1.0, &[0, size])),
        ] {
            messages.push(model.train_step(&images, &mut |_| Ok(gradient.clone()), &adam(1)).unwrap_err().to_string());
            let attack = model.input_gradient(&images, &mut |_| Ok(gradient.clone()));
            messages.extend(attack.err().map(|error| error.to_string()));
        }
        let interrupted = model.train_step(&good, &mut |_| Err(Error::Interrupted), &adam(1));
        messages.push(interrupted.unwrap_err().to_string());
        messages.push(model.freeze_below("layer4").unwrap_err().to_string());
        assert_same("refused", &model.checkpoint().unwrap(), &before);
        messages
    });
    assert_eq!(ours, kernels);
    assert!(ours.iter().all(|message| message.lines().count() == 1), "{ours:?}");
}

/// A single image has no variance where the maps have one pixel.
#[test]
fn a_batch_without_variance_is_refused() {
    let architecture = architecture("resnet18-28");
    let [_, place] = places();
    let mut model = architecture.initialize(Distance::Cosine, SEED, &place).unwrap();
    let before = model.checkpoint().unwrap();
    let refused = model.train_step(&images(architecture, 1), &mut |raw| Ok(raw.clone()), &adam(1));
    assert!(refused.unwrap_err().to_string().contains("batch_norm_training: shape [1, 512, 1, 1] has 1 values per channel"));
    assert_same("one image", &model.checkpoint().unwrap(), &before);
}

/// Tensors that do not fit, named in one line as by the kernels.
#[test]
fn weights_that_do_not_fit_are_named() {
    let architecture = architecture("resnet18-28,embedding-size=48");
    let good = random_weights(architecture);
    let filled = |value: f32, shape: &[usize]| Some(Tensor::full(value, shape, &Device::Cpu).unwrap());
    let whole = filled(1.0, &[64]).and_then(|tensor| tensor.to_dtype(DType::I64).ok());
    for (name, tensor, problem) in [
        ("conv1.weight", None, "of shape [64, 1, 7, 7] is missing"),
        ("layer2.0.downsample.1.running_mean", None, "is missing"),
        ("fc.bias", None, "is missing"),
        ("fc.weight", filled(0.0, &[1000, 512]), "has shape [1000, 512], this model needs [48, 512]"),
        ("layer1.0.bn1.bias", filled(0.0, &[64, 1]), "has shape [64, 1], this model needs [64]"),
        ("layer1.0.bn1.bias", filled(f32::INFINITY, &[64]), "holds inf at position 0; weights must be finite"),
        ("bn1.running_var", filled(-0.5, &[64]), "holds -0.5; a variance is not below zero"),
        ("bn1.weight", whole, "weights are floating-point numbers"),
        ("layer5.0.conv1.weight", filled(0.0, &[512]), "belongs to no parameter"),
        ("adam.first.bn1.weight", filled(0.0, &[64]), ""),
    ] {
        let mut tensors = good.clone();
        match tensor {
            Some(tensor) => drop(tensors.insert(name.into(), tensor)),
            None => drop(tensors.remove(name)),
        }
        let [kernels, ours] = places().map(|place| load(architecture, &tensors, &place).err().map(|error| error.to_string()));
        let ours = ours.unwrap_or_else(|| panic!("{name} is accepted"));
        assert_eq!(Some(&ours), kernels.as_ref());
        assert!(ours.starts_with("model.safetensors: tensor '") && ours.contains(problem) && ours.lines().count() == 1, "{ours}");
    }
}

/// torchvision's file: a classifier for 1000 classes, and a counter for each norm.
#[test]
fn pretrained_weights_may_have_a_classifier_and_counters() {
    let mut file = random_weights(architecture("resnet18-28"));
    file.insert("fc.weight".into(), random(20, &[1000, 512]));
    file.insert("fc.bias".into(), random(21, &[1000]));
    let norms: Vec<String> = file.keys().filter_map(|name| name.strip_suffix(".running_mean").map(str::to_owned)).collect();
    file.extend(norms.iter().map(|norm| (format!("{norm}.num_batches_tracked"), Tensor::new(9i64, &Device::Cpu).unwrap())));
    let path = Path::new("model.safetensors");
    for (name, fc) in [("resnet18-28", None), ("resnet18-28,embedding-size=48", Some(48))] {
        let architecture = architecture(name);
        let [kernels, ours] = places().map(|place| {
            let mut model = architecture.pretrained_with(path, file.clone(), Distance::Cosine, SEED, &place).unwrap();
            let message = model.freeze_below("layer5").unwrap_err().to_string();
            assert_eq!(message, "unknown layer 'layer5'; known: layer1, layer2, layer3, layer4");
            model.checkpoint().unwrap()
        });
        assert_same(name, &ours, &kernels);
        assert_eq!(ours.get("fc.bias").map(|bias| bias.dims()[0]), fc, "{name}");
        assert!(numbers(&ours["conv1.weight"]) == numbers(&file["conv1.weight"]), "{name}");
        // For an attack the head has to be in the file.
        let loaded = places().map(|place| load(architecture, &file, &place).is_ok());
        assert_eq!(loaded, [fc.is_none(); 2], "{name}");
    }
}

/// Double precision stays when a model is trained and restored.
#[test]
fn the_type_of_the_weights_stays() {
    let architecture = architecture("lenet");
    let (tensors, images) = (random_weights(architecture), images(architecture, 2));
    let mut model = TensorModel::new(Box::new(Layers::LENET), &tensors, Distance::Cosine, &Place::Kernels).unwrap();
    train(&mut model, &images, [1]);
    let mut model = model.with_dtype(DType::F64).unwrap();
    train(&mut model, &images, [2]);
    model.restore(model.checkpoint().unwrap()).unwrap();
    assert!(model.checkpoint().unwrap().values().all(|tensor| tensor.dtype() == DType::F64));
    assert_eq!(model.embed(&images).unwrap().dtype(), DType::F64);
}

/// A device is not asked whether its pixels are finite. A NaN is not hidden by ReLU or pooling, and teaches nothing.
#[test]
fn a_broken_image_has_a_broken_embedding() {
    for name in ["lenet", "c2f2-classifier", "resnet18-28"] {
        let architecture = architecture(name);
        let [_, place] = places();
        let mut model = resume(architecture, &random_weights(architecture), &place);
        let mut pixels = numbers(&images(architecture, 3));
        let middle = pixels.len() / 2;
        pixels[middle] = f32::NAN;
        let (channels, height, width) = architecture.input();
        let images = Tensor::from_vec(pixels, (3, channels, height, width), &Device::Cpu).unwrap();
        let embeddings = numbers(&model.embed(&images).unwrap());
        let (size, finite) = (architecture.embedding_size(), |numbers: &[f32]| numbers.iter().all(|x| x.is_finite()));
        let finite: Vec<bool> = embeddings.chunks(size).map(finite).collect();
        assert_eq!(finite, [true, false, true], "{name}");
        let before = model.checkpoint().unwrap();
        for upstream in [|raw: &Tensor| Ok(raw.clone()), |raw: &Tensor| Ok(raw.ones_like()?)] {
            let refused = model.train_step(&images, &mut { upstream }, &adam(1));
            assert!(matches!(refused, Err(Error::NotFinite(_))), "{name}: {refused:?}");
        }
        assert_same(name, &model.checkpoint().unwrap(), &before);
    }
}
