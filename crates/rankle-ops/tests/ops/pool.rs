//! Pooling against PyTorch and central differences.

use crate::common::{check_gradient, close, fixture, numbers, refused, values};
use candle_core::{DType, Device, Tensor, Var};
use rankle_ops::{Padding, Pool, avg_pool2d, global_avg_pool, max_pool2d};
use std::collections::BTreeMap;

/// Runs `f` on every case of an operation, with the options that the case has, and compares result and gradient.
#[track_caller]
fn check_stored(operation: &str, count: usize, relative: [f64; 2], f: impl Fn(&Tensor, &[usize]) -> candle_core::Result<Tensor>) {
    let tensors = fixture("spatial");
    let mut cases: BTreeMap<&str, BTreeMap<&str, &Tensor>> = BTreeMap::new();
    for (key, tensor) in &tensors {
        if let Some((name, key)) = key.split_once('.').filter(|(name, _)| name.split('/').next() == Some(operation)) {
            cases.entry(name).or_default().insert(key, tensor);
        }
    }
    assert_eq!(cases.len(), count);
    for (name, stored) in &cases {
        let options: Vec<usize> = values(stored["options"]).iter().map(|n| *n as usize).collect();
        for (dtype, relative) in [DType::F64, DType::F32].into_iter().zip(relative) {
            println!("{name}, {dtype:?}");
            let x = Var::from_tensor(&stored["x"].to_dtype(dtype).unwrap()).unwrap();
            let output = f(&x, &options).unwrap();
            assert_eq!(output.dtype(), dtype);
            close(&output, stored["output"], relative);
            close(&f(&x.detach(), &options).unwrap(), stored["output"], relative);
            let upstream = stored["upstream"].to_dtype(dtype).unwrap();
            let gradients = (output * upstream).unwrap().backward().unwrap();
            println!("{name}, {dtype:?}: gradient");
            close(gradients.get(&x).unwrap(), stored["x.gradient"], relative);
        }
    }
}

fn pool(options: &[usize]) -> Pool {
    let [kernel_rows, kernel_columns, down, across, top, bottom, left, right] = options[..8] else { panic!("{options:?}") };
    Pool { kernel: [kernel_rows, kernel_columns], stride: [down, across], padding: Padding { top, bottom, left, right } }
}

fn row_of(numbers: &[f64]) -> Tensor {
    Tensor::from_slice(numbers, (1, 1, 1, numbers.len()), &Device::Cpu).unwrap()
}

#[test]
fn maxima_and_their_gradients_are_those_of_pytorch() {
    // Small whole numbers with ties, also zeros of both signs, infinity and NaN: all sums are exact.
    check_stored("max_pool2d", 15, [0.0, 0.0], |x, options| max_pool2d(x, &pool(options)));
}

#[test]
fn means_and_their_gradients_are_those_of_pytorch() {
    check_stored("avg_pool2d", 14, [1e-14, 2e-7], |x, options| avg_pool2d(x, &pool(options), options[8] == 1));
    check_stored("global_avg_pool", 1, [1e-14, 2e-7], |x, _| global_avg_pool(x));
}

#[test]
fn gradients_of_maxima_are_those_of_differences() {
    let sides = Padding { top: 1, bottom: 0, left: 0, right: 2 };
    for pool in [
        Pool::new(2, 2, 0),
        Pool::new(3, 2, 1),
        Pool::new(3, 1, 1),
        Pool::new(2, 3, 0),
        Pool { kernel: [2, 4], stride: [1, 3], padding: sides },
    ] {
        check_gradient(&format!("{pool:?}"), |x| max_pool2d(&x[0], &pool), &[numbers(1, (2, 2, 6, 7))]);
    }
}

#[test]
fn gradients_of_means_are_those_of_differences() {
    let sides = Padding { top: 1, bottom: 0, left: 0, right: 2 };
    for pool in
        [Pool::new(2, 2, 0), Pool::new(3, 2, 1), Pool::new(2, 3, 0), Pool { kernel: [2, 4], stride: [1, 3], padding: sides }]
    {
        for count_padding in [true, false] {
            let name = format!("{pool:?} {count_padding}");
            check_gradient(&name, |x| avg_pool2d(&x[0], &pool, count_padding), &[numbers(1, (2, 2, 6, 7))]);
        }
    }
    check_gradient("global", |x| global_avg_pool(&x[0]), &[numbers(1, (2, 3, 2, 5))]);
}

#[test]
fn the_first_of_equal_maxima_gets_the_gradient() {
    let check = |pixels: &[f64], pool: Pool, expected: &[f64]| {
        let x = Var::from_tensor(&row_of(pixels)).unwrap();
        let gradients = max_pool2d(&x, &pool).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(values(gradients.get(&x).unwrap()), expected);
    };
    let wide = |stride: usize, sides: usize| Pool {
        kernel: [1, 3],
        stride: [1, stride],
        padding: Padding { left: sides, right: sides, ..Padding::default() },
    };
    check(&[0.0, 0.0, 0.0], wide(1, 0), &[1.0, 0.0, 0.0]);
    check(&[0.0, -0.0, 0.0], wide(1, 0), &[1.0, 0.0, 0.0]);
    check(&[-0.0, 0.0, 0.0], wide(1, 0), &[1.0, 0.0, 0.0]);
    check(&[1.0, 2.0, 2.0, 1.0, 2.0], wide(1, 0), &[0.0, 2.0, 1.0, 0.0, 0.0]);
    // Padding is never the maximum, not even of negative pixels.
    check(&[-3.0, -3.0, -5.0], wide(1, 1), &[2.0, 1.0, 0.0]);
    check(&[f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY], wide(1, 1), &[2.0, 1.0, 0.0]);
    check(&[f64::NAN, 1.0, f64::NAN, 2.0], wide(1, 0), &[0.0, 0.0, 2.0, 0.0]);
}

#[test]
fn inputs_need_not_be_contiguous() {
    let x = numbers(1, (2, 3, 6, 5));
    let view = x.transpose(1, 3).unwrap().contiguous().unwrap().transpose(1, 3).unwrap();
    assert!(!view.is_contiguous());
    let [x, view] = [x, view].map(|x| Var::from_tensor(&x).unwrap());
    let same = |f: &dyn Fn(&Tensor) -> Tensor| {
        let [expected, actual] = [&x, &view].map(|x| {
            let output = f(x);
            // The upstream gradient is a view of one number.
            let gradients = output.sum_all().unwrap().backward().unwrap();
            [output, gradients.get(x).unwrap().clone()]
        });
        actual.iter().zip(&expected).for_each(|(actual, expected)| close(actual, expected, 0.0));
    };
    same(&|x| max_pool2d(x, &Pool::new(3, 2, 1)).unwrap());
    same(&|x| avg_pool2d(x, &Pool::new(3, 2, 1), false).unwrap());
    same(&|x| global_avg_pool(x).unwrap());
}

/// The last window begins on the last pixel, as with ONNX's `ceil_mode`.
#[test]
fn windows_may_reach_far_beyond_the_images() {
    let x = Tensor::new(&[[[[1f32, 2.0, 3.0, 4.0]]]], &Device::Cpu).unwrap();
    let padding = Padding { left: 1, right: 2, ..Padding::default() };
    let pool = Pool { kernel: [1, 3], stride: [1, 2], padding };
    let row = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(row(max_pool2d(&x, &pool).unwrap()), [2.0, 4.0, 4.0]);
    assert_eq!(row(avg_pool2d(&x, &pool, false).unwrap()), [1.5, 3.0, 4.0]);
    let x = Var::from_tensor(&x).unwrap();
    let gradients = max_pool2d(&x, &pool).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(row(gradients.get(&x).unwrap().clone()), [0.0, 1.0, 0.0, 2.0]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let check = |x: &[usize], pool: Pool, parts: &[&str]| {
        refused(max_pool2d(&numbers(1, x.to_vec()), &pool), &[&["max_pool2d"], parts].concat());
        refused(avg_pool2d(&numbers(1, x.to_vec()), &pool, true), &[&["avg_pool2d"], parts].concat());
    };
    check(&[2, 3, 4], Pool::new(2, 2, 0), &["[2, 3, 4]"]);
    check(&[2, 3, 0, 4], Pool::new(2, 2, 0), &["[2, 3, 0, 4]"]);
    check(&[0, 3, 4, 4], Pool::new(2, 2, 0), &["[0, 3, 4, 4]"]);
    check(&[2, 3, 4, 4], Pool::new(5, 1, 0), &["[5, 5]", "[2, 3, 4, 4]"]);
    check(&[2, 3, 4, 4], Pool::new(3, 1, 3), &["padding alone", "[3, 3]", "[2, 3, 4, 4]"]);
    check(
        &[2, 3, 4, 4],
        Pool { padding: Padding { right: 3, ..Padding::default() }, ..Pool::new(3, 1, 0) },
        &["padding alone", "[3, 3]"],
    );
    check(&[2, 3, 4, 4], Pool::new(0, 1, 0), &["[0, 0]"]);
    check(&[2, 3, 4, 4], Pool::new(2, 0, 0), &["[0, 0]"]);
    let whole = Tensor::zeros((1, 3, 4, 4), DType::U8, &Device::Cpu).unwrap();
    refused(max_pool2d(&whole, &Pool::new(2, 2, 0)), &["U8", "[1, 3, 4, 4]"]);
    refused(avg_pool2d(&whole, &Pool::new(2, 2, 0), true), &["U8", "[1, 3, 4, 4]"]);
    refused(global_avg_pool(&whole), &["U8", "[1, 3, 4, 4]"]);
    refused(global_avg_pool(&numbers(1, (2, 3, 4))), &["[2, 3, 4]"]);
    refused(global_avg_pool(&numbers(1, (2, 3, 0, 4))), &["[2, 3, 0, 4]"]);
}
