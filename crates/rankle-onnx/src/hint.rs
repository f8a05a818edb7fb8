//! A hint for classifiers.

use crate::graph::Graph;
use crate::node::{Node, Slot};
use std::collections::{HashMap, HashSet};

/// Numbers of classes of the usual datasets.
const CLASSES: [usize; 12] = [10, 100, 102, 120, 196, 200, 365, 1000, 1001, 10450, 21841, 21843];

/// The value before the last layer, if the output looks like the scores of a classifier.
pub(crate) fn before_scores(graph: &Graph, size: usize) -> Option<String> {
    let results = graph.nodes.iter().flat_map(|node| node.outputs.iter().flatten().map(move |&slot| (slot, node)));
    let producers = results.collect::<HashMap<_, _>>();
    let producer = |slot: Slot| producers.get(&slot).copied();
    // Some exporters write weights as nodes.
    let is_constant =
        |slot: &Slot| graph.constants.contains_key(slot) || producer(*slot).is_some_and(|node| node.operator == "Constant");
    let weights = |node: &Node| node.inputs.iter().flatten().any(is_constant);
    let mut node = producer(graph.output)?;
    let mut is_softmax = false;
    // From the output back to the last layer with weights.
    loop {
        let input = match node.operator.as_str() {
            "Gemm" => break,
            "MatMul" | "Conv" if weights(node) => break,
            "Softmax" | "LogSoftmax" => {
                is_softmax = true;
                node.inputs[0]?
            }
            "Identity" | "Flatten" | "Reshape" | "Squeeze" => node.inputs[0]?,
            "Add" => node.inputs.iter().flatten().copied().find(|slot| producer(*slot).is_some_and(weights))?,
            _ => return None,
        };
        node = producer(input)?;
    }
    if !is_softmax && !CLASSES.contains(&size) {
        return None;
    }
    let before = node.inputs[0]?;
    // An embedding is learned: neither the images nor the images in another shape are one.
    let mut open = vec![before];
    let mut seen = HashSet::new();
    let is_learned = loop {
        let Some(slot) = open.pop() else { break false };
        let Some(node) = producer(slot).filter(|_| seen.insert(slot)) else { continue };
        if matches!(node.operator.as_str(), "Conv" | "Gemm" | "MatMul") && weights(node) {
            break true;
        }
        open.extend(node.inputs.iter().flatten());
    };
    if !is_learned {
        return None;
    }
    let before = &graph.names[before];
    let scores = &graph.names[graph.output];
    Some(format!("'{scores}' looks like {size} scores of classes; the embedding before them is output={before}"))
}
