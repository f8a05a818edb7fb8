//! An expression with its weights, on a device.

use super::frozen::Frozen;
use super::initialization::initial_weights;
use super::pass::{Mode, Pass, Training};
use super::{Expression, Parameter, RUNNING_MEAN, RUNNING_VARIANCE};
use crate::batch::{check, finite};
use crate::dropout::Dropout;
use crate::weights::{FIRST_MOMENT, SECOND_MOMENT, Tensors, have_moments, none_left, take};
use candle_core::{DType, Device, Tensor, Var};
use rankle_core::numbers::numbers;
use rankle_core::{
    AdamStep, Differentiable, Distance, Embedder, Error, InputSpec, Place, Result, Seed, Trainable, Upstream, upstream_gradient,
};
use rankle_ops::{Pieces, Recorded};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Momentum of the running statistics (PyTorch's default).
const MOMENTUM: f64 = 0.1;

/// A network of an [`Expression`] with its weights on a device: embeddings, input gradients and training through candle's tape.
///
/// With [`Place::Kernels`] each image passes through the network alone, several in parallel, so that no result depends on the
/// batch. With [`Place::Tensors`] a batch passes as a whole, on the device; results then differ by rounding between batches.
pub struct TensorModel {
    expression: Box<dyn Expression>,
    parameters: Vec<Parameter>,
    /// Weights and running statistics by name, on the device.
    weights: Tensors,
    /// Layers of these weights.
    frozen: Frozen,
    distance: Distance,
    place: Place,
    /// Names of the trained parameters.
    trained: BTreeSet<String>,
    /// Adam's moments of the trained parameters. Empty before the first step.
    moments: [Tensors; 2],
    /// Key of the dropout of every training step.
    seed: Seed,
}

impl TensorModel {
    /// Joins a network and its weights, which are copied to the device of `place`.
    ///
    /// # Errors
    /// [`Error::Refused`] when a tensor is missing, left over, misshapen or not finite, or a running variance is below zero.
    pub fn new(expression: Box<dyn Expression>, tensors: &Tensors, distance: Distance, place: &Place) -> Result<Self> {
        let mut model = Self::without_weights(expression, distance, place);
        let mut tensors = tensors.clone();
        model.weights = model.take_weights(&mut tensors)?;
        none_left(&tensors)?;
        Ok(model)
    }

    /// Draws random weights, keyed by the seed.
    pub(crate) fn initialize(expression: Box<dyn Expression>, distance: Distance, seed: Seed, place: &Place) -> Result<Self> {
        let weights = initial_weights(&*expression, seed)?;
        Ok(Self::new(expression, &weights, distance, place)?.with_seed(seed))
    }

    /// Restores a model from a checkpoint.
    pub(crate) fn resume(expression: Box<dyn Expression>, state: Tensors, distance: Distance, place: &Place) -> Result<Self> {
        let mut model = Self::without_weights(expression, distance, place);
        model.restore(state)?;
        Ok(model)
    }

    fn without_weights(expression: Box<dyn Expression>, distance: Distance, place: &Place) -> Self {
        let parameters = expression.parameters();
        let trained = parameters.iter().filter(|parameter| parameter.trained).map(|parameter| parameter.name.clone()).collect();
        Self {
            expression,
            parameters,
            weights: Tensors::new(),
            frozen: Frozen::default(),
            distance,
            place: place.clone(),
            trained,
            moments: Default::default(),
            seed: Seed(0),
        }
    }

    /// The same model, with dropout keyed by the seed of a training.
    #[must_use]
    pub fn with_seed(self, seed: Seed) -> Self {
        Self { seed, ..self }
    }

    /// The same model with weights of another type: [`DType::F64`] to see the rounding of [`DType::F32`].
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device has no such type.
    pub fn with_dtype(mut self, dtype: DType) -> Result<Self> {
        for tensor in self.weights.values_mut().chain(self.moments.iter_mut().flat_map(Tensors::values_mut)) {
            *tensor = tensor.to_dtype(dtype)?;
        }
        self.frozen = Frozen::default();
        Ok(self)
    }

    fn dtype(&self) -> DType {
        self.weights.values().next().map_or(DType::F32, Tensor::dtype)
    }

    fn device(&self) -> &Device {
        self.place.device()
    }

    /// Checks a batch, and copies it to the device in the type of the weights. With [`Place::Kernels`] all pixels must be finite.
    /// A device is not asked inside a search, and a NaN ends in the embedding, which is refused when it is ranked.
    fn prepared(&self, images: &Tensor) -> Result<Tensor> {
        check(images, self.expression.input().shape)?;
        if matches!(self.place, Place::Kernels) && images.dtype() == DType::F32 && !finite(&numbers(images)?) {
            return Err(Error::NotFinite("a batch of images".into()));
        }
        Ok(images.detach().to_device(self.device())?.to_dtype(self.dtype())?)
    }

    fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        self.expression.forward(&Pass::new(&self.weights, Mode::Frozen(&self.frozen)), images)
    }

    /// How `n` images pass through the network.
    fn pieces(&self, n: usize) -> Pieces {
        match self.place {
            Place::Kernels => Pieces { size: 1, parallel: true },
            Place::Tensors(_) => Pieces { size: n, parallel: false },
        }
    }

    /// Names and shapes of the trained parameters.
    fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| self.trained.contains(&parameter.name))
    }

    /// Takes all weights, and drops what the network ignores.
    fn take_weights(&self, state: &mut Tensors) -> Result<Tensors> {
        state.retain(|name, _| !self.expression.ignores(name));
        self.take(self.parameters.iter(), state, "")
    }

    /// Takes tensors of these parameters, under their names with a prefix, and copies them to the device.
    fn take<'p>(&self, parameters: impl Iterator<Item = &'p Parameter>, state: &mut Tensors, prefix: &str) -> Result<Tensors> {
        let taken = parameters.map(|Parameter { name, shape, .. }| {
            let values = take(state, &format!("{prefix}{name}"), shape)?;
            let is_variance = name.ends_with(&format!(".{RUNNING_VARIANCE}"));
            if let Some(variance) = values.iter().find(|&&value| is_variance && value < 0.0) {
                return Err(Error::Refused(format!("tensor '{name}' holds {variance}; a variance is not below zero")));
            }
            let tensor = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu)?;
            Ok((name.clone(), tensor.to_device(self.device())?.to_dtype(self.dtype())?))
        });
        taken.collect()
    }

    /// Moves the running statistics toward those of a batch.
    fn follow(&mut self, layer: &str, mean: &Tensor, variance: &Tensor) -> Result<()> {
        for (what, batch) in [(RUNNING_MEAN, mean), (RUNNING_VARIANCE, variance)] {
            if let Some(running) = self.weights.get_mut(&format!("{layer}.{what}")) {
                *running = (&*running + ((batch - &*running)? * MOMENTUM)?)?;
            }
        }
        Ok(())
    }

    /// One step of Adam on one parameter, as [`AdamStep::update`] makes it.
    fn update(&mut self, name: &str, gradient: &Tensor, adam: &AdamStep) -> Result<()> {
        let AdamStep { learning_rate, beta1, beta2, epsilon, weight_decay, step } = *adam;
        let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(step).unwrap_or(i32::MAX));
        let Some(weight) = self.weights.get_mut(name) else { return Ok(()) };
        let gradient = (gradient + (&*weight * weight_decay)?)?;
        let [first, second] = &mut self.moments;
        let follow = |moments: &mut Tensors, beta: f64, new: &Tensor| -> Result<Tensor> {
            let moved = (new * (1.0 - beta))?;
            let moved = match moments.get(name) {
                Some(old) => (moved + (old * beta)?)?,
                None => moved,
            };
            moments.insert(name.to_owned(), moved.clone());
            Ok(moved)
        };
        let mean = follow(first, beta1, &gradient)?;
        let square = follow(second, beta2, &gradient.sqr()?)?;
        let root = ((square.sqrt()? / correction(beta2).sqrt())? + epsilon)?;
        *weight = (&*weight - ((mean / root)? * (learning_rate / correction(beta1)))?)?.detach();
        Ok(())
    }
}

impl Embedder for TensorModel {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let images = self.prepared(images)?;
        if images.dims()[0] == 0 {
            return Ok(Tensor::zeros((0, self.expression.embedding_size()), self.dtype(), self.device())?);
        }
        Ok(self.pieces(images.dims()[0]).forward(&images, |images| self.forward(images))?)
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn input(&self) -> InputSpec {
        self.expression.input()
    }

    fn place(&self) -> Place {
        self.place.clone()
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for TensorModel {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let images = self.prepared(images)?;
        if images.dims()[0] == 0 {
            return Ok(images);
        }
        let upstream = |embeddings: &Tensor| upstream_gradient(embeddings, upstream);
        let pieces = self.pieces(images.dims()[0]);
        pieces.input_gradient(&images, |images| self.forward(images), upstream)?.ok_or(Error::NoGradient)
    }
}

impl Trainable for TensorModel {
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()> {
        if !finite(&numbers(&images.to_dtype(DType::F32)?)?) {
            return Err(Error::NotFinite("a batch of images".into()));
        }
        let images = self.prepared(images)?;
        if images.dims()[0] == 0 {
            return Err(Error::Empty("images in a batch"));
        }
        let variables: Vec<(String, Var)> = (self.trained())
            .map(|parameter| Ok((parameter.name.clone(), Var::from_tensor(&self.weights[&parameter.name])?)))
            .collect::<Result<_>>()?;
        let mut weights = self.weights.clone();
        weights.extend(variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone())));
        let training = Training {
            dropout: Dropout { seed: self.seed, step: adam.step },
            trained: &self.trained,
            statistics: RefCell::default(),
        };
        let pass = Pass::new(&weights, Mode::Training(training));
        let recorded = Recorded::new(|| self.expression.forward(&pass, &images))?;
        let statistics = pass.into_statistics();
        let gradient = upstream_gradient(&recorded.output(), upstream)?;
        if !finite(&numbers(&gradient.to_dtype(DType::F32)?)?) {
            return Err(Error::NotFinite("the gradient of the loss".into()));
        }
        self.frozen = Frozen::default();
        let of: Vec<&Tensor> = variables.iter().map(|(_, variable)| variable.as_tensor()).collect();
        for ((name, _), gradient) in variables.iter().zip(recorded.gradients(&gradient, &of)?) {
            if let Some(gradient) = gradient {
                self.update(name, &gradient, adam)?;
            }
        }
        for (layer, batch) in statistics {
            self.follow(&layer, &batch.mean, &batch.unbiased)?;
        }
        Ok(())
    }

    fn freeze_below(&mut self, layer: &str) -> Result<()> {
        let stages = self.expression.stages();
        if !stages.contains(&layer) {
            return Err(match stages {
                [] => Error::Refused(format!("all layers of this model are trained or none: training cannot begin at '{layer}'")),
                _ => Error::Unknown { what: "layer", name: layer.into(), known: stages.join(", ") },
            });
        }
        let begins = |parameter: &&Parameter| parameter.name.starts_with(&format!("{layer}."));
        let first = self.parameters.iter().position(|parameter| begins(&parameter)).unwrap_or(0);
        let trained = self.parameters[first..].iter().filter(|parameter| parameter.trained);
        self.trained = trained.map(|parameter| parameter.name.clone()).collect();
        self.moments = Default::default();
        Ok(())
    }

    fn parameters(&self) -> Result<Tensors> {
        to_host(&self.weights, "")
    }

    fn checkpoint(&self) -> Result<Tensors> {
        let mut state = self.parameters()?;
        for (moments, prefix) in self.moments.iter().zip([FIRST_MOMENT, SECOND_MOMENT]) {
            state.append(&mut to_host(moments, prefix)?);
        }
        Ok(state)
    }

    fn restore(&mut self, mut state: Tensors) -> Result<()> {
        let weights = self.take_weights(&mut state)?;
        let mut moments = <[Tensors; 2]>::default();
        if have_moments(&state) {
            for (moments, prefix) in moments.iter_mut().zip([FIRST_MOMENT, SECOND_MOMENT]) {
                *moments = self.take(self.trained(), &mut state, prefix)?;
            }
        }
        none_left(&state)?;
        (self.weights, self.moments, self.frozen) = (weights, moments, Frozen::default());
        Ok(())
    }
}

/// Copies tensors to the host, with a prefix before their names.
fn to_host(tensors: &Tensors, prefix: &str) -> Result<Tensors> {
    tensors.iter().map(|(name, tensor)| Ok((format!("{prefix}{name}"), tensor.to_device(&Device::Cpu)?))).collect()
}
