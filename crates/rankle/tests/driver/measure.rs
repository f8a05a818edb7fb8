//! `rankle evaluate`, `embed` and `bench`.

use crate::support::{floats, indices, json, on_mnist, outcome, rankle, weights};
use rankle_core::Distance;
use rankle_data::{Name, Split};
use rankle_models::Architecture;
use serde_json::Value;

#[test]
fn evaluate_measures_the_whole_test_split() {
    let evaluation = json(&mut on_mnist("evaluate", "--format json"));
    assert_eq!((evaluation["images"].as_u64(), evaluation["skipped"].as_u64()), (Some(10_000), Some(0)));
    // The card of the model tells the same number, to the last digit.
    let card = std::fs::read_to_string(weights().with_file_name("card.toml")).unwrap();
    let card: toml::Table = card.parse().unwrap();
    assert_eq!(evaluation["recall_at_1"].as_f64(), card["recall_at_1"].as_float());
    assert_eq!(evaluation["weights_sha256"].as_str(), card["weights_sha256"].as_str());
    let number = |field: &str| evaluation[field].as_f64().unwrap();
    assert!(number("recall_at_1") > 80.0 && number("recall_at_1") <= number("recall_at_10"));
    assert!(number("mean_average_precision") > 30.0 && number("seconds") > 0.0);
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

        let model = Architecture::C2f2.load(weights(), Distance::Cosine).unwrap();
        let points = Distance::Cosine.place(&model.embed(&dataset.images(&expected).unwrap()).unwrap()).unwrap();
        assert_eq!(embeddings, points.as_slice());
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
    Architecture::C2f2.load(&saved, Distance::Cosine).unwrap();
}
