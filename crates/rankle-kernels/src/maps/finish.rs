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
        };
        assert!(fits, "what finishes a convolution has the shape of its target");
    }
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
                Finish::Bias(bias) => sums.iter_mut().zip(&bias[channel..][..width]).for_each(|(sum, bias)| *sum += bias),
                Finish::Relu { bias, shortcut, live } => {
                    let bias = &bias[channel..][..width];
                    match shortcut {
                        Some(shortcut) => {
                            for ((sum, bias), shortcut) in sums.iter_mut().zip(bias).zip(&shortcut[place.clone()]) {
                                *sum += bias + shortcut;
                            }
                        }
                        None => sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias),
                    }
                    if let Some(live) = live {
                        live[place].iter_mut().zip(&*sums).for_each(|(live, &sum)| *live = u8::from(sum > 0.0));
                    }
                    // Not `max`: a NaN must stay one, so that a broken model is noticed.
                    sums.iter_mut().for_each(|sum| *sum = if *sum <= 0.0 { 0.0 } else { *sum });
                }
                Finish::Silence(live) => {
                    let live = &live[place];
                    sums.iter_mut().zip(live).for_each(|(sum, &live)| *sum = if live == 0 { 0.0 } else { *sum });
                }
            }
        }
    }
}
