//! Products of matrices.

use crate::attach::{attach, attach_numbers};
use crate::check::{detached, parameter, same_type};
use crate::cpu;
use candle_core::{Result, Shape, Tensor, bail};
use rankle_kernels::dense::Panels;
use std::sync::OnceLock;

/// `x · weightᵀ + bias`: `x` `(.., k)`, `weight` `(o, k)` and `bias` `(o)` give `(.., o)`.
///
/// # Errors
/// Shapes that do not fit, tensors of different types, or anything but f32 and f64.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    multiply(x, weight, bias, cpu::linear)
}

/// [`linear`] with weights that stay the same. On the CPU they are packed on the first call, in a copy that is kept: for few rows
/// packing takes half as long as the product.
#[derive(Debug)]
pub struct FrozenLinear {
    weight: Tensor,
    bias: Option<Tensor>,
    packed: OnceLock<Panels>,
}

impl FrozenLinear {
    /// Freezes `weight` and `bias`, which get no gradients.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Self {
        Self { weight: weight.detach(), bias: bias.map(Tensor::detach), packed: OnceLock::new() }
    }

    /// The products with `x`, as [`linear`].
    ///
    /// # Errors
    /// As [`linear`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        multiply(x, &self.weight, self.bias.as_ref(), |rows, weight, bias| {
            let packed = match self.packed.get() {
                Some(packed) => packed,
                None => {
                    let packed = cpu::packed(weight)?;
                    self.packed.get_or_init(move || packed)
                }
            };
            cpu::linear_packed(rows, packed, bias)
        })
    }
}

/// [`linear`], with the CPU's kernel for contiguous rows `(n, k)`, weights and bias.
fn multiply(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    on_cpu: impl FnOnce(&Tensor, &Tensor, Option<&Tensor>) -> Result<Vec<f32>>,
) -> Result<Tensor> {
    let (outputs, features) = match (x.dims(), weight.dims()) {
        ([.., features], [outputs, columns]) if features == columns => (*outputs, *columns),
        _ => bail!("linear: weight of shape {:?} for inputs of shape {:?}", weight.shape(), x.shape()),
    };
    let shape: Vec<usize> = x.dims().iter().copied().take(x.rank() - 1).chain([outputs]).collect();
    let count = x.dims().iter().take(x.rank() - 1).product::<usize>();
    let rows = detached("linear", x)?.reshape((count, features))?;
    same_type("linear: weight", weight, x)?;
    let shift = bias.map(|bias| parameter("linear: bias", bias, x, outputs, (1, outputs))).transpose()?;

    // Every backend takes transposed views of contiguous matrices.
    let matrix = weight.detach().contiguous()?;
    if cpu::takes(x) && weight.elem_count() > 0 {
        let y = on_cpu(&rows, &matrix, shift.as_ref())?;
        let (input_shape, frozen) = (x.shape().clone(), x.detach());
        let inputs = [x, weight, bias.unwrap_or(&frozen)];
        return attach_numbers(inputs, y, shape, move |_, gradient, [for_x, for_weight, for_bias]| {
            let gradient = gradient.reshape((count, outputs))?;
            let product = |a: &Tensor, b: &Tensor, shape: &Shape| Tensor::from_vec(cpu::products(a, b)?, shape, a.device());
            let for_x = for_x.then(|| product(&gradient, &matrix, &input_shape));
            let for_weight = for_weight.then(|| product(&gradient.t()?, &rows, matrix.shape()));
            let for_bias = for_bias.then(|| gradient.sum(0));
            Ok([for_x.transpose()?, for_weight.transpose()?, for_bias.transpose()?])
        });
    }
    let mut output = rows.matmul(&matrix.t()?)?;
    if let Some(shift) = &shift {
        output = output.broadcast_add(shift)?;
    }
    let (input_shape, frozen) = (x.shape().clone(), x.detach());
    attach([x, weight, bias.unwrap_or(&frozen)], output.reshape(shape)?, move |gradient, [for_x, for_weight, for_bias]| {
        let gradient = gradient.reshape((count, outputs))?;
        let for_x = for_x.then(|| gradient.matmul(&matrix)?.reshape(&input_shape));
        let for_weight = for_weight.then(|| gradient.t()?.matmul(&rows));
        let for_bias = for_bias.then(|| gradient.sum(0));
        Ok([for_x.transpose()?, for_weight.transpose()?, for_bias.transpose()?])
    })
}

/// The product of `a` `(.., m, k)` and `b`: `(.., k, n)` with the same leading dimensions, or one matrix `(k, n)` for all of
/// them. The result is `(.., m, n)`.
///
/// # Errors
/// Shapes that do not fit, tensors of different types, or anything but f32 and f64.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ([leading @ .., m, k], [batch @ .., inner, columns]) = (a.dims(), b.dims()) else {
        bail!("matmul: shapes {:?} and {:?}, where matrices are needed", a.shape(), b.shape())
    };
    if k != inner || !(batch.is_empty() || batch == leading) {
        bail!("matmul: shapes {:?} and {:?} do not fit", a.shape(), b.shape())
    }
    same_type("matmul: second matrix", b, a)?;
    let shape = [leading, &[*m, *columns]].concat();
    // One matrix for all is one product of matrices, with all rows of `a`.
    let batch = batch.iter().product::<usize>();
    let rows = leading.iter().product::<usize>() * m / batch.max(1);
    let (inner, columns) = (*inner, *columns);

    if cpu::takes(a) && b.elem_count() > 0 {
        let (first, second) = if b.rank() == a.rank() {
            (a.detach(), b.detach())
        } else {
            (a.detach().contiguous()?.reshape((rows, inner))?, b.detach())
        };
        let output = cpu::products(&first, &second)?;
        let shapes = [a.shape().clone(), b.shape().clone()];
        let gradient_shape = [&first.dims()[..first.rank() - 1], &[columns]].concat();
        return attach_numbers([a, b], output, shape, move |_, gradient, [for_a, for_b]| {
            let gradient = gradient.reshape(&gradient_shape[..])?;
            let product = |a: &Tensor, b: &Tensor, shape: &Shape| Tensor::from_vec(cpu::products(a, b)?, shape, a.device());
            let for_a = for_a.then(|| product(&gradient, &second.t()?, &shapes[0]));
            let for_b = for_b.then(|| product(&first.t()?, &gradient, &shapes[1]));
            Ok([for_a.transpose()?, for_b.transpose()?])
        });
    }
    let first = detached("matmul", a)?.reshape((batch, rows, inner))?;
    let second = b.detach().contiguous()?.reshape((batch, inner, columns))?;
    // Every backend takes transposed views of contiguous matrices.
    let output = first.matmul(&second)?.reshape(shape)?;
    let shapes = [a.shape().clone(), b.shape().clone()];
    attach([a, b], output, move |gradient, [for_a, for_b]| {
        let gradient = gradient.reshape((batch, rows, columns))?;
        let for_a = for_a.then(|| gradient.matmul(&second.t()?)?.reshape(&shapes[0]));
        let for_b = for_b.then(|| first.t()?.matmul(&gradient)?.reshape(&shapes[1]));
        Ok([for_a.transpose()?, for_b.transpose()?])
    })
}
