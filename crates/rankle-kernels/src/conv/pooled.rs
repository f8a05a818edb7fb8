//! The pooled output and its gradient.

use super::shape::{ConvShape, REGISTER};
use crate::size::{product, sum, whole};

/// The winner of a pooling window that ReLU silenced. The winner of a live window is 0 to 3, row by row, left to right; the first
/// of equal values wins, as in PyTorch.
pub const SILENT: u8 = 4;

/// Layout of pooled rows in memory: the pooled output of one block is the inside of the padded input of the next.
#[derive(Clone, Copy, Debug)]
pub struct PooledRows {
    /// Position of the first number.
    pub origin: usize,
    /// Numbers from one row to the next.
    pub stride: usize,
}

impl PooledRows {
    /// Position behind the last number of a pooled output.
    pub(super) fn end(self, shape: ConvShape) -> usize {
        sum([self.origin, product([shape.pooled_height() - 1, self.stride]), shape.pooled_row()])
    }
}

/// The gradient of a block's pooled output, with the winners of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct PooledUpstream<'a> {
    /// The gradient, laid out as `rows`.
    pub values: &'a [f32],
    /// Layout of `values`.
    pub rows: PooledRows,
    /// The position that won, [`ConvShape::pooled_len`] bytes, channel fastest.
    pub winners: &'a [u8],
}

/// Buffers of [`PooledUpstream::windows`] for channels that do not fill their registers.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    values: Vec<f32>,
    winners: Vec<u8>,
}

/// The pooling windows with their channels in full registers; channels that only fill up the last register are silent.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    values: &'a [f32],
    rows: PooledRows,
    winners: &'a [u8],
    /// Windows in one row.
    width: usize,
    /// Channels of a window, a multiple of [`REGISTER`].
    channels: usize,
}

impl<'a> PooledUpstream<'a> {
    /// Checks the sizes and returns the gradient by windows, copied to `room` if the channels do not fill their registers.
    pub(super) fn windows<'b>(self, shape: ConvShape, room: &'b mut Room) -> Windows<'b>
    where
        'a: 'b,
    {
        let Self { values, rows, winners } = self;
        let (outputs, width) = (shape.outputs, shape.pooled_width());
        assert!(winners.len() == shape.pooled_len(), "one winner per pooled number");
        assert!(values.len() >= rows.end(shape), "the gradient of every pooled number");
        let channels = whole(outputs, REGISTER);
        if channels == outputs {
            return Windows { values, rows, winners, width, channels };
        }
        let len = product([shape.pooled_height(), width, channels]);
        room.values.clear();
        room.values.resize(len, 0.0);
        room.winners.clear();
        room.winners.resize(len, SILENT);
        let exact = Windows { values, rows, winners, width, channels: outputs };
        let copies = room.winners.chunks_exact_mut(channels).zip(room.values.chunks_exact_mut(channels));
        for ((winners, values), (own_winners, own_values)) in exact.iter().zip(copies) {
            own_winners[..outputs].copy_from_slice(winners);
            own_values[..outputs].copy_from_slice(values);
        }
        let rows = PooledRows { origin: 0, stride: width * channels };
        Windows { values: &room.values, rows, winners: &room.winners, width, channels }
    }
}

impl<'a> Windows<'a> {
    /// Winners and gradients of all channels of each window, row by row.
    #[inline(always)]
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [f32])> {
        let Self { values, rows, winners, width, channels } = self;
        winners.chunks_exact(channels).enumerate().map(move |(window, winners)| {
            let at = rows.origin + window / width * rows.stride + window % width * channels;
            (winners, &values[at..][..channels])
        })
    }
}
