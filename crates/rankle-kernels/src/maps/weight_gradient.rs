//! The weight gradient of a convolution.

use super::Conv;
use super::axis::Reach;
use crate::simd::Isa;
use crate::size::product;
use crate::tile::{Left, Right, Store, Stretch, Stretches, split, tile};

/// A chunk of images for the weight gradient: the convolution's input, and the gradient of its output.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    /// The convolution's input.
    pub input: &'a [f32],
    /// The gradient of the convolution's output.
    pub upstream: &'a [f32],
    /// Number of images.
    pub images: usize,
}

/// Fewest rows of the gradient that are packed at a time: they fit in the cache and are enough for a tile.
const BLOCK: usize = 256;

impl Conv {
    /// Number of parts of [`Conv::weight_gradient`]: one per panel of outputs and row of the kernel.
    pub fn weight_gradient_parts(&self, isa: Isa) -> usize {
        product([self.shape.outputs.div_ceil(isa.panel()), self.shape.kernel])
    }

    /// Numbers in each part.
    pub fn weight_gradient_part_len(&self, isa: Isa) -> usize {
        product([self.shape.kernel, self.shape.inputs, isa.panel()])
    }

    /// Computes one part of the weight gradient over all images, chunk by chunk: the order of the sum depends only on how the
    /// images are cut into chunks. The parts in order are the gradient in the layout of [`Conv::pack`].
    pub fn weight_gradient(&self, isa: Isa, part: usize, stacks: &[Stack<'_>], gradient: &mut [f32]) {
        let shape = &self.shape;
        assert!(part < self.weight_gradient_parts(isa), "a part of this convolution's filters");
        assert!(gradient.len() == self.weight_gradient_part_len(isa), "one number per weight of the part");
        gradient.fill(0.0);
        let (first, ky) = (part / shape.kernel * isa.panel(), part % shape.kernel);
        let down = Overlap::of(shape.reach(|size| size.0), ky);
        let mut packed = Packed { isa, first, outputs: shape.outputs, rows: Vec::new() };
        for stack in stacks {
            shape.check_maps(stack.images, stack.input, stack.upstream);
            let line = shape.output.1 * stack.images;
            for lines in down.lines(BLOCK.div_ceil(line)) {
                packed.take(&stack.upstream[lines.start * line * shape.outputs..lines.end * line * shape.outputs]);
                let source = down.source + (lines.start - down.target) * shape.stride;
                for (kx, gradient) in gradient.chunks_exact_mut(shape.inputs * isa.panel()).enumerate() {
                    self.add_tap(kx, source, lines.len(), stack, &packed, gradient);
                }
            }
        }
    }

    /// Adds the gradient of one tap from packed lines of the output's gradient. `source` is the input line under the first line.
    fn add_tap(&self, kx: usize, source: usize, lines: usize, stack: &Stack<'_>, packed: &Packed, gradient: &mut [f32]) {
        let (shape, images, isa, panel) = (&self.shape, stack.images, packed.isa, packed.isa.panel());
        let across = Overlap::of(shape.reach(|size| size.1), kx);
        // Number of pixels that are contiguous in both operands.
        let together = if shape.stride == 1 { across.count } else { 1 };
        let mut stretches = Vec::new();
        for y in 0..lines {
            for x in (0..across.count).step_by(together.max(1)) {
                let input = (source + y * shape.stride) * shape.input.1 + across.source + x * shape.stride;
                let upstream = y * shape.output.1 + across.target + x;
                stretches.push(Stretch { left: input * images * shape.inputs, right: upstream * images * panel });
            }
        }
        if stretches.is_empty() {
            return;
        }
        for channels in split(shape.inputs, isa.rows()) {
            let (data, len) = (&stack.input[channels.start..], together * images);
            let left = Left { data, row: 1, step: shape.inputs, stretches: Stretches::Listed(&stretches), len };
            let right = Right { data: &packed.rows, stride: panel };
            let out = &mut gradient[channels.start * panel..];
            tile(isa, channels.len(), panel, left, right, out, panel, Store::Add);
        }
    }
}

/// The outputs for which a tap is inside the input, along one axis.
struct Overlap {
    target: usize,
    source: usize,
    count: usize,
}

impl Overlap {
    fn of(reach: Reach, tap: usize) -> Self {
        let mut sources = (0..reach.output).map(|target| (target, reach.source(target, tap)));
        let first = sources.find_map(|(target, source)| Some((target, source?)));
        let Some((target, source)) = first else { return Self { target: reach.output, source: 0, count: 0 } };
        Self { target, source, count: 1 + sources.take_while(|(_, source)| source.is_some()).count() }
    }

    /// The targets in pieces of at most `most`.
    fn lines(&self, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let end = self.target + self.count;
        (self.target..end).step_by(most).map(move |start| start..end.min(start + most))
    }
}

/// Lines of the output's gradient, packed one panel wide.
struct Packed {
    isa: Isa,
    first: usize,
    outputs: usize,
    rows: Vec<f32>,
}

impl Packed {
    fn take(&mut self, upstream: &[f32]) {
        let panel = self.isa.panel();
        let width = panel.min(self.outputs - self.first);
        self.rows.resize(product([upstream.len() / self.outputs, panel]), 0.0);
        for (packed, row) in self.rows.chunks_exact_mut(panel).zip(upstream.chunks_exact(self.outputs)) {
            packed[..width].copy_from_slice(&row[self.first..][..width]);
        }
    }
}
