//! Comparisons and truth values, broadcast as in NumPy.

use super::{Build, Operator, broadcast, one, together};
use crate::differentiable as d;
use candle_core::{DType, Result, Tensor, bail};

type Compare = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// An operator that compares two inputs of one type.
fn comparison(compare: Compare) -> Result<Operator> {
    one(move |inputs| {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        if a.dtype() != b.dtype() {
            bail!("inputs of {:?} and {:?}, which are not of one type", a.dtype(), b.dtype())
        }
        inputs.room(&broadcast(a.dims(), b.dims())?)?;
        let both = together(&[a, b])?;
        compare(&both[0].detach(), &both[1].detach())
    })
}

/// An operator on two inputs of truth values.
fn connective(connect: Compare) -> Result<Operator> {
    one(move |inputs| {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        if (a.dtype(), b.dtype()) != (DType::U8, DType::U8) {
            bail!("inputs of {:?} and {:?}, where truth values are needed", a.dtype(), b.dtype())
        }
        inputs.room(&broadcast(a.dims(), b.dims())?)?;
        let both = together(&[a, b])?;
        connect(&both[0], &both[1])
    })
}

pub(crate) fn equal(_: &Build<'_>) -> Result<Operator> {
    comparison(Tensor::broadcast_eq)
}

pub(crate) fn greater(_: &Build<'_>) -> Result<Operator> {
    comparison(Tensor::broadcast_gt)
}

pub(crate) fn greater_or_equal(_: &Build<'_>) -> Result<Operator> {
    comparison(Tensor::broadcast_ge)
}

pub(crate) fn less(_: &Build<'_>) -> Result<Operator> {
    comparison(Tensor::broadcast_lt)
}

pub(crate) fn less_or_equal(_: &Build<'_>) -> Result<Operator> {
    comparison(Tensor::broadcast_le)
}

pub(crate) fn and(_: &Build<'_>) -> Result<Operator> {
    connective(Tensor::broadcast_minimum)
}

pub(crate) fn or(_: &Build<'_>) -> Result<Operator> {
    connective(Tensor::broadcast_maximum)
}

pub(crate) fn xor(_: &Build<'_>) -> Result<Operator> {
    connective(Tensor::broadcast_ne)
}

pub(crate) fn not(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| match inputs.get(0)? {
        x if x.dtype() == DType::U8 => x.eq(0u8),
        x => bail!("an input of {:?}, where truth values are needed", x.dtype()),
    })
}

pub(crate) fn is_nan(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| {
        let x = inputs.floats(0)?.detach();
        x.ne(&x)
    })
}

/// `Where`: the second input where the first is true, and the third elsewhere.
pub(crate) fn choose(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| {
        let (condition, yes, no) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        if condition.dtype() != DType::U8 || yes.dtype() != no.dtype() {
            let (condition, yes, no) = (condition.dtype(), yes.dtype(), no.dtype());
            bail!("inputs of {condition:?}, {yes:?} and {no:?}, where truth values and two of one type are needed")
        }
        let dims = broadcast(&broadcast(condition.dims(), yes.dims())?, no.dims())?;
        inputs.room(&dims)?;
        let three = together(&[condition, yes, no])?;
        d::choose(&three[0], &three[1], &three[2], &dims)
    })
}
