//! Helpers of the tests: gradients by differences, stored results of PyTorch, and numbers without a pattern.

use candle_core::{DType, Device, Error, Result, Shape, Tensor, Var};
use std::collections::BTreeMap;

/// Step of a central difference. Its error is of the order of 1e-10, by the third derivative as well as by rounding.
const STEP: f64 = 1e-5;

/// Scale below which numbers count as rounding errors: all tolerances are relative to at least this.
const SMALLEST_SCALE: f64 = 1e-2;

/// Compares the gradients of `sum(upstream * f(inputs))` on the tape with central differences in f64, for every number of every
/// input: to 1e-6 of the largest on a tape in f64, and to 1e-4 on one in f32. `upstream` is drawn by a fixed formula.
///
/// Then puts each input on the tape alone: its gradient must be the same, and there must be none for the others.
///
/// `inputs` are f64, away from the corners of `f`; `name` tells failures apart.
#[track_caller]
pub(crate) fn check_gradient(name: &str, f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
    let upstream = numbers(1 << 20, f(inputs).unwrap().shape());
    let expected: Vec<Tensor> = (0..inputs.len()).map(|at| differences(&f, inputs, at, &upstream)).collect();
    for (dtype, relative) in [(DType::F64, 1e-6), (DType::F32, 1e-4)] {
        let gradients = tape_gradients(&f, inputs, &upstream, dtype, |_| true);
        for (at, (gradient, expected)) in gradients.iter().zip(&expected).enumerate() {
            let gradient = gradient.as_ref().unwrap_or_else(|| panic!("{name}: no gradient for input {at} in {dtype:?}"));
            assert_eq!(gradient.dtype(), dtype, "{name}: gradient of input {at}");
            compare(&format!("{name}: gradient of input {at} in {dtype:?}"), gradient, expected, relative);
        }
        for (alone, expected) in expected.iter().enumerate().filter(|_| inputs.len() > 1) {
            for (at, gradient) in tape_gradients(&f, inputs, &upstream, dtype, |at| at == alone).iter().enumerate() {
                match gradient {
                    Some(gradient) if at == alone => {
                        let what = format!("{name}: gradient of input {at} in {dtype:?}, alone on the tape");
                        compare(&what, gradient, expected, relative);
                    }
                    _ => assert!(gradient.is_none() && at != alone, "{name}: input {alone} on the tape, gradient of {at}"),
                }
            }
        }
    }
}

/// Central differences of `sum(upstream * f(inputs))` by every number of `inputs[at]`.
fn differences(f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor], at: usize, upstream: &Tensor) -> Tensor {
    let shape = inputs[at].shape();
    let loss = |index: usize, step: f64| {
        let mut moved = values(&inputs[at]);
        moved[index] += step;
        let mut inputs = inputs.to_vec();
        inputs[at] = Tensor::from_vec(moved, shape, &Device::Cpu).unwrap();
        let output = f(&inputs).unwrap();
        assert_eq!(output.dtype(), DType::F64, "the output of f64 inputs");
        output.mul(upstream).and_then(|product| product.sum_all()?.to_scalar::<f64>()).unwrap()
    };
    let slopes = (0..shape.elem_count()).map(|index| (loss(index, STEP) - loss(index, -STEP)) / (2.0 * STEP));
    Tensor::from_iter(slopes, &Device::Cpu).and_then(|slopes| slopes.reshape(shape)).unwrap()
}

/// Gradients of `sum(upstream * f(inputs))` by a tape in `dtype` that holds the inputs that `on_tape` names by their index.
fn tape_gradients(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    upstream: &Tensor,
    dtype: DType,
    on_tape: impl Fn(usize) -> bool,
) -> Vec<Option<Tensor>> {
    let inputs: Vec<Tensor> = (inputs.iter().enumerate())
        .map(|(at, input)| {
            let input = input.to_dtype(dtype).unwrap();
            if on_tape(at) { Var::from_tensor(&input).unwrap().into_inner() } else { input }
        })
        .collect();
    let output = f(&inputs).unwrap();
    assert_eq!(output.dtype(), dtype, "the output of {dtype:?} inputs");
    let loss = output.mul(&upstream.to_dtype(dtype).unwrap()).and_then(|product| product.sum_all()).unwrap();
    let gradients = loss.backward().unwrap();
    inputs.iter().map(|input| gradients.get(input).cloned()).collect()
}

/// The tensors of `tests/fixtures/NAME.safetensors`, which the scripts there write.
pub(crate) fn fixture(name: &str) -> BTreeMap<String, Tensor> {
    let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    candle_core::safetensors::load(&path, &Device::Cpu).unwrap_or_else(|error| panic!("{path}: {error}")).into_iter().collect()
}

/// Compares `f` with PyTorch: `NAME.KEY` of `fixture` for each of `inputs`, `NAME.output`, `NAME.upstream` its gradient, and
/// `NAME.KEY.gradient` of the inputs that have one. To 1e-11 of the largest in f64, and to 1e-5 in f32.
#[track_caller]
pub(crate) fn check_fixture(
    fixture: &BTreeMap<String, Tensor>,
    name: &str,
    inputs: &[&str],
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let stored = |key: &str| fixture.get(&format!("{name}.{key}")).unwrap_or_else(|| panic!("no {name}.{key}"));
    let gradients: Vec<Option<&Tensor>> = inputs.iter().map(|key| fixture.get(&format!("{name}.{key}.gradient"))).collect();
    assert!(gradients.iter().any(Option::is_some), "{name}: no gradients of {inputs:?}");
    let tensors: Vec<Tensor> = inputs.iter().map(|key| stored(key).clone()).collect();
    for (dtype, relative) in [(DType::F64, 1e-11), (DType::F32, 1e-5)] {
        let cast: Vec<Tensor> = tensors.iter().map(|tensor| tensor.to_dtype(dtype).unwrap()).collect();
        compare(&format!("{name} in {dtype:?}"), &f(&cast).unwrap(), stored("output"), relative);
        let actual = tape_gradients(&f, &tensors, stored("upstream"), dtype, |at| gradients[at].is_some());
        for ((key, actual), expected) in inputs.iter().zip(&actual).zip(&gradients) {
            if let Some(expected) = expected {
                let actual = actual.as_ref().unwrap_or_else(|| panic!("{name}: no gradient of {key}"));
                compare(&format!("{name}: gradient of {key} in {dtype:?}"), actual, expected, relative);
            }
        }
    }
}

/// Asserts one shape, and numbers that differ by at most `relative` of the largest expected one. NaN equals NaN, and infinity
/// itself.
#[track_caller]
pub(crate) fn close(actual: &Tensor, expected: &Tensor, relative: f64) {
    compare("values", actual, expected, relative);
}

#[track_caller]
fn compare(what: &str, actual: &Tensor, expected: &Tensor, relative: f64) {
    assert_eq!(actual.shape(), expected.shape(), "{what}: shape");
    let (actual, expected) = (values(actual), values(expected));
    let scale = expected.iter().filter(|x| x.is_finite()).fold(SMALLEST_SCALE, |scale, x| scale.max(x.abs()));
    for (index, (a, e)) in actual.iter().zip(&expected).enumerate() {
        let same = a == e || (a.is_nan() && e.is_nan()) || (a - e).abs() <= relative * scale;
        assert!(same, "{what}: {a} at {index} in place of {e}, the largest is {scale}");
    }
}

/// All numbers of a tensor of any type, in row-major order.
pub(crate) fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).and_then(|tensor| tensor.flatten_all()?.to_vec1()).unwrap()
}

/// Numbers between -2 and 2 in f64, without ties: always the same for one `seed` and number of elements.
pub(crate) fn numbers(seed: u64, shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    let numbers = (1..=shape.elem_count() as u64).map(|index| {
        // SplitMix64
        let mut bits = ((seed << 32) + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 51) as f64 - 2.0
    });
    Tensor::from_iter(numbers, &Device::Cpu).and_then(|numbers| numbers.reshape(shape)).unwrap()
}

/// Asserts an error of one line that names all `parts`.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, parts: &[&str]) {
    let error = match result.err().expect("an error") {
        // Set RUST_BACKTRACE, and candle adds its lines.
        Error::WithBacktrace { inner, .. } => *inner,
        error => error,
    };
    let message = error.to_string();
    assert!(!message.contains('\n'), "more than a line: {message}");
    parts.iter().for_each(|part| assert!(message.contains(part), "no {part:?} in {message:?}"));
}
