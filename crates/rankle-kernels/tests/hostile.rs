//! Safe calls with wrong sizes: each of them must panic before a raw pointer is used.
//!
//! Sizes are chosen so that their products wrap, and slices have the wrapped lengths. All sizes that a kernel accepts must be
//! right in arithmetic that does not wrap. The workspace's `Cargo.toml` turns the compiler's overflow checks off, as in a release
//! build.
#![forbid(unsafe_code)]

use proptest::prelude::*;
use rankle_kernels::adam::AdamStep;
use rankle_kernels::conv::{ConvBlock, PooledRows, PooledUpstream, Scratch};
use rankle_kernels::dense::Panels;
use rankle_kernels::distance::{self, GalleryRows, GapLoss, GapTerm, Metric};
use rankle_kernels::maps::{Conv, ConvShape, Finish, MaxPool, PooledGradient, Shuffle, Stack, StackIndex, norm};
use rankle_kernels::{Aligned, Isa, conv, maps, peak, rows};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Largest length of a slice.
const LIMIT: usize = 1 << 14;

/// A number that wraps to 16 when multiplied by 16.
const WRAPS_TO_ONE: usize = (1 << (usize::BITS - 4)) + 1;

/// The result of `call`; `None` if it panics, without the panic's message.
fn try_to<T>(call: impl FnOnce() -> T) -> Option<T> {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic)
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    QUIET.set(false);
    result.ok()
}

fn accepts(call: impl FnOnce()) -> bool {
    try_to(call).is_some()
}

/// The exact product, saturated at `u128::MAX`.
fn exact(factors: &[usize]) -> u128 {
    if factors.contains(&0) { 0 } else { factors.iter().fold(1u128, |product, &factor| product.saturating_mul(factor as u128)) }
}

/// The wrapped product, as in a release build.
fn wrapped(factors: &[usize]) -> usize {
    factors.iter().fold(1, |product: usize, &factor| product.wrapping_mul(factor))
}

/// `len` numbers, or 7 if `len` is above [`LIMIT`].
fn some(len: usize) -> Vec<f32> {
    vec![0.5; if len <= LIMIT { len } else { 7 }]
}

fn is(len: usize, exact: u128) -> bool {
    len as u128 == exact
}

/// Numbers of channels: few, or as many as fill registers.
fn channels() -> BoxedStrategy<usize> {
    prop_oneof![1 => Just(0), 6 => 1usize..9, 2 => Just(16), 2 => Just(32)].boxed()
}

fn below(end: usize) -> BoxedStrategy<usize> {
    (0..end).boxed()
}

/// Sizes that no slice has, and whose multiples wrap to small numbers. Sizes between these and the small ones, which a large
/// machine could hold, are left out.
fn huge() -> impl Strategy<Value = usize> {
    let half = usize::BITS / 2 + 1;
    prop_oneof![
        4 => (half..usize::BITS, 0usize..4).prop_map(|(bits, more)| (1 << bits) + more),
        1 => (half..usize::BITS, 1usize..4).prop_map(|(bits, less)| (1 << bits) - less),
        1 => (1usize..20, 0usize..3).prop_map(move |(parts, more)| (usize::MAX / parts).wrapping_add(more).max(1 << half)),
        1 => (0usize..4).prop_map(|less| usize::MAX - less),
    ]
}

/// Sizes of which up to two are huge.
fn sizes<const N: usize>(base: impl Strategy<Value = [usize; N]>) -> impl Strategy<Value = [usize; N]> {
    (base, proptest::collection::vec((0..N, huge()), 0..3)).prop_map(|(mut sizes, wrong)| {
        wrong.into_iter().for_each(|(place, size)| sizes[place] = size);
        sizes
    })
}

fn any_isa() -> impl Strategy<Value = Isa> {
    proptest::sample::select(Isa::available())
}

/// The first of two calls that once crashed: 2^60 + 1 images of 16 numbers each have the wrapped length of one.
#[test]
fn images_that_wrap_to_one_never_reach_the_weight_gradient() {
    let conv = Conv::new(ConvShape::new((16, 16), 1, 1, 0, (2, 2)));
    for isa in Isa::available() {
        let (map, mut gradient) = (vec![1.0; 64], vec![0.0; conv.weight_gradient_part_len(isa)]);
        let stack = Stack { input: &map, upstream: &map, images: WRAPS_TO_ONE };
        assert!(!accepts(|| conv.weight_gradient(isa, 0, &[stack], &mut gradient)), "{isa}");
        let stack = Stack { images: 1, ..stack };
        assert!(accepts(|| conv.weight_gradient(isa, 0, &[stack], &mut gradient)), "{isa}");
    }
}

/// The second of two calls that once crashed: the same number of images, with filters in Winograd's form.
#[test]
fn images_that_wrap_to_one_never_reach_the_minimal_filters() {
    let shape = ConvShape::new((32, 32), 3, 1, 1, (4, 4));
    let conv = Conv::new(shape);
    for isa in Isa::available() {
        let filters = conv.pack(isa, &vec![1.0; 32 * 32 * 9], |_| 1.0);
        let filters = conv.winograd(&filters).expect("a map on which they pay");
        let transposed = conv.transpose(&filters);
        let (input, mut output) = (vec![1.0; shape.input_len()], vec![0.0; shape.output_len()]);
        for (images, right) in [(1, true), (WRAPS_TO_ONE, false), (0, false)] {
            assert_eq!(accepts(|| conv.forward(&filters, &input, images, Finish::Sums, &mut output)), right, "{isa} {images}");
            let back = accepts(|| conv.input_gradient(&transposed, &input, images, Finish::Sums, &mut output));
            assert_eq!(back, right, "{isa} {images}");
        }
        // Incomplete panels, in a form that needs complete ones.
        for (outputs, inputs) in [(32, 16 * 31), (31, 16 * 32)] {
            let shape = ConvShape::new((inputs / 16, outputs), 3, 1, 1, (4, 4));
            let (conv, filters) = (Conv::new(shape), Panels::zeros(isa, outputs, inputs));
            let (input, mut output) = (vec![1.0; shape.input_len()], vec![0.0; shape.output_len()]);
            assert!(!accepts(|| conv.forward(&filters, &input, 1, Finish::Sums, &mut output)), "{isa} {shape:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Channels, kernel, stride, padding and sides of a convolution, and the number of images.
    #[test]
    fn convolutions_on_maps(
        isa in any_isa(),
        [inputs, outputs, kernel, stride, before, height, width, rows, columns, images] in
            sizes([channels(), channels(), below(4), below(4), below(4), below(6), below(6), below(6), below(6), below(4)]),
        [part, other] in sizes([4, 40].map(below)),
        live in any::<u8>(),
    ) {
        let shape = ConvShape { inputs, outputs, kernel, stride, before, input: (height, width), output: (rows, columns) };
        let Some(conv) = try_to(|| Conv::new(shape)) else { return Ok(()) };
        let limit = u128::from(u32::MAX);
        let filters = exact(&[outputs, inputs, kernel, kernel]);
        let (input, output) = (exact(&[height, width, inputs]), exact(&[rows, columns, outputs]));
        for size in [filters, input, output] {
            prop_assert!(size > 0 && size <= limit, "{shape:?}");
        }
        prop_assert!(stride > 0);

        let weight = some(filters as usize);
        let packed = try_to(|| conv.pack(isa, &weight, |_| 1.0));
        prop_assert_eq!(packed.is_some(), is(weight.len(), filters));
        let Some(packed) = packed else { return Ok(()) };
        let forms = [Some(packed.clone()), conv.winograd(&packed), Some(Panels::zeros(isa, outputs, other % LIMIT))];
        let (x, y) = (some(wrapped(&[images, input as usize])), some(wrapped(&[images, output as usize])));
        let right = images > 0 && is(x.len(), exact(&[images, input as usize])) && is(y.len(), exact(&[images, output as usize]));
        let (mut out, mut back) = (y.clone(), x.clone());
        for filters in forms.into_iter().flatten() {
            let fits = filters.inputs() == packed.inputs() || filters.inputs() == 16 * inputs;
            prop_assert_eq!(try_to(|| conv.unpack(&filters)).is_some(), filters.inputs() == packed.inputs());
            prop_assert!(!accepts(|| conv.forward(&filters, &x, images, Finish::Sums, &mut out)) || right && fits);
            let bias = some(other);
            let finished = accepts(|| conv.forward(&filters, &x, images, Finish::Bias(&bias), &mut out));
            prop_assert!(!finished || right && bias.len() == outputs);
            let marks = vec![live; some(wrapped(&[images, other])).len()];
            let finished = accepts(|| conv.forward(&filters, &x, images, Finish::ReluBackward(&marks), &mut out));
            prop_assert!(!finished || right && marks.len() == out.len());
            if let Some(transposed) = try_to(|| conv.transpose(&filters)) {
                prop_assert!(fits);
                let gone_back = accepts(|| conv.input_gradient(&transposed, &y, images, Finish::Add, &mut back));
                prop_assert!(!gone_back || right);
            }
        }

        let mut gradient = some(wrapped(&[kernel, inputs, isa.panel()]));
        let stacks = [Stack { input: &x, upstream: &y, images }; 2];
        let went = accepts(|| conv.weight_gradient(isa, part, &stacks, &mut gradient));
        prop_assert_eq!(went, right && part < kernel * outputs.div_ceil(isa.panel()));
    }

    /// Shapes from `ConvShape::new`.
    #[test]
    fn convolutions_by_padding(
        [inputs, outputs, kernel, stride, padding, height, width] in
            sizes([channels(), channels(), below(4), below(4), below(4), below(6), below(6)]),
    ) {
        let new = || ConvShape::new((inputs, outputs), kernel, stride, padding, (height, width));
        let Some(conv) = try_to(|| Conv::new(new())) else { return Ok(()) };
        let side = |side: usize| (side as u128 + 2 * padding as u128 - kernel as u128) / stride as u128 + 1;
        let (rows, columns) = conv.shape().output;
        prop_assert!(is(rows, side(height)) && is(columns, side(width)));
    }

    #[test]
    fn poolings(
        isa in any_isa(),
        [kernel, stride, padding, height, width, channels, image, images] in
            sizes([5, 4, 4, 7, 7, 20, 3, 3].map(below)),
        filled in any::<u8>(),
    ) {
        let pool = try_to(|| MaxPool::new(kernel, stride, padding, (height, width)));
        let Some(pool) = pool else { return Ok(()) };
        prop_assert!(2 * padding as u128 <= kernel as u128);
        let (rows, columns) = pool.output();
        let input = some(wrapped(&[height, width, channels]));
        let mut output = some(wrapped(&[rows, columns, images, channels]));
        let mut winners = vec![filled; output.len()];
        let place = StackIndex { image, images };
        let right = channels > 0
            && image < images
            && is(input.len(), exact(&[height, width, channels]))
            && is(output.len(), exact(&[rows, columns, images, channels]));
        prop_assert_eq!(accepts(|| pool.forward(isa, &input, channels, place, &mut output, &mut winners)), right);
        let mut back = input.clone();
        prop_assert_eq!(accepts(|| pool.backward(&output, &winners, channels, place, &mut back)), right);
        winners.fill(filled);
        prop_assert!(!accepts(|| pool.backward(&output, &winners, channels, place, &mut back)) || right);
        winners.push(filled);
        prop_assert!(!accepts(|| pool.backward(&output, &winners, channels, place, &mut back)));
    }

    #[test]
    fn gradients_behind_a_pooling(
        isa in any_isa(),
        [rows, columns, image, images] in sizes([1..9usize, 1..9, 0..3, 0..3]),
        (height, width, winner) in (1..9usize, 1..9usize, any::<u8>()),
    ) {
        let shape = ConvShape {
            inputs: 8, outputs: 5, kernel: 2, stride: 1, before: 0, input: (height, width), output: (rows, columns),
        };
        let Some(conv) = try_to(|| Conv::new(shape)) else { return Ok(()) };
        let Some(pool) = try_to(|| MaxPool::new(2, 1, 0, shape.output)) else { return Ok(()) };
        let filters = conv.pack(isa, &some(5 * 8 * 4), |_| 1.0);
        let others = Panels::zeros(isa, 5, 8 * 3);
        prop_assert!(try_to(|| PooledGradient::new(&conv, &pool, &others)).is_none());
        let Some(gradient) = try_to(|| PooledGradient::new(&conv, &pool, &filters)) else { return Ok(()) };
        prop_assert!(rows < height && columns < width);
        let stack = [rows - 1, columns - 1, images, 5];
        let upstream = some(wrapped(&stack));
        let winners = vec![winner; upstream.len()];
        let mut map = some(8 * height * width);
        let right = image < images && is(upstream.len(), exact(&stack));
        let place = StackIndex { image, images };
        prop_assert!(!accepts(|| gradient.run(&upstream, &winners, place, &mut map)) || right);
        prop_assert!(!accepts(|| gradient.run(&upstream, &winners, place, &mut map[1..])));
    }

    #[test]
    fn means_norms_and_marks(isa in any_isa(), [row, len, other] in sizes([9, 40, 40].map(below))) {
        let (x, y, row_of) = (some(len), some(other), some(row));
        let whole = |len: usize| len > 0 && len.is_multiple_of(row);
        prop_assert_eq!(try_to(|| maps::mean_of_pixels(&x, row)).is_some(), whole(x.len()));
        prop_assert_eq!(try_to(|| norm::sum(isa, &x, row)).is_some(), whole(x.len()));
        maps::mean_of_pixels_backward(&[1.0], &mut x.clone());
        let rows_of = |x: &[f32]| !row_of.is_empty() && x.len().is_multiple_of(row_of.len());
        let pairs = rows_of(&x) && x.len() == y.len();
        let out = &mut y.clone();
        prop_assert_eq!(accepts(|| maps::mean_of_pixels_backward(&row_of, out)), rows_of(out));
        prop_assert_eq!(try_to(|| norm::sum_of_squares(isa, &x, &row_of)).is_some(), rows_of(&x));
        prop_assert_eq!(try_to(|| norm::sum_of_products(isa, &x, &y, &row_of)).is_some(), pairs);
        prop_assert_eq!(accepts(|| norm::apply(isa, &x, &row_of, &row_of, None, true, out)), pairs);
        prop_assert_eq!(accepts(|| norm::apply(isa, &x, &row_of, &row_of, Some(&x), true, out)), pairs);
        prop_assert!(!accepts(|| norm::apply(isa, &x, &row_of, &row_of[..row_of.len() / 2], None, true, out)) || row_of.is_empty());
        prop_assert_eq!(accepts(|| norm::backward(isa, out, &x, &row_of, &row_of, &row_of)), pairs);
        prop_assert_eq!(accepts(|| norm::relu_backward(out, &x)), x.len() == y.len());
        prop_assert_eq!(accepts(|| maps::relu_backward(out, &vec![1; x.len()])), x.len() == y.len());
    }

    #[test]
    fn shuffled_images(
        [height, width, kernel, padding] in sizes([9, 9, 8, 5].map(below)),
        (channels, more) in (0..4usize, 0..4usize),
    ) {
        let new = || Shuffle::new((height, width), &some(channels), &some(channels), kernel, padding);
        let Some(shuffle) = try_to(new) else { return Ok(()) };
        let (image_len, map) = (exact(&[channels, height, width]), shuffle.map());
        let map_len = exact(&[map.0, map.1, 4, channels]);
        let (image, mut shuffled) = (some(wrapped(&[channels, height, width])), some(wrapped(&[map.0, map.1, 4, channels])));
        let right = is(image.len(), image_len) && is(shuffled.len(), map_len);
        prop_assert_eq!(accepts(|| shuffle.forward(&image, &mut shuffled)), right);
        prop_assert_eq!(accepts(|| shuffle.backward(&shuffled, &mut image.clone())), right);
        for weight in [some(wrapped(&[more, channels, kernel, kernel])), some(more)] {
            if let Some(filters) = try_to(|| shuffle.shuffle_filters(&weight)) {
                prop_assert!((weight.len() as u128).is_multiple_of(exact(&[channels, kernel, kernel])));
                prop_assert_eq!(&shuffle.unshuffle_filters(&filters), &weight);
            }
            let _ = try_to(|| shuffle.unshuffle_filters(&weight));
        }
    }

    /// Blocks of a convolution and a pooling: their shape, the layout of their pooled rows, and every slice.
    #[test]
    fn convolution_blocks(
        isa in any_isa(),
        [inputs, outputs, kernel, padding, height, width, origin, stride] in
            sizes([channels(), channels(), below(6), below(4), below(7), below(7), below(5), below(99)]),
        (winner, relu, lacks) in (any::<u8>(), any::<bool>(), 0..7usize),
    ) {
        let shape = conv::ConvShape { inputs, outputs, kernel, padding, height, width, relu };
        let (weight, bias) = (some(wrapped(&[outputs, inputs, kernel, kernel])), some(outputs));
        let Some(block) = try_to(|| ConvBlock::new(isa, shape, &weight, &bias)) else { return Ok(()) };
        prop_assert!(is(weight.len(), exact(&[outputs, inputs, kernel, kernel])) && bias.len() == outputs);
        let (rows, columns) = (height + 2 * padding + 1 - kernel, width + 2 * padding + 1 - kernel);
        prop_assert!(rows > 0 && rows % 2 == 0 && columns > 0 && columns % 2 == 0, "{shape:?}");

        // Slices of the right lengths, of which at most one is one number too short.
        let row = columns / 2 * outputs;
        let pooled_end = origin as u128 + exact(&[rows / 2 - 1, stride]) + row as u128;
        let room = |len: usize, place: usize| some(len.wrapping_sub(usize::from(lacks == place)));
        let mut image = room(shape.padded_len(), 1);
        let mut pooled = room(origin.wrapping_add(wrapped(&[rows / 2 - 1, stride])).wrapping_add(row), 2);
        let mut winners = vec![winner; room(rows / 2 * row, 3).len()];
        let (mut sums, mut bias_sums) = (room(shape.gradient_len(), 4), room(outputs, 5));
        let (image_fits, winners_fit) = (is(image.len(), shape.padded_len() as u128), winners.len() == rows / 2 * row);
        let (pooled_fits, sums_fit) = (pooled.len() as u128 >= pooled_end, sums.len() == shape.gradient_len());
        let right = image_fits && winners_fit && pooled_fits;

        let (mut scratch, place) = (Scratch::default(), PooledRows { origin, stride });
        let upstream = PooledUpstream { values: &pooled.clone(), rows: place, winners: &winners.clone() };
        let went = accepts(|| block.input_gradient(upstream, &mut scratch, &mut image.clone()));
        // With one input channel the winner is an index into a table of five, so a winner above 4 panics as well.
        prop_assert!(went == right || right && winner > 4);
        let went = accepts(|| block.weight_gradient(&image, upstream, &mut scratch, &mut sums, &mut bias_sums));
        prop_assert_eq!(went, right && sums_fit && bias_sums.len() == outputs);
        prop_assert_eq!(try_to(|| block.unpack_gradient(&sums)).is_some(), sums_fit);
        prop_assert_eq!(accepts(|| block.forward(&image, &mut scratch, &mut pooled, place, &mut winners)), right);
        image.extend([0.0; 2]);
        prop_assert!(!accepts(|| block.input_gradient(upstream, &mut scratch, &mut image)));
    }

    /// Sizes of a block that is never built.
    #[test]
    fn sizes_of_blocks_never_wrap(
        [inputs, outputs, kernel, padding, height, width] in
            sizes([channels(), channels(), below(6), below(4), below(7), below(7)]),
    ) {
        let shape = conv::ConvShape { inputs, outputs, kernel, padding, height, width, relu: true };
        let saturated = |size: u128| usize::try_from(size).unwrap_or(usize::MAX);
        let padded = |side: usize| side as u128 + 2 * padding as u128;
        prop_assert_eq!(shape.weights_len(), saturated(exact(&[outputs, inputs, kernel, kernel])));
        prop_assert_eq!(shape.padded_row(), saturated(padded(width).saturating_mul(inputs as u128)));
        let gradient = shape.gradient_len();
        prop_assert!(exact(&[kernel, outputs, kernel, inputs]) <= gradient as u128 || gradient > isize::MAX as usize);
        let pixels = padded(height).saturating_mul(padded(width)).saturating_mul(inputs as u128);
        prop_assert!(saturated(pixels) <= shape.padded_len());
        let origin = (padded(width) + 1).saturating_mul(inputs as u128).saturating_mul(padding as u128);
        prop_assert_eq!(shape.padded_origin(), saturated(origin));
        if shape.pooled_len() == 0 && kernel < 6 {
            prop_assert!(outputs == 0 || padded(height.min(width)) <= kernel as u128);
        }
    }

    #[test]
    fn dense_layers(
        isa in any_isa(),
        [outputs, inputs, n, index] in sizes([70, 40, 5, 4].map(below)),
        (x_more, y_more) in (0..2usize, 0..2usize),
    ) {
        // Sizes that fit in memory do not test the arithmetic.
        let len = exact(&[outputs.div_ceil(isa.panel()), isa.panel(), inputs]);
        if len > LIMIT as u128 && len <= isize::MAX as u128 / 4 {
            return Ok(());
        }
        if outputs <= LIMIT && inputs <= LIMIT && inputs > 0 {
            prop_assert!(try_to(|| Panels::pack(isa, outputs, inputs, |_, _| 1.0)).is_some());
        }
        let Some(mut panels) = try_to(|| Panels::zeros(isa, outputs, inputs)) else { return Ok(()) };
        prop_assert!(is(panels.as_slice().len(), len) && panels.as_mut_slice().len() == panels.zeros_like().as_slice().len());
        prop_assert_eq!(try_to(|| panels.get(index, n)).is_some(), index < outputs && n < inputs);

        let (mut x, mut y) = (some(wrapped(&[n, inputs]).wrapping_add(x_more)), some(wrapped(&[n, outputs]).wrapping_add(y_more)));
        let lens = (x.len(), y.len());
        let pairs = |n: usize| is(lens.0, exact(&[n, inputs])) && is(lens.1, exact(&[n, outputs]));
        prop_assert!(!accepts(|| panels.multiply(&x, &mut y)) || pairs(lens.0 / inputs));
        prop_assert!(!accepts(|| panels.multiply_transposed(&y, &mut x)) || pairs(lens.1 / outputs));
        let gradient = accepts(|| panels.shape().gradient(index, &x, &y, |_, _| {}));
        prop_assert!(!gradient || index < outputs.div_ceil(isa.panel()) && pairs(lens.0 / inputs));
        if inputs <= LIMIT {
            let _ = try_to(|| panels.scaled(|_| 2.0));
        }
        if outputs <= LIMIT && inputs <= LIMIT && inputs > 0 {
            prop_assert_eq!(panels.transposed().outputs(), inputs);
        }
    }

    #[test]
    fn galleries(
        [dim, len, n, set, index, listed] in sizes([20, 40, 5, 4, 50, 5].map(below)),
        (target, more, metric) in (0..50u32, 0..2usize, proptest::sample::select(vec![Metric::Cosine, Metric::Euclidean])),
        far in any::<bool>(),
    ) {
        let data = some(wrapped(&[len, dim]));
        let Some(rows) = try_to(|| GalleryRows::new(&data, dim)) else { return Ok(()) };
        prop_assert!(is(data.len(), exact(&[rows.len(), dim])));
        prop_assert_eq!(try_to(|| rows.row(index).len()), (index < rows.len()).then_some(dim));

        let points = some(wrapped(&[n, dim]).wrapping_add(more));
        let targets = vec![if far { u32::MAX - target } else { target }; some(wrapped(&[n, set])).len()];
        let whole = points.len().is_multiple_of(dim);
        let count = points.len() / dim;
        let inside = targets.iter().all(|&target| (target as usize) < rows.len());
        let fit = whole && count > 0 && targets.len().is_multiple_of(count) && inside;
        let all = try_to(|| distance::distances(metric, &points, &rows));
        prop_assert!(all.is_none_or(|all| whole && is(all.len(), exact(&[count, rows.len()]))));
        let own = try_to(|| distance::distances_to(metric, &points, &rows, &targets));
        prop_assert_eq!(own.map(|own| own.len()), fit.then_some(targets.len()));
        let counts = try_to(|| distance::rank_counts(metric, &points, &rows, &targets, listed));
        prop_assert!(counts.is_none_or(|(counts, _)| fit && counts.len() == targets.len()));
        let term = GapTerm { targets: &targets, raise: far, weight: 1.0 };
        let of = if far { GapLoss::Hinge } else { GapLoss::Sigmoid { temperature: 0.1 } };
        let sum = try_to(|| distance::gap_sums(metric, &points, &rows, &[term, term], of));
        prop_assert!(sum.is_none_or(|sum| fit && sum.gradient.len() == points.len()));
    }

    #[test]
    fn rows_steps_and_buffers(
        isa in any_isa(),
        [len, dim, other] in sizes([40, 20, 40].map(below)),
        step in any::<u32>(),
    ) {
        let (mut a, b) = (some(len), some(other));
        let whole = dim > 0 && a.len().is_multiple_of(dim);
        let norms = try_to(|| rows::normalize_rows(&mut a, dim));
        prop_assert_eq!(norms.is_some(), whole);
        let norms = norms.unwrap_or_default();
        let mut upstream = b.clone();
        let back = accepts(|| rows::normalize_rows_backward(&a, &norms, &mut upstream, dim));
        prop_assert_eq!(back, whole && a.len() == b.len());
        prop_assert!(!accepts(|| rows::normalize_rows_backward(&a, &norms[norms.len().min(1)..], &mut upstream, dim)) || norms.is_empty());
        prop_assert_eq!(try_to(|| rows::dot(&a, &b)).is_some(), a.len() == b.len());

        let adam = AdamStep { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1, step };
        let (mut first, mut second) = (a.clone(), a.clone());
        prop_assert_eq!(accepts(|| adam.update(isa, &mut a, &mut first, &mut second, &b)), step > 0 && first.len() == b.len());

        prop_assert_eq!(u128::from(peak::operations(isa, len)), exact(&[24, isa.lanes(), len]).min(usize::MAX as u128));
        if len <= LIMIT {
            prop_assert_eq!(Aligned::from_slice(&b).len() + Aligned::zeros(len).len(), b.len() + len);
        } else if len > isize::MAX as usize / 4 {
            prop_assert!(try_to(|| Aligned::zeros(len)).is_none());
        }
    }
}
