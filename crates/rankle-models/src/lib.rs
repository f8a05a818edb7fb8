//! Embedding networks (C2F2, LeNet, ResNet, MobileNetV2, ConvNeXt, vision transformers) and two classifiers, each an
//! [`Embedder`](rankle_core::Embedder).
//!
//! Parameters have the names and shapes of the public PyTorch checkpoints; safetensors files are read and written without a
//! converter. Each network exists as an [`Expression`] in the operations of `rankle_ops`, which a [`TensorModel`] runs and trains
//! on any device of candle; the smaller ones exist on this project's own kernels, too, which are faster on the CPU and its
//! default. A classifier embeds an image as its logits, one per class. A program adds its own model as a [`Backbone`].
//! [`Architecture::from_config`] finds the network of public weights by the configuration files beside them.
//!
//! Datasets are in `rankle_data`, attacks in `rankle_attacks`, losses and the training loop in `rankle_train`.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle_kernels`](../rankle_kernels/index.html), [`rankle_ops`](../rankle_ops/index.html),
//! [`rankle_registry`](../rankle_registry/index.html), [`rankle_train`](../rankle_train/index.html), [`rankle`](../rankle/index.html).
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
mod conv_norm;
mod convnet;
mod convnext;
mod dense;
mod dropout;
mod expression;
mod foreign;
mod from_config;
mod image_format;
mod mobilenet;
mod normalization;
mod numbered;
mod resnet;
mod softmax;
mod vit;
pub mod weights;

pub use architecture::Architecture;
pub use backbone::{Backbone, Initialize};
pub use convnet::{Convnet, Layers};
pub use convnext::{ConvNext, Scale};
pub use expression::{Expression, Parameter, Pass, TensorModel};
pub use image_format::ImageFormat;
pub use mobilenet::{MobileNetV2, Naming};
pub use normalization::Normalization;
pub use rankle_kernels::{Isa, peak};
pub use resnet::ResNet18;
pub use softmax::SoftmaxRegression;
pub use vit::{Activation, Vit, VitKind};
