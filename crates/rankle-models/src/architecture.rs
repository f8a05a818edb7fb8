//! Models by name.

use crate::expression::{Expression, TensorModel};
use crate::resnet::{Depth, ResNetExpression};
use crate::softmax::SoftmaxExpression;
use crate::{
    Backbone, ConvNext, Convnet, ImageFormat, Layers, MobileNetV2, Naming, ResNet18, Scale, SoftmaxRegression, Vit, weights,
};
use rankle_core::{Distance, Embedder, Error, InputSpec, Place, Result, Seed, Trainable};
use rankle_registry::Registered;
use std::{fmt, path::Path, str::FromStr};

/// Architecture of a model, with its name on command lines. A name may have arguments, as in `resnet18,size=112`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Two convolutions and one dense layer: 28×28 gray images, 1024-dimensional embeddings (METHOD.md 3.1).
    C2f2,
    /// C2F2 with a second dense layer: 28×28 gray images, 512-dimensional embeddings (METHOD.md 3.1).
    C2f2Of512,
    /// LeNet without its classifier: 28×28 gray images, 500-dimensional embeddings, nonnegative (METHOD.md 3.2).
    LeNet,
    /// ResNet-18 for 28×28 gray images: 512-dimensional embeddings, nonnegative (METHOD.md 3.3).
    ResNet18Of28 {
        /// Output dimension of a linear layer after the network (`embedding-size`); `None` without such a layer.
        head: Option<usize>,
    },
    /// torchvision's ResNet-18 for square color images: 512-dimensional embeddings, nonnegative (METHOD.md 3.4).
    ResNet18 {
        /// Side of the images in pixels (`size`), by default 224.
        side: usize,
        /// Output dimension of a linear layer after the network (`embedding-size`); `None` without such a layer.
        head: Option<usize>,
    },
    /// timm's ConvNeXt for square color images: 320- or 768-dimensional embeddings. For attacks and measurement, not for training.
    ConvNext {
        /// Depth and width.
        scale: Scale,
        /// Side of the images in pixels (`size`), by default 224.
        side: usize,
    },
    /// torchvision's ResNet-50 for square color images: 2048-dimensional embeddings, nonnegative (METHOD.md 3.7).
    ResNet50 {
        /// Side of the images in pixels (`size`), by default 224.
        side: usize,
    },
    /// MobileNetV2 for square color images: 1280-dimensional embeddings, nonnegative (METHOD.md 3.7).
    MobileNetV2 {
        /// `mobilenet-v2` has torchvision's parameter names, `mobilenetv2-100` timm's.
        naming: Naming,
        /// Side of the images in pixels (`size`), by default 224.
        side: usize,
    },
    /// Vision transformer for square color images: DINOv2, CLIP, SigLIP or timm's (METHOD.md 3.7).
    Vit(Vit),
    /// Softmax regression: 28×28 gray images, ten logits (METHOD.md 3.6).
    Softmax,
    /// C2F2 as a classifier: 28×28 gray images, ten logits (METHOD.md 3.6).
    C2f2Classifier,
    /// Model of another program, registered by [`Architecture::register`].
    Custom(Registered<Backbone>),
}

/// Implementation of an architecture.
enum Network {
    Convnet(Layers),
    /// Image format, and embedding dimension of a head.
    ResNet18(ImageFormat, Option<usize>),
    /// A network without kernels of its own.
    Expression(Box<dyn Expression>),
    Softmax,
    Custom(Registered<Backbone>),
}

/// Default, smallest and largest side of photographs, in pixels.
const SIDE: usize = 224;
const SHORTEST: usize = 32;
const LONGEST: usize = 1024;
/// Largest embedding dimension of a head.
const LARGEST: usize = 4096;

impl Architecture {
    /// ResNet-18 for 28×28 gray images, without a head.
    pub const RESNET18_OF_28: Self = Self::ResNet18Of28 { head: None };
    /// torchvision's ResNet-18 for 224×224 color images, without a head.
    pub const RESNET18: Self = Self::ResNet18 { side: SIDE, head: None };
    /// timm's `convnext_atto` for 224×224 color images.
    pub const CONVNEXT_ATTO: Self = Self::ConvNext { scale: Scale::Atto, side: SIDE };
    /// timm's `convnext_tiny` for 224×224 color images.
    pub const CONVNEXT_TINY: Self = Self::ConvNext { scale: Scale::Tiny, side: SIDE };

    /// torchvision's ResNet-50 for 224×224 color images.
    pub const RESNET50: Self = Self::ResNet50 { side: SIDE };
    /// torchvision's `mobilenet_v2` for 224×224 color images.
    pub const MOBILENET_V2: Self = Self::MobileNetV2 { naming: Naming::Torchvision, side: SIDE };
    /// timm's `mobilenetv2_100` for 224×224 color images.
    pub const MOBILENETV2_100: Self = Self::MobileNetV2 { naming: Naming::Timm, side: SIDE };

    /// All architectures of this crate, without arguments.
    pub const ALL: [Self; Self::RANKERS.len() + Self::CLASSIFIERS.len()] = joined(&Self::RANKERS, &Self::CLASSIFIERS);
    /// Architectures whose embeddings rank images.
    pub const RANKERS: [Self; 10 + Vit::PRESETS.len()] = {
        let mut vits = [Self::Vit(Vit::PRESETS[0].1); Vit::PRESETS.len()];
        let mut index = 0;
        while index < vits.len() {
            vits[index] = Self::Vit(Vit::PRESETS[index].1);
            index += 1;
        }
        let convolutional = [
            Self::C2f2,
            Self::C2f2Of512,
            Self::LeNet,
            Self::RESNET18_OF_28,
            Self::RESNET18,
            Self::RESNET50,
            Self::MOBILENET_V2,
            Self::MOBILENETV2_100,
            Self::CONVNEXT_ATTO,
            Self::CONVNEXT_TINY,
        ];
        joined(&convolutional, &vits)
    };
    /// Classifiers, whose embeddings are logits, one per class. They rank nothing, and are used with the Euclidean distance,
    /// which does not normalize logits.
    pub const CLASSIFIERS: [Self; 2] = [Self::Softmax, Self::C2f2Classifier];

    /// True if the embeddings are logits.
    pub fn is_classifier(self) -> bool {
        Self::CLASSIFIERS.contains(&self)
    }

    /// True if [`Architecture::initialize`] builds a model to train.
    pub fn is_trainable(self) -> bool {
        match self {
            Self::ConvNext { .. } => false,
            Self::Custom(backbone) => backbone.initialize.is_some(),
            _ => true,
        }
    }

    /// True if tests of this crate compare the gradients with finite differences or with PyTorch's; false for models of other
    /// programs.
    pub fn is_proven(self) -> bool {
        !matches!(self, Self::Custom(_))
    }

    /// Finds an architecture by its name, without arguments. Other spellings are understood: upper case, `_`, a `-` more or less,
    /// and for networks of timm the tag that it puts after a dot (`convnext_atto.d2_in1k`). The name of a kind of vision
    /// transformers (`dinov2`, `clip-vit`, `siglip`, `vit`) stands for its first checkpoint, for a shape in arguments.
    ///
    /// ```
    /// use rankle_models::Architecture;
    ///
    /// for name in ["resnet18", "ResNet18", "resnet-18", "resnet18.a1_in1k"] {
    ///     assert_eq!(Architecture::named(name), Some(Architecture::RESNET18));
    /// }
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        let called = |name: &str| Self::ALL.into_iter().chain(Self::registered()).find(|model| model.is_called(name));
        let of_elsewhere = |model: &Self| {
            use Architecture::{ConvNext, MobileNetV2, ResNet18, ResNet50, Vit};
            matches!(model, ResNet18 { .. } | ResNet50 { .. } | MobileNetV2 { .. } | ConvNext { .. } | Vit(_))
        };
        let tagged = || called(name.split_once('.')?.0).filter(of_elsewhere);
        called(name).or_else(tagged).or_else(|| Vit::of_family(name).map(Self::Vit))
    }

    /// True if `name` is a spelling of the name of this architecture.
    pub(crate) fn is_called(self, name: &str) -> bool {
        let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
        plain(&self.to_string()) == plain(name)
    }

    /// Names of the layers at which training can begin, with all layers in front frozen: see [`Trainable::freeze_below`].
    pub fn stages(self) -> &'static [&'static str] {
        self.expression().map_or(&[], |network| network.stages())
    }

    fn network(self) -> Network {
        match self {
            Self::C2f2 => Network::Convnet(Layers::C2F2),
            Self::C2f2Of512 => Network::Convnet(Layers::C2F2_512),
            Self::LeNet => Network::Convnet(Layers::LENET),
            Self::ResNet18Of28 { head } => Network::ResNet18(ImageFormat::gray28(), head),
            Self::ResNet18 { side, head } => Network::ResNet18(ImageFormat::imagenet_of(side), head),
            Self::ConvNext { scale, side } => without_kernels(ConvNext { scale, format: ImageFormat::imagenet_of(side) }),
            Self::ResNet50 { side } => {
                without_kernels(ResNetExpression { depth: Depth::Fifty, format: ImageFormat::imagenet_of(side), head: None })
            }
            Self::MobileNetV2 { naming, side } => without_kernels(MobileNetV2 { naming, format: ImageFormat::imagenet_of(side) }),
            Self::Vit(vit) => without_kernels(vit),
            Self::Softmax => Network::Softmax,
            Self::C2f2Classifier => Network::Convnet(Layers::C2F2_CLASSIFIER),
            Self::Custom(backbone) => Network::Custom(backbone),
        }
    }

    /// `(channels, height, width)` of the images.
    pub fn input(self) -> (usize, usize, usize) {
        match self.network() {
            Network::Convnet(layers) => layers.input(),
            Network::ResNet18(format, _) => format.input(),
            Network::Expression(network) => network.input().shape,
            Network::Softmax => SoftmaxRegression::INPUT,
            Network::Custom(backbone) => backbone.input.shape,
        }
    }

    /// Shape of the images, and the recommended preparation of photographs, if the model's authors specify one.
    pub fn input_spec(self) -> InputSpec {
        match self.network() {
            Network::Expression(network) => network.input(),
            Network::Custom(backbone) => backbone.input,
            _ => InputSpec::of_shape(self.input()),
        }
    }

    /// Dimension of the embeddings.
    pub fn embedding_size(self) -> usize {
        match self.network() {
            Network::Convnet(layers) => layers.embedding_size(),
            Network::ResNet18(_, head) => head.unwrap_or(ResNet18::EMBEDDING_SIZE),
            Network::Expression(network) => network.embedding_size(),
            Network::Softmax => SoftmaxRegression::CLASSES,
            Network::Custom(backbone) => backbone.embedding_size,
        }
    }

    /// The network as an expression in operations on tensors; `None` for a model of another program.
    pub fn expression(self) -> Option<Box<dyn Expression>> {
        match self.network() {
            Network::Convnet(layers) => Some(Box::new(layers)),
            Network::ResNet18(format, head) => Some(Box::new(ResNetExpression { depth: Depth::Eighteen, format, head })),
            Network::Expression(network) => Some(network),
            Network::Softmax => Some(Box::new(SoftmaxExpression)),
            Network::Custom(_) => None,
        }
    }

    /// Loads a model from a safetensors file, frozen, for attacks and measurement in a compute backend: with the kernels of this
    /// project, or as an expression on a device.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the file when it cannot be read or does not fit.
    pub fn load(self, path: &Path, distance: Distance, place: &Place) -> Result<Box<dyn Embedder>> {
        self.with_weights(path, &weights::read(path)?, distance, place)
    }

    /// Loads a model as [`Architecture::load`], with tensors that were read from `path` before.
    ///
    /// # Errors
    /// As [`Architecture::load`].
    pub fn with_weights(
        self,
        path: &Path,
        tensors: &weights::Tensors,
        distance: Distance,
        place: &Place,
    ) -> Result<Box<dyn Embedder>> {
        let model = match (self.network(), place) {
            (Network::Convnet(layers), Place::Kernels) => Convnet::from_tensors(layers, tensors, distance).map(boxed),
            (Network::ResNet18(format, head), Place::Kernels) => {
                ResNet18::from_tensors(tensors, format, head, distance).map(boxed)
            }
            (Network::Softmax, Place::Kernels) => SoftmaxRegression::from_tensors(tensors).map(boxed),
            (Network::Custom(backbone), _) => (backbone.load)(tensors, distance, place),
            _ => self.tensor_model(tensors, distance, place).map(boxed),
        };
        weights::named(path, model)
    }

    /// The network as an expression, with these weights.
    fn tensor_model(self, tensors: &weights::Tensors, distance: Distance, place: &Place) -> Result<TensorModel> {
        let expression = self.expression().ok_or_else(|| Error::Refused(format!("{self} has no expression")))?;
        TensorModel::new(expression, tensors, distance, place)
    }

    /// Builds a model with random weights, for training in a compute backend (METHOD.md 3). The weights are the same in all.
    ///
    /// # Errors
    /// [`Error::Refused`] for a model that cannot be trained.
    pub fn initialize(self, distance: Distance, seed: Seed, place: &Place) -> Result<Box<dyn Trainable>> {
        let model: Box<dyn Trainable> = match self.network() {
            Network::Convnet(layers) => Box::new(Convnet::initialize(layers, distance, seed)),
            Network::ResNet18(format, head) => Box::new(ResNet18::initialize(format, head, distance, seed)),
            Network::Expression(network) if self.is_trainable() => {
                return Ok(Box::new(TensorModel::initialize(network, distance, seed, place)?));
            }
            Network::Expression(_) => {
                return Err(Error::Refused(format!("{self} cannot be trained here: attack it with weights from elsewhere")));
            }
            Network::Softmax => Box::new(SoftmaxRegression::initialize(seed)),
            Network::Custom(backbone) => match backbone.initialize {
                Some(initialize) => return initialize(distance, seed, place),
                None => {
                    return Err(Error::Refused(format!("{self} cannot be trained here: it was registered without a training")));
                }
            },
        };
        self.moved(model, seed, place)
    }

    /// Moves a model that begins its training from the kernels to the device of a compute backend.
    fn moved(self, model: Box<dyn Trainable>, seed: Seed, place: &Place) -> Result<Box<dyn Trainable>> {
        match place {
            Place::Kernels => Ok(model),
            Place::Tensors(_) => Ok(Box::new(self.tensor_model(&model.parameters()?, model.distance(), place)?.with_seed(seed))),
        }
    }

    /// Loads a model from a safetensors file, for further training. A ResNet-18 with a head accepts a file with another head or
    /// none, and then starts with a random head. `seed` is the seed of the training.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the file when it cannot be read or does not fit; [`Error::Refused`] for a model that cannot be
    /// trained.
    pub fn pretrained(self, path: &Path, distance: Distance, seed: Seed, place: &Place) -> Result<Box<dyn Trainable>> {
        self.pretrained_with(path, weights::read(path)?, distance, seed, place)
    }

    /// Loads a model as [`Architecture::pretrained`], with tensors that were read from `path` before.
    ///
    /// # Errors
    /// As [`Architecture::pretrained`].
    pub fn pretrained_with(
        self,
        path: &Path,
        tensors: weights::Tensors,
        distance: Distance,
        seed: Seed,
        place: &Place,
    ) -> Result<Box<dyn Trainable>> {
        let model = match self.network() {
            Network::ResNet18(format, head) => ResNet18::pretrained(&tensors, format, head, distance, seed)
                .and_then(|model| self.moved(Box::new(model), seed, place)),
            _ => self.resume(distance, seed, tensors, place),
        };
        weights::named(path, model)
    }

    /// Restores a model from a checkpoint, for further training. `seed` is the seed of the training.
    ///
    /// # Errors
    /// [`Error::Refused`] when the checkpoint does not fit.
    pub fn resume(self, distance: Distance, seed: Seed, state: weights::Tensors, place: &Place) -> Result<Box<dyn Trainable>> {
        if let Network::Expression(network) = self.network()
            && self.is_trainable()
        {
            return Ok(Box::new(TensorModel::resume(network, state, distance, place)?.with_seed(seed)));
        }
        let mut model = self.initialize(distance, seed, place)?;
        model.restore(state)?;
        Ok(model)
    }

    /// Adds an argument, such as `size=112` or `embedding-size=128`. `embedding-size` can be given only once.
    ///
    /// # Errors
    /// [`Error::Refused`] for an argument that the architecture does not take.
    pub fn with(self, argument: &str) -> Result<Self> {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        let refused = || Error::Refused(format!("model '{self}' takes no '{argument}'{}", self.arguments()));
        match (self, key, value.parse()) {
            (Self::ResNet18Of28 { head: None }, "embedding-size", Ok(size @ 1..=LARGEST)) => {
                Ok(Self::ResNet18Of28 { head: Some(size) })
            }
            (Self::ResNet18 { side, head: None }, "embedding-size", Ok(size @ 1..=LARGEST)) => {
                Ok(Self::ResNet18 { side, head: Some(size) })
            }
            (Self::ResNet18 { head, .. }, "size", Ok(side @ SHORTEST..=LONGEST)) => Ok(Self::ResNet18 { side, head }),
            (Self::ResNet50 { .. }, "size", Ok(side @ SHORTEST..=LONGEST)) => Ok(Self::ResNet50 { side }),
            (Self::MobileNetV2 { naming, .. }, "size", Ok(side @ SHORTEST..=LONGEST)) => Ok(Self::MobileNetV2 { naming, side }),
            (Self::ConvNext { scale, .. }, "size", Ok(side @ Scale::SMALLEST_SIDE..=LONGEST))
                if side.is_multiple_of(Scale::STEP) =>
            {
                Ok(Self::ConvNext { scale, side })
            }
            (Self::Vit(vit), ..) => vit.with(key, value).map(Self::Vit).ok_or_else(refused),
            _ => Err(refused()),
        }
    }

    /// Arguments that [`Architecture::with`] takes, as the end of an error message.
    fn arguments(self) -> String {
        let size = format!("size=N, of {SHORTEST} to {LONGEST} pixels");
        let head = format!("embedding-size=N, of 1 to {LARGEST} numbers");
        match self {
            Self::ResNet18Of28 { head: None } => format!("; it takes {head}"),
            Self::ResNet18 { head: None, .. } => format!("; it takes {size}, and {head}"),
            Self::ResNet18 { .. } | Self::ResNet50 { .. } | Self::MobileNetV2 { .. } => format!("; it takes {size}"),
            Self::Vit(vit) => vit.arguments(),
            Self::ConvNext { .. } => {
                let (least, step) = (Scale::SMALLEST_SIDE, Scale::STEP);
                format!("; it takes size=N, of {least} to {LONGEST} pixels, a multiple of {step}")
            }
            _ => String::new(),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::C2f2 => "c2f2",
            Self::C2f2Of512 => "c2f2-512",
            Self::LeNet => "lenet",
            Self::ResNet18Of28 { .. } => "resnet18-28",
            Self::ResNet18 { .. } => "resnet18",
            Self::ResNet50 { .. } => "resnet50",
            Self::MobileNetV2 { naming: Naming::Torchvision, .. } => "mobilenet-v2",
            Self::MobileNetV2 { naming: Naming::Timm, .. } => "mobilenetv2-100",
            Self::Vit(vit) => return vit.fmt(f),
            Self::ConvNext { scale: Scale::Atto, .. } => "convnext-atto",
            Self::ConvNext { scale: Scale::Tiny, .. } => "convnext-tiny",
            Self::Softmax => "softmax",
            Self::C2f2Classifier => "c2f2-classifier",
            Self::Custom(backbone) => backbone.name,
        })?;
        let (side, head) = match *self {
            Self::ResNet18 { side, head } => (Some(side), head),
            Self::ResNet18Of28 { head } => (None, head),
            Self::ResNet50 { side } | Self::MobileNetV2 { side, .. } | Self::ConvNext { side, .. } => (Some(side), None),
            _ => (None, None),
        };
        if let Some(side) = side.filter(|&side| side != SIDE) {
            write!(f, ",size={side}")?;
        }
        head.map_or(Ok(()), |size| write!(f, ",embedding-size={size}"))
    }
}

impl FromStr for Architecture {
    type Err = Error;
    /// Parses a name as [`Architecture::named`] does, and its arguments after commas.
    fn from_str(name: &str) -> Result<Self> {
        let mut parts = name.split(',');
        let plain = parts.next().unwrap_or_default();
        let known = || Self::ALL.into_iter().chain(Self::registered()).map(|model| model.to_string());
        let model = Self::named(plain).ok_or_else(|| Error::Unknown {
            what: "model",
            name: plain.into(),
            known: known().collect::<Vec<_>>().join(", "),
        })?;
        match parts.try_fold(model, Self::with)? {
            Self::Vit(vit) => vit.checked().map(Self::Vit),
            model => Ok(model),
        }
    }
}

fn without_kernels(network: impl Expression + 'static) -> Network {
    Network::Expression(Box::new(network))
}

/// Two lists one after the other, `N` in all.
const fn joined<const N: usize>(first: &[Architecture], second: &[Architecture]) -> [Architecture; N] {
    let mut all = [Architecture::C2f2; N];
    let mut index = 0;
    while index < N {
        all[index] = if index < first.len() { first[index] } else { second[index - first.len()] };
        index += 1;
    }
    all
}

fn boxed(model: impl Embedder + 'static) -> Box<dyn Embedder> {
    Box::new(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for model in Architecture::ALL {
            assert_eq!(model.to_string().parse::<Architecture>().unwrap(), model);
        }
        for name in [
            "resnet18,size=112",
            "resnet18,size=96,embedding-size=128",
            "resnet18,embedding-size=1",
            "resnet18-28,embedding-size=64",
            "convnext-atto,size=64",
            "convnext-tiny,size=96",
            "resnet50,size=128",
            "mobilenet-v2,size=192",
            "mobilenetv2-100,size=32",
        ] {
            assert_eq!(name.parse::<Architecture>().unwrap().to_string(), name);
        }
        let atto: Architecture = "convnext-atto,size=64".parse().unwrap();
        assert_eq!((atto.input(), atto.embedding_size()), ((3, 64, 64), 320));
        assert_eq!("resnet18,size=224".parse::<Architecture>().unwrap(), Architecture::RESNET18);
        let small: Architecture = "resnet18,embedding-size=128,size=112".parse().unwrap();
        assert_eq!((small.input(), small.embedding_size()), ((3, 112, 112), 128));
    }

    #[test]
    fn arguments_that_do_not_fit_are_named() {
        let says = |name: &str| name.parse::<Architecture>().unwrap_err().to_string();
        let resnet = "; it takes size=N, of 32 to 1024 pixels, and embedding-size=N, of 1 to 4096 numbers";
        assert_eq!(says("resnet18,size=31"), format!("model 'resnet18' takes no 'size=31'{resnet}"));
        let twice = "model 'resnet18,embedding-size=9' takes no 'embedding-size=9'; it takes size=N, of 32 to 1024 pixels";
        assert_eq!(says("resnet18,embedding-size=9,embedding-size=9"), twice);
        assert_eq!(says("resnet18,width=64"), format!("model 'resnet18' takes no 'width=64'{resnet}"));
        assert_eq!(says("resnet18,embedding-size=0"), format!("model 'resnet18' takes no 'embedding-size=0'{resnet}"));
        let small = "model 'resnet18-28' takes no 'size=32'; it takes embedding-size=N, of 1 to 4096 numbers";
        assert_eq!(says("resnet18-28,size=32"), small);
        assert_eq!(
            says("convnext-tiny,embedding-size=9").split(';').next(),
            Some("model 'convnext-tiny' takes no 'embedding-size=9'")
        );
        assert_eq!(says("c2f2,size=32"), "model 'c2f2' takes no 'size=32'");
        for side in ["31", "65", "1056", "", "-64", "64.0"] {
            let message = says(&format!("convnext-atto,size={side}"));
            assert!(
                message.contains(&format!("takes no 'size={side}'; it takes size=N, of 32 to 1024 pixels, a multiple of 32"))
            );
        }
        let unknown = says("resnet,size=64");
        assert!(unknown.starts_with("unknown model 'resnet'; known: c2f2, ") && unknown.contains("convnext-tiny"), "{unknown}");
    }

    #[test]
    #[rustfmt::skip] // keeps the columns aligned
    fn spellings_of_elsewhere_are_understood() {
        for (spelled, name) in [
            ("convnext_atto",               Some("convnext-atto")),
            ("convnext_tiny.in12k_ft_in1k", Some("convnext-tiny")),
            ("ResNet18,size=112",           Some("resnet18,size=112")),
            ("resnet-18",                   Some("resnet18")),
            ("ResNet_18_28",                Some("resnet18-28")),
            ("C2F2-classifier",             Some("c2f2-classifier")),
            ("c2f2.best",                   None),
            ("resnet18d",                   None),
            ("resnet50.a1_in1k",            Some("resnet50")),
            ("mobilenet_v2",                Some("mobilenet-v2")),
            ("mobilenetv2_100.ra_in1k",     Some("mobilenetv2-100")),
            ("resnet101",                   None),
            ("",                            None),
        ] {
            let found = spelled.parse::<Architecture>().map(|model| model.to_string());
            assert_eq!(found.ok().as_deref(), name, "{spelled}");
        }
    }
}
