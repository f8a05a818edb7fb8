//! Identity of a model without a file: the distances between the embeddings of fixed images.

use candle_core::{Device, Tensor};
use rankle_core::numbers::numbers;
use rankle_core::{Distance, Embedder, Error, Result};

/// Number of probe images.
pub const PROBES: usize = 16;

/// The probe images of a shape, `(PROBES, c, h, w)`: patches of random colors, 2 to 16 on a side. Integers alone choose the colors,
/// so that the images are the same on every machine.
///
/// # Errors
/// [`Error::Tensor`] for a shape without pixels.
pub fn probe_images((channels, height, width): (usize, usize, usize)) -> Result<Tensor> {
    let mut pixels = Vec::with_capacity(PROBES * channels * height * width);
    for image in 0..PROBES {
        let patches = 2 << (image % 4);
        for channel in 0..channels {
            for y in 0..height {
                let row = y * patches / height;
                pixels.extend((0..width).map(|x| color([image, channel, row, x * patches / width])));
            }
        }
    }
    Ok(Tensor::from_vec(pixels, (PROBES, channels, height, width), &Device::Cpu)?)
}

/// A multiple of 1/255, by the mixing function of splitmix64.
fn color(place: [usize; 4]) -> f32 {
    let mut bits = place.into_iter().fold(0u64, |bits, at| bits << 16 | at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ bits >> 31) >> 56) as f32 / 255.0
}

/// The distances of all pairs of probe images by the model's distance, in double precision: 0-1, 0-2, …, 14-15.
///
/// # Errors
/// Errors of the model, and [`Error::Unrankable`] for an embedding of zeros, which has no cosine distance.
pub fn probe_distances(model: &dyn Embedder) -> Result<Vec<f64>> {
    let embeddings = model.embed(&probe_images(model.input().shape)?)?.to_device(&Device::Cpu)?;
    let values = numbers(&embeddings)?;
    let rows: Vec<Vec<f64>> =
        values.chunks_exact((values.len() / PROBES).max(1)).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let zero = |row: &Vec<f64>| dot(row, row) == 0.0;
    if let (Distance::Cosine, Some(at)) = (model.distance(), rows.iter().position(zero)) {
        let why = "is zero, which has no cosine distance to others";
        return Err(Error::Unrankable { whose: format!("probe image {at}"), why });
    }
    let distance = |a: &[f64], b: &[f64]| match model.distance() {
        Distance::Cosine => (1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).max(0.0),
        Distance::Euclidean => a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
    };
    let pairs = rows.iter().enumerate().flat_map(|(at, a)| rows[at + 1..].iter().map(move |b| (a, b)));
    Ok(pairs.map(|(a, b)| distance(a, b)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_core::InputSpec;

    struct Pixels(Distance);

    impl Embedder for Pixels {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            Ok(images.flatten_from(1)?)
        }
        fn distance(&self) -> Distance {
            self.0
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape((1, 8, 8))
        }
    }

    #[test]
    fn probe_images_never_change() {
        let images = probe_images((3, 28, 28)).unwrap();
        let pixels = numbers(&images).unwrap();
        assert!(pixels.iter().all(|x| (0.0..=1.0).contains(x)));
        let first: Vec<u8> = [0, 14, 784, 2352, 37_631].iter().map(|&at: &usize| (255.0 * pixels[at]).round() as u8).collect();
        assert_eq!(first, [0, 226, 190, 165, 60]);
    }

    #[test]
    fn every_pair_has_a_distance_and_other_models_have_others() {
        for distance in Distance::ALL {
            let distances = probe_distances(&Pixels(distance)).unwrap();
            assert_eq!(distances.len(), PROBES * (PROBES - 1) / 2);
            assert!(distances.iter().all(|&d| d > 0.05), "{distances:?}");
        }
    }
}
