//! Layers of a network whose weights stay the same for a while.

use candle_core::Result;
use rankle_ops::{FrozenConv2d, FrozenLinear};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Layers by their names, each made on its first use.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    pub(super) convolutions: Kept<FrozenConv2d>,
    pub(super) products: Kept<FrozenLinear>,
}

/// Layers of one kind.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<BTreeMap<String, Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// The layer of this name, made by `make` on the first call.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn get(&self, name: &str, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(name) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(make()?);
        kept.insert(name.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}
