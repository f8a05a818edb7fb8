//! ConvNeXt compared with timm and with finite differences of its forward pass; equal bits for every batch size.

use crate::support::convnext::{FIRST_STREAM, images, parameters};
use crate::support::formula::unit;
use candle_core::{DType, Device, Tensor, safetensors};
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Error, Place, Seed, Trainable};
use rankle_models::weights::{self, Tensors};
use rankle_models::{Architecture, ConvNext, ImageFormat, Scale, TensorModel};

/// Largest allowed difference, relative to the largest value of the reference. Measured are 1.3e-6; timm's own float32 is within
/// 9e-7.
const TOLERANCE: f64 = 3e-6;
const DIM: usize = 320;

fn load(tensors: &Tensors, scale: Scale, side: usize, place: &Place) -> rankle_core::Result<TensorModel> {
    TensorModel::new(Box::new(ConvNext::new(scale, ImageFormat::imagenet_of(side))?), tensors, Distance::Cosine, place)
}

fn model(scale: Scale) -> TensorModel {
    load(&parameters(scale), scale, 64, &Place::Kernels).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).and_then(|t| t.flatten_all()?.to_vec1()).unwrap()
}

fn upstream(n: usize, dim: usize) -> Tensor {
    Tensor::from_vec(unit(FIRST_STREAM + 501, n * dim), (n, dim), &Device::Cpu).unwrap()
}

fn gradient(model: &TensorModel, images: &Tensor, upstream: &Tensor) -> Tensor {
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

/// Directional derivatives in double precision, along directions in which all pixels move; of 32×32 images, too, whose last maps
/// have one pixel. Measured are differences of 3e-12.
#[test]
fn input_gradients_are_the_gradient_of_the_forward_pass() {
    let parameters = parameters(Scale::Atto);
    for (side, directions) in [(64, 2), (32, 4)] {
        let model = load(&parameters, Scale::Atto, side, &Place::Kernels).and_then(|model| model.with_dtype(DType::F64)).unwrap();
        let images = images(1).narrow(2, 0, side).and_then(|t| t.narrow(3, 0, side)?.to_dtype(DType::F64)).unwrap();
        let upstream = upstream(1, DIM).to_dtype(DType::F64).unwrap();
        let loss = |images: &Tensor| numbers(&(model.embed(images).unwrap() * &upstream).unwrap()).iter().sum::<f64>();
        let gradient = gradient(&model, &images, &upstream);
        assert_eq!(gradient.dtype(), DType::F64);
        let gradient = numbers(&gradient);
        let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        for direction in 0..directions {
            let step: Vec<f64> = unit(FIRST_STREAM + 600 + direction, gradient.len()).into_iter().map(f64::from).collect();
            let expected: f64 = gradient.iter().zip(&step).map(|(g, s)| g * s).sum();
            let step = Tensor::from_vec(step, images.shape(), &Device::Cpu).unwrap();
            let at = |h: f64| loss(&(&images + (&step * h).unwrap()).unwrap());
            // Central difference of fourth order.
            let h = 2f64.powi(-12);
            let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            assert!((difference - expected).abs() < 1e-10 * length, "direction {direction}: {difference} {expected} of {length}");
        }
    }
}

/// The gradient that a training step follows, along two directions in which all weights move. Measured are differences of 3e-8:
/// the weights are rounded to f32.
#[test]
fn weight_gradients_are_the_gradient_of_the_loss() {
    let parameters = parameters(Scale::Atto);
    let images = images(2).narrow(2, 0, 32).and_then(|t| t.narrow(3, 0, 32)?.to_dtype(DType::F64)).unwrap();
    let upstream = upstream(2, DIM).to_dtype(DType::F64).unwrap();
    let model = |tensors: &Tensors| {
        let model = load(tensors, Scale::Atto, 32, &Place::Tensors(Device::Cpu));
        model.and_then(|model| model.with_dtype(DType::F64)).unwrap()
    };
    let loss = |tensors: &Tensors| numbers(&(model(tensors).embed(&images).unwrap() * &upstream).unwrap()).iter().sum::<f64>();
    let mut trained = model(&parameters);
    let adam = AdamStep { learning_rate: 1e-3, beta1: 0.0, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };
    trained.train_step(&images, &mut |_| Ok(upstream.clone()), &adam).unwrap();
    // Without a memory, Adam's first moment is the gradient.
    let state = trained.checkpoint().unwrap();
    assert_eq!(state.len(), 3 * parameters.len());
    for direction in 0..2 {
        let moved = |h: f64| -> Tensors {
            let move_one = |(stream, (name, weight)): (u32, (&String, &Tensor))| {
                let step = Tensor::from_vec(unit(stream, weight.elem_count()), weight.shape(), &Device::Cpu).unwrap();
                (name.clone(), (weight + (step * h).unwrap()).unwrap())
            };
            (FIRST_STREAM + 700 + 1000 * direction..).zip(&parameters).map(move_one).collect()
        };
        let h = 2f64.powi(-16);
        let [after, before] = [moved(h), moved(-h)];
        // The weights are rounded, so the step is what lies between them.
        let along = |(name, after): (&String, &Tensor)| -> f64 {
            let (after, before) = (numbers(after), numbers(&before[name]));
            let gradient = numbers(&state[&format!("adam.first.{name}")]);
            gradient.iter().zip(after.iter().zip(&before)).map(|(g, (after, before))| g * (after - before)).sum()
        };
        let parts: Vec<f64> = after.iter().map(along).collect();
        let (expected, size) = (parts.iter().sum::<f64>(), parts.iter().map(|part| part.abs()).sum::<f64>());
        let difference = loss(&after) - loss(&before);
        assert!((difference - expected).abs() < 2e-7 * size, "direction {direction}: {difference} {expected} of {size}");
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
    let load = |tensors: &Tensors| load(tensors, Scale::Atto, 64, &Place::Kernels);
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
    let format = |size, channels| ImageFormat { size, mean: vec![0.5; channels], std: vec![0.5; channels] };
    for (size, channels) in [((32, 16), 3), ((64, 65), 3), ((0, 64), 3), ((64, 0), 3), ((64, 64), 1), ((64, 64), 4)] {
        let made = ConvNext::new(Scale::Atto, format(size, channels));
        assert!(matches!(made, Err(Error::Shape { .. })), "{size:?}, {channels}");
    }
    let uneven = ImageFormat { std: vec![0.5; 2], ..format((64, 64), 3) };
    assert!(matches!(ConvNext::new(Scale::Atto, uneven), Err(Error::Shape { .. })));
    assert!(ConvNext::new(Scale::Atto, format((32, 96), 3)).is_ok());

    let model = model(Scale::Atto);
    let good = images(2);
    assert!(matches!(model.embed(&good.narrow(2, 0, 32).unwrap()), Err(Error::Shape { .. })));
    assert!(matches!(model.embed(&(&good * f64::NAN).unwrap()), Err(Error::NotFinite(_))));
    assert!(matches!(model.input_gradient(&good, &mut |_| Ok(upstream(3, DIM))), Err(Error::Shape { .. })));
    let none = good.narrow(0, 0, 0).unwrap();
    assert_eq!(model.embed(&none).unwrap().dims(), [0, DIM]);
    assert_eq!(gradient(&model, &none, &upstream(0, DIM)).dims(), [0, 3, 64, 64]);
}

/// A batch as a whole differs from image by image by rounding alone.
#[test]
fn a_batch_on_a_device_is_its_images() {
    let (parameters, n) = (parameters(Scale::Atto), 2);
    let [alone, whole] = [Place::Kernels, Place::Tensors(Device::Cpu)].map(|place| {
        let model = load(&parameters, Scale::Atto, 64, &place).unwrap();
        [model.embed(&images(n)).unwrap(), gradient(&model, &images(n), &upstream(n, DIM))]
    });
    for (what, whole, alone) in [("embeddings", &whole[0], &alone[0]), ("input gradients", &whole[1], &alone[1])] {
        check(what, &numbers(whole), alone);
    }
}

/// Loading by name from a file, as the driver does.
#[test]
fn the_name_loads_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("atto.safetensors");
    weights::write(&file, &parameters(Scale::Atto)).unwrap();
    let architecture: Architecture = "convnext-atto,size=64".parse().unwrap();
    for place in [Place::Kernels, Place::Tensors(Device::Cpu)] {
        let loaded = architecture.load(&file, Distance::Cosine, &place).unwrap();
        assert_eq!(loaded.embed(&images(1)).unwrap().dims(), [1, architecture.embedding_size()]);
        let message = Architecture::CONVNEXT_TINY.load(&file, Distance::Cosine, &place).err().unwrap().to_string();
        assert!(message.starts_with(&file.display().to_string()) && message.contains("this model needs"), "{message}");
        let message = architecture.initialize(Distance::Cosine, Seed(0), &place).err().unwrap().to_string();
        assert!(message.contains("convnext-atto,size=64 cannot be trained here"), "{message}");
    }
}
