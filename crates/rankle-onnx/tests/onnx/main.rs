//! ONNX files, compared with onnxruntime and PyTorch, and broken ones.

mod attention;
mod common;
mod hostile;
mod parity;
mod suitable;
