//! Feature maps of deep networks: convolutions of any shape, pooling, batch normalization.
//!
//! A stack of maps is laid out `[height][width][images][channels]`: one pixel of all images of a chunk lies together. So a tile
//! of a matrix product takes its rows from neighboring pixels and from neighboring images alike, and maps of a single pixel,
//! as deep networks end in, fill it as well as large ones. Maps have no padding: where a kernel reaches over the border, the
//! taps outside are left out of the sum instead of being multiplied by zeros.
//!
//! - [`Conv`]: a convolution, its input gradient (a gather as well: no zero insertion) and its weight gradient;
//!   3x3 ones run with fewer multiplications on filters that [`Conv::minimal`] made;
//! - [`Finish`]: what a convolution does to its sums while they are in the cache: bias, shortcut, ReLU, and the way back;
//! - [`MaxPool`], [`mean_of_pixels`]: pooling;
//! - [`PooledGradient`]: back through a pooling, a ReLU and the convolution in front of them, by lists of the live;
//! - [`norm`]: batch normalization in training (a frozen one is folded into the filters);
//! - [`Shuffle`]: from an image and back, with mean and standard deviation; a stride of 2 becomes four channels.
//!
//! [`Conv`] serves networks whose layers are many; for two convolutions with their poolings, [`crate::conv`] is faster.

mod axis;
mod convolution;
mod filters;
mod finish;
pub mod norm;
mod pool;
mod pooled_gradient;
mod shuffle;
#[cfg(test)]
mod tests;
mod weight_gradient;
mod winograd;

pub use convolution::{Conv, ConvShape};
pub use finish::{Finish, silence};
pub use pool::{InStack, MaxPool, mean_of_pixels, mean_of_pixels_backward};
pub use pooled_gradient::PooledGradient;
pub use shuffle::Shuffle;
pub use weight_gradient::Stack;
