//! Softmax regression compared with its definition in double precision.

use crate::support::formula::{FIRST_STREAM, byte, unit};
use candle_core::{Device, Tensor};
use rankle_core::{AdamStep, Differentiable, Embedder, Error, Seed, Trainable};
use rankle_models::weights::Tensors;
use rankle_models::{Isa, SoftmaxRegression};

const PIXELS: usize = 784;
const CLASSES: usize = 10;

fn parameters() -> Tensors {
    let tensor = |stream, shape: &[usize]| Tensor::from_vec(unit(stream, shape.iter().product()), shape, &Device::Cpu).unwrap();
    [("fc1.weight", tensor(FIRST_STREAM + 600, &[CLASSES, PIXELS])), ("fc1.bias", tensor(FIRST_STREAM + 601, &[CLASSES]))]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into()
}

fn pixels(n: usize) -> Vec<f32> {
    byte(FIRST_STREAM + 602, n * PIXELS).into_iter().map(|byte| f32::from(byte) / 255.0).collect()
}

fn images(n: usize) -> Tensor {
    Tensor::from_vec(pixels(n), (n, 1, 28, 28), &Device::Cpu).unwrap()
}

fn upstream(n: usize) -> Vec<f32> {
    unit(FIRST_STREAM + 603, n * CLASSES)
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

fn close(what: &str, ours: &[f32], expected: impl Iterator<Item = f64>) {
    let expected: Vec<f64> = expected.collect();
    assert_eq!(ours.len(), expected.len());
    for (at, (&ours, expected)) in ours.iter().zip(expected).enumerate() {
        assert!((f64::from(ours) - expected).abs() < 1e-4, "{what} at {at}: {ours} instead of {expected}");
    }
}

fn product(a: f32, b: f32) -> f64 {
    f64::from(a) * f64::from(b)
}

const ADAM: AdamStep = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };

#[test]
fn logits_and_gradients_are_those_of_the_definition() {
    let (n, parameters) = (59, parameters());
    let (weights, bias, x, s) = (numbers(&parameters["fc1.weight"]), numbers(&parameters["fc1.bias"]), pixels(n), upstream(n));
    let upstream = Tensor::from_slice(&s, (n, CLASSES), &Device::Cpu).unwrap();
    for isa in Isa::available() {
        let mut model = SoftmaxRegression::with_isa(&parameters, isa).unwrap();
        let logit = |at: usize| {
            let (row, class) = (&x[at / CLASSES * PIXELS..][..PIXELS], at % CLASSES);
            row.iter().zip(&weights[class * PIXELS..]).map(|(&a, &b)| product(a, b)).sum::<f64>() + f64::from(bias[class])
        };
        close("logits", &numbers(&model.embed(&images(n)).unwrap()), (0..n * CLASSES).map(logit));

        let gradient = numbers(&model.input_gradient(&images(n), &mut |_| Ok(upstream.clone())).unwrap());
        let back = |at: usize| {
            let (image, pixel) = (at / PIXELS, at % PIXELS);
            (0..CLASSES).map(|class| product(s[image * CLASSES + class], weights[class * PIXELS + pixel])).sum()
        };
        close("input gradient", &gradient, (0..n * PIXELS).map(back));

        // Starting from zero, Adam's first moment is a tenth of the gradient after one step.
        model.train_step(&images(n), &mut |_| Ok(upstream.clone()), &ADAM).unwrap();
        let state = model.checkpoint().unwrap();
        let sum = |class: usize, with: &dyn Fn(usize) -> f32| -> f64 {
            0.1 * (0..n).map(|image| product(s[image * CLASSES + class], with(image))).sum::<f64>()
        };
        let weight = |at: usize| sum(at / PIXELS, &|image| x[image * PIXELS + at % PIXELS]);
        close("weight gradient", &numbers(&state["adam.first.fc1.weight"]), (0..CLASSES * PIXELS).map(weight));
        close("bias gradient", &numbers(&state["adam.first.fc1.bias"]), (0..CLASSES).map(|class| sum(class, &|_| 1.0)));
        assert_ne!(
            numbers(&model.embed(&images(1)).unwrap()),
            numbers(&SoftmaxRegression::from_tensors(&parameters).unwrap().embed(&images(1)).unwrap())
        );
    }
}

#[test]
fn no_bit_depends_on_batch_or_threads() {
    let model = SoftmaxRegression::initialize(Seed(1));
    let run = |threads: usize, batch: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut logits, mut gradients) = (Vec::new(), Vec::new());
            for first in (0..130).step_by(batch) {
                let rows = batch.min(130 - first);
                let images = images(130).narrow(0, first, rows).unwrap();
                let upstream =
                    Tensor::from_slice(&upstream(130)[first * CLASSES..][..rows * CLASSES], (rows, CLASSES), &Device::Cpu);
                logits.extend(numbers(&model.embed(&images).unwrap()));
                gradients
                    .extend(numbers(&model.input_gradient(&images, &mut |_| Ok(upstream.as_ref().unwrap().clone())).unwrap()));
            }
            (logits, gradients)
        })
    };
    let expected = run(1, 130);
    for (threads, batch) in [(3, 130), (2, 7), (1, 1)] {
        assert!(run(threads, batch) == expected, "{threads} threads, batches of {batch}");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut model = SoftmaxRegression::initialize(Seed(1));
    let before = numbers(&model.parameters().unwrap()["fc1.weight"]);
    let wide = Tensor::zeros((2, 1, 28, 27), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(matches!(model.embed(&wide), Err(Error::Shape { .. })));
    let mut step = |images: &Tensor, upstream: &[f32]| {
        let upstream = Tensor::from_slice(upstream, (upstream.len() / CLASSES, CLASSES), &Device::Cpu).unwrap();
        model.train_step(images, &mut |_| Ok(upstream.clone()), &ADAM)
    };
    assert!(matches!(step(&images(2), &upstream(3)), Err(Error::Shape { .. })));
    assert!(matches!(step(&images(1), &[f32::NAN; CLASSES]), Err(Error::NotFinite(_))));
    assert!(matches!(step(&images(0), &[]), Err(Error::Empty(_))));
    assert!(matches!(step(&(images(1) * f64::NAN).unwrap(), &upstream(1)), Err(Error::NotFinite(_))));
    assert_eq!(numbers(&model.parameters().unwrap()["fc1.weight"]), before);

    let mut broken = parameters();
    broken.insert("fc2.bias".into(), broken["fc1.bias"].clone());
    let message = |parameters: &Tensors| SoftmaxRegression::from_tensors(parameters).unwrap_err().to_string();
    assert!(message(&broken).contains("tensor 'fc2.bias' belongs to no parameter"));
    broken.clear();
    assert!(message(&broken).contains("'fc1.weight' of shape [10, 784] is missing"));
}
