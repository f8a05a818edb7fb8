//! The README is true: its code is that of the examples and runs, its commands are taken.

use std::path::{Path, PathBuf};

#[path = "../examples/adding/main.rs"]
mod adding;
#[path = "../examples/one_crate.rs"]
mod one_crate;
#[path = "../examples/own_backbone.rs"]
mod own_backbone;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The content of every fenced block of a language.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    markdown.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or(rest).trim().to_owned()).collect()
}

#[test]
fn the_code_is_that_of_the_examples() {
    let code = |name: &str| {
        let file = text(&format!("crates/rankle/examples/{name}.rs"));
        file.split("#[cfg(test)]").next().unwrap_or_default().trim().to_owned()
    };
    assert_eq!(blocks(&text("README.md"), "rust"), [code("one_crate"), code("own_backbone")]);
}

/// With weights that are not there, a command that is understood ends with 1, one that is not with 2.
#[test]
fn the_commands_are_understood() {
    let pages = ["README.md", "models/mnist-c2f2-cosine-triplet/README.md", "models/mnist-c2f2-cosine-triplet-est/README.md"];
    let shell: String = pages.iter().flat_map(|page| blocks(&text(page), "sh")).map(|block| block + "\n").collect();
    let shell = shell.replace("\\\n", " ");
    let commands: Vec<&str> = shell.lines().filter(|line| line.starts_with("rankle ")).collect();
    for name in ["evaluate", "embed", "attack", "classify", "picture", "train", "transfer", "universal", "sanity"] {
        assert!(commands.iter().any(|command| command.split_whitespace().nth(1) == Some(name)), "no example of {name}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    let card = "weights = \"none.safetensors\"\nweights_sha256 = \"\"\n[training]\nmodel = \"c2f2\"\ndistance = \"cosine\"\n";
    std::fs::write(nowhere.path().join("card.toml"), card).unwrap();
    for command in commands {
        let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        for at in 1..words.len() {
            match words[at - 1].as_str() {
                "--model" | "--from" | "--to" | "--against" if words[at].starts_with("models/") => {
                    words[at] = nowhere.path().display().to_string();
                }
                "--weights" | "--from" | "--to" => words[at] = nowhere.path().join("none.safetensors").display().to_string(),
                // A folder below a file: training ends before it begins.
                "--output" if words[1] == "train" => words[at] = root().join("README.md/none").display().to_string(),
                "--output" | "--save-adversarial" | "--save" | "--picture" => {
                    let name = Path::new(&words[at]).file_name().expect("a file").to_owned();
                    words[at] = nowhere.path().join(name).display().to_string();
                }
                _ => {}
            }
        }
        assert_eq!(rankle::run(&words), 1, "{command}");
    }
}
