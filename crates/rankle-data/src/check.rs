//! Check of every image of a dataset before work is spent on it.

use rankle_core::{Dataset, Error, Result};
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A progress callback: takes the numbers of images checked and of all images, from any thread; a `Break` ends the check.
pub type Watch<'a> = &'a (dyn Fn(usize, usize) -> ControlFlow<()> + Sync);

/// An image that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenImage {
    /// Its index in the dataset.
    pub index: usize,
    /// The error message: the file and what is wrong with it.
    pub reason: String,
}

/// Decodes every image of a dataset, on the current rayon pool, and returns those that fail, in order.
///
/// # Errors
/// [`Error::Interrupted`] if `watch` stopped it.
pub fn broken_images(dataset: &dyn Dataset, watch: Watch<'_>) -> Result<Vec<BrokenImage>> {
    let look = |index| dataset.images(&[index]).err().map(|error| BrokenImage { index, reason: error.to_string() });
    find(dataset.len(), watch, look).ok_or(Error::Interrupted)
}

/// The results of `look` for all indices below `len`, in order, without `None`s; `None` if `watch` stopped it.
pub(crate) fn find<T: Send>(len: usize, watch: Watch<'_>, look: impl Fn(usize) -> Option<T> + Sync) -> Option<Vec<T>> {
    let done = AtomicUsize::new(0);
    let all: Option<Vec<Option<T>>> = (0..len)
        .into_par_iter()
        .map(|index| {
            let found = look(index);
            watch(done.fetch_add(1, Ordering::Relaxed) + 1, len).is_continue().then_some(found)
        })
        .collect();
    Some(all?.into_iter().flatten().collect())
}

/// A [`Watch`] that does nothing.
pub(crate) fn nobody(_done: usize, _of: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_found_in_order_and_told_until_it_is_ended() {
        let most = AtomicUsize::new(0);
        let watch = |done, of| {
            assert_eq!(of, 100);
            most.fetch_max(done, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        let found = find(100, &watch, |index| (index % 30 == 7).then_some(index));
        assert_eq!((found, most.into_inner()), (Some(vec![7, 37, 67, 97]), 100));
        let looked = AtomicUsize::new(0);
        let ended = find(10_000, &|done, _| if done == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }, |_| {
            looked.fetch_add(1, Ordering::Relaxed);
            Some(())
        });
        assert!(ended.is_none() && looked.into_inner() < 10_000);
        assert_eq!(find(0, &nobody, |_| Some(())), Some(Vec::new()));
    }
}
