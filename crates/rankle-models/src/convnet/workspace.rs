//! Memory: how large the pieces of a batch are, and what a thread keeps from piece to piece.

use super::layers::Layers;
use rankle_kernels::Aligned;
use rankle_kernels::conv::Scratch;
use std::cell::RefCell;

/// Images per chunk, at most: four full tiles of rows, whose features fit the second-level cache.
pub(super) const CHUNK: usize = 56;

/// Images per group of summed weight gradients, at most: each pass over the dense weights serves a whole group.
pub(super) const GROUP: usize = 64;

/// One thread's working memory: fresh pages would cost more than some layers.
pub(super) struct Workspace<'a> {
    /// The padded input of the first convolution, of one image.
    pub(super) padded: &'a mut [f32],
    /// That of the second; zero at first, so that its borders are.
    pub(super) pooled: &'a mut [f32],
    /// The features of a chunk or a group.
    pub(super) features: &'a mut [f32],
    pub(super) scratch: &'a mut Scratch,
}

/// Lends this thread's memory to `work`, for `images` images of a network.
pub(super) fn with_workspace<T>(layers: &Layers, images: usize, work: impl FnOnce(Workspace<'_>) -> T) -> T {
    thread_local! {
        static MEMORY: RefCell<([Aligned; 3], Scratch)> =
            RefCell::new((std::array::from_fn(|_| Aligned::zeros(0)), Scratch::default()));
    }
    MEMORY.with_borrow_mut(|([padded, pooled, features], scratch)| {
        let pooled = first(pooled, layers.second().padded_len());
        // A backward pass leaves gradients where the next forward pass expects zeros.
        pooled.fill(0.0);
        let (padded, features) = (first(padded, layers.first().padded_len()), first(features, images * layers.features()));
        work(Workspace { padded, pooled, features, scratch })
    })
}

/// The first `len` numbers of a buffer that grows when it must.
fn first(buffer: &mut Aligned, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        *buffer = Aligned::zeros(len);
    }
    &mut buffer[..len]
}
