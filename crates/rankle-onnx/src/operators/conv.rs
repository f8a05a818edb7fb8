//! Convolution.

use super::windows::{Windows, columns, rows};
use super::{Build, Operator, one};
use candle_core::{Result, bail};
use rankle_ops::{Conv2d, conv2d};

/// Kernels and bias may depend on the pixels.
pub(crate) fn conv(build: &Build<'_>) -> Result<Operator> {
    let kernel = match build.node.inputs.get(1).copied().flatten().and_then(|slot| build.constants.get(&slot)) {
        Some(weight) => match *weight.dims() {
            [_, _, rows, columns] => Some([rows, columns]),
            _ => bail!("kernels of shape {:?}, where (outputs, inputs, rows, columns) is needed", weight.shape()),
        },
        None => None,
    };
    let windows = Windows::new(build, kernel)?;
    let groups = match build.node.int("group")?.map(usize::try_from) {
        None => 1,
        Some(Ok(groups)) => groups,
        Some(Err(_)) => bail!("a negative number of groups"),
    };
    one(move |inputs| {
        let (x, weight, bias) = (inputs.floats(0)?, inputs.floats(1)?, inputs.optional_floats(2)?);
        let (n, _, height, width) = x.dims4()?;
        let padding = windows.padding([height, width])?;
        let outputs = weight.dims().first().copied().unwrap_or(0);
        inputs.room(&[n, outputs, rows(height, padding), columns(width, padding)])?;
        conv2d(x, weight, bias, &Conv2d { stride: windows.stride, padding, dilation: windows.dilation, groups })
    })
}
