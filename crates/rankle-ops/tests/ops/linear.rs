//! Products of matrices.

use crate::common::{check_fixture, check_gradient, close, fixture, numbers, refused, values};
use candle_core::{DType, Device, Result, Tensor, Var};
use rankle_ops::{linear, matmul};

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

fn product(x: &[Tensor]) -> Result<Tensor> {
    matmul(&x[0], &x[1])
}

#[test]
fn gradients_of_linear_are_slopes() {
    let (weight, bias) = (numbers(1, (4, 3)), numbers(2, 4));
    for shape in [&[3usize][..], &[5, 3], &[2, 5, 3], &[2, 2, 2, 3]] {
        let x = numbers(3, shape);
        let name = format!("linear of {shape:?}");
        check_gradient(&name, |x| linear(&x[0], &x[1], None), &[x.clone(), weight.clone()]);
        check_gradient(&name, |x| linear(&x[0], &x[1], Some(&x[2])), &[x, weight.clone(), bias.clone()]);
    }
}

#[test]
fn gradients_of_products_are_slopes() {
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[2, 3], &[3, 4]),
        (&[5, 2, 3], &[5, 3, 4]),
        (&[2, 2, 2, 2, 3], &[2, 2, 2, 3, 2]),
        (&[5, 2, 3], &[3, 4]),
        (&[2, 2, 2, 3], &[3, 2]),
        (&[1, 1], &[1, 1]),
        (&[3, 1, 4], &[3, 4, 1]),
    ];
    for (a, b) in shapes {
        check_gradient(&format!("product of {a:?} and {b:?}"), product, &[numbers(1, a), numbers(2, b)]);
    }
}

#[test]
fn views_are_multiplied_as_what_they_show() {
    let inputs = [numbers(1, (2, 3, 4)), numbers(2, (2, 5, 3))];
    let views = |x: &[Tensor]| matmul(&x[0].transpose(1, 2)?, &x[1].transpose(1, 2)?);
    check_gradient("product of transposed matrices", views, &inputs);
    let narrowed = |x: &[Tensor]| linear(&x[0].narrow(2, 1, 3)?, &x[1].narrow(1, 0, 4)?.get(1)?, None);
    check_gradient("linear of columns", narrowed, &inputs);
}

#[test]
fn a_matrix_times_itself_gets_both_gradients() {
    check_gradient("square", |x| matmul(&x[0], &x[0]), &[numbers(1, (3, 3))]);
    check_gradient("rows by rows", |x| linear(&x[0], &x[0], None), &[numbers(1, (4, 3))]);
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let fixture = fixture("pointwise");
    check_fixture(&fixture, "linear", &["x", "weight", "bias"], |x| linear(&x[0], &x[1], Some(&x[2])));
    check_fixture(&fixture, "matmul", &["a", "b"], product);
    check_fixture(&fixture, "matmul.shared", &["a", "b"], product);
}

#[test]
fn batches_are_multiplied_one_by_one() {
    let (a, b) = (numbers(1, (2, 2, 3, 4)), numbers(2, (2, 2, 4, 2)));
    let output = matmul(&a, &b).unwrap();
    assert_eq!(output.dims(), [2, 2, 3, 2]);
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let at = |x: &Tensor| x.get(i).and_then(|x| x.get(j)).unwrap();
        close(&at(&output), &at(&a).matmul(&at(&b)).unwrap(), 1e-15);
    }
}

#[test]
fn empty_batches_and_features_are_no_errors() {
    assert_eq!(linear(&zeros(&[0, 3]), &zeros(&[4, 3]), None).unwrap().dims(), [0, 4]);
    assert_eq!(linear(&zeros(&[2, 0]), &zeros(&[4, 0]), None).unwrap().dims(), [2, 4]);
    assert_eq!(matmul(&zeros(&[0, 2, 3]), &zeros(&[0, 3, 4])).unwrap().dims(), [0, 2, 4]);
    for shape in [&[0usize, 3][..], &[2, 0, 3]] {
        let (x, weight) = (Var::from_tensor(&zeros(shape)).unwrap(), Var::from_tensor(&zeros(&[4, 3])).unwrap());
        let gradients = linear(&x, &weight, None).and_then(|output| output.sum_all()?.backward()).unwrap();
        assert_eq!(values(gradients.get(&weight).unwrap()), [0.0; 12]);
    }
}

#[test]
fn nan_stays_in_its_row() {
    for hostile in [f32::NAN, f32::INFINITY] {
        let x = Var::new(&[[1f32, hostile], [1.0, 2.0]], &Device::Cpu).unwrap();
        let weight = Var::new(&[[0f32, 0.0], [1.0, 1.0]], &Device::Cpu).unwrap();
        let output = linear(&x, &weight, None).unwrap();
        let numbers = values(&output);
        assert!(numbers[0].is_nan() && !numbers[1].is_finite(), "{numbers:?}");
        assert_eq!(numbers[2..], [0.0, 3.0]);
        let gradients = output.sum_all().unwrap().backward().unwrap();
        assert_eq!(values(gradients.get(&x).unwrap()), [1.0; 4]);
    }
}

#[test]
fn shapes_and_types_that_do_not_fit_are_refused() {
    let wide = zeros(&[4, 3]).to_dtype(DType::F64).unwrap();
    let bytes = zeros(&[2, 3]).to_dtype(DType::U8).unwrap();
    refused(linear(&zeros(&[2, 5]), &zeros(&[4, 3]), None), &["linear", "[2, 5]", "[4, 3]"]);
    refused(linear(&zeros(&[]), &zeros(&[4, 3]), None), &["linear", "[]", "[4, 3]"]);
    refused(linear(&zeros(&[2, 3]), &zeros(&[3]), None), &["linear", "[2, 3]", "[3]"]);
    refused(linear(&zeros(&[2, 3]), &zeros(&[4, 3]), Some(&zeros(&[3]))), &["linear: bias", "[3]", "[4]", "[2, 3]"]);
    refused(linear(&zeros(&[2, 3]), &zeros(&[4, 3]), Some(&zeros(&[1, 4]))), &["linear: bias", "[1, 4]", "[4]"]);
    refused(linear(&zeros(&[2, 3]), &wide, None), &["linear: weight", "F64", "F32"]);
    refused(linear(&bytes, &bytes, None), &["linear", "U8", "[2, 3]"]);

    let shapes: [(&[usize], &[usize]); 8] = [
        (&[2, 3], &[4, 3]),
        (&[5, 2, 3], &[4, 3, 2]),
        (&[2, 3], &[5, 3, 2]),
        (&[1, 2, 3], &[5, 3, 2]),
        (&[6, 2, 3], &[2, 3, 3, 2]),
        (&[3], &[3, 2]),
        (&[2, 3], &[3]),
        (&[], &[]),
    ];
    for (a, b) in shapes {
        refused(matmul(&zeros(a), &zeros(b)), &["matmul", &format!("{a:?}"), &format!("{b:?}")]);
    }
    refused(matmul(&zeros(&[4, 4]), &wide), &["matmul", "F64", "F32"]);
    refused(matmul(&bytes, &bytes.t().unwrap()), &["matmul", "U8", "[2, 3]"]);
}
