//! Which layers there are and how they are connected.

use crate::ImageFormat;
use rankle_kernels::Isa;
use rankle_kernels::dense::Panels;
use rankle_kernels::maps::{Conv, ConvShape, MaxPool, Shuffle};

/// A convolution without bias and the norm behind it.
#[derive(Debug)]
pub(super) struct Unit {
    /// As in `layer2.0.downsample.0`; `.weight` follows.
    pub conv_name: String,
    /// As in `layer2.0.downsample.1`; `.weight`, `.bias`, `.running_mean`, `.running_var` follow.
    pub norm_name: String,
    pub conv: Conv,
    /// Shape of the weight in PyTorch.
    pub weight: [usize; 4],
    /// The first convolution works on shuffled pixels.
    shuffle: Option<Shuffle>,
}

impl Unit {
    pub(super) fn outputs(&self) -> usize {
        self.weight[0]
    }

    /// Packs PyTorch's weights.
    pub(super) fn pack(&self, isa: Isa, weight: &[f32]) -> Panels {
        match &self.shuffle {
            Some(shuffle) => self.conv.pack(isa, &shuffle.shuffle_filters(weight), |_| 1.0),
            None => self.conv.pack(isa, weight, |_| 1.0),
        }
    }

    /// Back to PyTorch's layout.
    pub(super) fn unpack(&self, filters: &Panels) -> Vec<f32> {
        let weight = self.conv.unpack(filters);
        match &self.shuffle {
            Some(shuffle) => shuffle.unshuffle_filters(&weight),
            None => weight,
        }
    }

    /// A gradient without the numbers of those places where a shuffled filter holds no weight.
    pub(super) fn only_weights(&self, gradient: Panels) -> Panels {
        if self.shuffle.is_some() { self.pack(gradient.isa(), &self.unpack(&gradient)) } else { gradient }
    }
}

/// Two convolutions and what goes around them: positions in [`Network::units`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub first: usize,
    pub second: usize,
    /// None where the input itself goes around.
    pub shortcut: Option<usize>,
}

/// All layers.
#[derive(Debug)]
pub(super) struct Network {
    pub shuffle: Shuffle,
    /// The stem first, then block by block: first, second, shortcut.
    pub units: Vec<Unit>,
    pub pool: MaxPool,
    pub blocks: Vec<Block>,
    /// Images per chunk, at most.
    pub chunk: usize,
}

/// The stem's convolution, of stride 2, and the channels of the four stages.
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
        // Small maps need many images to fill a tile, and the filters of the last stage are read once per chunk; large ones would
        // leave the cache.
        let chunk = if format.size.0 * format.size.1 > 64 * 64 { 4 } else { 14 };
        Self { shuffle, units, pool, blocks, chunk }
    }

    pub(super) fn stem(&self) -> &Unit {
        &self.units[0]
    }
}
