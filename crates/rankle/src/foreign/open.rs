//! Models that are open: the lines of a plan that name one model share it.

use anyhow::Result;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Open models of one kind by their names, for as long as anybody uses them.
pub(super) struct Open<N, T>(Mutex<Vec<(N, Weak<T>)>>);

impl<N: PartialEq, T> Open<N, T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The model with this name, opened if it is not open.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn get(&self, name: N, open: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, model)| model.strong_count() > 0);
        if let Some(known) = all.iter().find(|(known, _)| *known == name).and_then(|(_, model)| model.upgrade()) {
            return Ok(known);
        }
        let model = Arc::new(open()?);
        all.push((name, Arc::downgrade(&model)));
        Ok(model)
    }
}
