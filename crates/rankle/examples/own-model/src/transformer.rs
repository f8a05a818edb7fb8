//! A small vision transformer, as an expression in operations whose gradients are right on every device.

use candle_core::{Device, Result, Tensor};
use rand::Rng;
use rankle_core::InputSpec;
use rankle_core::seed::{Purpose, Seed};
use rankle_models::{Expression, Parameter, Pass, weights::Tensors};
use rankle_ops::{gelu, layer_norm, linear, matmul, softmax};

/// Side of the square gray images, in pixels.
pub const SIDE: usize = 28;
/// Numbers per embedding.
pub const EMBEDDING: usize = 64;
/// Side of a patch, in pixels.
const PATCH: usize = 7;
const PATCHES: usize = (SIDE / PATCH) * (SIDE / PATCH);
/// Numbers per token.
const WIDTH: usize = 32;

/// Names and shapes of the weights.
const SHAPES: [(&str, [usize; 2]); 8] = [
    ("patch.weight", [WIDTH, PATCH * PATCH]),
    ("position", [PATCHES, WIDTH]),
    ("query.weight", [WIDTH, WIDTH]),
    ("key.weight", [WIDTH, WIDTH]),
    ("value.weight", [WIDTH, WIDTH]),
    ("up.weight", [2 * WIDTH, WIDTH]),
    ("down.weight", [WIDTH, 2 * WIDTH]),
    ("head.weight", [EMBEDDING, PATCHES * WIDTH]),
];

/// One block: attention and a perceptron, each with a layer norm before it and a shortcut around it.
pub struct Transformer;

/// Random weights, uniform in `±1/√inputs`, keyed by the seed.
pub fn random(seed: Seed) -> Result<Tensors> {
    let weight = |(at, (name, [rows, columns])): (usize, (&str, [usize; 2]))| {
        let (bound, mut rng) = ((columns as f32).sqrt().recip(), seed.stream(Purpose::Weights, [at as u64, 0]));
        let values: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-bound..bound)).collect();
        Ok((name.to_owned(), Tensor::from_vec(values, (rows, columns), &Device::Cpu)?))
    };
    SHAPES.into_iter().enumerate().map(weight).collect()
}

fn norm(tokens: &Tensor) -> Result<Tensor> {
    layer_norm(tokens, None, None, 1e-5)
}

impl Expression for Transformer {
    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, SIDE, SIDE))
    }

    fn embedding_size(&self) -> usize {
        EMBEDDING
    }

    fn parameters(&self) -> Vec<Parameter> {
        SHAPES.into_iter().map(|(name, shape)| Parameter::trained(name, shape)).collect()
    }

    /// Mean and standard deviation of the pixels are a layer of the model.
    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> Result<Tensor> {
        let (n, across) = (images.dim(0)?, SIDE / PATCH);
        let pixels = ((images - 0.1307)? / 0.3081)?;
        let patches = pixels.reshape((n, across, PATCH, across, PATCH))?.transpose(2, 3)?.reshape((n, PATCHES, PATCH * PATCH))?;
        let tokens = pass.linear("patch", &patches)?.broadcast_add(pass.weight("position")?)?;
        let inner = norm(&tokens)?;
        let [query, key, value] = ["query", "key", "value"].map(|name| pass.linear(name, &inner));
        let scores = (matmul(&query?, &key?.transpose(1, 2)?)? / (WIDTH as f64).sqrt())?;
        let tokens = (tokens + matmul(&softmax(&scores)?, &value?)?)?;
        let hidden = gelu(&pass.linear("up", &norm(&tokens)?)?)?;
        let tokens = (tokens + pass.linear("down", &hidden)?)?;
        linear(&norm(&tokens)?.reshape((n, PATCHES * WIDTH))?, pass.weight("head.weight")?, None)
    }
}
