//! A hint for classifiers.

use crate::graph::Graph;
use crate::node::{Node, Slot};

/// Numbers of classes of the usual datasets.
const CLASSES: [usize; 12] = [10, 100, 102, 120, 196, 200, 365, 1000, 1001, 10450, 21841, 21843];

/// The value before the last layer, if the output looks like the scores of a classifier.
pub(crate) fn before_scores(graph: &Graph, size: usize) -> Option<String> {
    let producer = |slot: Slot| graph.nodes.iter().find(|node| node.outputs.contains(&Some(slot)));
    let weights = |node: &Node| node.inputs.iter().flatten().any(|slot| graph.constants.contains_key(slot));
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
    let before = &graph.names[node.inputs[0]?];
    let scores = &graph.names[graph.output];
    Some(format!("'{scores}' looks like {size} scores of classes; the embedding before them is output={before}"))
}
