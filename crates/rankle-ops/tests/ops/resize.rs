//! Resizing against PyTorch and central differences.

use crate::common::{check_gradient, close, fixture, numbers, refused, values};
use candle_core::{DType, Device, Tensor, Var};
use rankle_ops::{Filter, Resize, resize};

/// Filters and antialiasing, as the fixture numbers them.
const MODES: [(Filter, bool); 5] = [
    (Filter::Nearest, false),
    (Filter::Bilinear, false),
    (Filter::Bicubic, false),
    (Filter::Bilinear, true),
    (Filter::Bicubic, true),
];

fn to(height: usize, width: usize, (filter, antialias): (Filter, bool)) -> Resize {
    Resize { size: (height, width), filter, antialias }
}

#[test]
fn results_and_gradients_are_those_of_pytorch() {
    let tensors = fixture("spatial");
    let names = tensors.keys().filter_map(|key| key.strip_prefix("resize/")?.strip_suffix(".upstream"));
    let names: Vec<&str> = names.collect();
    assert_eq!(names.len(), 11);
    for name in names {
        let stored = |key: &str| &tensors[&format!("resize/{name}.{key}")];
        let (height, width) = (stored("upstream").dim(2).unwrap(), stored("upstream").dim(3).unwrap());
        for (number, mode) in MODES.into_iter().enumerate() {
            for (dtype, relative) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
                println!("{name}, {mode:?}, {dtype:?}");
                let x = Var::from_tensor(&stored("x").to_dtype(dtype).unwrap()).unwrap();
                let output = resize(&x, &to(height, width, mode)).unwrap();
                assert_eq!(output.dtype(), dtype);
                close(&output, stored(&number.to_string()), relative);
                let gradients = (output * stored("upstream").to_dtype(dtype).unwrap()).unwrap().backward().unwrap();
                println!("{name}, {mode:?}, {dtype:?}: gradient");
                close(gradients.get(&x).unwrap(), stored(&format!("{number}.gradient")), relative);
            }
        }
    }
}

#[test]
fn gradients_are_those_of_differences() {
    for mode in MODES {
        for (height, width) in [(3, 9), (7, 4), (5, 2), (2, 6)] {
            let options = to(height, width, mode);
            check_gradient(&format!("{options:?}"), |x| resize(&x[0], &options), &[numbers(1, (2, 2, 5, 6))]);
        }
    }
}

#[test]
fn the_same_size_changes_nothing() {
    let x = numbers(1, (2, 3, 5, 4));
    for mode in MODES {
        assert_eq!(values(&resize(&x, &to(5, 4, mode)).unwrap()), values(&x), "{mode:?}");
    }
}

#[test]
fn uniform_images_stay_uniform() {
    let x = Tensor::ones((1, 2, 9, 7), DType::F64, &Device::Cpu).unwrap();
    for mode in MODES {
        for (height, width) in [(4, 5), (20, 13), (1, 1)] {
            let expected = Tensor::ones((1, 2, height, width), DType::F64, &Device::Cpu).unwrap();
            close(&resize(&x, &to(height, width, mode)).unwrap(), &expected, 1e-14);
        }
    }
}

/// With half the size, a pixel is between two of the image; nearest takes the second one.
#[test]
fn half_the_size_by_hand() {
    let x = Tensor::new(&[[[[1.0, 2.0, 4.0, 8.0]]]], &Device::Cpu).unwrap();
    let check = |mode, expected: [f64; 2]| {
        close(&resize(&x, &to(1, 2, mode)).unwrap(), &Tensor::new(&[[[expected]]], &Device::Cpu).unwrap(), 1e-15);
    };
    check((Filter::Nearest, false), [2.0, 8.0]);
    check((Filter::Bilinear, false), [1.5, 6.0]);
    // Triangles over four pixels, of which one is beyond the edge.
    check((Filter::Bilinear, true), [(3.0 * 1.0 + 3.0 * 2.0 + 4.0) / 7.0, (2.0 + 3.0 * 4.0 + 3.0 * 8.0) / 7.0]);
}

#[test]
fn inputs_need_not_be_contiguous() {
    let x = numbers(1, (2, 3, 6, 5));
    let view = x.transpose(1, 3).unwrap().contiguous().unwrap().transpose(1, 3).unwrap();
    assert!(!view.is_contiguous());
    let [expected, actual] = [x, view].map(|x| {
        let x = Var::from_tensor(&x).unwrap();
        let output = resize(&x, &to(3, 7, (Filter::Bilinear, false))).unwrap();
        // The upstream gradient is a view of one number.
        let gradients = output.sum_all().unwrap().backward().unwrap();
        [output, gradients.get(&x).unwrap().clone()]
    });
    actual.iter().zip(&expected).for_each(|(actual, expected)| close(actual, expected, 0.0));
}

#[test]
fn sizes_and_shapes_that_do_not_fit_are_refused() {
    let bilinear = (Filter::Bilinear, false);
    let x = numbers(1, (2, 3, 5, 4));
    refused(resize(&numbers(1, (2, 3, 5)), &to(2, 2, bilinear)), &["[2, 3, 5]"]);
    refused(resize(&numbers(1, (2, 3, 0, 5)), &to(2, 2, bilinear)), &["[2, 3, 0, 5]"]);
    refused(resize(&x, &to(0, 2, bilinear)), &["[2, 3, 5, 4]", "0 x 2"]);
    refused(resize(&x, &to(2, usize::MAX, bilinear)), &["[2, 3, 5, 4]", "65536"]);
    refused(resize(&x, &to(2, 2, (Filter::Nearest, true))), &["antialias", "[2, 3, 5, 4]"]);
    refused(resize(&x.to_dtype(DType::U8).unwrap(), &to(2, 2, bilinear)), &["U8", "[2, 3, 5, 4]"]);
}
