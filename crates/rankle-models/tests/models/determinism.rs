//! Determinism: results have the same bits for every batch size and number of threads, with and without interruptions.

use crate::support::formula::{C2F2, C2F2_512, FIRST_STREAM, LENET, NETWORKS, Network, byte, unit};
use candle_core::{Device, Tensor};
use rankle_core::{AdamStep, Differentiable, Distance, Embedder, Trainable};
use rankle_models::{Convnet, Isa, weights};
use std::collections::BTreeMap;

const PIXELS: usize = 784;

/// Noise images with zero borders, as in MNIST.
fn images(stream: u32, n: usize) -> Tensor {
    let mut pixels: Vec<f32> = byte(stream, n * PIXELS).into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    for (at, pixel) in pixels.iter_mut().enumerate() {
        if !(4..24).contains(&(at % 28)) || !(4..24).contains(&(at % PIXELS / 28)) {
            *pixel = 0.0;
        }
    }
    Tensor::from_vec(pixels, (n, 1, 28, 28), &Device::Cpu).unwrap()
}

/// Gradient for `n` embeddings of dimension `dim`.
fn upstream(stream: u32, n: usize, dim: usize) -> Tensor {
    Tensor::from_vec(unit(stream, n * dim), (n, dim), &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).unwrap().into_iter().map(f32::to_bits).collect()
}

fn all_bits(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<&str, Vec<u32>> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), bits(tensor))).collect()
}

/// Compares bits. The message leaves out the values, of which there are millions.
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

/// Pairs of network and instruction set: `thorough` networks on every set; the others, which run the same code, on the best.
fn cases(thorough: &'static [Network]) -> impl Iterator<Item = (Network, Isa)> {
    NETWORKS.into_iter().flat_map(|network| {
        let all = thorough.iter().any(|other| other.name == network.name);
        let sets = if all { Isa::available() } else { vec![Isa::best()] };
        sets.into_iter().map(move |isa| (network, isa))
    })
}

/// Takes one optimizer step on 130 images: more than two chunks of the forward pass, and more than two groups of the gradient.
fn step(model: &mut Convnet, step: u32) {
    let adam = AdamStep { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-7, step };
    let stream = FIRST_STREAM + 200 + 2 * step;
    model.train_step(&images(stream, 130), &mut |raw| Ok(upstream(stream + 1, 130, raw.dims()[1])), &adam).unwrap();
}

#[test]
fn embeddings_and_input_gradients_do_not_depend_on_batch_or_threads() {
    let images = images(FIRST_STREAM + 200, 60);
    for (network, isa) in cases(&[C2F2, LENET]) {
        let (name, model, upstream) = (network.name, network.model(isa), upstream(FIRST_STREAM + 201, 60, network.dim()));
        let run = |batch: usize| {
            let (mut embeddings, mut gradients) = (Vec::new(), Vec::new());
            for first in (0..60).step_by(batch) {
                let rows = batch.min(60 - first);
                let images = images.narrow(0, first, rows).unwrap();
                embeddings.extend(bits(&model.embed(&images).unwrap()));
                let gradient = model.input_gradient(&images, &mut |_| Ok(upstream.narrow(0, first, rows)?)).unwrap();
                gradients.extend(bits(&gradient));
            }
            (embeddings, gradients)
        };
        let expected = with_threads(1, || run(60));
        // A batch of one image is never split, whatever the number of threads.
        for (threads, batch) in [(3, 1), (1, 7), (2, 7), (3, 7), (2, 60), (3, 60)] {
            let ours = with_threads(threads, || run(batch));
            assert!(ours.0 == expected.0, "{name}, {isa}: embeddings, {threads} threads, batches of {batch}");
            assert!(ours.1 == expected.1, "{name}, {isa}: input gradients, {threads} threads, batches of {batch}");
        }
    }
}

#[test]
fn training_does_not_depend_on_threads() {
    for (network, isa) in cases(&[LENET]) {
        let run = |threads| {
            let mut model = network.model(isa);
            with_threads(threads, || (1..=3).for_each(|number| step(&mut model, number)));
            model.checkpoint().unwrap()
        };
        let expected = run(1);
        for threads in [2, 3] {
            assert_same(&format!("{}, {isa}, {threads} threads", network.name), &run(threads), &expected);
        }
    }
}

#[test]
fn training_goes_on_from_a_checkpoint_as_if_nothing_had_happened() {
    for (network, isa) in cases(&[LENET]) {
        let mut whole = network.model(isa);
        (1..=2).for_each(|number| step(&mut whole, number));
        let state = whole.checkpoint().unwrap();
        step(&mut whole, 3);

        let mut resumed = network.model(isa);
        resumed.restore(state.clone()).unwrap();
        assert_same("restored", &resumed.checkpoint().unwrap(), &state);
        step(&mut resumed, 3);
        assert_same("resumed", &resumed.checkpoint().unwrap(), &whole.checkpoint().unwrap());
    }
}

/// Attacks between two training steps do not disturb the training and do not see stale weights.
#[test]
fn attacking_a_model_in_training_sees_its_present_weights_and_leaves_them() {
    let images = images(FIRST_STREAM + 300, 3);
    for network in NETWORKS {
        let upstream = upstream(FIRST_STREAM + 301, 3, network.dim());
        let attack = |model: &Convnet| bits(&model.input_gradient(&images, &mut |_| Ok(upstream.clone())).unwrap());
        let (mut attacked, mut plain) = (network.model(Isa::best()), network.model(Isa::best()));
        for number in 1..=2 {
            attack(&attacked);
            step(&mut attacked, number);
            step(&mut plain, number);
        }
        assert_same("attacked while training", &attacked.checkpoint().unwrap(), &plain.checkpoint().unwrap());
        let fresh = Convnet::from_tensors(network.layers, &attacked.parameters().unwrap(), Distance::Cosine).unwrap();
        assert_eq!(attack(&attacked), attack(&fresh), "{}", network.name);
    }
}

/// Threads reuse memory for the next model. Values left there by a larger network must not change results of a smaller one.
#[test]
fn networks_that_take_turns_do_not_disturb_each_other() {
    let images = images(FIRST_STREAM + 300, 3);
    let run = |network: &Network, model: &Convnet| {
        let upstream = upstream(FIRST_STREAM + 301, 3, network.dim());
        let gradient = model.input_gradient(&images, &mut |_| Ok(upstream.clone())).unwrap();
        [bits(&model.embed(&images).unwrap()), bits(&gradient)]
    };
    let models = NETWORKS.map(|network| (network, network.model(Isa::best())));
    let [c2f2, c2f2_512, lenet, _] = [0, 1, 2, 3].map(|at| (&models[at].0, &models[at].1));
    // Each network on its own thread, then all in turn on one thread.
    let alone = models.each_ref().map(|(network, model)| with_threads(1, || run(network, model)));
    let turns = with_threads(1, || [lenet, c2f2, lenet, c2f2_512, c2f2, lenet].map(|(network, model)| run(network, model)));
    for (turn, expected) in turns.into_iter().zip([2, 0, 2, 1, 0, 2]) {
        assert!(turn == alone[expected], "{}", models[expected].0.name);
    }
}

#[test]
fn weights_survive_a_file_and_equal_weights_make_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    let mut model = C2F2_512.model(Isa::best());
    step(&mut model, 1);
    let (parameters, state) = (model.parameters().unwrap(), model.checkpoint().unwrap());
    weights::write(&first, &parameters).unwrap();
    weights::write(&second, &model.parameters().unwrap()).unwrap();
    assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap(), "two writes, two files");

    let read = weights::read(&first).unwrap();
    assert_same("read", &read, &parameters);
    let images = images(FIRST_STREAM + 200, 5);
    let again = Convnet::from_tensors(C2F2_512.layers, &read, Distance::Cosine).unwrap();
    assert_eq!(bits(&again.embed(&images).unwrap()), bits(&model.embed(&images).unwrap()));

    // A whole checkpoint replaces an existing file.
    weights::write(&second, &state).unwrap();
    assert_same("checkpoint", &weights::read(&second).unwrap(), &state);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays behind");
}

/// Hash of the bits after training. Shipped weights were trained by these kernels, and `--retrain` promises the same bits: any
/// change of rounding or of the order of additions fails here. Fused instruction sets differ from the portable one, not from
/// each other.
#[test]
fn the_bits_of_three_optimizer_steps_are_pinned() {
    for (network, isa) in cases(&[C2F2, LENET]) {
        let mut model = network.model(isa);
        (1..=3).for_each(|number| step(&mut model, number));
        let images = images(FIRST_STREAM + 300, 2);
        let mut tensors = model.checkpoint().unwrap();
        tensors.insert("embeddings".into(), model.embed(&images).unwrap());
        let upstream = upstream(FIRST_STREAM + 301, 2, network.dim());
        tensors.insert("input gradient".into(), model.input_gradient(&images, &mut |_| Ok(upstream.clone())).unwrap());
        let hash = all_bits(&tensors)
            .into_values()
            .flatten()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, bits| (hash ^ u64::from(bits)).wrapping_mul(0x0000_0100_0000_01B3));
        let [portable, fused] = match network.name {
            "c2f2" => [0xF6B2_375F_A47A_46FA, 0x061C_2194_F3D3_1817],
            "c2f2-512" => [0x1C70_DC64_7EFD_8179, 0x7B49_6F8E_B17A_EC67],
            "c2f2-classifier" => [0x41A9_1D72_7196_238A, 0x4787_DDD0_D7AE_3BEA],
            _ => [0x23C8_EBF0_CC91_F1C9, 0xD122_6B02_3106_E8D7],
        };
        let expected = if isa == Isa::PORTABLE { portable } else { fused };
        assert_eq!(hash, expected, "{}, {isa}: {hash:#018x}", network.name);
    }
}
