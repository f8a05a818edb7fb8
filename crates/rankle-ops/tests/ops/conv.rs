//! Convolutions against PyTorch and central differences.

use crate::common::{check_gradient, close, fixture, numbers, refused};
use candle_core::{DType, Device, Tensor, Var};
use rankle_ops::{Conv2d, Padding, conv2d};
use std::collections::BTreeSet;

/// Stride, padding, dilation and groups, as the fixtures have them.
fn options(numbers: &[i64]) -> Conv2d {
    let numbers: Vec<usize> = numbers.iter().map(|n| *n as usize).collect();
    let [down, across, top, bottom, left, right, below, beside, groups] = numbers[..] else { panic!("{numbers:?}") };
    Conv2d { stride: [down, across], padding: Padding { top, bottom, left, right }, dilation: [below, beside], groups }
}

#[test]
fn results_and_gradients_are_those_of_pytorch() {
    let tensors = fixture("spatial");
    let cases: BTreeSet<&str> =
        tensors.keys().filter_map(|key| key.strip_prefix("conv2d/")?.split_once('.')).map(|(name, _)| name).collect();
    assert_eq!(cases.len(), 39);
    for case in cases {
        let stored = |key: &str| tensors.get(&format!("conv2d/{case}.{key}"));
        let options = options(&stored("options").unwrap().to_vec1().unwrap());
        for dtype in [DType::F64, DType::F32] {
            let inputs: Vec<(&str, Var)> = (["x", "weight", "bias"].into_iter())
                .filter_map(|key| Some((key, Var::from_tensor(&stored(key)?.to_dtype(dtype).unwrap()).unwrap())))
                .collect();
            let bias = inputs.get(2).map(|(_, bias)| bias.as_tensor());
            let output = conv2d(&inputs[0].1, &inputs[1].1, bias, &options).unwrap();
            // All numbers are short binary fractions: no sum is rounded.
            println!("{case}, {dtype:?}");
            close(&output, stored("output").unwrap(), 0.0);
            let upstream = stored("upstream").unwrap().to_dtype(dtype).unwrap();
            let gradients = (output * upstream).unwrap().backward().unwrap();
            for (key, input) in &inputs {
                println!("{case}, {dtype:?}: gradient of {key}");
                close(gradients.get(input).unwrap(), stored(&format!("{key}.gradient")).unwrap(), 0.0);
            }
        }
    }
}

#[test]
fn gradients_are_those_of_differences() {
    let check = |name: &str, x: [usize; 4], weight: [usize; 4], options: Conv2d| {
        let inputs = [numbers(1, x.to_vec()), numbers(2, weight.to_vec()), numbers(3, weight[0])];
        check_gradient(name, |inputs| conv2d(&inputs[0], &inputs[1], Some(&inputs[2]), &options), &inputs);
        check_gradient(name, |inputs| conv2d(&inputs[0], &inputs[1], None, &options), &inputs[..2]);
    };
    let plain = Conv2d::default();
    let around = Conv2d { padding: Padding::even(1), ..plain };
    let aside = Conv2d { padding: Padding { top: 1, bottom: 0, left: 2, right: 1 }, ..plain };
    check("more outputs", [2, 2, 4, 5], [3, 2, 3, 3], around);
    check("fewer outputs", [2, 3, 4, 5], [2, 3, 3, 3], around);
    check("stride", [1, 2, 5, 6], [3, 2, 3, 3], Conv2d { stride: [2, 2], ..around });
    check("strides and dilations", [1, 2, 6, 5], [2, 2, 2, 3], Conv2d { stride: [2, 3], dilation: [3, 1], ..aside });
    check("one pixel", [2, 3, 2, 3], [2, 3, 1, 1], plain);
    check("one pixel, stride", [2, 2, 3, 4], [3, 2, 1, 1], Conv2d { stride: [2, 2], ..plain });
    check("groups", [2, 4, 4, 3], [2, 2, 3, 3], Conv2d { groups: 2, ..aside });
    check("depthwise", [2, 3, 4, 3], [3, 1, 3, 3], Conv2d { groups: 3, ..around });
    check("depthwise, more outputs, stride", [1, 2, 5, 4], [4, 1, 3, 2], Conv2d { groups: 2, stride: [2, 1], ..aside });
}

/// Intermediate results of many images are computed in runs of images.
#[test]
fn many_images_are_as_each_alone() {
    let n = 40;
    for (weight, options) in [
        ([20, 16, 3, 3], Conv2d { padding: Padding::even(1), ..Conv2d::default() }),
        ([16, 4, 3, 3], Conv2d { padding: Padding::even(1), groups: 4, ..Conv2d::default() }),
    ] {
        let [x, weight] = [numbers(1, (n, 16, 32, 32)), numbers(2, weight.to_vec())].map(|x| Var::from_tensor(&x).unwrap());
        let run = |x: &Tensor, upstream: &Tensor| {
            let output = conv2d(x, &weight, None, &options).unwrap();
            let mut gradients = (&output * upstream).unwrap().backward().unwrap();
            (output.detach(), gradients.remove(&weight).unwrap(), gradients)
        };
        let upstream = numbers(3, (n, weight.dims()[0], 32, 32));
        let (output, weight_gradient, gradients) = run(&x, &upstream);
        let mut sum = weight_gradient.zeros_like().unwrap();
        for image in [0, 24, 25, 27, 28, n - 1] {
            let alone = Var::from_tensor(&x.narrow(0, image, 1).unwrap().contiguous().unwrap()).unwrap();
            let (expected, _, alone_gradients) = run(&alone, &upstream.narrow(0, image, 1).unwrap());
            close(&output.narrow(0, image, 1).unwrap(), &expected, 1e-14);
            close(&gradients.get(&x).unwrap().narrow(0, image, 1).unwrap(), alone_gradients.get(&alone).unwrap(), 1e-14);
        }
        for image in 0..n {
            let alone = x.narrow(0, image, 1).unwrap().detach();
            sum = (sum + run(&alone, &upstream.narrow(0, image, 1).unwrap()).1).unwrap();
        }
        close(&weight_gradient, &sum, 1e-13);
    }
}

#[test]
fn inputs_need_not_be_contiguous() {
    let (x, weight) = (numbers(1, (2, 3, 5, 4)), numbers(2, (4, 3, 3, 3)));
    let [x_view, weight_view] = [&x, &weight].map(|tensor| {
        let view = tensor.transpose(2, 3).unwrap().contiguous().unwrap().transpose(2, 3).unwrap();
        assert!(!view.is_contiguous());
        Var::from_tensor(&view).unwrap()
    });
    let (x, weight) = (Var::from_tensor(&x).unwrap(), Var::from_tensor(&weight).unwrap());
    for stride in [1, 2] {
        let options = Conv2d { stride: [stride; 2], padding: Padding::even(1), ..Conv2d::default() };
        let [expected, actual] = [(&x, &weight), (&x_view, &weight_view)].map(|(x, weight)| {
            let output = conv2d(x, weight, None, &options).unwrap();
            // The upstream gradient is a view of one number.
            let gradients = output.sum_all().unwrap().backward().unwrap();
            [output, gradients.get(x).unwrap().clone(), gradients.get(weight).unwrap().clone()]
        });
        actual.iter().zip(&expected).for_each(|(actual, expected)| close(actual, expected, 0.0));
    }
}

#[test]
fn without_inputs_on_the_tape_the_result_is_not() {
    let output = conv2d(&numbers(1, (1, 2, 3, 3)), &numbers(2, (2, 2, 2, 2)), None, &Conv2d::default()).unwrap();
    assert!(!output.track_op());
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let plain = Conv2d::default();
    let check = |x: &[usize], weight: &[usize], bias: Option<usize>, options: Conv2d, parts: &[&str]| {
        let bias = bias.map(|len| numbers(3, len));
        refused(conv2d(&numbers(1, x.to_vec()), &numbers(2, weight.to_vec()), bias.as_ref(), &options), parts);
    };
    check(&[2, 3, 4], &[1, 3, 1, 1], None, plain, &["[2, 3, 4]"]);
    check(&[2, 3, 4, 4], &[1, 3, 1], None, plain, &["[1, 3, 1]"]);
    check(&[2, 3, 4, 4], &[1, 2, 1, 1], None, plain, &["[1, 2, 1, 1]", "[2, 3, 4, 4]"]);
    check(&[2, 3, 4, 4], &[1, 3, 5, 3], None, plain, &["[5, 3]", "[2, 3, 4, 4]"]);
    check(&[2, 3, 4, 4], &[1, 3, 3, 3], None, Conv2d { dilation: [1, 2], ..plain }, &["[3, 3]", "[1, 2]", "[2, 3, 4, 4]"]);
    check(&[2, 3, 4, 4], &[2, 3, 1, 1], Some(3), plain, &["[3]", "[2]", "[2, 3, 4, 4]"]);
    check(&[2, 4, 4, 4], &[3, 2, 1, 1], None, Conv2d { groups: 2, ..plain }, &["[3, 2, 1, 1]", "2 groups", "[2, 4, 4, 4]"]);
    check(&[2, 4, 4, 4], &[4, 4, 1, 1], None, Conv2d { groups: 2, ..plain }, &["[4, 4, 1, 1]", "2 groups"]);
    check(&[2, 4, 4, 4], &[4, 4, 1, 1], None, Conv2d { groups: 0, ..plain }, &["0 groups"]);
    check(&[2, 4, 4, 4], &[4, 4, 1, 1], None, Conv2d { stride: [1, 0], ..plain }, &["[1, 0]"]);
    check(&[2, 4, 4, 4], &[4, 4, 1, 1], None, Conv2d { dilation: [0, 1], ..plain }, &["[0, 1]"]);
    check(&[2, 4, 4, 4], &[0, 4, 1, 1], None, plain, &["[0, 4, 1, 1]"]);
    check(&[2, 4, 4, 4], &[4, 4, 0, 1], None, plain, &["[0, 1]"]);
    check(&[0, 4, 4, 4], &[4, 4, 1, 1], None, plain, &["[0, 4, 4, 4]"]);
    let endless = Padding { bottom: usize::MAX, ..Padding::default() };
    check(&[2, 4, 4, 4], &[4, 4, 1, 1], None, Conv2d { padding: endless, ..plain }, &["[2, 4, 4, 4]"]);
    check(&[2, 4, 4, 4], &[4, 4, 2, 2], None, Conv2d { dilation: [usize::MAX; 2], ..plain }, &["[2, 4, 4, 4]"]);
    let narrow = numbers(2, (1, 3, 1, 1)).to_dtype(DType::F32).unwrap();
    refused(conv2d(&numbers(1, (2, 3, 4, 4)), &narrow, None, &plain), &["weight", "F32", "F64"]);
    let whole = Tensor::zeros((1, 3, 4, 4), DType::I64, &Device::Cpu).unwrap();
    refused(
        conv2d(&whole, &Tensor::zeros((1, 3, 1, 1), DType::I64, &Device::Cpu).unwrap(), None, &plain),
        &["I64", "[1, 3, 4, 4]"],
    );
}
