//! A tensor's numbers as a slice, without a copy where the layout allows it.

use candle_core::{Storage, Tensor};
use rankle_core::Result;

/// Runs `work` on the numbers of a tensor in row-major order.
pub(crate) fn with_slice<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T> {
    {
        let (storage, layout) = tensor.storage_and_layout();
        if let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) {
            return Ok(work(&storage.as_slice::<f32>()?[start..end]));
        }
    }
    Ok(work(&tensor.flatten_all()?.to_vec1::<f32>()?))
}
