//! ResNet-18: results do not depend on the batch size, the number of threads or interruptions; bad batches are refused.

use crate::support::formula::{byte, unit};
use crate::support::resnet::{FIRST_STREAM, color_format, parameters};
use candle_core::{Device, Tensor};
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Error, Seed, Trainable};
use rankle_models::{ImageFormat, Isa, ResNet18, weights};

const DIM: usize = 512;

fn images(n: usize, [c, h, w]: [usize; 3]) -> Tensor {
    let pixels: Vec<f32> = byte(FIRST_STREAM + 600, n * c * h * w).into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    Tensor::from_vec(pixels, (n, c, h, w), &Device::Cpu).unwrap()
}

fn upstream(stream: u32, n: usize) -> Tensor {
    Tensor::from_vec(unit(stream, n * DIM), (n, DIM), &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).unwrap().into_iter().map(f32::to_bits).collect()
}

fn all_bits(tensors: &weights::Tensors) -> Vec<(&String, Vec<u32>)> {
    tensors.iter().map(|(name, tensor)| (name, bits(tensor))).collect()
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn embeddings_and_input_gradients_do_not_depend_on_batch_or_threads() {
    for (format, shape, stream) in
        [(ImageFormat::gray28(), [1, 28, 28], FIRST_STREAM), (color_format(), [3, 61, 75], FIRST_STREAM + 1000)]
    {
        let n = 31;
        let (images, upstream, parameters) = (images(n, shape), upstream(FIRST_STREAM + 601, n), parameters(shape[0], stream));
        for isa in [Isa::PORTABLE, Isa::best()] {
            let model = ResNet18::with_isa(&parameters, format.clone(), None, Distance::Cosine, isa).unwrap();
            let run = |batch: usize, n: usize| {
                let (mut embeddings, mut gradients) = (Vec::new(), Vec::new());
                for first in (0..n).step_by(batch) {
                    let rows = batch.min(n - first);
                    let images = images.narrow(0, first, rows).unwrap();
                    embeddings.extend(bits(&model.embed(&images).unwrap()));
                    let gradient = model.input_gradient(&images, &mut |_| Ok(upstream.narrow(0, first, rows)?)).unwrap();
                    gradients.extend(bits(&gradient));
                }
                (embeddings, gradients)
            };
            let n = if isa == Isa::PORTABLE { 5 } else { n };
            let expected = with_threads(1, || run(n, n));
            for (threads, batch) in [(1, 1), (2, 7), (3, n)] {
                assert!(with_threads(threads, || run(batch, n)) == expected, "{isa}: {threads} threads, batches of {batch}");
            }
        }
    }
}

fn step(model: &mut ResNet18, step: u32) {
    let adam = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-7, step };
    let upstream = |_: &Tensor| Ok(upstream(FIRST_STREAM + 602 + step, 30));
    model.train_step(&images(30, [1, 28, 28]), &mut { upstream }, &adam).unwrap();
}

/// Training with three chunks per batch; the second half of the run resumes from a checkpoint.
#[test]
fn training_does_not_depend_on_threads_or_interruptions() {
    let new = || ResNet18::initialize(ImageFormat::gray28(), None, Distance::Cosine, Seed(3));
    let mut whole = new();
    with_threads(1, || (1..=2).for_each(|number| step(&mut whole, number)));
    let expected = whole.checkpoint().unwrap();
    assert_eq!(expected.len(), 100 + 2 * 60);

    let mut first = new();
    with_threads(3, || step(&mut first, 1));
    let mut second = ResNet18::initialize(ImageFormat::gray28(), None, Distance::Cosine, Seed(4));
    // The frozen network of this embedding must not survive the restore of other weights.
    let stale = bits(&second.embed(&images(2, [1, 28, 28])).unwrap());
    second.restore(first.checkpoint().unwrap()).unwrap();
    assert!(bits(&second.embed(&images(2, [1, 28, 28])).unwrap()) != stale);
    with_threads(2, || step(&mut second, 2));
    assert!(all_bits(&second.checkpoint().unwrap()) == all_bits(&expected));
    let embedding = |model: &ResNet18| bits(&model.embed(&images(2, [1, 28, 28])).unwrap());
    assert!(embedding(&second) == embedding(&whole));

    // Saved weights, read again, are the same model.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    weights::write(&file, &whole.parameters().unwrap()).unwrap();
    let read = ResNet18::from_tensors(&weights::read(&file).unwrap(), ImageFormat::gray28(), None, Distance::Cosine).unwrap();
    assert!(embedding(&read) == embedding(&whole));
}

/// Training of a head and the layers from `layer3` on. The other layers do not change and have no moments.
#[test]
fn partial_training_does_not_depend_on_threads_or_interruptions() {
    const SIZE: usize = 24;
    let new = |seed| {
        let mut model = ResNet18::initialize(ImageFormat::gray28(), Some(SIZE), Distance::Cosine, Seed(seed));
        model.freeze_below("layer3").unwrap();
        model
    };
    let step = |model: &mut ResNet18, step: u32| {
        let adam = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-7, step };
        let upstream = Tensor::from_vec(unit(FIRST_STREAM + 620 + step, 20 * SIZE), (20, SIZE), &Device::Cpu).unwrap();
        model.train_step(&images(20, [1, 28, 28]), &mut |_| Ok(upstream.clone()), &adam).unwrap();
    };
    let mut whole = new(3);
    let before = whole.parameters().unwrap();
    with_threads(1, || (1..=2).for_each(|number| step(&mut whole, number)));
    let expected = whole.checkpoint().unwrap();
    // Two stages of five units each, of three tensors each, and the head.
    assert_eq!(expected.len(), 102 + 2 * (10 * 3 + 2));
    for (name, before) in &before {
        let trained = ["layer3", "layer4", "fc"].iter().any(|part| name.starts_with(part));
        assert_eq!(bits(before) != bits(&expected[name]), trained, "{name}");
    }

    let mut first = new(3);
    with_threads(3, || step(&mut first, 1));
    let mut second = new(4);
    // The frozen layers before `layer3` must not survive the restore of other weights.
    step(&mut second, 1);
    second.restore(first.checkpoint().unwrap()).unwrap();
    with_threads(2, || step(&mut second, 2));
    assert!(all_bits(&second.checkpoint().unwrap()) == all_bits(&expected));

    let message = second.freeze_below("layer5").unwrap_err().to_string();
    assert_eq!(message, "unknown layer 'layer5'; known: layer1, layer2, layer3, layer4");
}

#[test]
fn batches_that_do_not_fit_are_refused_and_leave_the_weights_alone() {
    let mut model = ResNet18::initialize(ImageFormat::gray28(), None, Distance::Cosine, Seed(0));
    let before = model.checkpoint().unwrap();
    let adam = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };
    let mut train = |images: &Tensor, upstream: Tensor| model.train_step(images, &mut |_| Ok(upstream.clone()), &adam);
    let good = images(2, [1, 28, 28]);
    assert!(matches!(train(&images(2, [3, 28, 28]), upstream(1, 2)), Err(Error::Shape { .. })));
    assert!(matches!(train(&good, upstream(1, 3)), Err(Error::Shape { .. })));
    assert!(matches!(train(&good, (upstream(1, 2) * f64::NAN).unwrap()), Err(Error::NotFinite(_))));
    assert!(matches!(train(&(&good * f64::INFINITY).unwrap(), upstream(1, 2)), Err(Error::NotFinite(_))));
    // The last maps have one pixel, so a single image has no variance.
    let message = train(&images(1, [1, 28, 28]), upstream(1, 1)).unwrap_err().to_string();
    assert!(message.contains("batch normalization"), "{message}");
    assert!(matches!(train(&good.narrow(0, 0, 0).unwrap(), upstream(1, 0)), Err(Error::Empty(_))));
    assert!(all_bits(&model.checkpoint().unwrap()) == all_bits(&before));

    assert!(matches!(model.embed(&images(2, [1, 28, 27])), Err(Error::Shape { .. })));
    assert!(matches!(model.input_gradient(&good, &mut |_| Ok(upstream(1, 3))), Err(Error::Shape { .. })));
    assert_eq!(model.embed(&good.narrow(0, 0, 0).unwrap()).unwrap().dims(), [0, DIM]);
}
