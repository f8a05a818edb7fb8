//! Checked weights for candle's network builders, which may make up or leave out missing tensors.

use crate::weights::{Tensors, none_left, take};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use rankle_core::{Error, Result};
use std::sync::{Mutex, PoisonError};

/// Builds a network from `tensors`; the builder must ask for each of them. `without` is a part of the names of optional tensors
/// that the builder looks for and that this network does not have.
///
/// # Errors
/// [`Error::Refused`] when a tensor is missing, left over, misshapen or not finite.
pub(super) fn build<T>(
    tensors: Tensors,
    dtype: DType,
    without: &'static str,
    network: impl FnOnce(VarBuilder<'_>) -> candle_core::Result<T>,
) -> Result<T> {
    let ledger = Mutex::new(Ledger { tensors, problem: None });
    let backend = Box::new(Strict { ledger: &ledger, without });
    let network = network(VarBuilder::from_backend(backend, dtype, Device::Cpu));
    let Ledger { tensors, problem } = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Problems with the weights come first: the builder may have gone on without them.
    problem.map_or(Ok(()), Err)?;
    none_left(&tensors)?;
    Ok(network?)
}

/// Tensors that the builder has not asked for yet, and the first problem.
struct Ledger {
    tensors: Tensors,
    problem: Option<Error>,
}

struct Strict<'a> {
    ledger: &'a Mutex<Ledger>,
    without: &'static str,
}

impl SimpleBackend for Strict<'_> {
    fn get(&self, shape: Shape, name: &str, _: candle_nn::Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        if name.contains(self.without) {
            return Err(candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt());
        }
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match take(&mut ledger.tensors, name, shape.dims()) {
            Ok(values) => Tensor::from_vec(values, shape, device)?.to_dtype(dtype),
            Err(error) => {
                let refused = candle_core::Error::Msg(error.to_string());
                ledger.problem.get_or_insert(error);
                Err(refused)
            }
        }
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("tensor '{name}' was asked for without its shape")
    }

    /// Always true: the builder asks only for parameters that once had another name, and ours have the present names.
    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
