//! Weights from the hub, which a local server stands in for.

#[path = "../../rankle-hub/tests/server/mod.rs"]
mod server;

use rankle_core::{Distance, Place, Seed};
use rankle_models::{Architecture, weights};
use safetensors::SafeTensors;
use server::{COMMIT, Files, Server, hub};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Embeds two images; returns exit code and standard error.
fn embed(weights: &str, endpoint: Option<&str>, folder: &Path, more: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rankle"));
    command.args("embed --dataset mnist --split test --images 2 --model c2f2 --distance cosine --weights".split(' '));
    command.arg(weights).arg("--output").arg(folder.join("out.safetensors")).arg("--hub-cache").arg(folder.join("cache"));
    match endpoint {
        Some(url) => command.env("HF_ENDPOINT", url),
        None => command.env("HF_ENDPOINT", "http://127.0.0.1:9"),
    };
    let output = command.args(more).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn weights_come_from_the_hub_once() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/mnist-c2f2-cosine-triplet/model.safetensors");
    let content = fs::read(&model).unwrap();
    let server = Server::new(hub(Files::from([("/us/mnist/model.safetensors".into(), content)])));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");

    let (code, says) = embed(model.to_str().unwrap(), None, folder.path(), &[]);
    assert_eq!(code, 0, "{says}");
    let wanted = fs::read(&out).unwrap();
    for (weights, endpoint, more) in [
        ("hf:us/mnist", Some(server.url.as_str()), &[][..]),
        ("hf:us/mnist", None, &["--offline"][..]),
        ("hf:us/mnist", None, &["--endpoint", &server.url][..]),
        (&format!("hf:us/mnist@{COMMIT}/model.safetensors"), None, &[][..]),
    ] {
        fs::remove_file(&out).unwrap();
        let (code, says) = embed(weights, endpoint, folder.path(), more);
        assert_eq!(code, 0, "{says}");
        assert!(fs::read(&out).unwrap() == wanted, "{weights} {more:?}");
    }
    assert_eq!(server.asked().iter().filter(|line| line.starts_with("GET /elsewhere")).count(), 1);
}

const CONFIG: &str = r#"{"model_type": "dinov2", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14}"#;
const PREPROCESSOR: &str = r#"{"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}, "resample": 2,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#;
/// What the two files say.
const NAME: &str = "dinov2,width=8,depth=1,heads=2,patch=14,pretrained-size=28,size=28,normalization=half";

/// Four photographs of noise, in two classes.
fn photographs(folder: &Path) {
    for image in 0..4u32 {
        let class = folder.join((image % 2).to_string());
        fs::create_dir_all(&class).unwrap();
        let mut encoder = png::Encoder::new(fs::File::create(class.join(format!("{image}.png"))).unwrap(), 50, 40);
        encoder.set_color(png::ColorType::Rgb);
        let pixels: Vec<u8> =
            (0..50 * 40 * 3).map(|at: u32| ((at + image * 7).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    }
}

/// The files beside the weights name the architecture and the preparation of photographs.
#[test]
fn a_model_comes_from_the_hub_with_its_configuration() {
    let (photos, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    photographs(photos.path());
    let file = folder.path().join("model.safetensors");
    let new = NAME.parse::<Architecture>().unwrap().initialize(Distance::Cosine, Seed(1), &Place::Kernels).unwrap();
    weights::write(&file, &new.parameters().unwrap()).unwrap();
    let content = [("config.json", CONFIG.into()), ("preprocessor_config.json", PREPROCESSOR.into())];
    let mut files = Files::from(content.map(|(name, text): (_, Vec<u8>)| (format!("/us/dino/{name}"), text)));
    files.insert("/us/dino/model.safetensors".into(), fs::read(&file).unwrap());
    // A configuration alone, which asks for another normalization.
    files.insert("/us/plain/config.json".into(), CONFIG.into());
    files.insert("/us/plain/model.safetensors".into(), fs::read(&file).unwrap());
    files.insert("/us/bert/config.json".into(), br#"{"model_type": "bert"}"#.to_vec());
    let server = Server::new(hub(files));
    let embed = |model: &str, options: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rankle"));
        command.args("embed --split test --distance cosine".split(' ')).args(["--model", model]).args(more);
        command.args(["--dataset", &format!("folder,test=all{options}:{}", photos.path().display())]);
        command.arg("--output").arg(folder.path().join("out.safetensors")).arg("--hub-cache").arg(folder.path().join("cache"));
        let output = command.env("HF_ENDPOINT", &server.url).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let embeddings = |model: &str, options: &str, more: &[&str]| {
        let (code, says) = embed(model, options, more);
        assert_eq!(code, 0, "{says}");
        let bytes = fs::read(folder.path().join("out.safetensors")).unwrap();
        SafeTensors::deserialize(&bytes).unwrap().tensor("embeddings").unwrap().data().to_vec()
    };
    let as_said = embeddings(NAME, ",resize=shorter,edge=32,filter=bilinear", &["--weights", file.to_str().unwrap()]);
    assert!(embeddings("hf:us/dino", "", &[]) == as_said);
    assert!(embeddings("hf:us/dino", "", &["--offline"]) == as_said);
    // Offline the cache tells a file that it lacks from one that does not exist.
    let without = embeddings("hf:us/plain", "", &[]);
    assert!(without != as_said && embeddings("hf:us/plain", "", &["--offline"]) == without);
    fs::remove_file(folder.path().join(format!("cache/models--us--dino/snapshots/{COMMIT}/preprocessor_config.json"))).unwrap();
    let (code, says) = embed("hf:us/dino", "", &["--offline"]);
    assert!(code == 1 && says.contains("preprocessor_config.json of us/dino is not in the cache at"), "{says}");
    assert!(says.contains("run once without it") && says.lines().count() == 1, "{says}");
    // The name of the dataset takes precedence.
    assert!(embeddings("hf:us/dino", ",edge=40", &[]) != as_said);
    for (model, line) in [
        ("hf:us/none", "there is no such file"),
        ("hf:us/bert", "hf:us/bert: config.json: model_type 'bert' is not supported; supported are dinov2"),
    ] {
        let (code, says) = embed(model, "", &[]);
        assert!(code == 1 && says.contains(line) && says.lines().count() == 1, "{says}");
    }
}

#[test]
fn faults_are_one_line() {
    let server = Server::new(hub(Files::new()));
    let folder = tempfile::tempdir().unwrap();
    for (weights, endpoint, more, code, says) in [
        ("hf:us", Some(server.url.as_str()), &[][..], 2, "'hf:us' is not a name on the hub: write hf:OWNER/REPO"),
        ("hf:us/none", Some(server.url.as_str()), &[][..], 1, "status 404: there is no such file"),
        ("hf:us/none", None, &[][..], 1, "http://127.0.0.1:9/us/none/resolve/main/model.safetensors cannot be reached"),
        ("hf:us/none", None, &["--offline"][..], 1, "model.safetensors of us/none is not in the cache at"),
        ("hf:us/none", None, &["--endpoint", "hub"][..], 1, "hub is not a usable address: an endpoint starts with https://"),
    ] {
        let (found, message) = embed(weights, endpoint, folder.path(), more);
        assert_eq!(found, code, "{message}");
        assert!(message.starts_with("error: ") && message.contains(says) && message.lines().count() == 1, "{message}");
    }
    assert!(!folder.path().join("out.safetensors").exists());
}

#[test]
fn the_one_environment_variable_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_rankle")).args(["evaluate", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for part in ["--endpoint <URL>", "[env: HF_ENDPOINT", "--offline", "--hub-cache <FOLDER>", "--proxy <URL>"] {
        assert!(help.contains(part), "{part} in {help}");
    }
}
