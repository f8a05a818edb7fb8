//! Fast CPU kernels: slices in, slices out.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod distance;
