//! ConvNeXt compared with timm and with finite differences of its forward pass; equal bits for every batch size.

#[path = "support/convnext.rs"]
mod convnext;
#[path = "support/formula.rs"]
mod formula;

use candle_core::{DType, Device, Tensor, safetensors};
use convnext::{FIRST_STREAM, format, images, parameters};
use formula::unit;
use rankle_core::{Differentiable, Distance, Embedder, Error};
use rankle_models::{Architecture, ConvNext, ImageFormat, Scale, weights};

/// Largest allowed difference, relative to the largest value of the reference. timm's own float32 is within 9e-7 of it; the
/// constants in candle's gradient of GELU have six digits.
const TOLERANCE: f64 = 5e-6;
const DIM: usize = 320;

fn model(scale: Scale) -> ConvNext {
    ConvNext::from_tensors(scale, &parameters(scale), format(), Distance::Cosine).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).and_then(|t| t.flatten_all()?.to_vec1()).unwrap()
}

fn upstream(n: usize, dim: usize) -> Tensor {
    Tensor::from_vec(unit(FIRST_STREAM + 501, n * dim), (n, dim), &Device::Cpu).unwrap()
}

fn gradient(model: &ConvNext, images: &Tensor, upstream: &Tensor) -> Tensor {
    model.input_gradient(images, &mut |_| Ok(upstream.clone())).unwrap()
}

fn check(what: &str, ours: &[f64], reference: &Tensor) {
    let reference = numbers(reference);
    assert_eq!(ours.len(), reference.len(), "{what}");
    let largest = reference.iter().fold(0.0, |most: f64, r| most.max(r.abs()));
    let worst = ours.iter().zip(&reference).map(|(o, r)| (o - r).abs() / largest).fold(0.0, f64::max);
    assert!(worst <= TOLERANCE && ours.iter().all(|o| o.is_finite()), "{what}: {worst:e}");
}

#[test]
fn embeddings_and_input_gradients_equal_timm() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/convnext.safetensors");
    let fixture = safetensors::load(path, &Device::Cpu).unwrap();
    let images = images(1);
    for (scale, name, part) in [(Scale::Atto, "atto", ""), (Scale::Tiny, "tiny", ".slice")] {
        let model = model(scale);
        check(&format!("{name}: embedding"), &numbers(&model.embed(&images).unwrap()), &fixture[&format!("{name}.embedding")]);
        let gradient = numbers(&gradient(&model, &images, &upstream(1, scale.embedding_size())));
        let gradient: Vec<f64> = gradient.into_iter().step_by(if part.is_empty() { 1 } else { 7 }).collect();
        check(&format!("{name}: input gradient"), &gradient, &fixture[&format!("{name}.input_gradient{part}")]);
    }
}

/// Directional derivatives in double precision, along directions in which all pixels move. The differences are accurate to ten
/// digits, the gradient to six, because candle's constants have six digits.
#[test]
fn input_gradients_are_the_gradient_of_the_forward_pass() {
    let parameters = parameters(Scale::Atto);
    let model = ConvNext::with_dtype(Scale::Atto, &parameters, format(), Distance::Cosine, DType::F64).unwrap();
    let images = images(1).to_dtype(DType::F64).unwrap();
    let upstream = upstream(1, DIM).to_dtype(DType::F64).unwrap();
    let loss = |images: &Tensor| numbers(&(model.embed(images).unwrap() * &upstream).unwrap()).iter().sum::<f64>();
    let gradient = gradient(&model, &images, &upstream);
    assert_eq!(gradient.dtype(), DType::F64);
    let gradient = numbers(&gradient);
    let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    for direction in 0..6 {
        let step: Vec<f64> = unit(FIRST_STREAM + 600 + direction, gradient.len()).into_iter().map(f64::from).collect();
        let expected: f64 = gradient.iter().zip(&step).map(|(g, s)| g * s).sum();
        let step = Tensor::from_vec(step, images.shape(), &Device::Cpu).unwrap();
        let at = |h: f64| loss(&(&images + (&step * h).unwrap()).unwrap());
        // Central difference of fourth order.
        let h = 2f64.powi(-12);
        let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
        assert!((difference - expected).abs() < 2e-6 * length, "direction {direction}: {difference} {expected} of {length}");
    }
}

#[test]
fn the_same_bits_for_every_batch_and_number_of_threads() {
    let (model, n) = (model(Scale::Atto), 2);
    let (images, upstream) = (images(n), upstream(n, DIM));
    let run = |threads: usize, batch: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut bits = Vec::new();
            for first in (0..n).step_by(batch) {
                let rows = batch.min(n - first);
                let images = images.narrow(0, first, rows).unwrap();
                let gradient = gradient(&model, &images, &upstream.narrow(0, first, rows).unwrap());
                bits.push([numbers(&model.embed(&images).unwrap()), numbers(&gradient)]);
            }
            let parts = |part: usize| bits.iter().flat_map(|both| both[part].iter().map(|x| x.to_bits())).collect::<Vec<_>>();
            [parts(0), parts(1)]
        })
    };
    let expected = run(1, 1);
    assert_eq!((expected[0].len(), expected[1].len()), (n * DIM, n * 3 * 64 * 64));
    for (threads, batch) in [(2, 2), (3, 1)] {
        assert!(run(threads, batch) == expected, "{threads} threads, batches of {batch}");
    }
}

/// Refusal of weights that do not fit, among them a missing scale per channel (`gamma`), without which candle would go on.
#[test]
fn weights_that_do_not_fit_are_named() {
    let load = |tensors: &weights::Tensors| ConvNext::from_tensors(Scale::Atto, tensors, format(), Distance::Cosine);
    let good = parameters(Scale::Atto);
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let nan = (zeros(&[40]) + f64::NAN).unwrap();
    for (name, tensor, problem) in [
        ("stages.2.blocks.5.gamma", None, "is missing"),
        ("stages.0.blocks.1.norm.weight", None, "is missing"),
        ("head.norm.bias", None, "is missing"),
        ("stem.1.bias", Some(zeros(&[41])), "has shape [41], this model needs [40]"),
        ("stem.1.weight", Some(nan), "weights must be finite"),
        ("stages.0.blocks.0.mlp.grn.weight", Some(zeros(&[160])), "belongs to no parameter"),
        ("head.fc2.weight", Some(zeros(&[10, 320])), "belongs to no parameter"),
    ] {
        let mut tensors = good.clone();
        match tensor {
            Some(tensor) => drop(tensors.insert(name.into(), tensor)),
            None => drop(tensors.remove(name)),
        }
        match load(&tensors).map(|_| ()) {
            Err(Error::Refused(message)) => {
                assert!(message.contains(&format!("'{name}'")) && message.contains(problem), "{message}")
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let mut classifier = good;
    classifier.insert("head.fc.weight".into(), zeros(&[1000, 320]));
    classifier.insert("head.fc.bias".into(), zeros(&[1000]));
    assert!(load(&classifier).is_ok());
}

#[test]
fn formats_and_batches_that_do_not_fit_are_refused() {
    let parameters = parameters(Scale::Atto);
    for (size, channels) in [((32, 32), 3), ((64, 65), 3), ((0, 64), 3), ((64, 64), 1)] {
        let format = ImageFormat { size, mean: vec![0.5; channels], std: vec![0.5; channels] };
        let made = ConvNext::from_tensors(Scale::Atto, &parameters, format, Distance::Cosine);
        assert!(matches!(made, Err(Error::Shape { .. })), "{size:?}, {channels}");
    }
    let model = model(Scale::Atto);
    let good = images(2);
    assert!(matches!(model.embed(&good.narrow(2, 0, 32).unwrap()), Err(Error::Shape { .. })));
    assert!(matches!(model.embed(&(&good * f64::NAN).unwrap()), Err(Error::NotFinite(_))));
    assert!(matches!(model.input_gradient(&good, &mut |_| Ok(upstream(3, DIM))), Err(Error::Shape { .. })));
    let none = good.narrow(0, 0, 0).unwrap();
    assert_eq!(model.embed(&none).unwrap().dims(), [0, DIM]);
    assert_eq!(gradient(&model, &none, &upstream(0, DIM)).dims(), [0, 3, 64, 64]);
}

/// Loading by name from a file, as the driver does.
#[test]
fn the_name_loads_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("atto.safetensors");
    weights::write(&file, &parameters(Scale::Atto)).unwrap();
    let architecture: Architecture = "convnext-atto,size=64".parse().unwrap();
    let loaded = architecture.load(&file, Distance::Cosine).unwrap();
    assert_eq!(loaded.embed(&images(1)).unwrap().dims(), [1, architecture.embedding_size()]);
    let message = Architecture::CONVNEXT_TINY.load(&file, Distance::Cosine).err().unwrap().to_string();
    assert!(message.starts_with(&file.display().to_string()) && message.contains("this model needs"), "{message}");
    let message = architecture.initialize(Distance::Cosine, rankle_core::Seed(0)).err().unwrap().to_string();
    assert!(message.contains("convnext-atto,size=64 cannot be trained here"), "{message}");
}
