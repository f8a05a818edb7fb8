//! Gradients of the networks compared with central differences of their own forward pass.
//!
//! The networks are piecewise linear. A difference is exact but for the rounding of `f32`, unless a ReLU or a pooling decision
//! flips inside the step. Then the differences to the left and to the right disagree, and the coordinate is left out.

use crate::support::formula::{C2F2, C2F2_512, FIRST_STREAM, LENET, Network, byte, unit};
use candle_core::{Device, Tensor};
use rankle_core::{Differentiable, Distance, Embedder};
use rankle_models::weights::Tensors;
use rankle_models::{Convnet, Isa};

const PIXELS: usize = 784;

/// Largest allowed error relative to the gradient, and the share of coordinates that must be within it.
const TOLERANCE: f64 = 0.02;
const SHARE: f64 = 0.95;

fn noise(images: usize) -> Vec<f32> {
    byte(FIRST_STREAM + 400, images * PIXELS).into_iter().map(|byte| f32::from(byte) / 255.0).collect()
}

fn tensor(images: &[f32]) -> Tensor {
    Tensor::from_slice(images, (images.len() / PIXELS, 1, 28, 28), &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).unwrap()
}

/// Gradient of [`losses`] with respect to the embedding of one image.
fn upstream(dim: usize) -> Vec<f32> {
    unit(FIRST_STREAM + 401, dim)
}

/// Network with changed parameters.
fn changed(network: &Network, parameters: &Tensors) -> Convnet {
    Convnet::from_tensors(network.layers, parameters, Distance::Cosine).unwrap()
}

/// Loss `Σ e·upstream` of every image, in double precision.
fn losses(model: &Convnet, images: &Tensor) -> Vec<f64> {
    let embeddings = model.embed(images).unwrap();
    let dim = embeddings.dims()[1];
    let upstream = upstream(dim);
    numbers(&embeddings).chunks(dim).map(|e| e.iter().zip(&upstream).map(|(&e, &s)| f64::from(e) * f64::from(s)).sum()).collect()
}

/// Gradient of one coordinate, a pixel or a weight, and the difference quotients to its left and right.
struct Place {
    gradient: f64,
    left: f64,
    right: f64,
}

impl Place {
    /// Difference quotients from three values of the coordinate, in ascending order, and the losses there.
    fn new(gradient: f32, at: [f32; 3], loss: [f64; 3]) -> Self {
        let difference = |side: usize| (loss[side + 1] - loss[side]) / f64::from(at[side + 1] - at[side]);
        Self { gradient: f64::from(gradient), left: difference(0), right: difference(1) }
    }
    fn central(&self) -> f64 {
        0.5 * (self.left + self.right)
    }
}

/// Asserts that nearly all gradients agree where no decision flips. The differences alone decide which coordinates are compared.
fn check(what: &str, places: &[Place]) {
    let largest = places.iter().fold(0.0, |most: f64, place| most.max(place.central().abs()));
    let smooth = |p: &&Place| p.central().abs() > 0.1 * largest && (p.left - p.right).abs() <= TOLERANCE * p.central().abs();
    let chosen: Vec<&Place> = places.iter().filter(smooth).collect();
    assert!(5 * chosen.len() >= places.len(), "{what}: only {} of {} places are smooth", chosen.len(), places.len());
    let near = chosen.iter().filter(|p| (p.gradient - p.central()).abs() <= TOLERANCE * p.gradient.abs()).count();
    assert!(near as f64 >= SHARE * chosen.len() as f64, "{what}: {near} of {} agree", chosen.len());
}

/// Input gradients of all but C2F2-512, in which one pixel flips too many ReLUs. Its gradients are compared with PyTorch in
/// `pytorch_parity.rs`, and its weight gradients below.
#[test]
fn input_gradients_are_the_gradient_of_the_forward_pass() {
    const STEP: f32 = 1.0 / 1024.0;
    let image = noise(1);
    let pixels: Vec<usize> = (0..PIXELS).step_by(3).collect();
    let moved: Vec<f32> = pixels
        .iter()
        .flat_map(|&pixel| [-STEP, 0.0, STEP].map(|step| (pixel, step)))
        .flat_map(|(pixel, step)| {
            let mut image = image.clone();
            image[pixel] += step;
            image
        })
        .collect();
    for (network, isa) in
        [C2F2, LENET].into_iter().flat_map(|network| Isa::available().into_iter().map(move |isa| (network, isa)))
    {
        let (model, dim) = (network.model(isa), network.dim());
        let upstream = Tensor::from_vec(upstream(dim), (1, dim), &Device::Cpu).unwrap();
        let gradient = numbers(&model.input_gradient(&tensor(&image), &mut |_| Ok(upstream.clone())).unwrap());
        let losses = losses(&model, &tensor(&moved));
        let places: Vec<Place> = pixels
            .iter()
            .zip(losses.chunks(3))
            .map(|(&pixel, loss)| {
                let at = [-STEP, 0.0, STEP].map(|step| image[pixel] + step);
                Place::new(gradient[pixel], at, [loss[0], loss[1], loss[2]])
            })
            .collect();
        check(&format!("{}, {isa}: pixels", network.name), &places);
    }
}

/// Name of a parameter, stride of the weights that are moved, and step.
type Probe = (&'static str, usize, f32);

#[test]
fn weight_gradients_are_the_gradient_of_the_forward_pass() {
    // A weight of a convolution affects every pixel and flips some decision at any step. Over many images this averages out.
    const IMAGES: usize = 24;
    let images = tensor(&noise(IMAGES));
    // Prime strides, so that all kernel positions and channels occur.
    #[rustfmt::skip] // keeps the columns aligned
    let cases: [(Network, &[Probe]); 3] = [
        (C2F2, &[
            ("conv1.weight", 31, 3e-4), ("conv1.bias", 2, 3e-4), ("conv2.weight", 1531, 1e-3), ("conv2.bias", 3, 1e-3),
            ("fc1.bias", 97, 1e-2),
        ]),
        // The other layers are those of C2F2.
        (C2F2_512, &[
            ("backbone.7.weight", 300_007, 1e-3), ("backbone.7.bias", 97, 1e-3), ("backbone.9.weight", 50_021, 1e-2),
            ("backbone.9.bias", 53, 1e-2),
        ]),
        (LENET, &[
            ("conv1.weight", 13, 3e-4), ("conv1.bias", 1, 3e-4), ("conv2.weight", 509, 1e-3), ("conv2.bias", 2, 1e-3),
            ("fc1.weight", 10_007, 1e-3), ("fc1.bias", 17, 1e-3),
        ]),
    ];
    for (network, cases) in cases {
        let (parameters, model, dim) = (network.parameters(), network.model(Isa::best()), network.dim());
        let upstream = Tensor::from_vec(upstream(dim).repeat(IMAGES), (IMAGES, dim), &Device::Cpu).unwrap();
        let gradients = model.weight_gradients(&images, &mut |_| Ok(upstream.clone())).unwrap();
        let here: f64 = losses(&model, &images).iter().sum();
        for &(name, stride, step) in cases {
            let (values, gradient) = (numbers(&parameters[name]), numbers(&gradients[name]));
            let loss = |place: usize, value: f32| -> f64 {
                let mut values = values.clone();
                values[place] = value;
                let mut parameters = parameters.clone();
                let moved = Tensor::from_slice(&values, parameters[name].shape(), &Device::Cpu).unwrap();
                parameters.insert(name.to_owned(), moved);
                losses(&changed(&network, &parameters), &images).iter().sum()
            };
            let places: Vec<Place> = (0..values.len())
                .step_by(stride)
                .map(|place| {
                    let at = [-step, 0.0, step].map(|step| values[place] + step);
                    Place::new(gradient[place], at, [loss(place, at[0]), here, loss(place, at[2])])
                })
                .collect();
            check(&format!("{}: {name}", network.name), &places);
        }
    }
}

/// C2F2's dense layer is linear in its weights. Its gradient is the outer product of the embedding's gradient and the features;
/// a feature is the difference quotient of one embedding coordinate by one weight.
#[test]
fn dense_weight_gradients_are_the_gradient_of_the_forward_pass() {
    let (parameters, images, dim) = (C2F2.parameters(), tensor(&noise(1)), C2F2.dim());
    let given = Tensor::from_vec(upstream(dim), (1, dim), &Device::Cpu).unwrap();
    let gradients = C2F2.model(Isa::best()).weight_gradients(&images, &mut |_| Ok(given.clone())).unwrap();
    let gradient = numbers(&gradients["fc1.weight"]);
    // One weight of each row moves at once: each changes only one coordinate of the embedding.
    let (features, values) = (3136, numbers(&parameters["fc1.weight"]));
    let place = |row: usize| row * features + row * 37 % features;
    let embed = |step: f32| {
        let mut values = values.clone();
        (0..dim).for_each(|row| values[place(row)] += step);
        let mut parameters = parameters.clone();
        parameters.insert("fc1.weight".to_owned(), Tensor::from_vec(values, (dim, features), &Device::Cpu).unwrap());
        numbers(&changed(&C2F2, &parameters).embed(&images).unwrap())
    };
    let (up, down, upstream) = (embed(0.25), embed(-0.25), upstream(dim));
    let largest = gradient.iter().fold(0.0, |most: f32, g| most.max(g.abs()));
    for row in 0..dim {
        let difference = 2.0 * (up[row] - down[row]) * upstream[row];
        assert!((difference - gradient[place(row)]).abs() < 1e-5 * largest, "row {row}: {difference} {}", gradient[place(row)]);
    }
}

/// ReLU of a dense layer at exactly zero: its output and its gradient are zero, as in PyTorch.
#[test]
fn a_dense_layer_at_exactly_zero_is_silent() {
    let (images, upstream) = (tensor(&noise(2)), |raw: &Tensor| Ok(raw.ones_like()?));
    for (network, layer) in [(LENET, "fc1"), (C2F2_512, "backbone.7")] {
        let mut parameters = network.parameters();
        for name in ["weight", "bias"].map(|kind| format!("{layer}.{kind}")) {
            let zeros = parameters[&name].zeros_like().unwrap();
            parameters.insert(name, zeros);
        }
        for isa in Isa::available() {
            let model = Convnet::with_isa(network.layers, &parameters, Distance::Cosine, isa).unwrap();
            assert!(numbers(&model.input_gradient(&images, &mut |raw| upstream(raw)).unwrap()).iter().all(|&x| x == 0.0));
            let gradients = model.weight_gradients(&images, &mut |raw| upstream(raw)).unwrap();
            for (name, gradient) in gradients {
                // Only the bias of the next layer, if there is one, has a gradient.
                let expected = if name == "backbone.9.bias" { 2.0 } else { 0.0 };
                assert!(numbers(&gradient).iter().all(|&x| x == expected), "{}, {isa}: {name}", network.name);
            }
        }
    }
}
