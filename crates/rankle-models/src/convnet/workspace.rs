//! Chunk sizes, and the working memory that a thread reuses.

use super::layers::Layers;
use rankle_kernels::Aligned;
use rankle_kernels::conv::Scratch;
use std::cell::RefCell;

/// Maximum number of images per chunk: four full tiles of rows, whose features fit the second-level cache.
pub(super) const CHUNK: usize = 56;

/// Maximum number of images whose weight gradients are summed as one group: each pass over the dense weights serves a group.
pub(super) const GROUP: usize = 64;

/// Working memory of one thread, reused because fresh pages would cost more than some layers.
pub(super) struct Workspace<'a> {
    /// Padded input of the first convolution, for one image.
    pub(super) padded: &'a mut [f32],
    /// Padded input of the second convolution, for one image. Zeroed before use, because its borders must be zero.
    pub(super) pooled: &'a mut [f32],
    /// Features of a chunk or a group.
    pub(super) features: &'a mut [f32],
    pub(super) scratch: &'a mut Scratch,
}

/// Lends the memory of this thread to `work`, with features for `images` images.
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

/// First `len` values of a buffer, which grows if it is shorter.
fn first(buffer: &mut Aligned, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        *buffer = Aligned::zeros(len);
    }
    &mut buffer[..len]
}
