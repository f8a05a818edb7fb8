//! Differentiable operations on candle tensors, f32 and f64, whose gradients are right on every device.
//!
//! candle 0.11 differentiates a tape of its own operations, but not all of them rightly: ReLU passes the gradient at 0, max
//! pooling divides it by the size of the window, a convolution may fail on odd sizes and always computes the gradients of its
//! weights. The operations here have the gradients of PyTorch, corners and ties included. Each joins candle's tape with a
//! backward function of its own ([`attach`]), so they mix freely with candle's operations, and
//! [`Tensor::backward`](candle_core::Tensor::backward) differentiates through both.
//!
//! - convolution and pooling: [`conv2d`], and with weights that stay [`FrozenConv2d`], [`max_pool2d`], [`avg_pool2d`], [`global_avg_pool`];
//! - activations: [`relu`], [`relu6`], [`clip`], [`leaky_relu`], [`sigmoid`], [`hard_sigmoid`], [`hard_swish`], [`silu`],
//!   [`tanh`](fn@tanh), [`gelu`], [`gelu_tanh`], [`erf`];
//! - products: [`linear`], and with weights that stay [`FrozenLinear`], [`matmul`];
//! - normalization: [`batch_norm`], [`batch_norm_training`], [`layer_norm`], [`softmax`], [`normalize_pixels`], [`unit_rows`];
//! - attention: [`attention`], [`self_attention`];
//! - gradients of all of them together: [`Recorded`], with backward functions for candle's operations: [`record`], [`record_view`],
//!   [`add`], [`narrow`]; of a batch in pieces: [`Pieces`];
//! - resampling of images: [`resize`].
//!
//! Everything is computed by candle's operations on the device of the inputs, and nothing is read back to the host. On the CPU,
//! what candle is slow at in f32 is computed by `rankle-kernels`. Weights that are not on the tape are frozen: no gradient is
//! computed for them.
//!
//! An argument that does not fit is an error of one line that names the shapes, never a panic. NaN and infinity are no errors:
//! they go through, as the documentation of each operation says.
//!
//! Left out: second derivatives, half precision, dropout and other random operations, models and their files (`rankle-models`),
//! and the fastest arithmetic for one known network on the CPU (`rankle-kernels`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_kernels`](../rankle_kernels/index.html),
//! [`rankle_models`](../rankle_models/index.html).
//!
//! ```
//! use candle_core::{Device, Result, Tensor, Var};
//! use rankle_ops::{Conv2d, Padding, Pool};
//! use rankle_ops::{batch_norm, conv2d, gelu, layer_norm, linear, matmul, max_pool2d, relu, softmax};
//!
//! /// Weights of a small backbone: a convolution, then one layer of attention.
//! struct Backbone {
//!     kernels: Tensor,
//!     mean: Tensor,
//!     variance: Tensor,
//!     projection: Tensor,
//! }
//!
//! impl Backbone {
//!     /// `(n, 3, 8, 8)` to `(n, 4)`.
//!     fn embed(&self, images: &Tensor) -> Result<Tensor> {
//!         let options = Conv2d { padding: Padding::even(1), ..Conv2d::default() };
//!         let maps = conv2d(images, &self.kernels, None, &options)?;
//!         let maps = relu(&batch_norm(&maps, &self.mean, &self.variance, None, None, 1e-5)?)?;
//!         let maps = max_pool2d(&maps, &Pool::new(2, 2, 0))?; // (n, 6, 4, 4)
//!         let tokens = layer_norm(&maps.flatten_from(2)?.transpose(1, 2)?, None, None, 1e-6)?; // (n, 16, 6)
//!         let attention = softmax(&(matmul(&tokens, &tokens.transpose(1, 2)?)? / 6f64.sqrt())?)?;
//!         let tokens = gelu(&matmul(&attention, &tokens)?)?;
//!         linear(&tokens.mean(1)?, &self.projection, None)
//!     }
//! }
//!
//! # /// Numbers between -1 and 1.
//! # fn numbers(shape: &[usize]) -> Result<Tensor> {
//! #     let len = shape.iter().product::<usize>();
//! #     (Tensor::arange(0.0, len as f64, &Device::Cpu)?.sqr()? * 0.7)?.sin()?.reshape(shape)
//! # }
//! let model = Backbone {
//!     kernels: numbers(&[6, 3, 3, 3])?,
//!     mean: numbers(&[6])?,
//!     variance: (numbers(&[6])? + 1.5)?,
//!     projection: numbers(&[4, 6])?,
//! };
//!
//! // The gradient of the sum of all embeddings with respect to the images.
//! let images = Var::from_tensor(&numbers(&[2, 3, 8, 8])?)?;
//! let gradients = model.embed(&images)?.sum_all()?.backward()?;
//! let gradient = gradients.get(&images).unwrap();
//! assert!(gradients.get(&model.kernels).is_none()); // frozen
//!
//! // Along any direction it is the slope of that sum.
//! let direction = numbers(&[2, 3, 8, 8])?.cos()?;
//! let sum = |step: f64| model.embed(&(images.as_detached_tensor() + (&direction * step)?)?)?.sum_all()?.to_scalar::<f64>();
//! let slope = (sum(1e-6)? - sum(-1e-6)?) / 2e-6;
//! let along = (gradient * &direction)?.sum_all()?.to_scalar::<f64>()?;
//! assert!((slope - along).abs() < 1e-6 * slope.abs(), "{slope} {along}");
//! # Ok::<(), candle_core::Error>(())
//! ```
#![forbid(unsafe_code)]

mod activation;
mod attach;
mod attention;
mod check;
mod conv;
mod cpu;
mod linear;
mod norm;
mod padding;
mod pieces;
mod pool;
mod resize;
mod softmax;
mod tape;

pub use activation::{clip, erf, gelu, gelu_tanh, hard_sigmoid, hard_swish, leaky_relu, relu, relu6, sigmoid, silu, tanh};
pub use attach::attach;
pub use attention::{attention, self_attention};
pub use conv::{Conv2d, FrozenConv2d, conv2d};
pub use linear::{FrozenLinear, linear, matmul};
pub use norm::{BatchStatistics, batch_norm, batch_norm_training, layer_norm, normalize_pixels, unit_rows};
pub use padding::Padding;
pub use pieces::Pieces;
pub use pool::{Pool, avg_pool2d, global_avg_pool, max_pool2d};
pub use resize::{Filter, Resize, resize};
pub use softmax::softmax;
pub use tape::{Recorded, add, narrow, record, record_view};
