//! Pseudorandom numbers that Rust and Python compute with equal bits, so that no fixture has to store weights. Described in
//! `fixtures/formula.py`, the implementation in Python.

use candle_core::{Device, Tensor};
use rankle_core::Distance;
use rankle_models::weights::Tensors;
use rankle_models::{Architecture, Convnet, Isa, Layers};

/// First stream of the fixture.
pub(crate) const FIRST_STREAM: u32 = 25_000;

/// A network, with name, shape and scale of each parameter, in the order of the streams from `FIRST_STREAM + 1` on.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) layers: Layers,
    pub(crate) architecture: Architecture,
    parameters: &'static [(&'static str, &'static [usize], f32)],
}

#[rustfmt::skip] // keeps the columns aligned
pub(crate) const C2F2: Network = Network {
    name: "c2f2",
    layers: Layers::C2F2,
    architecture: Architecture::C2f2,
    parameters: &[
        ("conv1.weight", &[32, 1, 5, 5],  0.25),
        ("conv1.bias",   &[32],           0.25),
        ("conv2.weight", &[64, 32, 5, 5], 0.03125),
        ("conv2.bias",   &[64],           0.03125),
        ("fc1.weight",   &[1024, 3136],   0.015625),
        ("fc1.bias",     &[1024],         0.015625),
    ],
};

#[rustfmt::skip]
pub(crate) const C2F2_512: Network = Network {
    name: "c2f2-512",
    layers: Layers::C2F2_512,
    architecture: Architecture::C2f2Of512,
    parameters: &[
        ("backbone.0.weight", &[32, 1, 5, 5],  0.25),
        ("backbone.0.bias",   &[32],           0.25),
        ("backbone.3.weight", &[64, 32, 5, 5], 0.03125),
        ("backbone.3.bias",   &[64],           0.03125),
        ("backbone.7.weight", &[1024, 3136],   0.015625),
        ("backbone.7.bias",   &[1024],         0.015625),
        ("backbone.9.weight", &[512, 1024],    0.03125),
        ("backbone.9.bias",   &[512],          0.03125),
    ],
};

#[rustfmt::skip]
pub(crate) const LENET: Network = Network {
    name: "lenet",
    layers: Layers::LENET,
    architecture: Architecture::LeNet,
    parameters: &[
        ("conv1.weight", &[20, 1, 5, 5],  0.25),
        ("conv1.bias",   &[20],           0.25),
        ("conv2.weight", &[50, 20, 5, 5], 0.03125),
        ("conv2.bias",   &[50],           0.03125),
        ("fc1.weight",   &[500, 800],     0.03125),
        ("fc1.bias",     &[500],          0.03125),
    ],
};

#[rustfmt::skip]
pub(crate) const C2F2_CLASSIFIER: Network = Network {
    name: "c2f2-classifier",
    layers: Layers::C2F2_CLASSIFIER,
    architecture: Architecture::C2f2Classifier,
    parameters: &[
        ("conv1.weight", &[32, 1, 5, 5],  0.25),
        ("conv1.bias",   &[32],           0.25),
        ("conv2.weight", &[64, 32, 5, 5], 0.03125),
        ("conv2.bias",   &[64],           0.03125),
        ("fc1.weight",   &[1024, 3136],   0.015625),
        ("fc1.bias",     &[1024],         0.015625),
        ("fc2.weight",   &[10, 1024],     0.03125),
        ("fc2.bias",     &[10],           0.03125),
    ],
};

pub(crate) const NETWORKS: [Network; 4] = [C2F2, C2F2_512, LENET, C2F2_CLASSIFIER];

impl Network {
    /// All parameters by their PyTorch names.
    pub(crate) fn parameters(&self) -> Tensors {
        let numbered = (FIRST_STREAM + 1..).zip(self.parameters);
        numbered
            .map(|(stream, &(name, shape, scale))| {
                let values: Vec<f32> = unit(stream, shape.iter().product()).into_iter().map(|x| x * scale).collect();
                (name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
            })
            .collect()
    }
    /// Network with [`Network::parameters`].
    pub(crate) fn model(&self, isa: Isa) -> Convnet {
        Convnet::with_isa(self.layers, &self.parameters(), Distance::Cosine, isa).unwrap()
    }
    pub(crate) fn dim(&self) -> usize {
        self.layers.embedding_size()
    }
}

/// Finalizer of MurmurHash3, 32 bits.
fn mix(mut h: u32) -> u32 {
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

fn bits(stream: u32, index: usize) -> u32 {
    mix(mix(stream) ^ index as u32)
}

/// First `count` numbers of a stream, in `[-1, 1)`: 24 bits each, exact in `f32`.
pub(crate) fn unit(stream: u32, count: usize) -> Vec<f32> {
    (0..count).map(|index| (i64::from(bits(stream, index) >> 8) - (1 << 23)) as f32 / (1 << 23) as f32).collect()
}

/// First `count` bytes of a stream.
pub(crate) fn byte(stream: u32, count: usize) -> Vec<u8> {
    (0..count).map(|index| (bits(stream, index) >> 24) as u8).collect()
}

/// Parameters of any network as `weight` in `fixtures/formula.py` computes them, from names and shapes in the order of the streams.
pub(crate) fn weights(first_stream: u32, shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Tensors {
    let numbered = (first_stream + 1..).zip(shapes);
    numbered
        .map(|(stream, (name, shape))| {
            let numbers = unit(stream, shape.iter().product()).into_iter();
            let values: Vec<f32> = match shape.get(1..).unwrap_or_default().iter().product::<usize>() {
                fan_in if shape.len() > 1 => {
                    let factor = 2f64.powi(((2.0 / fan_in as f64).sqrt().log2() + 0.5).floor() as i32) as f32;
                    numbers.map(|u| u * factor).collect()
                }
                _ if name.ends_with("running_var") => numbers.map(|u| u + 1.5).collect(),
                _ if name.ends_with("bias") || name.ends_with("running_mean") => numbers.map(|u| u * 0.25).collect(),
                _ => numbers.map(|u| u * 0.25 + 0.75).collect(),
            };
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect()
}
