//! C2F2's gradients against central differences of its own forward pass.
//!
//! The network is piecewise linear: a difference is exact but for the rounding of `f32`, unless a ReLU or a pooling decision
//! flips inside the step. Then the differences to the left and to the right disagree, and the place is left out.

#[path = "support/formula.rs"]
mod formula;

use candle_core::{Device, Tensor};
use formula::{FIRST_STREAM, byte, unit};
use rankle_core::{Distance, Embedder};
use rankle_models::{C2f2, Isa};

const PIXELS: usize = 784;
const DIM: usize = 1024;

/// How near a difference must be, relative to the gradient, and how many of them.
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

/// The slope of [`losses`] with respect to the embeddings of one image.
fn slope() -> Vec<f32> {
    unit(FIRST_STREAM + 401, DIM)
}

/// `Σ e·slope` of every image, in double precision.
fn losses(model: &C2f2, images: &Tensor) -> Vec<f64> {
    let slope = slope();
    let embeddings = numbers(&model.embed(images).unwrap());
    embeddings.chunks(DIM).map(|e| e.iter().zip(&slope).map(|(&e, &s)| f64::from(e) * f64::from(s)).sum()).collect()
}

/// A gradient and the differences to both sides of the same place.
struct Place {
    gradient: f64,
    left: f64,
    right: f64,
}

impl Place {
    /// `at` and `loss` are below, at and above the place.
    fn new(gradient: f32, at: [f32; 3], loss: [f64; 3]) -> Self {
        let difference = |side: usize| (loss[side + 1] - loss[side]) / f64::from(at[side + 1] - at[side]);
        Self { gradient: f64::from(gradient), left: difference(0), right: difference(1) }
    }
    fn central(&self) -> f64 {
        0.5 * (self.left + self.right)
    }
}

/// Where no decision flips, nearly all gradients must agree. The choice of places asks the differences alone.
fn check(what: &str, places: &[Place]) {
    let largest = places.iter().fold(0.0, |most: f64, place| most.max(place.central().abs()));
    let smooth = |p: &&Place| p.central().abs() > 0.1 * largest && (p.left - p.right).abs() <= TOLERANCE * p.central().abs();
    let chosen: Vec<&Place> = places.iter().filter(smooth).collect();
    assert!(5 * chosen.len() >= places.len(), "{what}: only {} of {} places are smooth", chosen.len(), places.len());
    let near = chosen.iter().filter(|p| (p.gradient - p.central()).abs() <= TOLERANCE * p.gradient.abs()).count();
    assert!(near as f64 >= SHARE * chosen.len() as f64, "{what}: {near} of {} agree", chosen.len());
}

#[test]
fn input_gradients_are_the_slope_of_the_forward_pass() {
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
    for isa in Isa::available() {
        let model = C2f2::with_isa(&formula::parameters().unwrap(), Distance::Euclidean, isa).unwrap();
        let upstream = Tensor::from_vec(slope(), (1, DIM), &Device::Cpu).unwrap();
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
        check(&format!("{isa}: pixels"), &places);
    }
}

#[test]
fn weight_gradients_are_the_slope_of_the_forward_pass() {
    // A weight of a convolution meets every pixel and flips some decision at any step: over many images that averages out.
    const IMAGES: usize = 24;
    let (parameters, images) = (formula::parameters().unwrap(), tensor(&noise(IMAGES)));
    let model = C2f2::from_tensors(&parameters, Distance::Euclidean).unwrap();
    let upstream = Tensor::from_vec(slope().repeat(IMAGES), (IMAGES, DIM), &Device::Cpu).unwrap();
    let gradients = model.weight_gradients(&images, &mut |_| Ok(upstream.clone())).unwrap();
    let here: f64 = losses(&model, &images).iter().sum();
    // Weights a prime number apart, so that kernel positions and channels take turns.
    for (name, stride, step) in [
        ("conv1.weight", 31, 3e-4),
        ("conv1.bias", 2, 3e-4),
        ("conv2.weight", 1531, 1e-3),
        ("conv2.bias", 3, 1e-3),
        ("fc1.bias", 97, 1e-2),
    ] {
        let (values, gradient) = (numbers(&parameters[name]), numbers(&gradients[name]));
        let places: Vec<Place> = (0..values.len())
            .step_by(stride)
            .map(|place| {
                let at = [-step, 0.0, step].map(|step| values[place] + step);
                let loss = |value: f32| -> f64 {
                    let mut values = values.clone();
                    values[place] = value;
                    let mut parameters = parameters.clone();
                    let moved = Tensor::from_slice(&values, parameters[name].shape(), &Device::Cpu).unwrap();
                    parameters.insert(name.to_owned(), moved);
                    losses(&C2f2::from_tensors(&parameters, Distance::Euclidean).unwrap(), &images).iter().sum()
                };
                Place::new(gradient[place], at, [loss(at[0]), here, loss(at[2])])
            })
            .collect();
        check(name, &places);
    }
}

/// The dense layer is linear in its weights: its gradient is the outer product of slope and features, and each feature is the
/// change of one embedding with one weight.
#[test]
fn dense_weight_gradients_are_the_slope_of_the_forward_pass() {
    let (parameters, images) = (formula::parameters().unwrap(), tensor(&noise(1)));
    let model = C2f2::from_tensors(&parameters, Distance::Euclidean).unwrap();
    let upstream = Tensor::from_vec(slope(), (1, DIM), &Device::Cpu).unwrap();
    let gradient = numbers(&model.weight_gradients(&images, &mut |_| Ok(upstream.clone())).unwrap()["fc1.weight"]);
    // One weight of each of many rows moves at once: in a row of its own, each changes a single embedding.
    let (features, values) = (3136, numbers(&parameters["fc1.weight"]));
    let place = |row: usize| row * features + row * 37 % features;
    let embed = |step: f32| {
        let mut values = values.clone();
        (0..DIM).for_each(|row| values[place(row)] += step);
        let mut parameters = parameters.clone();
        parameters.insert("fc1.weight".to_owned(), Tensor::from_vec(values, (DIM, features), &Device::Cpu).unwrap());
        numbers(&C2f2::from_tensors(&parameters, Distance::Euclidean).unwrap().embed(&images).unwrap())
    };
    let (up, down, slope) = (embed(0.25), embed(-0.25), slope());
    let largest = gradient.iter().fold(0.0, |most: f32, g| most.max(g.abs()));
    for row in 0..DIM {
        let difference = 2.0 * (up[row] - down[row]) * slope[row];
        assert!((difference - gradient[place(row)]).abs() < 1e-5 * largest, "row {row}: {difference} {}", gradient[place(row)]);
    }
}
