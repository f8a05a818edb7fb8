//! Convolution, bias, ReLU and 2×2 max pooling as one block, with both gradients.
//!
//! Images are padded and channel-last: a kernel row of `kernel * inputs` numbers is contiguous, so the convolution is a
//! tile of a matrix product on the image itself. Two rows of sums stay in the first-level cache until they are pooled;
//! what is kept is the pooled value and one byte: which of the four positions won.
//!
//! Behind a 2×2 pooling at most every fourth sum has a gradient, and ReLU silences more. The gradients therefore go through
//! lists of the live ones instead of through a dense convolution.

mod add_rows;
mod forward;
mod input_gradient;
#[cfg(test)]
mod tests;
mod weight_gradient;

use crate::aligned::Aligned;
use crate::simd::Isa;

/// The winner of a pooling window that ReLU silenced. Windows with a live winner hold 0 to 3: row by row, left to right; of
/// equal values the first wins, as in PyTorch.
pub const SILENT: u8 = 4;

/// A convolution of stride 1 whose output is as large as its input, followed by ReLU and a 2×2 max pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output: a multiple of 32.
    pub outputs: usize,
    /// Side of the kernel: odd; at most 7 when there is one input channel.
    pub kernel: usize,
    /// Rows of the input: even.
    pub height: usize,
    /// Columns of the input: even.
    pub width: usize,
}

impl ConvShape {
    /// Zeros on each side of the input.
    pub fn padding(&self) -> usize {
        self.kernel / 2
    }
    /// Numbers in one row of the padded input.
    pub fn padded_row(&self) -> usize {
        (self.width + 2 * self.padding()) * self.inputs
    }
    /// Numbers in the padded input.
    pub fn padded_len(&self) -> usize {
        (self.height + 2 * self.padding()) * self.padded_row()
    }
    /// Where the image starts in the padded input.
    pub fn padded_origin(&self) -> usize {
        self.padding() * (self.padded_row() + self.inputs)
    }
    /// Numbers in the pooled output.
    pub fn pooled_len(&self) -> usize {
        self.height / 2 * (self.width / 2) * self.outputs
    }
    /// Numbers in the weights.
    pub fn weights_len(&self) -> usize {
        self.outputs * self.inputs * self.kernel * self.kernel
    }
    /// Contiguous numbers under one row of the kernel.
    fn kernel_row(&self) -> usize {
        self.kernel * self.inputs
    }
    /// Position in PyTorch's weight layout `(outputs, inputs, kernel, kernel)`; `tap` counts along a kernel row,
    /// channel fastest.
    fn torch(&self, output: usize, ky: usize, tap: usize) -> usize {
        ((output * self.inputs + tap % self.inputs) * self.kernel + ky) * self.kernel + tap / self.inputs
    }
}

/// Where pooled rows lie in memory: the pooled output of one block is the inside of the padded input of the next.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Position of the first number.
    pub origin: usize,
    /// Numbers from one row to the next.
    pub stride: usize,
}

/// The gradient of a block's pooled output, with what the forward pass kept of it.
#[derive(Clone, Copy, Debug)]
pub struct PooledSlope<'a> {
    /// Pooled rows, as `rows` says.
    pub values: &'a [f32],
    /// Where they lie.
    pub rows: Rows,
    /// Which position won, [`ConvShape::pooled_len`] bytes, channel fastest.
    pub winners: &'a [u8],
}

impl<'a> PooledSlope<'a> {
    /// Checks the sizes.
    fn check(&self, shape: ConvShape) {
        let last_row = self.rows.origin + (shape.height / 2 - 1) * self.rows.stride;
        assert!(self.winners.len() == shape.pooled_len(), "one winner per pooled number");
        assert!(self.values.len() >= last_row + shape.width / 2 * shape.outputs, "the slope of every pooled number");
    }
    /// The windows, row by row: of each the winners and the slopes of all channels.
    #[inline(always)]
    fn windows(self, shape: ConvShape) -> impl Iterator<Item = (&'a [u8], &'a [f32])> {
        let (outputs, half) = (shape.outputs, shape.width / 2);
        self.winners.chunks_exact(outputs).enumerate().map(move |(window, winners)| {
            let at = self.rows.origin + window / half * self.rows.stride + window % half * outputs;
            (winners, &self.values[at..][..outputs])
        })
    }
}

/// Working memory of one thread.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    sums: Vec<f32>,
    values: Vec<f32>,
    places: Vec<u32>,
    counts: Vec<usize>,
}

/// A [`ConvShape`] with weights, packed for both directions.
#[derive(Clone, Debug)]
pub struct ConvBlock {
    shape: ConvShape,
    isa: Isa,
    bias: Vec<f32>,
    /// `[outputs / panel][kernel * kernel * inputs][panel]`.
    forward: Aligned,
    /// Many input channels: `[kernel][outputs][kernel * inputs]`. One input channel: `[5 winners][outputs][PATCH]`, the kernel
    /// shifted to each of the four positions of a window, and zeros for the silent one.
    backward: Aligned,
}

/// The footprint of a pooling window on a one-channel image: up to 8 columns in each of `kernel + 1` rows.
const PATCH_ROW: usize = 8;

impl ConvBlock {
    /// Packs PyTorch's weights `(outputs, inputs, kernel, kernel)` and bias.
    pub fn new(isa: Isa, shape: ConvShape, weight: &[f32], bias: &[f32]) -> Self {
        let ConvShape { outputs, inputs, kernel, height, width } = shape;
        assert!(outputs > 0 && inputs > 0 && height > 0 && width > 0, "a convolution block without numbers");
        assert!(outputs % 32 == 0 && kernel % 2 == 1 && height % 2 == 0 && width % 2 == 0, "shape of a convolution block");
        assert!(weight.len() == shape.weights_len() && bias.len() == outputs, "sizes of a convolution's parameters");
        assert!(if inputs == 1 { kernel < PATCH_ROW } else { shape.kernel_row().is_multiple_of(16) }, "kernel rows");
        // Lists of the gradients hold places in 32 bits.
        assert!(
            outputs * shape.kernel_row() <= u32::MAX as usize && shape.padded_len() <= u32::MAX as usize,
            "a block too large"
        );
        let (panel, row) = (isa.panel(), shape.kernel_row());
        let mut forward = Aligned::zeros(outputs * kernel * row);
        for output in 0..outputs {
            for ky in 0..kernel {
                for tap in 0..row {
                    let inner = ky * row + tap;
                    forward[(output / panel * kernel * row + inner) * panel + output % panel] =
                        weight[shape.torch(output, ky, tap)];
                }
            }
        }
        let mut backward;
        if inputs == 1 {
            let patch = patch_len(kernel);
            backward = Aligned::zeros(5 * outputs * patch);
            for winner in 0..4 {
                for output in 0..outputs {
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let place = (ky + winner / 2) * PATCH_ROW + kx + winner % 2;
                            backward[(winner * outputs + output) * patch + place] = weight[shape.torch(output, ky, kx)];
                        }
                    }
                }
            }
        } else {
            backward = Aligned::zeros(kernel * outputs * row);
            for ky in 0..kernel {
                for output in 0..outputs {
                    for tap in 0..row {
                        backward[(ky * outputs + output) * row + tap] = weight[shape.torch(output, ky, tap)];
                    }
                }
            }
        }
        Self { shape, isa, bias: bias.to_vec(), forward, backward }
    }

    /// The shape.
    pub fn shape(&self) -> ConvShape {
        self.shape
    }
}

fn patch_len(kernel: usize) -> usize {
    (kernel + 1) * PATCH_ROW
}
