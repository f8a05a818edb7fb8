//! Single nodes against onnxruntime: `tests/fixtures/make_operators.py` writes the file.

use super::names;
use crate::external::Folder;
use crate::graph::Graph;
use crate::program::Program;
use crate::proto::{self, Message};
use candle_core::{DType, Device, Tensor, Var};
use rankle_ops::Recorded;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Case = BTreeMap<String, Tensor>;

/// The tensors of each case.
fn cases() -> BTreeMap<String, Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/operators.safetensors");
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for (name, tensor) in candle_core::safetensors::load(path, &Device::Cpu).unwrap() {
        let (case, key) = name.rsplit_once('.').unwrap();
        cases.entry(case.into()).or_default().insert(key.into(), tensor);
    }
    cases
}

fn model(case: &Case) -> Vec<u8> {
    case["model"].to_vec1().unwrap()
}

/// Result and gradient.
fn run(case: &Case) -> candle_core::Result<[Tensor; 2]> {
    let input = Var::from_tensor(&case["input"])?;
    let graph = Graph::read(&model(case), &Folder::of(Path::new("model.onnx")), None, &Device::Cpu)?;
    let program = Program::new(&graph, &input.zeros_like()?)?;
    let plain = program.run(&input.as_detached_tensor())?;
    let recorded = Recorded::new(|| program.run(&input))?;
    assert_eq!(numbers(&recorded.output()), numbers(&plain));
    let gradient = recorded.gradients(&case["upstream"], &[&input])?.remove(0);
    Ok([plain, gradient.unwrap_or(input.zeros_like()?)])
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// What is wrong with a result, to 1e-5 of the largest expected number.
fn difference(actual: &Tensor, expected: &Tensor) -> Option<String> {
    let (a, e) = (numbers(actual), numbers(expected));
    let largest = e.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    let same = actual.shape() == expected.shape() && a.iter().zip(&e).all(|(a, e)| (a - e).abs() <= 1e-5 * largest);
    (!same).then(|| format!("{:?} {a:?} in place of {:?} {e:?}", actual.shape(), expected.shape()))
}

#[test]
fn results_are_those_of_onnxruntime_and_gradients_those_of_differences() {
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        match run(&case) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok([result, gradient]) => {
                wrong.extend(difference(&result, &case["output"]).map(|what| format!("{name}: {what}")));
                wrong.extend(difference(&gradient, &case["gradient"]).map(|what| format!("{name}, gradient: {what}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_operator_has_a_case() {
    let files = cases().into_values().map(|case| model(&case)).collect::<Vec<_>>();
    let mut missing = names().collect::<BTreeSet<_>>();
    for file in &files {
        let graph = proto::Model::read(file).unwrap().graph.unwrap();
        for node in &graph.nodes {
            missing.remove(node.operator);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// The documentation of the crate lists the operators that there are.
#[test]
fn the_documentation_lists_the_operators() {
    let documentation = include_str!("../lib.rs");
    let listed = documentation
        .lines()
        .filter(|line| line.starts_with("//! | "))
        .flat_map(|line| line.rsplit('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2));
    assert_eq!(listed.collect::<BTreeSet<_>>(), names().collect());
}
