use super::*;
use crate::testing::random;

/// A convolution whose output is as large as its input, with ReLU.
const fn same(inputs: usize, outputs: usize, kernel: usize, height: usize, width: usize) -> ConvShape {
    ConvShape { inputs, outputs, kernel, padding: kernel / 2, height, width, relu: true }
}

/// The blocks of C2F2 and LeNet; shapes that fill no tile: less than a panel, one window in a row, one register and many; then
/// channels that fill no register, and paddings that do not match their kernels.
#[rustfmt::skip] // aligned columns
const SHAPES: [ConvShape; 16] = [
    same(1, 32, 5, 28, 28),
    same(32, 64, 5, 14, 14),
    ConvShape { inputs: 1,  outputs: 20, kernel: 5, padding: 0, height: 28, width: 28, relu: false },
    ConvShape { inputs: 20, outputs: 50, kernel: 5, padding: 0, height: 12, width: 12, relu: false },
    same(1, 32, 3, 4, 6),
    same(1, 32, 7, 8, 8),
    same(1, 64, 1, 4, 2),
    same(16, 32, 3, 6, 4),
    same(16, 32, 1, 2, 2),
    same(16, 96, 11, 4, 4),
    same(3, 7, 3, 6, 4),
    ConvShape { inputs: 1,  outputs: 33, kernel: 3, padding: 0, height: 6,  width: 8,  relu: true },
    ConvShape { inputs: 1,  outputs: 5,  kernel: 7, padding: 1, height: 10, width: 8,  relu: false },
    ConvShape { inputs: 2,  outputs: 1,  kernel: 2, padding: 0, height: 5,  width: 3,  relu: false },
    ConvShape { inputs: 5,  outputs: 18, kernel: 4, padding: 3, height: 3,  width: 5,  relu: false },
    ConvShape { inputs: 24, outputs: 34, kernel: 6, padding: 2, height: 7,  width: 5,  relu: true },
];

/// Largest error, relative to the largest number of the result.
const TOLERANCE: f64 = 2e-6;

/// Winners are compared if the best value and zero, or the best two values, are at least this far apart or exactly equal.
const MARGIN: f64 = 1e-5;

/// Computes a block by its definition, in double precision, on a padded channel-last image.
struct Oracle<'a> {
    shape: ConvShape,
    weight: &'a [f32],
    bias: &'a [f32],
}

impl Oracle<'_> {
    /// Pairs of a weight (PyTorch's order) and a number of the padded image whose products make the sum of `output` at `(y, x)`.
    fn pairs(&self, output: usize, y: usize, x: usize) -> impl Iterator<Item = (usize, usize)> {
        let ConvShape { inputs, kernel, .. } = self.shape;
        let padded_row = self.shape.padded_row();
        (0..inputs * kernel * kernel).map(move |at| {
            let (input, ky, kx) = (at / (kernel * kernel), at / kernel % kernel, at % kernel);
            let weight = ((output * inputs + input) * kernel + ky) * kernel + kx;
            (weight, (y + ky) * padded_row + (x + kx) * inputs + input)
        })
    }
    /// Channel and window (four positions) of the pooled number `at`.
    fn window(&self, at: usize) -> (usize, [(usize, usize); 4]) {
        let (window, width) = (at / self.shape.outputs, self.shape.pooled_width());
        let (y, x) = (2 * (window / width), 2 * (window % width));
        (at % self.shape.outputs, [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)])
    }
    /// The four sums of a pooling window, bias included.
    fn corners(&self, padded: &[f32], at: usize) -> [f64; 4] {
        let (output, positions) = self.window(at);
        positions.map(|(y, x)| {
            let sum: f64 = self.pairs(output, y, x).map(|(w, p)| f64::from(self.weight[w]) * f64::from(padded[p])).sum();
            sum + f64::from(self.bias[output])
        })
    }
    /// Gradients of the padded image, the weights and the bias, for the given winners.
    fn gradients(&self, padded: &[f32], upstream: impl Fn(usize) -> f32, winners: &[u8]) -> [Vec<f64>; 3] {
        let (mut image, mut weight, mut bias) =
            (vec![0.0; padded.len()], vec![0.0; self.weight.len()], vec![0.0; self.bias.len()]);
        for (at, &winner) in winners.iter().enumerate().filter(|(_, winner)| **winner != SILENT) {
            let ((output, positions), upstream) = (self.window(at), f64::from(upstream(at)));
            let (y, x) = positions[usize::from(winner)];
            bias[output] += upstream;
            for (w, p) in self.pairs(output, y, x) {
                image[p] += upstream * f64::from(self.weight[w]);
                weight[w] += upstream * f64::from(padded[p]);
            }
        }
        [image, weight, bias]
    }
}

/// The padded image of `image`, given row by row, channel fastest.
fn pad(shape: ConvShape, image: &[f32]) -> Vec<f32> {
    let mut padded = vec![0.0; shape.padded_len()];
    for (y, row) in image.chunks_exact(shape.width * shape.inputs).enumerate() {
        padded[shape.padded_origin() + y * shape.padded_row()..][..row.len()].copy_from_slice(row);
    }
    padded
}

fn inside<T: Copy>(shape: ConvShape, padded: &[T]) -> Vec<T> {
    let rows = padded[shape.padded_origin()..].chunks(shape.padded_row()).take(shape.height);
    rows.flat_map(|row| &row[..shape.width * shape.inputs]).copied().collect()
}

/// Noise; noise inside a border of zeros; noise with a constant patch; a constant image; zeros. All but the first make
/// windows whose values are equal to the last bit.
fn images(shape: ConvShape) -> Vec<Vec<f32>> {
    let ConvShape { inputs, height, width, .. } = shape;
    let noise = random(7, height * width * inputs);
    let repaint = |paint: &dyn Fn(usize, usize) -> Option<f32>| {
        let pixel = |at: usize| paint(at / inputs / width, at / inputs % width);
        noise.iter().enumerate().map(|(at, &value)| pixel(at).unwrap_or(value)).collect::<Vec<f32>>()
    };
    let border = |at: usize, len: usize| !(len / 4..len - len / 4).contains(&at);
    vec![
        noise.clone(),
        repaint(&|y, x| (border(y, height) || border(x, width)).then_some(0.0)),
        repaint(&|y, x| (!border(y, height) && x < width - width / 4).then_some(0.625)),
        repaint(&|_, _| Some(0.5)),
        repaint(&|_, _| Some(0.0)),
    ]
}

fn check(what: &str, ours: &[f32], expected: &[f64]) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
    for (at, (&ours, expected)) in ours.iter().zip(expected).enumerate() {
        let error = (f64::from(ours) - expected).abs() / largest;
        assert!(error < TOLERANCE, "{what}[{at}]: {ours} instead of {expected}, {error:e} of the largest");
    }
}

/// Parameters of the magnitude of PyTorch's initial ones.
fn parameters(shape: ConvShape) -> (Vec<f32>, Vec<f32>) {
    let bound = 1.0 / ((shape.inputs * shape.kernel * shape.kernel) as f32).sqrt();
    let scaled = |seed, len| random(seed, len).into_iter().map(|x| x * bound).collect();
    (scaled(1, shape.weights_len()), scaled(2, shape.outputs))
}

/// Compares all results of a block with the definition, for every instruction set. One scratch serves all shapes in turn.
#[test]
fn blocks_agree_with_their_definition() {
    let mut scratch = Scratch::default();
    for shape in SHAPES {
        let (weight, bias) = parameters(shape);
        let oracle = Oracle { shape, weight: &weight, bias: &bias };
        let images: Vec<Vec<f32>> = images(shape).iter().map(|image| pad(shape, image)).collect();
        let corners: Vec<Vec<[f64; 4]>> =
            images.iter().map(|padded| (0..shape.pooled_len()).map(|at| oracle.corners(padded, at)).collect()).collect();
        // Pooled rows with gaps before, between and behind them.
        let row = shape.pooled_row();
        let rows = PooledRows { origin: 3, stride: row + 5 };
        let place = |at: usize| rows.origin + at / row * rows.stride + at % row;
        let len = place(shape.pooled_len() - 1) + 4;
        let upstream = random(5, len);

        for isa in Isa::available() {
            let block = ConvBlock::new(isa, shape, &weight, &bias);
            let (mut weight_sums, mut bias_sums) = (vec![0.0; shape.gradient_len()], vec![0.0; bias.len()]);
            let (mut expected_weight, mut expected_bias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
            for (number, (padded, corners)) in images.iter().zip(&corners).enumerate() {
                let name = format!("{isa}, {shape:?}, image {number}");
                let (mut pooled, mut winners) = (vec![f32::NAN; len], vec![99; shape.pooled_len()]);
                block.forward(padded, &mut scratch, &mut pooled, rows, &mut winners);
                check_pooled(&name, shape.relu, &pooled, place, &winners, corners);

                let [image, weight, bias] = oracle.gradients(padded, |at| upstream[place(at)], &winners);
                let given = PooledUpstream { values: &upstream, rows, winners: &winners };
                let mut gradient = vec![f32::NAN; shape.padded_len()];
                block.input_gradient(given, &mut scratch, &mut gradient);
                check(&format!("{name}: input gradient"), &inside(shape, &gradient), &inside(shape, &image));

                block.weight_gradient(padded, given, &mut scratch, &mut weight_sums, &mut bias_sums);
                expected_weight.iter_mut().zip(weight).for_each(|(sum, x)| *sum += x);
                expected_bias.iter_mut().zip(bias).for_each(|(sum, x)| *sum += x);
                check(&format!("{name}: weight gradient"), &block.unpack_gradient(&weight_sums), &expected_weight);
                check(&format!("{name}: bias gradient"), &bias_sums, &expected_bias);
            }
        }
    }
}

/// Checks pooled values, winners, and the gaps between the pooled rows, which must stay untouched.
fn check_pooled(name: &str, relu: bool, pooled: &[f32], place: impl Fn(usize) -> usize, winners: &[u8], corners: &[[f64; 4]]) {
    let values: Vec<f32> = (0..corners.len()).map(|at| pooled[place(at)]).collect();
    let best = |corners: &[f64; 4]| corners.iter().fold(f64::NEG_INFINITY, |most, &x| most.max(x));
    let expected: Vec<f64> = corners.iter().map(|corners| if relu { best(corners).max(0.0) } else { best(corners) }).collect();
    check(&format!("{name}: pooled"), &values, &expected);
    assert_eq!(pooled.iter().filter(|x| x.is_nan()).count(), pooled.len() - corners.len(), "{name}: gaps");

    let mut compared = 0;
    for (at, (&winner, corners)) in winners.iter().zip(corners).enumerate() {
        let best = best(corners);
        let clear = (!relu || best.abs() > MARGIN) && corners.iter().all(|&x| x == best || best - x > MARGIN);
        // The first of equal values wins; with a ReLU a best value not above zero is silent.
        let first = corners.iter().position(|&x| x == best).map_or(SILENT, |first| first as u8);
        let expected = if !relu || best > 0.0 { first } else { SILENT };
        // In a silent window the best position does not matter.
        if clear || (relu && best < -MARGIN) {
            assert_eq!(winner, expected, "{name}: winner {at} of {corners:?}");
            compared += 1;
        }
    }
    assert!(100 * compared >= 95 * winners.len(), "{name}: only {compared} of {} windows are clear", winners.len());
}

/// A value of exactly zero is silent behind a ReLU, and in a window of equal values the first position wins: from the definition
/// of ReLU (gradient zero at zero) and from PyTorch's pooling. Without a ReLU every window has a winner.
#[test]
fn ties_go_to_the_first_and_zero_is_silent() {
    for isa in Isa::available() {
        // Two channels: the image, and the image plus one half.
        let (weight, bias) = ([1.0; 2], [0.0, 0.5]);
        let pool = |relu: bool, image: [f32; 4]| {
            let shape = ConvShape { inputs: 1, outputs: 2, kernel: 1, padding: 0, height: 2, width: 2, relu };
            let (mut pooled, mut winners) = ([0.0; 2], [0; 2]);
            let rows = PooledRows { origin: 0, stride: 2 };
            let block = ConvBlock::new(isa, shape, &weight, &bias);
            block.forward(&image, &mut Scratch::default(), &mut pooled, rows, &mut winners);
            (winners[0], winners[1], pooled[0], pooled[1])
        };
        #[rustfmt::skip] // aligned columns
        let cases = [
            ([0.0, 0.0, 0.0, 0.0],     (SILENT, 0, 0.0, 0.5),        (0, 0, 0.0, 0.5)),
            ([-1.0, -0.0, 0.0, -2.0],  (SILENT, 1, 0.0, 0.5),        (1, 1, 0.0, 0.5)),
            ([0.25, 0.5, 0.5, 0.25],   (1, 1, 0.5, 1.0),             (1, 1, 0.5, 1.0)),
            ([0.25, 0.25, 0.5, 0.5],   (2, 2, 0.5, 1.0),             (2, 2, 0.5, 1.0)),
            ([0.0, -1.0, -1.0, 0.125], (3, 3, 0.125, 0.625),         (3, 3, 0.125, 0.625)),
            ([-2.0, -1.0, -1.0, -0.5], (SILENT, SILENT, 0.0, 0.0),   (3, 3, -0.5, 0.0)),
            ([-2.0, -1.0, -1.0, -1.5], (SILENT, SILENT, 0.0, 0.0),   (1, 1, -1.0, -0.5)),
        ];
        for (image, with_relu, without) in cases {
            assert_eq!(pool(true, image), with_relu, "{isa}: {image:?} with ReLU");
            assert_eq!(pool(false, image), without, "{isa}: {image:?} without");
        }
    }
}

/// Slices that are too short, and shapes that the kernels cannot compute, panic before a raw pointer is used.
#[test]
fn wrong_sizes_never_reach_the_kernels() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    for shape in [same(1, 32, 3, 4, 6), same(16, 32, 3, 6, 4), same(3, 7, 3, 6, 4)] {
        let (weight, bias) = parameters(shape);
        let new = |shape: ConvShape| {
            let (weight, bias) = parameters(shape);
            catch_unwind(|| ConvBlock::new(Isa::best(), shape, &weight, &bias)).is_ok()
        };
        assert!(new(shape));
        for wrong in [
            ConvShape { outputs: 0, ..shape },
            ConvShape { inputs: 0, ..shape },
            ConvShape { kernel: 0, ..shape },
            ConvShape { height: 0, ..shape },
            ConvShape { width: 0, ..shape },
            // Three or five rows or columns to pool.
            ConvShape { height: 5, ..shape },
            ConvShape { width: 5, ..shape },
            ConvShape { kernel: 4, ..shape },
            // A kernel larger than the padded image.
            ConvShape { kernel: 9, padding: 2, height: 4, width: 10, ..shape },
            // With one input channel, a kernel whose patch fills no register.
            ConvShape { inputs: 1, kernel: 9, padding: 4, ..shape },
            ConvShape { inputs: 1, kernel: 2, height: 5, width: 5, padding: 0, ..shape },
        ] {
            assert!(!new(wrong), "{wrong:?}");
        }
        assert!(catch_unwind(|| ConvBlock::new(Isa::best(), shape, &weight[1..], &bias)).is_err());
        assert!(catch_unwind(|| ConvBlock::new(Isa::best(), shape, &weight, &bias[1..])).is_err());

        let block = ConvBlock::new(Isa::best(), shape, &weight, &bias);
        let rows = PooledRows { origin: 0, stride: shape.pooled_row() };
        // The number of missing elements: of image, pooled values, winners, gradient sums.
        let run = |image: usize, pooled: usize, winners: usize, sums: usize| {
            let image = vec![1.0; shape.padded_len() - image];
            let (mut values, mut won) = (vec![1.0; shape.pooled_len() - pooled], vec![0; shape.pooled_len() - winners]);
            let (mut weight, mut bias) = (vec![0.0; shape.gradient_len() - sums], vec![0.0; shape.outputs]);
            let mut scratch = Scratch::default();
            let forward =
                catch_unwind(AssertUnwindSafe(|| block.forward(&image, &mut scratch, &mut values, rows, &mut won))).is_ok();
            let (values, won) = (vec![1.0; shape.pooled_len() - pooled], vec![0; shape.pooled_len() - winners]);
            let upstream = PooledUpstream { values: &values, rows, winners: &won };
            let mut gradient = image.clone();
            let backward = catch_unwind(AssertUnwindSafe(|| block.input_gradient(upstream, &mut scratch, &mut gradient))).is_ok();
            let weights = AssertUnwindSafe(|| block.weight_gradient(&image, upstream, &mut scratch, &mut weight, &mut bias));
            [forward, backward, catch_unwind(weights).is_ok()]
        };
        assert_eq!(run(0, 0, 0, 0), [true; 3]);
        assert_eq!(run(1, 0, 0, 0), [false; 3], "a short image");
        assert_eq!(run(0, 1, 0, 0), [false; 3], "short pooled rows");
        assert_eq!(run(0, 0, 1, 0), [false; 3], "a missing winner");
        assert_eq!(run(0, 0, 0, 1), [true, true, false], "short sums");
    }
}
