//! Weights from the hub, which a local server stands in for.

#[path = "../../rankle-hub/tests/server/mod.rs"]
mod server;

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
