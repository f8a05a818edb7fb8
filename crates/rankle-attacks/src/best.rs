//! The best iterates of a search.

use candle_core::Tensor;
use rankle_core::numbers::{doubles, numbers};
use rankle_core::{Place, Result};

/// The iterate with the lowest loss so far, for each image of a batch.
pub(crate) struct Best<'a> {
    place: &'a Place,
    /// The kept images and their losses.
    kept: Option<(Tensor, Tensor)>,
}

impl<'a> Best<'a> {
    pub(crate) fn new(place: &'a Place) -> Self {
        Self { place, kept: None }
    }

    /// Compares one iterate of every image with the kept one. Of equal losses the earlier wins; NaN never wins.
    pub(crate) fn offer(&mut self, images: &Tensor, loss: Tensor) -> Result<()> {
        self.kept = Some(match (self.kept.take(), self.place) {
            (None, _) => (images.clone(), loss),
            (Some(kept), Place::Kernels) => lower_on_the_cpu(kept, images, &loss)?,
            (Some(kept), Place::Tensors(_)) => lower(kept, images, &loss)?,
        });
        Ok(())
    }

    /// The best images; `None` if none was offered.
    pub(crate) fn into_images(self) -> Option<Tensor> {
        self.kept.map(|(images, _)| images)
    }
}

fn lower_on_the_cpu((images, loss): (Tensor, Tensor), new: &Tensor, new_loss: &Tensor) -> Result<(Tensor, Tensor)> {
    let (mut pixels, mut loss, new_loss) = (numbers(&images)?.to_vec(), doubles(&loss)?, doubles(new_loss)?);
    let new = numbers(new)?;
    let size = new.len() / loss.len();
    for (image, (&new_loss, old)) in new_loss.iter().zip(&mut loss).enumerate() {
        if new_loss < *old || (old.is_nan() && !new_loss.is_nan()) {
            *old = new_loss;
            pixels[image * size..][..size].copy_from_slice(&new[image * size..][..size]);
        }
    }
    let kept = Tensor::from_vec(pixels, images.shape(), &candle_core::Device::Cpu)?;
    Ok((kept.to_device(images.device())?, Tensor::new(loss, &candle_core::Device::Cpu)?))
}

fn lower((images, loss): (Tensor, Tensor), new: &Tensor, new_loss: &Tensor) -> Result<(Tensor, Tensor)> {
    // NaN is unequal to itself.
    let (is_number, was_number) = (new_loss.eq(new_loss)?, loss.eq(&loss)?);
    let wins = (new_loss.lt(&loss)? + (is_number * was_number.eq(0u8)?)?)?.gt(0u8)?;
    let shape: Vec<usize> = images.dims().iter().enumerate().map(|(at, &len)| if at == 0 { len } else { 1 }).collect();
    let mask = wins.reshape(shape)?.broadcast_as(images.shape())?;
    Ok((mask.where_cond(new, &images)?, wins.where_cond(new_loss, &loss)?))
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
