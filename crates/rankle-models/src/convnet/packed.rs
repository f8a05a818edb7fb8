//! Parameters in the layouts of the kernels, converted from and to PyTorch's.

use super::layers::Layers;
use crate::dense::PackedDense;
use crate::weights::{Tensors, take};
use candle_core::{Device, Tensor};
use rankle_core::Result;
use rankle_kernels::Isa;
use rankle_kernels::conv::ConvBlock;
use rankle_kernels::dense::Panels;

/// One value for each parameter: the weights, their gradient, or one of Adam's moments.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// Weights and bias of each convolution in PyTorch's layout: small, and repacked after each optimizer step.
    pub(super) convolutions: [Vec<f32>; 4],
    pub(super) dense: Vec<PackedDense>,
}

impl Packed {
    /// Packs parameters in PyTorch's layout, in the order of [`Layers::parameters`].
    pub(super) fn pack(layers: &Layers, isa: Isa, parameters: &[Vec<f32>]) -> Self {
        let (convolutions, dense) = parameters.split_at(4);
        let dense = dense.chunks_exact(2).enumerate().map(|(layer, parameters)| {
            let inputs = layers.inputs(layer);
            let mut order = vec![0; inputs];
            (0..inputs).for_each(|input| order[layers.place(layer, input)] = input);
            let element = |output: usize, input: usize| parameters[0][output * inputs + order[input]];
            let weights = Panels::pack(isa, layers.dense[layer].outputs, inputs, element);
            PackedDense { weights, bias: parameters[1].clone() }
        });
        Self { convolutions: std::array::from_fn(|i| convolutions[i].clone()), dense: dense.collect() }
    }

    /// Parameters in PyTorch's layout.
    fn unpack(&self, layers: &Layers) -> Vec<Vec<f32>> {
        let dense = self.dense.iter().enumerate().flat_map(|(layer, PackedDense { weights, bias })| {
            let (inputs, outputs) = (weights.inputs(), weights.outputs());
            let weights = (0..outputs * inputs).map(|at| weights.get(at / inputs, layers.place(layer, at % inputs))).collect();
            [weights, bias.clone()]
        });
        self.convolutions.iter().cloned().chain(dense).collect()
    }

    /// Takes every parameter out of `tensors`, under its name with a prefix.
    pub(super) fn take(layers: &Layers, isa: Isa, tensors: &mut Tensors, prefix: &str) -> Result<Self> {
        let parameters = layers.parameters();
        let values = parameters.iter().map(|p| take(tensors, &format!("{prefix}{}", p.name), &p.shape));
        Ok(Self::pack(layers, isa, &values.collect::<Result<Vec<_>>>()?))
    }

    /// Tensors by name, with a prefix.
    pub(super) fn to_tensors(&self, layers: &Layers, prefix: &str) -> Result<Tensors> {
        let named = layers.parameters().into_iter().zip(self.unpack(layers));
        named.map(|(p, values)| Ok((format!("{prefix}{}", p.name), Tensor::from_vec(values, p.shape, &Device::Cpu)?))).collect()
    }

    /// Convolutions packed for the kernels.
    pub(super) fn blocks(&self, layers: &Layers, isa: Isa) -> [ConvBlock; 2] {
        let [weight1, bias1, weight2, bias2] = &self.convolutions;
        [ConvBlock::new(isa, layers.first(), weight1, bias1), ConvBlock::new(isa, layers.second(), weight2, bias2)]
    }

    /// Zeros in the same shapes, the start of Adam's moments.
    pub(super) fn zeros_like(&self) -> Self {
        let dense = self.dense.iter().map(PackedDense::zeros_like).collect();
        Self { convolutions: self.convolutions.each_ref().map(|values| vec![0.0; values.len()]), dense }
    }
}
