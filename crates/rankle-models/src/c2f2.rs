//! C2F2, the paper's network for MNIST and Fashion-MNIST (`method.md` 3.1).
//!
//! | layer | output |
//! |---|---|
//! | convolution 1→32, 5×5, padding 2; ReLU; max pooling 2×2 | 32×14×14 |
//! | convolution 32→64, 5×5, padding 2; ReLU; max pooling 2×2 | 64×7×7 |
//! | dense 3136→1024, no activation | 1024 |
//!
//! Images go through the network in small chunks, each on one thread from the first pixel to the last number: no barrier
//! between layers, and one chunk's activations stay in the cache.

use crate::batch::{ask, even, finite, with_pixels};
use crate::weights::{Tensors, none_left, take};
use candle_core::{Device, Tensor};
use rand::Rng as _;
use rankle_core::seed::Purpose;
use rankle_core::{AdamStep, Distance, Embedder, Error, Result, Seed, Trainable, Upstream};
use rankle_kernels::conv::{ConvBlock, ConvShape, PooledSlope, Rows, Scratch};
use rankle_kernels::dense::Panels;
use rankle_kernels::{Aligned, Isa};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const FIRST: ConvShape = ConvShape { inputs: 1, outputs: 32, kernel: 5, padding: 2, height: 28, width: 28, relu: true };
const SECOND: ConvShape = ConvShape { inputs: 32, outputs: 64, kernel: 5, padding: 2, height: 14, width: 14, relu: true };
const PIXELS: usize = 28 * 28;
const FEATURES: usize = 64 * 7 * 7;
const DIM: usize = 1024;

/// Parameters in PyTorch's names and shapes, in the order in which they are initialised.
const PARAMETERS: [(&str, &[usize]); 6] = [
    ("conv1.weight", &[32, 1, 5, 5]),
    ("conv1.bias", &[32]),
    ("conv2.weight", &[64, 32, 5, 5]),
    ("conv2.bias", &[64]),
    ("fc1.weight", &[DIM, FEATURES]),
    ("fc1.bias", &[DIM]),
];

/// Where PyTorch's channel-major feature `feature` lies in our channel-last order.
fn channel_last(feature: usize) -> usize {
    feature % 49 * 64 + feature / 49
}

/// How the pooled rows of the first block lie inside the padded input of the second.
fn pooled_first() -> Rows {
    Rows { origin: SECOND.padded_origin(), stride: SECOND.padded_row() }
}

/// The pooled rows of the second block are the features.
const POOLED_SECOND: Rows = Rows { origin: 0, stride: 7 * 64 };

/// The network with its weights packed for the kernels.
#[derive(Debug)]
pub struct C2f2 {
    isa: Isa,
    distance: Distance,
    /// PyTorch's layout: these are small and repacked after each optimiser step.
    small: [Vec<f32>; 4],
    blocks: [ConvBlock; 2],
    dense: Panels,
    dense_bias: Vec<f32>,
    /// The dense layer packed for input gradients, made when first asked for: a training step leaves it stale.
    transposed: OnceLock<Panels>,
    moments: Option<Box<[Moments; 2]>>,
}

/// One of Adam's moments, in the layouts of the weights.
#[derive(Clone, Debug)]
struct Moments {
    small: [Vec<f32>; 4],
    dense: Panels,
    dense_bias: Vec<f32>,
}

impl C2f2 {
    /// Random weights, uniform in `±1/√fan_in` (PyTorch's default), keyed by the seed.
    pub fn initialise(distance: Distance, seed: Seed) -> Self {
        let parameters: Vec<Vec<f32>> = PARAMETERS
            .iter()
            .enumerate()
            .map(|(position, (name, shape))| {
                let mut rng = seed.stream(Purpose::Weights, [position as u64, 0]);
                let fan_in = if name.starts_with("conv1") {
                    25
                } else if name.starts_with("conv2") {
                    800
                } else {
                    FEATURES
                };
                let bound = 1.0 / (fan_in as f32).sqrt();
                (0..shape.iter().product()).map(|_| rng.random_range(-bound..bound)).collect()
            })
            .collect();
        Self::assemble(Isa::best(), distance, &parameters)
    }

    /// Weights under the names of the public PyTorch C2F2, `conv1.weight` to `fc1.bias`.
    ///
    /// # Errors
    /// [`Error::Weights`] when a tensor is missing, left over, misshapen or not finite.
    pub fn from_tensors(tensors: &BTreeMap<String, Tensor>, distance: Distance) -> Result<Self> {
        Self::with_isa(tensors, distance, Isa::best())
    }

    /// As [`C2f2::from_tensors`], on a chosen instruction set.
    ///
    /// # Errors
    /// The same.
    pub fn with_isa(tensors: &BTreeMap<String, Tensor>, distance: Distance, isa: Isa) -> Result<Self> {
        let mut tensors = tensors.clone();
        let parameters = take_parameters(&mut tensors, "")?;
        none_left(&tensors)?;
        Ok(Self::assemble(isa, distance, &parameters))
    }

    fn assemble(isa: Isa, distance: Distance, parameters: &[Vec<f32>]) -> Self {
        let Moments { small, dense, dense_bias } = pack(isa, parameters);
        let blocks = [ConvBlock::new(isa, FIRST, &small[0], &small[1]), ConvBlock::new(isa, SECOND, &small[2], &small[3])];
        Self { isa, distance, small, blocks, dense, dense_bias, transposed: OnceLock::new(), moments: None }
    }

    /// Embeds, asks for the slope, and returns the slopes of all weights, by name: what PyTorch leaves in `.grad`.
    ///
    /// # Errors
    /// As [`Embedder::input_gradient`].
    pub fn weight_gradients(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<BTreeMap<String, Tensor>> {
        let tape = self.record(images)?;
        let slope = ask(&tape.embeddings, DIM, upstream)?;
        let mut dense = self.dense.zeros_like();
        let len = dense.panel_len();
        dense.as_mut_slice().par_chunks_mut(len).enumerate().for_each(|(panel, gradient)| {
            self.dense.shape().gradient(panel, &tape.features, &slope, |range, strip| gradient[range].copy_from_slice(strip));
        });
        let gradients = Moments { small: self.small_gradients(&tape, &slope), dense, dense_bias: column_sums(&slope) };
        to_tensors(&gradients.unpack(), "")
    }

    /// The padded input of the first block.
    fn pad(image: &[f32], padded: &mut [f32]) {
        padded.fill(0.0);
        for (y, row) in image.chunks_exact(28).enumerate() {
            padded[FIRST.padded_origin() + y * FIRST.padded_row()..][..28].copy_from_slice(row);
        }
    }

    /// Both convolution blocks of one image.
    fn convolve(&self, image: &[f32], state: State<'_>, scratch: &mut Scratch) {
        let State { padded, pooled, winners: [first, second], features } = state;
        Self::pad(image, padded);
        self.blocks[0].forward(padded, scratch, pooled, pooled_first(), first);
        self.blocks[1].forward(pooled, scratch, features, POOLED_SECOND, second);
    }

    fn finish(&self, features: &[f32], embeddings: &mut [f32]) {
        self.dense.multiply(features, embeddings);
        for row in embeddings.chunks_exact_mut(DIM) {
            row.iter_mut().zip(&self.dense_bias).for_each(|(sum, &bias)| *sum += bias);
        }
    }

    /// The forward pass of a frozen model: keeps only which pooling positions won.
    fn forward(&self, images: &[f32]) -> Frozen {
        let n = images.len() / PIXELS;
        let mut frozen = Frozen {
            embeddings: vec![0.0; n * DIM],
            first: vec![0; n * FIRST.pooled_len()],
            second: vec![0; n * SECOND.pooled_len()],
        };
        let chunk = even(n, CHUNK);
        images
            .par_chunks(chunk * PIXELS)
            .zip(frozen.embeddings.par_chunks_mut(chunk * DIM))
            .zip(frozen.first.par_chunks_mut(chunk * FIRST.pooled_len()))
            .zip(frozen.second.par_chunks_mut(chunk * SECOND.pooled_len()))
            .for_each(|(((images, embeddings), first), second)| {
                with_workspace(|Workspace { padded, pooled, features, scratch, .. }| {
                    let features = &mut features[..images.len() / PIXELS * FEATURES];
                    let winners = first.chunks_exact_mut(FIRST.pooled_len()).zip(second.chunks_exact_mut(SECOND.pooled_len()));
                    for ((image, features), (first, second)) in
                        images.chunks_exact(PIXELS).zip(features.chunks_exact_mut(FEATURES)).zip(winners)
                    {
                        self.convolve(image, State { padded, pooled, winners: [first, second], features }, scratch);
                    }
                    self.finish(features, embeddings);
                });
            });
        frozen
    }

    /// The backward pass of a frozen model, down to the pixels.
    fn backward(&self, frozen: &Frozen, slope: &[f32]) -> Vec<f32> {
        let n = slope.len() / DIM;
        let transposed = self.transposed.get_or_init(|| self.dense.transposed());
        let mut gradient = vec![0.0; n * PIXELS];
        let chunk = even(n, CHUNK);
        gradient
            .par_chunks_mut(chunk * PIXELS)
            .zip(slope.par_chunks(chunk * DIM))
            .zip(frozen.first.par_chunks(chunk * FIRST.pooled_len()))
            .zip(frozen.second.par_chunks(chunk * SECOND.pooled_len()))
            .for_each(|(((gradient, slope), first), second)| {
                with_workspace(|Workspace { padded, pooled, features, scratch, .. }| {
                    let features = &mut features[..slope.len() / DIM * FEATURES];
                    transposed.multiply(slope, features);
                    let winners = first.chunks_exact(FIRST.pooled_len()).zip(second.chunks_exact(SECOND.pooled_len()));
                    for ((pixels, features), (first, second)) in
                        gradient.chunks_exact_mut(PIXELS).zip(features.chunks_exact(FEATURES)).zip(winners)
                    {
                        let slope = PooledSlope { values: features, rows: POOLED_SECOND, winners: second };
                        self.blocks[1].input_gradient(slope, scratch, pooled);
                        let slope = PooledSlope { values: pooled, rows: pooled_first(), winners: first };
                        self.blocks[0].input_gradient(slope, scratch, padded);
                        for (y, row) in pixels.chunks_exact_mut(28).enumerate() {
                            row.copy_from_slice(&padded[FIRST.padded_origin() + y * FIRST.padded_row()..][..28]);
                        }
                    }
                });
            });
        gradient
    }

    /// The forward pass of a model in training: keeps everything that the weight gradients need.
    fn record(&self, images: &Tensor) -> Result<Tape> {
        let n = check_images(images)?;
        if n == 0 {
            return Err(Error::Empty("images in a batch"));
        }
        with_pixels(images, |images| {
            let mut tape = Tape {
                padded: Aligned::zeros(n * FIRST.padded_len()),
                pooled: Aligned::zeros(n * SECOND.padded_len()),
                features: Aligned::zeros(n * FEATURES),
                first: vec![0; n * FIRST.pooled_len()],
                second: vec![0; n * SECOND.pooled_len()],
                embeddings: vec![0.0; n * DIM],
            };
            let chunk = even(n, CHUNK);
            images
                .par_chunks(chunk * PIXELS)
                .zip(tape.padded.par_chunks_mut(chunk * FIRST.padded_len()))
                .zip(tape.pooled.par_chunks_mut(chunk * SECOND.padded_len()))
                .zip(tape.features.par_chunks_mut(chunk * FEATURES))
                .zip(tape.first.par_chunks_mut(chunk * FIRST.pooled_len()))
                .zip(tape.second.par_chunks_mut(chunk * SECOND.pooled_len()))
                .zip(tape.embeddings.par_chunks_mut(chunk * DIM))
                .for_each(|((((((images, padded), pooled), features), first), second), embeddings)| {
                    with_workspace(|Workspace { scratch, .. }| {
                        let inputs =
                            padded.chunks_exact_mut(FIRST.padded_len()).zip(pooled.chunks_exact_mut(SECOND.padded_len()));
                        let winners =
                            first.chunks_exact_mut(FIRST.pooled_len()).zip(second.chunks_exact_mut(SECOND.pooled_len()));
                        let outputs = features.chunks_exact_mut(FEATURES);
                        for (((image, (padded, pooled)), (first, second)), features) in
                            images.chunks_exact(PIXELS).zip(inputs).zip(winners).zip(outputs)
                        {
                            self.convolve(image, State { padded, pooled, winners: [first, second], features }, scratch);
                        }
                        self.finish(features, embeddings);
                    });
                });
            tape
        })
    }

    /// Gradients of both convolutions, in PyTorch's layout. Images are summed in fixed groups and the groups in order, so that
    /// the sum does not depend on the number of threads.
    fn small_gradients(&self, tape: &Tape, slope: &[f32]) -> [Vec<f32>; 4] {
        let lens = [FIRST.gradient_len(), FIRST.outputs, SECOND.gradient_len(), SECOND.outputs];
        let group_size = even(tape.images(), GROUP);
        let groups: Vec<[Vec<f32>; 4]> = slope
            .par_chunks(group_size * DIM)
            .enumerate()
            .map(|(group, slope)| {
                let first_image = group * group_size;
                let mut sums = lens.map(|len| vec![0.0; len]);
                with_workspace(|Workspace { pooled, features, scratch, .. }| {
                    let features = &mut features[..slope.len() / DIM * FEATURES];
                    self.dense.multiply_transposed(slope, features);
                    let [weight1, bias1, weight2, bias2] = &mut sums;
                    for (image, features) in (first_image..).zip(features.chunks_exact(FEATURES)) {
                        let first = &tape.first[image * FIRST.pooled_len()..][..FIRST.pooled_len()];
                        let second = &tape.second[image * SECOND.pooled_len()..][..SECOND.pooled_len()];
                        let inner = &tape.pooled[image * SECOND.padded_len()..][..SECOND.padded_len()];
                        let slope = PooledSlope { values: features, rows: POOLED_SECOND, winners: second };
                        self.blocks[1].weight_gradient(inner, slope, scratch, weight2, bias2);
                        self.blocks[1].input_gradient(slope, scratch, pooled);
                        let image = &tape.padded[image * FIRST.padded_len()..][..FIRST.padded_len()];
                        let slope = PooledSlope { values: pooled, rows: pooled_first(), winners: first };
                        self.blocks[0].weight_gradient(image, slope, scratch, weight1, bias1);
                    }
                });
                sums
            })
            .collect();
        let mut total = lens.map(|len| vec![0.0; len]);
        for group in groups {
            for (total, sums) in total.iter_mut().zip(group) {
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
        }
        [self.blocks[0].unpack_gradient(&total[0]), total[1].clone(), self.blocks[1].unpack_gradient(&total[2]), total[3].clone()]
    }
}

impl Embedder for C2f2 {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let n = check_images(images)?;
        let frozen = with_pixels(images, |pixels| self.forward(pixels))?;
        Ok(Tensor::from_vec(frozen.embeddings, (n, DIM), images.device())?)
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        check_images(images)?;
        let frozen = with_pixels(images, |pixels| self.forward(pixels))?;
        let slope = ask(&frozen.embeddings, DIM, upstream)?;
        Ok(Tensor::from_vec(self.backward(&frozen, &slope), images.shape(), images.device())?)
    }
}

impl Trainable for C2f2 {
    fn train_step(&mut self, images: &Tensor, upstream: &mut Upstream<'_>, adam: &AdamStep) -> Result<()> {
        let tape = self.record(images)?;
        let slope = ask(&tape.embeddings, DIM, upstream)?;
        if !finite(&slope) {
            return Err(Error::NotFinite("the slope of the loss".into()));
        }
        // Needs the dense weights as they were in the forward pass.
        let small_gradients = self.small_gradients(&tape, &slope);
        let isa = self.isa;
        let zeros = Moments {
            small: self.small.clone().map(|values| vec![0.0; values.len()]),
            dense: self.dense.zeros_like(),
            dense_bias: vec![0.0; DIM],
        };
        let [first, second] = &mut **self.moments.get_or_insert_with(|| Box::new([zeros.clone(), zeros]));

        // The dense weights are updated strip by strip, while each strip's gradient is in the cache.
        let (len, shape) = (self.dense.panel_len(), self.dense.shape());
        self.dense
            .as_mut_slice()
            .par_chunks_mut(len)
            .zip(first.dense.as_mut_slice().par_chunks_mut(len))
            .zip(second.dense.as_mut_slice().par_chunks_mut(len))
            .enumerate()
            .for_each(|(panel, ((weights, first), second))| {
                shape.gradient(panel, &tape.features, &slope, |range, gradient| {
                    adam.update(isa, &mut weights[range.clone()], &mut first[range.clone()], &mut second[range], gradient);
                });
            });
        adam.update(isa, &mut self.dense_bias, &mut first.dense_bias, &mut second.dense_bias, &column_sums(&slope));
        for (((weights, first), second), gradient) in
            self.small.iter_mut().zip(&mut first.small).zip(&mut second.small).zip(&small_gradients)
        {
            adam.update(isa, weights, first, second, gradient);
        }
        let [weight1, bias1, weight2, bias2] = &self.small;
        self.blocks = [ConvBlock::new(isa, FIRST, weight1, bias1), ConvBlock::new(isa, SECOND, weight2, bias2)];
        self.transposed = OnceLock::new();
        Ok(())
    }

    fn parameters(&self) -> Result<BTreeMap<String, Tensor>> {
        let all = Moments { small: self.small.clone(), dense: self.dense.clone(), dense_bias: self.dense_bias.clone() };
        to_tensors(&all.unpack(), "")
    }

    fn checkpoint(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = self.parameters()?;
        if let Some([first, second]) = self.moments.as_deref() {
            state.append(&mut to_tensors(&first.unpack(), FIRST_MOMENT)?);
            state.append(&mut to_tensors(&second.unpack(), SECOND_MOMENT)?);
        }
        Ok(state)
    }

    fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        let mut restored = Self::assemble(self.isa, self.distance, &take_parameters(&mut state, "")?);
        if !state.is_empty() {
            let first = pack(self.isa, &take_parameters(&mut state, FIRST_MOMENT)?);
            let second = pack(self.isa, &take_parameters(&mut state, SECOND_MOMENT)?);
            restored.moments = Some(Box::new([first, second]));
        }
        none_left(&state)?;
        *self = restored;
        Ok(())
    }

    fn as_embedder(&self) -> &dyn Embedder {
        self
    }
}

const FIRST_MOMENT: &str = "adam.first.";
const SECOND_MOMENT: &str = "adam.second.";

/// Where one image's activations go.
struct State<'a> {
    padded: &'a mut [f32],
    pooled: &'a mut [f32],
    winners: [&'a mut [u8]; 2],
    features: &'a mut [f32],
}

/// What a frozen forward pass keeps for the backward pass.
struct Frozen {
    embeddings: Vec<f32>,
    first: Vec<u8>,
    second: Vec<u8>,
}

/// What a forward pass in training keeps.
struct Tape {
    padded: Aligned,
    pooled: Aligned,
    features: Aligned,
    first: Vec<u8>,
    second: Vec<u8>,
    embeddings: Vec<f32>,
}

impl Tape {
    fn images(&self) -> usize {
        self.embeddings.len() / DIM
    }
}

/// One thread's working memory, kept from chunk to chunk: fresh pages would cost more than some layers.
struct Workspace {
    padded: Aligned,
    pooled: Aligned,
    features: Aligned,
    scratch: Scratch,
}

fn with_workspace<T>(work: impl FnOnce(&mut Workspace) -> T) -> T {
    thread_local! {
        static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace {
            padded: Aligned::zeros(FIRST.padded_len()),
            pooled: Aligned::zeros(SECOND.padded_len()),
            features: Aligned::zeros(CHUNK.max(GROUP) * FEATURES),
            scratch: Scratch::default(),
        });
    }
    WORKSPACE.with_borrow_mut(|workspace| {
        // A backward pass leaves slopes where the next forward pass expects the zeros around the pooled image.
        workspace.pooled.fill(0.0);
        work(workspace)
    })
}

/// Images per chunk, at most: four full tiles of rows, whose features fit the second-level cache.
const CHUNK: usize = 56;

/// Images per group of summed weight gradients, at most: each pass over the dense weights serves a whole group.
const GROUP: usize = 64;

fn check_images(images: &Tensor) -> Result<usize> {
    match images.dims() {
        &[n, 1, 28, 28] => Ok(n),
        other => Err(Error::Shape { what: "a batch for C2F2", actual: other.to_vec(), expected: "(n, 1, 28, 28)".into() }),
    }
}

fn column_sums(rows: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; DIM];
    for row in rows.chunks_exact(DIM) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
    }
    sums
}

fn take_parameters(tensors: &mut Tensors, prefix: &str) -> Result<Vec<Vec<f32>>> {
    PARAMETERS.iter().map(|(name, shape)| take(tensors, &format!("{prefix}{name}"), shape)).collect()
}

/// From PyTorch's layout to ours.
fn pack(isa: Isa, parameters: &[Vec<f32>]) -> Moments {
    let mut order = vec![0; FEATURES];
    (0..FEATURES).for_each(|feature| order[channel_last(feature)] = feature);
    Moments {
        small: std::array::from_fn(|i| parameters[i].clone()),
        dense: Panels::pack(isa, DIM, FEATURES, |output, input| parameters[4][output * FEATURES + order[input]]),
        dense_bias: parameters[5].clone(),
    }
}

impl Moments {
    /// Back to PyTorch's layout.
    fn unpack(&self) -> Vec<Vec<f32>> {
        let dense = (0..DIM * FEATURES).map(|at| self.dense.get(at / FEATURES, channel_last(at % FEATURES))).collect();
        self.small.iter().cloned().chain([dense, self.dense_bias.clone()]).collect()
    }
}

fn to_tensors(values: &[Vec<f32>], prefix: &str) -> Result<BTreeMap<String, Tensor>> {
    let named = PARAMETERS.iter().zip(values);
    named
        .map(|((name, shape), values)| Ok((format!("{prefix}{name}"), Tensor::from_slice(values, *shape, &Device::Cpu)?)))
        .collect()
}
