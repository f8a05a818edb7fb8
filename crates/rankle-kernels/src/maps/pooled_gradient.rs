//! The input gradient of a convolution that is followed by a ReLU and a max pooling.

use super::pool::SILENT;
use super::{Conv, MaxPool, StackIndex};
use crate::add_rows::add_rows;
use crate::aligned::Aligned;
use crate::dense::Panels;
use crate::simd::{Isa, Kernel, Vector};
use crate::size::{product, sum};

/// The input gradient through a convolution of stride 1 without padding, its ReLU and its pooling, on the map of one image.
///
/// In a channel of a pooling window one number has a gradient, none if ReLU silenced it. So every window lists its live channels
/// by the position that won, and each of them adds kernel rows to the map: a fraction of the dense convolution.
#[derive(Debug)]
pub struct PooledGradient {
    conv: Conv,
    pool: MaxPool,
    isa: Isa,
    /// `[kernel][outputs][row]`.
    table: Aligned,
    /// Numbers in a kernel row.
    row: usize,
}

impl PooledGradient {
    /// Packs filters from [`Conv::pack`]. A kernel row must fill registers: kernel times inputs is a multiple of 16.
    pub fn new(conv: &Conv, pool: &MaxPool, filters: &Panels) -> Self {
        let shape = conv.shape();
        let row = product([shape.kernel, shape.inputs]);
        assert!(shape.stride == 1 && shape.before == 0, "a convolution of stride 1 without padding");
        let inside = |output: usize, input: usize| sum([output, shape.kernel]) <= sum([input, 1]);
        assert!(inside(shape.output.0, shape.input.0) && inside(shape.output.1, shape.input.1), "a kernel inside of its input");
        assert!(shape.output == pool.input(), "a pooling of this convolution's output");
        let step = product([shape.outputs, row]);
        assert!(row.is_multiple_of(16) && step <= u32::MAX as usize, "kernel rows that fill registers");
        conv.check_filters(filters, shape.taps());
        let mut table = Aligned::zeros(product([shape.kernel, step]));
        for (ky, table) in table.chunks_exact_mut(step).enumerate() {
            for (output, table) in table.chunks_exact_mut(row).enumerate() {
                table.iter_mut().enumerate().for_each(|(tap, weight)| *weight = filters.get(output, ky * row + tap));
            }
        }
        Self { conv: conv.clone(), pool: pool.clone(), isa: filters.isa(), table, row }
    }

    /// Computes the gradient of the map from the gradient of the stack of pooled maps.
    pub fn run(&self, upstream: &[f32], winners: &[u8], place: StackIndex, map: &mut [f32]) {
        let shape = self.conv.shape();
        assert!(map.len() == shape.input_len(), "the map of one image");
        let (height, width) = self.pool.output();
        let stack = product([height, width, place.images, shape.outputs]);
        assert!(place.image < place.images && upstream.len() == stack && winners.len() == stack, "a stack behind this pooling");
        map.fill(0.0);
        self.isa.run(Run { gradient: self, upstream, winners, place, map });
    }
}

struct Run<'a> {
    gradient: &'a PooledGradient,
    upstream: &'a [f32],
    winners: &'a [u8],
    place: StackIndex,
    map: &'a mut [f32],
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let PooledGradient { conv, pool, table, row, .. } = self.gradient;
        let (shape, row) = (conv.shape(), *row);
        let (outputs, taps) = (shape.outputs, pool.kernel() * pool.kernel());
        // One list per position, and one for the silent channels, which is not used.
        let stride = outputs;
        let (mut values, mut rows) = (vec![0.0f32; (taps + 1) * stride], vec![0u32; (taps + 1) * stride]);
        let mut counts = vec![0usize; taps + 1];
        pool.windows(|pixel, positions| {
            counts.fill(0);
            let at = self.place.of(pixel) * outputs;
            let live = self.upstream[at..][..outputs].iter().zip(&self.winners[at..][..outputs]);
            for (channel, (&upstream, &winner)) in live.enumerate() {
                let list = if winner == SILENT { taps } else { usize::from(winner) };
                let end = list * stride + counts[list];
                (values[end], rows[end]) = (upstream, (channel * row) as u32);
                counts[list] += 1;
            }
            for (position, source) in positions {
                let list = usize::from(position);
                let (values, rows) = (&values[list * stride..][..counts[list]], &rows[list * stride..][..counts[list]]);
                if values.is_empty() {
                    continue;
                }
                let (y, x) = (source / shape.output.1, source % shape.output.1);
                for (ky, table) in table.chunks_exact(outputs * row).enumerate() {
                    let target = &mut self.map[((y + ky) * shape.input.1 + x) * shape.inputs..][..row];
                    // SAFETY: every entry of `rows` is `channel * row` with `channel < outputs`, which fits in 32 bits (`new`).
                    // The table has `outputs * row` numbers; `row` is a multiple of 16, hence of `LANES`.
                    unsafe { add_rows::<V>(target, values, rows, table) };
                }
            }
        });
    }
}
