//! Fast CPU kernels: slices in, slices out.
//!
//! Everything is built on one inner loop, a tile of a matrix product held in registers, written once and compiled for every
//! instruction set ([`Isa`]): AVX-512, AVX2 with FMA, NEON, and plain Rust for all other machines. The set is chosen at run
//! time; no compiler flag is needed. All that the machine has are tested against slow oracles; `cargo xtask test --emulate
//! aarch64` runs the same tests with NEON under QEMU on any other Linux machine.
//!
//! - [`conv`]: convolution, bias, ReLU or none, and pooling as one block, with sparse gradients;
//! - [`dense`]: dense layers on packed weights;
//! - [`distance`]: distances to a gallery, ranks by counting, hinge sums with their gradient;
//! - [`maps`]: the layers of deep networks: convolutions of any shape, pooling, batch normalization;
//! - [`rows`]: normalization; [`adam`]: the optimizer; [`peak`]: what the machine could do at the most.
//!
//! Within one instruction set every result is the same to the last bit, whatever the batch size and the number of threads:
//! each number is a chain of additions in an order that depends on nothing but the shapes of the model.
//!
//! No call without `unsafe` leaves the slices it was given: sizes that do not fit each other, whatever they are, end in a panic.
//!
//! Left out: tensors, models, files, random numbers. Threads come from the caller's rayon pool.
//!
//! ```
//! use rankle_kernels::distance::{Metric, GalleryRows, rank_counts};
//!
//! // Four gallery items on a line, and a query at 1.9: how many stand before item 3 in its list?
//! let gallery = GalleryRows::new(&[0.0, 1.0, 2.0, 3.0], 1);
//! let (counts, _) = rank_counts(Metric::Euclidean, &[1.9], &gallery, &[3], 0);
//! assert_eq!(counts[0].closer, 2); // items 2 and 1 are nearer
//! ```
#![deny(unsafe_op_in_unsafe_fn)]

pub mod adam;
mod add_rows;
mod aligned;
pub mod conv;
pub mod dense;
pub mod distance;
pub mod maps;
pub mod peak;
pub mod rows;
mod simd;
mod size;
#[cfg(test)]
mod testing;
mod tile;

pub use aligned::Aligned;
pub use simd::Isa;
