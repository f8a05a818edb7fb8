//! The operations, compared with differences and with PyTorch.

mod activation;
mod attach;
mod attention;
mod common;
mod conv;
mod linear;
mod norm;
mod pool;
mod resize;
mod softmax;
