//! Dropout compared with a network without it: for one image, dropping outputs equals zeroing the weights that multiply them.

use crate::support::formula::{C2F2_CLASSIFIER, FIRST_STREAM, byte, unit};
use candle_core::{Device, Tensor};
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Place, Seed, Trainable};
use rankle_models::weights::Tensors;
use rankle_models::{Architecture, Convnet, Layers};

const HIDDEN: usize = 1024;
const CLASSES: usize = 10;
/// Share of the gradient in Adam's first moment after one step from zero.
const FIRST: f32 = 0.1;

fn images(n: usize) -> Tensor {
    let pixels = byte(FIRST_STREAM + 500, n * 784).into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    Tensor::from_vec(pixels, (n, 1, 28, 28), &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

fn adam(step: u32) -> AdamStep {
    AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step }
}

fn upstream(n: usize) -> Tensor {
    Tensor::from_vec(unit(FIRST_STREAM + 501, n * CLASSES), (n, CLASSES), &Device::Cpu).unwrap()
}

/// Model with the weights of the formula, whose dropout is keyed by `seed`.
fn model(seed: u64) -> Convnet {
    let mut model = Convnet::initialize(Layers::C2F2_CLASSIFIER, Distance::Euclidean, Seed(seed));
    model.restore(C2F2_CLASSIFIER.parameters()).unwrap();
    model
}

/// Logits and gradients of a training step.
fn step(model: &mut Convnet, images: &Tensor, number: u32) -> (Vec<f32>, Tensors) {
    let mut logits = Vec::new();
    let upstream = upstream(images.dims()[0]);
    model
        .train_step(
            images,
            &mut |raw| {
                logits = numbers(raw);
                Ok(upstream.clone())
            },
            &adam(number),
        )
        .unwrap();
    let state = model.checkpoint().unwrap();
    let moments = state
        .into_iter()
        .filter_map(|(name, moment)| Some((name.strip_prefix("adam.first.")?.to_owned(), (moment / f64::from(FIRST)).unwrap())));
    (logits, moments.collect())
}

/// Marks the active hidden outputs: the last layer's gradient has a column of zeros for each inactive one.
fn active(gradients: &Tensors) -> Vec<bool> {
    let gradient = numbers(&gradients["fc2.weight"]);
    (0..HIDDEN).map(|hidden| (0..CLASSES).any(|class| gradient[class * HIDDEN + hidden] != 0.0)).collect()
}

fn close(what: &str, ours: &[f32], expected: &[f32]) {
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    for (at, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        assert!((ours - expected).abs() <= 1e-5 * largest, "{what} at {at}: {ours} instead of {expected}");
    }
}

#[test]
fn a_training_step_is_that_of_the_network_with_the_silenced_numbers_taken_out() {
    let images = images(1);
    let (logits, gradients) = step(&mut model(3), &images, 1);
    let active = active(&gradients);

    // Factor of a hidden output for this image.
    let factor = |hidden: usize| if active[hidden] { 1.0 / 0.6 } else { 0.0 };
    let mut parameters = C2F2_CLASSIFIER.parameters();
    let scaled: Vec<f32> =
        numbers(&parameters["fc2.weight"]).iter().enumerate().map(|(at, weight)| weight * factor(at % HIDDEN)).collect();
    parameters.insert("fc2.weight".into(), Tensor::from_vec(scaled, (CLASSES, HIDDEN), &Device::Cpu).unwrap());
    let oracle = Convnet::from_tensors(Layers::C2F2_CLASSIFIER, &parameters, Distance::Euclidean).unwrap();

    close("logits", &logits, &numbers(&oracle.embed(&images).unwrap()));
    let expected = oracle.weight_gradients(&images, &mut |_| Ok(upstream(1))).unwrap();
    for (name, gradient) in &gradients {
        let expected = numbers(&expected[name]);
        let scaled: Vec<f32> = match name.as_str() {
            "fc2.weight" => expected.iter().enumerate().map(|(at, g)| g * factor(at % HIDDEN)).collect(),
            _ => expected,
        };
        close(name, &numbers(gradient), &scaled);
    }

    // Two fifths of the positive hidden outputs are dropped, within four standard deviations of the binomial distribution.
    let plain = model(3).weight_gradients(&images, &mut |_| Ok(upstream(1))).unwrap();
    let passing = self::active(&plain);
    let kept = active.iter().filter(|&&on| on).count() as f64;
    let all = passing.iter().filter(|&&on| on).count() as f64;
    assert!(all > 200.0 && active.iter().zip(&passing).all(|(on, passes)| *passes || !on));
    assert!((kept - 0.6 * all).abs() < 4.0 * (0.24 * all).sqrt(), "{kept} of {all}");
}

#[test]
fn silence_is_keyed_by_seed_step_and_image_and_nothing_else() {
    let masks = |seed, number| {
        let images = Tensor::cat(&[&images(1), &images(1)], 0).unwrap();
        let (logits, _) = step(&mut model(seed), &images, number);
        [logits[..CLASSES].to_vec(), logits[CLASSES..].to_vec()]
    };
    let base = masks(0, 1);
    assert_eq!(base, masks(0, 1));
    assert_ne!(base[0], base[1], "two equal images of a batch");
    assert_ne!(base, masks(1, 1), "another seed");
    assert_ne!(base, masks(0, 2), "another step");
    // With more than one chunk and more than one thread, the first image has the same mask.
    let many = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| step(&mut model(0), &images(130), 1).0)
    };
    let expected = many(1);
    assert_eq!(expected[..CLASSES], base[0]);
    assert_eq!(many(3), expected);
}

#[test]
fn evaluation_and_attacks_know_no_dropout() {
    let images = images(2);
    let model = model(0);
    assert_eq!(
        numbers(&model.embed(&images).unwrap()),
        numbers(&C2F2_CLASSIFIER.model(rankle_models::Isa::best()).embed(&images).unwrap())
    );
    let mut seen = Vec::new();
    model
        .input_gradient(&images, &mut |raw| {
            seen = numbers(raw);
            Ok(upstream(2))
        })
        .unwrap();
    assert_eq!(seen, numbers(&model.embed(&images).unwrap()));
}

/// Resumed training: the seed of the dropout comes from the plan, everything else from the checkpoint.
#[test]
fn a_resumed_classifier_silences_the_same_numbers() {
    let (images, seed) = (images(3), Seed(5));
    for architecture in Architecture::CLASSIFIERS {
        let train =
            |model: &mut dyn Trainable, number| model.train_step(&images, &mut |_| Ok(upstream(3)), &adam(number)).unwrap();
        let mut whole = architecture.initialize(Distance::Euclidean, seed, &Place::default()).unwrap();
        train(&mut *whole, 1);
        let mut resumed = architecture.resume(Distance::Euclidean, seed, whole.checkpoint().unwrap(), &Place::default()).unwrap();
        train(&mut *whole, 2);
        train(&mut *resumed, 2);
        let state = |model: &dyn Trainable| model.checkpoint().unwrap().values().map(numbers).collect::<Vec<_>>();
        assert!(state(&*whole) == state(&*resumed), "{architecture}");
    }
}
