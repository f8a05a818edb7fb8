//! Arithmetic on single numbers, broadcast as in NumPy: on numbers with a gradient, and on integers.

use super::{Build, Inputs, Operator, broadcast, integers, of_floats, one};
use crate::differentiable as d;
use candle_core::{DType, Device, Result, Tensor, bail};

/// An operation on integers; `None` on overflow or division by zero.
type Checked = fn(i64, i64) -> Option<i64>;

/// An operator of two inputs, both of numbers with a gradient or both of integers.
fn binary(floats: fn(&Tensor, &Tensor) -> Result<Tensor>, checked: Checked) -> Result<Operator> {
    one(move |inputs| apply(inputs, inputs.get(0)?, inputs.get(1)?, floats, checked))
}

/// An operator of any number of inputs, from left to right.
fn variadic(floats: fn(&Tensor, &Tensor) -> Result<Tensor>, checked: Checked) -> Result<Operator> {
    one(move |inputs| {
        let mut result = inputs.get(0)?.clone();
        for input in 1..inputs.values.len() {
            result = apply(inputs, &result, inputs.get(input)?, floats, checked)?;
        }
        Ok(result)
    })
}

fn apply(
    inputs: &Inputs<'_>,
    a: &Tensor,
    b: &Tensor,
    floats: fn(&Tensor, &Tensor) -> Result<Tensor>,
    checked: Checked,
) -> Result<Tensor> {
    let dims = broadcast(a.dims(), b.dims())?;
    inputs.room(&dims)?;
    match (a.dtype(), b.dtype()) {
        (DType::F32, DType::F32) => floats(a, b),
        (DType::I64, DType::I64) => {
            let (a, b) = (integers(&a.broadcast_as(dims.as_slice())?)?, integers(&b.broadcast_as(dims.as_slice())?)?);
            let results = a.into_iter().zip(b).map(|(a, b)| match checked(a, b) {
                Some(result) => Ok(result),
                None => bail!("integers {a} and {b}, whose result is no integer of 64 bits"),
            });
            Tensor::from_vec(results.collect::<Result<Vec<_>>>()?, dims, &Device::Cpu)
        }
        (a, b) => bail!("inputs of {a:?} and {b:?}, which are not of one type"),
    }
}

pub(crate) fn add(_: &Build<'_>) -> Result<Operator> {
    binary(d::add, i64::checked_add)
}

pub(crate) fn sub(_: &Build<'_>) -> Result<Operator> {
    binary(d::sub, i64::checked_sub)
}

pub(crate) fn mul(_: &Build<'_>) -> Result<Operator> {
    binary(d::mul, i64::checked_mul)
}

pub(crate) fn div(_: &Build<'_>) -> Result<Operator> {
    // Integers are rounded toward zero.
    binary(d::div, i64::checked_div)
}

pub(crate) fn sum(_: &Build<'_>) -> Result<Operator> {
    variadic(d::add, i64::checked_add)
}

pub(crate) fn mean(build: &Build<'_>) -> Result<Operator> {
    let (count, sum) = (build.node.inputs.len(), sum(build)?);
    Ok(Box::new(move |inputs| Ok(vec![d::scale(&sum(inputs)?[0], 1.0 / count as f64)?])))
}

pub(crate) fn max(_: &Build<'_>) -> Result<Operator> {
    variadic(|a, b| d::extreme(a, b, false), |a, b| Some(a.max(b)))
}

pub(crate) fn min(_: &Build<'_>) -> Result<Operator> {
    variadic(|a, b| d::extreme(a, b, true), |a, b| Some(a.min(b)))
}

pub(crate) fn modulo(build: &Build<'_>) -> Result<Operator> {
    // With fmod the result has the sign of the first, else that of the second.
    let truncated = build.node.flag("fmod", false)?;
    let floored = |a: i64, b: i64| {
        let rest = a.checked_rem(b)?;
        Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
    };
    binary(|_, _| bail!("a remainder of numbers, which has no gradient"), if truncated { i64::checked_rem } else { floored })
}

pub(crate) fn pow(build: &Build<'_>) -> Result<Operator> {
    let scalar = build.node.inputs.get(1).copied().flatten().and_then(|slot| build.constants.get(&slot));
    let exponent = match scalar {
        Some(exponent) if exponent.elem_count() == 1 => build.number(1)?,
        _ => None,
    };
    let Some(exponent) = exponent else {
        return one(|inputs| {
            let (base, exponent) = (inputs.floats(0)?, inputs.get(1)?);
            inputs.room(&broadcast(base.dims(), exponent.dims())?)?;
            d::pow(base, &exponent.to_dtype(DType::F32)?.to_device(base.device())?)
        });
    };
    one(move |inputs| {
        let base = inputs.get(0)?;
        if base.dtype() == DType::I64 {
            let power = u32::try_from(exponent as i64).ok();
            let powers = integers(base)?.into_iter().map(|base| match power.and_then(|power| base.checked_pow(power)) {
                Some(power) => Ok(power),
                None => bail!("{base} to the power of {exponent}, which is no integer of 64 bits"),
            });
            return Tensor::from_vec(powers.collect::<Result<Vec<_>>>()?, base.dims(), &Device::Cpu);
        }
        let base = inputs.floats(0)?;
        // A constant of one number may add dimensions.
        let dims = broadcast(base.dims(), inputs.get(1)?.dims())?;
        let power = match exponent {
            1.0 => base.clone(),
            2.0 => d::unary(base, Tensor::sqr, |x, _| x * 2.0)?,
            0.5 => root(base)?,
            exponent => d::unary(base, |x| x.powf(exponent), move |x, _| x.powf(exponent - 1.0)? * exponent)?,
        };
        d::reshape(&power, &dims)
    })
}

fn root(x: &Tensor) -> Result<Tensor> {
    d::unary(x, Tensor::sqrt, |_, root| root.recip()? * 0.5)
}

pub(crate) fn sqrt(_: &Build<'_>) -> Result<Operator> {
    of_floats(root)
}

pub(crate) fn exp(_: &Build<'_>) -> Result<Operator> {
    of_floats(|x| d::unary(x, Tensor::exp, |_, power| Ok(power.clone())))
}

pub(crate) fn log(_: &Build<'_>) -> Result<Operator> {
    of_floats(|x| d::unary(x, Tensor::log, |x, _| x.recip()))
}

pub(crate) fn reciprocal(_: &Build<'_>) -> Result<Operator> {
    of_floats(|x| d::unary(x, Tensor::recip, |_, inverse| inverse.sqr()?.neg()))
}

pub(crate) fn sin(_: &Build<'_>) -> Result<Operator> {
    of_floats(|x| d::unary(x, Tensor::sin, |x, _| x.cos()))
}

pub(crate) fn cos(_: &Build<'_>) -> Result<Operator> {
    of_floats(|x| d::unary(x, Tensor::cos, |x, _| x.sin()?.neg()))
}

pub(crate) fn neg(_: &Build<'_>) -> Result<Operator> {
    single(|x| d::scale(x, -1.0), i64::checked_neg)
}

pub(crate) fn abs(_: &Build<'_>) -> Result<Operator> {
    // The derivative at 0 is 0.
    single(|x| d::unary(x, Tensor::abs, |x, _| signs(x)), i64::checked_abs)
}

pub(crate) fn sign(_: &Build<'_>) -> Result<Operator> {
    single(|x| signs(&x.detach()), |x| Some(x.signum()))
}

/// -1, 0 or 1.
pub(super) fn signs(x: &Tensor) -> Result<Tensor> {
    let zeros = x.zeros_like()?;
    x.gt(&zeros)?.to_dtype(x.dtype())? - x.lt(&zeros)?.to_dtype(x.dtype())?
}

/// An operator of one input, of numbers with a gradient or of integers.
fn single(floats: fn(&Tensor) -> Result<Tensor>, checked: fn(i64) -> Option<i64>) -> Result<Operator> {
    one(move |inputs| {
        let x = inputs.get(0)?;
        if x.dtype() != DType::I64 {
            return floats(inputs.floats(0)?);
        }
        let results = integers(x)?.into_iter().map(|x| match checked(x) {
            Some(result) => Ok(result),
            None => bail!("integer {x}, whose result is no integer of 64 bits"),
        });
        Tensor::from_vec(results.collect::<Result<Vec<_>>>()?, x.dims(), &Device::Cpu)
    })
}

pub(crate) fn floor(_: &Build<'_>) -> Result<Operator> {
    steps(Tensor::floor)
}

pub(crate) fn ceil(_: &Build<'_>) -> Result<Operator> {
    steps(Tensor::ceil)
}

pub(crate) fn round(_: &Build<'_>) -> Result<Operator> {
    // Halves go to the even neighbor.
    steps(|x| {
        let rounded = x.round()?;
        let half = (x - x.floor()?)?.eq(0.5)?;
        half.where_cond(&((x * 0.5)?.round()? * 2.0)?, &rounded)
    })
}

/// A function of steps: its gradient is 0.
fn steps(function: fn(&Tensor) -> Result<Tensor>) -> Result<Operator> {
    of_floats(move |x| d::unary(x, function, |x, _| x.zeros_like()))
}
