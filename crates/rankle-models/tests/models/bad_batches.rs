//! Batches and gradients that a network cannot use: an error, never a panic, and unchanged weights.

use crate::support::formula::NETWORKS;
use candle_core::{DType, Device, Tensor};
use rankle_core::{AdamStep, Differentiable, Embedder, Error, Result, Trainable};
use rankle_models::{Convnet, Isa};

const ADAM: AdamStep = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };

/// All networks, with the dimension of their embeddings.
fn models() -> impl Iterator<Item = (Convnet, usize)> {
    NETWORKS.into_iter().map(|network| (network.model(Isa::best()), network.dim()))
}

fn filled(value: f32, shape: &[usize]) -> Tensor {
    Tensor::full(value, shape, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

fn weights(model: &Convnet) -> Vec<f32> {
    model.checkpoint().unwrap().values().flat_map(numbers).collect()
}

/// Results of embedding, attack and training.
fn answers(model: &mut Convnet, images: &Tensor, gradient: &Tensor) -> [Result<()>; 3] {
    [
        model.embed(images).map(drop),
        model.input_gradient(images, &mut |_| Ok(gradient.clone())).map(drop),
        model.train_step(images, &mut |_| Ok(gradient.clone()), &ADAM),
    ]
}

#[test]
fn batches_that_do_not_fit_are_refused_everywhere() {
    for (mut model, dim) in models() {
        let before = weights(&model);
        let gradient = filled(1.0, &[2, dim]);
        for shape in [&[2, 1, 28, 27][..], &[2, 3, 28, 28], &[2, 28, 28], &[2, 784], &[28, 28]] {
            for answer in answers(&mut model, &filled(0.5, shape), &gradient) {
                assert!(matches!(answer, Err(Error::Shape { .. })), "{shape:?}: {answer:?}");
            }
        }
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for answer in answers(&mut model, &filled(value, &[2, 1, 28, 28]), &gradient) {
                assert!(matches!(answer, Err(Error::NotFinite(_))), "{value}: {answer:?}");
            }
        }
        let wide = filled(0.5, &[2, 1, 28, 28]).to_dtype(DType::F64).unwrap();
        for answer in answers(&mut model, &wide, &gradient) {
            assert!(matches!(answer, Err(Error::Tensor(_))), "{answer:?}");
        }
        assert!(weights(&model) == before);
    }
}

#[test]
fn gradients_that_do_not_fit_are_refused() {
    for (mut model, dim) in models() {
        let before = weights(&model);
        let images = filled(0.5, &[2, 1, 28, 28]);
        for shape in [&[2, dim - 1][..], &[1, dim], &[2 * dim]] {
            let [_, attack, training] = answers(&mut model, &images, &filled(1.0, shape));
            assert!(matches!(attack, Err(Error::Shape { .. })), "{shape:?}: {attack:?}");
            assert!(matches!(training, Err(Error::Shape { .. })), "{shape:?}: {training:?}");
        }
        let [_, _, training] = answers(&mut model, &images, &filled(f32::NAN, &[2, dim]));
        assert!(matches!(training, Err(Error::NotFinite(_))), "{training:?}");
        let training = model.train_step(&images, &mut |_| Err(Error::Interrupted), &ADAM);
        assert!(matches!(training, Err(Error::Interrupted)), "{training:?}");
        assert!(weights(&model) == before);
    }
}

/// Empty batches: empty embeddings and gradients, but an error in training.
#[test]
fn an_empty_batch_has_no_embeddings_and_no_lesson() {
    for (mut model, dim) in models() {
        let (images, gradient) = (filled(0.5, &[0, 1, 28, 28]), filled(1.0, &[0, dim]));
        assert_eq!(model.embed(&images).unwrap().dims(), [0, dim]);
        assert_eq!(model.input_gradient(&images, &mut |_| Ok(gradient.clone())).unwrap().dims(), [0, 1, 28, 28]);
        let training = model.train_step(&images, &mut |_| Ok(gradient.clone()), &ADAM);
        assert!(matches!(training, Err(Error::Empty(_))), "{training:?}");
    }
}

/// Views and tensors that are not contiguous give the same results.
#[test]
fn the_layout_of_a_tensor_does_not_matter() {
    for (model, dim) in models() {
        let values: Vec<f32> = (0..3 * 784).map(|at| (at * 37 % 101) as f32 / 101.0).collect();
        let images = Tensor::from_vec(values, (3, 1, 28, 28), &Device::Cpu).unwrap();
        let whole = numbers(&model.embed(&images).unwrap());
        let part = model.embed(&images.narrow(0, 1, 2).unwrap()).unwrap();
        assert_eq!(numbers(&part), whole[dim..]);
        let strided = images.transpose(2, 3).unwrap().contiguous().unwrap().transpose(2, 3).unwrap();
        assert!(!strided.is_contiguous());
        assert_eq!(numbers(&model.embed(&strided).unwrap()), whole);
    }
}
