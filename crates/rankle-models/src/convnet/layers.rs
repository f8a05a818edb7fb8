//! The networks as data.

use rankle_kernels::conv::{ConvShape, PooledRows};

/// A network of two convolutions, each behind a 2×2 max pooling, and dense layers: 28×28 gray images in, embeddings out.
///
/// | | [`Layers::C2F2`] | [`Layers::C2F2_512`] | [`Layers::LENET`] | [`Layers::C2F2_CLASSIFIER`] |
/// |---|---|---|---|---|
/// | source | the paper (METHOD.md 3.1) | its successor, arXiv 2106.03614 (METHOD.md 3.1) | the paper (METHOD.md 3.2) | the paper's code (METHOD.md 3.6) |
/// | convolution 5×5 | 1→32, padding 2 | 1→32, padding 2 | 1→20, no padding | 1→32, padding 2 |
/// | before the pooling | ReLU | ReLU | nothing | ReLU |
/// | convolution 5×5 | 32→64, padding 2 | 32→64, padding 2 | 20→50, no padding | 32→64, padding 2 |
/// | before the pooling | ReLU | ReLU | nothing | ReLU |
/// | dense | 3136→1024 | 3136→1024, ReLU, 1024→512 | 800→500, ReLU | 3136→1024, ReLU, dropout 0.4, 1024→10 |
/// | embedding | any number | any number | not negative | logits |
#[derive(Clone, Copy, Debug)]
pub struct Layers {
    pub(super) convolutions: [Convolution; 2],
    pub(super) dense: &'static [Dense],
}

/// A convolution with its pooling, under its name in the public checkpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution {
    pub(super) name: &'static str,
    pub(super) shape: ConvShape,
}

/// A dense layer, under its name in the public checkpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dense {
    pub(super) name: &'static str,
    pub(super) outputs: usize,
    pub(super) relu: bool,
    /// The share of its numbers that a training step silences; only behind a ReLU, whose zeros tell the backward pass which.
    pub(super) dropout: f32,
}

/// A parameter as PyTorch has it.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// How many numbers one output of its layer is the sum of.
    pub(super) fan_in: usize,
}

#[rustfmt::skip] // the columns are the point
impl Layers {
    /// C2F2, the paper's network for MNIST and Fashion-MNIST.
    pub const C2F2: Self = Self {
        convolutions: [
            Convolution { name: "conv1", shape: ConvShape { inputs: 1,  outputs: 32, kernel: 5, padding: 2, height: 28, width: 28, relu: true } },
            Convolution { name: "conv2", shape: ConvShape { inputs: 32, outputs: 64, kernel: 5, padding: 2, height: 14, width: 14, relu: true } },
        ],
        dense: &[Dense { name: "fc1", outputs: 1024, relu: false, dropout: 0.0 }],
    };

    /// The paper's classification baseline: C2F2, and what turns it into ten logits.
    pub const C2F2_CLASSIFIER: Self = Self {
        dense: &[
            Dense { name: "fc1", outputs: 1024, relu: true,  dropout: 0.4 },
            Dense { name: "fc2", outputs: 10,   relu: false, dropout: 0.0 },
        ],
        ..Self::C2F2
    };

    /// The C2F2 of the paper's successor: one more dense layer, 512 numbers. There the layers are numbered.
    pub const C2F2_512: Self = Self {
        convolutions: [
            Convolution { name: "backbone.0", ..Self::C2F2.convolutions[0] },
            Convolution { name: "backbone.3", ..Self::C2F2.convolutions[1] },
        ],
        dense: &[
            Dense { name: "backbone.7", outputs: 1024, relu: true,  dropout: 0.0 },
            Dense { name: "backbone.9", outputs: 512,  relu: false, dropout: 0.0 },
        ],
    };

    /// LeNet as in Caffe: no ReLU behind the convolutions, one behind the dense layer.
    pub const LENET: Self = Self {
        convolutions: [
            Convolution { name: "conv1", shape: ConvShape { inputs: 1,  outputs: 20, kernel: 5, padding: 0, height: 28, width: 28, relu: false } },
            Convolution { name: "conv2", shape: ConvShape { inputs: 20, outputs: 50, kernel: 5, padding: 0, height: 12, width: 12, relu: false } },
        ],
        dense: &[Dense { name: "fc1", outputs: 500, relu: true, dropout: 0.0 }],
    };
}

impl Layers {
    /// `(channels, height, width)` of the images.
    pub fn input(&self) -> (usize, usize, usize) {
        let ConvShape { inputs, height, width, .. } = self.first();
        (inputs, height, width)
    }
    /// How many numbers an embedding has.
    pub fn embedding_size(&self) -> usize {
        self.dense.last().map_or(self.features(), |last| last.outputs)
    }
    pub(super) fn first(&self) -> ConvShape {
        self.convolutions[0].shape
    }
    pub(super) fn second(&self) -> ConvShape {
        self.convolutions[1].shape
    }
    /// Numbers in an image.
    pub(super) fn pixels(&self) -> usize {
        self.first().height * self.first().width
    }
    /// Numbers between the second convolution and the dense layers.
    pub(super) fn features(&self) -> usize {
        self.second().pooled_len()
    }
    /// Numbers that go into a dense layer.
    pub(super) fn inputs(&self, dense: usize) -> usize {
        if dense == 0 { self.features() } else { self.dense[dense - 1].outputs }
    }
    /// How the pooled rows of the first convolution lie inside the padded input of the second.
    pub(super) fn pooled_first(&self) -> PooledRows {
        PooledRows { origin: self.second().padded_origin(), stride: self.second().padded_row() }
    }
    /// The pooled rows of the second convolution are the features.
    pub(super) fn pooled_second(&self) -> PooledRows {
        PooledRows { origin: 0, stride: self.second().pooled_row() }
    }
    /// Where input `place` of a dense layer lies in our order: PyTorch's features are channel-major, ours channel-last.
    pub(super) fn place(&self, dense: usize, place: usize) -> usize {
        let (channels, windows) = (self.second().outputs, self.second().pooled_height() * self.second().pooled_width());
        if dense == 0 { place % windows * channels + place / windows } else { place }
    }
    /// The parameters, in the order in which they are initialized: weights and bias of every layer.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let convolutions = self.convolutions.iter().map(|Convolution { name, shape }| {
            let ConvShape { inputs, outputs, kernel, .. } = *shape;
            (name, vec![outputs, inputs, kernel, kernel], inputs * kernel * kernel)
        });
        let dense = self.dense.iter().enumerate().map(|(layer, Dense { name, outputs, .. })| {
            let inputs = self.inputs(layer);
            (name, vec![*outputs, inputs], inputs)
        });
        let weights_and_bias = |(name, shape, fan_in): (&&str, Vec<usize>, usize)| {
            let bias = Parameter { name: format!("{name}.bias"), shape: vec![shape[0]], fan_in };
            [Parameter { name: format!("{name}.weight"), shape, fan_in }, bias]
        };
        convolutions.chain(dense).flat_map(weights_and_bias).collect()
    }
}
