//! What happens to the sums of a convolution while they are in the cache.

use crate::simd::{Kernel, Vector};

/// The end of a convolution. Slices lie as the target map does.
#[derive(Debug)]
pub enum Finish<'a> {
    /// The target gets the sums.
    Sums,
    /// The sums are added to what the target holds.
    Add,
    /// Plus the bias of the channel.
    Bias(&'a [f32]),
    /// Plus the bias of the channel, plus the shortcut, then ReLU.
    Relu {
        /// One number per channel.
        bias: &'a [f32],
        /// A map to be added in front of the ReLU.
        shortcut: Option<&'a [f32]>,
        /// Gets 1 where the result is above zero and 0 elsewhere, for [`Finish::Silence`] on the way back.
        live: Option<&'a mut [u8]>,
    },
    /// Zero where `live` is zero: the way back through a ReLU.
    Silence(&'a [u8]),
    /// Plus the gradient that came another way, then, if there is a ReLU, back through it.
    Join {
        /// A map of gradients.
        other: &'a [f32],
        /// As for [`Finish::Silence`].
        live: Option<&'a [u8]>,
    },
}

impl Finish<'_> {
    /// Every slice has the size that the target's asks for.
    pub(super) fn check(&self, target: usize, channels: usize) {
        let fits = match self {
            Self::Sums | Self::Add => true,
            Self::Bias(bias) => bias.len() == channels,
            Self::Relu { bias, shortcut, live } => {
                bias.len() == channels
                    && shortcut.is_none_or(|map| map.len() == target)
                    && live.as_ref().is_none_or(|map| map.len() == target)
            }
            Self::Silence(live) => live.len() == target,
            Self::Join { other, live } => other.len() == target && live.is_none_or(|live| live.len() == target),
        };
        assert!(fits, "what finishes a convolution has the shape of its target");
    }
}

/// Zero where `live` is zero: the way back through a ReLU, for a gradient that no convolution has just computed.
pub fn silence(gradient: &mut [f32], live: &[u8]) {
    assert!(gradient.len() == live.len(), "one mark per gradient");
    silence_block(gradient, live);
}

/// A stretch of `width` channels, from `channel` on, of `rows` rows of the target, the first at `start`, `stride` apart.
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

    // Plain Rust: inside `Isa::run` the compiler turns these loops into the vectors of the instruction set.
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
                Finish::Silence(live) => silence_block(sums, &live[place]),
                Finish::Join { other, live } => {
                    add(sums, &other[place.clone()]);
                    if let Some(live) = live {
                        silence_block(sums, &live[place]);
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

/// Not `max`: a NaN must stay one, so that a broken model is noticed.
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
fn silence_block(gradient: &mut [f32], live: &[u8]) {
    let (blocks, rest) = gradient.as_chunks_mut::<STEP>();
    let (live, live_rest) = live.as_chunks::<STEP>();
    for (gradient, live) in blocks.iter_mut().zip(live) {
        (0..STEP).for_each(|lane| gradient[lane] = if live[lane] == 0 { 0.0 } else { gradient[lane] });
    }
    rest.iter_mut().zip(live_rest).for_each(|(gradient, &live)| *gradient = if live == 0 { 0.0 } else { *gradient });
}
