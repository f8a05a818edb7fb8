//! Several nodes as one, where that is faster or closer to PyTorch.
//!
//! Every rule looks at one node as the last of its pattern, and replaces it. What nobody needs any more is dropped at the end.

mod attention;
mod conv;
mod gate;
mod gelu;
mod layer_norm;
mod linear;

use crate::node::{Attribute, Node, Slot};
use candle_core::{DType, Device, Result, Tensor};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Replaces what it can; `true` if it did.
type Rule = fn(&mut Draft, usize) -> Result<bool>;

const RULES: [Rule; 7] = [
    attention::attention,
    conv::with_batch_norm,
    conv::with_clip,
    gelu::decomposed,
    gate::gated,
    layer_norm::decomposed,
    linear::linear,
];

/// Applies all rules to all nodes, first to last.
pub(crate) fn fuse(draft: &mut Draft) -> Result<()> {
    for at in 0..draft.nodes.len() {
        for rule in RULES {
            if rule(draft, at)? {
                break;
            }
        }
    }
    Ok(())
}

/// Nodes that depend on the pixels, and what they need.
pub(crate) struct Draft {
    nodes: Vec<Node>,
    constants: HashMap<Slot, Tensor>,
    /// Of the values that depend on the pixels.
    shapes: HashMap<Slot, Vec<usize>>,
    output: Slot,
    /// Number of values.
    pub(crate) slots: usize,
    producers: HashMap<Slot, usize>,
    uses: HashMap<Slot, usize>,
}

impl Draft {
    pub(crate) fn new(
        nodes: Vec<Node>,
        constants: HashMap<Slot, Tensor>,
        shapes: HashMap<Slot, Vec<usize>>,
        output: Slot,
        slots: usize,
    ) -> Self {
        let results = nodes.iter().enumerate().flat_map(|(at, node)| node.outputs.iter().flatten().map(move |&slot| (slot, at)));
        let producers = results.collect();
        // By nodes that are needed themselves.
        let mut uses = HashMap::from([(output, 1)]);
        for node in nodes.iter().rev() {
            if node.outputs.iter().flatten().any(|slot| uses.contains_key(slot)) {
                node.inputs.iter().flatten().for_each(|&slot| *uses.entry(slot).or_default() += 1);
            }
        }
        Self { nodes, constants, shapes, output, slots, producers, uses }
    }

    /// The nodes that the output needs, and their constants.
    pub(crate) fn finish(self) -> (Vec<Node>, HashMap<Slot, Tensor>) {
        let mut needed = HashSet::from([self.output]);
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for mut node in self.nodes.into_iter().rev() {
            if node.outputs.iter().flatten().any(|slot| needed.contains(slot)) {
                node.outputs.iter_mut().for_each(|slot| *slot = slot.filter(|slot| needed.contains(slot)));
                needed.extend(node.inputs.iter().flatten());
                nodes.push(node);
            }
        }
        nodes.reverse();
        let constants = self.constants.into_iter().filter(|(slot, _)| needed.contains(slot)).collect();
        (nodes, constants)
    }

    fn is_needed(&self, at: usize) -> bool {
        self.nodes[at].outputs.iter().flatten().any(|slot| self.uses.contains_key(slot))
    }

    /// Takes back one use of each value, and those by nodes that nobody needs any more.
    fn release(&mut self, mut values: Vec<Option<Slot>>) {
        while let Some(value) = values.pop() {
            let Some(slot) = value else { continue };
            let Some(uses) = self.uses.get_mut(&slot) else { continue };
            *uses -= 1;
            if *uses > 0 {
                continue;
            }
            self.uses.remove(&slot);
            if let Some(&at) = self.producers.get(&slot).filter(|&&at| !self.is_needed(at)) {
                values.extend_from_slice(&self.nodes[at].inputs);
            }
        }
    }

    fn operator(&self, at: usize) -> &str {
        &self.nodes[at].operator
    }

    fn input(&self, at: usize, input: usize) -> Option<Slot> {
        self.nodes[at].inputs.get(input).copied().flatten()
    }

    /// Both inputs of a node of two, in both orders.
    fn pairs(&self, at: usize) -> Vec<(Slot, Slot)> {
        match *self.nodes[at].inputs.as_slice() {
            [Some(a), Some(b)] => vec![(a, b), (b, a)],
            _ => Vec::new(),
        }
    }

    /// The node that computes a value, if it is of the operator.
    fn made_by(&self, slot: Slot, operator: &str) -> Option<usize> {
        self.producers.get(&slot).copied().filter(|&at| self.operator(at) == operator)
    }

    /// As [`Draft::made_by`], if nobody else needs the value.
    fn made_for_one(&self, slot: Slot, operator: &str) -> Option<usize> {
        self.made_by(slot, operator).filter(|_| self.uses.get(&slot) == Some(&1))
    }

    fn constant(&self, slot: Slot) -> Option<&Tensor> {
        self.constants.get(&slot)
    }

    /// True for a constant of this one number, to seven digits.
    fn is_number(&self, slot: Slot, number: f64) -> bool {
        self.number(slot).is_some_and(|value| (value - number).abs() <= 1e-6 * number.abs())
    }

    /// A constant of one number.
    fn number(&self, slot: Slot) -> Option<f64> {
        let constant = self.constant(slot).filter(|constant| constant.elem_count() == 1 && constant.dtype() == DType::F32)?;
        Some(constant.flatten_all().ok()?.to_vec1::<f32>().ok()?[0].into())
    }

    fn dims(&self, slot: Slot) -> Option<&[usize]> {
        self.shapes.get(&slot).map(Vec::as_slice)
    }

    /// A constant vector of this length, in any shape that is broadcast along the last dimension.
    fn vector(&self, slot: Slot, len: usize) -> Result<Option<Tensor>> {
        let vector =
            self.constant(slot).filter(|x| x.elem_count() == len && x.dims().last() == Some(&len) && x.dtype() == DType::F32);
        vector.map(Tensor::flatten_all).transpose()
    }

    fn add_constant(&mut self, tensor: Tensor) -> Slot {
        self.constants.insert(self.slots, tensor);
        self.slots += 1;
        self.slots - 1
    }

    /// Puts another operator in the place of a node.
    fn replace(&mut self, at: usize, operator: &str, inputs: Vec<Option<Slot>>, attributes: BTreeMap<String, Attribute>) {
        let is_needed = self.is_needed(at);
        if is_needed {
            inputs.iter().flatten().for_each(|&slot| *self.uses.entry(slot).or_default() += 1);
        }
        let node = &mut self.nodes[at];
        node.operator = operator.to_owned();
        node.attributes = attributes;
        let before = std::mem::replace(&mut node.inputs, inputs);
        if is_needed {
            self.release(before);
        }
    }
}

/// A constant in double precision on the host, to compute others from.
fn exact(tensor: &Tensor) -> Result<Tensor> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)
}

/// A computed constant, as a constant of the graph.
fn rounded(tensor: &Tensor, device: &Device) -> Result<Tensor> {
    tensor.to_dtype(DType::F32)?.contiguous()?.to_device(device)
}
