//! The last step of a convolution, on sums that are in the cache.

use crate::simd::{Kernel, Vector};

/// Last step of a convolution. Slices are laid out as the target map.
#[derive(Debug)]
pub enum Finish<'a> {
    /// Writes the sums to the target.
    Sums,
    /// Adds the sums to the target.
    Add,
    /// Adds the bias of the channel.
    Bias(&'a [f32]),
    /// Adds the bias of the channel and the shortcut, then applies ReLU.
    Relu {
        /// One number per channel.
        bias: &'a [f32],
        /// Map added before the ReLU; `None` if there is no shortcut.
        shortcut: Option<&'a [f32]>,
        /// Set to 1 where the result is above zero and to 0 elsewhere, for [`Finish::ReluBackward`] in the backward pass.
        live: Option<&'a mut [u8]>,
    },
    /// Sets the sums to zero where the marks are zero: the backward pass of a ReLU.
    ReluBackward(&'a [u8]),
    /// Adds the gradient of another branch, then goes back through the ReLU, if there is one.
    AddBranch {
        /// Gradient of the other branch.
        other: &'a [f32],
        /// Marks as for [`Finish::ReluBackward`]; `None` if there is no ReLU.
        live: Option<&'a [u8]>,
    },
}

impl Finish<'_> {
    /// Panics on slices that do not fit a target of this size.
    pub(super) fn check(&self, target: usize, channels: usize) {
        let fits = match self {
            Self::Sums | Self::Add => true,
            Self::Bias(bias) => bias.len() == channels,
            Self::Relu { bias, shortcut, live } => {
                bias.len() == channels
                    && shortcut.is_none_or(|map| map.len() == target)
                    && live.as_ref().is_none_or(|map| map.len() == target)
            }
            Self::ReluBackward(live) => live.len() == target,
            Self::AddBranch { other, live } => other.len() == target && live.is_none_or(|live| live.len() == target),
        };
        assert!(fits, "what finishes a convolution has the shape of its target");
    }
}

/// Sets the gradient to zero where `live` is zero: the backward pass of a ReLU, apart from a convolution.
pub fn relu_backward(gradient: &mut [f32], live: &[u8]) {
    assert!(gradient.len() == live.len(), "one mark per gradient");
    relu_backward_block(gradient, live);
}

/// Applies a [`Finish`] to `width` channels from `channel` on, in `rows` rows of the target from `start` on, `stride` apart.
pub(super) struct FinishRows<'a, 'f> {
    pub finish: &'a mut Finish<'f>,
    pub target: &'a mut [f32],
    pub start: usize,
    pub stride: usize,
    pub rows: usize,
    pub channel: usize,
    pub width: usize,
}

impl Kernel for FinishRows<'_, '_> {
    type Output = ();

    // Plain Rust: inside `Isa::run` the compiler vectorizes these loops for the instruction set.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { finish, target, start, stride, rows, channel, width } = self;
        for row in 0..rows {
            let place = start + row * stride..start + row * stride + width;
            let sums = &mut target[place.clone()];
            match finish {
                Finish::Sums | Finish::Add => {}
                Finish::Bias(bias) => add(sums, &bias[channel..][..width]),
                Finish::Relu { bias, shortcut, live } => {
                    let bias = &bias[channel..][..width];
                    match shortcut {
                        Some(shortcut) => add_both(sums, bias, &shortcut[place.clone()]),
                        None => add(sums, bias),
                    }
                    match live {
                        Some(live) => relu_marked(sums, &mut live[place]),
                        None => relu(sums),
                    }
                }
                Finish::ReluBackward(live) => relu_backward_block(sums, &live[place]),
                Finish::AddBranch { other, live } => {
                    add(sums, &other[place.clone()]);
                    if let Some(live) = live {
                        relu_backward_block(sums, &live[place]);
                    }
                }
            }
        }
    }
}

/// Numbers per step of the loops below: one register of the widest set, so that each step compiles to a few instructions.
const STEP: usize = 16;

#[inline(always)]
fn add(sums: &mut [f32], bias: &[f32]) {
    let (blocks, rest) = sums.as_chunks_mut::<STEP>();
    let (bias, bias_rest) = bias.as_chunks::<STEP>();
    for (sums, bias) in blocks.iter_mut().zip(bias) {
        (0..STEP).for_each(|lane| sums[lane] += bias[lane]);
    }
    rest.iter_mut().zip(bias_rest).for_each(|(sum, bias)| *sum += bias);
}

#[inline(always)]
fn add_both(sums: &mut [f32], bias: &[f32], shortcut: &[f32]) {
    let (blocks, rest) = sums.as_chunks_mut::<STEP>();
    let (bias, bias_rest) = bias.as_chunks::<STEP>();
    let (shortcut, shortcut_rest) = shortcut.as_chunks::<STEP>();
    for ((sums, bias), shortcut) in blocks.iter_mut().zip(bias).zip(shortcut) {
        (0..STEP).for_each(|lane| sums[lane] += bias[lane] + shortcut[lane]);
    }
    rest.iter_mut().zip(bias_rest).zip(shortcut_rest).for_each(|((sum, bias), shortcut)| *sum += bias + shortcut);
}

/// ReLU of one number. Not `max`: a NaN must stay NaN, so that a broken model is noticed.
#[inline(always)]
fn cut(sum: f32) -> f32 {
    if sum <= 0.0 { 0.0 } else { sum }
}

#[inline(always)]
fn relu(sums: &mut [f32]) {
    let (blocks, rest) = sums.as_chunks_mut::<STEP>();
    for sums in blocks {
        (0..STEP).for_each(|lane| sums[lane] = cut(sums[lane]));
    }
    rest.iter_mut().for_each(|sum| *sum = cut(*sum));
}

#[inline(always)]
fn relu_marked(sums: &mut [f32], live: &mut [u8]) {
    let (blocks, rest) = sums.as_chunks_mut::<STEP>();
    let (live, live_rest) = live.as_chunks_mut::<STEP>();
    for (sums, live) in blocks.iter_mut().zip(live) {
        (0..STEP).for_each(|lane| live[lane] = u8::from(sums[lane] > 0.0));
        (0..STEP).for_each(|lane| sums[lane] = cut(sums[lane]));
    }
    for (sum, live) in rest.iter_mut().zip(live_rest) {
        (*live, *sum) = (u8::from(*sum > 0.0), cut(*sum));
    }
}

#[inline(always)]
fn relu_backward_block(gradient: &mut [f32], live: &[u8]) {
    let (blocks, rest) = gradient.as_chunks_mut::<STEP>();
    let (live, live_rest) = live.as_chunks::<STEP>();
    for (gradient, live) in blocks.iter_mut().zip(live) {
        (0..STEP).for_each(|lane| gradient[lane] = if live[lane] == 0 { 0.0 } else { gradient[lane] });
    }
    rest.iter_mut().zip(live_rest).for_each(|(gradient, &live)| *gradient = if live == 0 { 0.0 } else { *gradient });
}
