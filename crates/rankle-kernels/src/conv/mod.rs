//! Convolution, bias, optional ReLU and 2×2 max pooling as one block, with input and weight gradients.
//!
//! Images are padded and channel-last: a kernel row of `kernel * inputs` numbers is contiguous, so the convolution is a
//! tile of a matrix product on the image itself. Two rows of sums stay in the first-level cache until they are pooled; the
//! block stores the pooled value and one byte: the position of the four that won.
//!
//! Behind a 2×2 pooling at most every fourth sum has a gradient, and ReLU silences more. The gradients therefore use lists of
//! the live sums instead of a dense convolution.
//!
//! Any number of channels, any padding, any kernel (see [`ConvShape::kernel`] for one input channel). Incomplete registers are
//! filled up: sums with unused columns, windows with silent channels, tables with zeros. Left out: strides, and pooling that
//! leaves a row or a column over.

mod forward;
mod input_gradient;
mod pooled;
mod shape;
#[cfg(test)]
mod tests;
mod weight_gradient;

pub use pooled::{PooledRows, PooledUpstream, SILENT};
pub use shape::ConvShape;

use crate::aligned::Aligned;
use crate::simd::Isa;
use crate::size::{product, whole};

/// Working memory of one thread.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    sums: Vec<f32>,
    values: Vec<f32>,
    places: Vec<u32>,
    counts: Vec<usize>,
    room: pooled::Room,
}

/// A [`ConvShape`] with weights, packed for both directions.
#[derive(Clone, Debug)]
pub struct ConvBlock {
    shape: ConvShape,
    isa: Isa,
    bias: Vec<f32>,
    /// `[outputs / panel, rounded up][kernel * kernel * inputs][panel]`.
    forward: Aligned,
    /// Many input channels: `[kernel][outputs][table_row]`. One input channel: `[5 winners][pairs of outputs][2][patch_len]`, the
    /// kernel shifted to each of the four positions of a window, and zeros for a silent window.
    backward: Aligned,
}

/// Columns of a patch, the pixels under a pooling window of a one-channel image: up to 8 in each of `kernel + 1` rows.
const PATCH_ROW: usize = 8;

impl ConvBlock {
    /// Packs PyTorch's weights `(outputs, inputs, kernel, kernel)` and bias.
    pub fn new(isa: Isa, shape: ConvShape, weight: &[f32], bias: &[f32]) -> Self {
        shape.check();
        assert!(weight.len() == shape.weights_len() && bias.len() == shape.outputs, "sizes of a convolution's parameters");
        let backward = if shape.inputs == 1 { patches(shape, weight) } else { table(shape, weight) };
        Self { shape, isa, bias: bias.to_vec(), forward: panels(isa, shape, weight), backward }
    }

    /// Shape of the block.
    pub fn shape(&self) -> ConvShape {
        self.shape
    }
}

/// The weights for the forward pass.
fn panels(isa: Isa, shape: ConvShape, weight: &[f32]) -> Aligned {
    let (panel, row) = (isa.panel(), shape.kernel_row());
    let inner = shape.kernel * row;
    let mut panels = Aligned::zeros(product([whole(shape.outputs, panel), inner]));
    for output in 0..shape.outputs {
        for ky in 0..shape.kernel {
            for tap in 0..row {
                let place = (output / panel * inner + ky * row + tap) * panel + output % panel;
                panels[place] = weight[shape.torch(output, ky, tap)];
            }
        }
    }
    panels
}

/// The weights for the input gradient of many input channels.
fn table(shape: ConvShape, weight: &[f32]) -> Aligned {
    let mut table = Aligned::zeros(shape.gradient_len());
    for ky in 0..shape.kernel {
        for output in 0..shape.outputs {
            for tap in 0..shape.kernel_row() {
                table[(ky * shape.outputs + output) * shape.table_row() + tap] = weight[shape.torch(output, ky, tap)];
            }
        }
    }
    table
}

/// The weights for the input gradient of one input channel.
fn patches(shape: ConvShape, weight: &[f32]) -> Aligned {
    let patch = patch_len(shape.kernel);
    let mut patches = Aligned::zeros(product([5, paired(shape.outputs), patch]));
    for winner in 0..4 {
        for output in 0..shape.outputs {
            for ky in 0..shape.kernel {
                for kx in 0..shape.kernel {
                    let place = (ky + winner / 2) * PATCH_ROW + kx + winner % 2;
                    patches[(winner * paired(shape.outputs) + output) * patch + place] = weight[shape.torch(output, ky, kx)];
                }
            }
        }
    }
    patches
}

/// Number of channels of the patches: even, since they are added in pairs.
fn paired(outputs: usize) -> usize {
    whole(outputs, 2)
}

fn patch_len(kernel: usize) -> usize {
    (kernel + 1) * PATCH_ROW
}
