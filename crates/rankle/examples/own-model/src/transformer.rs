//! A small vision transformer of unfused operations: `candle_nn::ops::softmax_last_dim` and `layer_norm` silently drop gradients.

use candle_core::{D, DType, Device, Tensor, Var};
use rand::Rng;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Error, InputSpec, Result, Trainable, Upstream};
use std::collections::BTreeMap;

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
    ("patch.weight", [PATCH * PATCH, WIDTH]),
    ("position", [PATCHES, WIDTH]),
    ("query.weight", [WIDTH, WIDTH]),
    ("key.weight", [WIDTH, WIDTH]),
    ("value.weight", [WIDTH, WIDTH]),
    ("up.weight", [WIDTH, 2 * WIDTH]),
    ("down.weight", [2 * WIDTH, WIDTH]),
    ("head.weight", [PATCHES * WIDTH, EMBEDDING]),
];

/// One block: attention and a perceptron, each with a layer norm before it and a shortcut around it.
pub struct Transformer {
    weights: BTreeMap<String, Tensor>,
    /// Moments of Adam.
    moments: BTreeMap<String, [Tensor; 2]>,
    distance: Distance,
}

fn norm(tokens: &Tensor) -> Result<Tensor> {
    let centered = tokens.broadcast_sub(&tokens.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(centered.broadcast_div(&(variance + 1e-5)?.sqrt()?)?)
}

fn softmax(scores: &Tensor) -> Result<Tensor> {
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    Ok(powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?)
}

/// `(n, 1, 28, 28)`, pixels in `[0, 1]`, to `(n, 64)`; mean and standard deviation of the pixels are a layer of the model.
fn forward(images: &Tensor, weight: &dyn Fn(&str) -> Result<Tensor>) -> Result<Tensor> {
    let (n, across) = (images.dim(0)?, SIDE / PATCH);
    let pixels = ((images - 0.1307)? / 0.3081)?;
    let patches = pixels.reshape((n, across, PATCH, across, PATCH))?.transpose(2, 3)?.reshape((n * PATCHES, PATCH * PATCH))?;
    let tokens = patches.matmul(&weight("patch.weight")?)?.reshape((n, PATCHES, WIDTH))?;
    let tokens = tokens.broadcast_add(&weight("position")?)?;
    let linear = |tokens: &Tensor, name: &str| -> Result<Tensor> { Ok(tokens.broadcast_matmul(&weight(name)?)?) };
    let inner = norm(&tokens)?;
    let [query, key, value] = ["query.weight", "key.weight", "value.weight"].map(|name| linear(&inner, name));
    let scores = (query?.matmul(&key?.transpose(1, 2)?)? / (WIDTH as f64).sqrt())?;
    let tokens = (tokens + softmax(&scores)?.matmul(&value?)?)?;
    let hidden = linear(&norm(&tokens)?, "up.weight")?.gelu_erf()?;
    let tokens = (tokens + linear(&hidden, "down.weight")?)?;
    Ok(norm(&tokens)?.reshape((n, PATCHES * WIDTH))?.matmul(&weight("head.weight")?)?)
}

impl Transformer {
    /// A transformer with weights from a file.
    pub fn of(tensors: &BTreeMap<String, Tensor>, distance: Distance) -> Result<Self> {
        let weight = |(name, shape): (&str, [usize; 2])| match tensors.get(name) {
            Some(tensor) if tensor.dims() == shape && tensor.dtype() == DType::F32 => Ok((name.to_owned(), tensor.clone())),
            _ => Err(Error::Refused(format!("'{name}' is missing or no f32 tensor of shape {shape:?}"))),
        };
        Self::with(SHAPES.into_iter().map(weight).collect::<Result<_>>()?, distance)
    }

    /// A transformer with random weights, uniform in `±1/√inputs`, keyed by the seed.
    pub fn random(distance: Distance, seed: Seed) -> Result<Self> {
        let weight = |(at, (name, [rows, columns])): (usize, (&str, [usize; 2]))| -> Result<(String, Tensor)> {
            let (bound, mut rng) = ((rows as f32).sqrt().recip(), seed.stream(Purpose::Weights, [at as u64, 0]));
            let values: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-bound..bound)).collect();
            Ok((name.to_owned(), Tensor::from_vec(values, (rows, columns), &Device::Cpu)?))
        };
        Self::with(SHAPES.into_iter().enumerate().map(weight).collect::<Result<_>>()?, distance)
    }

    fn with(weights: BTreeMap<String, Tensor>, distance: Distance) -> Result<Self> {
        let zeros = |(name, weight): (&String, &Tensor)| -> Result<(String, [Tensor; 2])> {
            Ok((name.clone(), [weight.zeros_like()?, weight.zeros_like()?]))
        };
        let moments = weights.iter().map(zeros).collect::<Result<_>>()?;
        Ok(Self { weights, moments, distance })
    }
}

impl Embedder for Transformer {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        forward(images, &|name| Ok(self.weights[name].clone()))
    }
    fn distance(&self) -> Distance {
        self.distance
    }

    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, SIDE, SIDE))
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for Transformer {}

impl Trainable for Transformer {
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()> {
        let var = |(name, weight): (&String, &Tensor)| -> Result<(String, Var)> { Ok((name.clone(), Var::from_tensor(weight)?)) };
        let vars: BTreeMap<String, Var> = self.weights.iter().map(var).collect::<Result<_>>()?;
        let embeddings = forward(images, &|name| Ok(vars[name].as_tensor().clone()))?;
        let upstream = upstream(&embeddings.detach())?;
        let mut gradients = (embeddings * upstream)?.sum_all()?.backward()?;
        let AdamStep { learning_rate, beta1, beta2, epsilon, weight_decay, step } = *adam;
        let whole = |moment: &Tensor, beta: f64| moment / (1.0 - beta.powi(step as i32));
        let mut after = BTreeMap::new();
        for (name, var) in &vars {
            let (weight, [first, second]) = (&self.weights[name], &self.moments[name]);
            let gradient = (gradients.remove(var).ok_or(Error::NoGradient)? + (weight * weight_decay)?)?;
            let first = ((first * beta1)? + (&gradient * (1.0 - beta1))?)?;
            let second = ((second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let way = (whole(&first, beta1)? / (whole(&second, beta2)?.sqrt()? + epsilon)?)?;
            after.insert(name.clone(), ((weight - (way * learning_rate)?)?.detach(), [first.detach(), second.detach()]));
        }
        for (name, (weight, moments)) in after {
            self.weights.insert(name.clone(), weight);
            self.moments.insert(name, moments);
        }
        Ok(())
    }

    fn parameters(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(self.weights.clone())
    }

    fn checkpoint(&self) -> Result<BTreeMap<String, Tensor>> {
        let moment = |(name, [first, second]): (&String, &[Tensor; 2])| {
            [(format!("adam.first.{name}"), first.clone()), (format!("adam.second.{name}"), second.clone())]
        };
        Ok(self.weights.clone().into_iter().chain(self.moments.iter().flat_map(moment)).collect())
    }

    fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        let mut restored = Self::of(&state, self.distance)?;
        for (name, shape) in SHAPES {
            let mut take = |name: String| match state.remove(&name) {
                Some(tensor) if tensor.dims() == shape => Ok(tensor),
                _ => Err(Error::Refused(format!("'{name}' is missing or has another shape than {shape:?}"))),
            };
            take(name.to_owned())?;
            let moments = [take(format!("adam.first.{name}"))?, take(format!("adam.second.{name}"))?];
            restored.moments.insert(name.to_owned(), moments);
        }
        if let Some(name) = state.keys().next() {
            return Err(Error::Refused(format!("'{name}' is no part of this model")));
        }
        *self = restored;
        Ok(())
    }
}
