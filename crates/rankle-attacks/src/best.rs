//! The best iterates of a search.

use candle_core::Tensor;
use rankle_core::numbers::numbers;
use rankle_core::{Place, Result};

/// The iterate with the lowest number so far, a loss or a rank, for each image of a batch.
pub(crate) struct Best<'a> {
    place: &'a Place,
    /// The kept images and their numbers.
    kept: Option<(Tensor, Tensor)>,
}

impl<'a> Best<'a> {
    pub(crate) fn new(place: &'a Place) -> Self {
        Self { place, kept: None }
    }

    /// Compares one iterate of every image with the kept one. Of equal numbers the earlier wins; NaN never wins.
    pub(crate) fn offer(&mut self, images: &Tensor, number: Tensor) -> Result<()> {
        self.kept = Some(match self.kept.take() {
            None => (images.clone(), number),
            Some((kept, lowest)) => {
                let wins = is_lower(&number, &lowest)?;
                (choose(self.place, &wins, images, &kept)?, wins.where_cond(&number, &lowest)?)
            }
        });
        Ok(())
    }

    /// The best images and their numbers; `None` if none was offered.
    pub(crate) fn into_kept(self) -> Option<(Tensor, Tensor)> {
        self.kept
    }

    /// The best images; `None` if none was offered.
    pub(crate) fn into_images(self) -> Option<Tensor> {
        self.kept.map(|(images, _)| images)
    }
}

/// 1 where a number is below an older one, or is one where the older is NaN; else 0.
pub(crate) fn is_lower(new: &Tensor, old: &Tensor) -> Result<Tensor> {
    // NaN is unequal to itself.
    let (is_number, was_number) = (new.eq(new)?, old.eq(old)?);
    Ok((new.lt(old)? + (is_number * was_number.eq(0u8)?)?)?.gt(0u8)?)
}

/// The images of `these` where `mask`, of one number per image, is not 0, and those of `others` elsewhere.
pub(crate) fn choose(place: &Place, mask: &Tensor, these: &Tensor, others: &Tensor) -> Result<Tensor> {
    if let Place::Kernels = place {
        let (mask, these) = (mask.to_vec1::<u8>()?, numbers(these)?);
        if mask.iter().all(|&mask| mask == 0) {
            return Ok(others.clone());
        }
        let mut chosen = numbers(others)?.to_vec();
        let size = chosen.len() / mask.len();
        let rows = chosen.chunks_exact_mut(size).zip(these.chunks_exact(size)).zip(mask);
        rows.filter(|(_, mask)| *mask != 0).for_each(|((chosen, this), _)| chosen.copy_from_slice(this));
        return Ok(Tensor::from_vec(chosen, others.shape(), others.device())?);
    }
    let shape: Vec<usize> = others.dims().iter().enumerate().map(|(at, &len)| if at == 0 { len } else { 1 }).collect();
    Ok(mask.reshape(shape)?.broadcast_as(others.shape())?.where_cond(these, others)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_lower_loss_wins_the_earlier_of_equals_and_nothing_that_is_no_number() {
        let images = |value: f32| Tensor::full(value, (5, 1, 1, 2), &Device::Cpu).unwrap();
        let (first, second) = ([1.0f32, 1.0, 1.0, f32::NAN, f32::NAN], [0.5f32, 1.0, f32::NAN, 7.0, f32::NAN]);
        for place in [Place::Kernels, Place::Tensors(Device::Cpu)] {
            let mut best = Best::new(&place);
            best.offer(&images(0.0), Tensor::new(&first, &Device::Cpu).unwrap()).unwrap();
            best.offer(&images(1.0), Tensor::new(&second, &Device::Cpu).unwrap()).unwrap();
            let kept = best.into_images().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(kept, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0], "{place:?}");
        }
        assert!(Best::new(&Place::Kernels).into_images().is_none());
    }
}
