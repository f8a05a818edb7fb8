//! Padding of images, and the windows that slide over padded images.

use candle_core::{D, Result, Tensor, bail};

/// Rows and columns that are added around images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns on the left.
    pub left: usize,
    /// Columns on the right.
    pub right: usize,
}

impl Padding {
    /// `n` rows or columns on each of the four sides.
    pub const fn even(n: usize) -> Self {
        Self { top: n, bottom: n, left: n, right: n }
    }

    /// What is added before and after: rows for axis 0, columns for axis 1.
    pub(crate) fn along(self, axis: usize) -> [usize; 2] {
        if axis == 0 { [self.top, self.bottom] } else { [self.left, self.right] }
    }

    /// Surrounds images `(n, c, h, w)` with zeros.
    pub(crate) fn with_zeros(self, images: &Tensor) -> Result<Tensor> {
        // Columns first: the larger copy of the two is then one of long runs.
        images.pad_with_zeros(3, self.left, self.right)?.pad_with_zeros(2, self.top, self.bottom)
    }

    /// Surrounds images `(n, c, h, w)` with copies of their nearest pixels.
    pub(crate) fn with_edges(self, images: &Tensor) -> Result<Tensor> {
        images.pad_with_same(3, self.left, self.right)?.pad_with_same(2, self.top, self.bottom)
    }
}

/// Windows of a convolution or a pooling. Pairs are rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) padding: Padding,
    /// Height and width of the images, without padding.
    pub(crate) input: [usize; 2],
    /// Number of windows along the height and the width.
    pub(crate) output: [usize; 2],
}

impl Windows {
    /// Windows over `images`, `(n, c, h, w)`, for `operation`.
    ///
    /// # Errors
    /// Images of another shape or without a pixel, a zero among the options, or no room for a window.
    pub(crate) fn new(
        operation: &str,
        images: &Tensor,
        [kernel, stride, dilation]: [[usize; 2]; 3],
        padding: Padding,
    ) -> Result<Self> {
        let input = match *images.dims() {
            [_, _, h, w] if images.elem_count() > 0 => [h, w],
            _ => bail!("{operation}: images of shape {:?}, where (n, c, h, w) without a zero is needed", images.shape()),
        };
        if [kernel, stride, dilation].as_flattened().contains(&0) {
            bail!(
                "{operation}: kernel {kernel:?}, stride {stride:?} and dilation {dilation:?} for images of shape {:?}",
                images.shape()
            )
        }
        let sizes = |axis: usize| {
            let [before, after] = padding.along(axis);
            let padded = input[axis].checked_add(before)?.checked_add(after)?;
            let extent = (kernel[axis] - 1).checked_mul(dilation[axis])?.checked_add(1)?;
            Some((padded, padded.checked_sub(extent)? / stride[axis] + 1))
        };
        let (Some((height, rows)), Some((width, columns))) = (sizes(0), sizes(1)) else {
            let shape = images.shape();
            bail!(
                "{operation}: windows {kernel:?}, dilation {dilation:?}, are beyond images of shape {shape:?}, padded by {:?}",
                [padding.top, padding.bottom, padding.left, padding.right]
            )
        };
        // Larger ones mean the same.
        let [stride, dilation] = [stride, dilation].map(|[down, across]| [down.min(height), across.min(width)]);
        Ok(Self { kernel, stride, dilation, padding, input, output: [rows, columns] })
    }

    /// Positions within a window, in row-major order.
    pub(crate) fn taps(self) -> impl Iterator<Item = [usize; 2]> {
        let [rows, columns] = self.kernel;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
    }

    /// The pixel at one position of every window: a view `(n, c, rows, columns)` of padded images.
    pub(crate) fn tap(self, padded: &Tensor, [row, column]: [usize; 2]) -> Result<Tensor> {
        self.tap_along(0, &self.tap_along(1, padded, column)?, row)
    }

    /// The pixels at one row, axis 0, or column, axis 1, of every window: a view with one row or column for each window.
    pub(crate) fn tap_along(self, axis: usize, padded: &Tensor, tap: usize) -> Result<Tensor> {
        let (dim, stride) = (axis + 2, self.stride[axis]);
        let view = padded.narrow(dim, tap * self.dilation[axis], (self.output[axis] - 1) * stride + 1)?;
        if stride == 1 { Ok(view) } else { view.unfold(dim, 1, stride)?.squeeze(D::Minus1) }
    }
}
