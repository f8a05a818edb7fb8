//! `rankle classify`, and the training of classifiers.

use crate::support::{json, outcome, rankle, without};
use std::fs;
use std::path::Path;

fn train(model: &str, rest: &str, output: &Path) -> toml::Table {
    let mut command = rankle(&format!("train --dataset mnist --model {model} {rest} --output"));
    let (code, stdout, stderr) = outcome(command.arg(output));
    assert_eq!(code, 0, "{stderr}");
    let card: toml::Table = fs::read_to_string(output.join("card.toml")).unwrap().parse().unwrap();
    assert!(stdout.contains(&format!("accuracy {:.2} %", card["accuracy"].as_float().unwrap())), "{stdout}");
    card
}

fn classify(model: &str, folder: &Path, rest: &str) -> std::process::Command {
    let mut command = rankle(&format!("classify --dataset mnist --model {model} --format json {rest} --weights"));
    command.arg(folder.join("model.safetensors"));
    command
}

#[test]
fn classifiers_are_trained_measured_and_attacked() {
    for (model, recipe, epochs) in
        [("softmax", "--images 5000 --batch-size 100", 10), ("c2f2-classifier", "--images 2000 --batch-size 100 --epochs 1", 1)]
    {
        let folder = tempfile::tempdir().unwrap();
        let card = train(model, recipe, folder.path());
        let training = card["training"].as_table().unwrap();
        assert_eq!((training["loss"].as_str(), training["epochs"].as_integer()), (Some("cross-entropy"), Some(epochs)));
        assert!(!training.contains_key("distance") && !training.contains_key("margin") && !card.contains_key("recall_at_1"));

        // The card has the measured accuracy, to the last digit.
        let clean = json(&mut classify(model, folder.path(), ""));
        assert_eq!((clean["accuracy"].as_f64(), clean["images"].as_u64()), (card["accuracy"].as_float(), Some(10_000)));
        assert_eq!(clean["weights_sha256"].as_str(), card["weights_sha256"].as_str());
        assert!(clean["accuracy"].as_f64() > Some(75.0) && clean.get("attack").is_none(), "{clean}");

        let attacked = |attack: &str| json(&mut classify(model, folder.path(), &format!("--images 100 {attack}")));
        let number = |answer: &serde_json::Value, field: &str| answer[field].as_f64().unwrap();
        let still = attacked("--attack pgd --epsilon 0");
        assert_eq!(still["accuracy_after"], still["accuracy"]);
        let (fgsm, pgd) = (attacked("--attack fgsm --epsilon 0.1"), attacked("--attack pgd --epsilon 0.1"));
        assert_eq!((number(&fgsm, "step"), number(&pgd, "step"), pgd["iterations"].as_u64()), (0.1, 0.02, Some(10)));
        assert!(number(&pgd, "accuracy_after") < 0.75 * number(&pgd, "accuracy"), "{pgd}");
        // Ten steps are at least as strong as one, except on an image or two.
        assert!(number(&pgd, "accuracy_after") <= number(&fgsm, "accuracy_after") + 2.0, "{pgd} {fgsm}");
        let few =
            |attack: &str| json(&mut classify(model, folder.path(), &format!("--images 20 --epsilon 0.1 --attack {attack}")));
        let (apgd, standard) = (few("apgd"), few("standard"));
        assert!(apgd.get("step").is_none() && apgd.get("parts").is_none(), "{apgd}");
        assert_eq!((apgd["iterations"].as_u64(), standard["iterations"].as_u64()), (Some(100), Some(100)));
        let parts = standard["parts"].as_array().unwrap();
        assert_eq!(
            (&parts[0]["accuracy_after"], &parts[1]["accuracy_after"]),
            (&apgd["accuracy_after"], &standard["accuracy_after"])
        );
        assert!(number(&standard, "accuracy_after") <= number(&apgd, "accuracy_after"), "{standard} {apgd}");
        assert_eq!((&parts[0]["name"], &parts[1]["name"]), (&"apgd-ce".into(), &"apgd-t".into()));
        assert_eq!(parts[0]["gradients"].as_u64(), Some(20 * 100));
        // Each of the images left is attacked toward nine classes at most.
        assert!(number(&parts[1], "gradients") <= 20.0 * 9.0 * number(&apgd, "accuracy_after"), "{standard}");
        // Variance of a share of n hits and misses: p (1 - p) / (n - 1).
        let (p, error) = (number(&fgsm, "accuracy_after") / 100.0, number(&fgsm, "accuracy_after_stderr") / 100.0);
        assert!((error - (p * (1.0 - p) / 99.0).sqrt()).abs() < 1e-9, "{fgsm}");

        // The table for people has the same numbers.
        let mut command =
            rankle(&format!("classify --dataset mnist --model {model} --images 100 --attack pgd --epsilon 0.1 --weights"));
        let (_, table, _) = outcome(command.arg(folder.path().join("model.safetensors")));
        let row = |name: &str, field: &str| {
            let error = number(&pgd, &format!("{field}_stderr"));
            format!("  {name:<18}{:>8.2} % ± {error:.2}", number(&pgd, field))
        };
        let rows: Vec<&str> = table.lines().skip(1).collect();
        assert_eq!(rows, [row("accuracy", "accuracy"), row("pgd, ε = 0.1", "accuracy_after")]);

        let repeat = json(&mut classify(model, folder.path(), "--threads 1 --images 100 --attack pgd --epsilon 0.1"));
        assert_eq!(without(repeat, &["seconds", "threads"]), without(pgd, &["seconds", "threads"]));
    }
}

#[test]
fn a_classifier_is_defended_by_what_attacks_it() {
    let measured = |defense: &str| {
        let folder = tempfile::tempdir().unwrap();
        let card = train("softmax", &format!("--images 5000 --batch-size 100 {defense}"), folder.path());
        let answer = json(&mut classify("softmax", folder.path(), "--images 500 --attack pgd --epsilon 0.1"));
        (card["training"].clone(), answer["accuracy_after"].as_f64().unwrap())
    };
    let ((_, plain), (training, defended)) = (measured(""), measured("--defense pgd --epsilon 0.1"));
    assert_eq!((training["defense"].as_str(), training["epsilon"].as_float()), (Some("pgd"), Some(0.1)));
    assert!(defended > plain + 10.0, "{defended} {plain}");
}
