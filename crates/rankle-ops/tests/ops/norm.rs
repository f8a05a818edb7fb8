//! Normalizations.

use crate::common::{check_fixture, check_gradient, close, fixture, numbers, refused, values};
use candle_core::{DType, Device, Result, Tensor, Var};
use rankle_ops::{batch_norm, batch_norm_training, layer_norm, normalize_pixels, unit_rows};

const EPSILON: f64 = 1e-3;

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

/// Inputs `x`, `weight` and `bias` by which of the last two are there: calls `f` with each choice.
fn choices(x: &Tensor, weight: &Tensor, bias: &Tensor, f: impl Fn(&str, &[Tensor], [Option<usize>; 2])) {
    let inputs = [x, weight, bias].map(Tensor::clone);
    f("plain", &inputs[..1], [None, None]);
    f("weight", &inputs[..2], [Some(1), None]);
    f("bias", &[x.clone(), bias.clone()], [None, Some(1)]);
    f("both", &inputs, [Some(1), Some(2)]);
}

#[test]
fn gradients_of_layer_norm_are_slopes() {
    for shape in [&[5usize][..], &[3, 5], &[2, 3, 5]] {
        choices(&numbers(1, shape), &numbers(2, 5), &numbers(3, 5), |name, inputs, [weight, bias]| {
            let f = |x: &[Tensor]| layer_norm(&x[0], weight.map(|at| &x[at]), bias.map(|at| &x[at]), EPSILON);
            check_gradient(&format!("layer_norm of {shape:?}, {name}"), f, inputs);
        });
    }
}

#[test]
fn gradients_of_batch_norm_are_slopes() {
    let (mean, variance) = (numbers(4, 3), (numbers(5, 3).abs().unwrap() + 0.2).unwrap());
    for shape in [&[4usize, 3][..], &[2, 3, 2, 4]] {
        choices(&numbers(1, shape), &numbers(2, 3), &numbers(3, 3), |name, inputs, [weight, bias]| {
            let f = |x: &[Tensor]| {
                let [mean, variance] = [&mean, &variance].map(|tensor| tensor.to_dtype(x[0].dtype()));
                batch_norm(&x[0], &mean?, &variance?, weight.map(|at| &x[at]), bias.map(|at| &x[at]), EPSILON)
            };
            check_gradient(&format!("batch_norm of {shape:?}, {name}"), f, inputs);
        });
    }
}

#[test]
fn gradients_of_batch_norm_in_training_are_slopes() {
    for shape in [&[4usize, 3][..], &[2, 3, 2, 4], &[1, 3, 1, 2]] {
        choices(&numbers(1, shape), &numbers(2, 3), &numbers(3, 3), |name, inputs, [weight, bias]| {
            let f = |x: &[Tensor]| Ok(batch_norm_training(&x[0], weight.map(|at| &x[at]), bias.map(|at| &x[at]), EPSILON)?.0);
            check_gradient(&format!("batch_norm_training of {shape:?}, {name}"), f, inputs);
        });
    }
}

#[test]
fn gradients_of_the_others_are_slopes() {
    check_gradient("unit_rows", |x| unit_rows(&x[0]), &[numbers(1, (3, 4))]);
    let f = |x: &[Tensor]| normalize_pixels(&x[0], &[0.5, 0.25], &[0.125, 2.0]);
    check_gradient("normalize_pixels", f, &[numbers(1, (2, 2, 3, 2))]);
}

#[test]
fn views_are_normalized_as_what_they_show() {
    let inputs = [numbers(1, (4, 3, 2))];
    check_gradient("layer_norm", |x| layer_norm(&x[0].transpose(0, 2)?, None, None, EPSILON), &inputs);
    check_gradient("unit_rows", |x| unit_rows(&x[0].get(1)?.t()?), &inputs);
    let maps = |x: &[Tensor]| x[0].transpose(1, 2)?.unsqueeze(3);
    check_gradient("batch_norm_training", |x| Ok(batch_norm_training(&maps(x)?, None, None, EPSILON)?.0), &inputs);
    check_gradient("normalize_pixels", |x| normalize_pixels(&maps(x)?, &[0.5, 0.25], &[0.125, 2.0]), &inputs);
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let fixture = fixture("pointwise");
    let all = ["x", "weight", "bias", "mean", "variance"];
    for name in ["layer_norm", "layer_norm.flat"] {
        check_fixture(&fixture, name, &all[..3], |x| layer_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-5));
    }
    check_fixture(&fixture, "unit_rows", &all[..1], |x| unit_rows(&x[0]));
    check_fixture(&fixture, "batch_norm", &all, |x| batch_norm(&x[0], &x[3], &x[4], Some(&x[1]), Some(&x[2]), EPSILON));
    let training = |x: &[Tensor]| Ok(batch_norm_training(&x[0], Some(&x[1]), Some(&x[2]), EPSILON)?.0);
    check_fixture(&fixture, "batch_norm_training", &all[..3], training);
}

#[test]
fn statistics_of_a_batch_are_those_of_pytorch_and_off_the_tape() {
    let fixture = fixture("pointwise");
    let x = Var::from_tensor(&fixture["batch_norm_training.x"]).unwrap();
    let (_, statistics) = batch_norm_training(&x, None, None, EPSILON).unwrap();
    close(&statistics.mean, &fixture["batch_norm_training.mean"], 1e-13);
    close(&statistics.unbiased, &fixture["batch_norm_training.unbiased"], 1e-13);
    // 18 values per channel
    close(&statistics.variance, &(&statistics.unbiased * (17.0 / 18.0)).unwrap(), 1e-13);
    assert!([&statistics.mean, &statistics.variance, &statistics.unbiased].iter().all(|tensor| !tensor.track_op()));
}

#[test]
fn frozen_with_the_statistics_of_the_batch_is_training() {
    let (x, weight, bias) = (numbers(1, (3, 2, 2, 2)), numbers(2, 2), numbers(3, 2));
    let (output, statistics) = batch_norm_training(&x, Some(&weight), Some(&bias), EPSILON).unwrap();
    let frozen = batch_norm(&x, &statistics.mean, &statistics.variance, Some(&weight), Some(&bias), EPSILON);
    close(&frozen.unwrap(), &output, 1e-14);
}

#[test]
fn frozen_statistics_get_no_gradient() {
    let [x, mean, variance] = [1, 2, 3].map(|seed| Var::from_tensor(&numbers(seed, (2, 3)).sqr().unwrap()).unwrap());
    let [mean, variance] = [mean, variance].map(|var| Var::from_tensor(&var.get(0).unwrap().detach()).unwrap());
    let output = batch_norm(&x, &mean, &variance, None, None, EPSILON).unwrap();
    let gradients = output.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some() && gradients.get(&mean).is_none() && gradients.get(&variance).is_none());
}

#[test]
fn zero_rows_stay_zero_with_a_gradient_of_zero() {
    // The squares of the last row are 0 in f32.
    let x = Var::new(&[[0f32, 0.0], [3.0, -4.0], [-0.0, 0.0], [1e-30, 1e-30]], &Device::Cpu).unwrap();
    let output = unit_rows(&x).unwrap();
    close(&output, &Tensor::new(&[[0f64, 0.0], [0.6, -0.8], [0.0, 0.0], [0.0, 0.0]], &Device::Cpu).unwrap(), 1e-6);
    let upstream = Tensor::new(&[[1f32, 2.0], [1.0, 0.0], [5.0, 5.0], [1.0, 2.0]], &Device::Cpu).unwrap();
    let gradients = (output * upstream).and_then(|product| product.sum_all()?.backward()).unwrap();
    // (upstream - unit * 0.6) / 5 for the second row
    let expected = [[0f64, 0.0], [(1.0 - 0.36) / 5.0, 0.48 / 5.0], [0.0, 0.0], [0.0, 0.0]];
    close(gradients.get(&x).unwrap(), &Tensor::new(&expected, &Device::Cpu).unwrap(), 1e-6);
}

#[test]
fn pixels_are_normalized_per_channel() {
    let x = Tensor::new(&[[[[0.5f32, 1.0]], [[0.5, 1.0]]]], &Device::Cpu).unwrap();
    let output = normalize_pixels(&x, &[0.5, 0.0], &[0.5, 0.25]).unwrap();
    assert_eq!(values(&output), [0.0, 1.0, 2.0, 4.0]);
}

/// All normalizations of `x` `(n, c)` or `(n, c, 1, 1)`, each with `c` weights of its type.
fn all(x: &Tensor) -> Result<Vec<(&'static str, Tensor)>> {
    let (n, c) = (x.dim(0)?, x.dim(1)?);
    let (rows, maps) = (x.reshape((n, c))?, x.reshape((n, c, 1, 1))?);
    let ones = Tensor::ones(c, x.dtype(), x.device())?;
    Ok(vec![
        ("layer_norm", layer_norm(&rows, Some(&ones), Some(&ones), EPSILON)?),
        ("batch_norm", batch_norm(&maps, &ones, &ones, Some(&ones), Some(&ones), EPSILON)?),
        ("batch_norm_training", batch_norm_training(&rows, Some(&ones), Some(&ones), EPSILON)?.0),
        ("normalize_pixels", normalize_pixels(&maps, &vec![0.5; c], &vec![0.5; c])?),
        ("unit_rows", unit_rows(&rows)?),
    ])
}

#[test]
fn nan_and_infinity_do_not_panic_and_stay_in_their_row_or_channel() {
    for hostile in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let x = Var::new(&[[hostile, 1.0, 2.0], [3.0, 4.0, 6.0]], &Device::Cpu).unwrap();
        for (name, output) in all(&x).unwrap() {
            let numbers = values(&output);
            let finite: Vec<bool> = numbers.iter().map(|x| x.is_finite()).collect();
            let expected = match name {
                "layer_norm" => [false, false, false, true, true, true],
                "batch_norm_training" => [false, true, true, false, true, true],
                // An infinite norm takes finite numbers to zero.
                "unit_rows" => [false, hostile.is_infinite(), hostile.is_infinite(), true, true, true],
                _ => [false, true, true, true, true, true],
            };
            assert_eq!(finite, expected, "{name}: {numbers:?}");
            output.sum_all().unwrap().backward().unwrap();
        }
    }
}

#[test]
fn rows_and_channels_of_one_value_are_their_bias() {
    let x = Var::from_tensor(&(numbers(1, (3, 1)) + 1e6).unwrap()).unwrap();
    let bias = numbers(2, 1);
    let output = layer_norm(&x, None, Some(&bias), EPSILON).unwrap();
    close(&output, &bias.broadcast_as((3, 1)).unwrap(), 0.0);
    let gradients = output.sum_all().unwrap().backward().unwrap();
    assert_eq!(values(gradients.get(&x).unwrap()), [0.0; 3]);

    let equal = Tensor::full(0.75f64, (4, 1), &Device::Cpu).unwrap();
    let (output, statistics) = batch_norm_training(&equal, None, Some(&bias), EPSILON).unwrap();
    close(&output, &bias.broadcast_as((4, 1)).unwrap(), 1e-12);
    assert_eq!(values(&statistics.variance), [0.0]);
}

#[test]
fn fewer_than_two_values_per_channel_are_refused() {
    for shape in [&[1usize, 3][..], &[1, 3, 1, 1], &[0, 3, 2, 2], &[2, 3, 0, 2]] {
        let expected = format!("{shape:?}");
        refused(batch_norm_training(&zeros(shape), None, None, EPSILON), &["batch_norm_training", &expected, "at least 2"]);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let (four, five) = (zeros(&[4]), zeros(&[5]));
    let layer = |x: &[usize], weight, bias| layer_norm(&zeros(x), weight, bias, EPSILON);
    refused(layer(&[], None, None), &["layer_norm", "[]"]);
    refused(layer(&[2, 0], None, None), &["layer_norm", "[2, 0]"]);
    refused(layer(&[2, 4], Some(&five), None), &["layer_norm: weight", "[5]", "[4]", "[2, 4]"]);
    refused(layer(&[2, 4], None, Some(&five)), &["layer_norm: bias", "[5]", "[4]", "[2, 4]"]);

    let frozen = |x: &[usize], mean, variance, weight, bias| batch_norm(&zeros(x), mean, variance, weight, bias, EPSILON);
    refused(frozen(&[2, 4, 3], &four, &four, None, None), &["batch_norm", "[2, 4, 3]"]);
    refused(frozen(&[2, 4, 3, 3], &five, &four, None, None), &["batch_norm: mean", "[5]", "[4]", "[2, 4, 3, 3]"]);
    refused(frozen(&[2, 4, 3, 3], &four, &five, None, None), &["batch_norm: variance", "[5]", "[4]", "[2, 4, 3, 3]"]);
    refused(frozen(&[2, 4], &four, &four, Some(&five), None), &["batch_norm: weight", "[5]", "[4]", "[2, 4]"]);
    refused(frozen(&[2, 4], &four, &four, None, Some(&five)), &["batch_norm: bias", "[5]", "[4]", "[2, 4]"]);

    let training = |x: &[usize], weight, bias| batch_norm_training(&zeros(x), weight, bias, EPSILON);
    refused(training(&[4], None, None), &["batch_norm_training", "[4]"]);
    refused(training(&[2, 4], Some(&five), None), &["batch_norm_training: weight", "[5]", "[4]", "[2, 4]"]);
    refused(training(&[2, 4], None, Some(&five)), &["batch_norm_training: bias", "[5]", "[4]", "[2, 4]"]);

    refused(normalize_pixels(&zeros(&[2, 3, 4]), &[0.0; 3], &[1.0; 3]), &["normalize_pixels", "[2, 3, 4]"]);
    refused(normalize_pixels(&zeros(&[2, 3, 4, 4]), &[0.0; 2], &[1.0; 3]), &["normalize_pixels", "2", "3", "[2, 3, 4, 4]"]);
    refused(normalize_pixels(&zeros(&[2, 3, 4, 4]), &[0.0; 3], &[1.0; 1]), &["normalize_pixels", "3", "1", "[2, 3, 4, 4]"]);
    refused(unit_rows(&zeros(&[3])), &["unit_rows", "[3]"]);
    refused(unit_rows(&zeros(&[2, 3, 4])), &["unit_rows", "[2, 3, 4]"]);
}

#[test]
fn numbers_and_types_that_do_not_fit_are_refused() {
    let x = zeros(&[2, 3, 4, 4]);
    for std in [0.0, -1.0, f32::NAN] {
        refused(normalize_pixels(&x, &[0.0; 3], &[1.0, std, 1.0]), &["normalize_pixels", &std.to_string()]);
    }
    let three = zeros(&[3]);
    for epsilon in [-1e-3, f64::NAN, f64::INFINITY] {
        let expected = epsilon.to_string();
        refused(layer_norm(&x, None, None, epsilon), &["layer_norm", &expected]);
        refused(batch_norm(&x, &three, &three, None, None, epsilon), &["batch_norm", &expected]);
        refused(batch_norm_training(&x, None, None, epsilon), &["batch_norm_training", &expected]);
    }
    let wide = three.to_dtype(DType::F64).unwrap();
    refused(layer_norm(&zeros(&[2, 3]), Some(&wide), None, EPSILON), &["layer_norm: weight", "F64", "F32"]);
    refused(batch_norm(&x, &wide, &three, None, None, EPSILON), &["batch_norm: mean", "F64", "F32"]);
    refused(batch_norm_training(&x, None, Some(&wide), EPSILON), &["batch_norm_training: bias", "F64", "F32"]);
    let bytes = x.to_dtype(DType::U8).unwrap();
    refused(layer_norm(&bytes, None, None, EPSILON), &["layer_norm", "U8", "[2, 3, 4, 4]"]);
    refused(batch_norm_training(&bytes, None, None, EPSILON), &["batch_norm_training", "U8", "[2, 3, 4, 4]"]);
    refused(normalize_pixels(&bytes, &[0.0; 3], &[1.0; 3]), &["normalize_pixels", "U8", "[2, 3, 4, 4]"]);
    refused(unit_rows(&zeros(&[2, 3]).to_dtype(DType::U8).unwrap()), &["unit_rows", "U8", "[2, 3]"]);
}
