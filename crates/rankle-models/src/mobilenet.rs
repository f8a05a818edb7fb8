//! MobileNetV2.

use crate::ImageFormat;
use crate::conv_norm::{ConvNorm, RELU6};
use crate::expression::{Expression, Parameter, Pass};
use crate::numbered::numbered;
use candle_core::{Result, Tensor};
use rankle_core::{Filter, InputSpec};
use rankle_ops::{add, global_avg_pool, normalize_pixels};

/// MobileNetV2 of width 1 for square color images: 1280-dimensional embeddings, nonnegative, the mean over the pixels of the last
/// maps.
///
/// # Source
/// Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, arXiv:1801.04381.
#[derive(Clone, Debug)]
pub struct MobileNetV2 {
    pub(crate) naming: Naming,
    pub(crate) format: ImageFormat,
}

/// Library whose parameter names a file of weights has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Naming {
    /// torchvision's `mobilenet_v2`.
    Torchvision,
    /// timm's `mobilenetv2_100`.
    Timm,
}

/// Stages: expansion factor, outputs, blocks, and stride of the first block.
const STAGES: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
/// Channels of the first maps.
const STEM: usize = 32;
/// Channels of the last maps.
const DIM: usize = 1280;

impl Naming {
    /// Names of the first convolution and its normalization.
    fn stem(self) -> [&'static str; 2] {
        match self {
            Self::Torchvision => ["features.0.0", "features.0.1"],
            Self::Timm => ["conv_stem", "bn1"],
        }
    }

    /// Names of the last convolution and its normalization.
    fn last(self) -> [&'static str; 2] {
        match self {
            Self::Torchvision => ["features.18.0", "features.18.1"],
            Self::Timm => ["conv_head", "bn2"],
        }
    }

    /// Name of block `position` of a stage, which is block `index` of all.
    fn block(self, index: usize, stage: usize, position: usize) -> String {
        match self {
            Self::Torchvision => format!("features.{}.conv", index + 1),
            Self::Timm => format!("blocks.{stage}.{position}"),
        }
    }

    /// Names of the convolutions of a block and their normalizations. The depthwise and the last one come last; blocks that
    /// expand have one in front.
    fn convolutions(self, expands: bool) -> &'static [[&'static str; 2]] {
        match (self, expands) {
            (Self::Torchvision, true) => &[["0.0", "0.1"], ["1.0", "1.1"], ["2", "3"]],
            (Self::Torchvision, false) => &[["0.0", "0.1"], ["1", "2"]],
            (Self::Timm, true) => &[["conv_pw", "bn1"], ["conv_dw", "bn2"], ["conv_pwl", "bn3"]],
            (Self::Timm, false) => &[["conv_dw", "bn1"], ["conv_pw", "bn2"]],
        }
    }
}

/// An inverted residual block: a convolution 1×1 that expands, a depthwise one 3×3, and a convolution 1×1 without activation.
struct Block {
    convolutions: Vec<ConvNorm>,
    /// True if the input is added to the output.
    residual: bool,
}

impl Block {
    fn new(naming: Naming, name: &str, inputs: usize, outputs: usize, expansion: usize, stride: usize) -> Self {
        let (expands, width) = (expansion > 1, inputs * expansion);
        let shapes = [(inputs, width, 1, 1, 1), (width, width, 3, stride, width), (width, outputs, 1, 1, 1)];
        let unit = |([convolution, norm], (inputs, outputs, kernel, stride, groups)): (&[&str; 2], _)| {
            let (convolution, norm) = (format!("{name}.{convolution}"), format!("{name}.{norm}"));
            ConvNorm { convolution, norm, inputs, outputs, kernel, stride, groups }
        };
        let shapes = shapes.into_iter().skip(usize::from(!expands));
        Self {
            convolutions: naming.convolutions(expands).iter().zip(shapes).map(unit).collect(),
            residual: stride == 1 && inputs == outputs,
        }
    }

    fn forward(&self, pass: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        let last = self.convolutions.len() - 1;
        for (index, convolution) in self.convolutions.iter().enumerate() {
            y = convolution.forward(pass, &y, (index < last).then_some(RELU6))?;
        }
        if self.residual { add(&y, x) } else { Ok(y) }
    }
}

impl MobileNetV2 {
    /// Dimension of the embeddings.
    pub const EMBEDDING_SIZE: usize = DIM;

    fn stem(&self) -> ConvNorm {
        let ([convolution, norm], inputs) = (self.naming.stem().map(str::to_owned), self.format.mean.len());
        ConvNorm { convolution, norm, inputs, outputs: STEM, kernel: 3, stride: 2, groups: 1 }
    }

    fn last(&self) -> ConvNorm {
        let ([convolution, norm], inputs) = (self.naming.last().map(str::to_owned), STAGES[6].1);
        ConvNorm { convolution, norm, inputs, outputs: DIM, kernel: 1, stride: 1, groups: 1 }
    }

    fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut inputs) = (Vec::new(), STEM);
        for (stage, (expansion, outputs, count, first_stride)) in STAGES.into_iter().enumerate() {
            for position in 0..count {
                let name = self.naming.block(blocks.len(), stage, position);
                let stride = if position == 0 { first_stride } else { 1 };
                blocks.push(Block::new(self.naming, &name, inputs, outputs, expansion, stride));
                inputs = outputs;
            }
        }
        blocks
    }
}

impl Expression for MobileNetV2 {
    /// torchvision and timm test on the middle 7/8 of photographs, with different filters.
    fn input(&self) -> InputSpec {
        self.format.center(match self.naming {
            Naming::Torchvision => Filter::Bilinear,
            Naming::Timm => Filter::Bicubic,
        })
    }

    fn embedding_size(&self) -> usize {
        Self::EMBEDDING_SIZE
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters: Vec<Parameter> = self.stem().parameters().collect();
        parameters.extend(self.blocks().iter().flat_map(|block| &block.convolutions).flat_map(ConvNorm::parameters));
        parameters.extend(self.last().parameters());
        parameters
    }

    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> Result<Tensor> {
        let x = normalize_pixels(images, &self.format.mean, &self.format.std)?;
        let x = self.stem().forward(pass, &x, Some(RELU6))?;
        let x = self.blocks().iter().try_fold(x, |x, block| block.forward(pass, &x))?;
        global_avg_pool(&self.last().forward(pass, &x, Some(RELU6))?)
    }

    fn ignores(&self, name: &str) -> bool {
        name.ends_with(".num_batches_tracked") || name.starts_with("classifier.")
    }

    /// Blocks of torchvision, stages of timm.
    fn stages(&self) -> &'static [&'static str] {
        match self.naming {
            Naming::Torchvision => numbered!("features.", 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18),
            Naming::Timm => numbered!("blocks.", 0 1 2 3 4 5 6),
        }
    }
}
