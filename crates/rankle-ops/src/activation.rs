//! Activation functions: one number in, one number out. Inputs and outputs have one shape.
//!
//! Gradients at the corners are PyTorch's. Forward, NaN stays NaN.

use crate::attach::{attach, attach_with_output};
use crate::check::detached;
use crate::cpu;
use candle_core::{Result, Tensor, bail};
use rankle_kernels::features::Activation;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// `sqrt(2 / π)`
const SQRT_2_OVER_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// `max(x, 0)`. The gradient is 0 at 0 and at -0, and passes at NaN.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if cpu::takes(x) {
        return cpu::activation(x, Activation::RELU);
    }
    let input = detached("relu", x)?;
    // Not candle's `relu`, which turns NaN into 0; and a product with a mask would turn gradients of NaN and infinity into NaN.
    let positive = |input: &Tensor, numbers: &Tensor| -> Result<Tensor> {
        let zeros = input.zeros_like()?;
        input.le(&zeros)?.where_cond(&zeros, numbers)
    };
    let output = positive(&input, &input)?;
    attach([x], output, move |gradient, _| Ok([Some(positive(&input, gradient)?)]))
}

/// `min(max(x, 0), 6)`: [`clip`] between 0 and 6.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn relu6(x: &Tensor) -> Result<Tensor> {
    clip(x, 0.0, 6.0)
}

/// `min(max(x, low), high)`. The gradient is 0 at and beyond the bounds, as in PyTorch's `hardtanh` and `relu6`; `torch.clamp`
/// passes it at the bounds. It passes at NaN.
///
/// # Errors
/// `low` is above `high`, one of them is NaN, or `x` is not f32 or f64.
pub fn clip(x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    if low.is_nan() || high.is_nan() || low > high {
        bail!("clip: bounds {low} and {high} for inputs of shape {:?}, where the first must be at most the second", x.shape())
    }
    if cpu::takes(x) {
        return cpu::activation(x, Activation::Clip { low: low as f32, high: high as f32 });
    }
    let input = detached("clip", x)?;
    let output = clipped(&input, low, high)?;
    attach([x], output, move |gradient, _| Ok([Some(zero_outside(&input, low, high, gradient)?)]))
}

/// `x` where it is above 0, and `slope * x` elsewhere. At 0 the gradient is that of the second part.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    let input = detached("leaky_relu", x)?;
    let sloped = move |input: &Tensor, numbers: &Tensor| -> Result<Tensor> {
        input.gt(&input.zeros_like()?)?.where_cond(numbers, &(numbers * slope)?)
    };
    let output = sloped(&input, &input)?;
    attach([x], output, move |gradient, _| Ok([Some(sloped(&input, gradient)?)]))
}

/// `1 / (1 + exp(-x))`.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    let output = logistic(&detached("sigmoid", x)?)?;
    attach_with_output([x], output, |output, gradient, _| Ok([Some(((gradient * output)? * (1.0 - output)?)?)]))
}

/// `x * sigmoid(x)`, also called swish.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    let input = detached("silu", x)?;
    attach([x], input.silu()?, move |gradient, _| {
        let sigmoid = logistic(&input)?;
        let derivative = (&sigmoid * ((&input * (1.0 - &sigmoid)?)? + 1.0)?)?;
        Ok([Some((gradient * derivative)?)])
    })
}

/// The hyperbolic tangent.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    let output = detached("tanh", x)?.tanh()?;
    attach_with_output([x], output, |output, gradient, _| Ok([Some((gradient * (1.0 - output.sqr()?)?)?)]))
}

/// `min(max(x + 3, 0), 6) / 6`. The gradient is 0 at -3 and 3, and beyond.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn hard_sigmoid(x: &Tensor) -> Result<Tensor> {
    let input = detached("hard_sigmoid", x)?;
    let output = (clipped(&(&input + 3.0)?, 0.0, 6.0)? / 6.0)?;
    attach([x], output, move |gradient, _| Ok([Some((zero_outside(&input, -3.0, 3.0, gradient)? / 6.0)?)]))
}

/// `x * hard_sigmoid(x)`. The gradient is 0 at -3 and below, and passes unchanged at 3 and above.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn hard_swish(x: &Tensor) -> Result<Tensor> {
    let input = detached("hard_swish", x)?;
    let output = ((&input * clipped(&(&input + 3.0)?, 0.0, 6.0)?)? / 6.0)?;
    attach([x], output, move |gradient, _| {
        let between = (gradient * ((&input / 3.0)? + 0.5)?)?;
        let below = zero_at_most(&input, -3.0, &between)?;
        Ok([Some(input.ge(&filled(&input, 3.0)?)?.where_cond(gradient, &below)?)])
    })
}

/// `x * Φ(x)`, `Φ` the distribution function of the standard normal distribution: GELU by [`erf`].
///
/// # Errors
/// `x` is not f32 or f64.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if cpu::takes(x) {
        return cpu::activation(x, Activation::Gelu);
    }
    let input = detached("gelu", x)?;
    attach([x], input.gelu_erf()?, move |gradient, _| {
        let distribution = (((&input / SQRT_2)?.erf()? + 1.0)? * 0.5)?;
        let density = ((input.sqr()? * -0.5)?.exp()? * (0.5 * SQRT_2_OVER_PI))?;
        Ok([Some((gradient * (distribution + (&input * density)?)?)?)])
    })
}

/// `0.5 * x * (1 + tanh(sqrt(2 / π) * (x + 0.044715 * x³)))`: GELU by its usual approximation.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    /// Weight of `x³`.
    const CUBIC: f64 = 0.044715;
    let input = detached("gelu_tanh", x)?;
    attach([x], input.gelu()?, move |gradient, _| {
        let square = input.sqr()?;
        let tanh = (&input * square.affine(SQRT_2_OVER_PI * CUBIC, SQRT_2_OVER_PI)?)?.tanh()?;
        let by_tanh = ((1.0 - tanh.sqr()?)? * square.affine(3.0 * SQRT_2_OVER_PI * CUBIC, SQRT_2_OVER_PI)?)?;
        let derivative = (((tanh + 1.0)? + (&input * by_tanh)?)? * 0.5)?;
        Ok([Some((gradient * derivative)?)])
    })
}

/// The error function `2 / sqrt(π) * ∫ exp(-t²) dt` from 0 to `x`.
///
/// # Errors
/// `x` is not f32 or f64.
pub fn erf(x: &Tensor) -> Result<Tensor> {
    let input = detached("erf", x)?;
    attach([x], input.erf()?, move |gradient, _| Ok([Some((gradient * (input.sqr()?.neg()?.exp()? * FRAC_2_SQRT_PI)?)?)]))
}

fn logistic(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// A tensor of one number, in the shape of `x`. Made on the device: candle copies the number of a comparison from the host.
fn filled(x: &Tensor, number: f64) -> Result<Tensor> {
    x.zeros_like()? + number
}

/// `min(max(x, low), high)`. Not candle's `clamp`: on some devices it turns NaN into a bound.
fn clipped(x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    let (low, high) = (filled(x, low)?, filled(x, high)?);
    let raised = x.le(&low)?.where_cond(&low, x)?;
    x.ge(&high)?.where_cond(&high, &raised)
}

/// `numbers` with 0 where `x` is at or beyond a bound.
fn zero_outside(x: &Tensor, low: f64, high: f64, numbers: &Tensor) -> Result<Tensor> {
    x.ge(&filled(x, high)?)?.where_cond(&x.zeros_like()?, &zero_at_most(x, low, numbers)?)
}

/// `numbers` with 0 where `x` is at most `bound`.
fn zero_at_most(x: &Tensor, bound: f64, numbers: &Tensor) -> Result<Tensor> {
    x.le(&filled(x, bound)?)?.where_cond(&x.zeros_like()?, numbers)
}
