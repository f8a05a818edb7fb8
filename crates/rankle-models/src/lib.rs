//! Embedding models, and two classifiers, each behind the one trait [`rankle_core::Embedder`].
//!
//! The parameters have the names and shapes of the public PyTorch checkpoints and travel in safetensors files, both ways,
//! without a converter. Forward and backward are this project's own kernels: candle's pooling, ReLU and convolution gradients
//! differ from PyTorch's, and a sign attack follows every such difference. With the feature `candle-transformers` there is
//! [`ConvNext`](Architecture::ConvNext), too, of candle's operations, those of them that are sound.
//!
//! A program brings its own model along as a [`Backbone`].
//!
//! What a classifier embeds an image as is its logits, one number per class.
//!
//! This crate knows no dataset, no attack and no training recipe.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use rankle_core::{Distance, Embedder, Seed};
//! use rankle_models::{Convnet, Layers};
//!
//! let model = Convnet::initialize(Layers::LENET, Distance::Cosine, Seed(0));
//! let embeddings = model.embed(&Tensor::zeros((2, 1, 28, 28), DType::F32, &Device::Cpu)?)?;
//! assert_eq!(embeddings.dims(), [2, 500]);
//! # Ok::<(), rankle_core::Error>(())
//! ```

mod architecture;
mod backbone;
mod batch;
mod convnet;
mod convnext;
mod dense;
mod foreign;
mod image_format;
mod resnet;
mod softmax;
pub mod weights;

pub use architecture::Architecture;
pub use backbone::{Backbone, Initialize};
pub use convnet::{Convnet, Layers};
#[cfg(feature = "candle-transformers")]
pub use convnext::ConvNext;
pub use convnext::Scale;
pub use image_format::ImageFormat;
pub use rankle_kernels::{Isa, peak};
pub use resnet::ResNet18;
pub use softmax::SoftmaxRegression;
