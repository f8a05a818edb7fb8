//! The shape of a block, and the layout of its numbers.

use crate::size::{product, sum, whole};

/// A convolution of stride 1, with or without ReLU behind it, followed by a 2×2 max pooling.
///
/// The convolution's output has `height + 2 * padding - kernel + 1` rows, and columns likewise; both are even, so that the
/// windows of the pooling leave nothing over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the kernel; 1, 3, 5 or 7 when there is one input channel.
    pub kernel: usize,
    /// Zeros on each side of the input.
    pub padding: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// True if there is a ReLU between convolution and pooling.
    pub relu: bool,
}

/// Most numbers in a register: lists and tables of the gradients are read and written in full registers.
pub(super) const REGISTER: usize = 16;

impl ConvShape {
    /// Numbers in one row of the padded input.
    pub const fn padded_row(&self) -> usize {
        product([padded(self.width, self.padding), self.inputs])
    }
    /// Numbers in the padded input, with the few behind it that belong to the last full register.
    pub const fn padded_len(&self) -> usize {
        let behind = self.table_row().saturating_sub(self.kernel_row());
        sum([product([padded(self.height, self.padding), self.padded_row()]), behind])
    }
    /// Start of the image in the padded input.
    pub const fn padded_origin(&self) -> usize {
        product([self.padding, sum([self.padded_row(), self.inputs])])
    }
    /// Rows of the pooled output.
    pub const fn pooled_height(&self) -> usize {
        self.computed(self.height) / 2
    }
    /// Columns of the pooled output.
    pub const fn pooled_width(&self) -> usize {
        self.computed(self.width) / 2
    }
    /// Numbers in one row of the pooled output.
    pub const fn pooled_row(&self) -> usize {
        product([self.pooled_width(), self.outputs])
    }
    /// Numbers in the pooled output.
    pub const fn pooled_len(&self) -> usize {
        product([self.pooled_height(), self.pooled_row()])
    }
    /// Numbers in the weights.
    pub const fn weights_len(&self) -> usize {
        product([self.outputs, self.inputs, self.kernel, self.kernel])
    }
    /// Numbers in the packed weight gradient, before [`super::ConvBlock::unpack_gradient`].
    pub const fn gradient_len(&self) -> usize {
        product([self.kernel, self.outputs, self.table_row()])
    }
    /// Outputs of the convolution along a side of the image, before the pooling; 0 if the kernel is larger than the padded side.
    const fn computed(&self, side: usize) -> usize {
        sum([padded(side, self.padding), 1]).saturating_sub(self.kernel)
    }
    /// The rows of the kernel that are on the image, not on the padding, when the convolution computes row `y`.
    pub(super) fn rows_on_image(&self, y: usize) -> std::ops::Range<usize> {
        let first = self.padding.saturating_sub(y).min(self.kernel);
        first..(self.padding + self.height).saturating_sub(y).clamp(first, self.kernel)
    }
    /// Contiguous numbers under one row of the kernel.
    pub(super) const fn kernel_row(&self) -> usize {
        product([self.kernel, self.inputs])
    }
    /// Numbers in a row of the gradients' tables: a kernel row, filled up to full registers. With one input channel the rows
    /// are too short for registers, and the gradients use patches instead.
    pub(super) const fn table_row(&self) -> usize {
        if self.inputs == 1 { self.kernel_row() } else { whole(self.kernel_row(), REGISTER) }
    }
    /// Position in PyTorch's weight layout `(outputs, inputs, kernel, kernel)`; `tap` counts along a kernel row,
    /// channel fastest.
    pub(super) const fn torch(&self, output: usize, ky: usize, tap: usize) -> usize {
        ((output * self.inputs + tap % self.inputs) * self.kernel + ky) * self.kernel + tap / self.inputs
    }
    /// Panics on shapes that the kernels cannot compute: they use raw pointers. In a shape that passes no size wraps, so
    /// positions are computed with plain arithmetic.
    pub(super) fn check(&self) {
        let Self { inputs, outputs, kernel, height, width, .. } = *self;
        assert!(
            outputs > 0 && inputs > 0 && kernel > 0 && height > 0 && width > 0,
            "a convolution block without numbers: {self:?}"
        );
        let (rows, columns) = (self.computed(height), self.computed(width));
        assert!(rows > 0 && columns > 0, "the kernel is larger than the padded image: {self:?}");
        assert!(
            rows.is_multiple_of(2) && columns.is_multiple_of(2),
            "2x2 pooling needs an even number of rows and of columns: {self:?}"
        );
        assert!(
            inputs > 1 || matches!(kernel, 1 | 3 | 5 | 7),
            "with one input channel the kernel's side is 1, 3, 5 or 7: {self:?}"
        );
        // Lists of the gradients hold positions in 32 bits.
        assert!(
            product([outputs, self.table_row()]) <= u32::MAX as usize && self.padded_len() <= u32::MAX as usize,
            "a block too large: {self:?}"
        );
    }
}

/// A side of the image with the zeros on both ends.
const fn padded(side: usize, padding: usize) -> usize {
    sum([side, padding, padding])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_rows_on_the_image() {
        let shape = ConvShape { inputs: 2, outputs: 1, kernel: 5, padding: 2, height: 2, width: 2, relu: true };
        assert_eq!([0, 1].map(|y| shape.rows_on_image(y)), [2..4, 1..3]);
        let far = ConvShape { kernel: 1, ..shape };
        assert_eq!([0, 1, 2, 3, 4, 5].map(|y| far.rows_on_image(y).len()), [0, 0, 1, 1, 0, 0]);
    }
}
