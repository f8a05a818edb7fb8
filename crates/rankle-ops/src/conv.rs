//! Convolutions.

use crate::activation::clip;
use crate::attach::{attach, attach_numbers};
use crate::check::{detached, parameter, same_type};
use crate::cpu;
use crate::padding::{Padding, Windows};
use candle_core::{D, Result, Shape, Tensor, bail};
use std::sync::{Arc, Mutex, PoisonError};

/// Options of a convolution. Pairs are rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Distance of neighboring windows, in pixels.
    pub stride: [usize; 2],
    /// Zeros around the images.
    pub padding: Padding,
    /// Distance of neighboring pixels in a window.
    pub dilation: [usize; 2],
    /// Number of equal groups of channels: outputs of a group see the inputs of this group alone.
    pub groups: usize,
}

impl Default for Conv2d {
    /// Stride and dilation 1, no padding, one group.
    fn default() -> Self {
        Self { stride: [1, 1], padding: Padding::default(), dilation: [1, 1], groups: 1 }
    }
}

/// Cross-correlation, as PyTorch's `conv2d`: images `x` `(n, c, h, w)`, `weight` `(o, c / groups, kernel rows, kernel columns)`
/// and `bias` `(o)` give `(n, o, rows, columns)`. Here `rows` is
/// `(h + top + bottom - dilation * (kernel rows - 1) - 1) / stride + 1`, rounded down, and `columns` alike.
///
/// # Errors
/// Shapes or options that do not fit, a zero among them, tensors of different types, or anything but f32 and f64.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: &Conv2d) -> Result<Tensor> {
    convolve([x, weight], bias, options, None, |convolution| convolution.on_cpu().map(Arc::new))
}

/// [`conv2d`] with weights that stay the same. On the CPU, what is prepared of them is kept from one call to the next, for images of
/// one size: deep networks spend a fifth of their time on it.
#[derive(Debug)]
pub struct FrozenConv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    options: Conv2d,
    bounds: Option<[f64; 2]>,
    /// Of the images that came last.
    prepared: Mutex<Option<(Convolution, Arc<cpu::Convolution>)>>,
}

impl FrozenConv2d {
    /// Freezes `weight` and `bias`, which get no gradients.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, options: Conv2d) -> Self {
        Self { weight: weight.detach(), bias: bias.map(Tensor::detach), options, bounds: None, prepared: Mutex::default() }
    }

    /// The same with [`clip`] on its results, on the CPU while they are in the cache. [`crate::relu`] is a clip between 0 and infinity.
    #[must_use]
    pub fn clipped(self, low: f64, high: f64) -> Self {
        Self { bounds: Some([low, high]), ..self }
    }

    /// The convolution of images, as [`conv2d`].
    ///
    /// # Errors
    /// As [`conv2d`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        convolve([x, &self.weight], self.bias.as_ref(), &self.options, self.bounds, |convolution| {
            let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, on_cpu)) = prepared.as_ref().filter(|(of, _)| of == convolution) {
                return Some(Arc::clone(on_cpu));
            }
            let on_cpu = Arc::new(convolution.on_cpu()?);
            *prepared = Some((*convolution, Arc::clone(&on_cpu)));
            Some(on_cpu)
        })
    }
}

/// [`conv2d`] and a [`clip`], with the CPU's kernels for a convolution as `prepare` finds them.
fn convolve(
    [x, weight]: [&Tensor; 2],
    bias: Option<&Tensor>,
    options: &Conv2d,
    bounds: Option<[f64; 2]>,
    prepare: impl FnOnce(&Convolution) -> Option<Arc<cpu::Convolution>>,
) -> Result<Tensor> {
    let convolution = Convolution::new(x, weight, options)?;
    let images = detached("conv2d", x)?;
    let kernels = detached("conv2d", weight)?;
    let outputs = convolution.outputs;
    let shift = bias.map(|bias| parameter("conv2d: bias", bias, x, outputs, (1, outputs, 1, 1))).transpose()?;

    if cpu::takes(x)
        && let Some(on_cpu) = prepare(&convolution)
    {
        let windows = convolution.windows;
        let bounds = bounds.map(|bounds| bounds.map(|bound| bound as f32));
        let output = on_cpu.forward(&images, &kernels, shift.as_ref(), bounds)?;
        let shape = (x.dims()[0], outputs, windows.output[0], windows.output[1]);
        let frozen = images.clone();
        return attach_numbers(
            [x, weight, bias.unwrap_or(&frozen)],
            output,
            shape,
            move |output, gradient, [for_x, for_weight, for_bias]| {
                let within = bounds.map(|bounds| cpu::within(output, bounds, gradient)).transpose()?;
                let gradient = within.as_ref().unwrap_or(gradient);
                let for_x = for_x.then(|| on_cpu.input_gradient(gradient, &kernels));
                let for_weight = for_weight.then(|| convolution.weight_gradient(&images, gradient));
                let for_bias = for_bias.then(|| gradient.flatten_from(2)?.sum(2)?.sum(0));
                Ok([for_x.transpose()?, for_weight.transpose()?, for_bias.transpose()?])
            },
        );
    }
    let mut output = convolution.forward(&images, &kernels)?;
    if let Some(shift) = &shift {
        output = output.broadcast_add(shift)?;
    }
    let frozen = images.clone();
    let output = attach([x, weight, bias.unwrap_or(&frozen)], output, move |gradient, [for_x, for_weight, for_bias]| {
        let for_x = for_x.then(|| convolution.input_gradient(gradient, &kernels));
        let for_weight = for_weight.then(|| convolution.weight_gradient(&images, gradient));
        // Two sums: candle is quick only for the last dimensions.
        let for_bias = for_bias.then(|| gradient.flatten_from(2)?.sum(2)?.sum(0));
        Ok([for_x.transpose()?, for_weight.transpose()?, for_bias.transpose()?])
    })?;
    match bounds {
        Some([low, high]) => clip(&output, low, high),
        None => Ok(output),
    }
}

/// A convolution between tensors of known shapes, which are contiguous and off the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Convolution {
    windows: Windows,
    groups: usize,
    /// Channels of the images, `c`.
    inputs: usize,
    /// Channels of the results, `o`.
    outputs: usize,
}

impl Convolution {
    fn new(x: &Tensor, weight: &Tensor, &Conv2d { stride, padding, dilation, groups }: &Conv2d) -> Result<Self> {
        let [outputs, depth, rows, columns] = *weight.dims() else {
            bail!("conv2d: weight of shape {:?}, where (o, c / groups, rows, columns) is needed", weight.shape())
        };
        let windows = Windows::new("conv2d", x, [[rows, columns], stride, dilation], padding)?;
        let inputs = x.dims()[1];
        if groups == 0 || outputs == 0 || depth.checked_mul(groups) != Some(inputs) || outputs % groups != 0 {
            bail!("conv2d: weight of shape {:?} in {groups} groups for images of shape {:?}", weight.shape(), x.shape())
        }
        same_type("conv2d: weight", weight, x)?;
        Ok(Self { windows, groups, inputs, outputs })
    }

    /// The same by the CPU's kernels; `None` for sizes that they refuse.
    fn on_cpu(&self) -> Option<cpu::Convolution> {
        cpu::Convolution::new(&self.windows, self.groups, self.inputs, self.outputs)
    }

    /// Every output sees one input: matrices of one row each, for which products are slow.
    fn depthwise(&self) -> bool {
        self.groups == self.inputs && self.groups > 1
    }

    /// Number of pixels in a window.
    fn area(&self) -> usize {
        self.windows.kernel.iter().product()
    }

    /// Results `(n, o, rows, columns)` of images `(n, c, h, w)`.
    fn forward(&self, images: &Tensor, kernels: &Tensor) -> Result<Tensor> {
        let padded = self.windows.padding.with_zeros(images)?;
        if self.depthwise() {
            self.forward_by_taps(&padded, kernels)
        } else {
            // Not by the convolution of candle: it takes twice as long on the CPU, may round to TF32 in cuDNN, and has neither unequal
            // strides nor unequal dilations.
            self.forward_by_columns(&padded, kernels)
        }
    }

    /// A depthwise convolution: the sum over the taps of shifted images times one weight per channel.
    fn forward_by_taps(&self, padded: &Tensor, kernels: &Tensor) -> Result<Tensor> {
        let (n, [rows, columns]) = (padded.dim(0)?, self.windows.output);
        let weights = self.weights_by_tap(kernels)?;
        let parts = self.windows.taps().map(|tap| {
            let shifted = self.windows.tap(padded, tap)?.unsqueeze(2)?;
            shifted.broadcast_mul(&self.weight_of(&weights, tap)?)
        });
        let shape = (n, self.inputs, self.outputs / self.inputs, rows, columns);
        total(parts, shape, padded)?.reshape((n, self.outputs, rows, columns))
    }

    /// Any convolution: for each image and group a product of matrices, of the kernels and the pixels in the windows.
    fn forward_by_columns(&self, padded: &Tensor, kernels: &Tensor) -> Result<Tensor> {
        let [rows, columns] = self.windows.output;
        let (outputs, depth) = (self.outputs / self.groups, self.inputs / self.groups * self.area());
        let matrices = kernels.reshape((self.groups, outputs, depth))?;
        let parts = self.runs(padded, rows * columns)?.map(|(first, count)| {
            let pixels = self.columns(&padded.narrow(0, first, count)?)?.reshape((count * self.groups, depth, rows * columns))?;
            self.for_each_image(&matrices, count)?.matmul(&pixels)?.reshape((count, self.outputs, rows, columns))
        });
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// The pixels in the windows of padded images: a view `(n, c, kernel rows, kernel columns, rows, columns)`.
    fn columns(&self, padded: &Tensor) -> Result<Tensor> {
        let Windows { kernel, stride, dilation, output, .. } = self.windows;
        let mut view = padded.clone();
        for (axis, dim) in [(0, 2), (1, 3)] {
            let extent = (kernel[axis] - 1) * dilation[axis] + 1;
            let length = (output[axis] - 1) * stride[axis] + extent;
            view = view.narrow(dim, 0, length)?.unfold(dim, extent, stride[axis])?;
        }
        // (n, c, rows, columns, extent, extent): of each extent the pixels under a tap.
        for (axis, dim) in [(0, 4), (1, 5)] {
            view = view.unfold(dim, 1, dilation[axis])?.squeeze(D::Minus1)?;
        }
        view.permute((0, 1, 4, 5, 2, 3))
    }

    /// One matrix for each group, `(groups, rows, columns)`, repeated to `(n * groups, rows, columns)`.
    fn for_each_image(&self, matrices: &Tensor, n: usize) -> Result<Tensor> {
        let (groups, rows, columns) = matrices.dims3()?;
        if groups == 1 {
            // A view.
            matrices.broadcast_as((n, rows, columns))
        } else {
            matrices.broadcast_as((n, groups, rows, columns))?.reshape((n * groups, rows, columns))
        }
    }

    /// Runs of images, first and count, such that results with `area` numbers for each of the `pixels` of a channel take 16 MiB of
    /// f32, or 256 MiB on a GPU, which wants few and large ones.
    fn runs(&self, images: &Tensor, pixels: usize) -> Result<impl Iterator<Item = (usize, usize)> + use<>> {
        let limit = if images.device().is_cpu() { 1 << 22 } else { 1 << 26 };
        let n = images.dim(0)?;
        // Kernels of one pixel need no such results.
        let count = if self.area() == 1 { n } else { (limit / (self.inputs * self.area() * pixels)).max(1) };
        Ok((0..n).step_by(count).map(move |first| (first, count.min(n - first))))
    }

    /// The gradient of the images, for that of the results.
    fn input_gradient(&self, gradient: &Tensor, kernels: &Tensor) -> Result<Tensor> {
        let spreads = [0, 1].map(|axis| Spread::new(&self.windows, axis));
        let [rows, columns] = &spreads;
        let padding = Padding { top: rows.before, bottom: rows.after, left: columns.before, right: columns.after };
        let padded = padding.with_zeros(gradient)?;
        if self.depthwise() {
            self.input_gradient_by_taps(&padded, kernels, &spreads)
        } else {
            self.input_gradient_by_products(&padded, kernels, &spreads)
        }
    }

    /// A depthwise convolution: sums over the taps of shifted gradients times one weight per channel.
    fn input_gradient_by_taps(&self, padded: &Tensor, kernels: &Tensor, spreads: &[Spread; 2]) -> Result<Tensor> {
        let (n, _, h, w) = padded.dims4()?;
        let multiplier = self.outputs / self.inputs;
        let weights = self.weights_by_tap(kernels)?;
        let padded = padded.reshape((n, self.inputs, multiplier, h, w))?;
        self.interleave(n, spreads, &padded, |tap, [top, left]| {
            let shifted = padded.narrow(3, top, spreads[0].length)?.narrow(4, left, spreads[1].length)?;
            let part = shifted.broadcast_mul(&self.weight_of(&weights, tap)?)?;
            if multiplier == 1 { part.squeeze(2) } else { part.sum(2) }
        })
    }

    /// Any convolution: for each image and group a product of matrices, of the kernels and the gradient; then sums over the taps of
    /// shifted products.
    fn input_gradient_by_products(&self, padded: &Tensor, kernels: &Tensor, spreads: &[Spread; 2]) -> Result<Tensor> {
        let (_, _, h, w) = padded.dims4()?;
        let [kernel_rows, kernel_columns] = self.windows.kernel;
        let (outputs, depth) = (self.outputs / self.groups, self.inputs / self.groups * self.area());
        let matrices = kernels.reshape((self.groups, outputs, depth))?.transpose(1, 2)?.contiguous()?;
        let parts = self.runs(padded, h * w)?.map(|(first, count)| {
            let gradient = padded.narrow(0, first, count)?.reshape((count * self.groups, outputs, h * w))?;
            let products = self.for_each_image(&matrices, count)?.matmul(&gradient)?;
            let products = products.reshape((count, self.inputs, kernel_rows, kernel_columns, h, w))?;
            self.interleave(count, spreads, &products, |tap, [top, left]| {
                let products = products.narrow(2, tap[0], 1)?.narrow(3, tap[1], 1)?.squeeze(3)?.squeeze(2)?;
                products.narrow(2, top, spreads[0].length)?.narrow(3, left, spreads[1].length)
            })
        });
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Gradient of `n` images from its parts, each under one tap. `part` gets the tap, and the row and column of the
    /// padded gradient where the part starts.
    ///
    /// With a stride, rows and columns take turns in which taps they lie under: each turn is summed for itself.
    fn interleave(
        &self,
        n: usize,
        [rows, columns]: &[Spread; 2],
        like: &Tensor,
        part: impl Fn([usize; 2], [usize; 2]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let [h, w] = self.windows.input;
        let shape = (n, self.inputs, rows.length, columns.length);
        let turns = rows.turns.iter().map(|row_taps| {
            let turns = columns.turns.iter().map(|column_taps| {
                let pairs = row_taps.iter().flat_map(|row| column_taps.iter().map(move |column| (row, column)));
                total(pairs.map(|(row, column)| part([row.tap, column.tap], [row.start, column.start])), shape, like)
            });
            Tensor::stack(&turns.collect::<Result<Vec<_>>>()?, 4)
        });
        let grid = Tensor::stack(&turns.collect::<Result<Vec<_>>>()?, 3)?;
        let grid = grid.reshape((n, self.inputs, rows.length * rows.turns.len(), columns.length * columns.turns.len()))?;
        grid.narrow(2, 0, h)?.narrow(3, 0, w)?.contiguous()
    }

    /// The gradient of the kernels, for that of the results.
    fn weight_gradient(&self, images: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let padded = self.windows.padding.with_zeros(images)?;
        let (n, [rows, columns]) = (padded.dim(0)?, self.windows.output);
        let sum = if self.depthwise() {
            let gradient = gradient.reshape((n, self.inputs, self.outputs / self.inputs, rows, columns))?;
            let sums = self.windows.taps().map(|tap| {
                let products = self.windows.tap(&padded, tap)?.unsqueeze(2)?.broadcast_mul(&gradient)?;
                // Two sums: candle is quick for the last dimensions alone.
                products.flatten_from(3)?.sum(3)?.sum(0)
            });
            Tensor::stack(&sums.collect::<Result<Vec<_>>>()?, 2)?
        } else {
            let (outputs, depth) = (self.outputs / self.groups, self.inputs / self.groups * self.area());
            let products = self.runs(&padded, rows * columns)?.map(|(first, count)| {
                // All images in one product, which sums over them.
                let pixels = self.columns(&padded.narrow(0, first, count)?)?.permute((1, 2, 3, 0, 4, 5))?;
                let pixels = pixels.reshape((self.groups, depth, count * rows * columns))?;
                let gradient = gradient.narrow(0, first, count)?.transpose(0, 1)?;
                gradient.reshape((self.groups, outputs, count * rows * columns))?.matmul(&pixels.transpose(1, 2)?)
            });
            total(products, (self.groups, outputs, depth), &padded)?
        };
        sum.reshape((self.outputs, self.inputs / self.groups, self.windows.kernel[0], self.windows.kernel[1]))
    }

    /// The kernels of a depthwise convolution, to take the weights under one tap from.
    fn weights_by_tap(&self, kernels: &Tensor) -> Result<Tensor> {
        kernels.reshape((1, self.inputs, self.outputs / self.inputs, self.area(), 1))
    }

    /// The weights under one tap, `(1, c, o / c, 1, 1)`.
    fn weight_of(&self, weights: &Tensor, [row, column]: [usize; 2]) -> Result<Tensor> {
        weights.narrow(3, row * self.windows.kernel[1] + column, 1)
    }
}

/// The windows that the pixels of one dimension lie in.
struct Spread {
    /// For each position of a pixel within a stride, the taps that it can lie under.
    turns: Vec<Vec<Meeting>>,
    /// Zeros that the gradient of the results needs before and after.
    before: usize,
    after: usize,
    /// Number of strides that cover all pixels.
    length: usize,
}

/// A tap, and the window in which the first pixel of a turn lies under it. The pixel one stride on lies in the next window.
struct Meeting {
    tap: usize,
    /// Among the windows with the zeros before them.
    start: usize,
}

impl Spread {
    fn new(windows: &Windows, axis: usize) -> Self {
        let [stride, dilation, count] = [windows.stride[axis], windows.dilation[axis], windows.output[axis]].map(|n| n as isize);
        let [padding, _] = windows.padding.along(axis);
        let length = windows.input[axis].div_ceil(windows.stride[axis]);
        let meetings = |turn: usize| {
            let taps = (0..windows.kernel[axis]).map(move |tap| (tap, (turn + padding) as isize - tap as isize * dilation));
            taps.filter(|(_, shift)| shift.rem_euclid(stride) == 0).map(|(tap, shift)| (tap, shift.div_euclid(stride)))
        };
        let windows_met = || (0..windows.stride[axis]).flat_map(meetings).map(|(_, window)| window);
        let before = windows_met().min().map_or(0, |first| (-first).max(0));
        let after = windows_met().max().map_or(0, |last| (length as isize + last - count).max(0));
        let start = |(tap, window): (usize, isize)| Meeting { tap, start: (window + before) as usize };
        let turns = (0..windows.stride[axis]).map(|turn| meetings(turn).map(start).collect()).collect();
        Self { turns, before: before as usize, after: after as usize, length }
    }
}

/// The sum of the parts, which are like `like`, or zeros of `shape` without any.
fn total(mut parts: impl Iterator<Item = Result<Tensor>>, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    match parts.next() {
        Some(first) => parts.try_fold(first?, |sum, part| sum + part?),
        None => Tensor::zeros(shape, like.dtype(), like.device()),
    }
}
