//! `rankle evaluate`, `embed` and `bench`.

use crate::support::{floats, indices, json, on_mnist, outcome, rankle, weights};
use candle_core::Tensor;
use rankle_core::Distance;
use rankle_data::{Name, Split};
use rankle_models::Architecture;
use serde_json::Value;
use std::path::{Path, PathBuf};

#[test]
fn evaluate_measures_the_whole_test_split() {
    let evaluation = json(&mut on_mnist("evaluate", "--format json"));
    assert_eq!((evaluation["images"].as_u64(), evaluation["skipped"].as_u64()), (Some(10_000), Some(0)));
    // The card has the measured recall, to the last digit.
    let card = std::fs::read_to_string(weights().with_file_name("card.toml")).unwrap();
    let card: toml::Table = card.parse().unwrap();
    assert_eq!(evaluation["recall_at_1"].as_f64(), card["recall_at_1"].as_float());
    assert_eq!(evaluation["weights_sha256"].as_str(), card["weights_sha256"].as_str());
    let number = |field: &str| evaluation[field].as_f64().unwrap();
    assert!(number("recall_at_1") > 80.0 && number("recall_at_1") <= number("recall_at_10"));
    assert!(
        number("mean_reciprocal_rank") > number("recall_at_1") && number("r_precision") > number("mean_average_precision_at_r")
    );
    assert_eq!(number("undecided_share"), 0.0);
    // Every digit has more than ten images, so both definitions agree.
    assert_eq!(evaluation["mean_average_precision_at_10"], evaluation["robrank_mean_average_precision_at_10"]);
    assert!(number("mean_average_precision") > 30.0 && number("seconds") > 0.0);
}

/// The model of [`weights`] with tensors changed by `alter`.
fn altered(folder: &Path, alter: impl Fn(&str, Tensor) -> Tensor) -> PathBuf {
    let mut tensors = rankle_models::weights::read(weights()).unwrap();
    for (name, tensor) in tensors.iter_mut().filter(|(name, _)| name.starts_with("fc1")) {
        *tensor = alter(name, tensor.clone());
    }
    let file = folder.join("altered.safetensors");
    rankle_models::weights::write(&file, &tensors).unwrap();
    file
}

/// With all embeddings equal, ties broken by position would make recall at 1 depend on the first image.
#[test]
fn a_collapsed_model_has_the_recall_of_chance_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = altered(folder.path(), |name, tensor| {
        let value = f64::from(u8::from(name.ends_with("bias")));
        tensor.affine(0.0, value).unwrap()
    });
    let on_it = |rest: &str| {
        let mut command = rankle(rest);
        command.args(["--dataset", "mnist", "--model", "c2f2", "--distance", "cosine", "--format", "json", "--weights"]);
        let (code, stdout, stderr) = outcome(command.arg(&file));
        assert_eq!(code, 0, "{stderr}");
        assert!(
            stderr.contains("the embeddings of mnist are equal") && stderr.contains("100.0 % of the ranks are tied"),
            "{stderr}"
        );
        serde_json::from_str::<Value>(&stdout).unwrap()
    };
    let evaluation = on_it("evaluate");
    let labels = rankle_data::open(Name::Mnist, Split::Test, None).unwrap();
    let counts = (0..10).map(|class| labels.labels().iter().filter(|&&label| label == class).count() as f64);
    let chance: f64 = counts.map(|count| 100.0 * count / 10_000.0 * (count - 1.0) / 9_999.0).sum();
    assert!((evaluation["recall_at_1"].as_f64().unwrap() - chance).abs() < 1e-6, "{evaluation} {chance}");
    assert_eq!(evaluation["tie_share"], 100.0);
    let shifted = on_it("attack --attack es --epsilon 0 --images 50");
    assert_eq!(shifted["tie_share"], 100.0);
    assert!((shifted["recall_at_1_before"].as_f64().unwrap() - chance).abs() < 2.0, "{shifted}");
}

#[test]
fn embeddings_that_cannot_be_ranked_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (alter, why) in [
        ((|_, tensor| (tensor * 1e25).unwrap()) as fn(&str, Tensor) -> Tensor, "is so long that distances overflow"),
        (|_, tensor| (tensor * 0.0).unwrap(), "has no direction"),
    ] {
        let file = altered(folder.path(), alter);
        let output = folder.path().join("e.safetensors");
        for command in ["evaluate", "attack --attack ca+ --epsilon 0.1", "embed --images 3 --output e.safetensors"] {
            let mut command = rankle(command);
            command.current_dir(folder.path()).args([
                "--dataset",
                "mnist",
                "--model",
                "c2f2",
                "--distance",
                "cosine",
                "--weights",
            ]);
            let (code, stdout, stderr) = outcome(command.arg(&file));
            assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
            let line = stderr.lines().find(|line| line.starts_with("error")).unwrap_or_default();
            assert!(line.contains("the embedding of image 0 of mnist") && line.contains(why), "{stderr}");
        }
        assert!(!output.exists());
    }
}

#[test]
fn evaluate_defines_what_it_measures() {
    let (code, stdout, _) = outcome(&mut rankle("evaluate --help"));
    for number in ["recall at k", "at R", "robrank's", "R-precision", "mean reciprocal rank", "tied", "below resolution"] {
        assert!(code == 0 && stdout.contains(number), "{number}: {stdout}");
    }
}

#[test]
fn another_distance_than_that_of_the_training_is_told() {
    let embed = |distance: &str| {
        let mut command = rankle("embed --dataset mnist --model c2f2 --split test --images 2 --output");
        let file = weights().with_file_name(format!("{distance}.safetensors"));
        outcome(command.arg(file).arg("--weights").arg(weights()).args(["--distance", distance]))
    };
    let (code, _, stderr) = embed("euclidean");
    assert!(code == 0 && stderr.contains("trained for cosine distances, ranked by euclidean ones"), "{code} {stderr}");
    assert!(!embed("cosine").2.contains("trained for"));
}

#[test]
fn embed_writes_what_the_library_computes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("e.safetensors");
    let dataset = rankle_data::open(Name::Mnist, Split::Test, None).unwrap();
    for (choice, expected) in [("--images 16", (0..16).collect::<Vec<usize>>()), ("--image-indices 99,3-5", vec![99, 3, 4, 5])] {
        let answer = json(on_mnist("embed", &format!("--split test {choice} --format json --output")).arg(&file));
        assert_eq!((answer["images"].as_u64(), answer["dim"].as_u64()), (Some(expected.len() as u64), Some(1024)));
        let bytes = std::fs::read(&file).unwrap();
        let (shape, embeddings) = floats(&bytes, "embeddings");
        assert_eq!(shape, [expected.len(), 1024]);
        let places: Vec<u32> = expected.iter().map(|&index| index as u32).collect();
        let labels: Vec<u32> = expected.iter().map(|&index| dataset.labels()[index]).collect();
        assert_eq!((indices(&bytes, "image_indices").1, indices(&bytes, "labels").1), (places, labels));

        let model = Architecture::C2f2.load(weights(), Distance::Cosine, &rankle_core::Place::default()).unwrap();
        let points = Distance::Cosine.normalize(&model.embed(&dataset.images(&expected).unwrap()).unwrap()).unwrap();
        assert_eq!(embeddings, points.to_host().unwrap().as_slice());
        let norm: f32 = embeddings[..1024].iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-5);
    }
}

#[test]
fn bench_prints_its_timings_and_saves_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = outcome(
        rankle("bench --format json --seconds 0.01 --threads 1 --name c2f2-pgd-step/100 --save-weights").arg(folder.path()),
    );
    assert_eq!(code, 0, "{stderr}");
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    let [timing] = &**answer["timings"].as_array().unwrap() else { panic!("{answer}") };
    assert_eq!((timing["name"].as_str(), timing["images"].as_u64()), (Some("c2f2-pgd-step"), Some(100)));
    assert_eq!(timing["threads"].as_u64(), Some(1));
    assert!(timing["minimum_ms"].as_f64() <= timing["median_ms"].as_f64() && timing["repeats"].as_u64() >= Some(1));
    assert!(timing["results"]["mean_magnitude"].as_f64() > Some(0.0));
    let saved = folder.path().join("c2f2.safetensors");
    Architecture::C2f2.load(&saved, Distance::Cosine, &rankle_core::Place::default()).unwrap();
}

/// The table for people has the numbers of the JSON, each beside its name.
#[test]
fn every_number_of_the_table_is_that_of_the_json() {
    let names = [
        ("recall at 1", "recall_at_1"),
        ("recall at 10", "recall_at_10"),
        ("recall at 100", "recall_at_100"),
        ("recall at 1000", "recall_at_1000"),
        ("mean average precision", "mean_average_precision"),
        ("  at R", "mean_average_precision_at_r"),
        ("  at 10", "mean_average_precision_at_10"),
        ("  at 10, robrank's", "robrank_mean_average_precision_at_10"),
        ("R-precision", "r_precision"),
        ("mean reciprocal rank", "mean_reciprocal_rank"),
        ("mean normalized rank", "mean_normalized_rank"),
        ("tied", "tie_share"),
        ("below resolution", "undecided_share"),
    ];
    let evaluation = json(&mut on_mnist("evaluate", "--format json"));
    let (code, table, stderr) = outcome(&mut on_mnist("evaluate", ""));
    assert_eq!(code, 0, "{stderr}");
    let rows: Vec<&str> = table.lines().skip(1).collect();
    let expected: Vec<String> =
        names.iter().map(|(name, field)| format!("  {name:<30}{:>8.2} %", evaluation[field].as_f64().unwrap())).collect();
    assert_eq!(rows, expected);
    assert!(table.starts_with("mnist (c2f2, cosine), 10000 test images, "), "{table}");
}
