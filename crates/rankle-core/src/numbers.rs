//! Reading tensors on the host: the only exit from a device.

use crate::Result;
use candle_core::{CpuStorage, DType, Storage, Tensor};
use std::cell::Cell;
use std::ops::{Deref, Range};

thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// Number of tensors that this thread has read so far. Inside a search on a device it stays the same.
pub fn reads() -> u64 {
    READS.get()
}

/// The numbers of `tensor` in row-major order: borrowed if they are contiguous on the CPU, else copied. While they are borrowed
/// the tensor is locked for writing.
///
/// # Errors
/// [`crate::Error::Tensor`] when the numbers are not f32 or cannot be copied.
pub fn numbers(tensor: &Tensor) -> Result<impl Deref<Target = [f32]>> {
    READS.set(READS.get() + 1);
    read(tensor)
}

/// The numbers of a vector, in double precision.
///
/// # Errors
/// [`crate::Error::Tensor`] when it is no vector, or cannot be copied.
pub fn doubles(vector: &Tensor) -> Result<Vec<f64>> {
    READS.set(READS.get() + 1);
    Ok(vector.to_dtype(DType::F64)?.to_vec1()?)
}

enum Numbers<G> {
    Borrowed { storage: G, range: Range<usize> },
    Copied(Vec<f32>),
}

fn read(tensor: &Tensor) -> Result<Numbers<impl Deref<Target = Storage>>> {
    let (storage, layout) = tensor.storage_and_layout();
    Ok(match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => Numbers::Borrowed { storage, range: start..end },
        _ => {
            drop(storage);
            Numbers::Copied(tensor.flatten_all()?.to_vec1()?)
        }
    })
}

impl<G: Deref<Target = Storage>> Deref for Numbers<G> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match self {
            Self::Copied(numbers) => numbers,
            Self::Borrowed { storage, range } => match &**storage {
                Storage::Cpu(CpuStorage::F32(numbers)) => &numbers[range.clone()],
                _ => unreachable!("only f32 on the CPU is borrowed, and the guard pins it"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn views_read_like_their_copies() {
        let whole = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap().reshape((3, 4)).unwrap();
        let rows = whole.narrow(0, 1, 2).unwrap();
        assert!(matches!(read(&rows).unwrap(), Numbers::Borrowed { .. }));
        assert_eq!(&*numbers(&rows).unwrap(), &[4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(&*numbers(&whole.narrow(1, 0, 2).unwrap()).unwrap(), &[0.0, 1.0, 4.0, 5.0, 8.0, 9.0]);
    }
}
