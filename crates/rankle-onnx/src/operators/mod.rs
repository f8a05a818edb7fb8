//! The operators of ONNX, each as a function of tensors.
//!
//! Numbers with a gradient are f32 on the device of the model. Integers are i64 on the host, where shapes are computed; truth
//! values are u8, on the host or the device.

mod activation;
mod arithmetic;
mod constants;
mod conv;
mod einsum;
mod layout;
mod logic;
mod norm;
mod pool;
mod products;
mod reduce;
mod resize;
mod slicing;
#[cfg(test)]
mod tests;
mod windows;

use crate::node::{Attribute, Node, Slot};
use candle_core::{DType, Device, Result, Tensor, bail};
use std::collections::HashMap;

/// A node's function: its inputs to its outputs.
pub(crate) type Operator = Box<dyn Fn(&Inputs<'_>) -> Result<Vec<Tensor>> + Send + Sync>;

type Builder = fn(&Build<'_>) -> Result<Operator>;

/// Operators of ONNX, in the order of their names.
#[rustfmt::skip]
const TABLE: &[(&str, Builder)] = &[
    ("Abs", arithmetic::abs),
    ("Add", arithmetic::add),
    ("And", logic::and),
    ("AveragePool", pool::average),
    ("BatchNormalization", norm::batch),
    ("Cast", constants::cast),
    ("CastLike", constants::cast_like),
    ("Ceil", arithmetic::ceil),
    ("Clip", activation::clip),
    ("Concat", slicing::concat),
    ("Constant", constants::constant),
    ("ConstantOfShape", constants::constant_of_shape),
    ("Conv", conv::conv),
    ("Cos", arithmetic::cos),
    ("CumSum", constants::cumulative_sum),
    ("DepthToSpace", layout::depth_to_space),
    ("Div", arithmetic::div),
    ("Dropout", layout::identity),
    ("Einsum", einsum::einsum),
    ("Elu", activation::elu),
    ("Equal", logic::equal),
    ("Erf", activation::erf),
    ("Exp", arithmetic::exp),
    ("Expand", slicing::expand),
    ("Flatten", layout::flatten),
    ("Floor", arithmetic::floor),
    ("Gather", slicing::gather),
    ("Gelu", activation::gelu),
    ("Gemm", products::gemm),
    ("GlobalAveragePool", pool::global_average),
    ("GlobalMaxPool", pool::global_max),
    ("Greater", logic::greater),
    ("GreaterOrEqual", logic::greater_or_equal),
    ("GroupNormalization", norm::group),
    ("HardSigmoid", activation::hard_sigmoid),
    ("HardSwish", activation::hard_swish),
    ("Identity", layout::identity),
    ("InstanceNormalization", norm::instance),
    ("IsNaN", logic::is_nan),
    ("LayerNormalization", norm::layer),
    ("LeakyRelu", activation::leaky_relu),
    ("Less", logic::less),
    ("LessOrEqual", logic::less_or_equal),
    ("Log", arithmetic::log),
    ("LogSoftmax", activation::log_softmax),
    ("LpNormalization", norm::lp),
    ("MatMul", products::matmul),
    ("Max", arithmetic::max),
    ("MaxPool", pool::max),
    ("Mean", arithmetic::mean),
    ("Min", arithmetic::min),
    ("Mish", activation::mish),
    ("Mod", arithmetic::modulo),
    ("Mul", arithmetic::mul),
    ("Neg", arithmetic::neg),
    ("Not", logic::not),
    ("Or", logic::or),
    ("PRelu", activation::prelu),
    ("Pad", slicing::pad),
    ("Pow", arithmetic::pow),
    ("Range", constants::range),
    ("Reciprocal", arithmetic::reciprocal),
    ("ReduceL1", reduce::l1),
    ("ReduceL2", reduce::l2),
    ("ReduceMax", reduce::max),
    ("ReduceMean", reduce::mean),
    ("ReduceMin", reduce::min),
    ("ReduceProd", reduce::prod),
    ("ReduceSum", reduce::sum),
    ("ReduceSumSquare", reduce::sum_square),
    ("Relu", activation::relu),
    ("Reshape", layout::reshape),
    ("Resize", resize::resize),
    ("Round", arithmetic::round),
    ("ScatterND", slicing::scatter),
    ("Selu", activation::selu),
    ("Shape", layout::shape),
    ("Sigmoid", activation::sigmoid),
    ("Sign", arithmetic::sign),
    ("Sin", arithmetic::sin),
    ("Size", layout::size),
    ("Slice", slicing::slice),
    ("Softmax", activation::softmax),
    ("Softplus", activation::softplus),
    ("SpaceToDepth", layout::space_to_depth),
    ("Split", slicing::split),
    ("Sqrt", arithmetic::sqrt),
    ("Squeeze", layout::squeeze),
    ("Sub", arithmetic::sub),
    ("Sum", arithmetic::sum),
    ("Tanh", activation::tanh),
    ("Tile", slicing::tile),
    ("Transpose", layout::transpose),
    ("Unsqueeze", layout::unsqueeze),
    ("Where", logic::choose),
    ("Xor", logic::xor),
];

/// Operators that no file names: what several nodes become when they are fused.
const FUSED: &[(&str, Builder)] =
    &[(ATTENTION, products::attention), (CLIPPED_CONV, conv::clipped), (LINEAR, products::linear), (SILU, activation::silu)];

/// `softmax(scale * q · kᵀ) · v` of `q` `(n, heads, tokens, d)`, `kᵀ` `(n, heads, d, others)` and `v` `(n, heads, others, e)`, with the
/// attribute [`SCALE`].
pub(crate) const ATTENTION: &str = "rankle:Attention";
pub(crate) const SCALE: &str = "scale";
/// `Conv` and a `Clip` between its attributes of the names [`BOUNDS`].
pub(crate) const CLIPPED_CONV: &str = "rankle:ClippedConv";
pub(crate) const BOUNDS: [&str; 2] = ["low", "high"];
/// `x · weightᵀ + bias`
pub(crate) const LINEAR: &str = "rankle:Linear";
/// `x * sigmoid(x)`
pub(crate) const SILU: &str = "rankle:Silu";

/// Names of the operators of ONNX that are implemented.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// True if a file may use the operator.
pub(crate) fn is_known(operator: &str) -> bool {
    TABLE.binary_search_by_key(&operator, |(name, _)| name).is_ok()
}

/// True if an operator looks at the shape of its input alone.
pub(crate) fn sees_shapes_only(operator: &str) -> bool {
    matches!(operator, "Shape" | "Size")
}

/// The function of a node.
///
/// # Errors
/// An operator, an attribute or a constant that is not implemented.
pub(crate) fn build(build: &Build<'_>) -> Result<Operator> {
    let operator = build.node.operator.as_str();
    match TABLE.iter().chain(FUSED).find(|(name, _)| *name == operator) {
        Some((_, builder)) => builder(build),
        None => bail!("the operator is not implemented"),
    }
}

/// What the function of a node is made of.
pub(crate) struct Build<'a> {
    pub(crate) node: &'a Node,
    pub(crate) opset: i64,
    /// The values that do not depend on the pixels.
    pub(crate) constants: &'a HashMap<Slot, Tensor>,
    pub(crate) device: &'a Device,
}

impl Build<'_> {
    /// The value of an input that does not depend on the pixels; `None` if the node does not have the input.
    ///
    /// # Errors
    /// An input that depends on the pixels.
    fn constant(&self, input: usize) -> Result<Option<&Tensor>> {
        let Some(Some(slot)) = self.node.inputs.get(input) else { return Ok(None) };
        match self.constants.get(slot) {
            Some(tensor) => Ok(Some(tensor)),
            None => bail!("its input {input} depends on the pixels, where a constant is needed"),
        }
    }

    /// A constant number.
    fn number(&self, input: usize) -> Result<Option<f64>> {
        let Some(tensor) = self.constant(input)? else { return Ok(None) };
        match tensor.elem_count() {
            1 => Ok(Some(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?[0].into())),
            // Some exporters leave an input out by an empty one.
            0 => Ok(None),
            _ => bail!("its input {input} of shape {:?} where one number is needed", tensor.shape()),
        }
    }

    /// Constant integers.
    fn integers(&self, input: usize) -> Result<Option<Vec<i64>>> {
        self.constant(input)?.map(integers).transpose()
    }

    /// Constant integers of an attribute, or in later versions of an input.
    fn integers_of(&self, attribute: &str, input: usize) -> Result<Option<Vec<i64>>> {
        match self.node.ints(attribute)? {
            Some(values) => Ok(Some(values.to_vec())),
            None => self.integers(input),
        }
    }

    fn tensor(&self, attribute: &str) -> Result<Option<&Tensor>> {
        match self.node.attributes.get(attribute) {
            None => Ok(None),
            Some(Attribute::Tensor(tensor)) => Ok(Some(tensor)),
            Some(_) => bail!("its attribute '{attribute}' is no tensor"),
        }
    }
}

/// The inputs of a node when it runs.
pub(crate) struct Inputs<'a> {
    pub(crate) values: &'a [Option<&'a Tensor>],
    /// Most elements that a result may have.
    pub(crate) limit: usize,
}

impl<'a> Inputs<'a> {
    fn optional(&self, input: usize) -> Option<&'a Tensor> {
        self.values.get(input).copied().flatten()
    }

    fn get(&self, input: usize) -> Result<&'a Tensor> {
        match self.optional(input) {
            Some(tensor) => Ok(tensor),
            None => bail!("its input {input} is missing"),
        }
    }

    /// An input of numbers with a gradient.
    fn floats(&self, input: usize) -> Result<&'a Tensor> {
        let tensor = self.get(input)?;
        match tensor.dtype() {
            DType::F32 => Ok(tensor),
            _ => bail!("its input {input} holds integers, where numbers with a gradient are needed"),
        }
    }

    fn optional_floats(&self, input: usize) -> Result<Option<&'a Tensor>> {
        self.optional(input).map(|_| self.floats(input)).transpose()
    }

    /// Refuses a result of more elements than there is room for. Lengths beside one of 0 count, too: strides are their products.
    fn room(&self, dims: &[usize]) -> Result<()> {
        let count = dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim.max(1)));
        if count.is_none_or(|count| count > self.limit) {
            bail!("a result of shape {dims:?}, where there is room for {} numbers", self.limit)
        }
        Ok(())
    }
}

/// The integers of a tensor on the host, in row-major order.
fn integers(tensor: &Tensor) -> Result<Vec<i64>> {
    match tensor.dtype() {
        DType::I64 => tensor.flatten_all()?.to_vec1(),
        DType::U8 => Ok(tensor.flatten_all()?.to_vec1::<u8>()?.into_iter().map(i64::from).collect()),
        _ => bail!("an input of shape {:?} of numbers, where integers are needed", tensor.shape()),
    }
}

/// An operator with one output.
fn one(function: impl Fn(&Inputs<'_>) -> Result<Tensor> + Send + Sync + 'static) -> Result<Operator> {
    Ok(Box::new(move |inputs| Ok(vec![function(inputs)?])))
}

/// An operator of its first input, which has a gradient.
fn of_floats(function: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Result<Operator> {
    one(move |inputs| function(inputs.floats(0)?))
}

/// Index of an axis among `rank`; negative ones count from the end.
fn axis(axis: i64, rank: usize) -> Result<usize> {
    let positive = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match positive.and_then(|axis| usize::try_from(axis).ok()) {
        Some(axis) if axis < rank => Ok(axis),
        _ => bail!("axis {axis} of {rank} dimensions"),
    }
}

/// Indices of axes among `rank`, sorted.
fn axes(given: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut axes = given.iter().map(|&given| axis(given, rank)).collect::<Result<Vec<_>>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|pair| pair[0] == pair[1]) {
        bail!("axes {given:?}, one of them twice")
    }
    Ok(axes)
}

/// Two shapes broadcast, as in NumPy.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let length = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    (0..rank)
        .map(|axis| match (length(a, axis), length(b, axis)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => bail!("shapes {a:?} and {b:?} do not fit"),
        })
        .collect()
}

/// Tensors on the device of the one that is not on the host.
fn together<'t>(tensors: &[&'t Tensor]) -> Result<Vec<std::borrow::Cow<'t, Tensor>>> {
    let device = tensors.iter().map(|tensor| tensor.device()).find(|device| !device.is_cpu());
    let moved = |tensor: &&'t Tensor| match device {
        Some(device) if tensor.device().is_cpu() => Ok(std::borrow::Cow::Owned(tensor.to_device(device)?)),
        _ => Ok(std::borrow::Cow::Borrowed(*tensor)),
    };
    tensors.iter().map(moved).collect()
}

#[cfg(test)]
mod order {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.is_sorted_by(|(a, _), (b, _)| a < b), "{:?}", names().collect::<Vec<_>>());
        assert!(is_known("Where") && is_known("Abs") && !is_known("If") && !is_known(LINEAR));
    }

    #[test]
    fn axes_count_from_both_ends() {
        assert_eq!(axes(&[-1, 0], 3).unwrap(), [0, 2]);
        for wrong in [&[3][..], &[-4], &[0, -3], &[i64::MIN], &[i64::MAX]] {
            assert!(axes(wrong, 3).is_err(), "{wrong:?}");
        }
        assert_eq!(broadcast(&[3, 1], &[2, 1, 4]).unwrap(), [2, 3, 4]);
        assert!(broadcast(&[3], &[2]).is_err());
    }
}
