//! A backbone: an [`Embedder`] can be measured, a [`Differentiable`] one can be attacked by its gradient, and a [`Trainable`] one
//! can also be trained.

use candle_core::{Device, Tensor, Var};
use rand::Rng;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Error, InputSpec, Result, Trainable, Upstream};
use std::collections::BTreeMap;

/// Two layers: the squares of 48 weighted sums of all pixels, then 16 weighted sums of the squares.
pub(crate) struct Energies {
    shape: (usize, usize, usize),
    hidden: Parameter,
    output: Parameter,
}

/// A weight with its moments in Adam.
struct Parameter {
    weight: Tensor,
    first: Tensor,
    second: Tensor,
}

const HIDDEN: usize = 48;
const OUTPUT: usize = 16;

fn forward(images: &Tensor, hidden: &Tensor, output: &Tensor) -> Result<Tensor> {
    // Mean and standard deviation of the pixels are a layer of the model.
    let pixels = ((images.flatten_from(1)? - 0.5)? / 0.25)?;
    Ok(pixels.matmul(hidden)?.sqr()?.matmul(output)?)
}

impl Energies {
    /// Random weights, uniform in `±1/√inputs`, keyed by the seed.
    pub(crate) fn new((c, h, w): (usize, usize, usize), seed: Seed) -> Result<Self> {
        let (hidden, output) = (Parameter::new(c * h * w, HIDDEN, seed, 0)?, Parameter::new(HIDDEN, OUTPUT, seed, 1)?);
        Ok(Self { shape: (c, h, w), hidden, output })
    }

    fn named(&self) -> [(&'static str, &Parameter); 2] {
        [("hidden.weight", &self.hidden), ("output.weight", &self.output)]
    }
}

impl Parameter {
    fn new(inputs: usize, outputs: usize, seed: Seed, key: u64) -> Result<Self> {
        let (bound, mut rng) = ((inputs as f32).sqrt().recip(), seed.stream(Purpose::Weights, [key, 0]));
        let weights: Vec<f32> = (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect();
        let weight = Tensor::from_vec(weights, (inputs, outputs), &Device::Cpu)?;
        Ok(Self { first: weight.zeros_like()?, second: weight.zeros_like()?, weight })
    }

    /// Weight and moments after one step of Adam.
    fn after(&self, gradient: &Tensor, adam: &AdamStep) -> Result<Self> {
        let AdamStep { learning_rate, beta1, beta2, epsilon, weight_decay, step } = *adam;
        let gradient = (gradient + (&self.weight * weight_decay)?)?;
        let first = ((&self.first * beta1)? + (&gradient * (1.0 - beta1))?)?;
        let second = ((&self.second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
        let whole = |moment: &Tensor, beta: f64| moment / (1.0 - beta.powi(step as i32));
        let way = (whole(&first, beta1)? / (whole(&second, beta2)?.sqrt()? + epsilon)?)?;
        Ok(Self { weight: (&self.weight - (way * learning_rate)?)?, first, second })
    }
}

impl Embedder for Energies {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        forward(images, &self.hidden.weight, &self.output.weight)
    }
    fn distance(&self) -> Distance {
        Distance::Cosine
    }

    fn input(&self) -> InputSpec {
        InputSpec::of_shape(self.shape)
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for Energies {}

impl Trainable for Energies {
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()> {
        let (hidden, output) = (Var::from_tensor(&self.hidden.weight)?, Var::from_tensor(&self.output.weight)?);
        let embeddings = forward(images, &hidden, &output)?;
        let upstream = upstream(&embeddings.detach())?;
        let mut gradients = (embeddings * upstream)?.sum_all()?.backward()?;
        let mut gradient = |of: &Var| gradients.remove(of).ok_or(Error::NoGradient);
        let after = (self.hidden.after(&gradient(&hidden)?, adam)?, self.output.after(&gradient(&output)?, adam)?);
        (self.hidden, self.output) = after;
        Ok(())
    }

    fn parameters(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(self.named().map(|(name, parameter)| (name.to_owned(), parameter.weight.clone())).into())
    }

    fn checkpoint(&self) -> Result<BTreeMap<String, Tensor>> {
        let tensors = |(name, Parameter { weight, first, second }): (&str, &Parameter)| {
            let moment = |which: &str| format!("adam.{which}.{name}");
            [(name.to_owned(), weight.clone()), (moment("first"), first.clone()), (moment("second"), second.clone())]
        };
        Ok(self.named().into_iter().flat_map(tensors).collect())
    }

    fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        let mut take = |name: String, like: &Tensor| match state.remove(&name) {
            Some(tensor) if tensor.dims() == like.dims() => Ok(tensor),
            _ => Err(Error::Refused(format!("'{name}' is missing or has another shape than {:?}", like.dims()))),
        };
        let mut parameter = |(name, known): (&str, &Parameter)| -> Result<Parameter> {
            let weight = take(name.to_owned(), &known.weight)?;
            let [first, second] = ["first", "second"].map(|which| take(format!("adam.{which}.{name}"), &known.weight));
            Ok(Parameter { weight, first: first?, second: second? })
        };
        let [hidden, output] = self.named().map(&mut parameter);
        let restored = Self { shape: self.shape, hidden: hidden?, output: output? };
        if let Some(name) = state.keys().next() {
            return Err(Error::Refused(format!("'{name}' is no part of this model")));
        }
        *self = restored;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_the_whole_state() {
        let new = |seed| Energies::new((1, 4, 4), Seed(seed)).unwrap();
        let images = Tensor::rand(0f32, 1.0, (5, 1, 4, 4), &Device::Cpu).unwrap();
        let adam = |step| AdamStep { learning_rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1, step };
        let step = |model: &mut Energies, number| model.train_step(&images, &mut |raw| Ok(raw.sin()?), &adam(number)).unwrap();
        let (mut model, mut other) = (new(0), new(1));
        step(&mut model, 1);
        other.restore(model.checkpoint().unwrap()).unwrap();
        step(&mut model, 2);
        step(&mut other, 2);
        let numbers = |model: &Energies| model.embed(&images).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers(&model), numbers(&other));
        assert!(other.restore(model.parameters().unwrap()).is_err());
    }
}
