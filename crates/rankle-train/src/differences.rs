//! Comparison of gradients with central differences, for the tests of the losses.

use candle_core::{Device, Tensor};
use rankle_core::{Distance, Embeddings};

/// Raw embeddings, `values.len() / dim` rows, in the space of a distance.
pub(crate) fn embedded(distance: Distance, values: &[f32], dim: usize) -> Embeddings {
    distance.normalize(&Tensor::from_slice(values, (values.len() / dim, dim), &Device::Cpu).unwrap()).unwrap()
}

/// Step of a coordinate to either side, size that some gradient must exceed, and largest difference allowed.
pub(crate) struct Bounds {
    pub(crate) step: f32,
    pub(crate) active: f32,
    pub(crate) tolerance: f64,
}

/// Asserts that the gradient with respect to every coordinate of the raw embeddings equals a central difference of the loss.
pub(crate) fn assert_gradient(
    distance: Distance,
    values: &[f32],
    dim: usize,
    Bounds { step, active, tolerance }: Bounds,
    loss: impl Fn(&Embeddings) -> (f64, Vec<f32>),
) {
    let embeddings = embedded(distance, values, dim);
    let gradient = embeddings.backward(&embeddings.like_rows(loss(&embeddings).1).unwrap()).unwrap();
    let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(gradient.iter().any(|g| g.abs() > active), "the test needs an active loss");
    for (at, &gradient) in gradient.iter().enumerate() {
        let moved = |by: f32| {
            let mut values = values.to_vec();
            values[at] += by;
            loss(&embedded(distance, &values, dim)).0
        };
        let difference = (moved(step) - moved(-step)) / f64::from(2.0 * step);
        assert!((difference - f64::from(gradient)).abs() < tolerance, "{distance} {at}: {difference} {gradient}");
    }
}
