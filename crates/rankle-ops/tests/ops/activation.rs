//! Activation functions.

use crate::common::{check_fixture, check_gradient, close, fixture, numbers, refused, values};
use candle_core::{DType, Device, Result, Tensor, Var};
use rankle_ops::{clip, erf, gelu, gelu_tanh, hard_sigmoid, hard_swish, leaky_relu, relu, relu6, sigmoid, silu, tanh};

type Activation = fn(&Tensor) -> Result<Tensor>;

/// All activations, by their names in the fixture.
const ACTIVATIONS: [(&str, Activation); 12] = [
    ("relu", relu),
    ("relu6", relu6),
    ("clip", |x| clip(x, -0.5, 1.25)),
    ("leaky_relu", |x| leaky_relu(x, 0.1)),
    ("sigmoid", sigmoid),
    ("hard_sigmoid", hard_sigmoid),
    ("hard_swish", hard_swish),
    ("silu", silu),
    ("tanh", tanh),
    ("gelu", gelu),
    ("gelu_tanh", gelu_tanh),
    ("erf", erf),
];

/// The gradient of the sum of `upstream * activation(x)`.
fn gradient(activation: impl Fn(&Tensor) -> Result<Tensor>, x: &[f64], upstream: &[f64]) -> Vec<f64> {
    let x = Var::new(x, &Device::Cpu).unwrap();
    let upstream = Tensor::new(upstream, &Device::Cpu).unwrap();
    let product = (activation(&x).unwrap() * upstream).unwrap();
    let gradients = product.sum_all().unwrap().backward().unwrap();
    values(gradients.get(&x).unwrap())
}

#[test]
fn gradients_are_slopes() {
    // Numbers up to 8, on both sides of all corners.
    let inputs = [(numbers(1, (2, 30)) * 4.0).unwrap()];
    for (name, activation) in ACTIVATIONS {
        check_gradient(name, |x| activation(&x[0]), &inputs);
    }
}

#[test]
fn values_and_gradients_are_those_of_pytorch_at_corners_and_zeros_too() {
    let fixture = fixture("pointwise");
    for (name, activation) in ACTIVATIONS {
        check_fixture(&fixture, name, &["x"], |x| activation(&x[0]));
    }
}

#[test]
fn far_from_zero_nothing_overflows() {
    let fixture = fixture("pointwise");
    for (name, activation) in ACTIVATIONS {
        check_fixture(&fixture, &format!("{name}.far"), &["x"], |x| activation(&x[0]));
    }
}

#[test]
#[rustfmt::skip] // the columns are the point
fn gradients_at_corners_are_exact() {
    let below = |x: f64| x.next_down();
    let above = |x: f64| x.next_up();
    let check = |activation: Activation, x: f64, expected: f64| {
        assert_eq!(gradient(activation, &[x], &[3.0]), [3.0 * expected], "at {x}");
    };
    check(relu, 0.0, 0.0);
    check(relu, -0.0, 0.0);
    check(relu, above(0.0), 1.0);
    check(relu6, 0.0, 0.0);
    check(relu6, below(6.0), 1.0);
    check(relu6, 6.0, 0.0);
    check(|x| clip(x, -0.5, 1.25), -0.5, 0.0);
    check(|x| clip(x, -0.5, 1.25), above(-0.5), 1.0);
    check(|x| clip(x, -0.5, 1.25), 1.25, 0.0);
    check(|x| leaky_relu(x, 0.25), 0.0, 0.25);
    check(|x| leaky_relu(x, 0.25), -0.0, 0.25);
    check(|x| leaky_relu(x, 0.25), above(0.0), 1.0);
    check(hard_sigmoid, -3.0, 0.0);
    check(hard_sigmoid, 3.0, 0.0);
    check(hard_swish, -3.0, 0.0);
    check(hard_swish, 3.0, 1.0);
}

#[test]
fn derivatives_with_erf_hold_all_digits_of_f64() {
    let sqrt_pi = std::f64::consts::PI.sqrt();
    let density = (-0.5f64).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let cases: [(Activation, f64, f64); 5] = [
        (erf, 0.0, 2.0 / sqrt_pi),
        (erf, -1.0, 2.0 / sqrt_pi * (-1f64).exp()),
        (gelu, 0.0, 0.5),
        // Φ(1) + φ(1) and Φ(-1) - φ(-1), Φ(1) from tables
        (gelu, 1.0, 0.841_344_746_068_542_9 + density),
        (gelu, -1.0, 1.0 - 0.841_344_746_068_542_9 - density),
    ];
    for (activation, x, expected) in cases {
        let actual = gradient(activation, &[x], &[1.0])[0];
        assert!((actual - expected).abs() < 1e-15, "{actual} in place of {expected} at {x}");
    }
}

#[test]
fn hostile_gradients_do_not_cross_a_zero_derivative() {
    let upstream = [f64::NAN, f64::INFINITY];
    let cases: [(Activation, f64); 6] =
        [(relu, -1.0), (relu, 0.0), (relu6, 6.0), (|x| clip(x, 1.0, 2.0), 2.5), (hard_sigmoid, -4.0), (hard_swish, -4.0)];
    for (activation, x) in cases {
        assert_eq!(gradient(activation, &[x; 2], &upstream), [0.0; 2], "at {x}");
    }
}

#[test]
fn nan_stays_nan_and_infinity_does_not_panic() {
    for dtype in [DType::F32, DType::F64] {
        let hostile = Tensor::new(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5], &Device::Cpu).unwrap();
        for (name, activation) in ACTIVATIONS {
            let x = Var::from_tensor(&hostile.to_dtype(dtype).unwrap()).unwrap();
            let output = activation(&x).unwrap();
            let gradients = output.sum_all().unwrap().backward().unwrap();
            let (output, gradient) = (values(&output), values(gradients.get(&x).unwrap()));
            assert!(output[0].is_nan(), "{name}: {output:?}");
            assert!(output[3].is_finite() && gradient[3].is_finite(), "{name}: {output:?} {gradient:?}");
        }
    }
}

#[test]
fn infinities_are_limits() {
    let infinities = Tensor::new(&[f64::INFINITY, f64::NEG_INFINITY], &Device::Cpu).unwrap();
    let cases: [(Activation, [f64; 2]); 7] = [
        (relu, [f64::INFINITY, 0.0]),
        (relu6, [6.0, 0.0]),
        (|x| clip(x, f64::NEG_INFINITY, 2.0), [2.0, f64::NEG_INFINITY]),
        (sigmoid, [1.0, 0.0]),
        (hard_sigmoid, [1.0, 0.0]),
        (tanh, [1.0, -1.0]),
        (erf, [1.0, -1.0]),
    ];
    for (activation, expected) in cases {
        assert_eq!(values(&activation(&infinities).unwrap()), expected);
    }
}

#[test]
fn views_give_what_their_copies_give() {
    let inputs = [(numbers(3, (4, 5)) * 4.0).unwrap()];
    for (name, activation) in ACTIVATIONS {
        let view = inputs[0].t().and_then(|view| view.narrow(0, 1, 3)).unwrap();
        let copy = view.force_contiguous().unwrap();
        close(&activation(&view).unwrap(), &activation(&copy).unwrap(), 0.0);
        check_gradient(&format!("{name} of a view"), |x| activation(&x[0].t()?.narrow(0, 1, 3)?), &inputs);
    }
}

#[test]
fn empty_tensors_stay_empty() {
    for (name, activation) in ACTIVATIONS {
        let x = Var::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
        let output = activation(&x).unwrap();
        assert_eq!(output.dims(), [0, 3], "{name}");
        output.sum_all().unwrap().backward().unwrap();
    }
}

#[test]
fn types_without_fractions_are_refused() {
    for dtype in [DType::U8, DType::U32, DType::I64, DType::F16] {
        let x = Tensor::zeros((2, 3), dtype, &Device::Cpu).unwrap();
        for (name, activation) in ACTIVATIONS {
            let name = if name == "relu6" { "clip" } else { name };
            refused(activation(&x), &[&format!("{name}:"), &format!("{dtype:?}"), "[2, 3]"]);
        }
    }
}

#[test]
fn bounds_out_of_order_are_refused() {
    let x = numbers(1, (2, 3));
    for (low, high) in [(1.0, 0.5), (f64::NAN, 1.0), (0.0, f64::NAN)] {
        refused(clip(&x, low, high), &["clip", &low.to_string(), &high.to_string(), "[2, 3]"]);
    }
    assert_eq!(values(&clip(&x, 0.5, 0.5).unwrap()), [0.5; 6]);
}
