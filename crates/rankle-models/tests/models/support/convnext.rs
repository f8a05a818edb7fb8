//! Weights of `fixtures/make_convnext.py`.

use super::formula::{byte, weights};
use candle_core::{Device, Tensor};
use rankle_models::{Scale, weights::Tensors};

/// First stream of the fixture.
pub(crate) const FIRST_STREAM: u32 = 900_000;

pub(crate) fn images(n: usize) -> Tensor {
    let pixels: Vec<f32> = byte(FIRST_STREAM + 500, n * 3 * 64 * 64).into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    Tensor::from_vec(pixels, (n, 3, 64, 64), &Device::Cpu).unwrap()
}

/// Names and shapes of timm's parameters.
fn shapes(scale: Scale) -> Vec<(String, Vec<usize>)> {
    let (depths, widths) = match scale {
        Scale::Atto => ([2, 2, 6, 2], [40, 80, 160, 320]),
        Scale::Tiny => ([3, 3, 9, 3], [96, 192, 384, 768]),
    };
    let mut shapes = Vec::new();
    let mut layer = |name: String, weight: &[usize]| {
        shapes.push((format!("{name}.bias"), vec![weight[0]]));
        shapes.push((format!("{name}.weight"), weight.to_vec()));
    };
    layer("stem.0".into(), &[widths[0], 3, 4, 4]);
    layer("stem.1".into(), &[widths[0]]);
    layer("head.norm".into(), &[widths[3]]);
    let mut gammas = Vec::new();
    for stage in 0..4 {
        let width = widths[stage];
        if stage > 0 {
            layer(format!("stages.{stage}.downsample.0"), &[widths[stage - 1]]);
            layer(format!("stages.{stage}.downsample.1"), &[width, widths[stage - 1], 2, 2]);
        }
        for block in (0..depths[stage]).map(|block| format!("stages.{stage}.blocks.{block}")) {
            // The smaller networks have convolutions where the larger ones have dense layers.
            let ones: &[usize] = if matches!(scale, Scale::Atto) { &[1, 1] } else { &[] };
            layer(format!("{block}.conv_dw"), &[width, 1, 7, 7]);
            layer(format!("{block}.norm"), &[width]);
            layer(format!("{block}.mlp.fc1"), &[&[4 * width, width], ones].concat());
            layer(format!("{block}.mlp.fc2"), &[&[width, 4 * width], ones].concat());
            gammas.push((format!("{block}.gamma"), vec![width]));
        }
    }
    shapes.append(&mut gammas);
    shapes.sort();
    shapes
}

/// All weights by timm's names. The stream of a weight is its position in the order of the names.
pub(crate) fn parameters(scale: Scale) -> Tensors {
    weights(FIRST_STREAM, shapes(scale))
}
