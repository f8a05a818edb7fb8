//! ONNX files as white-box models: embeddings and input gradients in one process, without Python.
//!
//! An [`OnnxModel`] reads the graph of a file, computes once whatever does not depend on the pixels, and runs the rest by the
//! differentiable operations of `rankle_ops`, on any device of candle. Weights are frozen. What an exporter cannot say of a model is
//! in its [`Options`]: which result is the embedding, how a map or tokens become one ([`Pool`]), and how photographs become its input.
//!
//! - Versions 11 to 23 of ONNX's operators, of which 11 to 21 are tested, with batches of any size or of one.
//! - All arithmetic is in f32; constants of other types are converted.
//! - Batch normalizations, ReLU and bounds become part of the convolutions before them. What exporters write as several nodes is one again: layer
//!   normalization, GELU, SiLU, hard swish, and products with constant matrices.
//! - Gradients are PyTorch's, corners and ties included. They do not pass through integers, comparisons and rounding.
//!
//! A file may come from anywhere. A damaged or hostile one is an error of one line, within a bounded memory: constants are read
//! from the file and its folder alone and take 8 GiB at most, and no result may have more than 2²⁸ numbers for each image, or for
//! a batch whose size the file declares. A graph whose embeddings depend on the other images of a batch gets one image at a time;
//! if it takes batches of several only, it is refused.
//!
//! | what | operators |
//! |---|---|
//! | convolution and pooling | `Conv`, `MaxPool`, `AveragePool`, `GlobalAveragePool`, `GlobalMaxPool` |
//! | activations | `Relu`, `LeakyRelu`, `PRelu`, `Clip`, `Elu`, `Selu`, `Sigmoid`, `HardSigmoid`, `HardSwish`, `Tanh`, `Gelu`, `Erf`, `Softplus`, `Mish`, `Softmax`, `LogSoftmax` |
//! | products | `Gemm`, `MatMul`, `Einsum` |
//! | normalization | `BatchNormalization`, `LayerNormalization`, `InstanceNormalization`, `GroupNormalization`, `LpNormalization` |
//! | arithmetic | `Add`, `Sub`, `Mul`, `Div`, `Mod`, `Pow`, `Min`, `Max`, `Mean`, `Sum`, `Neg`, `Abs`, `Sign`, `Reciprocal`, `Sqrt`, `Exp`, `Log`, `Sin`, `Cos`, `Floor`, `Ceil`, `Round` |
//! | comparisons | `Equal`, `Less`, `LessOrEqual`, `Greater`, `GreaterOrEqual`, `IsNaN`, `And`, `Or`, `Xor`, `Not`, `Where` |
//! | reductions | `ReduceMean`, `ReduceSum`, `ReduceMax`, `ReduceMin`, `ReduceProd`, `ReduceL1`, `ReduceL2`, `ReduceSumSquare`, `CumSum` |
//! | shapes | `Shape`, `Size`, `Reshape`, `Flatten`, `Transpose`, `Squeeze`, `Unsqueeze`, `Expand`, `Tile`, `DepthToSpace`, `SpaceToDepth`, `Identity`, `Dropout` |
//! | parts | `Gather`, `Slice`, `Split`, `Concat`, `Pad`, `ScatterND`, `Resize` |
//! | constants | `Constant`, `ConstantOfShape`, `Range`, `Cast`, `CastLike` |
//!
//! Left out: control flow, recurrent and quantized operators, convolutions and poolings in one or three dimensions, dilated pooling,
//! resizing with antialiasing, operators outside of ONNX's own domain, training, and other programs than one's own
//! (`--model exec:` of `rankle`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle_ops`](../rankle_ops/index.html), [`rankle_models`](../rankle_models/index.html), [`rankle`](../rankle/index.html).
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use rankle_core::{Differentiable, Distance, Embedder, Place};
//! use rankle_onnx::{OnnxModel, Options};
//!
//! // A MobileNetV2 that torch.onnx.export wrote, much smaller than the usual one.
//! let (file, options) = Options::parse("tests/fixtures/mobilenet_v2-script-13.onnx,mean=0.5,std=0.25")?;
//! # let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
//! let model = OnnxModel::load(&file, &options, Distance::Cosine, &Place::Kernels)?;
//! assert_eq!(model.input().shape, (3, 32, 32));
//!
//! let images = Tensor::full(0.5f32, (2, 3, 32, 32), &Device::Cpu)?;
//! assert_eq!(model.embed(&images)?.dims(), [2, 32]);
//! // The gradient of the sum of all embeddings with respect to the pixels.
//! let gradient = model.input_gradient(&images, &mut |embeddings| Ok(embeddings.ones_like()?))?;
//! assert_eq!(gradient.dims(), images.dims());
//! # Ok::<(), rankle_core::Error>(())
//! ```
#![forbid(unsafe_code)]

mod constant;
mod differentiable;
mod external;
mod fusion;
mod graph;
mod hint;
mod model;
mod node;
mod operators;
mod options;
mod program;
mod proto;
mod wire;

pub use model::OnnxModel;
pub use options::{Layout, Options, Pool};
