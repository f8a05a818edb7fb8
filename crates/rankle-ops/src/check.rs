//! Checks that the operations share.

use candle_core::{DType, Result, Shape, Tensor, bail};

/// `x` off the tape and contiguous, for `operation`.
///
/// # Errors
/// `x` holds anything but f32 or f64. candle panics in some operations on integers.
pub(crate) fn detached(operation: &str, x: &Tensor) -> Result<Tensor> {
    detached_view(operation, x)?.contiguous()
}

/// As [`detached`], in any layout.
pub(crate) fn detached_view(operation: &str, x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F32 | DType::F64 => Ok(x.detach()),
        dtype => bail!("{operation}: a tensor of {dtype:?} and shape {:?}, where f32 or f64 is needed", x.shape()),
    }
}

/// A parameter `(len)` of an operation on `x`, off the tape and in `shape`, which has as many elements. `name` is for the error.
///
/// # Errors
/// Another shape than `(len)`, or another type than that of `x`.
pub(crate) fn parameter(name: &str, parameter: &Tensor, x: &Tensor, len: usize, shape: impl Into<Shape>) -> Result<Tensor> {
    if parameter.dims() != [len] {
        bail!("{name} of shape {:?}, where [{len}] is needed for inputs of shape {:?}", parameter.shape(), x.shape())
    }
    same_type(name, parameter, x)?;
    parameter.detach().contiguous()?.reshape(shape.into())
}

/// Refuses a parameter of another type than that of `x`.
pub(crate) fn same_type(name: &str, parameter: &Tensor, x: &Tensor) -> Result<()> {
    if parameter.dtype() != x.dtype() {
        bail!("{name} of {:?} for inputs of {:?}", parameter.dtype(), x.dtype())
    }
    Ok(())
}
