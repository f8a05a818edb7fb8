//! ResNet-18 as an expression in operations on tensors.

use super::parameters::EPSILON;
use super::{ResNet18, is_extra};
use crate::ImageFormat;
use crate::expression::{Expression, Parameter, Pass};
use candle_core::{Result, Tensor};
use rankle_core::InputSpec;
use rankle_ops::{Conv2d, Padding, Pool, global_avg_pool, max_pool2d, normalize_pixels, relu};

/// The expression of [`ResNet18`].
pub(crate) struct ResNet18Expression {
    pub(crate) format: ImageFormat,
    /// Output dimension of a linear layer after the network.
    pub(crate) head: Option<usize>,
}

/// Channels of the four stages.
const WIDTHS: [usize; 4] = [64, 128, 256, 512];
/// Name of the head.
const HEAD: &str = "fc";

/// A block of two convolutions 3×3.
struct Block {
    name: String,
    inputs: usize,
    outputs: usize,
    stride: usize,
}

fn blocks() -> impl Iterator<Item = Block> {
    ResNet18::STAGES.into_iter().enumerate().flat_map(|(stage, name)| {
        (0..2).map(move |position| {
            let first = position == 0 && stage > 0;
            Block {
                name: format!("{name}.{position}"),
                inputs: if first { WIDTHS[stage - 1] } else { WIDTHS[stage] },
                outputs: WIDTHS[stage],
                stride: if first { 2 } else { 1 },
            }
        })
    })
}

fn convolution(stride: usize, padding: usize) -> Conv2d {
    Conv2d { stride: [stride; 2], padding: Padding::even(padding), ..Conv2d::default() }
}

impl Block {
    /// Convolution and norm of the shortcut; `None` if the shortcut is the block's input itself.
    fn shortcut(&self) -> Option<[String; 2]> {
        (self.stride > 1).then(|| ["0", "1"].map(|part| format!("{}.downsample.{part}", self.name)))
    }

    fn parameters(&self) -> Vec<Parameter> {
        let Self { name, inputs, outputs, .. } = self;
        let unit = |convolution: String, norm: String, shape: [usize; 4]| {
            let weight = Parameter::trained(format!("{convolution}.weight"), shape);
            std::iter::once(weight).chain(Parameter::batch_norm(&norm, shape[0]))
        };
        let mut parameters = Vec::new();
        parameters.extend(unit(format!("{name}.conv1"), format!("{name}.bn1"), [*outputs, *inputs, 3, 3]));
        parameters.extend(unit(format!("{name}.conv2"), format!("{name}.bn2"), [*outputs, *outputs, 3, 3]));
        if let Some([convolution, norm]) = self.shortcut() {
            parameters.extend(unit(convolution, norm, [*outputs, *inputs, 1, 1]));
        }
        parameters
    }

    fn forward(&self, pass: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
        let name = &self.name;
        let y = pass.conv2d(&format!("{name}.conv1"), x, &convolution(self.stride, 1))?;
        let y = relu(&pass.batch_norm(&format!("{name}.bn1"), &y, EPSILON)?)?;
        let y = pass.conv2d(&format!("{name}.conv2"), &y, &convolution(1, 1))?;
        let y = pass.batch_norm(&format!("{name}.bn2"), &y, EPSILON)?;
        let around = match self.shortcut() {
            Some([conv, norm]) => pass.batch_norm(&norm, &pass.conv2d(&conv, x, &convolution(self.stride, 0))?, EPSILON)?,
            None => x.clone(),
        };
        relu(&(y + around)?)
    }
}

impl Expression for ResNet18Expression {
    fn input(&self) -> InputSpec {
        InputSpec::of_shape(self.format.input())
    }

    fn embedding_size(&self) -> usize {
        self.head.unwrap_or(ResNet18::EMBEDDING_SIZE)
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = vec![Parameter::trained("conv1.weight", [WIDTHS[0], self.format.mean.len(), 7, 7])];
        parameters.extend(Parameter::batch_norm("bn1", WIDTHS[0]));
        parameters.extend(blocks().flat_map(|block| block.parameters()));
        parameters.extend(self.head.into_iter().flat_map(|size| Parameter::layer(HEAD, [size, ResNet18::EMBEDDING_SIZE])));
        parameters
    }

    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> Result<Tensor> {
        let x = normalize_pixels(images, &self.format.mean, &self.format.std)?;
        let x = pass.batch_norm("bn1", &pass.conv2d("conv1", &x, &convolution(2, 3))?, EPSILON)?;
        let x = max_pool2d(&relu(&x)?, &Pool::new(3, 2, 1))?;
        let x = blocks().try_fold(x, |x, block| block.forward(pass, &x))?;
        let features = global_avg_pool(&x)?;
        if self.head.is_some() { pass.linear(HEAD, &features) } else { Ok(features) }
    }

    fn ignores(&self, name: &str) -> bool {
        is_extra(name, self.head.is_none())
    }

    fn stages(&self) -> &[&'static str] {
        &ResNet18::STAGES
    }
}
