//! The part of a file's graph that a result needs.

use crate::constant::{self, constant};
use crate::external::Folder;
use crate::node::{self, Node, Slot};
use crate::operators;
use crate::proto::{self, Message};
use candle_core::{Device, Result, Tensor, bail};
use std::collections::{BTreeMap, HashMap};

/// Versions of ONNX's operator set whose operators are known.
const OPSETS: std::ops::RangeInclusive<i64> = 11..=23;

/// Nodes in the order of the file, each after those that it needs, and the constants.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) constants: HashMap<Slot, Tensor>,
    /// The images.
    pub(crate) input: Slot,
    /// Lengths of the images' dimensions, `None` for one that is open; `None` if their number is open.
    pub(crate) input_dims: Option<Vec<Option<usize>>>,
    pub(crate) output: Slot,
    /// Names of the values.
    pub(crate) names: Vec<String>,
    /// Version of ONNX's operator set.
    pub(crate) opset: i64,
}

impl Graph {
    /// Reads the part of a file that `output` needs, or its only output.
    ///
    /// # Errors
    /// What is damaged, missing or not known, in one line.
    pub(crate) fn read(file: &[u8], folder: &Folder, output: Option<&str>, device: &Device) -> Result<Self> {
        let model = proto::Model::read(file)?;
        let Some(graph) = &model.graph else { bail!("it holds no graph: no ONNX file") };
        let opset = opset(&model)?;
        let output = chosen(graph, output)?;
        let producers = producers(graph)?;
        let mut initializers = HashMap::new();
        if let Some((name, _)) = graph.initializers.iter().find(|(name, message)| initializers.insert(*name, *message).is_some())
        {
            bail!("it holds two constants named '{name}'")
        }
        let given = graph.inputs.iter().map(|input| (input.name, input)).collect::<HashMap<_, _>>();
        let needed = needed(graph, &producers, output);
        known(&needed)?;

        let mut slots = Slots::default();
        let mut constants = HashMap::new();
        let mut inputs = BTreeMap::new();
        let mut nodes = Vec::with_capacity(needed.len());
        let mut visit = |name: &str, slots: &mut Slots, before: usize| -> Result<Slot> {
            if let Some(slot) = slots.get(name) {
                return Ok(slot);
            }
            let slot = slots.add(name);
            if let Some(message) = initializers.get(name) {
                let tensor = proto::Tensor::read(message).and_then(|tensor| constant(&tensor, folder, device));
                constants.insert(slot, in_context(|| format!("constant '{name}'"), tensor)?);
            } else if let Some(&input) = given.get(name) {
                inputs.insert(slot, input);
            } else if let Some(producer) = producers.get(name) {
                let node = &graph.nodes[*producer];
                bail!("node {before} needs '{name}', a result of node {producer} ('{}') after it: a cycle", node::name(node))
            } else {
                bail!("node {before} needs '{name}', which nothing computes")
            }
            Ok(slot)
        };
        for &(at, node) in &needed {
            let name = node::name(node);
            let context = || format!("node '{name}' ({})", node.operator);
            let input = |input: &&str| (!input.is_empty()).then(|| visit(input, &mut slots, at)).transpose();
            let inputs = node.inputs.iter().map(input).collect::<Result<Vec<_>>>()?;
            let outputs = node.outputs.iter().map(|output| (!output.is_empty()).then(|| slots.add(output))).collect();
            let attributes = in_context(context, node::attributes(node, folder, device))?;
            nodes.push(Node { name: name.to_owned(), operator: node::operator(node), inputs, outputs, attributes });
        }
        let Some(output) = slots.get(output) else { bail!("output '{output}' is no result of a node") };
        let (input, input_dims) = images(&inputs)?;
        Ok(Self { nodes, constants, input, input_dims, output, names: slots.names, opset })
    }
}

/// Slots by name.
#[derive(Default)]
struct Slots {
    slots: HashMap<String, Slot>,
    names: Vec<String>,
}

impl Slots {
    fn get(&self, name: &str) -> Option<Slot> {
        self.slots.get(name).copied()
    }

    fn add(&mut self, name: &str) -> Slot {
        let slot = self.names.len();
        self.slots.insert(name.to_owned(), slot);
        self.names.push(name.to_owned());
        slot
    }
}

/// Says where an error arose, in one line.
pub(crate) fn in_context<T>(context: impl Fn() -> String, result: Result<T>) -> Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => bail!("{}: {}", context(), line(&error)),
    }
}

/// Names for a message, the first ten of them.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let first = names.iter().take(10).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(10) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}

/// The first line of an error: under `RUST_BACKTRACE` candle appends more.
pub(crate) fn line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn opset(model: &proto::Model<'_>) -> Result<i64> {
    let version = model.opsets.iter().find(|(domain, _)| matches!(*domain, "" | "ai.onnx")).map(|(_, version)| *version);
    let (first, last) = OPSETS.into_inner();
    match version {
        Some(version) if OPSETS.contains(&version) => Ok(version),
        Some(version) => bail!("operator set {version}, where {first} to {last} are known: export with opset_version=17"),
        None => bail!("it names no version of ONNX's operators: no ONNX file, or one of another domain"),
    }
}

/// The name of the result that is asked for.
fn chosen<'a>(graph: &proto::Graph<'a>, output: Option<&'a str>) -> Result<&'a str> {
    let names = graph.outputs.iter().map(|output| output.name).collect::<Vec<_>>();
    match (output, names.as_slice()) {
        (None, [only]) => Ok(only),
        (None, []) => bail!("its graph has no output: say output=NAME, the name of a node's result"),
        (None, names) => bail!("it has {} outputs: say output=NAME, one of {}", names.len(), listed(names)),
        (Some(name), names) => {
            if graph.nodes.iter().any(|node| node.outputs.contains(&name)) {
                return Ok(name);
            }
            let all = graph.nodes.iter().flat_map(|node| &node.outputs).copied();
            let near = all.max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
            let near = near.map(|near| format!("; the result of a node with the nearest name is {near}")).unwrap_or_default();
            bail!("no result is named '{name}': its outputs are {}{near}", listed(names))
        }
    }
}

/// The node that computes each value.
fn producers<'a>(graph: &proto::Graph<'a>) -> Result<HashMap<&'a str, usize>> {
    let mut producers = HashMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            if let Some(other) = producers.insert(*output, at) {
                bail!("nodes {other} and {at} both compute '{output}'")
            }
        }
    }
    Ok(producers)
}

/// The nodes that a value needs, with their indices, in the order of the file.
fn needed<'g, 'a>(
    graph: &'g proto::Graph<'a>,
    producers: &HashMap<&str, usize>,
    output: &str,
) -> Vec<(usize, &'g proto::Node<'a>)> {
    let mut needed = vec![false; graph.nodes.len()];
    let mut open: Vec<usize> = producers.get(output).copied().into_iter().collect();
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut needed[at], true) {
            open.extend(graph.nodes[at].inputs.iter().filter_map(|input| producers.get(input).copied()));
        }
    }
    graph.nodes.iter().enumerate().filter(|(at, _)| needed[*at]).collect()
}

/// Refuses operators that are not implemented, all at once.
fn known(nodes: &[(usize, &proto::Node<'_>)]) -> Result<()> {
    let mut missing = BTreeMap::new();
    for (_, node) in nodes {
        let operator = node::operator(node);
        if !operators::is_known(&operator) {
            missing.entry(operator).or_insert_with(|| node::name(node));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let named = missing.iter().map(|(operator, name)| format!("{operator} (node '{name}')")).collect::<Vec<_>>();
    let quantized = |operator: &String| ["Quantize", "QLinear", "Integer"].iter().any(|part| operator.contains(part));
    let hint = match missing.keys().any(quantized) {
        true => ": a quantized model has no gradients, export it in float32",
        false => "",
    };
    bail!(
        "operators that are not implemented: {}{hint}; implemented are {}",
        listed(&named),
        operators::names().collect::<Vec<_>>().join(", ")
    )
}

/// The one input that the result needs, which must have a gradient, and its shape.
fn images(inputs: &BTreeMap<Slot, &proto::ValueInfo<'_>>) -> Result<(Slot, Option<Vec<Option<usize>>>)> {
    let mut needed = inputs.iter();
    let (Some((&slot, input)), others) = (needed.next(), needed.collect::<Vec<_>>()) else {
        bail!("the output depends on no input")
    };
    if !others.is_empty() {
        let names = inputs.values().map(|input| input.name).collect::<Vec<_>>();
        bail!("the output needs the inputs {}: say output=NAME, a result of the images alone", listed(&names))
    }
    let name = input.name;
    match constant::Kind::new(input.kind()).map(constant::Kind::dtype) {
        Ok(candle_core::DType::F32) => {}
        _ => {
            let kind = constant::name(input.kind());
            bail!("input '{name}' takes {kind} numbers, which have no gradient: export a model that takes float32")
        }
    }
    // Some exporters write 0 or -1 for an open length.
    let length = |dim: &Option<i64>| dim.and_then(|dim| usize::try_from(dim).ok()).filter(|&dim| dim > 0);
    Ok((slot, input.dims().map(|dims| dims.iter().map(length).collect())))
}
