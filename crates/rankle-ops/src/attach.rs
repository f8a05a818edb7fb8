//! Results with a backward function of their own.

use crate::tape::{self, Node, Rule};
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, MetalStorage, Result, Shape, Storage, Tensor, bail,
};
use std::sync::{Mutex, PoisonError};

/// Joins `output`, computed from `inputs` by any means, to candle's tape with a backward function of its own, on any device.
///
/// `backward` gets the gradient of the output, contiguous and off the tape, and for each input whether its gradient is needed. It
/// returns the gradients of the needed inputs, each in the shape and type of its input. Frozen weights are not on the tape: their
/// gradients are not needed, so none is computed. There is no second derivative.
///
/// Joining the tape copies `output` on its device (on Metal it is shared). Without an input on the tape nothing is copied, and
/// `output` is returned off the tape as it is. One, two or three inputs; another number does not compile.
///
/// # Errors
/// `output` is on another device than `inputs`, or cannot be copied there. During the backward pass: whatever `backward` returns,
/// and a needed gradient that is missing.
///
/// ```
/// use candle_core::{Device, Result, Tensor, Var};
///
/// /// `exp(x)`, computed once for both passes.
/// fn exp(x: &Tensor) -> Result<Tensor> {
///     let output = x.detach().exp()?;
///     let factor = output.clone();
///     rankle_ops::attach([x], output, move |gradient, _| Ok([Some((gradient * &factor)?)]))
/// }
///
/// let x = Var::new(&[0f32, 1.0], &Device::Cpu)?;
/// let gradients = exp(&x)?.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().to_vec1::<f32>()?, [1.0, 1f32.exp()]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn attach<const N: usize>(
    inputs: [&Tensor; N],
    output: Tensor,
    backward: impl Fn(&Tensor, [bool; N]) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
) -> Result<Tensor> {
    attach_with_output(inputs, output, move |_, gradient, needed| backward(gradient, needed))
}

/// As [`attach`], for a `backward` that gets the output, too: a clone that it held itself would be a second copy on the device.
pub(crate) fn attach_with_output<const N: usize>(
    inputs: [&Tensor; N],
    output: Tensor,
    backward: impl Fn(&Tensor, &Tensor, [bool; N]) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
) -> Result<Tensor> {
    const { assert!(1 <= N && N <= 3, "an operation has one, two or three inputs") }
    let output = output.detach();
    if !inputs.iter().any(|input| input.track_op()) {
        return Ok(output);
    }
    let copied = copy(&output)?;
    drop(output);
    join(inputs, copied, backward)
}

/// As [`attach_with_output`], for an output of f32 on the CPU, which need not be copied.
pub(crate) fn attach_numbers<const N: usize>(
    inputs: [&Tensor; N],
    output: Vec<f32>,
    shape: impl Into<Shape>,
    backward: impl Fn(&Tensor, &Tensor, [bool; N]) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !inputs.iter().any(|input| input.track_op()) {
        return Tensor::from_vec(output, shape.into(), &Device::Cpu);
    }
    join(inputs, (Storage::Cpu(CpuStorage::F32(output)), shape.into()), backward)
}

/// Joins an output to the tape.
fn join<const N: usize>(
    inputs: [&Tensor; N],
    output: (Storage, Shape),
    backward: impl Fn(&Tensor, &Tensor, [bool; N]) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
) -> Result<Tensor> {
    let backward: Box<Backward> = Box::new(move |output, gradient, needed| {
        let needed = std::array::from_fn(|input| needed[input]);
        Ok(backward(output, gradient, needed)?.into_iter().collect())
    });
    if tape::is_recording() {
        let (storage, shape) = output;
        if !storage.device().same_device(inputs[0].device()) {
            bail!("an output of shape {shape:?} on another device than its inputs")
        }
        let output = Tensor::from_storage(storage, shape, BackpropOp::none(), true);
        tape::push(Node { inputs: inputs.map(Tensor::clone).into(), output: output.clone(), rule: Rule::Operation(backward) });
        return Ok(output);
    }
    let attached = Attached { output: Mutex::new(Some(output)), backward };
    match inputs.as_slice() {
        [a] => a.apply_op1(attached),
        [a, b] => a.apply_op2(b, attached),
        [a, b, c] => a.apply_op3(b, c, attached),
        _ => bail!("an operation with {N} inputs"),
    }
}

/// A storage that holds the numbers of `output` from its start on.
fn copy(output: &Tensor) -> Result<(Storage, Shape)> {
    // A clone of a storage holds all of it, also what a view leaves out.
    let at_start = output.layout().contiguous_offsets().is_some_and(|(start, _)| start == 0);
    let output = if at_start { output.clone() } else { output.force_contiguous()? };
    let (storage, layout) = output.storage_and_layout();
    Ok((storage.try_clone(layout)?, output.shape().clone()))
}

/// The output, its gradient, and for each input whether its gradient is needed, to the gradients of the inputs.
pub(crate) type Backward = dyn Fn(&Tensor, &Tensor, &[bool]) -> Result<Vec<Option<Tensor>>> + Send + Sync;

/// An operation whose forward pass took place before.
struct Attached {
    /// Result of the forward pass, until it joins the tape.
    output: Mutex<Option<(Storage, Shape)>>,
    backward: Box<Backward>,
}

impl Attached {
    /// The result of the forward pass, if it is on the device that `of` takes.
    fn output<S>(&self, of: impl Fn(Storage) -> Option<S>) -> Result<(S, Shape)> {
        match self.output.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some((storage, shape)) => match of(storage) {
                Some(storage) => Ok((storage, shape)),
                None => bail!("an output of shape {shape:?} on another device than its inputs"),
            },
            None => bail!("an output joins the tape once"),
        }
    }

    fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        self.output(|storage| if let Storage::Cpu(storage) = storage { Some(storage) } else { None })
    }
    fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        self.output(|storage| if let Storage::Cuda(storage) = storage { Some(storage) } else { None })
    }
    fn metal(&self) -> Result<(MetalStorage, Shape)> {
        self.output(|storage| if let Storage::Metal(storage) = storage { Some(storage) } else { None })
    }

    fn gradients<const N: usize>(&self, inputs: [&Tensor; N], output: &Tensor, gradient: &Tensor) -> Result<[Option<Tensor>; N]> {
        let needed = inputs.map(Tensor::track_op);
        let gradient = gradient.detach().contiguous()?;
        let mut gradients = (self.backward)(&output.detach(), &gradient, &needed)?.into_iter();
        let gradients = std::array::from_fn(|_| gradients.next().flatten());
        for (input, (gradient, needed)) in gradients.iter().zip(needed).enumerate() {
            // candle would panic where it needs the gradient next.
            if needed && gradient.is_none() {
                bail!("no gradient for input {input} of {N}, of shape {:?}, which is on the tape", inputs[input].shape())
            }
        }
        Ok(gradients)
    }
}

const NAME: &str = "attached";

impl CustomOp1 for Attached {
    fn name(&self) -> &'static str {
        NAME
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }
    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.metal()
    }
    fn bwd(&self, a: &Tensor, output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [a] = self.gradients([a], output, gradient)?;
        Ok(a)
    }
}

impl CustomOp2 for Attached {
    fn name(&self) -> &'static str {
        NAME
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }
    fn metal_fwd(&self, _: &MetalStorage, _: &Layout, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.metal()
    }
    fn bwd(&self, a: &Tensor, b: &Tensor, output: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.gradients([a, b], output, gradient)?;
        Ok((a, b))
    }
}

type Gradients3 = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for Attached {
    fn name(&self) -> &'static str {
        NAME
    }
    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }
    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.metal()
    }
    fn bwd(&self, a: &Tensor, b: &Tensor, c: &Tensor, output: &Tensor, gradient: &Tensor) -> Result<Gradients3> {
        let [a, b, c] = self.gradients([a, b, c], output, gradient)?;
        Ok((a, b, c))
    }
}
