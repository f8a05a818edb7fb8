//! Fast CPU kernels: slices in, slices out.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod adam;
mod aligned;
pub mod conv;
pub mod dense;
pub mod distance;
pub mod rows;
mod simd;
#[cfg(test)]
mod testing;
mod tile;

pub use aligned::Aligned;
pub use simd::Isa;
