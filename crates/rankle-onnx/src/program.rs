//! A graph for images of one shape, ready to run.

use crate::fusion::{self, Draft};
use crate::graph::{Graph, in_context};
use crate::node::{Node, Slot};
use crate::operators::{self, Build, Inputs, Operator};
use candle_core::{DType, Result, Tensor, bail};
use std::collections::HashMap;

/// Most elements of a result, for each image, or for a batch whose size the file declares: a gigabyte.
pub(crate) const LIMIT: usize = 1 << 28;

/// Most bytes of the results that are held at a time, for each image or declared batch.
const HELD: usize = 4 << 30;

/// A graph for a batch of one shape. Whatever does not depend on the pixels is computed already: shapes, indices, masks, positions.
pub(crate) struct Program {
    steps: Vec<Step>,
    constants: HashMap<Slot, Tensor>,
    input: Slot,
    output: Slot,
    /// Number of values.
    slots: usize,
    limit: usize,
}

/// A node that runs.
struct Step {
    /// For messages.
    name: String,
    operator: Operator,
    inputs: Vec<Option<Slot>>,
    outputs: Vec<Option<Slot>>,
    /// Values that nobody needs after this step.
    last_used: Vec<Slot>,
}

impl Program {
    /// Prepares a graph for batches like `images`, whose pixels do not matter.
    ///
    /// # Errors
    /// A node that does not take its inputs, results beyond all bounds, and an output that does not depend on the pixels.
    pub(crate) fn new(graph: &Graph, images: &Tensor) -> Result<Self> {
        let declared = graph.input_dims.as_ref().and_then(|dims| *dims.first()?);
        let count = if declared.is_some() { 1 } else { images.dims().first().copied().unwrap_or(1).max(1) };
        let limit = LIMIT.saturating_mul(count);
        let mut trace = Trace::new(graph, images, limit);
        for (at, node) in graph.nodes.iter().enumerate() {
            in_context(|| described(node), trace.run(graph, at, node))?;
        }
        let Trace { rest, mut constants, shapes, .. } = trace;
        if constants.contains_key(&graph.output) {
            bail!("the output '{}' does not depend on the pixels", graph.names[graph.output])
        }
        let mut draft = Draft::new(rest, constants, shapes, graph.output, graph.names.len());
        fusion::fuse(&mut draft)?;
        let slots = draft.slots;
        let nodes;
        (nodes, constants) = draft.finish();

        let build = |node: &Node| {
            let build = Build { node, opset: graph.opset, constants: &constants, device: images.device() };
            let operator = in_context(|| described(node), operators::build(&build))?;
            let (inputs, outputs) = (node.inputs.clone(), node.outputs.clone());
            Ok(Step { name: described(node), operator, inputs, outputs, last_used: Vec::new() })
        };
        let mut steps = nodes.iter().map(build).collect::<Result<Vec<_>>>()?;
        let mut seen = vec![false; slots];
        seen[graph.output] = true;
        for step in steps.iter_mut().rev() {
            let values = step.inputs.iter().chain(&step.outputs).flatten().copied();
            step.last_used = values.filter(|&slot| !std::mem::replace(&mut seen[slot], true)).collect();
        }
        Ok(Self { steps, constants, input: graph.input, output: graph.output, slots, limit })
    }

    /// The output for a batch of the shape that the program was made for.
    ///
    /// # Errors
    /// Those of the operations, with the name of the node.
    pub(crate) fn run(&self, images: &Tensor) -> Result<Tensor> {
        let mut values: Vec<Option<Tensor>> = vec![None; self.slots];
        values[self.input] = Some(images.clone());
        for step in &self.steps {
            let value = |slot: &Option<Slot>| slot.and_then(|slot| values[slot].as_ref().or_else(|| self.constants.get(&slot)));
            let inputs = step.inputs.iter().map(value).collect::<Vec<_>>();
            let inputs = Inputs { values: &inputs, limit: self.limit };
            let results = in_context(|| step.name.clone(), (step.operator)(&inputs))?;
            for (&output, result) in step.outputs.iter().zip(results) {
                if let Some(output) = output {
                    values[output] = Some(result);
                }
            }
            step.last_used.iter().for_each(|&slot| values[slot] = None);
        }
        match values[self.output].take() {
            Some(output) => Ok(output),
            None => bail!("no node computes the output"),
        }
    }
}

fn described(node: &Node) -> String {
    format!("node '{}' ({})", node.name, node.operator)
}

/// A first run, which finds what does not depend on the pixels.
struct Trace {
    /// What depends on the pixels, until it is no longer needed.
    values: HashMap<Slot, Tensor>,
    /// Everything else.
    constants: HashMap<Slot, Tensor>,
    /// Shapes of all values that depend on the pixels.
    shapes: HashMap<Slot, Vec<usize>>,
    /// The nodes that depend on the pixels.
    rest: Vec<Node>,
    /// The last node that needs each value.
    last_uses: HashMap<Slot, usize>,
    limit: usize,
    /// Bytes of the values and of the constants that were computed.
    held: usize,
}

impl Trace {
    fn new(graph: &Graph, images: &Tensor, limit: usize) -> Self {
        let uses =
            graph.nodes.iter().enumerate().flat_map(|(at, node)| node.inputs.iter().flatten().map(move |&slot| (slot, at)));
        Self {
            values: HashMap::from([(graph.input, images.clone())]),
            constants: graph.constants.clone(),
            shapes: HashMap::from([(graph.input, images.dims().to_vec())]),
            rest: Vec::new(),
            last_uses: uses.chain([(graph.output, usize::MAX)]).collect(),
            limit,
            held: 0,
        }
    }

    fn run(&mut self, graph: &Graph, at: usize, node: &Node) -> Result<()> {
        let slots = node.inputs.iter().flatten();
        let constant = operators::sees_shapes_only(&node.operator) || slots.clone().all(|slot| self.constants.contains_key(slot));
        let results = {
            let build =
                Build { node, opset: graph.opset, constants: &self.constants, device: self.values[&graph.input].device() };
            let operator = operators::build(&build)?;
            let value = |slot: &Option<Slot>| slot.map(|slot| self.value(graph, slot)).transpose();
            let inputs = node.inputs.iter().map(value).collect::<Result<Vec<_>>>()?;
            operator(&Inputs { values: &inputs, limit: self.limit })?
        };
        for (&output, result) in node.outputs.iter().zip(results) {
            let Some(output) = output.filter(|output| self.last_uses.contains_key(output)) else { continue };
            self.held += size(&result);
            if constant {
                self.constants.insert(output, result);
            } else {
                self.shapes.insert(output, result.dims().to_vec());
                self.values.insert(output, result);
            }
        }
        if self.held > HELD.saturating_mul(self.limit / LIMIT) {
            bail!("results of {} MiB at a time, where there is room for {}", self.held >> 20, HELD >> 20)
        }
        if !constant {
            self.rest.push(node.clone());
        }
        for slot in node.inputs.iter().flatten().filter(|slot| self.last_uses[*slot] == at && **slot != graph.input) {
            self.held -= self.values.remove(slot).map_or(0, |value| size(&value));
        }
        Ok(())
    }

    fn value(&self, graph: &Graph, slot: Slot) -> Result<&Tensor> {
        match self.values.get(&slot).or_else(|| self.constants.get(&slot)) {
            Some(value) => Ok(value),
            None => bail!("it needs '{}', which its operator does not compute here", graph.names[slot]),
        }
    }
}

fn size(tensor: &Tensor) -> usize {
    tensor.elem_count().saturating_mul(match tensor.dtype() {
        DType::I64 => 8,
        DType::U8 => 1,
        _ => 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::external::Folder;
    use candle_core::Device;
    use std::path::Path;

    #[test]
    fn attention_of_both_exporters_is_one_operator() {
        // With a mask or positions added to its products it is left as it is.
        let networks = [
            ("vit-script-17", 32, 2),
            ("vit-dynamo-18", 32, 2),
            ("dinov2-script-16", 42, 2),
            ("clip-script-15", 32, 2),
            ("clip-dynamo-18", 32, 2),
            ("dinov2-dynamo-21", 42, 0),
            ("swin-script-12", 32, 0),
        ];
        for (name, side, layers) in networks {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.onnx"));
            let graph = Graph::read(&std::fs::read(&path).unwrap(), &Folder::of(&path), None, &Device::Cpu).unwrap();
            let images = Tensor::zeros((2, 3, side, side), DType::F32, &Device::Cpu).unwrap();
            let program = Program::new(&graph, &images).unwrap();
            let count = |operator: &str| program.steps.iter().filter(|step| step.name.ends_with(operator)).count();
            assert_eq!(count("(rankle:Attention)"), layers, "{name}");
            assert_eq!(count("(Softmax)") == 0, layers > 0, "{name}");
        }
    }
}
