//! Operations on the logits of a batch, on any device.

use candle_core::Tensor;
use rankle_core::dataset::check_indices;
use rankle_core::{Error, Result};

/// One class per row of logits `(n, classes)`: `(n, classes)`, u8, 1 at the class.
///
/// # Errors
/// [`Error::Shape`] when there is not one class per row, [`Error::Index`] for a class without a logit.
pub(crate) fn one_hot(classes: &[u32], logits: &Tensor) -> Result<Tensor> {
    let &[n, len] = logits.dims() else { return Err(misfit(classes, logits)) };
    if n != classes.len() {
        return Err(misfit(classes, logits));
    }
    let places: Vec<usize> = classes.iter().map(|&class| class as usize).collect();
    check_indices("class", &places, len)?;
    let classes = Tensor::new(classes, logits.device())?.unsqueeze(1)?;
    Ok(Tensor::arange(0, len as u32, logits.device())?.unsqueeze(0)?.broadcast_eq(&classes)?)
}

fn misfit(classes: &[u32], logits: &Tensor) -> Error {
    let expected = format!("({}, classes), one row per image", classes.len());
    Error::Shape { what: "the logits", actual: logits.dims().to_vec(), expected }
}

/// The logits where `mask` is not 0, and negative infinity elsewhere.
pub(crate) fn only(mask: &Tensor, logits: &Tensor) -> Result<Tensor> {
    Ok(mask.where_cond(logits, &Tensor::full(f32::NEG_INFINITY, logits.shape(), logits.device())?)?)
}

/// The logit of each image's label less the largest other one, `(n)`: how far an image is from another class. Below 0 it is
/// misclassified; infinite if there is no other class.
///
/// # Errors
/// As [`one_hot`].
pub(crate) fn margin(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let own = one_hot(labels, logits)?;
    Ok((only(&own, logits)?.max(1)? - only(&own.eq(0u8)?, logits)?.max(1)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_margin_is_negative_where_another_class_is_ahead() {
        let logits = Tensor::new(&[[0.5f32, 2.0, -1.0], [0.5, 2.0, -1.0], [3.0, 3.0, 0.0]], &Device::Cpu).unwrap();
        assert_eq!(margin(&logits, &[1, 2, 0]).unwrap().to_vec1::<f32>().unwrap(), [1.5, -3.0, 0.0]);
        let alone = Tensor::new(&[[7f32]], &Device::Cpu).unwrap();
        assert_eq!(margin(&alone, &[0]).unwrap().to_vec1::<f32>().unwrap(), [f32::INFINITY]);
        assert!(matches!(margin(&logits, &[1, 3, 0]), Err(Error::Index { .. })));
        assert!(matches!(margin(&logits, &[1]), Err(Error::Shape { .. })));
    }
}
