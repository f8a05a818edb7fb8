//! The networks, compared with PyTorch, with differences and with themselves.

mod bad_batches;
mod bad_weights;
mod convnext;
mod determinism;
mod dropout;
mod expressions;
mod families;
mod finite_differences;
mod pytorch_parity;
mod resnet_initialization;
mod resnet_parity;
mod resnet_training;
mod softmax;
mod support;
