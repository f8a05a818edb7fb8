//! Layers of deep networks on feature maps: convolutions of any shape, pooling, batch normalization.
//!
//! A stack of maps is laid out `[height][width][images][channels]`: one pixel of all images of a chunk is contiguous. So a tile
//! of a matrix product takes its rows from neighboring pixels and from neighboring images alike, and maps of a single pixel, as
//! at the end of deep networks, fill it as well as large ones. Maps have no padding: where a kernel reaches over the border, the
//! taps outside are left out of the sum instead of being multiplied by zeros.
//!
//! - [`Conv`]: a convolution, its input gradient (also a gather, without zero insertion) and its weight gradient;
//!   3x3 convolutions need fewer multiplications with filters from [`Conv::winograd`];
//! - [`Finish`]: the last step of a convolution, on sums in the cache: bias, shortcut, ReLU, and their backward pass;
//! - [`MaxPool`], [`mean_of_pixels`]: pooling;
//! - [`PooledGradient`]: the input gradient through a pooling, a ReLU and the convolution before them, by lists of live channels;
//! - [`norm`]: batch normalization in training (a frozen one is folded into the filters);
//! - [`Shuffle`]: an image to a map and back, with mean and standard deviation; a stride of 2 becomes four times the channels.
//!
//! [`Conv`] is for networks of many layers; for two convolutions with their poolings, [`crate::conv`] is faster.

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
pub use finish::{Finish, relu_backward};
pub use pool::{MaxPool, StackIndex, mean_of_pixels, mean_of_pixels_backward};
pub use pooled_gradient::PooledGradient;
pub use shuffle::Shuffle;
pub use weight_gradient::Stack;
