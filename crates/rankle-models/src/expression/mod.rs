//! Networks as expressions in differentiable operations, on any device of candle.
//!
//! An [`Expression`] is a network without weights: the list of its parameters and a forward pass in operations of [`rankle_ops`].
//! A [`TensorModel`] joins it with weights on a device and does the rest: embeddings, input gradients, training by the tape. All
//! networks of this crate are expressions; on the CPU the networks with kernels of their own are faster and remain the default.

mod frozen;
mod initialization;
mod model;
mod pass;

pub use model::TensorModel;
pub use pass::Pass;

use candle_core::Tensor;
use rankle_core::InputSpec;

/// A network as an expression in differentiable operations, without weights.
pub trait Expression: Send + Sync {
    /// The images that the network takes.
    fn input(&self) -> InputSpec;

    /// Dimension of the embeddings.
    fn embedding_size(&self) -> usize;

    /// Parameters and running statistics in the order of the forward pass, under the names of the weights file.
    fn parameters(&self) -> Vec<Parameter>;

    /// Embeds images `(n, c, h, w)`, pixels in `[0, 1]`, as `(n, d)`, with the weights and in the mode of `pass`.
    ///
    /// # Errors
    /// Errors of the operations, and a parameter that [`Expression::parameters`] does not list.
    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> candle_core::Result<Tensor>;

    /// True for a tensor that files of weights hold beside the parameters and that has no part in the embedding, as a classifier.
    fn ignores(&self, _name: &str) -> bool {
        false
    }

    /// Names of the layers at which training can begin. All parameters listed before the first one whose name begins with the
    /// layer's name and a dot are then frozen.
    fn stages(&self) -> &'static [&'static str] {
        &[]
    }

    /// Standard deviation of the normal distribution that a new weight of two or more dimensions is drawn from; by default
    /// `√(2/fan_out)`, Kaiming initialization for ReLU.
    fn deviation(&self, shape: &[usize]) -> f64 {
        let fan_out: usize = shape.iter().enumerate().filter(|(dimension, _)| *dimension != 1).map(|(_, size)| size).product();
        (2.0 / fan_out as f64).sqrt()
    }
}

/// A parameter of a network, or a running statistic of its normalization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Name in the weights file.
    pub name: String,
    /// Shape in PyTorch.
    pub shape: Vec<usize>,
    /// True if an optimizer updates it; false for a running statistic, which follows the batches.
    pub trained: bool,
}

impl Parameter {
    /// A parameter that an optimizer updates.
    pub fn trained(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into(), trained: true }
    }

    /// `NAME.weight` of this shape and `NAME.bias` with one number per output.
    pub fn layer(name: &str, shape: impl Into<Vec<usize>>) -> [Self; 2] {
        let shape = shape.into();
        let outputs = shape.first().copied().unwrap_or_default();
        [Self::trained(format!("{name}.weight"), shape), Self::trained(format!("{name}.bias"), [outputs])]
    }

    /// Weight, bias and running statistics of a batch normalization.
    pub fn batch_norm(name: &str, channels: usize) -> [Self; 4] {
        let [weight, bias] = Self::layer(name, [channels]);
        let running = |what| Self { trained: false, ..Self::trained(format!("{name}.{what}"), [channels]) };
        [weight, bias, running(RUNNING_MEAN), running(RUNNING_VARIANCE)]
    }
}

/// Endings of the names of running statistics.
const RUNNING_MEAN: &str = "running_mean";
const RUNNING_VARIANCE: &str = "running_var";
