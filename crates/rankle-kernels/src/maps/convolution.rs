//! Convolutions of any shape and their input gradients, both as gathers.

use super::axis::{Reach, Run};
use super::finish::{Finish, FinishRows};
use super::winograd::{POINTS, Winograd};
use crate::aligned::Aligned;
use crate::dense::Panels;
use crate::size::{product, sum};
use crate::tile::{Left, Right, Store, Stretch, Stretches, split, tile};

/// The shape of a convolution on stacks of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step of the kernel from one output to the next.
    pub stride: usize,
    /// Zeros above and to the left of the input. The zeros below and to the right follow from the sizes.
    pub before: usize,
    /// Rows and columns of the input.
    pub input: (usize, usize),
    /// Rows and columns of the output.
    pub output: (usize, usize),
}

impl ConvShape {
    /// A convolution with `padding` zeros on every side: PyTorch's `Conv2d(inputs, outputs, kernel, stride, padding)`.
    pub fn new(channels: (usize, usize), kernel: usize, stride: usize, padding: usize, input: (usize, usize)) -> Self {
        assert!(kernel >= 1 && stride >= 1, "a convolution needs a kernel and a stride");
        let padded = |side: usize| sum([side, padding, padding]);
        let fits = |side: usize| (kernel..usize::MAX).contains(&padded(side));
        assert!(fits(input.0) && fits(input.1), "the kernel is larger than the padded input, or nothing is large enough for it");
        let output = |side: usize| (padded(side) - kernel) / stride + 1;
        let (inputs, outputs) = channels;
        Self { inputs, outputs, kernel, stride, before: padding, input, output: (output(input.0), output(input.1)) }
    }
    /// Number of positions of the kernel.
    pub fn taps(&self) -> usize {
        product([self.kernel, self.kernel])
    }
    /// Numbers per image in the input.
    pub fn input_len(&self) -> usize {
        product([self.input.0, self.input.1, self.inputs])
    }
    /// Numbers per image in the output.
    pub fn output_len(&self) -> usize {
        product([self.output.0, self.output.1, self.outputs])
    }
    pub(super) fn filters_len(&self) -> usize {
        product([self.outputs, self.inputs, self.taps()])
    }
    /// Panics on shapes of no convolution and on sizes beyond any memory: a shape that is built by hand may hold any numbers. In
    /// a shape that passes, positions are computed with plain arithmetic.
    fn check(&self) {
        assert!(self.kernel > 0 && self.stride > 0, "a convolution needs a kernel and a stride: {self:?}");
        assert!(self.inputs > 0 && self.outputs > 0, "a convolution without channels: {self:?}");
        let (input, output) = (self.input_len(), self.output_len());
        assert!(input > 0 && output > 0, "a convolution without pixels: {self:?}");
        assert!(input.max(output).max(self.filters_len()) <= u32::MAX as usize, "a convolution too large: {self:?}");
    }
    /// Panics on maps that do not have the size of `images` images.
    pub(super) fn check_maps(&self, images: usize, input: &[f32], output: &[f32]) {
        let [inputs, outputs] = [self.input_len(), self.output_len()].map(|len| product([images, len]));
        assert!(images > 0 && input.len() == inputs && output.len() == outputs, "maps of this shape");
    }
    pub(super) fn reach(&self, side: impl Fn((usize, usize)) -> usize) -> Reach {
        let Self { kernel, stride, before, input, output, .. } = *self;
        Reach { kernel, stride, before, input: side(input), output: side(output) }
    }
}

/// A convolution: a [`ConvShape`] with precomputed geometry. Filters are [`Panels`] in one of two forms, see [`Conv::pack`] and
/// [`Conv::winograd`].
#[derive(Clone, Debug)]
pub struct Conv {
    pub(super) shape: ConvShape,
    forward: Geometry,
    backward: Geometry,
    pub(super) winograd: Option<Winograd>,
}

/// The source pixels of each target pixel, by rows and by columns.
#[derive(Clone, Debug)]
struct Geometry {
    rows: Vec<Run>,
    columns: Vec<Run>,
    source_width: usize,
    target_width: usize,
    kernel: usize,
}

impl Conv {
    /// Precomputes the geometry of a shape.
    pub fn new(shape: ConvShape) -> Self {
        shape.check();
        let (rows, columns) = (shape.reach(|size| size.0), shape.reach(|size| size.1));
        let (input, output, kernel) = (shape.input.1, shape.output.1, shape.kernel);
        Self {
            shape,
            forward: Geometry {
                rows: rows.forward(),
                columns: columns.forward(),
                source_width: input,
                target_width: output,
                kernel,
            },
            backward: Geometry {
                rows: rows.backward(),
                columns: columns.backward(),
                source_width: output,
                target_width: input,
                kernel,
            },
            winograd: Winograd::of(shape),
        }
    }

    /// Shape of the convolution.
    pub fn shape(&self) -> ConvShape {
        self.shape
    }

    /// Computes the output map of `images` images; `filters` come from [`Conv::pack`] or [`Conv::winograd`].
    pub fn forward(&self, filters: &Panels, input: &[f32], images: usize, finish: Finish<'_>, output: &mut [f32]) {
        let shape = &self.shape;
        assert!(filters.outputs() == shape.outputs, "filters of this shape");
        shape.check_maps(images, input, output);
        self.run(&self.forward, filters, shape.inputs, input, images, finish, output);
    }

    /// Computes the gradient of the input from that of the output; `filters` come from [`Conv::transpose`], in either form.
    pub fn input_gradient(&self, filters: &Panels, gradient: &[f32], images: usize, finish: Finish<'_>, input: &mut [f32]) {
        let shape = &self.shape;
        assert!(filters.outputs() == shape.inputs, "filters of this shape");
        shape.check_maps(images, input, gradient);
        self.run(&self.backward, filters, shape.outputs, gradient, images, finish, input);
    }

    #[allow(clippy::too_many_arguments, reason = "the two directions, which differ in all of them")]
    fn run(
        &self,
        geometry: &Geometry,
        filters: &Panels,
        channels: usize,
        source: &[f32],
        images: usize,
        finish: Finish<'_>,
        target: &mut [f32],
    ) {
        match self.winograd.filter(|_| filters.inputs() == product([POINTS, channels])) {
            Some(winograd) => winograd.run(filters, source, images, finish, target),
            None => {
                assert!(filters.inputs() == product([self.shape.taps(), channels]), "filters of this shape");
                geometry.gather(filters, source, images, finish, target);
            }
        }
    }
}

/// Rows of a tile: positions in the source and in the target, each with a constant step.
struct TileRows {
    source: usize,
    source_step: usize,
    /// Counted in rows of the target, not in numbers.
    target: usize,
    target_step: usize,
    count: usize,
}

impl Geometry {
    /// Computes the target; every number is one chain of additions: taps from top left to bottom right, channels ascending.
    fn gather(&self, filters: &Panels, source: &[f32], images: usize, mut finish: Finish<'_>, target: &mut [f32]) {
        let (isa, taps) = (filters.isa(), self.kernel * self.kernel);
        let (inputs, outputs, panel) = (filters.inputs() / taps, filters.outputs(), isa.panel());
        finish.check(target.len(), outputs);
        let store = if matches!(finish, Finish::Add) { Store::Add } else { Store::Overwrite };
        let mut stretches = Vec::with_capacity(taps);
        let mut edge = Aligned::zeros(isa.rows() * panel);
        for (first, filters) in filters.panels().enumerate().map(|(index, filters)| (index * panel, filters)) {
            let width = panel.min(outputs - first);
            let columns = if width <= isa.lanes() { isa.lanes() } else { panel };
            for (down, y) in self.rows.iter().flat_map(|down| (0..down.count).map(move |y| (down, y))) {
                for across in &self.columns {
                    // For a single image, neighboring taps are contiguous in both operands.
                    let together = if images == 1 && across.taps_lie_together() { across.taps.len() } else { 1 };
                    stretches.clear();
                    for row in &down.taps {
                        let source_row = (row.source + y * down.source_step) * self.source_width;
                        stretches.extend(across.taps.iter().step_by(together).map(|column| Stretch {
                            left: (source_row + column.source) * images * inputs,
                            right: (row.index * self.kernel + column.index) * inputs * panel,
                        }));
                    }
                    let target_row = (down.target + y * down.target_step) * self.target_width + across.target;
                    rows_of(across, target_row, images, inputs, |rows| {
                        for piece in split(rows.count, isa.rows()) {
                            let start = (rows.target + piece.start * rows.target_step) * outputs + first;
                            let stride = product([rows.target_step, outputs]);
                            // Without taps inside the source the position does not matter.
                            let place = sum([rows.source, product([piece.start, rows.source_step])]).min(source.len());
                            let data = &source[place..];
                            let left = Left {
                                data,
                                row: rows.source_step,
                                step: 1,
                                stretches: Stretches::Listed(&stretches),
                                len: together * inputs,
                            };
                            let right = Right { data: filters, stride: panel };
                            if stretches.is_empty() {
                                // These pixels have no taps inside the source.
                                if store == Store::Overwrite {
                                    (0..piece.len()).for_each(|row| target[start + row * stride..][..width].fill(0.0));
                                }
                            } else if width == columns {
                                let out = &mut target[start..];
                                tile(isa, piece.len(), columns, left, right, out, stride, store);
                            } else {
                                tile(isa, piece.len(), columns, left, right, &mut edge, columns, Store::Overwrite);
                                for (row, sums) in edge.chunks_exact(columns).take(piece.len()).enumerate() {
                                    for (target, &sum) in target[start + row * stride..][..width].iter_mut().zip(sums) {
                                        *target = if store == Store::Add { *target + sum } else { sum };
                                    }
                                }
                            }
                            let (finish, target, rows) = (&mut finish, &mut *target, piece.len());
                            isa.run(FinishRows { finish, target, start, stride, rows, channel: first, width });
                        }
                    });
                }
            }
        }
    }
}

/// Cuts the pixels of a run, of all images, into rows with constant steps. If source and target both move pixel by pixel, all
/// pixels are one piece; else a piece is one pixel of all images or all pixels of one image, whichever is longer.
fn rows_of(run: &Run, target: usize, images: usize, channels: usize, mut visit: impl FnMut(TileRows)) {
    let (source_step, target_step, count) = (run.source_step, run.target_step, run.count);
    if source_step == 1 && target_step == 1 {
        visit(TileRows { source: 0, source_step: channels, target: target * images, target_step: 1, count: count * images });
    } else if images >= count {
        for x in 0..count {
            let source = product([x, source_step, images, channels]);
            let target = (target + x * target_step) * images;
            visit(TileRows { source, source_step: channels, target, target_step: 1, count: images });
        }
    } else {
        for image in 0..images {
            let (source, target) = (image * channels, target * images + image);
            let (source_step, target_step) = (product([source_step, images, channels]), product([target_step, images]));
            visit(TileRows { source, source_step, target, target_step, count });
        }
    }
}
