//! The operations that candle is slow at, for f32 on the CPU: the kernels of `rankle-kernels` on the numbers of the tensors.
//!
//! The operations themselves check shapes and types, and ask [`takes`] before they call what is here. Their portable formulation
//! computes the same on all other devices and in f64, and is what the tests compare with.

mod attention;

pub(crate) use attention::{attention, self_attention};

use crate::attach::attach_numbers;
use crate::padding::Windows;
use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor, bail};
use rankle_kernels::features::{Activation, LayerNorm, softmax as softmax_rows, softmax_backward};
use rankle_kernels::maps::{self, Conv, ConvShape};
use rankle_kernels::matmul::{Finish, Matrix, multiply, multiply_add, multiply_finished};
use rankle_kernels::planes::{self, from_stack, to_stack};
use rankle_kernels::{Isa, dense::Panels};
use rayon::prelude::*;
use std::sync::OnceLock;

#[cfg(test)]
thread_local! {
    /// True while this thread computes by the portable formulation, for tests.
    static PORTABLE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Calls `work` by the portable formulation.
#[cfg(test)]
pub(crate) fn portably<T>(work: impl FnOnce() -> T) -> T {
    PORTABLE.set(true);
    let result = work();
    PORTABLE.set(false);
    result
}

/// True if the functions of this module take tensors like `x`.
pub(crate) fn takes(x: &Tensor) -> bool {
    #[cfg(test)]
    if PORTABLE.get() {
        return false;
    }
    x.dtype() == DType::F32 && matches!(x.device(), Device::Cpu) && x.elem_count() > 0
}

/// Calls `work` with the storage of a tensor from its first number on. Its layout may be any.
fn with_storage<T>(x: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(numbers)) => work(&numbers[layout.start_offset()..]),
        _ => bail!("a tensor of {:?} on {:?}, where f32 on the CPU is needed", x.dtype(), x.device().location()),
    }
}

/// Calls `work` with the numbers of a contiguous tensor.
fn with_numbers<T>(x: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    if !x.is_contiguous() {
        bail!("a tensor of shape {:?} whose numbers are not contiguous", x.shape())
    }
    with_storage(x, |numbers| work(&numbers[..x.elem_count()]))
}

/// As [`with_numbers`], for one that may be left out.
fn with_optional<T>(x: Option<&Tensor>, work: impl FnOnce(Option<&[f32]>) -> Result<T>) -> Result<T> {
    match x {
        Some(x) => with_numbers(x, |numbers| work(Some(numbers))),
        None => work(None),
    }
}

fn tensor(numbers: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(numbers, shape.into(), &Device::Cpu)
}

/// [`crate::relu`], [`crate::clip`] and [`crate::gelu`].
pub(crate) fn activation(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let input = x.detach().contiguous()?;
    let mut y = vec![0.0; input.elem_count()];
    with_numbers(&input, |numbers| {
        activation.forward(Isa::best(), numbers, &mut y);
        Ok(())
    })?;
    attach_numbers([x], y, x.shape(), move |_, gradient, _| {
        let mut dx = vec![0.0; input.elem_count()];
        with_numbers(&input, |x| {
            with_numbers(gradient, |gradient| {
                activation.backward(Isa::best(), x, gradient, &mut dx);
                Ok(())
            })
        })?;
        Ok([Some(tensor(dx, input.shape())?)])
    })
}

/// [`crate::softmax`] over the last dimension, which has a length.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    let input = x.detach().contiguous()?;
    let features = x.dims().last().copied().unwrap_or(1);
    let mut y = vec![0.0; input.elem_count()];
    with_numbers(&input, |numbers| {
        softmax_rows(Isa::best(), features, numbers, &mut y);
        Ok(())
    })?;
    attach_numbers([x], y, x.shape(), move |output, gradient, _| {
        let mut dx = vec![0.0; output.elem_count()];
        with_numbers(output, |y| {
            with_numbers(gradient, |gradient| {
                softmax_backward(Isa::best(), features, y, gradient, &mut dx);
                Ok(())
            })
        })?;
        Ok([Some(tensor(dx, output.shape())?)])
    })
}

/// Rows, contiguous and off the tape, with what [`crate::layer_norm`] keeps of them.
pub(crate) struct NormalizedRows {
    rows: Tensor,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
    epsilon: f64,
    statistics: Vec<[f32; 2]>,
}

impl NormalizedRows {
    /// `rows` `(n, d)`; `weight` and `bias` have `d` numbers. Returns the results as well.
    pub(crate) fn new(rows: Tensor, weight: Option<Tensor>, bias: Option<Tensor>, epsilon: f64) -> Result<(Self, Vec<f32>)> {
        let statistics = vec![[0.0; 2]; rows.dim(0)?];
        let mut normalized = Self { rows, weight, bias, epsilon, statistics };
        let (mut y, mut statistics) = (vec![0.0; normalized.rows.elem_count()], std::mem::take(&mut normalized.statistics));
        normalized.with_norm(|norm, x| {
            norm.forward(Isa::best(), x, &mut y, &mut statistics);
            Ok(())
        })?;
        normalized.statistics = statistics;
        Ok((normalized, y))
    }

    /// The gradient of the rows, for that of the results.
    pub(crate) fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        let mut dx = vec![0.0; self.rows.elem_count()];
        self.with_norm(|norm, x| {
            with_numbers(gradient, |gradient| {
                norm.backward(Isa::best(), x, &self.statistics, gradient, &mut dx);
                Ok(())
            })
        })?;
        tensor(dx, gradient.shape())
    }

    fn with_norm(&self, work: impl FnOnce(LayerNorm<'_>, &[f32]) -> Result<()>) -> Result<()> {
        let (features, epsilon) = (self.rows.dim(1)?, self.epsilon);
        with_optional(self.weight.as_ref(), |weight| {
            with_optional(self.bias.as_ref(), |bias| {
                with_numbers(&self.rows, |rows| work(LayerNorm { features, weight, bias, epsilon }, rows))
            })
        })
    }
}

/// `x · weightᵀ + bias`: `x` `(n, k)`, `weight` `(o, k)` and `bias` of `o` numbers, all contiguous.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Vec<f32>> {
    let ((count, features), outputs) = (x.dims2()?, weight.dim(0)?);
    let mut y = Vec::with_capacity(count * outputs);
    with_optional(bias, |bias| {
        match bias {
            Some(bias) => (0..count).for_each(|_| y.extend_from_slice(bias)),
            None => y.resize(count * outputs, 0.0),
        }
        Ok(())
    })?;
    with_numbers(x, |x| {
        with_numbers(weight, |weight| {
            let (x, weight) = (Matrix::new(x, count, features), Matrix::new(weight, outputs, features));
            let product = if bias.is_some() { multiply_add } else { multiply };
            product(Isa::best(), x, weight.t(), &mut y);
            Ok(())
        })
    })?;
    Ok(y)
}

/// A matrix `(o, k)`, contiguous, for [`linear_packed`].
pub(crate) fn packed(weight: &Tensor) -> Result<Panels> {
    let (outputs, inputs) = weight.dims2()?;
    with_numbers(weight, |weight| Ok(Panels::pack(Isa::best(), outputs, inputs, |output, input| weight[output * inputs + input])))
}

/// [`linear`] with packed weights.
pub(crate) fn linear_packed(x: &Tensor, weight: &Panels, bias: Option<&Tensor>) -> Result<Vec<f32>> {
    let ((count, features), outputs) = (x.dims2()?, weight.outputs());
    let mut y = vec![0.0; count * outputs];
    // Whole tiles of rows for each thread, few enough for the cache.
    let rows = count.div_ceil(rayon::current_num_threads()).next_multiple_of(weight.isa().rows()).min(252);
    with_numbers(x, |x| {
        with_optional(bias, |bias| {
            y.par_chunks_mut(rows * outputs).zip(x.par_chunks(rows * features)).for_each(|(y, x)| {
                weight.multiply(x, y);
                let sums = y.chunks_exact_mut(outputs).filter(|_| bias.is_some());
                sums.for_each(|y| y.iter_mut().zip(bias.unwrap_or_default()).for_each(|(y, bias)| *y += bias));
            });
            Ok(())
        })
    })?;
    Ok(y)
}

/// The product of matrices `(.., m, k)` and `(.., k, n)` with the same leading dimensions. Views are read in place: transposed
/// ones, and parts of the features.
pub(crate) fn products(a: &Tensor, b: &Tensor) -> Result<Vec<f32>> {
    let ([leading @ .., m, k], [batch @ .., _, n]) = (a.dims(), b.dims()) else { bail!("matrices are needed") };
    if leading != batch {
        bail!("products of shapes {:?} and {:?}", a.shape(), b.shape())
    }
    let (m, k, n) = (*m, *k, *n);
    let (starts, strides) = (places(leading, a.stride()), places(leading, b.stride()));
    let [first, second] = [a, b].map(|x| [x.stride()[x.rank() - 2], x.stride()[x.rank() - 1]]);
    let mut c = vec![0.0; starts.len() * m * n];
    with_storage(a, |a| {
        with_storage(b, |b| {
            c.par_chunks_mut((m * n).max(1)).zip(starts.par_iter().zip(&strides)).for_each(|(c, (&a_at, &b_at))| {
                let a = Matrix::strided(&a[a_at..], m, k, first);
                multiply(Isa::best(), a, Matrix::strided(&b[b_at..], k, n, second), c);
            });
            Ok(())
        })
    })?;
    Ok(c)
}

/// Start of every matrix of a batch, for leading dimensions and strides of all dimensions.
fn places(leading: &[usize], strides: &[usize]) -> Vec<usize> {
    leading.iter().zip(strides).fold(vec![0], |places, (&dim, &stride)| {
        places.iter().flat_map(|place| (0..dim).map(move |at| place + at * stride)).collect()
    })
}

/// The gradient before [`crate::clip`], from that behind it and from its results: they are at a bound where the gradient stops.
pub(crate) fn within(output: &Tensor, [low, high]: [f32; 2], gradient: &Tensor) -> Result<Tensor> {
    let mut dx = vec![0.0; output.elem_count()];
    with_numbers(output, |y| {
        with_numbers(gradient, |gradient| {
            Activation::Clip { low, high }.backward(Isa::best(), y, gradient, &mut dx);
            Ok(())
        })
    })?;
    tensor(dx, output.shape())
}

/// A convolution of f32 on the CPU, in the form that is the fastest for its shape.
#[derive(Debug)]
pub(crate) struct Convolution {
    windows: planes::Windows,
    groups: usize,
    inputs: usize,
    outputs: usize,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Depthwise,
    /// Kernels of one pixel: products of matrices, without a copy of the images.
    Pixels,
    /// The kernels of deep networks, after a conversion of the layout. Filters are packed once for each pass.
    Stack(Box<Conv>, Box<Packed>),
    Columns,
}

/// Filters for the kernels of deep networks, packed when they are first needed.
#[derive(Debug, Default)]
struct Packed {
    forward: OnceLock<Panels>,
    backward: OnceLock<Panels>,
}

impl Convolution {
    /// `None` for sizes that the kernels refuse.
    pub(crate) fn new(windows: &Windows, groups: usize, inputs: usize, outputs: usize) -> Option<Self> {
        let Windows { kernel, stride, dilation, padding, input, output } = *windows;
        // More than any padded plane, all channels and all weights have.
        let sides = [0, 1].map(|axis| {
            let [before, after] = padding.along(axis);
            let span = (output[axis] - 1).checked_mul(stride[axis])?.checked_add(kernel[axis].checked_mul(dilation[axis])?)?;
            span.checked_add(before)?.checked_add(after)?.checked_add(input[axis])?.checked_add(stride[axis])
        });
        let channels = inputs.checked_add(outputs)?;
        let padded = sides[0]?.checked_mul(sides[1]?)?.checked_mul(channels)?;
        let weights = inputs.checked_mul(outputs)?.checked_mul(kernel[0])?.checked_mul(kernel[1])?;
        if padded.max(weights) > u32::MAX as usize / 4 {
            return None;
        }
        let before = [padding.top, padding.left];
        let square = kernel[0] == kernel[1] && stride[0] == stride[1] && before[0] == before[1] && dilation == [1, 1];
        let form = if groups == inputs && groups > 1 {
            Form::Depthwise
        } else if groups == 1 && kernel == [1, 1] && stride == [1, 1] && before == [0, 0] && input == output {
            Form::Pixels
        } else if groups == 1 && square && inputs >= 16 && outputs >= 16 {
            let pair = |[rows, columns]: [usize; 2]| (rows, columns);
            let (kernel, stride, before) = (kernel[0], stride[0], before[0]);
            let shape = ConvShape { inputs, outputs, kernel, stride, before, input: pair(input), output: pair(output) };
            Form::Stack(Box::new(Conv::new(shape)), Box::default())
        } else {
            Form::Columns
        };
        let windows = planes::Windows { kernel, stride, dilation, before, input, output };
        Some(Self { windows, groups, inputs, outputs, form })
    }

    /// Results of images; all tensors are contiguous. `bias` has one number for each output.
    pub(crate) fn forward(
        &self,
        images: &Tensor,
        kernels: &Tensor,
        bias: Option<&Tensor>,
        bounds: Option<[f32; 2]>,
    ) -> Result<Vec<f32>> {
        with_numbers(images, |x| {
            with_numbers(kernels, |weight| with_optional(bias, |bias| Ok(self.convolve(x, weight, Finish { bias, bounds }))))
        })
    }

    fn convolve(&self, x: &[f32], weight: &[f32], finish: Finish<'_>) -> Vec<f32> {
        let (isa, windows) = (Isa::best(), &self.windows);
        let (input_len, output_len) = (windows.input_len(), windows.output_len());
        let (image_len, result_len) = (self.inputs * input_len, self.outputs * output_len);
        let mut y = vec![0.0; x.len() / image_len * result_len];
        match &self.form {
            Form::Depthwise => windows.depthwise(isa, self.inputs, weight, finish, x, &mut y),
            Form::Pixels => {
                let weight = Matrix::new(weight, self.outputs, self.inputs);
                y.par_chunks_mut(result_len).zip(x.par_chunks(image_len)).for_each(|(y, x)| {
                    multiply_finished(isa, weight, Matrix::new(x, self.inputs, input_len), finish, y);
                });
            }
            Form::Stack(conv, packed) => {
                let filters = packed.forward.get_or_init(|| filters_of(conv, isa, weight));
                let count = chunk(conv);
                let tasks = y.par_chunks_mut(count * result_len).zip(x.par_chunks(count * image_len));
                tasks.for_each(|(y, x)| {
                    let images = x.len() / image_len;
                    let (mut source, mut target) = (vec![0.0; x.len()], vec![0.0; y.len()]);
                    to_stack(x, images, self.inputs, &mut source);
                    let sums = finish.bias.map_or(maps::Finish::Sums, maps::Finish::Bias);
                    conv.forward(filters, &source, images, sums, &mut target);
                    Finish { bias: None, ..finish }.apply(isa, 0, target.len(), target.len(), &mut target);
                    from_stack(&target, images, self.outputs, y);
                });
            }
            Form::Columns => {
                let (inputs, outputs) = (self.inputs / self.groups, self.outputs / self.groups);
                let each = weight.len() / self.groups;
                let tasks = y.par_chunks_mut(outputs * output_len).zip(x.par_chunks(inputs * input_len));
                tasks.enumerate().for_each(|(task, (y, x))| {
                    let group = task % self.groups;
                    let bias = finish.bias.map(|bias| &bias[group * outputs..][..outputs]);
                    windows.convolve(isa, &weight[group * each..][..each], Finish { bias, ..finish }, x, y);
                });
            }
        }
        y
    }

    /// The gradient of the images, for that of the results.
    pub(crate) fn input_gradient(&self, gradient: &Tensor, kernels: &Tensor) -> Result<Tensor> {
        let [height, width] = self.windows.input;
        let dx = with_numbers(gradient, |gradient| with_numbers(kernels, |weight| Ok(self.back(gradient, weight))))?;
        tensor(dx, (gradient.dim(0)?, self.inputs, height, width))
    }

    fn back(&self, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
        let (isa, windows) = (Isa::best(), &self.windows);
        let (input_len, output_len) = (windows.input_len(), windows.output_len());
        let (image_len, result_len) = (self.inputs * input_len, self.outputs * output_len);
        let mut dx = vec![0.0; gradient.len() / result_len * image_len];
        match &self.form {
            Form::Depthwise => windows.depthwise_input_gradient(isa, self.inputs, weight, gradient, &mut dx),
            Form::Pixels => {
                let weight = Matrix::new(weight, self.outputs, self.inputs);
                dx.par_chunks_mut(image_len).zip(gradient.par_chunks(result_len)).for_each(|(dx, gradient)| {
                    multiply(isa, weight.t(), Matrix::new(gradient, self.outputs, output_len), dx);
                });
            }
            Form::Stack(conv, packed) => {
                let filters = || packed.forward.get_or_init(|| filters_of(conv, isa, weight));
                let filters = packed.backward.get_or_init(|| conv.transpose(filters()));
                let count = chunk(conv);
                let tasks = dx.par_chunks_mut(count * image_len).zip(gradient.par_chunks(count * result_len));
                tasks.for_each(|(dx, gradient)| {
                    let images = gradient.len() / result_len;
                    let (mut source, mut target) = (vec![0.0; gradient.len()], vec![0.0; dx.len()]);
                    to_stack(gradient, images, self.outputs, &mut source);
                    conv.input_gradient(filters, &source, images, maps::Finish::Sums, &mut target);
                    from_stack(&target, images, self.inputs, dx);
                });
            }
            Form::Columns => {
                let (inputs, outputs) = (self.inputs / self.groups, self.outputs / self.groups);
                let each = weight.len() / self.groups;
                let tasks = dx.par_chunks_mut(inputs * input_len).zip(gradient.par_chunks(outputs * output_len));
                tasks.enumerate().for_each(|(task, (dx, gradient))| {
                    let weight = &weight[task % self.groups * each..][..each];
                    windows.input_gradient(isa, weight, gradient, dx);
                });
            }
        }
        dx
    }
}

/// Packed filters, in Winograd's form where there is one.
fn filters_of(conv: &Conv, isa: Isa, weight: &[f32]) -> Panels {
    let plain = conv.pack(isa, weight, |_| 1.0);
    conv.winograd(&plain).unwrap_or(plain)
}

/// Images that are computed together: small maps fill no tile alone.
fn chunk(conv: &Conv) -> usize {
    let (height, width) = conv.shape().output;
    (256 / (height * width)).clamp(1, 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Conv2d, FrozenConv2d, FrozenLinear, Padding, attention, clip, conv2d, gelu, layer_norm, linear, matmul, relu,
        self_attention, softmax,
    };
    use candle_core::Var;

    /// Numbers between -1 and 1 without a pattern.
    fn numbers(seed: u64, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let numbers = (1..=shape.elem_count() as u64).map(|index| {
            // SplitMix64
            let mut bits = ((seed << 32) + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
            (bits >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        });
        Tensor::from_iter(numbers, &Device::Cpu).and_then(|numbers| numbers.reshape(shape)).unwrap()
    }

    /// Compares the results of `f` and the gradients of all inputs with those of the portable formulation: to 1e-6 of the largest.
    #[track_caller]
    fn check(name: &str, f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
        let run = || {
            let inputs: Vec<Tensor> = inputs.iter().map(|input| Var::from_tensor(input).unwrap().into_inner()).collect();
            let output = f(&inputs).unwrap();
            let gradients = (&output * numbers(99, output.shape())).unwrap().backward().unwrap();
            let gradients = inputs.iter().map(|input| gradients.get(input).unwrap().clone());
            std::iter::once(output.detach()).chain(gradients).collect::<Vec<Tensor>>()
        };
        let (expected, actual) = (portably(run), run());
        for (at, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            assert_eq!(actual.shape(), expected.shape(), "{name}: result {at}");
            let [actual, expected] = [actual, expected].map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            let largest = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
            for (index, (a, e)) in actual.iter().zip(&expected).enumerate() {
                assert!(
                    (a - e).abs() <= 1e-6 * largest,
                    "{name}: result {at}: {a} at {index} in place of {e}, largest {largest}"
                );
            }
        }
        // Frozen, the results are the same.
        let frozen = f(inputs).unwrap();
        assert!(!frozen.track_op());
        let difference = (frozen - &actual[0]).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(difference, 0.0, "{name}");
    }

    #[test]
    fn activations_are_as_the_portable_ones() {
        let x = (numbers(1, (3, 7, 11)) * 5.0).unwrap();
        check("relu", |x| relu(&x[0]), std::slice::from_ref(&x));
        check("clip", |x| clip(&x[0], -0.5, 2.0), std::slice::from_ref(&x));
        check("gelu", |x| gelu(&x[0]), std::slice::from_ref(&x));
        check("a view", |x| relu(&x[0].transpose(0, 2)?), std::slice::from_ref(&x));
        check("softmax", |x| softmax(&x[0]), std::slice::from_ref(&x));
        check("softmax of one", |x| softmax(&x[0]), &[numbers(1, (4, 1))]);
    }

    #[test]
    fn attention_is_as_the_portable_one() {
        check("of tokens to one another", |x| self_attention(&x[0], 3), &[numbers(1, (2, 10, 3 * 3 * 8))]);
        check("one token", |x| self_attention(&x[0], 1), &[numbers(1, (2, 1, 3 * 5))]);
        let parts = [numbers(1, (2, 7, 3, 8)), numbers(2, (2, 10, 3, 8)), numbers(3, (2, 10, 3, 5))];
        check("of others", |x| attention(&x[0], &x[1], &x[2], 0.7), &parts);
        let views = parts.map(|x| x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap());
        let tokens_first = |x: &Tensor| x.permute((0, 3, 1, 2));
        check("of views", |x| attention(&tokens_first(&x[0])?, &tokens_first(&x[1])?, &tokens_first(&x[2])?, 0.7), &views);
    }

    #[test]
    fn layer_normalization_is_as_the_portable_one() {
        let inputs = [numbers(1, (3, 5, 40)), numbers(2, 40), numbers(3, 40)];
        check("both", |x| layer_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-5), &inputs);
        check("weight", |x| layer_norm(&x[0], Some(&x[1]), None, 1e-5), &inputs[..2]);
        check("neither", |x| layer_norm(&x[0], None, None, 1e-5), &inputs[..1]);
    }

    #[test]
    fn products_are_as_the_portable_ones() {
        check("linear", |x| linear(&x[0], &x[1], Some(&x[2])), &[numbers(1, (2, 9, 30)), numbers(2, (21, 30)), numbers(3, 21)]);
        check("without bias", |x| linear(&x[0], &x[1], None), &[numbers(1, (1, 30)), numbers(2, (5, 30))]);
        check("matrices", |x| matmul(&x[0], &x[1]), &[numbers(1, (9, 30)), numbers(2, (30, 7))]);
        let frozen = FrozenLinear::new(&numbers(2, (21, 30)), Some(&numbers(3, 21)));
        check("frozen", |x| frozen.forward(&x[0]), &[numbers(1, (2, 9, 30))]);
        check("frozen, again", |x| frozen.forward(&x[0]), &[numbers(4, (300, 30))]);
        check("frozen, no bias", |x| FrozenLinear::new(&numbers(2, (40, 30)), None).forward(&x[0]), &[numbers(1, (9, 30))]);
        check("batch", |x| matmul(&x[0], &x[1]), &[numbers(1, (2, 3, 9, 30)), numbers(2, (2, 3, 30, 7))]);
        check("one for all", |x| matmul(&x[0], &x[1]), &[numbers(1, (2, 3, 9, 30)), numbers(2, (30, 7))]);
        // Heads of attention: parts of one tensor, one of them transposed.
        check(
            "views",
            |x| {
                let heads = x[0].reshape((2, 10, 3, 4, 8))?.permute((2, 0, 3, 1, 4))?;
                let scores = matmul(&heads.get(0)?, &heads.get(1)?.transpose(2, 3)?)?;
                matmul(&softmax(&scores)?, &heads.get(2)?)
            },
            &[numbers(1, (2, 10, 96))],
        );
    }

    #[test]
    fn convolutions_are_as_the_portable_ones() {
        let check = |name: &str, x: [usize; 4], weight: [usize; 4], options: Conv2d| {
            let inputs = [numbers(1, x.to_vec()), numbers(2, weight.to_vec()), numbers(3, weight[0])];
            check(name, |x| conv2d(&x[0], &x[1], Some(&x[2]), &options), &inputs);
            check(name, |x| conv2d(&x[0], &x[1], None, &options), &inputs[..2]);
            // What one call prepared serves the next one, also for images of another size between.
            let frozen = FrozenConv2d::new(&inputs[1], Some(&inputs[2]), options);
            let gradient = |f: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor| {
                let x = Var::from_tensor(x).unwrap();
                let output = f(&x).unwrap();
                let gradient = (&output * numbers(98, output.shape())).unwrap().backward().unwrap().remove(&x).unwrap();
                [output, gradient].map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            };
            for x in [&inputs[0], &inputs[0].pad_with_zeros(2, 1, 2).unwrap(), &inputs[0], &inputs[0]] {
                let expected = gradient(&|x| conv2d(x, &inputs[1], Some(&inputs[2]), &options), x);
                assert_eq!(gradient(&|x| frozen.forward(x), x), expected, "{name}");
            }
            // Bounds on the way cost no bits beside bounds behind it.
            let clipped = FrozenConv2d::new(&inputs[1], Some(&inputs[2]), options).clipped(-0.5, 0.75);
            let expected = gradient(&|x| clip(&conv2d(x, &inputs[1], Some(&inputs[2]), &options)?, -0.5, 0.75), &inputs[0]);
            assert_eq!(gradient(&|x| clipped.forward(x), &inputs[0]), expected, "{name}");
            assert!(expected[0].contains(&-0.5) && expected[0].contains(&0.75), "{name}");
            let portable = portably(|| gradient(&|x| clipped.forward(x), &inputs[0]));
            for (ours, portable) in expected[1].iter().zip(&portable[1]) {
                assert!((ours - portable).abs() < 1e-3, "{name}: {ours} {portable}");
            }
        };
        let plain = Conv2d::default();
        let around = Conv2d { padding: Padding::even(1), ..plain };
        let aside = Conv2d { padding: Padding { top: 1, bottom: 0, left: 2, right: 1 }, ..plain };
        let twice = Conv2d { stride: [2, 2], ..around };
        check("3x3, Winograd's form", [3, 32, 14, 14], [32, 32, 3, 3], around);
        check("3x3, plain form", [3, 16, 9, 5], [20, 16, 3, 3], around);
        check("3x3, one pixel", [20, 16, 1, 1], [16, 16, 3, 3], around);
        check("stride", [2, 16, 9, 8], [17, 16, 3, 3], twice);
        check("5x5", [1, 16, 9, 8], [16, 16, 5, 5], Conv2d { padding: Padding::even(2), ..plain });
        check(
            "more zeros below",
            [2, 16, 9, 8],
            [16, 16, 3, 3],
            Conv2d { padding: Padding { top: 0, bottom: 2, left: 0, right: 1 }, ..twice },
        );
        check("one pixel", [2, 5, 6, 7], [9, 5, 1, 1], plain);
        check("one pixel, stride", [2, 20, 6, 7], [19, 20, 1, 1], Conv2d { stride: [2, 2], ..plain });
        check("one pixel, padding", [2, 3, 6, 7], [4, 3, 1, 1], around);
        check("images", [2, 3, 12, 13], [10, 3, 7, 7], Conv2d { stride: [2, 2], padding: Padding::even(3), ..plain });
        check("strides and dilations", [1, 20, 6, 5], [16, 20, 2, 3], Conv2d { stride: [2, 3], dilation: [3, 1], ..aside });
        check("groups", [2, 6, 7, 9], [9, 2, 3, 3], Conv2d { groups: 3, ..around });
        check("depthwise", [2, 20, 9, 12], [20, 1, 3, 3], Conv2d { groups: 20, ..around });
        check("depthwise, stride", [2, 3, 9, 12], [3, 1, 3, 3], Conv2d { groups: 3, ..twice });
        check("depthwise, more outputs", [2, 3, 9, 12], [6, 1, 5, 3], Conv2d { groups: 3, stride: [2, 1], ..aside });
    }
}
