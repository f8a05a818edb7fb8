//! Weights of `fixtures/make_resnet18.py`.

use super::formula::unit;
use candle_core::{Device, Tensor};
use rankle_models::ImageFormat;
use std::collections::BTreeMap;

/// First stream of the fixture.
pub(crate) const FIRST_STREAM: u32 = 850_000;

/// Format of a color image with odd sides.
pub(crate) fn color_format() -> ImageFormat {
    ImageFormat { size: (61, 75), ..ImageFormat::imagenet() }
}

/// Names of the convolution and the batch normalization, and weight shape, of every unit.
fn units(channels: usize) -> Vec<(String, String, [usize; 4])> {
    let mut units = vec![("conv1".to_owned(), "bn1".to_owned(), [64, channels, 7, 7])];
    let mut inputs = 64;
    for (stage, outputs) in (1..).zip([64, 128, 256, 512]) {
        for block in 0..2 {
            let name = format!("layer{stage}.{block}");
            units.push((format!("{name}.conv1"), format!("{name}.bn1"), [outputs, inputs, 3, 3]));
            units.push((format!("{name}.conv2"), format!("{name}.bn2"), [outputs, outputs, 3, 3]));
            if stage > 1 && block == 0 {
                units.push((format!("{name}.downsample.0"), format!("{name}.downsample.1"), [outputs, inputs, 1, 1]));
            }
            inputs = outputs;
        }
    }
    units
}

/// All weights by torchvision's names.
pub(crate) fn parameters(channels: usize, first_stream: u32) -> BTreeMap<String, Tensor> {
    let mut parameters = BTreeMap::new();
    for (index, (conv, norm, shape)) in units(channels).into_iter().enumerate() {
        let (stream, n, fan_in) = (first_stream + 10 * index as u32, shape[0], shape[1..].iter().product::<usize>());
        let scale = 2f64.powi((6.0 / fan_in as f64).sqrt().log2().round() as i32) as f32;
        let mut add = |name: String, stream: u32, shape: &[usize], number: &dyn Fn(f32) -> f32| {
            let values: Vec<f32> = unit(stream, shape.iter().product()).into_iter().map(number).collect();
            parameters.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
        };
        add(format!("{conv}.weight"), stream + 1, &shape, &|u| u * scale);
        add(format!("{norm}.weight"), stream + 2, &[n], &|u| 0.75 + u * 0.25);
        add(format!("{norm}.bias"), stream + 3, &[n], &|u| u * 0.25);
        add(format!("{norm}.running_mean"), stream + 4, &[n], &|u| u * 0.25);
        add(format!("{norm}.running_var"), stream + 5, &[n], &|u| 1.5 + u);
    }
    parameters
}
