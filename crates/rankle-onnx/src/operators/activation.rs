//! Activation functions and softmax.

use super::{Build, Operator, axis, of_floats, one};
use crate::differentiable as d;
use candle_core::{Result, Tensor, bail};

pub(crate) fn relu(_: &Build<'_>) -> Result<Operator> {
    of_floats(rankle_ops::relu)
}

pub(crate) fn sigmoid(_: &Build<'_>) -> Result<Operator> {
    of_floats(rankle_ops::sigmoid)
}

pub(crate) fn silu(_: &Build<'_>) -> Result<Operator> {
    of_floats(rankle_ops::silu)
}

pub(crate) fn tanh(_: &Build<'_>) -> Result<Operator> {
    of_floats(rankle_ops::tanh)
}

pub(crate) fn erf(_: &Build<'_>) -> Result<Operator> {
    of_floats(rankle_ops::erf)
}

pub(crate) fn hard_swish(_: &Build<'_>) -> Result<Operator> {
    of_floats(rankle_ops::hard_swish)
}

pub(crate) fn gelu(build: &Build<'_>) -> Result<Operator> {
    match build.node.text("approximate")? {
        None | Some("none") => of_floats(rankle_ops::gelu),
        Some("tanh") => of_floats(rankle_ops::gelu_tanh),
        Some(other) => bail!("an approximation '{other}'"),
    }
}

pub(crate) fn leaky_relu(build: &Build<'_>) -> Result<Operator> {
    let slope = build.node.float("alpha")?.unwrap_or(0.01);
    of_floats(move |x| rankle_ops::leaky_relu(x, slope))
}

/// `max(0, min(1, alpha * x + beta))`
pub(crate) fn hard_sigmoid(build: &Build<'_>) -> Result<Operator> {
    let (alpha, beta) = (build.node.float("alpha")?.unwrap_or(0.2), build.node.float("beta")?.unwrap_or(0.5));
    // PyTorch's own, but for the rounding of 1/6 in the file.
    if (alpha - 1.0 / 6.0).abs() < 1e-7 && beta == 0.5 {
        return of_floats(rankle_ops::hard_sigmoid);
    }
    of_floats(move |x| rankle_ops::clip(&d::affine(x, alpha, beta)?, 0.0, 1.0))
}

/// Bounds are constants. Between equal or exchanged bounds everything is the upper one.
pub(crate) fn clip(build: &Build<'_>) -> Result<Operator> {
    let bound = |name: &str, input: usize| Ok::<_, candle_core::Error>(build.node.float(name)?.or(build.number(input)?));
    let (low, high) = (bound("min", 1)?.unwrap_or(f64::NEG_INFINITY), bound("max", 2)?.unwrap_or(f64::INFINITY));
    let low = low.min(high);
    one(move |inputs| match inputs.get(0)? {
        x if x.dtype() == candle_core::DType::I64 => x.clamp(low as i64, high as i64),
        _ => rankle_ops::clip(inputs.floats(0)?, low, high),
    })
}

/// `x` above 0, `alpha * (exp(x) - 1)` below.
pub(crate) fn elu(build: &Build<'_>) -> Result<Operator> {
    let alpha = build.node.float("alpha")?.unwrap_or(1.0);
    of_floats(move |x| exponential(x, alpha))
}

pub(crate) fn selu(build: &Build<'_>) -> Result<Operator> {
    let alpha = build.node.float("alpha")?.unwrap_or(1.673_263_192_176_818_8);
    let gamma = build.node.float("gamma")?.unwrap_or(1.050_700_902_938_842_8);
    of_floats(move |x| d::scale(&exponential(x, alpha)?, gamma))
}

fn exponential(x: &Tensor, alpha: f64) -> Result<Tensor> {
    let part = move |x: &Tensor, above: &Tensor, below: &Tensor| x.gt(&x.zeros_like()?)?.where_cond(above, below);
    d::unary(
        x,
        |x| part(x, x, &((x.exp()? - 1.0)? * alpha)?),
        // The derivative below 0 is alpha more than the result.
        move |x, result| part(x, &x.ones_like()?, &(result + alpha)?),
    )
}

pub(crate) fn softplus(_: &Build<'_>) -> Result<Operator> {
    of_floats(logarithmic)
}

/// `ln(1 + exp(x))`
fn logarithmic(x: &Tensor) -> Result<Tensor> {
    // The larger part apart: exp(x) may overflow.
    d::unary(x, |x| x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?, |x, _| (x.neg()?.exp()? + 1.0)?.recip())
}

/// `x * tanh(softplus(x))`
pub(crate) fn mish(_: &Build<'_>) -> Result<Operator> {
    of_floats(|x| d::mul(x, &rankle_ops::tanh(&logarithmic(x)?)?))
}

/// `x` above 0, and times a factor of its channel below.
pub(crate) fn prelu(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| {
        let (x, slope) = (inputs.floats(0)?, inputs.floats(1)?);
        let dims = super::broadcast(x.dims(), slope.dims())?;
        inputs.room(&dims)?;
        let input = x.detach();
        d::choose(&input.gt(&input.zeros_like()?)?, x, &d::mul(x, slope)?, &dims)
    })
}

pub(crate) fn softmax(build: &Build<'_>) -> Result<Operator> {
    along_axis(build, rankle_ops::softmax)
}

pub(crate) fn log_softmax(build: &Build<'_>) -> Result<Operator> {
    along_axis(build, |x| {
        let shifted = d::sub(x, &x.detach().max_keepdim(candle_core::D::Minus1)?)?;
        let sums = d::sum_last(&d::unary(&shifted, Tensor::exp, |_, power| Ok(power.clone()))?)?;
        d::sub(&shifted, &d::unary(&sums, Tensor::log, |x, _| x.recip())?)
    })
}

/// A function of the last dimension, applied along an axis. Before version 13 all dimensions from the axis on are one.
fn along_axis(build: &Build<'_>, function: fn(&Tensor) -> Result<Tensor>) -> Result<Operator> {
    let all_from_axis = build.opset < 13;
    let along = build.node.int("axis")?.unwrap_or(if all_from_axis { 1 } else { -1 });
    of_floats(move |x| {
        let along = axis(along, x.rank())?;
        if along + 1 == x.rank() {
            return function(x);
        }
        if all_from_axis {
            let rows = x.dims()[..along].iter().product::<usize>();
            let len = x.dims()[along..].iter().product::<usize>();
            return d::reshape(&function(&d::reshape(x, &[rows, len])?)?, x.dims());
        }
        d::from_last(&function(&d::to_last(x, along)?)?, along)
    })
}
