//! Nodes of a graph.

use crate::constant::constant;
use crate::external::Folder;
use crate::proto::{self, Message};
use candle_core::{Device, Result, Tensor, bail};
use std::collections::BTreeMap;

/// Index of a value of the graph: the images, a constant, or a result of a node.
pub(crate) type Slot = usize;

/// A node: an operator with its attributes, and the values it takes and gives.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// For messages.
    pub(crate) name: String,
    /// With its domain before a colon, if that is not ONNX's own.
    pub(crate) operator: String,
    /// `None` for one that is left out.
    pub(crate) inputs: Vec<Option<Slot>>,
    /// `None` for one that nobody asks for.
    pub(crate) outputs: Vec<Option<Slot>>,
    pub(crate) attributes: BTreeMap<String, Attribute>,
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Float(f32),
    Int(i64),
    Text(String),
    Tensor(Tensor),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// A graph, a list of texts, a type: no operator here has one.
    Other,
}

impl Attribute {
    fn new(attribute: &proto::Attribute<'_>, folder: &Folder, device: &Device) -> Result<Self> {
        Ok(match (attribute.kind, &attribute.tensor) {
            (1, _) => Self::Float(attribute.float),
            (2, _) => Self::Int(attribute.int),
            (3, _) => Self::Text(String::from_utf8_lossy(attribute.string).into_owned()),
            (4, Some(tensor)) => Self::Tensor(constant(tensor, folder, device)?),
            (6, _) => Self::Floats(attribute.floats.clone()),
            (7, _) => Self::Ints(attribute.ints.clone()),
            _ => Self::Other,
        })
    }
}

/// The operator of a node, with its domain before a colon if that is not ONNX's own.
pub(crate) fn operator(node: &proto::Node<'_>) -> String {
    match node.domain {
        "" | "ai.onnx" => node.operator.to_owned(),
        domain => format!("{domain}:{}", node.operator),
    }
}

/// The name of a node, for messages: that of its first result where it has none.
pub(crate) fn name<'a>(node: &proto::Node<'a>) -> &'a str {
    if node.name.is_empty() { node.outputs.first().copied().unwrap_or_default() } else { node.name }
}

/// The attributes of a node.
pub(crate) fn attributes(node: &proto::Node<'_>, folder: &Folder, device: &Device) -> Result<BTreeMap<String, Attribute>> {
    let read = |message: &&[u8]| {
        let attribute = proto::Attribute::read(message)?;
        Ok((attribute.name.to_owned(), Attribute::new(&attribute, folder, device)?))
    };
    node.attributes.iter().map(read).collect()
}

impl Node {
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(_) => bail!("its attribute '{name}' is no integer"),
        }
    }

    pub(crate) fn float(&self, name: &str) -> Result<Option<f64>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Float(value)) => Ok(Some(f64::from(*value))),
            Some(_) => bail!("its attribute '{name}' is no number"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Text(value)) => Ok(Some(value)),
            Some(_) => bail!("its attribute '{name}' is no text"),
        }
    }

    pub(crate) fn ints(&self, name: &str) -> Result<Option<&[i64]>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(_) => bail!("its attribute '{name}' is no list of integers"),
        }
    }

    /// True if an attribute is there and not 0.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.int(name)?.map_or(default, |value| value != 0))
    }
}
