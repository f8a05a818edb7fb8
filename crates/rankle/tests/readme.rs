//! Checks of the pages: the code of the README is an example that runs, commands parse, and cited sections exist.

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

/// Contents of all fenced blocks of a language.
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
    assert_eq!(blocks(&text("README.md"), "rust"), [code("one_crate")]);
}

/// With weights that do not exist, a valid command ends with 1, an invalid one with 2.
#[test]
fn the_commands_are_understood() {
    let pages = [
        "README.md",
        "crates/rankle/README.md",
        "crates/rankle/examples/README.md",
        "models/mnist-c2f2-cosine-triplet/README.md",
        "models/mnist-c2f2-cosine-triplet-est/README.md",
    ];
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
                // A folder below a file, so that training fails at once.
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

/// Files of the repository below a folder, without build outputs.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match entry.is_dir() {
            true if name == "target" || name.starts_with('.') => {}
            true => files(&entry, found),
            false => found.push(entry),
        }
    }
}

/// Sections after a citation of METHOD.md: `7.1`, or `8.1, 8.2`.
fn sections(rest: &str) -> Vec<String> {
    let is_section = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
    let words = rest.split(' ').skip(1).map(|word| word.trim_end_matches(['.', ')', '`', ';', ':', '|']));
    let mut found = Vec::new();
    for word in words.take_while(|word| is_section(word)) {
        found.push(word.trim_end_matches([',', ')', '.', ';']).to_owned());
        if !word.ends_with(',') {
            break;
        }
    }
    found
}

/// The files of METHOD.md 15 exist. A name without a folder is beside the one before it.
#[test]
fn the_files_of_the_method_are_there() {
    let method = text("METHOD.md");
    let table = method.split("## 15.").nth(1).unwrap();
    let (mut folder, mut count) = (root(), 0);
    for name in table.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs") || name.ends_with('/')) {
        let file = if name.starts_with("crates/") { root().join(name) } else { folder.join(name) };
        assert!(file.exists(), "METHOD.md 15: there is no {name}");
        if name.starts_with("crates/") {
            folder = file.parent().unwrap().to_owned();
        }
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn what_comments_cite_is_there() {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let names: Vec<String> = all.iter().map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
    let method = text("METHOD.md");
    let headings: Vec<&str> =
        method.lines().filter(|line| line.starts_with("##")).filter_map(|line| line.split([' ', '\t']).nth(1)).collect();
    let is_section = |cited: &str| headings.iter().any(|heading| heading.trim_end_matches('.') == cited);
    let mut cited = 0;
    for file in all.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
        let source = std::fs::read_to_string(file).unwrap();
        for comment in source.lines().filter_map(|line| line.trim_start().strip_prefix("//")) {
            let words = comment
                .split(|c: char| c.is_whitespace() || "`()[]/,;\"".contains(c))
                .map(|word| word.trim_end_matches(['.', ':']));
            for page in words.filter(|word| word.len() > 3 && word.ends_with(".md")) {
                assert!(names.iter().any(|name| name == page), "{}: there is no {page}:{comment}", file.display());
            }
            for (at, _) in comment.match_indices("METHOD.md") {
                for section in sections(&comment[at..]) {
                    assert!(is_section(&section), "{}: METHOD.md has no section {section}", file.display());
                    cited += 1;
                }
            }
        }
    }
    assert!(cited > 40, "{cited}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut all = Vec::new();
    files(&root(), &mut all);
    for page in all.iter().filter(|file| file.extension().is_some_and(|kind| kind == "md")) {
        let source = std::fs::read_to_string(page).unwrap();
        let links = source.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://") && !link.starts_with(['#', '<'])) {
            let file = link.split('#').next().unwrap_or_default();
            assert!(page.parent().unwrap().join(file).exists(), "{}: {link}", page.display());
        }
    }
}
