//! Normalizations.

use super::{Build, Operator, axis, of_floats, one};
use crate::differentiable as d;
use candle_core::{Result, Tensor, bail};

fn epsilon(build: &Build<'_>) -> Result<f64> {
    Ok(build.node.float("epsilon")?.unwrap_or(1e-5))
}

/// `(n, c, ..)` as `(n, c, pixels, 1)`.
fn as_images(x: &Tensor) -> Result<Tensor> {
    match x.dims() {
        [n, c, rest @ ..] => d::reshape(x, &[*n, *c, rest.iter().product(), 1]),
        _ => bail!("an input of shape {:?}, where (n, channels, ..) is needed", x.shape()),
    }
}

pub(crate) fn batch(build: &Build<'_>) -> Result<Operator> {
    if build.node.flag("training_mode", false)? {
        bail!("training_mode: export the model in evaluation mode")
    }
    let epsilon = epsilon(build)?;
    one(move |inputs| {
        let x = inputs.floats(0)?;
        let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|input| inputs.floats(input));
        let y = rankle_ops::batch_norm(&as_images(x)?, mean?, variance?, Some(scale?), Some(bias?), epsilon)?;
        d::reshape(&y, x.dims())
    })
}

pub(crate) fn layer(build: &Build<'_>) -> Result<Operator> {
    let (first, epsilon) = (build.node.int("axis")?.unwrap_or(-1), epsilon(build)?);
    one(move |inputs| {
        let x = inputs.floats(0)?;
        let first = axis(first, x.rank())?;
        let (rows, features) = (x.dims()[..first].iter().product::<usize>(), x.dims()[first..].iter().product::<usize>());
        let flat = |input: usize| {
            let Some(factors) = inputs.optional_floats(input)? else { return Ok(None) };
            let whole = if factors.elem_count() == features { factors.clone() } else { d::expand(factors, &x.dims()[first..])? };
            d::reshape(&whole, &[features]).map(Some)
        };
        let normalized =
            rankle_ops::layer_norm(&d::reshape(x, &[rows, features])?, flat(1)?.as_ref(), flat(2)?.as_ref(), epsilon)?;
        d::reshape(&normalized, x.dims())
    })
}

pub(crate) fn instance(build: &Build<'_>) -> Result<Operator> {
    let epsilon = epsilon(build)?;
    one(move |inputs| {
        let (x, scale, bias) = (inputs.floats(0)?, inputs.floats(1)?, inputs.floats(2)?);
        let images = as_images(x)?;
        let (n, c, pixels, _) = images.dims4()?;
        let normalized = rankle_ops::layer_norm(&d::reshape(&images, &[n, c, pixels])?, None, None, epsilon)?;
        d::reshape(&scaled(&normalized, scale, bias)?, x.dims())
    })
}

/// Rows `(n, c, ..)` times a factor of their channel, plus a shift.
fn scaled(rows: &Tensor, scale: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let channel = |x: &Tensor| d::reshape(x, &[1, rows.dims()[1], 1]);
    d::add(&d::mul(rows, &channel(scale)?)?, &channel(bias)?)
}

pub(crate) fn group(build: &Build<'_>) -> Result<Operator> {
    let Some(Ok(groups)) = build.node.int("num_groups")?.map(usize::try_from) else { bail!("its num_groups are missing") };
    // Before version 21 there was one factor for a group.
    let (epsilon, by_group) = (epsilon(build)?, build.opset < 21);
    one(move |inputs| {
        let (x, scale, bias) = (inputs.floats(0)?, inputs.floats(1)?, inputs.floats(2)?);
        let images = as_images(x)?;
        let (n, c, pixels, _) = images.dims4()?;
        if groups == 0 || !c.is_multiple_of(groups) {
            bail!("{groups} groups of {c} channels")
        }
        let rows = d::reshape(&images, &[n, groups, c / groups * pixels])?;
        let mut normalized = rankle_ops::layer_norm(&rows, None, None, epsilon)?;
        if !by_group {
            normalized = d::reshape(&normalized, &[n, c, pixels])?;
        }
        d::reshape(&scaled(&normalized, scale, bias)?, x.dims())
    })
}

/// Divides by the norm along an axis.
pub(crate) fn lp(build: &Build<'_>) -> Result<Operator> {
    let along = build.node.int("axis")?.unwrap_or(-1);
    let norm = match build.node.int("p")?.unwrap_or(2) {
        1 => super::reduce::absolute,
        2 => super::reduce::norm,
        p => bail!("a norm of order {p}"),
    };
    of_floats(move |x| {
        let along = axis(along, x.rank())?;
        let rows = d::to_last(x, along)?;
        d::from_last(&d::div(&rows, &norm(&rows)?)?, along)
    })
}
