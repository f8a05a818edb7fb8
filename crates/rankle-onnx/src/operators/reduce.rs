//! Reductions over axes.

use super::{Build, Operator, axes, integers, one};
use crate::differentiable as d;
use candle_core::{DType, Device, Result, Tensor, bail};

/// A reduction of numbers with a gradient over the last dimension, which stays with a length of 1.
type Floats = fn(&Tensor) -> Result<Tensor>;

/// A step of a reduction of integers.
type Integers = fn(i64, i64) -> Option<i64>;

pub(crate) fn sum(build: &Build<'_>) -> Result<Operator> {
    reduction(build, d::sum_last, Some(i64::checked_add))
}

pub(crate) fn mean(build: &Build<'_>) -> Result<Operator> {
    reduction(build, |x| d::scale(&d::sum_last(x)?, 1.0 / length(x) as f64), None)
}

pub(crate) fn max(build: &Build<'_>) -> Result<Operator> {
    reduction(build, |x| d::extreme_last(x, false), Some(|a, b| Some(a.max(b))))
}

pub(crate) fn min(build: &Build<'_>) -> Result<Operator> {
    reduction(build, |x| d::extreme_last(x, true), Some(|a, b| Some(a.min(b))))
}

pub(crate) fn prod(build: &Build<'_>) -> Result<Operator> {
    reduction(
        build,
        |x| {
            let last = x.rank() - 1;
            let parts = (0..length(x)).map(|at| d::narrow(x, last, at, 1)).collect::<Result<Vec<_>>>()?;
            let mut product = parts[0].clone();
            for part in &parts[1..] {
                product = d::mul(&product, part)?;
            }
            Ok(product)
        },
        Some(i64::checked_mul),
    )
}

pub(crate) fn sum_square(build: &Build<'_>) -> Result<Operator> {
    reduction(build, squares, None)
}

pub(crate) fn l1(build: &Build<'_>) -> Result<Operator> {
    reduction(build, absolute, None)
}

pub(crate) fn l2(build: &Build<'_>) -> Result<Operator> {
    reduction(build, norm, None)
}

/// The sum of the absolute numbers of the last dimension.
pub(crate) fn absolute(x: &Tensor) -> Result<Tensor> {
    d::sum_last(&d::unary(x, Tensor::abs, |x, _| super::arithmetic::signs(x))?)
}

fn squares(x: &Tensor) -> Result<Tensor> {
    d::sum_last(&d::unary(x, Tensor::sqr, |x, _| x * 2.0)?)
}

/// The Euclidean norm of the last dimension. The gradient of one of zeros is 0, as in PyTorch.
pub(crate) fn norm(x: &Tensor) -> Result<Tensor> {
    d::unary(&squares(x)?, Tensor::sqrt, |square, norm| {
        let zeros = square.zeros_like()?;
        square.eq(&zeros)?.where_cond(&zeros, &(norm.recip()? * 0.5)?)
    })
}

fn length(x: &Tensor) -> usize {
    x.dims().last().copied().unwrap_or(1)
}

fn reduction(build: &Build<'_>, floats: Floats, checked: Option<Integers>) -> Result<Operator> {
    let given = build.integers_of("axes", 1)?.filter(|given| !given.is_empty());
    let keep = build.node.flag("keepdims", true)?;
    let none_is_all = !build.node.flag("noop_with_empty_axes", false)?;
    one(move |inputs| {
        let x = inputs.get(0)?;
        let over = match &given {
            Some(given) => axes(given, x.rank())?,
            None if none_is_all => (0..x.rank()).collect(),
            None => return Ok(x.clone()),
        };
        let kept = (0..x.rank()).filter(|axis| !over.contains(axis)).collect::<Vec<_>>();
        let order = [kept.as_slice(), over.as_slice()].concat();
        let rows = kept.iter().map(|&axis| x.dims()[axis]).product::<usize>();
        let len = over.iter().map(|&axis| x.dims()[axis]).product::<usize>();
        let dims = (0..x.rank()).filter_map(|axis| match over.contains(&axis) {
            true => keep.then_some(1),
            false => Some(x.dims()[axis]),
        });
        let dims = dims.collect::<Vec<_>>();
        if len == 0 {
            bail!("shape {:?}, which has nothing to reduce along {over:?}", x.shape())
        }
        match (x.dtype(), checked) {
            (DType::F32, _) => {
                let matrix = d::reshape(&d::permute(x, &order)?, &[rows, len])?;
                d::reshape(&floats(&matrix)?, &dims)
            }
            (DType::I64, Some(checked)) => {
                let numbers = integers(&x.permute(order)?)?;
                let reduce = |row: &[i64]| match row.iter().copied().map(Some).reduce(|a, b| checked(a?, b?)).flatten() {
                    Some(result) => Ok(result),
                    None => bail!("a result that is no integer of 64 bits"),
                };
                Tensor::from_vec(numbers.chunks(len).map(reduce).collect::<Result<Vec<_>>>()?, dims, &Device::Cpu)
            }
            (dtype, _) => bail!("an input of {dtype:?}"),
        }
    })
}
