//! ResNets as expressions in operations on tensors.

use super::{ResNet18, is_extra};
use crate::ImageFormat;
use crate::conv_norm::{ConvNorm, RELU};
use crate::expression::{Expression, Parameter, Pass};
use candle_core::{Result, Tensor};
use rankle_core::{Filter, InputSpec};
use rankle_ops::{Pool, add, global_avg_pool, max_pool2d, normalize_pixels, relu};

/// A ResNet with torchvision's parameter names: ResNet-18, which is also [`ResNet18`] on kernels, or ResNet-50.
pub(crate) struct ResNetExpression {
    pub(crate) depth: Depth,
    pub(crate) format: ImageFormat,
    /// Output dimension of a linear layer after the network.
    pub(crate) head: Option<usize>,
}

/// Number of layers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Two blocks a stage, of two convolutions each.
    Eighteen,
    /// Three, four, six and three blocks, of three convolutions each. Stride 2 is in the 3×3 convolution, as in torchvision.
    Fifty,
}

/// Channels of the stem, and of the 3×3 convolutions of the four stages.
const STEM: usize = 64;
const WIDTHS: [usize; 4] = [64, 128, 256, 512];
/// Name of the head.
const HEAD: &str = "fc";

/// A block: convolutions, plus the input or the shortcut's convolution of it.
struct Block {
    convolutions: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

impl Depth {
    /// Blocks per stage.
    fn blocks(self) -> [usize; 4] {
        match self {
            Self::Eighteen => [2; 4],
            Self::Fifty => [3, 4, 6, 3],
        }
    }

    /// Outputs, kernel side and stride of each convolution of a block.
    fn convolutions(self, width: usize, stride: usize) -> Vec<(usize, usize, usize)> {
        match self {
            Self::Eighteen => vec![(width, 3, stride), (width, 3, 1)],
            Self::Fifty => vec![(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)],
        }
    }

    /// Dimension of the features.
    pub(crate) fn features(self) -> usize {
        match self {
            Self::Eighteen => ResNet18::EMBEDDING_SIZE,
            Self::Fifty => 4 * WIDTHS[3],
        }
    }
}

impl ResNetExpression {
    fn stem(&self) -> ConvNorm {
        let inputs = self.format.mean.len();
        ConvNorm { convolution: "conv1".into(), norm: "bn1".into(), inputs, outputs: STEM, kernel: 7, stride: 2, groups: 1 }
    }

    fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut inputs) = (Vec::new(), STEM);
        for (stage, (count, width)) in self.depth.blocks().into_iter().zip(WIDTHS).enumerate() {
            for position in 0..count {
                let stride = if position == 0 && stage > 0 { 2 } else { 1 };
                let name = format!("{}.{position}", ResNet18::STAGES[stage]);
                let block = Block::new(&name, inputs, stride, &self.depth.convolutions(width, stride));
                inputs = block.outputs();
                blocks.push(block);
            }
        }
        blocks
    }
}

impl Block {
    fn new(name: &str, inputs: usize, stride: usize, convolutions: &[(usize, usize, usize)]) -> Self {
        let mut before = inputs;
        let unit = |(index, &(outputs, kernel, stride)): (usize, &(usize, usize, usize))| {
            let (convolution, norm) = (format!("{name}.conv{}", index + 1), format!("{name}.bn{}", index + 1));
            let inputs = std::mem::replace(&mut before, outputs);
            ConvNorm { convolution, norm, inputs, outputs, kernel, stride, groups: 1 }
        };
        let convolutions: Vec<ConvNorm> = convolutions.iter().enumerate().map(unit).collect();
        let outputs = before;
        let shortcut = (stride > 1 || inputs != outputs).then(|| ConvNorm {
            convolution: format!("{name}.downsample.0"),
            norm: format!("{name}.downsample.1"),
            inputs,
            outputs,
            kernel: 1,
            stride,
            groups: 1,
        });
        Self { convolutions, shortcut }
    }

    fn outputs(&self) -> usize {
        self.convolutions.last().map_or(0, |last| last.outputs)
    }

    fn parameters(&self) -> impl Iterator<Item = Parameter> {
        self.convolutions.iter().chain(&self.shortcut).flat_map(ConvNorm::parameters)
    }

    /// ReLU follows every convolution; after the last one, the shortcut is added first.
    fn forward(&self, pass: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        let last = self.convolutions.len() - 1;
        for (index, convolution) in self.convolutions.iter().enumerate() {
            y = convolution.forward(pass, &y, (index < last).then_some(RELU))?;
        }
        let around = match &self.shortcut {
            Some(shortcut) => shortcut.forward(pass, x, None)?,
            None => x.clone(),
        };
        relu(&add(&y, &around)?)
    }
}

impl Expression for ResNetExpression {
    /// torchvision tests ResNet-50 on the middle 7/8 of photographs. ResNet-18 recommends nothing, because the paper trains it on
    /// photographs squeezed to a square.
    fn input(&self) -> InputSpec {
        match self.depth {
            Depth::Eighteen => InputSpec::of_shape(self.format.input()),
            Depth::Fifty => self.format.center(Filter::Bilinear),
        }
    }

    fn embedding_size(&self) -> usize {
        self.head.unwrap_or(self.depth.features())
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters: Vec<Parameter> = self.stem().parameters().collect();
        parameters.extend(self.blocks().iter().flat_map(Block::parameters));
        parameters.extend(self.head.into_iter().flat_map(|size| Parameter::layer(HEAD, [size, self.depth.features()])));
        parameters
    }

    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> Result<Tensor> {
        let x = normalize_pixels(images, &self.format.mean, &self.format.std)?;
        let x = max_pool2d(&self.stem().forward(pass, &x, Some(RELU))?, &Pool::new(3, 2, 1))?;
        let x = self.blocks().iter().try_fold(x, |x, block| block.forward(pass, &x))?;
        let features = global_avg_pool(&x)?;
        if self.head.is_some() { pass.linear(HEAD, &features) } else { Ok(features) }
    }

    fn ignores(&self, name: &str) -> bool {
        is_extra(name, self.head.is_none())
    }

    fn stages(&self) -> &'static [&'static str] {
        &ResNet18::STAGES
    }
}
