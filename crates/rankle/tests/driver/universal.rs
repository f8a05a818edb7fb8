//! `rankle universal`.

use crate::support::{floats, indices, json, on_digits, on_mnist, outcome, shipped, without};
use serde_json::json;

const SHARED: &str = "--epsilon 0.3 --batch 20 --batches 2 --perturbations 2 --iterations 4 --format json";

#[test]
fn the_files_agree_with_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let [file, picture] = ["p.safetensors", "p.png"].map(|name| folder.path().join(name));
    let mut command = on_digits("universal", &format!("--attack ca+ {SHARED}"));
    let record = json(command.arg("--save").arg(&file).arg("--picture").arg(&picture));
    assert_eq!(
        (record["images"].as_u64(), record["targets"].as_u64(), record["iterations"].as_u64()),
        (Some(40), Some(1), Some(4))
    );
    assert_eq!(record["universal"], json!({ "batches": 2, "perturbations": 2 }));

    let bytes = std::fs::read(&file).unwrap();
    let (shape, perturbations) = floats(&bytes, "perturbations");
    assert_eq!(shape, [4, 1, 28, 28]);
    assert!(perturbations.iter().all(|p| p.abs() <= 0.3) && perturbations.iter().any(|p| p.abs() > 0.01));
    assert_eq!((indices(&bytes, "target_indices").0, indices(&bytes, "image_indices").0), (vec![4], vec![4, 20]));
    let mean = |name: &str| floats(&bytes, name).1.iter().map(|&rank| f64::from(rank)).sum::<f64>() / 4.0;
    for (name, value) in [
        ("seen_rank_before", &record["rank_before"]),
        ("seen_rank_after", &record["rank_after"]),
        ("unseen_rank_before", &record["unseen"]["rank_before"]),
        ("unseen_rank_after", &record["unseen"]["rank_after"]),
    ] {
        assert!((mean(name) - value.as_f64().unwrap()).abs() < 1e-4, "{name} {record}");
    }
    assert_eq!(&std::fs::read(&picture).unwrap()[1..4], b"PNG");
}

#[test]
fn a_perturbation_may_be_short_by_its_euclidean_norm() {
    let folder = tempfile::tempdir().unwrap();
    let [file, picture] = ["p.safetensors", "p.png"].map(|name| folder.path().join(name));
    let mut command = on_digits("universal", "--attack ca+ --epsilon 4 --norm l2 --batch 20 --perturbations 1 --format json");
    let record = json(command.arg("--save").arg(&file).arg("--picture").arg(&picture));
    assert_eq!(
        (record["norm"].as_str(), record["step"].as_f64(), record["iterations"].as_u64()),
        (Some("l2"), Some(0.1), Some(100))
    );
    let perturbation = floats(&std::fs::read(&file).unwrap(), "perturbations").1;
    let norm = perturbation.iter().map(|&p| f64::from(p).powi(2)).sum::<f64>().sqrt();
    assert!((0.5..4.0 + 1e-6).contains(&norm), "{norm}");
    assert!(record["rank_after"].as_f64() < record["rank_before"].as_f64(), "{record}");
    assert_eq!(&std::fs::read(&picture).unwrap()[1..4], b"PNG");
}

#[test]
fn any_search_may_compute_it() {
    let size = "--attack ca+ --epsilon 0.3 --batch 20 --perturbations 1 --format json";
    for (search, parameters) in [
        ("--search apgd --iterations 8", json!({ "search": "apgd", "iterations": 8, "random_start": false, "restarts": 1 })),
        ("--search square --query-budget 40", json!({ "search": "square", "query_budget": 40 })),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.safetensors");
        let record = json(on_digits("universal", &format!("{size} {search}")).arg("--save").arg(&file));
        for (name, value) in parameters.as_object().unwrap() {
            assert_eq!(&record[name], value, "{name} {record}");
        }
        let perturbation = floats(&std::fs::read(&file).unwrap(), "perturbations").1;
        assert!(perturbation.iter().all(|p| p.abs() <= 0.3) && perturbation.iter().any(|p| p.abs() > 0.29), "{search}");
        assert!(record["rank_after"].as_f64() < record["rank_before"].as_f64(), "{record}");
    }
    for (search, word) in [
        ("--search apgd --step 0.1", "step (--step) is no parameter of the search apgd"),
        ("--search square --iterations 3", "iterations (--iterations) is no parameter of the search square"),
        ("--random-start", "a universal perturbation by pgd starts at zero"),
        ("--search pgd --restarts 2", "or choose apgd"),
    ] {
        let (code, _, stderr) = outcome(&mut on_digits("universal", &format!("{size} {search}")));
        assert!(code == 2 && stderr.contains(word), "{search}: {code} {stderr}");
    }
}

#[test]
fn another_model_can_be_measured() {
    let mut command = on_digits("universal", &format!("--attack qa- {SHARED}"));
    let there = json(command.arg("--to").arg(shipped()));
    let here = json(&mut on_digits("universal", &format!("--attack qa- {SHARED}")));
    assert_eq!(there["white_box"]["rank_after"], here["rank_after"]);
    assert_ne!(there["rank_after"], here["rank_after"]);
    assert_eq!(there["from"]["weights_sha256"], here["weights_sha256"]);
    assert!(here.get("from").is_none() && here.get("white_box").is_none());
    let again = json(on_digits("universal", &format!("--attack qa- {SHARED} --threads 1")).arg("--quiet"));
    assert_eq!(without(again, &["seconds"]), without(here, &["seconds"]));
}

#[test]
fn what_makes_no_sense_is_refused_without_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = |save: &str, picture: &str| {
        let [save, picture] = [save, picture].map(|name| folder.path().join(name).display().to_string());
        format!("--attack ca+ --epsilon 0.1 --save {save} --picture {picture}")
    };
    let (other, picture) = (files("u.npy", "u.png"), files("u.safetensors", "u.jpg"));
    let weights = format!("--attack ca+ --epsilon 0.1 --save {}", crate::support::weights().display());
    for (rest, word) in [
        (&*weights, "--save and --weights both name"),
        (&*other, "ends in .safetensors"),
        (&*picture, "ends in .png"),
        ("--attack es --epsilon 0.1", "universal"),
        ("--attack ca+ --epsilon 0.1 --batch 1", "a batch of 1 cannot be halved"),
        ("--attack ca+ --epsilon 0.1 --to-model c2f2", "--to"),
        ("--attack ca+ --epsilon 0.1 --full --batches 2", "--full"),
    ] {
        let (code, _, stderr) = outcome(&mut on_mnist("universal", rest));
        assert!(code == 2 && stderr.contains(word), "{rest}: {code} {stderr}");
    }
    // Arguments that are valid but do not fit the data.
    for (rest, word) in [
        ("--attack ca+ --epsilon 0.1 --batch 20000", "1 x 20000 = 20000 images are needed, and there are 10000"),
        ("--attack ca+ --epsilon 0.1 --batches 101", "101 x 1000 = 101000 images"),
        ("--attack ca+ --epsilon 0.1 --batch 10000 --protocol strict", "leaves no target outside"),
    ] {
        let (code, _, stderr) = outcome(&mut on_mnist("universal", rest));
        assert!(code == 1 && stderr.contains(word), "{rest}: {code} {stderr}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
