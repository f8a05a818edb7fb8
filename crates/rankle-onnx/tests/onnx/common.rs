//! Writing of ONNX files, for the tests.

use rankle_core::{Distance, Place, Result};
use rankle_onnx::{OnnxModel, Options};
use std::path::PathBuf;

/// A protobuf field of a number.
pub(crate) fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value as u64)].concat()
}

/// A protobuf field of a text or a message.
pub(crate) fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A node of ONNX's own domain, named after its first result.
pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut node = inputs.iter().flat_map(|input| bytes(1, input)).collect::<Vec<_>>();
    node.extend(outputs.iter().flat_map(|output| bytes(2, output)));
    node.extend(bytes(4, operator));
    node.extend(attributes.iter().flat_map(|attribute| bytes(5, attribute)));
    node
}

pub(crate) fn int(name: &str, value: i64) -> Vec<u8> {
    [bytes(1, name), number(3, value), number(20, 2)].concat()
}

pub(crate) fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values = values.iter().flat_map(|&value| number(8, value)).collect::<Vec<_>>();
    [bytes(1, name), values, number(20, 7)].concat()
}

/// A constant as an attribute.
pub(crate) fn tensor(name: &str, constant: Vec<u8>) -> Vec<u8> {
    [bytes(1, name), bytes(5, constant), number(20, 4)].concat()
}

/// A constant of any type.
pub(crate) fn constant(name: &str, kind: i64, dims: &[i64], raw: &[u8]) -> Vec<u8> {
    let dims = dims.iter().flat_map(|&dim| number(1, dim)).collect::<Vec<_>>();
    [dims, number(2, kind), bytes(8, name), bytes(9, raw)].concat()
}

pub(crate) fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> Vec<u8> {
    constant(name, 1, dims, &numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>())
}

pub(crate) fn integers(name: &str, numbers: &[i64]) -> Vec<u8> {
    constant(name, 7, &[numbers.len() as i64], &numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>())
}

/// An input or an output; a length of 0 is open.
pub(crate) fn value(name: &str, kind: i64, dims: &[i64]) -> Vec<u8> {
    let dim = |&len: &i64| bytes(1, if len == 0 { bytes(2, "n") } else { number(1, len) });
    let shape = dims.iter().flat_map(dim).collect::<Vec<_>>();
    bytes(1, name).into_iter().chain(bytes(2, bytes(1, [number(1, kind), bytes(2, shape)].concat()))).collect()
}

/// A file in version 17 of the operators.
#[derive(Clone, Default)]
pub(crate) struct File {
    pub(crate) nodes: Vec<Vec<u8>>,
    pub(crate) constants: Vec<Vec<u8>>,
    pub(crate) inputs: Vec<Vec<u8>>,
    pub(crate) outputs: Vec<&'static str>,
}

impl File {
    /// A graph of nodes on images `x` `(n, 3, 4, 4)` that gives `y`.
    pub(crate) fn of(nodes: Vec<Vec<u8>>, constants: Vec<Vec<u8>>) -> Self {
        Self { nodes, constants, inputs: vec![value("x", 1, &[0, 3, 4, 4])], outputs: vec!["y"] }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let all =
            |field: u64, messages: &[Vec<u8>]| messages.iter().flat_map(|message| bytes(field, message)).collect::<Vec<_>>();
        let outputs = self.outputs.iter().flat_map(|name| bytes(12, value(name, 1, &[]))).collect::<Vec<_>>();
        let graph = [all(1, &self.nodes), all(5, &self.constants), all(11, &self.inputs), outputs].concat();
        [number(1, 8), bytes(7, graph), bytes(8, number(2, 17))].concat()
    }
}

/// Loads a file of these bytes with options as on the command line.
pub(crate) fn load(bytes: &[u8], options: &str) -> Result<OnnxModel> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    let (_, options) = Options::parse(&format!("model.onnx{options}"))?;
    OnnxModel::load(&path, &options, Distance::Cosine, &Place::Kernels)
}

/// Asserts an error of one line that names the file and all parts.
#[track_caller]
pub(crate) fn refused(bytes: &[u8], options: &str, parts: &[&str]) {
    let message = load(bytes, options).err().expect("an error").to_string();
    assert!(message.lines().count() == 1 && message.contains("model.onnx: "), "{message}");
    parts.iter().for_each(|part| assert!(message.contains(part), "no {part:?} in {message:?}"));
}

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Numbers in `[0, 1)`, as `make.py` draws them.
pub(crate) fn numbers(seed: u64, shape: &[usize]) -> candle_core::Tensor {
    let numbers = (1..=shape.iter().product::<usize>() as u64).map(|index| {
        // SplitMix64
        let mut bits = ((seed << 32) + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 40) as f32 / (1u32 << 24) as f32
    });
    candle_core::Tensor::from_iter(numbers, &candle_core::Device::Cpu).and_then(|numbers| numbers.reshape(shape)).unwrap()
}
