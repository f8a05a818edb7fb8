//! Comparison of every kernel of every instruction set with its definition in double precision.

use super::*;
use crate::dense::Panels;
use crate::simd::Isa;
use crate::testing::random;

type Shape = (usize, usize, usize, (usize, usize), (usize, usize));

/// Kernel, stride, padding, channels, rows and columns: as in residual networks, and odd shapes that fill no panel and no tile.
const SHAPES: [Shape; 11] = [
    (3, 1, 1, (5, 33), (6, 7)),
    (3, 1, 1, (40, 64), (1, 1)),
    (3, 1, 1, (16, 20), (2, 2)),
    (3, 2, 1, (8, 70), (7, 5)),
    (3, 2, 1, (33, 16), (2, 4)),
    (1, 2, 0, (20, 34), (7, 4)),
    (7, 2, 3, (3, 40), (9, 12)),
    (5, 3, 0, (2, 3), (11, 9)),
    (2, 3, 0, (4, 4), (5, 7)),
    // Shapes with complete panels, which also run in Winograd's form.
    (3, 1, 1, (32, 64), (4, 9)),
    (3, 1, 1, (64, 32), (11, 6)),
];

/// A convolution on maps by its definition, one number at a time.
struct Slow(ConvShape, usize);

impl Slow {
    /// Calls `visit` with the positions of input, weight (PyTorch's layout) and output of every product.
    fn products(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Self(shape, images) = *self;
        for (oy, ox) in pixels(shape.output) {
            for (ky, kx) in pixels((shape.kernel, shape.kernel)) {
                let (y, x) = (oy * shape.stride + ky, ox * shape.stride + kx);
                let (Some(y), Some(x)) = (y.checked_sub(shape.before), x.checked_sub(shape.before)) else { continue };
                if y >= shape.input.0 || x >= shape.input.1 {
                    continue;
                }
                for (image, (input, output)) in
                    (0..images).flat_map(|i| pixels((shape.inputs, shape.outputs)).map(move |c| (i, c)))
                {
                    visit(
                        ((y * shape.input.1 + x) * images + image) * shape.inputs + input,
                        ((output * shape.inputs + input) * shape.kernel + ky) * shape.kernel + kx,
                        ((oy * shape.output.1 + ox) * images + image) * shape.outputs + output,
                    );
                }
            }
        }
    }
    fn product(a: f32, b: f32) -> f64 {
        f64::from(a) * f64::from(b)
    }
}

fn pixels(size: (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
    (0..size.0).flat_map(move |y| (0..size.1).map(move |x| (y, x)))
}

fn close(name: &str, a: &[f32], b: &[f64]) {
    assert_eq!(a.len(), b.len(), "{name}");
    for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
        assert!((f64::from(a) - b).abs() < 1e-4, "{name}[{i}]: {a} instead of {b}");
    }
}

/// The filters in every form that the shape has.
fn forms(conv: &Conv, filters: Panels) -> impl Iterator<Item = (&'static str, Panels)> {
    let winograd = conv.winograd(&filters);
    let complete = |channels: usize| channels.is_multiple_of(filters.isa().panel());
    let ConvShape { kernel, stride, inputs, outputs, input, .. } = conv.shape();
    let two = kernel == 3 && stride == 1 && complete(inputs) && complete(outputs) && input.0 * input.1 > 16;
    assert_eq!(winograd.is_some(), two, "which shapes have two");
    std::iter::once(("plain", filters)).chain(winograd.map(|winograd| ("minimal", winograd)))
}

#[test]
fn convolutions_and_both_gradients_agree_with_their_definition() {
    for (isa, (kernel, stride, padding, channels, size)) in
        Isa::available().into_iter().flat_map(|isa| SHAPES.map(|shape| (isa, shape)))
    {
        let shape = ConvShape::new(channels, kernel, stride, padding, size);
        let conv = Conv::new(shape);
        for images in [1, 3, 9] {
            let name = format!("{isa} {shape:?} x {images}");
            let slow = Slow(shape, images);
            let weight = random(1, shape.outputs * shape.inputs * shape.taps());
            let (x, upstream) = (random(2, images * shape.input_len()), random(3, images * shape.output_len()));
            let (mut y, mut dx, mut dw) = (vec![0.0; upstream.len()], vec![0.0; x.len()], vec![0.0; weight.len()]);
            slow.products(|i, w, o| {
                y[o] += Slow::product(x[i], weight[w]);
                dx[i] += Slow::product(upstream[o], weight[w]);
                dw[w] += Slow::product(upstream[o], x[i]);
            });

            let filters = conv.pack(isa, &weight, |_| 1.0);
            assert_eq!(conv.unpack(&filters), weight);
            let transposed = conv.transpose(&filters);
            for (at, expected) in pixels((shape.inputs, shape.taps() * shape.outputs)) {
                let (tap, output) = (expected / shape.outputs, expected % shape.outputs);
                assert_eq!(transposed.get(at, expected), weight[(output * shape.inputs + at) * shape.taps() + tap]);
            }
            for (form, filters) in forms(&conv, filters) {
                let name = format!("{form} {name}");
                let mut out = vec![f32::NAN; y.len()];
                conv.forward(&filters, &x, images, Finish::Sums, &mut out);
                close(&format!("output of {name}"), &out, &y);
                let (transposed, mut input) = (conv.transpose(&filters), vec![f32::NAN; dx.len()]);
                conv.input_gradient(&transposed, &upstream, images, Finish::Sums, &mut input);
                close(&format!("input gradient of {name}"), &input, &dx);
                conv.input_gradient(&transposed, &upstream, images, Finish::Add, &mut input);
                close(&format!("input gradient of {name}, twice"), &input, &dx.iter().map(|dx| 2.0 * dx).collect::<Vec<_>>());
            }

            let mut gradient = Panels::zeros(isa, shape.outputs, shape.taps() * shape.inputs);
            let stack = Stack { input: &x, upstream: &upstream, images };
            for (part, gradient) in gradient.as_mut_slice().chunks_exact_mut(conv.weight_gradient_part_len(isa)).enumerate() {
                conv.weight_gradient(isa, part, &[stack, stack], gradient);
            }
            close(
                &format!("weight gradient of {name}, twice"),
                &conv.unpack(&gradient),
                &dw.iter().map(|dw| 2.0 * dw).collect::<Vec<_>>(),
            );
        }
    }
}

/// An image's results are the same to the last bit with any other images in its chunk.
#[test]
fn an_image_does_not_depend_on_its_chunk() {
    for (isa, (kernel, stride, padding, channels, size)) in
        Isa::available().into_iter().flat_map(|isa| SHAPES.map(|shape| (isa, shape)))
    {
        let shape = ConvShape::new(channels, kernel, stride, padding, size);
        let conv = Conv::new(shape);
        let filters = conv.pack(isa, &random(1, shape.outputs * shape.inputs * shape.taps()), |_| 1.0);
        let images = 11;
        let (x, upstream) = (random(2, images * shape.input_len()), random(3, images * shape.output_len()));
        let one = |map: &[f32], channels: usize, image: usize| -> Vec<f32> {
            map.chunks_exact(channels).skip(image).step_by(images).flatten().copied().collect()
        };
        for (form, filters) in forms(&conv, filters) {
            let transposed = conv.transpose(&filters);
            let run = |x: &[f32], upstream: &[f32], images| {
                let (mut y, mut dx) = (vec![0.0; upstream.len()], vec![0.0; x.len()]);
                conv.forward(&filters, x, images, Finish::Sums, &mut y);
                conv.input_gradient(&transposed, upstream, images, Finish::Sums, &mut dx);
                (y, dx)
            };
            let (y, dx) = run(&x, &upstream, images);
            for image in 0..images {
                let alone = run(&one(&x, shape.inputs, image), &one(&upstream, shape.outputs, image), 1);
                assert_eq!(alone, (one(&y, shape.outputs, image), one(&dx, shape.inputs, image)), "{form} {isa} {shape:?}");
            }
        }
    }
}

#[test]
fn finishes_do_what_they_say() {
    for channels in [(4, 35), (32, 32)] {
        let conv = Conv::new(ConvShape::new(channels, 3, 1, 1, (6, 7)));
        for isa in Isa::available() {
            let weight = random(1, channels.1 * channels.0 * 9);
            forms(&conv, conv.pack(isa, &weight, |_| 1.0)).for_each(|(_, filters)| check_finishes(&conv, &filters));
        }
    }
}

fn check_finishes(conv: &Conv, filters: &Panels) {
    let (shape, images) = (conv.shape(), 2);
    let x = random(2, images * shape.input_len());
    let (bias, shortcut) = (random(4, shape.outputs), random(5, images * shape.output_len()));
    let run = |finish: Finish<'_>| {
        let mut y = vec![0.25; shortcut.len()];
        conv.forward(filters, &x, images, finish, &mut y);
        y
    };
    let sums = run(Finish::Sums);
    let each = |f: &dyn Fn(usize, f32) -> f32| sums.iter().enumerate().map(|(at, &sum)| f(at, sum)).collect::<Vec<f32>>();
    let of = |at: usize| bias[at % shape.outputs];
    assert_eq!(run(Finish::Bias(&bias)), each(&|at, sum| sum + of(at)));
    assert_eq!(run(Finish::Add), each(&|_, sum| sum + 0.25));
    let mut live = vec![9; sums.len()];
    let y = run(Finish::Relu { bias: &bias, shortcut: Some(&shortcut), live: Some(&mut live) });
    assert_eq!(y, each(&|at, sum| (sum + (of(at) + shortcut[at])).max(0.0)));
    assert!(y.iter().zip(&live).all(|(&y, &live)| (y > 0.0) == (live == 1)) && live.contains(&0) && live.contains(&1));
    assert_eq!(run(Finish::Relu { bias: &bias, shortcut: None, live: None }), each(&|at, sum| (sum + of(at)).max(0.0)));
    assert_eq!(run(Finish::ReluBackward(&live)), each(&|at, sum| if live[at] == 1 { sum } else { 0.0 }));
    assert_eq!(run(Finish::AddBranch { other: &shortcut, live: None }), each(&|at, sum| sum + shortcut[at]));
    let both = Finish::AddBranch { other: &shortcut, live: Some(&live) };
    assert_eq!(run(both), each(&|at, sum| if live[at] == 1 { sum + shortcut[at] } else { 0.0 }));
}

/// Compares windows that overlap, reach over the border, tie, and are silenced.
#[test]
fn max_pooling_and_its_gradient_agree_with_their_definition() {
    for (kernel, stride, padding, size) in
        [(3, 2, 1, (7, 6)), (3, 2, 1, (2, 2)), (2, 2, 0, (6, 5)), (3, 1, 0, (4, 4)), (5, 3, 2, (9, 8))]
    {
        let (pool, row) = (MaxPool::new(kernel, stride, padding, size), 21);
        // Few different values: many ties, many windows below zero.
        let x: Vec<f32> = random(1, size.0 * size.1 * row).into_iter().map(|x| (2.0 * x - 0.5).round() / 2.0).collect();
        let (height, width) = pool.output();
        assert_eq!((height, width), ((size.0 + 2 * padding - kernel) / stride + 1, (size.1 + 2 * padding - kernel) / stride + 1));
        let upstream = random(2, height * width * row);
        let (mut expected, mut expected_dx) = (vec![0.0; upstream.len()], vec![0.0f32; x.len()]);
        for (oy, ox) in pixels((height, width)) {
            for number in 0..row {
                let mut winner = None;
                for (ky, kx) in pixels((kernel, kernel)) {
                    let (y, x_) = ((oy * stride + ky).wrapping_sub(padding), (ox * stride + kx).wrapping_sub(padding));
                    if y < size.0 && x_ < size.1 {
                        let place = (y * size.1 + x_) * row + number;
                        winner = winner.filter(|&best: &usize| x[best] >= x[place]).or(Some(place));
                    }
                }
                let (place, winner) = ((oy * width + ox) * row + number, winner.unwrap());
                if x[winner] > 0.0 {
                    expected[place] = x[winner];
                    expected_dx[winner] += upstream[place];
                }
            }
        }
        // The image is the second of three.
        let place = StackIndex { image: 1, images: 3 };
        let in_stack = |map: &[f32], channels: usize| -> Vec<f32> {
            map.chunks_exact(channels)
                .flat_map(|pixel| [vec![9.0; channels], pixel.to_vec(), vec![9.0; channels]].concat())
                .collect()
        };
        for isa in Isa::available() {
            let (mut y, mut winners, mut dx) = (vec![9.0; 3 * upstream.len()], vec![9; 3 * upstream.len()], vec![9.0; x.len()]);
            pool.forward(isa, &x, row, place, &mut y, &mut winners);
            pool.backward(&in_stack(&upstream, row), &winners, row, place, &mut dx);
            assert_eq!((y, dx), (in_stack(&expected, row), expected_dx.clone()), "{isa}");
        }
    }
    // A NaN stays NaN, so that a broken model is noticed.
    let (pool, mut y, mut winners) = (MaxPool::new(2, 2, 0, (2, 2)), [0.0], [0]);
    for x in [[f32::NAN, 1.0, 2.0, 3.0], [1.0, 2.0, f32::NAN, -3.0]] {
        pool.forward(Isa::best(), &x, 1, StackIndex { image: 0, images: 1 }, &mut y, &mut winners);
        assert!(y[0].is_nan());
    }
}

/// The gradient by lists equals the gradient through pooling and convolution one after the other.
#[test]
fn the_gradient_behind_a_pooling_is_that_of_its_two_steps() {
    for (inputs, kernel, outputs, size) in [(12, 4, 20, (13, 16)), (4, 4, 33, (9, 8)), (16, 3, 5, (7, 7))] {
        let shape = ConvShape::new((inputs, outputs), kernel, 1, 0, size);
        let (conv, pool) = (Conv::new(shape), MaxPool::new(3, 2, 1, shape.output));
        let (height, width) = pool.output();
        let place = StackIndex { image: 1, images: 2 };
        let sums = random(1, shape.output_len());
        let upstream = random(2, 2 * height * width * outputs);
        let weight = random(3, outputs * inputs * kernel * kernel);
        for isa in Isa::available() {
            let filters = conv.pack(isa, &weight, |_| 1.0);
            let (mut pooled, mut winners) = (vec![0.0; upstream.len()], vec![0; upstream.len()]);
            pool.forward(isa, &sums, outputs, place, &mut pooled, &mut winners);
            let (mut between, mut expected) = (vec![0.0; sums.len()], vec![0.0; shape.input_len()]);
            pool.backward(&upstream, &winners, outputs, place, &mut between);
            conv.input_gradient(&conv.transpose(&filters), &between, 1, Finish::Sums, &mut expected);
            let mut map = vec![9.0; expected.len()];
            PooledGradient::new(&conv, &pool, &filters).run(&upstream, &winners, place, &mut map);
            close(&isa.to_string(), &map, &expected.into_iter().map(f64::from).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_mean_of_the_pixels_and_its_gradient() {
    let map = [1.0, 10.0, 2.0, 20.0, 6.0, 60.0];
    assert_eq!(mean_of_pixels(&map, 2), [3.0, 30.0]);
    let mut upstream = [0.0; 6];
    mean_of_pixels_backward(&[3.0, 6.0], &mut upstream);
    assert_eq!(upstream, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
}

/// A convolution of stride 2 on images equals one of stride 1 on the shuffled map, for even and odd images.
#[test]
fn a_shuffled_convolution_is_the_same_convolution() {
    for (channels, size, kernel, padding) in [(3, (8, 10), 7, 3), (1, (7, 9), 7, 3), (2, (6, 5), 3, 1), (1, (10, 10), 5, 1)] {
        let outputs = 5;
        let (mean, std) = ([0.4, 0.5, 0.6], [0.2, 0.25, 0.5]);
        let shuffle = Shuffle::new(size, &mean[..channels], &std[..channels], kernel, padding);
        let image = random(1, shuffle.image_len());
        let weight = random(2, outputs * channels * kernel * kernel);
        assert_eq!(shuffle.unshuffle_filters(&shuffle.shuffle_filters(&weight)), weight);

        let plain = ConvShape::new((channels, outputs), kernel, 2, padding, size);
        let shape = ConvShape::new((shuffle.map_channels(), outputs), shuffle.map_kernel(), 1, 0, shuffle.map());
        assert_eq!(shape.output, plain.output);
        let conv = Conv::new(shape);
        let filters = conv.pack(Isa::best(), &shuffle.shuffle_filters(&weight), |_| 1.0);
        let mut map = vec![f32::NAN; shuffle.map_len()];
        shuffle.forward(&image, &mut map);
        let mut y = vec![0.0; shape.output_len()];
        conv.forward(&filters, &map, 1, Finish::Sums, &mut y);

        let upstream = random(3, y.len());
        let mut map_gradient = vec![0.0; map.len()];
        conv.input_gradient(&conv.transpose(&filters), &upstream, 1, Finish::Sums, &mut map_gradient);
        let mut image_gradient = vec![9.0; image.len()];
        shuffle.backward(&map_gradient, &mut image_gradient);

        let (mut expected, mut expected_gradient) = (vec![0.0; y.len()], vec![0.0; image.len()]);
        Slow(plain, 1).products(|i, w, o| {
            let (pixel, channel) = (i / channels, i % channels);
            let place = channel * size.0 * size.1 + pixel;
            expected[o] += f64::from(weight[w]) * f64::from((image[place] - mean[channel]) / std[channel]);
            expected_gradient[place] += Slow::product(upstream[o], weight[w]) / f64::from(std[channel]);
        });
        close("output", &y, &expected);
        close("gradient", &image_gradient, &expected_gradient);
    }
}

#[test]
fn statistics_agree_with_double_precision() {
    let (channels, rows) = (7, 150);
    let (x, upstream, mean) = (random(1, rows * channels), random(2, rows * channels), random(3, channels));
    let expected = |term: &dyn Fn(usize) -> f64| -> Vec<f64> {
        (0..channels).map(|c| (0..rows).map(|row| term(row * channels + c)).sum()).collect()
    };
    let deviation = |at: usize| f64::from(x[at]) - f64::from(mean[at % channels]);
    for isa in Isa::available() {
        for (sums, expected) in [
            (norm::sum(isa, &x, channels), expected(&|at| f64::from(x[at]))),
            (norm::sum_of_squares(isa, &x, &mean), expected(&|at| deviation(at) * deviation(at))),
            (norm::sum_of_products(isa, &upstream, &x, &mean), expected(&|at| f64::from(upstream[at]) * deviation(at))),
        ] {
            assert!(sums.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{isa}: {sums:?} {expected:?}");
        }
        let (scale, shift, mut y) = (random(4, channels), random(5, channels), vec![0.0; x.len()]);
        norm::apply(isa, &x, &scale, &shift, Some(&upstream), true, &mut y);
        let each = |f: &dyn Fn(usize, usize) -> f32| (0..x.len()).map(|at| f(at, at % channels)).collect::<Vec<f32>>();
        assert_eq!(y, each(&|at, c| (scale[c] * x[at] + shift[c] + upstream[at]).max(0.0)));
        norm::apply(isa, &x, &scale, &shift, None, false, &mut y);
        assert_eq!(y, each(&|at, c| scale[c] * x[at] + shift[c]));
        let mut back = upstream.clone();
        norm::backward(isa, &mut back, &x, &scale, &shift, &mean);
        assert_eq!(back, each(&|at, c| scale[c] * upstream[at] + shift[c] * x[at] + mean[c]));
        norm::relu_backward(&mut back, &x);
        assert!(back.iter().zip(&x).all(|(back, &x)| x > 0.0 || *back == 0.0));
    }
}
