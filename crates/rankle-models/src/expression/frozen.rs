//! Convolutions of a network whose weights stay the same for a while.

use candle_core::Result;
use rankle_ops::FrozenConv2d;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Convolutions by the names of their layers, each made on its first use.
#[derive(Debug, Default)]
pub(super) struct Frozen(Mutex<BTreeMap<String, Arc<FrozenConv2d>>>);

impl Frozen {
    /// The convolution of a layer, made by `make` on the first call.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn conv2d(&self, layer: &str, make: impl FnOnce() -> Result<FrozenConv2d>) -> Result<Arc<FrozenConv2d>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(layer) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(make()?);
        kept.insert(layer.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}
