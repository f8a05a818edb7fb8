//! Convolution.

use super::windows::{Windows, columns, rows};
use super::{BOUNDS, Build, Operator, one};
use candle_core::{Result, bail};
use rankle_ops::{Conv2d, FrozenConv2d, Padding, clip, conv2d};
use std::sync::OnceLock;

pub(crate) fn conv(build: &Build<'_>) -> Result<Operator> {
    convolution(build, None)
}

/// A convolution by constants, with its results within bounds.
pub(crate) fn clipped(build: &Build<'_>) -> Result<Operator> {
    let bound = |name: &str, usual: f64| Ok::<_, candle_core::Error>(build.node.float(name)?.unwrap_or(usual));
    let [low, high] = BOUNDS;
    convolution(build, Some([bound(low, f64::NEG_INFINITY)?, bound(high, f64::INFINITY)?]))
}

/// Kernels and bias may depend on the pixels. If they do not, what is prepared of them is kept.
fn convolution(build: &Build<'_>, bounds: Option<[f64; 2]>) -> Result<Operator> {
    let constant = |input: usize| build.node.inputs.get(input).copied().flatten().map(|slot| build.constants.get(&slot));
    let kernel = match constant(1).flatten() {
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
    let frozen: Option<OnceLock<(Padding, FrozenConv2d)>> =
        matches!((constant(1), constant(2)), (Some(Some(_)), None | Some(Some(_)))).then(OnceLock::new);
    one(move |inputs| {
        let (x, weight, bias) = (inputs.floats(0)?, inputs.floats(1)?, inputs.optional_floats(2)?);
        let (n, _, height, width) = x.dims4()?;
        let padding = windows.padding([height, width])?;
        let outputs = weight.dims().first().copied().unwrap_or(0);
        inputs.room(&[n, outputs, rows(height, padding), columns(width, padding)])?;
        let options = Conv2d { stride: windows.stride, padding, dilation: windows.dilation, groups };
        // Images of a program have one size, and so one padding.
        let freeze = || {
            let conv = FrozenConv2d::new(weight, bias, options);
            (padding, if let Some([low, high]) = bounds { conv.clipped(low, high) } else { conv })
        };
        match (frozen.as_ref().map(|frozen| frozen.get_or_init(freeze)), bounds) {
            (Some((of, conv)), _) if *of == padding => conv.forward(x),
            (_, Some([low, high])) => clip(&conv2d(x, weight, bias, &options)?, low, high),
            (_, None) => conv2d(x, weight, bias, &options),
        }
    })
}
