//! One image, one result: the same bits whatever the batch size, the number of threads and the interruptions.

#[path = "support/formula.rs"]
mod formula;

use candle_core::{Device, Tensor};
use formula::{FIRST_STREAM, byte, unit};
use rankle_core::{AdamStep, Distance, Embedder, Trainable};
use rankle_models::{C2f2, Isa, weights};
use std::collections::BTreeMap;

const PIXELS: usize = 784;
const DIM: usize = 1024;

/// Noise inside, exact zeros at the borders, as in MNIST.
fn images(stream: u32, n: usize) -> Tensor {
    let mut pixels: Vec<f32> = byte(stream, n * PIXELS).into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    for (at, pixel) in pixels.iter_mut().enumerate() {
        if !(4..24).contains(&(at % 28)) || !(4..24).contains(&(at % PIXELS / 28)) {
            *pixel = 0.0;
        }
    }
    Tensor::from_vec(pixels, (n, 1, 28, 28), &Device::Cpu).unwrap()
}

fn slope(stream: u32, n: usize) -> Tensor {
    Tensor::from_vec(unit(stream, n * DIM), (n, DIM), &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).unwrap().into_iter().map(f32::to_bits).collect()
}

fn all_bits(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<&str, Vec<u32>> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), bits(tensor))).collect()
}

/// Without the numbers in the message: there are millions.
fn assert_same(what: &str, ours: &BTreeMap<String, Tensor>, expected: &BTreeMap<String, Tensor>) {
    let (ours, expected) = (all_bits(ours), all_bits(expected));
    assert!(ours.keys().eq(expected.keys()), "{what}: other tensors");
    for (name, ours) in ours {
        assert!(ours == expected[name], "{what}: {name} has other bits");
    }
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn model(isa: Isa) -> C2f2 {
    C2f2::with_isa(&formula::parameters().unwrap(), Distance::Cosine, isa).unwrap()
}

/// One optimiser step on 130 images: more than two chunks of the forward pass and two groups of the weight gradient.
fn step(model: &mut C2f2, step: u32) {
    let adam = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-7, step };
    let stream = FIRST_STREAM + 200 + 2 * step;
    model.train_step(&images(stream, 130), &mut |_| Ok(slope(stream + 1, 130)), &adam).unwrap();
}

#[test]
fn embeddings_and_input_gradients_do_not_depend_on_batch_or_threads() {
    let (images, slope) = (images(FIRST_STREAM + 200, 100), slope(FIRST_STREAM + 201, 100));
    for isa in Isa::available() {
        let model = model(isa);
        let run = |batch: usize| {
            let (mut embeddings, mut gradients) = (Vec::new(), Vec::new());
            for first in (0..100).step_by(batch) {
                let rows = batch.min(100 - first);
                let images = images.narrow(0, first, rows).unwrap();
                embeddings.extend(bits(&model.embed(&images).unwrap()));
                let gradient = model.input_gradient(&images, &mut |_| Ok(slope.narrow(0, first, rows)?)).unwrap();
                gradients.extend(bits(&gradient));
            }
            (embeddings, gradients)
        };
        let expected = with_threads(1, || run(100));
        // A batch of one is never cut, whatever the number of threads.
        for (threads, batch) in [(3, 1), (1, 7), (2, 7), (3, 7), (2, 100), (3, 100)] {
            let ours = with_threads(threads, || run(batch));
            assert!(ours.0 == expected.0, "{isa}: embeddings, {threads} threads, batches of {batch}");
            assert!(ours.1 == expected.1, "{isa}: input gradients, {threads} threads, batches of {batch}");
        }
    }
}

#[test]
fn training_does_not_depend_on_threads() {
    for isa in Isa::available() {
        let run = |threads| {
            let mut model = model(isa);
            with_threads(threads, || (1..=3).for_each(|number| step(&mut model, number)));
            model.checkpoint().unwrap()
        };
        let expected = run(1);
        for threads in [2, 3] {
            assert_same(&format!("{isa}, {threads} threads"), &run(threads), &expected);
        }
    }
}

#[test]
fn training_goes_on_from_a_checkpoint_as_if_nothing_had_happened() {
    for isa in Isa::available() {
        let mut whole = model(isa);
        (1..=2).for_each(|number| step(&mut whole, number));
        let state = whole.checkpoint().unwrap();
        step(&mut whole, 3);

        let mut resumed = model(isa);
        resumed.restore(state.clone()).unwrap();
        assert_same("restored", &resumed.checkpoint().unwrap(), &state);
        step(&mut resumed, 3);
        assert_same("resumed", &resumed.checkpoint().unwrap(), &whole.checkpoint().unwrap());
    }
}

/// An attack between two training steps must neither disturb the training nor see stale weights.
#[test]
fn attacking_a_model_in_training_sees_its_present_weights_and_leaves_them() {
    let images = images(FIRST_STREAM + 300, 3);
    let attack = |model: &C2f2| bits(&model.input_gradient(&images, &mut |_| Ok(slope(FIRST_STREAM + 301, 3))).unwrap());
    let (mut attacked, mut plain) = (model(Isa::best()), model(Isa::best()));
    for number in 1..=2 {
        attack(&attacked);
        step(&mut attacked, number);
        step(&mut plain, number);
    }
    assert_same("attacked while training", &attacked.checkpoint().unwrap(), &plain.checkpoint().unwrap());
    let fresh = C2f2::from_tensors(&attacked.parameters().unwrap(), Distance::Cosine).unwrap();
    assert_eq!(attack(&attacked), attack(&fresh));
}

#[test]
fn weights_survive_a_file_and_equal_weights_make_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    let mut model = model(Isa::best());
    step(&mut model, 1);
    let (parameters, state) = (model.parameters().unwrap(), model.checkpoint().unwrap());
    weights::write(&first, &parameters).unwrap();
    weights::write(&second, &model.parameters().unwrap()).unwrap();
    assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap(), "two writes, two files");

    let read = weights::read(&first).unwrap();
    assert_same("read", &read, &parameters);
    let images = images(FIRST_STREAM + 200, 5);
    let again = C2f2::from_tensors(&read, Distance::Cosine).unwrap();
    assert_eq!(bits(&again.embed(&images).unwrap()), bits(&model.embed(&images).unwrap()));

    // A whole checkpoint, over a file that is already there.
    weights::write(&second, &state).unwrap();
    assert_same("checkpoint", &weights::read(&second).unwrap(), &state);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays behind");
}

/// Shipped weights were trained by these kernels, and `--retrain` promises the same bits: a change of any rounding, in any
/// order of additions, shows here. Fused instruction sets differ from the portable one, not from each other.
#[test]
fn the_bits_of_three_optimiser_steps_are_pinned() {
    for isa in Isa::available() {
        let mut model = model(isa);
        (1..=3).for_each(|number| step(&mut model, number));
        let images = images(FIRST_STREAM + 300, 2);
        let mut tensors = model.checkpoint().unwrap();
        tensors.insert("embeddings".into(), model.embed(&images).unwrap());
        let gradient = model.input_gradient(&images, &mut |_| Ok(slope(FIRST_STREAM + 301, 2))).unwrap();
        tensors.insert("input gradient".into(), gradient);
        let hash = all_bits(&tensors)
            .into_values()
            .flatten()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, bits| (hash ^ u64::from(bits)).wrapping_mul(0x0000_0100_0000_01B3));
        let expected = if isa == Isa::PORTABLE { 0xF6B2_375F_A47A_46FA } else { 0x061C_2194_F3D3_1817 };
        assert_eq!(hash, expected, "{isa}: {hash:#018x}");
    }
}
