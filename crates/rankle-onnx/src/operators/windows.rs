//! Windows of convolutions and poolings.

use super::Build;
use candle_core::{Result, bail};
use rankle_ops::Padding;

/// Attributes of windows over rows and columns.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    padding: Pads,
    /// A last window may reach beyond the padded image.
    ceil: bool,
}

#[derive(Clone, Copy)]
enum Pads {
    Given(Padding),
    /// As many windows as strides; an odd pixel is added before or after.
    Same {
        odd_before: bool,
    },
}

impl Windows {
    /// Windows of a node, of the size of `kernel` where the node names none.
    pub(crate) fn new(build: &Build<'_>, kernel: Option<[usize; 2]>) -> Result<Self> {
        let pair = |name: &str| {
            let Some(given) = build.node.ints(name)? else { return Ok(None) };
            match given {
                &[rows, columns] if rows > 0 && columns > 0 => Ok(Some([rows as usize, columns as usize])),
                _ => bail!("{name} of {given:?}, where two numbers above 0 are needed: images have rows and columns"),
            }
        };
        let kernel = match (pair("kernel_shape")?, kernel) {
            (Some(named), Some(kernel)) if named != kernel => bail!("a kernel_shape of {named:?} for kernels of {kernel:?}"),
            (Some(kernel), _) | (None, Some(kernel)) if !kernel.contains(&0) => kernel,
            (None, None) => bail!("its kernel_shape is missing"),
            _ => bail!("kernels without a pixel"),
        };
        let padding = match build.node.text("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" => {
                let given = build.node.ints("pads")?.unwrap_or(&[0; 4]);
                let pads = given.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>();
                let Some(&[top, left, bottom, right]) = pads.as_deref() else { bail!("pads of {given:?}") };
                Pads::Given(Padding { top, bottom, left, right })
            }
            "VALID" => Pads::Given(Padding::default()),
            "SAME_UPPER" => Pads::Same { odd_before: false },
            "SAME_LOWER" => Pads::Same { odd_before: true },
            other => bail!("an auto_pad '{other}'"),
        };
        let (stride, dilation) = (pair("strides")?.unwrap_or([1, 1]), pair("dilations")?.unwrap_or([1, 1]));
        Ok(Self { kernel, stride, dilation, padding, ceil: build.node.flag("ceil_mode", false)? })
    }

    /// Padding of images of these sides.
    ///
    /// # Errors
    /// A padded side that is no length.
    pub(crate) fn padding(&self, sides: [usize; 2]) -> Result<Padding> {
        let [rows, columns] = [0, 1].map(|axis| self.along(axis, sides[axis]));
        match (rows, columns) {
            (Some([top, bottom]), Some([left, right])) => Ok(Padding { top, bottom, left, right }),
            _ => bail!("windows of {:?} pixels for images of {sides:?}", self.kernel),
        }
    }

    fn along(&self, axis: usize, side: usize) -> Option<[usize; 2]> {
        let stride = self.stride[axis];
        let extent = (self.kernel[axis] - 1).checked_mul(self.dilation[axis])?.checked_add(1)?;
        match self.padding {
            Pads::Same { odd_before } => {
                let total =
                    (side.div_ceil(stride).saturating_sub(1)).checked_mul(stride)?.checked_add(extent)?.saturating_sub(side);
                let (less, more) = (total / 2, total - total / 2);
                Some(if odd_before { [more, less] } else { [less, more] })
            }
            Pads::Given(Padding { top, bottom, left, right }) => {
                let [before, after] = if axis == 0 { [top, bottom] } else { [left, right] };
                let room = side.checked_add(before)?.checked_add(after)?.checked_sub(extent)?;
                let rest = room % stride;
                // The last window must begin within the image or the padding before it.
                let begins = (room - rest).checked_add(stride)? < side + before;
                Some([before, if self.ceil && rest > 0 && begins { after.checked_add(stride - rest)? } else { after }])
            }
        }
    }
}

/// Rows of padded images.
pub(crate) fn rows(height: usize, padding: Padding) -> usize {
    height.saturating_add(padding.top).saturating_add(padding.bottom)
}

/// Columns of padded images.
pub(crate) fn columns(width: usize, padding: Padding) -> usize {
    width.saturating_add(padding.left).saturating_add(padding.right)
}
