//! `rankle transfer`.

use crate::support::{digits, json, on_digits, outcome, rankle, shipped, weights, without};

const ATTACK: &str = "--attack ca- --targets 2 --epsilon 0.2 --iterations 4 --images 15 --format json";

fn transfer(from: &std::path::Path, to: &std::path::Path, rest: &str) -> std::process::Command {
    let mut command = rankle("transfer --model c2f2 --distance cosine --dataset");
    command.args([digits(), "--from"]).arg(from).arg("--to").arg(to).args(rest.split_whitespace());
    command
}

/// A transfer from a model to itself equals the white-box attack in every number.
#[test]
fn to_itself_is_the_attack() {
    let mut to_itself = json(&mut transfer(weights(), weights(), ATTACK));
    let attack = json(&mut on_digits("attack", ATTACK));
    let (white_box, from) = (to_itself["white_box"].take(), to_itself["from"].take());
    for field in ["rank_before", "rank_after", "embedding_shift"] {
        assert_eq!(white_box[field], attack[field], "{field}");
    }
    assert_eq!((&from["model"], &from["weights_sha256"]), (&attack["model"], &attack["weights_sha256"]));
    assert_eq!(without(to_itself, &["seconds", "from", "white_box"]), without(attack, &["seconds"]));
}

#[test]
fn another_model_is_measured_by_its_own_distance() {
    let rest = ATTACK.replace("ca-", "es").replace("--format json", "--to-distance euclidean --format json");
    let record = json(&mut transfer(weights(), &shipped(), &rest));
    assert_eq!((&record["distance"], &record["from"]["distance"]), (&"euclidean".into(), &"cosine".into()));
    assert_ne!(record["weights_sha256"], record["from"]["weights_sha256"]);
    assert_ne!(record["embedding_shift"], record["white_box"]["embedding_shift"]);
    assert!(record["recall_at_1_before"].is_f64() && record["white_box"]["recall_at_1_after"].is_f64(), "{record}");
    assert!(record["white_box"]["rank_after"].is_null());

    let sizes =
        "transfer --dataset sop --distance cosine --from none --to none --model resnet18,size=32 --to-model resnet18,size=48";
    let (code, _, stderr) = outcome(&mut rankle(&format!("{sizes} --attack ca+ --epsilon 0.1")));
    assert!(code == 2 && stderr.contains("resnet18,size=48 takes images of 3 x 48 x 48 numbers"), "{code} {stderr}");

    let missing = transfer(weights(), std::path::Path::new("none"), ATTACK);
    let (code, _, stderr) = outcome(&mut { missing });
    assert!(code == 1 && stderr.contains("none"), "{code} {stderr}");
}
