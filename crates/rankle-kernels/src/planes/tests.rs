//! Convolutions of planes beside their definition in double precision.

use super::*;
use crate::matmul::Finish;
use crate::simd::Isa;
use crate::testing::random;

fn windows(kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2], before: [usize; 2], input: [usize; 2]) -> Windows {
    // As much padding behind as in front.
    let output = [0, 1].map(|axis| (input[axis] + 2 * before[axis] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1);
    Windows { kernel, stride, dilation, before, input, output }
}

fn all() -> Vec<Windows> {
    vec![
        windows([1, 1], [1, 1], [1, 1], [0, 0], [2, 3]),
        windows([3, 3], [1, 1], [1, 1], [1, 1], [14, 19]),
        windows([5, 5], [1, 1], [1, 1], [2, 2], [7, 7]),
        windows([3, 3], [2, 2], [1, 1], [1, 1], [9, 20]),
        windows([3, 3], [2, 2], [1, 1], [1, 1], [10, 9]),
        windows([2, 3], [1, 2], [3, 1], [2, 0], [8, 11]),
        windows([3, 2], [3, 1], [1, 2], [0, 3], [13, 5]),
        windows([1, 2], [4, 3], [1, 1], [1, 2], [6, 40]),
        windows([7, 7], [2, 2], [1, 1], [3, 3], [23, 33]),
        // More padding than kernel: some windows see padding alone.
        windows([2, 2], [1, 1], [1, 1], [4, 3], [3, 3]),
        // Nothing of the plane is seen.
        Windows { kernel: [2, 2], stride: [1, 1], dilation: [1, 1], before: [9, 9], input: [3, 3], output: [4, 5] },
        // Pixels behind the last window.
        Windows { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], before: [1, 1], input: [20, 20], output: [3, 4] },
    ]
}

/// Visits every pair of a pixel and a result, each within its plane, and their tap.
fn pairs(windows: &Windows, mut visit: impl FnMut(usize, usize, usize)) {
    let Windows { kernel, stride, dilation, before, input, output } = *windows;
    for (oy, ox) in (0..output[0]).flat_map(|y| (0..output[1]).map(move |x| (y, x))) {
        for (ky, kx) in (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| (y, x))) {
            let y = (oy * stride[0] + ky * dilation[0]).checked_sub(before[0]).filter(|&y| y < input[0]);
            let x = (ox * stride[1] + kx * dilation[1]).checked_sub(before[1]).filter(|&x| x < input[1]);
            if let (Some(y), Some(x)) = (y, x) {
                visit(y * input[1] + x, oy * output[1] + ox, ky * kernel[1] + kx);
            }
        }
    }
}

#[track_caller]
fn close(what: &str, actual: &[f32], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    for (at, (&actual, expected)) in actual.iter().zip(expected).enumerate() {
        assert!((f64::from(actual) - expected).abs() < 2e-5, "{what}: {actual} at {at}, not {expected}");
    }
}

#[test]
fn depthwise_convolutions_agree_with_their_definition() {
    for (isa, windows, outputs) in Isa::available()
        .into_iter()
        .flat_map(|isa| all().into_iter().map(move |w| (isa, w)))
        .flat_map(|(i, w)| [(i, w, 1), (i, w, 2)])
    {
        // More planes than a task.
        let (images, channels, taps) = (4, 5, windows.taps());
        let (input_len, output_len) = (windows.input_len(), windows.output_len());
        let planes = random(1, images * channels * input_len);
        let weight = random(2, channels * outputs * taps);
        let bias = random(3, channels * outputs);
        let gradient = random(4, images * channels * outputs * output_len);
        let mut expected = vec![0.0; gradient.len()];
        let mut expected_gradient = vec![0.0; planes.len()];
        for plane in 0..images * channels {
            for output in 0..outputs {
                let (channel, place) = (plane % channels * outputs + output, (plane * outputs + output) * output_len);
                expected[place..place + output_len].fill(f64::from(bias[channel]));
                pairs(&windows, |pixel, result, tap| {
                    let weight = f64::from(weight[channel * taps + tap]);
                    expected[place + result] += weight * f64::from(planes[plane * input_len + pixel]);
                    expected_gradient[plane * input_len + pixel] += weight * f64::from(gradient[place + result]);
                });
            }
        }
        let run = |images: std::ops::Range<usize>, bounds: Option<[f32; 2]>| {
            let (first, last) = (images.start * channels, images.end * channels);
            let mut output = vec![f32::NAN; (last - first) * outputs * output_len];
            let mut input = vec![f32::NAN; (last - first) * input_len];
            let planes = &planes[first * input_len..last * input_len];
            let gradient = &gradient[first * outputs * output_len..last * outputs * output_len];
            windows.depthwise(isa, channels, &weight, Finish { bias: Some(&bias), bounds }, planes, &mut output);
            windows.depthwise_input_gradient(isa, channels, &weight, gradient, &mut input);
            (output, input)
        };
        let (output, input) = run(0..images, None);
        close(&format!("{isa} {windows:?}"), &output, &expected);
        close(&format!("{isa} gradient {windows:?}"), &input, &expected_gradient);
        // An image depends on neither the others nor the threads.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert!(pool.install(|| run(0..images, None)) == (output.clone(), input.clone()), "{isa} {windows:?}");
        let bounded: Vec<f32> = output.iter().map(|x| x.clamp(-0.5, 0.5)).collect();
        assert_eq!(run(0..images, Some([-0.5, 0.5])).0, bounded, "{isa} {windows:?}");
        let alone = run(2..3, None);
        assert_eq!(alone.0, output[2 * channels * outputs * output_len..][..alone.0.len()]);
        assert_eq!(alone.1, input[2 * channels * input_len..][..alone.1.len()]);
    }
}

#[test]
fn convolutions_by_columns_agree_with_their_definition() {
    for (isa, windows) in Isa::available().into_iter().flat_map(|isa| all().into_iter().map(move |windows| (isa, windows))) {
        let (inputs, outputs, taps) = (3, 7, windows.taps());
        let (input_len, output_len) = (windows.input_len(), windows.output_len());
        let (planes, weight) = (random(1, inputs * input_len), random(2, outputs * inputs * taps));
        let gradient = random(4, outputs * output_len);
        let mut expected = vec![0.0; gradient.len()];
        let mut expected_gradient = vec![0.0; planes.len()];
        for (input, output) in (0..inputs).flat_map(|input| (0..outputs).map(move |output| (input, output))) {
            pairs(&windows, |pixel, result, tap| {
                let weight = f64::from(weight[(output * inputs + input) * taps + tap]);
                expected[output * output_len + result] += weight * f64::from(planes[input * input_len + pixel]);
                expected_gradient[input * input_len + pixel] += weight * f64::from(gradient[output * output_len + result]);
            });
        }
        let run = || {
            let (mut output, mut input) = (vec![f32::NAN; gradient.len()], vec![f32::NAN; planes.len()]);
            windows.convolve(isa, &weight, Finish::default(), &planes, &mut output);
            windows.input_gradient(isa, &weight, &gradient, &mut input);
            (output, input)
        };
        let (output, input) = run();
        close(&format!("{isa} {windows:?}"), &output, &expected);
        close(&format!("{isa} gradient {windows:?}"), &input, &expected_gradient);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert!(pool.install(run) == (output.clone(), input), "{isa} {windows:?}");
        let (bias, mut finished) = (random(5, outputs), vec![f32::NAN; gradient.len()]);
        let finish = Finish { bias: Some(&bias), bounds: Some([0.0, 0.7]) };
        windows.convolve(isa, &weight, finish, &planes, &mut finished);
        let sums = output.iter().enumerate().map(|(at, sum)| (sum + bias[at / output_len]).clamp(0.0, 0.7));
        assert_eq!(finished, sums.collect::<Vec<_>>(), "{isa} {windows:?}");
    }
}

#[test]
fn stacks_are_planes_in_another_order() {
    for (images, channels, pixels) in [(1, 1, 1), (2, 3, 5), (1, 16, 16), (3, 37, 50)] {
        let planes = random(1, images * channels * pixels);
        let (mut stack, mut back) = (vec![0.0; planes.len()], vec![0.0; planes.len()]);
        to_stack(&planes, images, channels, &mut stack);
        for (at, &value) in stack.iter().enumerate() {
            let (channel, image, pixel) = (at % channels, at / channels % images, at / channels / images);
            assert_eq!(value, planes[(image * channels + channel) * pixels + pixel]);
        }
        from_stack(&stack, images, channels, &mut back);
        assert_eq!(back, planes);
    }
}
