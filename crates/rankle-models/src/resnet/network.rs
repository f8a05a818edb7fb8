//! Layers of the network and their connections.

use crate::ImageFormat;
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use rankle_kernels::maps::{Conv, ConvShape, MaxPool, Shuffle};

/// A convolution without bias and the batch normalization after it.
#[derive(Debug)]
pub(super) struct Unit {
    /// Parameter name of the convolution, such as `layer2.0.downsample.0`; `.weight` follows.
    pub conv_name: String,
    /// Parameter name of the norm, such as `layer2.0.downsample.1`; `.weight`, `.bias`, `.running_mean`, `.running_var` follow.
    pub norm_name: String,
    pub conv: Conv,
    /// Shape of the weight in PyTorch.
    pub weight: [usize; 4],
    /// Pixel shuffle before the first convolution; `None` for all others.
    shuffle: Option<Shuffle>,
}

impl Unit {
    pub(super) fn outputs(&self) -> usize {
        self.weight[0]
    }

    /// Packs weights in PyTorch's layout.
    pub(super) fn pack(&self, isa: Isa, weight: &[f32]) -> Panels {
        match &self.shuffle {
            Some(shuffle) => self.conv.pack(isa, &shuffle.shuffle_filters(weight), |_| 1.0),
            None => self.conv.pack(isa, weight, |_| 1.0),
        }
    }

    /// Weights in PyTorch's layout.
    pub(super) fn unpack(&self, filters: &Panels) -> Vec<f32> {
        let weight = self.conv.unpack(filters);
        match &self.shuffle {
            Some(shuffle) => shuffle.unshuffle_filters(&weight),
            None => weight,
        }
    }

    /// Sets a gradient to zero at the positions of a shuffled filter that hold no weight.
    pub(super) fn only_weights(&self, gradient: Panels) -> Panels {
        if self.shuffle.is_some() { self.pack(gradient.isa(), &self.unpack(&gradient)) } else { gradient }
    }
}

/// Indices in [`Network::units`] of a block's two convolutions and its shortcut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub first: usize,
    pub second: usize,
    /// Convolution of the shortcut; `None` if the shortcut is the block's input itself.
    pub shortcut: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Network {
    pub shuffle: Shuffle,
    /// Stem, then block by block: first convolution, second convolution, shortcut.
    pub units: Vec<Unit>,
    pub pool: MaxPool,
    pub blocks: Vec<Block>,
    /// Maximum number of images per chunk.
    pub chunk: usize,
}

/// Kernel and padding of the stem's convolution, of stride 2, and the channels of the four stages.
const KERNEL: usize = 7;
const PADDING: usize = 3;
const STAGES: [usize; 4] = [64, 128, 256, 512];

impl Network {
    pub(super) fn new(format: &ImageFormat) -> Self {
        let shuffle = Shuffle::new(format.size, &format.mean, &format.std, KERNEL, PADDING);
        let channels = format.mean.len();
        let stem = ConvShape::new((shuffle.map_channels(), STAGES[0]), shuffle.map_kernel(), 1, 0, shuffle.map());
        let pool = MaxPool::new(3, 2, 1, stem.output);
        let mut units = vec![Unit {
            conv_name: "conv1".into(),
            norm_name: "bn1".into(),
            conv: Conv::new(stem),
            weight: [STAGES[0], channels, KERNEL, KERNEL],
            shuffle: Some(shuffle.clone()),
        }];
        let mut add = |conv: String, norm: String, shape: ConvShape| {
            let weight = [shape.outputs, shape.inputs, shape.kernel, shape.kernel];
            units.push(Unit { conv_name: conv, norm_name: norm, conv: Conv::new(shape), weight, shuffle: None });
            units.len() - 1
        };
        let (mut blocks, mut size, mut inputs) = (Vec::new(), pool.output(), STAGES[0]);
        for (stage, outputs) in (1..).zip(STAGES) {
            for position in 0..2 {
                let name = format!("layer{stage}.{position}");
                let stride = if stage > 1 && position == 0 { 2 } else { 1 };
                let first = ConvShape::new((inputs, outputs), 3, stride, 1, size);
                let second = ConvShape::new((outputs, outputs), 3, 1, 1, first.output);
                let around = ConvShape::new((inputs, outputs), 1, stride, 0, size);
                blocks.push(Block {
                    first: add(format!("{name}.conv1"), format!("{name}.bn1"), first),
                    second: add(format!("{name}.conv2"), format!("{name}.bn2"), second),
                    shortcut: (stride > 1).then(|| add(format!("{name}.downsample.0"), format!("{name}.downsample.1"), around)),
                });
                (size, inputs) = (second.output, outputs);
            }
        }
        // Small maps need many images to fill a tile, and the filters of the last stage are read once per chunk. Many large maps
        // would not fit the cache.
        let chunk = if format.size.0 * format.size.1 > 64 * 64 { 4 } else { 14 };
        Self { shuffle, units, pool, blocks, chunk }
    }

    pub(super) fn stem(&self) -> &Unit {
        &self.units[0]
    }
}
