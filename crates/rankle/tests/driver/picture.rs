//! `rankle picture`.

use crate::support::{json, on_mnist, outcome};

/// Width and height of a PNG, from fixed positions in its header.
fn size(path: &std::path::Path) -> (u32, u32) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[1..4], b"PNG");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn a_picture_grows_with_its_queries_and_says_what_the_attack_did() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.png");
    let attack = "--attack ca+ --epsilon 0.3 --iterations 3 --image-indices 7 --format json";
    let one = json(on_mnist("picture", &format!("{attack} --targets 1")).arg("--output").arg(&file));
    let (width, height) = size(&file);
    let measured = json(&mut on_mnist("attack", &format!("{attack} --targets 1")));
    assert_eq!(one["pictures"][0]["rank_after"], measured["rank_after"]);
    assert_eq!((&one["pictures"][0]["image"], &one["record"]["chosen"]), (&7.into(), &"images 7".into()));

    json(on_mnist("picture", &format!("{attack} --targets 3")).arg("--output").arg(&file));
    assert!(size(&file).1 > height && size(&file).0 >= width, "{:?}", size(&file));
}

#[test]
fn every_image_has_a_file_and_wrong_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rest = "--attack es --epsilon 0.1 --iterations 2 --image-indices 3,4";
    let (code, stdout, stderr) = outcome(on_mnist("picture", rest).arg("--output").arg(folder.path().join("x.png")));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    assert!(stdout.ends_with("tied ranks: 0.00 %\n"), "{stdout}");
    for name in ["x-3.png", "x-4.png"] {
        assert!(size(&folder.path().join(name)).0 > 1000, "{name}");
    }
    let (code, _, stderr) = outcome(on_mnist("picture", rest).arg("--output").arg(folder.path().join("x.svg")));
    assert!(code == 2 && stderr.contains("ends in .png"), "{code} {stderr}");
    let (code, _, stderr) = outcome(on_mnist("picture", rest).arg("--output").arg(folder.path().join("none/x.png")));
    assert!(code == 1 && stderr.contains("none"), "{code} {stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    let twice = "--attack ca+ --epsilon 0.1 --iterations 2 --image-indices 7,7 --target-indices 1,2";
    let (code, _, stderr) = outcome(on_mnist("picture", twice).arg("--output").arg(folder.path().join("y.png")));
    assert!(code == 0 && ["y-7-1.png", "y-7-2.png"].iter().all(|name| folder.path().join(name).exists()), "{code} {stderr}");
}
