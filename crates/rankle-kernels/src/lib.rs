//! Fast CPU kernels on slices: convolutions, dense layers, pooling, normalization, distances, ranks and Adam.
//!
//! All matrix products use one inner loop, a tile held in registers, written once and compiled for every instruction set
//! ([`Isa`]): AVX-512, AVX2 with FMA, NEON, and plain Rust for all other machines. The set is chosen at run time; no compiler
//! flag is needed. Every set that the machine has is tested against slow oracles; `cargo xtask test --emulate aarch64` runs the
//! same tests with NEON under QEMU on any other Linux machine.
//!
//! - [`conv`]: convolution, bias, optional ReLU and pooling as one block, with sparse gradients;
//! - [`dense`]: dense layers on packed weights; [`matmul`]: products of matrices that change from call to call;
//! - [`distance`]: distances to a gallery, ranks by counting, hinge sums with their gradient;
//! - [`maps`]: the layers of deep networks: convolutions of any shape, pooling, batch normalization;
//! - [`planes`]: convolutions of maps in PyTorch's layout: depthwise ones, and any other by columns;
//! - [`features`]: layer normalization, softmax and activation functions;
//! - [`rows`]: normalization; [`adam`]: the optimizer; [`peak`]: the peak rate of the machine.
//!
//! Within one instruction set every result is the same to the last bit, whatever the batch size and the number of threads:
//! each number is a chain of additions in an order that depends on the shapes of the model alone.
//!
//! No safe call reads or writes outside of the slices it is given: sizes that do not fit each other end in a panic. Threads
//! come from the caller's rayon pool.
//!
//! Left out: tensors and random numbers (`rankle-core`), models (`rankle-models`), files.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle_models`](../rankle_models/index.html), [`rankle_train`](../rankle_train/index.html).
//!
//! ```
//! use rankle_kernels::distance::{Metric, GalleryRows, rank_counts};
//!
//! // Four gallery items on a line, and a query at 1.9: how many items are closer than item 3?
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
pub mod features;
mod finish;
pub mod maps;
pub mod matmul;
pub mod peak;
pub mod planes;
pub mod rows;
mod simd;
mod size;
#[cfg(test)]
mod testing;
mod tile;

pub use aligned::Aligned;
pub use simd::Isa;
