//! Initial weights of ResNet-18: torchvision's distributions for photographs, PyTorch's default for the paper's 28×28.

use rankle_core::{Distance, Seed, Trainable};
use rankle_models::{ImageFormat, ResNet18};

/// Mean, standard deviation and kurtosis (3 of a normal distribution, 1.8 of a uniform one).
fn moments(values: &[f32]) -> (f64, f64, f64) {
    let mean_of = |power: i32, mean: f64| {
        values.iter().map(|&value| (f64::from(value) - mean).powi(power)).sum::<f64>() / values.len() as f64
    };
    let mean = mean_of(1, 0.0);
    let variance = mean_of(2, mean);
    (mean, variance.sqrt(), mean_of(4, mean) / (variance * variance))
}

fn parameters(format: ImageFormat, head: Option<usize>, seed: u64) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let model = ResNet18::initialize(format, head, Distance::Cosine, Seed(seed));
    let tensors = model.parameters().unwrap();
    let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec(), values(tensor))).collect()
}

#[test]
fn photographs_start_as_torchvision_starts() {
    let mut convolutions = 0;
    for (name, shape, values) in parameters(ImageFormat::imagenet_of(64), Some(128), 0) {
        let (mean, deviation, kurtosis) = moments(&values);
        let root = (values.len() as f64).sqrt();
        let near = |found: f64, wanted: f64, error: f64| (found - wanted).abs() < 5.0 * error;
        match (&shape[..], name.ends_with(".weight")) {
            // kaiming_normal_(mode="fan_out", nonlinearity="relu")
            (&[outputs, _, height, width], _) => {
                let wanted = (2.0 / (outputs * height * width) as f64).sqrt();
                assert!(near(deviation, wanted, wanted / (2f64.sqrt() * root)), "{name}: {deviation} instead of {wanted}");
                assert!(near(mean, 0.0, wanted / root), "{name}: a mean of {mean}");
                assert!(near(kurtosis, 3.0, 24f64.sqrt() / root), "{name}: a kurtosis of {kurtosis}");
                convolutions += 1;
            }
            // kaiming_uniform_(a=√5): uniform in ±1/√inputs, of the bias as well
            _ if name.starts_with("fc.") => {
                let bound = 1.0 / 512f64.sqrt();
                let widest = values.iter().fold(0f32, |most, value| most.max(value.abs()));
                assert!(f64::from(widest) <= bound && f64::from(widest) > 0.9 * bound, "{name}: up to {widest}");
                assert!(near(kurtosis, 1.8, 1.2 / root), "{name}: a kurtosis of {kurtosis}");
            }
            (_, is_weight) => {
                let wanted = if is_weight || name.ends_with("running_var") { 1.0 } else { 0.0 };
                assert!(values.iter().all(|&value| value == wanted), "{name}");
            }
        }
    }
    assert_eq!(convolutions, 20);
}

#[test]
fn draws_are_keyed_by_the_seed_and_nothing_else() {
    let of = |side, head, seed| parameters(ImageFormat::imagenet_of(side), head, seed);
    let convolutions = |mut parameters: Vec<(String, Vec<usize>, Vec<f32>)>| {
        parameters.retain(|(_, shape, _)| shape.len() == 4);
        parameters
    };
    assert_eq!(of(64, Some(8), 3), of(64, Some(8), 3));
    assert_eq!(convolutions(of(64, None, 3)), convolutions(of(32, Some(8), 3)), "neither the size nor the head changes them");
    let (one, other) = (convolutions(of(64, None, 3)), convolutions(of(64, None, 4)));
    assert!(one.iter().zip(&other).all(|(one, other)| one.2 != other.2));
    // No layer repeats another's draws.
    let beginning = |at: usize| one[at].2[..4].iter().map(|value| value / one[at].2[0]).collect::<Vec<_>>();
    assert!((1..one.len()).all(|at| beginning(at) != beginning(0)));
}

/// Initial weights at 28×28, bit for bit those of every published record of the paper's network.
#[test]
fn the_papers_network_starts_as_ever() {
    for (head, wanted) in [(None, 0x18ef_c86f_f66e_44d2), (Some(512), 0xe880_9ac9_f27d_0a8d)] {
        let bits = parameters(ImageFormat::gray28(), head, 0).into_iter().flat_map(|(_, _, values)| values);
        // FNV-1a over the bits of all parameters, by name.
        let hash = bits.fold(0xcbf2_9ce4_8422_2325_u64, |hash, value| {
            (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
        });
        assert_eq!(hash, wanted, "{hash:#018x}, with a head of {head:?}");
    }
}
