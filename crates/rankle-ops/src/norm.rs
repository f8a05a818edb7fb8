//! Normalizations.

use crate::attach::{attach, attach_numbers, attach_with_output};
use crate::check::{detached, parameter};
use crate::cpu;
use candle_core::{Result, Shape, Tensor, bail};

/// Layer normalization over the last dimension: `(x - mean) / sqrt(variance + epsilon) * weight + bias`, mean and variance those
/// of each row, divided by `d`. `x` `(.., d)`, `weight` and `bias` `(d)`; without them 1 and 0.
///
/// # Errors
/// Shapes that do not fit, an empty last dimension, an epsilon below 0, tensors of different types, or anything but f32 and f64.
pub fn layer_norm(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    let features = match x.dims().last() {
        Some(&features) if features > 0 => features,
        _ => bail!("layer_norm: shape {:?}, where a last dimension of at least 1 is needed", x.shape()),
    };
    check_epsilon("layer_norm", epsilon)?;
    let count = x.elem_count() / features;
    let input = detached("layer_norm", x)?.reshape((count, features))?;
    let scale = Scale::new("layer_norm", weight, bias, x, features, (1, features))?;

    if cpu::takes(x) {
        let (norm, y) = cpu::NormalizedRows::new(input.clone(), scale.weight.clone(), scale.bias.clone(), epsilon)?;
        let frozen = x.detach();
        let inputs = [x, weight.unwrap_or(&frozen), bias.unwrap_or(&frozen)];
        return attach_numbers(inputs, y, x.shape(), move |_, gradient, [for_x, for_weight, for_bias]| {
            let upstream = gradient.reshape((count, features))?;
            let for_x = for_x.then(|| norm.backward(gradient));
            let for_weight = for_weight.then(|| (&upstream * Standardized::new(input.clone(), epsilon)?.normalized()?)?.sum(0));
            let for_bias = for_bias.then(|| upstream.sum(0));
            Ok([for_x.transpose()?, for_weight.transpose()?, for_bias.transpose()?])
        });
    }
    let rows = Standardized::new(input, epsilon)?;
    let output = scale.apply(&rows.normalized()?)?.reshape(x.shape())?;
    let frozen = x.detach();
    let inputs = [x, weight.unwrap_or(&frozen), bias.unwrap_or(&frozen)];
    attach(inputs, output, move |gradient, [for_x, for_weight, for_bias]| {
        let upstream = gradient.reshape((count, features))?;
        let normalized = rows.normalized()?;
        let for_x = for_x.then(|| rows.backward(&normalized, &scale.weighted(&upstream)?)?.reshape(gradient.shape()));
        let for_weight = for_weight.then(|| (&upstream * &normalized)?.sum(0));
        let for_bias = for_bias.then(|| upstream.sum(0));
        Ok([for_x.transpose()?, for_weight.transpose()?, for_bias.transpose()?])
    })
}

/// Batch normalization with frozen statistics, per channel: `(x - mean) / sqrt(variance + epsilon) * weight + bias`. Images `x`
/// `(n, c, h, w)` or rows `(n, c)`, all others `(c)`; `weight` and `bias` are 1 and 0 where they are left out. `mean` and
/// `variance` get no gradient.
///
/// # Errors
/// Shapes that do not fit, an epsilon below 0, tensors of different types, or anything but f32 and f64.
pub fn batch_norm(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    epsilon: f64,
) -> Result<Tensor> {
    let [count, channels, pixels] = channels("batch_norm", x)?;
    check_epsilon("batch_norm", epsilon)?;
    let input = detached("batch_norm", x)?.reshape((count, channels, pixels))?;
    let mean = parameter("batch_norm: mean", mean, x, channels, (1, channels, 1))?;
    let variance = parameter("batch_norm: variance", variance, x, channels, (1, channels, 1))?;
    let scale = Scale::new("batch_norm", weight, bias, x, channels, (1, channels, 1))?;

    let inverse = (variance + epsilon)?.sqrt()?.recip()?;
    let factor = scale.weighted(&inverse)?;
    let shift = scale.apply(&(&mean * &inverse)?.neg()?)?;
    let output = input.broadcast_mul(&factor)?.broadcast_add(&shift)?.reshape(x.shape())?;
    let frozen = x.detach();
    let inputs = [x, weight.unwrap_or(&frozen), bias.unwrap_or(&frozen)];
    attach(inputs, output, move |gradient, [for_x, for_weight, for_bias]| {
        let upstream = gradient.reshape((count, channels, pixels))?;
        let for_x = for_x.then(|| upstream.broadcast_mul(&factor)?.reshape(gradient.shape()));
        // Pixels first: candle's sum over the last dimension is the fast one.
        let for_weight = for_weight.then(|| {
            let centered = input.broadcast_sub(&mean)?;
            (&upstream * centered)?.sum(2)?.sum(0)? * inverse.flatten_all()?
        });
        let for_bias = for_bias.then(|| upstream.sum(2)?.sum(0));
        Ok([for_x.transpose()?, for_weight.transpose()?, for_bias.transpose()?])
    })
}

/// Statistics of a batch, each `(c)`, off the tape.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// Mean of each channel.
    pub mean: Tensor,
    /// Variance of each channel, divided by the number of values: the one that normalized the batch.
    pub variance: Tensor,
    /// Variance of each channel, divided by the number of values less one: PyTorch's running variance is a mean of these.
    pub unbiased: Tensor,
}

/// Batch normalization with the statistics of the batch, which it returns. Shapes are those of [`batch_norm`]; gradients go
/// through mean and variance.
///
/// # Errors
/// Fewer than two values per channel, shapes that do not fit, an epsilon below 0, tensors of different types, or anything but f32
/// and f64.
pub fn batch_norm_training(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    epsilon: f64,
) -> Result<(Tensor, BatchStatistics)> {
    let sizes @ [count, channels, pixels] = channels("batch_norm_training", x)?;
    let values = count * pixels;
    if values < 2 {
        bail!("batch_norm_training: shape {:?} has {values} values per channel, where at least 2 are needed", x.shape())
    }
    check_epsilon("batch_norm_training", epsilon)?;
    let input = detached("batch_norm_training", x)?;
    let scale = Scale::new("batch_norm_training", weight, bias, x, channels, (channels, 1))?;

    let rows = Standardized::new(rows_of_channels(&input, sizes)?, epsilon)?;
    let statistics = BatchStatistics {
        mean: rows.mean.flatten_all()?,
        variance: rows.variance.flatten_all()?,
        unbiased: (rows.variance.flatten_all()? * (values as f64 / (values - 1) as f64))?,
    };
    let output = channels_of_rows(&scale.apply(&rows.normalized()?)?, sizes, x.shape())?;
    let frozen = x.detach();
    let inputs = [x, weight.unwrap_or(&frozen), bias.unwrap_or(&frozen)];
    let output = attach(inputs, output, move |gradient, [for_x, for_weight, for_bias]| {
        let upstream = rows_of_channels(gradient, sizes)?;
        let normalized = rows.normalized()?;
        let for_x = for_x.then(|| {
            let by_rows = rows.backward(&normalized, &scale.weighted(&upstream)?)?;
            channels_of_rows(&by_rows, sizes, gradient.shape())
        });
        let for_weight = for_weight.then(|| (&upstream * &normalized)?.sum(1));
        let for_bias = for_bias.then(|| upstream.sum(1));
        Ok([for_x.transpose()?, for_weight.transpose()?, for_bias.transpose()?])
    })?;
    Ok((output, statistics))
}

/// `(x - mean) / std` per channel: `x` `(n, c, h, w)`, and `c` numbers each.
///
/// # Errors
/// Other shapes or numbers of channels, a standard deviation that is not above 0, or anything but f32 and f64.
pub fn normalize_pixels(x: &Tensor, mean: &[f32], std: &[f32]) -> Result<Tensor> {
    match x.dims() {
        [_, channels, _, _] if mean.len() == *channels && std.len() == *channels => {}
        _ => {
            let (means, stds) = (mean.len(), std.len());
            bail!("normalize_pixels: {means} means and {stds} standard deviations for shape {:?} of (n, c, h, w)", x.shape())
        }
    }
    if let Some(std) = std.iter().find(|&&std| std.is_nan() || std <= 0.0) {
        bail!("normalize_pixels: a standard deviation of {std}, where a number above 0 is needed")
    }
    let input = detached("normalize_pixels", x)?;
    let per_channel = |numbers: &[f32]| Tensor::from_slice(numbers, (1, numbers.len(), 1, 1), x.device())?.to_dtype(x.dtype());
    let (mean, std) = (per_channel(mean)?, per_channel(std)?);
    let output = input.broadcast_sub(&mean)?.broadcast_div(&std)?;
    attach([x], output, move |gradient, _| Ok([Some(gradient.broadcast_div(&std)?)]))
}

/// Rows divided by their Euclidean norms: `(n, d)` to `(n, d)`. A zero row stays zero, with a gradient of zero; a row
/// whose squared norm is 0 or infinite in the type of `x` becomes zero, too.
///
/// # Errors
/// `x` has another number of dimensions, or is not f32 or f64.
pub fn unit_rows(x: &Tensor) -> Result<Tensor> {
    if x.rank() != 2 {
        bail!("unit_rows: shape {:?}, where (n, d) is needed", x.shape())
    }
    let input = detached("unit_rows", x)?;
    let norms = input.sqr()?.sum_keepdim(1)?.sqrt()?;
    let zeros = norms.zeros_like()?;
    let zero = norms.eq(&zeros)?;
    let inverse = zero.where_cond(&zeros, &zero.where_cond(&norms.ones_like()?, &norms)?.recip()?)?;
    attach_with_output([x], input.broadcast_mul(&inverse)?, move |output, gradient, _| {
        let along = output.broadcast_mul(&(gradient * output)?.sum_keepdim(1)?)?;
        Ok([Some((gradient - along)?.broadcast_mul(&inverse)?)])
    })
}

/// Weight and bias of a normalization, in a shape that broadcasts over what they are applied to.
struct Scale {
    weight: Option<Tensor>,
    bias: Option<Tensor>,
}

impl Scale {
    /// `weight` and `bias` are `(len)` and come to have `shape`.
    fn new(
        operation: &str,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        x: &Tensor,
        len: usize,
        shape: impl Into<Shape>,
    ) -> Result<Self> {
        let shape = shape.into();
        let weight = weight.map(|weight| parameter(&format!("{operation}: weight"), weight, x, len, &shape)).transpose()?;
        let bias = bias.map(|bias| parameter(&format!("{operation}: bias"), bias, x, len, &shape)).transpose()?;
        Ok(Self { weight, bias })
    }

    fn apply(&self, numbers: &Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => self.weighted(numbers)?.broadcast_add(bias),
            None => self.weighted(numbers),
        }
    }

    /// The products with the weight, which is the backward function of [`Scale::apply`], too.
    fn weighted(&self, numbers: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Some(weight) => numbers.broadcast_mul(weight),
            None => Ok(numbers.clone()),
        }
    }
}

/// Rows `(m, d)` with the numbers that take each of them to mean 0 and variance 1.
struct Standardized {
    rows: Tensor,
    /// `(m, 1)`
    mean: Tensor,
    /// `(m, 1)`, divided by `d`.
    variance: Tensor,
    /// `(m, 1)`: `1 / sqrt(variance + epsilon)`.
    inverse: Tensor,
}

impl Standardized {
    fn new(rows: Tensor, epsilon: f64) -> Result<Self> {
        let mean = rows.mean_keepdim(1)?;
        let variance = rows.broadcast_sub(&mean)?.sqr()?.mean_keepdim(1)?;
        let inverse = (&variance + epsilon)?.sqrt()?.recip()?;
        Ok(Self { rows, mean, variance, inverse })
    }

    /// Computed anew in each pass: kept, it would take as much memory as the rows.
    fn normalized(&self) -> Result<Tensor> {
        self.rows.broadcast_sub(&self.mean)?.broadcast_mul(&self.inverse)
    }

    /// Turns the gradient with respect to the normalized rows into the one with respect to the rows.
    fn backward(&self, normalized: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let along = normalized.broadcast_mul(&(gradient * normalized)?.mean_keepdim(1)?)?;
        (gradient.broadcast_sub(&gradient.mean_keepdim(1)?)? - along)?.broadcast_mul(&self.inverse)
    }
}

/// Sizes of `(n, c, h, w)` or `(n, c)` as `[n, c, h * w]`.
fn channels(operation: &str, x: &Tensor) -> Result<[usize; 3]> {
    match *x.dims() {
        [count, channels] => Ok([count, channels, 1]),
        [count, channels, height, width] => Ok([count, channels, height * width]),
        _ => bail!("{operation}: shape {:?}, where (n, c, h, w) or (n, c) is needed", x.shape()),
    }
}

/// One row per channel: `(c, n * h * w)`, contiguous.
fn rows_of_channels(x: &Tensor, [count, channels, pixels]: [usize; 3]) -> Result<Tensor> {
    x.reshape((count, channels, pixels))?.transpose(0, 1)?.contiguous()?.reshape((channels, count * pixels))
}

/// The inverse of [`rows_of_channels`].
fn channels_of_rows(rows: &Tensor, [count, channels, pixels]: [usize; 3], shape: &Shape) -> Result<Tensor> {
    rows.reshape((channels, count, pixels))?.transpose(0, 1)?.contiguous()?.reshape(shape)
}

/// Refuses an epsilon that makes a square root of a number below 0.
fn check_epsilon(operation: &str, epsilon: f64) -> Result<()> {
    if !epsilon.is_finite() || epsilon < 0.0 {
        bail!("{operation}: an epsilon of {epsilon}, where a number of at least 0 is needed")
    }
    Ok(())
}
