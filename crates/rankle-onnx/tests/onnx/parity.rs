//! Exports of image networks against onnxruntime and PyTorch: `tests/fixtures/make.py` writes the files.

use crate::common::numbers;
use candle_core::{Device, Tensor};
use rankle_core::{Differentiable, Distance, Embedder, Place};
use rankle_onnx::{OnnxModel, Options};
use std::path::Path;

/// The largest difference, relative to the largest expected number.
fn apart(actual: &Tensor, expected: &Tensor) -> f32 {
    assert_eq!(actual.shape(), expected.shape());
    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (actual, expected) = (values(actual), values(expected));
    assert!(actual.iter().all(|x| x.is_finite()));
    let largest = expected.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    actual.iter().zip(&expected).fold(0f32, |most, (a, e)| most.max((a - e).abs())) / largest
}

/// Relative errors of embeddings and gradients of a network, by `place`, with the largest allowed ones: 1e-5 and 1e-4 or, if the file
/// says so, three times what PyTorch's f32 is away from its f64.
fn errors(folder: &Path, name: &str, place: &Place) -> [(f32, f32); 2] {
    let model = OnnxModel::load(&folder.join(format!("{name}.onnx")), &Options::default(), Distance::Cosine, place).unwrap();
    let stored = candle_core::safetensors::load(folder.join(format!("{name}.safetensors")), &Device::Cpu).unwrap();
    let (c, h, w) = model.input().shape;
    let images = numbers(1000, &[2, c, h, w]);
    let upstream = numbers(1001, &[2, model.embedding_size()]).affine(2.0, -1.0).unwrap();
    let embeddings = model.embed(&images).unwrap();
    let gradient = model.input_gradient(&images, &mut |seen| {
        assert_eq!(apart(seen, &embeddings), 0.0);
        Ok(upstream.clone())
    });
    let rounding = stored.get("rounding").map_or(vec![0.0; 2], |rounding| rounding.to_vec1().unwrap());
    let limit = |at: usize, least: f32| least.max(3.0 * rounding[at]);
    [
        (apart(&embeddings, &stored["embeddings"]), limit(0, 1e-5)),
        (apart(&gradient.unwrap(), &stored["gradient"]), limit(1, 1e-4)),
    ]
}

/// Compares all networks of a folder.
fn check(folder: &Path) {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let networks = files.filter(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    let mut names = networks.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>();
    names.sort();
    assert!(!names.is_empty());
    let mut wrong = Vec::new();
    for name in names {
        for place in [Place::Kernels, Place::Tensors(Device::Cpu)] {
            let [embeddings, gradient] = errors(folder, &name, &place);
            println!(
                "{name}: embeddings {:.1e} of {:.1e}, gradient {:.1e} of {:.1e}",
                embeddings.0, embeddings.1, gradient.0, gradient.1
            );
            if [embeddings, gradient].iter().any(|(error, limit)| error > limit) {
                wrong.push(format!("{name} by {place:?}: embeddings {embeddings:?}, gradient {gradient:?} (error, limit)"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn small_networks_are_those_of_onnxruntime_and_pytorch() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
}

/// The same in full size, on the folder that `make.py --full target/onnx-exports` writes: `cargo test -p rankle-onnx --features full-size`.
#[cfg(feature = "full-size")]
#[test]
fn full_networks_are_those_of_onnxruntime_and_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/onnx-exports");
    assert!(
        folder.is_dir(),
        "make the exports first: python crates/rankle-onnx/tests/fixtures/make.py --full target/onnx-exports"
    );
    check(&folder);
}
