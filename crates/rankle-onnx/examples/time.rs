//! Times a file: `cargo run --release -p rankle-onnx --example time FILE[,option=value..] [IMAGES]`.

use candle_core::{Device, Tensor};
use rankle_core::{Differentiable, Distance, Embedder, Place};
use rankle_onnx::{OnnxModel, Options};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (file, options) = Options::parse(&arguments.next().ok_or("a file is missing")?)?;
    let images: usize = arguments.next().map_or(Ok(8), |images| images.parse())?;
    let start = Instant::now();
    let model = OnnxModel::load(&file, &options, Distance::Cosine, &Place::Kernels)?;
    println!("load {:.3} s", start.elapsed().as_secs_f64());
    let (c, h, w) = model.input().shape;
    let images = Tensor::rand(0f32, 1.0, (images, c, h, w), &Device::Cpu)?;
    let least = |work: &dyn Fn() -> rankle_core::Result<Tensor>| -> rankle_core::Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            work()?;
            least = least.min(start.elapsed().as_secs_f64());
        }
        Ok(least)
    };
    println!("forward {:.3} s", least(&|| model.embed(&images))?);
    println!("forward and gradient {:.3} s", least(&|| model.input_gradient(&images, &mut |embeddings| Ok(embeddings.clone())))?);
    Ok(())
}
