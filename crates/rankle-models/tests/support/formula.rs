//! Numbers that Rust and Python compute to the same bit, so that no fixture has to store weights; the description stands in
//! `fixtures/formula.py`, which is the same in Python.

use candle_core::{Device, Result, Tensor};
use std::collections::BTreeMap;

/// The streams of the fixture count from here.
pub(crate) const FIRST_STREAM: u32 = 25_000;

/// Name, shape and scale of every parameter of C2F2, in the order of their streams (the first has `FIRST_STREAM + 1`).
const PARAMETERS: [(&str, &[usize], f32); 6] = [
    ("conv1.weight", &[32, 1, 5, 5], 0.25),
    ("conv1.bias", &[32], 0.25),
    ("conv2.weight", &[64, 32, 5, 5], 0.03125),
    ("conv2.bias", &[64], 0.03125),
    ("fc1.weight", &[1024, 3136], 0.015625),
    ("fc1.bias", &[1024], 0.015625),
];

/// The 32-bit finaliser of MurmurHash3.
fn mix(mut h: u32) -> u32 {
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

fn bits(stream: u32, index: usize) -> u32 {
    mix(mix(stream) ^ index as u32)
}

/// The first `count` numbers of a stream, in `[-1, 1)`: 24 bits each, exact in `f32`.
pub(crate) fn unit(stream: u32, count: usize) -> Vec<f32> {
    (0..count).map(|index| (i64::from(bits(stream, index) >> 8) - (1 << 23)) as f32 / (1 << 23) as f32).collect()
}

/// The first `count` bytes of a stream.
pub(crate) fn byte(stream: u32, count: usize) -> Vec<u8> {
    (0..count).map(|index| (bits(stream, index) >> 24) as u8).collect()
}

/// All parameters of C2F2 by their PyTorch names.
pub(crate) fn parameters() -> Result<BTreeMap<String, Tensor>> {
    let mut stream = FIRST_STREAM;
    PARAMETERS
        .iter()
        .map(|&(name, shape, scale)| {
            stream += 1;
            let values: Vec<f32> = unit(stream, shape.iter().product()).into_iter().map(|x| x * scale).collect();
            Ok((name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu)?))
        })
        .collect()
}
