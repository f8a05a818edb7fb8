//! Errors of bad weights: one line that names the file and the tensor.

use crate::support::formula::{C2F2, FIRST_STREAM, NETWORKS, byte, unit};
use candle_core::{DType, Device, Tensor};
use rankle_core::{Distance, Error, Place, Seed, Trainable};
use rankle_models::{Architecture, Convnet, Isa, weights};
use std::path::Path;

/// Message of the one error that bad weights may cause.
fn message(path: &Path) -> String {
    match Architecture::C2f2.load(path, Distance::Cosine, &Place::default()).err() {
        Some(Error::Refused(message)) => message,
        other => panic!("{}: {other:?} instead of a complaint about weights", path.display()),
    }
}

fn check(path: &Path, parts: &[&str]) {
    let message = message(path);
    assert!(message.starts_with(&path.display().to_string()), "{message}");
    assert!(!message.contains('\n'), "{message}");
    for part in parts {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
}

fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

/// Tensor of 32 values, the tenth of which is `value`.
fn with(value: f32) -> Tensor {
    let mut values = unit(FIRST_STREAM, 32);
    values[9] = value;
    tensor(&values, &[32])
}

#[test]
fn tensors_that_do_not_fit_are_named_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    type Change = fn(&mut weights::Tensors);
    #[rustfmt::skip] // keeps the columns aligned
    let cases: [(Change, &[&str]); 9] = [
        (|t| drop(t.remove("conv2.bias")),                                         &["'conv2.bias'", "[64]", "missing"]),
        (|t| t.clear(),                                                            &["'conv1.weight'", "[32, 1, 5, 5]", "missing"]),
        (|t| drop(t.insert("fc2.bias".into(), with(0.0))),                         &["'fc2.bias'", "no parameter"]),
        (|t| drop(t.insert("conv1.bias".into(), tensor(&[0.0; 31], &[31]))),       &["'conv1.bias'", "[31]", "[32]"]),
        (|t| drop(t.insert("fc1.bias".into(), tensor(&[0.0; 1024], &[1, 1024]))),  &["'fc1.bias'", "[1, 1024]", "[1024]"]),
        (|t| drop(t.insert("conv1.bias".into(), with(0.0).to_dtype(DType::I64).unwrap())), &["'conv1.bias'", "i64", "floating"]),
        (|t| drop(t.insert("conv1.bias".into(), with(f32::NAN))),                  &["'conv1.bias'", "NaN", "position 9"]),
        (|t| drop(t.insert("conv1.bias".into(), with(f32::INFINITY))),             &["'conv1.bias'", "inf", "position 9"]),
        (|t| drop(t.insert("conv1.bias".into(), with(f32::NEG_INFINITY))),         &["'conv1.bias'", "-inf", "position 9"]),
    ];
    for (change, parts) in cases {
        let mut tensors = C2F2.parameters();
        change(&mut tensors);
        weights::write(&path, &tensors).unwrap();
        check(&path, parts);
    }
    // Training that starts from these weights reports the same error.
    let pretrained = |path| Architecture::C2f2.pretrained(path, Distance::Cosine, Seed(1), &Place::default());
    let message = pretrained(&path).err().unwrap().to_string();
    assert!(message.starts_with(&path.display().to_string()) && message.contains("'conv1.bias'"), "{message}");
    // Without a change the weights load, so the errors above are about the changes.
    weights::write(&path, &C2F2.parameters()).unwrap();
    assert!(Architecture::C2f2.load(&path, Distance::Cosine, &Place::default()).is_ok());
    let started = pretrained(&path).unwrap().parameters().unwrap();
    for (name, tensor) in C2F2.parameters() {
        let numbers = |tensor: &Tensor| tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).unwrap();
        assert!(numbers(&started[&name]) == numbers(&tensor), "{name}");
    }
}

/// All networks load their own weights, report the dimension of their embeddings, and name the tensor missing in another's.
#[test]
fn no_network_takes_the_weights_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for of in NETWORKS {
        weights::write(&path, &of.parameters()).unwrap();
        for to in NETWORKS {
            let loaded = to.architecture.load(&path, Distance::Cosine, &Place::default());
            if of.name == to.name {
                let (channels, height, width) = to.architecture.input();
                let image = tensor(&vec![0.5; channels * height * width], &[1, channels, height, width]);
                assert_eq!(loaded.unwrap().embed(&image).unwrap().dims(), [1, to.architecture.embedding_size()], "{}", to.name);
            } else {
                let message = loaded.err().unwrap().to_string();
                // The classifier has the weights of C2F2 and one more layer.
                let complaints = ["this model needs", "is missing", "'fc2.bias' belongs to no parameter"];
                assert!(complaints.iter().any(|part| message.contains(part)), "{} as {}: {message}", of.name, to.name);
            }
        }
        assert_eq!(of.name.parse::<Architecture>().unwrap(), of.architecture);
    }
}

#[test]
fn files_that_are_no_weights_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.safetensors");
    weights::write(&whole, &C2F2.parameters()).unwrap();
    let good = std::fs::read(&whole).unwrap();
    // A header longer than the memory of any machine, and a header with offsets past the end of the file.
    let endless = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
    let header = br#"{"conv1.bias":{"dtype":"F32","shape":[32],"data_offsets":[0,128]}}"#;
    let hollow = [(header.len() as u64).to_le_bytes().as_slice(), header].concat();
    let noise = byte(FIRST_STREAM, 4096);
    let files: [(&str, &[u8]); 9] = [
        ("empty.safetensors", b""),
        ("short.safetensors", &good[..5]),
        ("header.safetensors", &good[..100]),
        ("truncated.safetensors", &good[..good.len() - 1]),
        ("half.safetensors", &good[..good.len() / 2]),
        ("text.safetensors", b"epoch 1: loss 0.2\nepoch 2: loss 0.1\n"),
        ("endless.safetensors", &endless),
        ("hollow.safetensors", &hollow),
        ("noise.safetensors", &noise),
    ];
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        check(&path, &["is not a readable safetensors file"]);
    }
    check(folder.path(), &["cannot be read"]);
    check(&folder.path().join("nowhere.safetensors"), &["cannot be read", "give a safetensors file"]);
}

/// Prefixes of all names, from a wrapper or another program.
#[test]
fn prefixes_are_taken_off_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let write = |prefix: &str, more: &[&str]| {
        let named = C2F2.parameters().into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor));
        let more = more.iter().map(|&name| (name.to_owned(), with(0.0)));
        weights::write(&path, &named.chain(more).collect()).unwrap();
    };
    let loads =
        |tensors: &weights::Tensors| Architecture::C2f2.with_weights(&path, tensors, Distance::Cosine, &Place::default()).is_ok();
    for wrapper in ["module.", "_orig_mod.", "_orig_mod.module.", "module.module."] {
        write(wrapper, &[]);
        assert!(loads(&weights::read(&path).unwrap()), "{wrapper}");
    }
    for (prefix, stripped) in [("model.", "model."), ("model.", "model"), ("encoder_", "encoder_"), ("a.b._orig_mod.", "a.b.")] {
        write(prefix, &[]);
        check(&path, &["'conv1.weight' of shape [32, 1, 5, 5] is missing", &format!("take '{prefix}' off all names")]);
        let tensors = weights::read(&path).unwrap();
        assert!(!loads(&tensors) && loads(&weights::without_prefix(tensors, stripped)), "{prefix}");
    }
    // Names without the prefix are not guessed: the file has only one reading.
    write("model.", &["loss.weight"]);
    check(&path, &["there is 'model.conv1.weight': 'loss.weight' is beside it: save only what begins with 'model.'"]);
    let tensors = weights::read(&path).unwrap();
    assert!(weights::without_prefix(tensors.clone(), "model.").keys().eq(tensors.keys()));
    // A prefix of one name only is not suggested for removal.
    write("", &[]);
    let tensors = weights::without_prefix(weights::read(&path).unwrap(), "");
    assert!(loads(&tensors));
    let mut tensors = tensors;
    let lost = tensors.remove("conv2.weight").unwrap();
    tensors.insert("0.conv2.weight".into(), lost);
    weights::write(&path, &tensors).unwrap();
    let said = message(&path);
    assert!(said.ends_with("'conv2.weight' of shape [64, 32, 5, 5] is missing"), "{said}");
}

#[test]
fn weights_that_cannot_be_written_say_where() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = weights::Tensors::from([("conv1.bias".to_owned(), with(0.0))]);
    for path in [folder.path().join("missing").join("w.safetensors"), folder.path().to_owned()] {
        let error = weights::write(&path, &tensors).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(&format!("{} cannot be written", path.display())), "{error}");
    }
}

/// Weights without moments, and a tensor of another network.
fn of_another_network(state: &weights::Tensors) -> weights::Tensors {
    let weights = state.iter().filter(|(name, _)| !name.starts_with("adam"));
    weights.map(|(name, weight)| (name.clone(), weight.clone())).chain([("fc2.bias".into(), with(0.0))]).collect()
}

/// A checkpoint that does not fit is refused as a whole; the model does not change.
#[test]
fn a_bad_checkpoint_leaves_the_model_alone() {
    let mut model = C2F2.model(Isa::best());
    let mut state = model.checkpoint().unwrap();
    let bits = |model: &Convnet| -> Vec<u32> {
        let state = model.checkpoint().unwrap();
        let numbers = state.values().flat_map(|t| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).unwrap());
        numbers.map(f32::to_bits).collect()
    };
    let before = bits(&model);
    // With other weights, so that a partial restore would be visible.
    state.insert("conv1.bias".into(), with(0.5));
    for (name, value) in C2F2.parameters() {
        state.insert(format!("adam.first.{name}"), value.clone());
        state.insert(format!("adam.second.{name}"), value);
    }
    type Change = fn(&mut weights::Tensors);
    #[rustfmt::skip] // keeps the columns aligned
    let cases: [(Change, &str); 6] = [
        (|t| drop(t.remove("conv1.weight")),                                    "'conv1.weight'"),
        (|t| drop(t.remove("adam.second.conv1.bias")),                          "'adam.second.conv1.bias'"),
        (|t| drop(t.insert("adam.first.conv1.bias".into(), with(f32::NAN))),    "'adam.first.conv1.bias'"),
        (|t| drop(t.insert("adam.third.conv1.bias".into(), with(0.0))),         "'adam.third.conv1.bias'"),
        (|t| t.retain(|name, _| !name.starts_with("adam.second")),              "'adam.second.conv1.weight'"),
        (|t| *t = of_another_network(t),                                        "'fc2.bias' belongs to no parameter"),
    ];
    for (change, part) in cases {
        let mut state = state.clone();
        change(&mut state);
        match model.restore(state).unwrap_err() {
            Error::Refused(message) => assert!(message.contains(part), "{message}"),
            other => panic!("{other:?}"),
        }
        assert!(bits(&model) == before, "{part}: the model has changed");
    }
    model.restore(state).unwrap();
    assert!(bits(&model) != before);
}
