//! The messages of `onnx.proto3`, as far as models need them. They borrow from the file.

use crate::wire::{Fields, Value, varint};
use candle_core::{Result, bail};

/// Nodes, initializers, inputs and outputs of a graph: at most so many each. An empty message takes two bytes of a file and a
/// hundred of memory.
const MOST: usize = 1 << 16;

/// Most integers of a constant that are stored in as many bytes as each needs: two gigabytes in memory.
const MOST_INTEGERS: usize = 1 << 28;

/// A message.
pub(crate) trait Message<'a>: Default {
    /// Takes in a field. Unknown ones are skipped.
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()>;

    fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut message = Self::default();
        for field in Fields::new(bytes) {
            let (number, value) = field?;
            message.field(number, value)?;
        }
        Ok(message)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Model<'a> {
    pub(crate) producer: &'a str,
    /// Domain and version of each operator set.
    pub(crate) opsets: Vec<(&'a str, i64)>,
    pub(crate) graph: Option<Graph<'a>>,
}

impl<'a> Message<'a> for Model<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            2 => self.producer = text(value)?,
            7 => self.graph = Some(Graph::read(bytes(value)?)?),
            8 => {
                let opset = Opset::read(bytes(value)?)?;
                push(&mut self.opsets, (opset.domain, opset.version))?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Opset<'a> {
    domain: &'a str,
    version: i64,
}

impl<'a> Message<'a> for Opset<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            1 => self.domain = text(value)?,
            2 => self.version = integer(value)?,
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    /// Names and messages of the constants, read with [`Tensor::read`] when they are needed.
    pub(crate) initializers: Vec<(&'a str, &'a [u8])>,
    pub(crate) inputs: Vec<ValueInfo<'a>>,
    pub(crate) outputs: Vec<ValueInfo<'a>>,
}

impl<'a> Message<'a> for Graph<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            1 => push(&mut self.nodes, Node::read(bytes(value)?)?),
            5 => {
                let message = bytes(value)?;
                push(&mut self.initializers, (Name::read(message)?.name, message))
            }
            11 => push(&mut self.inputs, ValueInfo::read(bytes(value)?)?),
            12 => push(&mut self.outputs, ValueInfo::read(bytes(value)?)?),
            15 => bail!("it holds sparse initializers, which are not read: export dense ones"),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) operator: &'a str,
    pub(crate) domain: &'a str,
    /// Messages of the attributes, read with [`Attribute::read`] when the node is needed.
    pub(crate) attributes: Vec<&'a [u8]>,
}

impl<'a> Message<'a> for Node<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            1 => push(&mut self.inputs, text(value)?)?,
            2 => push(&mut self.outputs, text(value)?)?,
            3 => self.name = text(value)?,
            4 => self.operator = text(value)?,
            5 => push(&mut self.attributes, bytes(value)?)?,
            7 => self.domain = text(value)?,
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    pub(crate) float: f32,
    pub(crate) int: i64,
    pub(crate) string: &'a [u8],
    pub(crate) tensor: Option<Tensor<'a>>,
    pub(crate) floats: Vec<f32>,
    pub(crate) ints: Vec<i64>,
    /// `AttributeProto.AttributeType`: which of the fields counts.
    pub(crate) kind: i64,
}

impl<'a> Message<'a> for Attribute<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            1 => self.name = text(value)?,
            2 => self.float = single(value)?,
            3 => self.int = integer(value)?,
            4 => self.string = bytes(value)?,
            5 => self.tensor = Some(Tensor::read(bytes(value)?)?),
            7 => singles(value, &mut self.floats)?,
            8 => integers(value, &mut self.ints, MOST)?,
            20 => self.kind = integer(value)?,
            _ => {}
        }
        Ok(())
    }
}

/// The name of a constant, and nothing else of it.
#[derive(Debug, Default)]
struct Name<'a> {
    name: &'a str,
}

impl<'a> Message<'a> for Name<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        if number == 8 {
            self.name = text(value)?;
        }
        Ok(())
    }
}

/// A constant. Its numbers are in one of the fields, or in another file.
#[derive(Debug, Default)]
pub(crate) struct Tensor<'a> {
    pub(crate) dims: Vec<i64>,
    /// `TensorProto.DataType`
    pub(crate) kind: i64,
    pub(crate) raw: Option<&'a [u8]>,
    pub(crate) floats: Vec<f32>,
    pub(crate) doubles: Vec<f64>,
    /// Of all the types of integers, halves and booleans.
    pub(crate) ints: Vec<i64>,
    /// Keys and values that say where in which file.
    pub(crate) external: Vec<(&'a str, &'a str)>,
    pub(crate) is_external: bool,
}

impl<'a> Message<'a> for Tensor<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            1 => integers(value, &mut self.dims, MOST)?,
            2 => self.kind = integer(value)?,
            4 => singles(value, &mut self.floats)?,
            5 | 7 | 11 => integers(value, &mut self.ints, MOST_INTEGERS)?,
            9 => self.raw = Some(bytes(value)?),
            10 => doubles(value, &mut self.doubles)?,
            13 => {
                let entry = Entry::read(bytes(value)?)?;
                push(&mut self.external, (entry.key, entry.value))?;
            }
            14 => self.is_external = integer(value)? == 1,
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Entry<'a> {
    key: &'a str,
    value: &'a str,
}

impl<'a> Message<'a> for Entry<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            1 => self.key = text(value)?,
            2 => self.value = text(value)?,
            _ => {}
        }
        Ok(())
    }
}

/// Name and type of an input or an output.
#[derive(Debug, Default)]
pub(crate) struct ValueInfo<'a> {
    pub(crate) name: &'a str,
    kind: Type,
}

impl ValueInfo<'_> {
    /// `TensorProto.DataType`; 0 for what is no tensor.
    pub(crate) fn kind(&self) -> i64 {
        self.kind.tensor.kind
    }

    /// Lengths of the dimensions, `None` for one that is open; `None` if the number of dimensions is open.
    pub(crate) fn dims(&self) -> Option<&[Option<i64>]> {
        self.kind.tensor.shape.as_ref().map(|shape| shape.dims.as_slice())
    }
}

impl<'a> Message<'a> for ValueInfo<'a> {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            1 => self.name = text(value)?,
            2 => self.kind = Type::read(bytes(value)?)?,
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Type {
    tensor: TensorType,
}

impl<'a> Message<'a> for Type {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        if number == 1 {
            self.tensor = TensorType::read(bytes(value)?)?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct TensorType {
    kind: i64,
    shape: Option<Shape>,
}

impl<'a> Message<'a> for TensorType {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        match number {
            1 => self.kind = integer(value)?,
            2 => self.shape = Some(Shape::read(bytes(value)?)?),
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Shape {
    dims: Vec<Option<i64>>,
}

impl<'a> Message<'a> for Shape {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        if number == 1 {
            push(&mut self.dims, Dimension::read(bytes(value)?)?.len)?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Dimension {
    len: Option<i64>,
}

impl<'a> Message<'a> for Dimension {
    fn field(&mut self, number: u64, value: Value<'a>) -> Result<()> {
        if number == 1 {
            self.len = Some(integer(value)?);
        }
        Ok(())
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<()> {
    push_up_to(list, item, MOST)
}

fn push_up_to<T>(list: &mut Vec<T>, item: T, most: usize) -> Result<()> {
    if list.len() == most {
        bail!("a list of more than {most} entries: this is no model of images")
    }
    list.push(item);
    Ok(())
}

fn bytes(value: Value<'_>) -> Result<&[u8]> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => bail!("a number where a text or a message is needed: the file is damaged or no ONNX file"),
    }
}

fn text(value: Value<'_>) -> Result<&str> {
    match std::str::from_utf8(bytes(value)?) {
        Ok(text) => Ok(text),
        Err(_) => bail!("a name that is not UTF-8: the file is damaged or no ONNX file"),
    }
}

fn integer(value: Value<'_>) -> Result<i64> {
    match value {
        // Negative numbers are stored in two's complement.
        Value::Varint(number) => Ok(number as i64),
        _ => bail!("a field of another kind where an integer is needed: the file is damaged or no ONNX file"),
    }
}

fn single(value: Value<'_>) -> Result<f32> {
    match value {
        Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
        _ => bail!("a field of another kind where a number is needed: the file is damaged or no ONNX file"),
    }
}

/// Adds one integer, or packed ones, to at most `most`.
fn integers(value: Value<'_>, to: &mut Vec<i64>, most: usize) -> Result<()> {
    let Value::Bytes(mut bytes) = value else { return push_up_to(to, integer(value)?, most) };
    while !bytes.is_empty() {
        push_up_to(to, varint(&mut bytes)? as i64, most)?;
    }
    Ok(())
}

/// Adds one number, or packed ones.
fn singles(value: Value<'_>, to: &mut Vec<f32>) -> Result<()> {
    let Value::Bytes(bytes) = value else {
        to.push(single(value)?);
        return Ok(());
    };
    match bytes.as_chunks() {
        (numbers, []) => to.extend(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes))),
        _ => bail!("{} bytes of numbers of four: the file is damaged or no ONNX file", bytes.len()),
    }
    Ok(())
}

/// Adds one number of double precision, or packed ones.
fn doubles(value: Value<'_>, to: &mut Vec<f64>) -> Result<()> {
    match value {
        Value::Fixed64(bytes) => to.push(f64::from_le_bytes(bytes)),
        Value::Bytes(bytes) => match bytes.as_chunks() {
            (numbers, []) => to.extend(numbers.iter().map(|&bytes| f64::from_le_bytes(bytes))),
            _ => bail!("{} bytes of numbers of eight: the file is damaged or no ONNX file", bytes.len()),
        },
        _ => bail!("a field of another kind where a number is needed: the file is damaged or no ONNX file"),
    }
    Ok(())
}
