//! Softmax.

use crate::common::{check_fixture, check_gradient, close, fixture, numbers, refused, values};
use candle_core::{DType, Device, Tensor, Var};
use rankle_ops::softmax;

#[test]
fn gradients_are_slopes() {
    for shape in [&[6usize][..], &[3, 5], &[2, 3, 4], &[4, 1]] {
        check_gradient(&format!("softmax of {shape:?}"), |x| softmax(&x[0]), &[numbers(1, shape)]);
    }
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    check_fixture(&fixture("pointwise"), "softmax", &["x"], |x| softmax(&x[0]));
}

#[test]
fn views_give_what_their_copies_give() {
    let view = numbers(2, (5, 3)).t().unwrap();
    close(&softmax(&view).unwrap(), &softmax(&view.force_contiguous().unwrap()).unwrap(), 0.0);
    check_gradient("softmax of columns", |x| softmax(&x[0].t()?), &[numbers(2, (5, 3))]);
}

#[test]
fn large_numbers_do_not_overflow() {
    let rows = Tensor::new(&[[1e4f32, 1e4, -1e4], [-3e38, -3e38, -3e38]], &Device::Cpu).unwrap();
    assert_eq!(values(&softmax(&rows).unwrap())[..3], [0.5, 0.5, 0.0]);
    close(&softmax(&rows).unwrap().narrow(0, 1, 1).unwrap(), &Tensor::full(1f64 / 3.0, (1, 3), &Device::Cpu).unwrap(), 1e-6);
}

#[test]
fn minus_infinity_leaves_an_entry_out() {
    let masked = Tensor::new(&[[0.5f64, f64::NEG_INFINITY, 1.5]], &Device::Cpu).unwrap();
    let x = Var::from_tensor(&masked).unwrap();
    let output = softmax(&x).unwrap();
    let both = softmax(&Tensor::new(&[[0.5f64, 1.5]], &Device::Cpu).unwrap()).unwrap();
    assert_eq!(values(&output), [values(&both)[0], 0.0, values(&both)[1]]);
    let gradients = output.sqr().and_then(|square| square.sum_all()?.backward()).unwrap();
    let gradient = values(gradients.get(&x).unwrap());
    assert!(gradient[1] == 0.0 && gradient.iter().all(|x| x.is_finite()), "{gradient:?}");
}

#[test]
fn nan_and_infinity_fill_their_row_alone() {
    for hostile in [f32::NAN, f32::INFINITY] {
        let x = Var::new(&[[1f32, hostile, 2.0], [1.0, 0.0, 2.0]], &Device::Cpu).unwrap();
        let output = softmax(&x).unwrap();
        let (bad, good) = (values(&output)[..3].to_vec(), values(&output)[3..].to_vec());
        assert!(bad.iter().any(|x| x.is_nan()) && good.iter().all(|x| x.is_finite()), "{bad:?} {good:?}");
        output.sum_all().unwrap().backward().unwrap();
    }
    let none = Tensor::full(f32::NEG_INFINITY, (1, 3), &Device::Cpu).unwrap();
    assert!(values(&softmax(&none).unwrap()).iter().all(|x| x.is_nan()));
}

#[test]
fn shapes_and_types_that_do_not_fit_are_refused() {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    refused(softmax(&zeros(&[], DType::F32)), &["softmax", "[]"]);
    refused(softmax(&zeros(&[2, 0], DType::F32)), &["softmax", "[2, 0]"]);
    refused(softmax(&zeros(&[2, 3], DType::U8)), &["softmax", "U8", "[2, 3]"]);
}
