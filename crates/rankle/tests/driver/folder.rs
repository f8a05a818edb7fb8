//! A model's folder in place of architecture, weights and distance.

use crate::support::{digits, json, on_digits, outcome, rankle, shipped, weights, without};
use std::fs;
use std::path::Path;
use std::process::Command;

const ATTACK: &str = "--attack ca- --targets 2 --epsilon 0.2 --iterations 4 --images 15 --format json";

/// A command on the folder of [`weights`].
fn on_folder(command: &str, folder: &Path, rest: &str) -> Command {
    let mut command = rankle(command);
    command.args(["--dataset", digits(), "--model"]).arg(folder).args(rest.split_whitespace());
    command
}

#[test]
fn a_folder_says_what_its_options_would() {
    let folder = weights().parent().unwrap();
    // Only the card knows loss and defense.
    let free = ["seconds", "loss", "defense"];
    let by_folder = json(&mut on_folder("attack", folder, ATTACK));
    assert_eq!((&by_folder["loss"], &by_folder["defense"]), (&"triplet".into(), &"none".into()));
    assert_eq!(without(by_folder, &free), without(json(&mut on_digits("attack", ATTACK)), &free));

    let mut transfer = rankle("transfer --dataset");
    transfer.args([digits(), "--from"]).arg(folder).arg("--to").arg(shipped().parent().unwrap()).args(ATTACK.split_whitespace());
    let mut spelled = rankle("transfer --model c2f2 --distance cosine --dataset");
    spelled.args([digits(), "--from"]).arg(weights()).arg("--to").arg(shipped()).args(ATTACK.split_whitespace());
    assert_eq!(without(json(&mut transfer), &free), without(json(&mut spelled), &free));
}

#[test]
fn what_contradicts_the_card_is_refused_unless_it_shall_count() {
    let folder = weights().parent().unwrap();
    let evaluate = |rest: &str| outcome(&mut on_folder("evaluate", folder, rest));
    let (code, _, stderr) = evaluate("--distance euclidean");
    assert!(code == 2 && stderr.contains("--distance euclidean contradicts "), "{code} {stderr}");
    assert!(stderr.contains("card.toml, which says cosine: leave it out, or add --override-card"), "{stderr}");
    assert_eq!(evaluate("--distance euclidean --override-card").0, 0);
    let (code, _, stderr) = outcome(on_folder("evaluate", folder, "--weights").arg(shipped()));
    assert!(code == 2 && stderr.contains("--weights ") && stderr.contains(" contradicts "), "{code} {stderr}");
    let (code, _, stderr) = evaluate("--embedding-size 8");
    assert!(code == 2 && stderr.contains("--embedding-size is for an architecture"), "{code} {stderr}");
    let (code, _, stderr) = outcome(&mut on_folder("classify", folder, ""));
    assert!(code == 1 && stderr.contains("card.toml: unknown classifier 'c2f2'"), "{code} {stderr}");
}

#[test]
fn what_is_missing_is_named() {
    let told = |rest: &str| {
        let (code, _, stderr) = outcome(&mut rankle(&format!("evaluate --dataset mnist {rest}")));
        assert_eq!(code, 2, "{stderr}");
        stderr
    };
    assert!(
        told("--model c2f2 --distance cosine").contains("--weights is missing: name a file of weights, or a model by its folder")
    );
    assert!(told("--model c2f2 --weights w").contains("--distance is missing"));
    assert!(told("--model models/none").contains("there is no folder \"models/none\" with a model"));

    let folder = tempfile::tempdir().unwrap();
    let card = folder.path().join("card.toml");
    let evaluate = || outcome(&mut on_folder("evaluate", folder.path(), ""));
    for (text, part) in [
        ("", "card.toml line 1 is no card: missing field `weights_sha256`; weights_sha256 and [training] are needed"),
        ("weights_sha256 = \"5f\"\n[training]\ndistance = 3\n", "card.toml line 3 is no card: invalid type: integer `3`"),
        ("weights_sha256 = \"5f\"\n[training]\nmodel = \"c2f2\"\n", "says no distance in [training]: add --distance"),
        (
            "weights = \"../w\"\nweights_sha256 = \"5f\"\n[training]\nmodel = \"c2f2\"\n",
            "names the weights \"../w\": they have to lie beside it",
        ),
        ("weights_sha256 = \"5f\"\n[training]\ndistance = \"cosine\"\n", "names no model in [training]"),
        ("weights_sha256 = \"5f\"\n[training]\nmodel = \"c2f3\"\n", "card.toml: unknown model 'c2f3', did you mean 'c2f2'?"),
        ("weights_sha256 = \"5f\"\n[training]\nmodel = \"c2f2\"\ndistance = \"cosin\"\n", "card.toml: unknown distance 'cosin'"),
        ("weights_sha256 = \"5f\"\n[training]\nmodel = \"c2f2\"\ndistance = \"cosine\"\n", "model.safetensors"),
    ] {
        fs::write(&card, text).unwrap();
        let (code, _, stderr) = evaluate();
        let usage = part.starts_with("says no distance");
        assert!(code == if usage { 2 } else { 1 } && stderr.contains(part), "{code} {stderr}");
    }
    fs::copy(weights(), folder.path().join("model.safetensors")).unwrap();
    let (code, _, stderr) = evaluate();
    assert!(
        code == 1 && stderr.contains("is about other weights than ") && stderr.contains("it says SHA-256 5f, the file has "),
        "{stderr}"
    );
    fs::remove_file(&card).unwrap();
    let (code, _, stderr) = evaluate();
    assert!(code == 1 && stderr.contains("card.toml cannot be read: a model's folder has a card beside its weights"), "{stderr}");
}

/// A card written by hand is enough; it says how photographs are prepared.
#[test]
fn a_card_tells_how_photographs_are_prepared() {
    let (folder, photos) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (at, class) in ["a", "b"].into_iter().enumerate() {
        for image in 0..2u32 {
            let pixel = move |x: u32, y: u32| [(x * 9 + image * 50) as u8, (y * 7) as u8, (at * 100) as u8];
            crate::support::bmp(&photos.path().join(format!("{class}/{image}.bmp")), (40, 48), pixel);
        }
    }
    fs::copy(weights(), folder.path().join("w.safetensors")).unwrap();
    let own: toml::Table = fs::read_to_string(weights().with_file_name("card.toml")).unwrap().parse().unwrap();
    let hash = own["weights_sha256"].as_str().unwrap();
    let said = "resize=shorter,edge=30,crop=28,filter=bicubic,exif=rotate,channels=1";
    let text = format!(
        "weights = \"w.safetensors\"\nweights_sha256 = \"{hash}\"\n[training]\nmodel = \"c2f2\"\ndistance = \"cosine\"\npreprocessing = \"{said}\"\n"
    );
    fs::write(folder.path().join("card.toml"), text).unwrap();
    let evaluate = |options: &str, rest: &str| {
        let dataset = format!("folder,test=all{options}:{}", photos.path().display());
        let mut command = rankle("evaluate --format json --model");
        command.arg(folder.path()).args(["--dataset", &dataset]).args(rest.split_whitespace());
        command
    };
    assert_eq!(json(&mut evaluate("", ""))["preprocessing"], said);
    let (code, _, stderr) = outcome(&mut evaluate(",edge=32", ""));
    assert!(code == 2 && stderr.contains("edge=32") && stderr.contains("contradicts") && stderr.contains("edge=30"), "{stderr}");
    let other = json(&mut evaluate(",edge=32", "--override-card"));
    assert_eq!(other["preprocessing"], said.replace("edge=30", "edge=32"));
}
