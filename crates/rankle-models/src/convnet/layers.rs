//! Layer tables of the small networks.

use rankle_kernels::conv::{ConvShape, PooledRows};

/// A network for 28×28 gray images: two convolutions, each followed by a 2×2 max pooling, and dense layers.
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

/// A convolution and the pooling after it. `name` is its name in the public checkpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution {
    pub(super) name: &'static str,
    pub(super) shape: ConvShape,
}

/// A dense layer. `name` is its name in the public checkpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dense {
    pub(super) name: &'static str,
    pub(super) outputs: usize,
    pub(super) relu: bool,
    /// Dropout probability in training. Only after a ReLU: the zeros tell the backward pass which outputs were dropped.
    pub(super) dropout: f32,
}

/// Name, shape and fan-in of a parameter in PyTorch.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Number of inputs that one output of the layer sums over.
    pub(super) fan_in: usize,
}

#[rustfmt::skip] // keeps the columns aligned
impl Layers {
    /// C2F2, the network of the paper for MNIST and Fashion-MNIST.
    pub const C2F2: Self = Self {
        convolutions: [
            Convolution { name: "conv1", shape: ConvShape { inputs: 1,  outputs: 32, kernel: 5, padding: 2, height: 28, width: 28, relu: true } },
            Convolution { name: "conv2", shape: ConvShape { inputs: 32, outputs: 64, kernel: 5, padding: 2, height: 14, width: 14, relu: true } },
        ],
        dense: &[Dense { name: "fc1", outputs: 1024, relu: false, dropout: 0.0 }],
    };

    /// C2F2 with ReLU, dropout and a dense layer for ten logits: the classifier of the paper.
    pub const C2F2_CLASSIFIER: Self = Self {
        dense: &[
            Dense { name: "fc1", outputs: 1024, relu: true,  dropout: 0.4 },
            Dense { name: "fc2", outputs: 10,   relu: false, dropout: 0.0 },
        ],
        ..Self::C2F2
    };

    /// C2F2 of the successor paper, with one more dense layer and 512-dimensional embeddings. Its code numbers the layers.
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

    /// LeNet as in Caffe, without a ReLU after the convolutions and with one after the dense layer.
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
    /// Dimension of the embeddings.
    pub fn embedding_size(&self) -> usize {
        self.dense.last().map_or(self.features(), |last| last.outputs)
    }
    pub(super) fn first(&self) -> ConvShape {
        self.convolutions[0].shape
    }
    pub(super) fn second(&self) -> ConvShape {
        self.convolutions[1].shape
    }
    /// Pixels in an image.
    pub(super) fn pixels(&self) -> usize {
        self.first().height * self.first().width
    }
    /// Number of features: outputs of the second convolution.
    pub(super) fn features(&self) -> usize {
        self.second().pooled_len()
    }
    /// Number of inputs of a dense layer.
    pub(super) fn inputs(&self, dense: usize) -> usize {
        if dense == 0 { self.features() } else { self.dense[dense - 1].outputs }
    }
    /// Layout of the pooled rows of the first convolution inside the padded input of the second.
    pub(super) fn pooled_first(&self) -> PooledRows {
        PooledRows { origin: self.second().padded_origin(), stride: self.second().padded_row() }
    }
    /// Layout of the pooled rows of the second convolution, which are the features.
    pub(super) fn pooled_second(&self) -> PooledRows {
        PooledRows { origin: 0, stride: self.second().pooled_row() }
    }
    /// Index, in our order, of PyTorch's input `place` of a dense layer: PyTorch's features are channel-first, ours channel-last.
    pub(super) fn place(&self, dense: usize, place: usize) -> usize {
        let (channels, windows) = (self.second().outputs, self.second().pooled_height() * self.second().pooled_width());
        if dense == 0 { place % windows * channels + place / windows } else { place }
    }
    /// Parameters in the order in which they are initialized: weights and bias of each layer.
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
