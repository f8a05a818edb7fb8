//! ConvNeXt.

use crate::ImageFormat;
use crate::expression::{Expression, Parameter, Pass};
use candle_core::{Result, Tensor};
use rankle_core::{Error, Filter, InputSpec};
use rankle_ops::{Conv2d, Padding, gelu, global_avg_pool, linear, normalize_pixels};

/// ConvNeXt for square color images, with timm's parameter names: the output of `timm.create_model(NAME, num_classes=0)`.
///
/// # Source
/// Liu et al., "A ConvNet for the 2020s", CVPR 2022, arXiv:2201.03545.
#[derive(Clone, Debug)]
pub struct ConvNext {
    pub(crate) scale: Scale,
    pub(crate) format: ImageFormat,
}

impl ConvNext {
    /// A network for images of a format.
    ///
    /// # Errors
    /// [`Error::Shape`] for a format without three channels, or with sides that are not multiples of 32.
    pub fn new(scale: Scale, format: ImageFormat) -> rankle_core::Result<Self> {
        let (height, width) = format.size;
        let whole = |side: usize| side > 0 && side.is_multiple_of(Scale::STEP);
        if (format.mean.len(), format.std.len()) != (3, 3) || !whole(height) || !whole(width) {
            return Err(Error::Shape {
                what: "an image for ConvNeXt",
                actual: vec![format.mean.len(), height, width],
                expected: "(3, height, width), sides multiples of 32".into(),
            });
        }
        Ok(Self { scale, format })
    }
}

/// Size of a ConvNeXt: its depth and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// 3.4 million weights, 0.55 billion multiply-adds for 224×224: timm's `convnext_atto`.
    Atto,
    /// 28 million weights, 4.5 billion multiply-adds: timm's and torchvision's `convnext_tiny`, in timm's names.
    Tiny,
}

impl Scale {
    /// Divisor of the sides of images: the network halves them five times.
    pub const STEP: usize = 32;
    /// Smallest side of an image: a last map of one pixel.
    pub const SMALLEST_SIDE: usize = 32;

    /// Dimension of the embeddings.
    pub fn embedding_size(self) -> usize {
        self.widths()[3]
    }

    /// Channels of the four stages.
    fn widths(self) -> [usize; 4] {
        match self {
            Self::Atto => [40, 80, 160, 320],
            Self::Tiny => [96, 192, 384, 768],
        }
    }

    /// Names of the blocks of a stage.
    fn blocks(self, stage: usize) -> impl Iterator<Item = String> {
        let depths = match self {
            Self::Atto => [2, 2, 6, 2],
            Self::Tiny => [3, 3, 9, 3],
        };
        (0..depths[stage]).map(move |block| format!("stages.{stage}.blocks.{block}"))
    }

    /// What follows the shape of a dense layer in timm's weights: the smaller networks have convolutions 1×1 instead.
    fn ones(self) -> &'static [usize] {
        match self {
            Self::Atto => &[1, 1],
            Self::Tiny => &[],
        }
    }
}

/// ε of every layer normalization.
const EPSILON: f64 = 1e-6;

/// Layer normalization over the channels of maps, which come last inside and second again behind.
fn norm(pass: &Pass<'_>, layer: &str, x: &Tensor) -> Result<Tensor> {
    pass.layer_norm(layer, &x.permute((0, 2, 3, 1))?, EPSILON)?.permute((0, 3, 1, 2))
}

/// A convolution whose kernels do not overlap.
fn patches(side: usize) -> Conv2d {
    Conv2d { stride: [side; 2], ..Conv2d::default() }
}

/// Depthwise convolution, layer normalization and two dense layers on every pixel, plus the input.
fn block(pass: &Pass<'_>, name: &str, x: &Tensor) -> Result<Tensor> {
    let channels = x.dim(1)?;
    let depthwise = Conv2d { padding: Padding::even(3), groups: channels, ..Conv2d::default() };
    let dense = |layer: &str, y: &Tensor| {
        let weight = pass.weight(&format!("{name}.mlp.{layer}.weight"))?;
        let (outputs, inputs) = (weight.dim(0)?, weight.dim(1)?);
        linear(y, &weight.reshape((outputs, inputs))?, Some(pass.weight(&format!("{name}.mlp.{layer}.bias"))?))
    };
    let y = pass.conv2d(&format!("{name}.conv_dw"), x, &depthwise)?;
    let y = pass.layer_norm(&format!("{name}.norm"), &y.permute((0, 2, 3, 1))?, EPSILON)?;
    let y = dense("fc2", &gelu(&dense("fc1", &y)?)?)?.broadcast_mul(pass.weight(&format!("{name}.gamma"))?)?;
    x.add(&y.permute((0, 3, 1, 2))?)
}

impl Expression for ConvNext {
    fn input(&self) -> InputSpec {
        self.format.center(Filter::Bicubic)
    }

    fn embedding_size(&self) -> usize {
        self.scale.embedding_size()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let (scale, widths) = (self.scale, self.scale.widths());
        let mut parameters = Vec::new();
        parameters.extend(Parameter::layer("stem.0", [widths[0], self.format.mean.len(), 4, 4]));
        parameters.extend(Parameter::layer("stem.1", [widths[0]]));
        for (stage, width) in widths.into_iter().enumerate() {
            if stage > 0 {
                let before = widths[stage - 1];
                parameters.extend(Parameter::layer(&format!("stages.{stage}.downsample.0"), [before]));
                parameters.extend(Parameter::layer(&format!("stages.{stage}.downsample.1"), [width, before, 2, 2]));
            }
            for block in scale.blocks(stage) {
                let dense = |outputs: usize, inputs: usize| [&[outputs, inputs], scale.ones()].concat();
                parameters.extend(Parameter::layer(&format!("{block}.conv_dw"), [width, 1, 7, 7]));
                parameters.extend(Parameter::layer(&format!("{block}.norm"), [width]));
                parameters.extend(Parameter::layer(&format!("{block}.mlp.fc1"), dense(4 * width, width)));
                parameters.extend(Parameter::layer(&format!("{block}.mlp.fc2"), dense(width, 4 * width)));
                parameters.push(Parameter::trained(format!("{block}.gamma"), [width]));
            }
        }
        parameters.extend(Parameter::layer("head.norm", [widths[3]]));
        parameters
    }

    fn ignores(&self, name: &str) -> bool {
        ["head.fc.weight", "head.fc.bias"].contains(&name)
    }

    fn forward(&self, pass: &Pass<'_>, images: &Tensor) -> Result<Tensor> {
        let x = normalize_pixels(images, &self.format.mean, &self.format.std)?;
        let mut x = norm(pass, "stem.1", &pass.conv2d("stem.0", &x, &patches(4))?)?;
        for stage in 0..4 {
            if stage > 0 {
                let name = format!("stages.{stage}.downsample");
                x = pass.conv2d(&format!("{name}.1"), &norm(pass, &format!("{name}.0"), &x)?, &patches(2))?;
            }
            x = self.scale.blocks(stage).try_fold(x, |x, name| block(pass, &name, &x))?;
        }
        pass.layer_norm("head.norm", &global_avg_pool(&x)?, EPSILON)
    }
}
